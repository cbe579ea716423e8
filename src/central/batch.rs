//! Chunks of the buffer -> the items of a batch, decoded. An item that cannot be decoded, or that the database
//! refuses, becomes a loss record in its own place, so that the numbers of the others stay as they are.

#![forbid(unsafe_code)]

use crate::buffer::Chunk;
use crate::wire::{Item, Loss, item};
use std::time::{SystemTime, UNIX_EPOCH};

/// Decodes all items of the chunks, in order.
pub(super) fn decode<'a>(chunks: &'a [Chunk]) -> Vec<Item<'a>> {
    let items = chunks.iter().flat_map(Chunk::items);
    items
        .map(|bytes| {
            item::decode(bytes)
                .unwrap_or_else(|error| lost(format!("servsock cannot decode it: {error}")))
        })
        .collect()
}

/// A loss of one alert, now.
pub(super) fn lost(reason: String) -> Item<'static> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let end = reason.floor_char_boundary(item::REASON_BYTES_MAX);
    Item::Loss(Loss {
        count: 1,
        from_us: now_us,
        to_us: now_us,
        reason: reason[..end].to_owned().into(),
    })
}

/// How many alerts there are, and how many the loss records speak of.
pub(super) fn count(items: &[Item<'_>]) -> (u64, u64) {
    items
        .iter()
        .fold((0, 0), |(alerts, lost), item| match item {
            Item::Alert(_) => (alerts + 1, lost),
            Item::Loss(loss) => (alerts, lost.saturating_add(loss.count)),
        })
}
