//! Thread sensor-drop: what HighWater forced out -> `teller`. It may be slow: the channel in front of it is bounded, and
//! the ledger counts everything.

#![forbid(unsafe_code)]

use super::ledger::HIGH_WATER;
use crate::buffer::Chunk;
use crate::options::{Drops, SensorConfig};
use crate::teller::Teller;
use crate::wire::{Item, item};
use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Groups of dropped alerts (each what one push forced out, 101 with FLoP's marks) that wait for this thread.
pub(super) const BACKLOG_MAX: usize = 64;

pub(super) struct Dropper {
    drops: Receiver<Vec<Chunk>>,
    to: Drops,
    teller: Teller,
}

impl Dropper {
    pub(super) fn new(config: &SensorConfig, drops: Receiver<Vec<Chunk>>) -> Dropper {
        Dropper {
            drops,
            to: config.drops.clone(),
            teller: Teller::new(config.sensor.clone()),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let next = match self.teller.due() {
                None => self
                    .drops
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.drops.recv_deadline(due),
            };
            match next {
                Ok(chunks) => {
                    crate::debug!(Drop, 3, "{} chunks were forced out", chunks.len());
                    let items = chunks.iter().flat_map(Chunk::items);
                    items.for_each(|item| self.tell(item));
                }
                Err(RecvTimeoutError::Timeout) => self.teller.tell_held_back(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.teller.tell_held_back();
    }

    fn tell(&mut self, item: &[u8]) {
        // Only the receiver's own alerts come here.
        if let Ok(Item::Alert(alert)) = item::decode(item) {
            self.teller.tell(&alert, &self.to, HIGH_WATER);
        }
    }
}
