//! Whether an alert that the database refuses is to blame: another one, tried out in a transaction that is rolled back,
//! tells.
//!
//! Of the alerts that may serve, the last that was stored is the best, for the database took it once. A worker that has
//! stored none yet takes others of the same batch, or looks at what waits behind it. One that has no other alert at all
//! does not judge: the refused one waits.

#![forbid(unsafe_code)]

use super::batch;
use super::writer::{Halt, Writer};
use crate::buffer::{Chunk, Taken};
use crate::store::{OpenStream, StoreError};
use crate::wire::{Item, item};
use std::collections::VecDeque;

/// Alerts that are tried out, at most.
const TRIED_MAX: usize = 8;

/// Alerts to compare a refused one with.
#[derive(Default)]
pub(super) struct Comparing {
    /// Encoded: the last one stored, or some of a batch that was refused before any was.
    others: Vec<Vec<u8>>,
    /// Of so many items these are; the parts of a batch show no more than all of it.
    among: usize,
    has_stored: bool,
    /// Taken out of the buffer to be looked at; they go next.
    ahead: VecDeque<Chunk>,
}

impl Comparing {
    /// The database has taken these.
    pub(super) fn stored(&mut self, items: &[Item<'_>]) {
        if let [last, ..] = batch::alerts(items, 1).as_mut_slice() {
            self.others = vec![std::mem::take(last)];
            self.has_stored = true;
        }
    }

    /// At least one of these was refused.
    pub(super) fn refused(&mut self, items: &[Item<'_>]) {
        if !self.has_stored && items.len() > self.among {
            self.others = batch::alerts(items, TRIED_MAX);
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

    /// Whether the database takes any other alert now.
    pub(super) fn takes_another(&mut self, stream: &OpenStream) -> Result<bool, Halt> {
        if !self.comparing.has_stored {
            self.look_ahead();
        }
        let ahead = self.comparing.ahead.iter().flat_map(Chunk::items);
        let others = self.comparing.others.iter().map(Vec::as_slice);
        for bytes in others.chain(ahead).take(TRIED_MAX) {
            let Ok(other @ Item::Alert(_)) = item::decode(bytes) else {
                continue;
            };
            match self.store.try_out(stream, &other) {
                Ok(()) => return Ok(true),
                Err(StoreError::Content(_)) => {}
                Err(StoreError::Away(_)) => return Ok(false),
                Err(StoreError::Fenced(text)) => return Err(self.fenced(text)),
            }
        }
        Ok(false)
    }

    fn look_ahead(&mut self) {
        while self.comparing.ahead.len() < TRIED_MAX
            && let Taken::Chunk(chunk) = self.ends.outlet.take()
        {
            self.comparing.ahead.push_back(chunk);
        }
    }
}
