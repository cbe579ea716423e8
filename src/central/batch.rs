//! Chunks of the buffer -> the items of a batch, decoded. An item that cannot be decoded, or that the database
//! refuses, becomes a loss record in its own place, so that the numbers of the others stay as they are.

#![forbid(unsafe_code)]

use super::dropper::HIGH_WATER;
use crate::buffer::Chunk;
use crate::clock::now_us;
use crate::wire::{DecodeError, Item, Loss, item};

/// Decodes all items of the chunks, in order. `bad` hears of each that cannot be decoded.
pub(crate) fn decode<'a>(chunks: &'a [Chunk], mut bad: impl FnMut(DecodeError)) -> Vec<Item<'a>> {
    let items = chunks.iter().flat_map(Chunk::items);
    let decoded = items.map(|bytes| match item::decode(bytes) {
        Ok(item) => item,
        Err(error) => {
            let loss = lost(&format!("servsock cannot decode it: {error}"));
            bad(error);
            loss
        }
    });
    decoded.collect()
}

/// The alerts, encoded.
pub(super) fn alerts(items: &[Item<'_>]) -> Vec<Vec<u8>> {
    let encoded = items.iter().filter_map(|item| match item {
        Item::Alert(alert) => {
            let mut bytes = Vec::new();
            item::put_alert(&mut bytes, alert);
            Some(bytes)
        }
        Item::Loss(_) | Item::Gap(_) => None,
    });
    encoded.collect()
}

/// A loss of one alert, now.
pub(super) fn lost(reason: &str) -> Item<'static> {
    let now_us = now_us();
    let end = reason.floor_char_boundary(item::REASON_BYTES_MAX);
    Item::Loss(Loss {
        count: 1,
        from_us: now_us,
        to_us: now_us,
        reason: reason[..end].to_owned().into(),
    })
}

/// What a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Alerts.
    pub(super) alerts: u64,
    /// Alerts that its losses and gaps speak of, but for the following.
    pub(super) lost: u64,
    /// Alerts that never came to the sensor.
    pub(super) before: u64,
    /// Those of its gaps alone.
    pub(super) in_gaps: u64,
}

pub(super) fn count(items: &[Item<'_>]) -> Count {
    let mut count = Count::default();
    for item in items {
        match item {
            Item::Alert(_) => count.alerts += 1,
            Item::Loss(loss) if loss.is_before() => {
                count.before = count.before.saturating_add(loss.count);
            }
            Item::Loss(loss) => {
                count.lost = count.lost.saturating_add(loss.count);
                // A gap that was in the swap.
                if loss.reason == HIGH_WATER {
                    count.in_gaps = count.in_gaps.saturating_add(loss.count);
                }
            }
            Item::Gap(gap) => {
                count.lost = count.lost.saturating_add(gap.loss.count);
                count.in_gaps = count.in_gaps.saturating_add(gap.loss.count);
            }
        }
    }
    count
}
