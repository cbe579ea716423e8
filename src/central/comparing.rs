//! Whether an alert that the database refuses is to blame: another one, tried out in a transaction that is rolled back,
//! tells.
//!
//! Of the alerts that may serve, the last that was stored is the best, for the database took it once. A worker that has
//! stored none yet takes others of the same batch, and what waits behind it: some at each try, spread over all of them, so
//! that it finds one among many refused ones. One that has no other alert at all does not judge: the refused one waits.

#![forbid(unsafe_code)]

use super::batch;
use super::writer::{Halt, Writer};
use crate::buffer::{Chunk, Taken};
use crate::store::{OpenStream, StoreError};
use crate::wire::{Item, item};
use std::collections::VecDeque;

/// Alerts that are tried out at a time, at most. Each costs some milliseconds, and the next try comes soon.
const TRIED_MAX: usize = 32;
/// Chunks that are looked at behind the batch.
const AHEAD_MAX: usize = 64;

/// Alerts to compare a refused one with.
#[derive(Default)]
pub(super) struct Comparing {
    /// Encoded: the last one stored, or those of a batch that was refused before any was.
    others: Vec<Vec<u8>>,
    /// Of so many items these are; the parts of a batch show no more than all of it.
    among: usize,
    has_stored: bool,
    /// How many were tried out since the last one was stored.
    tried: usize,
    /// Taken out of the buffer to be looked at; they go next.
    ahead: VecDeque<Chunk>,
}

impl Comparing {
    /// The database has taken these.
    pub(super) fn stored(&mut self, items: &[Item<'_>]) {
        let is_alert = |item: &&Item<'_>| matches!(item, Item::Alert(_));
        if let Some(last) = items.iter().rfind(is_alert) {
            self.others = batch::alerts(std::slice::from_ref(last));
            (self.has_stored, self.tried) = (true, 0);
        }
    }

    /// At least one of these was refused.
    pub(super) fn refused(&mut self, items: &[Item<'_>]) {
        if !self.has_stored && items.len() > self.among {
            self.others = batch::alerts(items);
            self.among = items.len();
        }
    }
}

impl Writer {
    /// The next of the buffer.
    pub(super) fn take(&mut self) -> Taken {
        match self.comparing.ahead.pop_front() {
            Some(chunk) => Taken::Chunk(chunk),
            None => self.ends.outlet.take(),
        }
    }

    /// Whether `take` would find something.
    #[cfg(test)]
    pub(super) fn has_items(&self) -> bool {
        !self.comparing.ahead.is_empty() || self.ends.outlet.has_items()
    }

    /// Whether the database takes any other alert now.
    pub(super) fn takes_another(&mut self, stream: &OpenStream) -> Result<bool, Halt> {
        if !self.comparing.has_stored {
            self.look_ahead();
        }
        let comparing = &mut self.comparing;
        let ahead = comparing.ahead.iter().flat_map(Chunk::items);
        let others: Vec<&[u8]> = comparing
            .others
            .iter()
            .map(Vec::as_slice)
            .chain(ahead)
            .collect();
        let first = comparing.tried;
        comparing.tried += TRIED_MAX.min(others.len());
        for number in first..comparing.tried {
            let bytes = others[spread(number, others.len())];
            let Ok(other @ Item::Alert(_)) = item::decode(bytes) else {
                continue;
            };
            match self.store.try_out(stream, &other) {
                Ok(()) => {
                    // The next one that is refused need not look for it again.
                    comparing.others = vec![bytes.to_vec()];
                    (comparing.has_stored, comparing.tried) = (true, 0);
                    return Ok(true);
                }
                Err(StoreError::Content(_)) => {}
                Err(StoreError::Away(_)) => return Ok(false),
                Err(StoreError::Fenced(text)) => return Err(self.fenced(text)),
            }
        }
        Ok(false)
    }

    fn look_ahead(&mut self) {
        while self.comparing.ahead.len() < AHEAD_MAX
            && let Taken::Chunk(chunk) = self.ends.outlet.take()
        {
            self.comparing.ahead.push_back(chunk);
        }
    }
}

/// Goes through `0..count` in an order in which any few that follow each other lie far apart.
fn spread(number: usize, count: usize) -> usize {
    const fn common(a: usize, b: usize) -> usize {
        if b == 0 { a } else { common(b, a % b) }
    }
    let golden = count * 5 / 8 + 1;
    let step = (golden..).find(|step| common(*step, count) == 1);
    number % count * step.unwrap_or(1) % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_one_has_its_turn_and_the_first_few_are_from_all_over() {
        for count in [1, 2, 3, 8, 10, 97, 4_000] {
            let mut met: Vec<usize> = (0..count).map(|number| spread(number, count)).collect();
            met.sort_unstable();
            assert!(met.into_iter().eq(0..count), "{count}");
        }
        let mut first: Vec<usize> = (0..8).map(|number| spread(number, 4_000)).collect();
        first.sort_unstable();
        let gaps = first.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max() < Some(1_000), "{first:?}");
    }
}
