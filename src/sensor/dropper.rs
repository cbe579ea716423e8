//! Thread sensor-drop: what HighWater forced out, and what a stop leaves -> JSON datagrams to the drop socket, or lines
//! on standard output (or syslog) where there is none, or nobody reads it. It may be slow: the channel in front of it is
//! bounded, and the ledger counts everything. Once it is to end, what cannot be told one by one in time becomes a
//! summary: `{"dropped": n, ...}`.

#![forbid(unsafe_code)]

use super::tuning::Tuning;
use crate::alert::SensorName;
use crate::buffer::Chunk;
use crate::teller::Teller;
use crate::wire::{Item, item};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Groups of dropped alerts (each what one push forced out, 101 with FLoP's marks) that wait for this thread.
pub(super) const BACKLOG_MAX: usize = 64;

/// Alerts that will not reach the database, and why.
pub(super) struct Doomed {
    pub(super) reason: &'static str,
    pub(super) chunks: Vec<Chunk>,
    /// So many more, of which nothing but their number is known.
    pub(super) unseen: u64,
}

impl Doomed {
    pub(super) fn new(reason: &'static str, chunks: Vec<Chunk>) -> Doomed {
        Doomed {
            reason,
            chunks,
            unseen: 0,
        }
    }

    /// How many there are.
    pub(super) fn alerts(&self) -> u64 {
        let chunks = self.chunks.iter().map(|chunk| u64::from(chunk.len()));
        chunks.sum::<u64>() + self.unseen
    }
}

/// When the dropper has to be done; not set while nobody stops it.
pub(super) type EndsBy = Arc<OnceLock<Instant>>;

pub(super) struct Dropper {
    drops: Receiver<Doomed>,
    tuning: Tuning,
    ends_by: EndsBy,
    teller: Teller,
    /// What could not be told one by one before the end, by reason; there are a handful of reasons.
    late: Vec<(&'static str, u64)>,
}

impl Dropper {
    pub(super) fn new(
        sensor: SensorName,
        tuning: Tuning,
        drops: Receiver<Doomed>,
        ends_by: EndsBy,
    ) -> Dropper {
        Dropper {
            drops,
            tuning,
            ends_by,
            teller: Teller::new(sensor),
            late: Vec::new(),
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
                Ok(doomed) => self.tell_all(&doomed),
                Err(RecvTimeoutError::Timeout) => self.teller.tell_held_back(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.teller.tell_held_back();
        self.tell_late();
    }

    fn tell_all(&mut self, doomed: &Doomed) {
        let reason = doomed.reason;
        crate::debug!(Drop, 3, "{} alerts are dropped: {reason}", doomed.alerts());
        for item in doomed.chunks.iter().flat_map(Chunk::items) {
            match self.ends_by.get() {
                Some(end) if Instant::now() >= *end => self.add_late(reason, 1),
                _ => self.tell(item, reason),
            }
        }
        match self.ends_by.get() {
            Some(_) => self.add_late(reason, doomed.unseen),
            None => {
                let to = self.tuning.settings().drops();
                self.teller.tell_sum(doomed.unseen, &to, reason);
            }
        }
    }

    fn tell(&mut self, item: &[u8], reason: &'static str) {
        // Only the receiver's own alerts come here.
        if let Ok(Item::Alert(alert)) = item::decode(item) {
            let to = self.tuning.settings().drops();
            self.teller.tell(&alert, &to, reason);
        }
    }

    fn add_late(&mut self, reason: &'static str, count: u64) {
        match self.late.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.late.push((reason, count)),
        }
    }

    /// The last words: a record for each reason, to where the alerts themselves would have gone.
    fn tell_late(&mut self) {
        let to = self.tuning.settings().drops();
        for (reason, count) in &self.late {
            self.teller.tell_sum(*count, &to, reason);
        }
    }
}
