//! What a worker drops: with `-D` or `-q` the newest at HighWater, and always what the database refuses. Thread
//! worker-drop tells the drop socket of it, and may be slow; the channel in front of it is bounded, and what does not fit
//! is told as a number.
//!
//! Dropped items have their numbers in the stream already, so a gap takes their place: in the buffer, then in
//! `flop_loss`. Consecutive drops make one gap, so the buffer's memory stays bounded however long a flood lasts. Losses
//! from before sockserv are no part of it: of these one record stays.

#![forbid(unsafe_code)]

use crate::alert::Alert;
use crate::buffer::{Chunk, Dropped};
use crate::clock::now_us;
use crate::log::Limiter;
use crate::options::Drops;
use crate::teller::Teller;
use crate::wire::item::LOSS_COUNT_MAX;
use crate::wire::{Gap, Item, Loss, item};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Reason of what is dropped here, in `flop_loss` and in the records; sockserv's own is "HighWater".
pub(super) const HIGH_WATER: &str = "HighWater of servsock";
/// Chunks of dropped alerts that wait for the thread: 8 MiB.
const BACKLOG_MAX: usize = 128;
/// Reason of the record that tells of what did not fit.
const TOO_MANY: &str = "dropped by servsock, too many to tell of each";

/// Alerts to be told of.
struct Doomed {
    to: Drops,
    reason: String,
    chunk: Chunk,
}

/// The end that threads put into which must not wait.
#[derive(Clone)]
pub(super) struct Overflow {
    send: Sender<Doomed>,
    /// Alerts that did not fit.
    unseen: Arc<AtomicU64>,
}

/// Thread worker-drop.
pub(super) struct Dropper {
    receive: Receiver<Doomed>,
    unseen: Arc<AtomicU64>,
    /// Where the last ones went.
    to: Drops,
}

/// Both ends.
pub(super) fn channel() -> (Overflow, Dropper) {
    let (send, receive) = bounded(BACKLOG_MAX);
    let unseen = Arc::new(AtomicU64::new(0));
    let overflow = Overflow {
        send,
        unseen: Arc::clone(&unseen),
    };
    let dropper = Dropper {
        receive,
        unseen,
        to: Drops::Quiet,
    };
    (overflow, dropper)
}

impl Overflow {
    /// Hands the alerts of a chunk over.
    pub(super) fn put(&self, to: &Drops, reason: &str, chunk: Chunk) {
        if *to == Drops::Quiet {
            return;
        }
        let alerts = chunk.items().filter(|item| item::is_alert(item)).count();
        let doomed = Doomed {
            to: to.clone(),
            reason: reason.to_owned(),
            chunk,
        };
        if self.send.try_send(doomed).is_err() {
            self.unseen.fetch_add(alerts as u64, Ordering::Relaxed);
        }
    }

    /// The same of one alert.
    pub(super) fn put_alert(&self, to: &Drops, reason: &str, alert: &Alert<'_>) {
        let mut bytes = Vec::new();
        item::put_alert(&mut bytes, alert);
        self.put(to, reason, Chunk::of(bytes));
    }
}

impl Dropper {
    /// Ends when nobody can put anything any more, and all is told.
    pub(super) fn run(mut self, mut teller: Teller) {
        loop {
            let next = match teller.due() {
                None => self
                    .receive
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.receive.recv_deadline(due),
            };
            match next {
                Ok(doomed) => self.tell(&mut teller, doomed),
                Err(RecvTimeoutError::Timeout) => teller.tell_held_back(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.receive.is_empty() {
                self.tell_unseen(&mut teller);
            }
        }
        teller.tell_held_back();
        self.tell_unseen(&mut teller);
    }

    fn tell(&mut self, teller: &mut Teller, doomed: Doomed) {
        for bytes in doomed.chunk.items() {
            // Losses and gaps among them are in the gap that took their place.
            if let Ok(Item::Alert(alert)) = item::decode(bytes) {
                teller.tell(&alert, &doomed.to, &doomed.reason);
            }
        }
        self.to = doomed.to;
    }

    fn tell_unseen(&self, teller: &mut Teller) {
        teller.tell_sum(self.unseen.swap(0, Ordering::Relaxed), &self.to, TOO_MANY);
    }
}

/// What the receiver has dropped, as far as it is not committed.
#[derive(Default)]
pub(super) struct Pending {
    /// Alerts in gaps that wait in the buffer.
    alerts: u64,
    total: u64,
    lines: Limiter,
}

impl Pending {
    /// Alerts that were dropped, and whose gap is not committed: should this worker end now, they come again.
    pub(super) fn alerts(&self) -> u64 {
        self.alerts
    }

    /// The items that take the place of what was dropped, for as many numbers.
    pub(super) fn replace(&mut self, dropped: &Dropped) -> Vec<Vec<u8>> {
        let Remains {
            gap,
            merged,
            before,
        } = remains(dropped, now_us());
        let new = gap.loss.count.saturating_sub(merged);
        self.alerts = self.alerts.saturating_add(new);
        self.total = self.total.saturating_add(new);
        if new > 0 {
            self.lines.add(new);
        }
        let mut items = Vec::new();
        if gap.numbers > 0 {
            items.push(encoded(|bytes| item::put_gap(bytes, &gap)));
        }
        if let Some(before) = before {
            items.push(encoded(|bytes| item::put_loss(bytes, &before)));
        }
        items
    }

    /// Gaps with so many alerts are committed.
    pub(super) fn committed(&mut self, alerts: u64) {
        self.alerts = self.alerts.saturating_sub(alerts);
    }

    /// Tells that something was dropped, at most once a second.
    pub(super) fn tell(&mut self, sensor: &str) {
        if let Some(count) = self.lines.due(Instant::now()) {
            crate::warning!(
                "sensor \"{sensor}\": HighWater is reached: the newest {count} alerts are dropped, {} on this connection",
                self.total
            );
        }
    }

    /// When the next line becomes due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lines.next_due()
    }
}

fn encoded(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    bytes
}

/// What is left of items that are dropped.
struct Remains {
    gap: Gap<'static>,
    /// How many of its alerts were in gaps before.
    merged: u64,
    /// The sum of the losses from before sockserv; it has a number of its own.
    before: Option<Loss<'static>>,
}

fn remains(dropped: &Dropped, now_us: i64) -> Remains {
    let mut merged = 0_u64;
    let mut before: Option<Loss<'static>> = None;
    let mut gap = Gap {
        numbers: 0,
        loss: Loss {
            count: 0,
            from_us: now_us,
            to_us: now_us,
            reason: HIGH_WATER.into(),
        },
    };
    let mut add = |numbers: u64, count: u64, from_us: i64| {
        gap.numbers += numbers;
        gap.loss.count = gap.loss.count.saturating_add(count).min(LOSS_COUNT_MAX);
        gap.loss.from_us = gap.loss.from_us.min(from_us);
    };
    for bytes in dropped.chunks.iter().flat_map(Chunk::items) {
        match item::decode(bytes) {
            Ok(Item::Loss(loss)) if loss.is_before() => {
                // All but the first give their number to the gap.
                add(u64::from(before.is_some()), 0, now_us);
                before = Some(sum(before, &loss));
            }
            Ok(Item::Loss(loss)) => add(1, loss.count, loss.from_us),
            Ok(Item::Gap(older)) => {
                merged = merged.saturating_add(older.loss.count);
                add(older.numbers, older.loss.count, older.loss.from_us);
            }
            // What cannot be decoded would have become a loss of one.
            Ok(Item::Alert(_)) | Err(_) => add(1, 1, now_us),
        }
    }
    Remains {
        gap,
        merged,
        before,
    }
}

fn sum(before: Option<Loss<'static>>, loss: &Loss<'_>) -> Loss<'static> {
    let (count, from_us) = before.map_or((0, loss.from_us), |sum| (sum.count, sum.from_us));
    Loss {
        count: count.saturating_add(loss.count).min(LOSS_COUNT_MAX),
        from_us: from_us.min(loss.from_us),
        to_us: loss.to_us,
        reason: loss.reason.clone().into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(count: u64, from_us: i64) -> Loss<'static> {
        Loss {
            count,
            from_us,
            to_us: from_us,
            reason: "x".into(),
        }
    }

    fn dropped(put: impl FnOnce(&mut Vec<u8>)) -> Dropped {
        let mut bytes = Vec::new();
        put(&mut bytes);
        let chunk = Chunk::of(bytes);
        Dropped {
            items: chunk.len().into(),
            chunks: vec![chunk],
        }
    }

    #[test]
    fn gaps_and_losses_are_merged_into_the_gap_that_takes_their_place() {
        let dropped = dropped(|bytes| {
            let older = Gap {
                numbers: 5,
                loss: loss(7, 100),
            };
            item::put_gap(bytes, &older);
            item::put_loss(bytes, &loss(3, 200));
        });
        let Remains {
            gap,
            merged,
            before,
        } = remains(&dropped, 300);
        assert_eq!((gap.numbers, gap.loss.count, merged), (6, 10, 7));
        assert_eq!(before, None);
        assert_eq!((gap.loss.from_us, gap.loss.to_us), (100, 300));
    }

    #[test]
    fn what_was_dropped_counts_once_until_its_gap_is_committed() {
        let mut pending = Pending::default();
        let first = pending.replace(&dropped(|bytes| item::put_loss(bytes, &loss(3, 1))));
        let second = pending.replace(&dropped(|bytes| {
            bytes.extend_from_slice(&first.concat());
            item::put_loss(bytes, &loss(2, 1));
        }));
        assert_eq!((pending.alerts(), pending.total), (5, 5));
        let [Item::Gap(gap)] = &decoded(&second)[..] else {
            panic!("a gap")
        };
        pending.committed(gap.loss.count);
        assert_eq!((pending.alerts(), pending.total), (0, 5));
    }

    fn decoded(items: &[Vec<u8>]) -> Vec<Item<'_>> {
        let items = items.iter().map(|item| item::decode(item));
        items.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn losses_from_before_sockserv_are_no_drops_and_keep_one_number() {
        let before = |count, from_us| Loss {
            reason: format!("{}they never came", item::BEFORE).into(),
            ..loss(count, from_us)
        };
        let mut pending = Pending::default();
        let first = pending.replace(&dropped(|bytes| item::put_loss(bytes, &before(3, 50))));
        assert_eq!(decoded(&first), [Item::Loss(before(3, 50))]);
        let second = pending.replace(&dropped(|bytes| {
            bytes.extend_from_slice(&first.concat());
            item::put_loss(bytes, &loss(5, 60));
            item::put_loss(bytes, &before(4, 70));
        }));
        let [Item::Gap(gap), Item::Loss(kept)] = &decoded(&second)[..] else {
            panic!("a gap and a loss")
        };
        assert_eq!((gap.numbers, gap.loss.count), (2, 5));
        assert_eq!((kept.count, kept.from_us, kept.to_us), (7, 50, 70));
        assert!(kept.is_before());
        assert_eq!(pending.alerts(), 5, "dropped");
    }

    #[test]
    fn impossible_counts_of_a_sensor_do_not_overflow() {
        let dropped = dropped(|bytes| {
            item::put_loss(bytes, &loss(LOSS_COUNT_MAX, i64::MIN));
            item::put_loss(bytes, &loss(LOSS_COUNT_MAX, i64::MAX));
        });
        let gap = remains(&dropped, 0).gap;
        assert_eq!((gap.numbers, gap.loss.count), (2, LOSS_COUNT_MAX));
    }
}
