//! What the receiver could not keep, and what never came: counted here by cause, told to the operator by the control
//! thread, and sent as loss records by the sender. The receiver itself neither logs nor waits.

#![forbid(unsafe_code)]

use super::before::Shortfall;
use crate::ids::Refusal;
use crate::log::Limiter;
use crate::wake::Waker;
use crate::wire::Loss;
use crate::wire::item::LOSS_COUNT_MAX;
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Reason of the losses at HighWater, in `flop_loss` and in the records of dropped alerts.
pub(super) const HIGH_WATER: &str = "HighWater";

/// Reason of what Suricata raised and could not send. It begins with `wire::item::BEFORE`.
const NEVER_CAME: &str = "before sockserv: Suricata raised them, and they never came";

/// Slot 0 is HighWater, then come the kinds of refusals; in the last one is what never came.
const CAUSES: usize = 1 + Refusal::KINDS.len() + 1;
const REFUSALS: std::ops::Range<usize> = 1..CAUSES - 1;
const BEFORE: usize = CAUSES - 1;

/// Counts by cause. Wakes the control thread when there is something to tell, and the sender when there is a loss to
/// send, once each.
pub(super) struct Ledger {
    causes: Mutex<[Cause; CAUSES]>,
    control: Waker,
    sender: Waker,
}

#[derive(Default)]
struct Cause {
    total: u64,
    untold: Limiter,
    latest: Option<Latest>,
    unsent: Unsent,
}

/// What the line is made of, and the number of the socket where it was.
#[derive(Clone, Copy)]
enum Latest {
    Refusal(Refusal, usize),
    NeverCame(usize),
}

/// Whether it was the first that is not told, or sent, yet.
struct First {
    untold: bool,
    unsent: bool,
}

#[derive(Default)]
struct Unsent {
    count: u64,
    from_us: i64,
    to_us: i64,
}

impl Cause {
    fn add(&mut self, count: u64, now_us: i64) -> First {
        self.add_since(count, now_us, now_us)
    }

    fn add_since(&mut self, count: u64, from_us: i64, now_us: i64) -> First {
        self.total = self.total.saturating_add(count);
        if self.unsent.count == 0 {
            self.unsent.from_us = from_us;
        }
        self.unsent.count = self.unsent.count.saturating_add(count).min(LOSS_COUNT_MAX);
        self.unsent.to_us = now_us;
        First {
            untold: self.untold.add(count) == count,
            unsent: self.unsent.count == count,
        }
    }
}

impl Ledger {
    pub(super) fn new(control: Waker, sender: Waker) -> Ledger {
        Ledger {
            causes: Mutex::new(std::array::from_fn(|_| Cause::default())),
            control,
            sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Cause; CAUSES]> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `count` alerts were dropped at HighWater.
    pub(super) fn dropped(&self, count: u64, now_us: i64) {
        let first = self.lock()[0].add(count, now_us);
        self.wake(&first);
    }

    /// A datagram was refused.
    pub(super) fn refused(&self, refusal: Refusal, socket: usize, now_us: i64) {
        let mut causes = self.lock();
        let cause = &mut causes[1 + refusal.kind()];
        cause.latest = Some(Latest::Refusal(refusal, socket));
        let first = cause.add(1, now_us);
        drop(causes);
        self.wake(&first);
    }

    /// Alerts that an IDS raised never came.
    pub(super) fn never_came(&self, shortfall: Shortfall, socket: usize, now_us: i64) {
        let mut causes = self.lock();
        let cause = &mut causes[BEFORE];
        cause.latest = Some(Latest::NeverCame(socket));
        let first = cause.add_since(shortfall.count, shortfall.since_us, now_us);
        drop(causes);
        self.wake(&first);
    }

    fn wake(&self, first: &First) {
        if first.untold {
            self.control.wake();
        }
        if first.unsent {
            self.sender.wake();
        }
    }

    /// Whether `take_losses` would find something.
    pub(super) fn has_losses(&self) -> bool {
        self.lock().iter().any(|cause| cause.unsent.count > 0)
    }

    /// Datagrams refused since start.
    pub(super) fn refused_total(&self) -> u64 {
        self.lock()[REFUSALS].iter().map(|cause| cause.total).sum()
    }

    /// Alerts that never came, since start.
    pub(super) fn before_total(&self) -> u64 {
        self.lock()[BEFORE].total
    }

    /// Loss records that are due: each is returned once.
    pub(super) fn take_losses(&self) -> Vec<Loss<'static>> {
        let mut causes = self.lock();
        let unsent = causes.iter_mut().enumerate();
        unsent
            .filter_map(|(number, cause)| take_loss(number, cause))
            .collect()
    }

    /// The lines that are due, at most one a second for each cause. `name` names a socket by its number.
    pub(super) fn tell<'a>(
        &self,
        now: Instant,
        name: impl Fn(usize) -> Cow<'a, str>,
    ) -> Vec<String> {
        let mut causes = self.lock();
        let mut lines = Vec::new();
        for cause in causes.iter_mut() {
            if let Some(count) = cause.untold.due(now) {
                lines.push(match &cause.latest {
                    Some(Latest::Refusal(refusal, socket)) => {
                        refusal_line(refusal, &name(*socket), count, cause.total)
                    }
                    Some(Latest::NeverCame(socket)) => {
                        before_line(&name(*socket), count, cause.total)
                    }
                    None => format!(
                        "HighWater is reached: the newest {count} alerts are dropped, {} since start",
                        cause.total
                    ),
                });
            }
        }
        lines
    }

    /// When the next line becomes due, if any is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lock()
            .iter()
            .filter_map(|cause| cause.untold.next_due())
            .min()
    }
}

fn take_loss(number: usize, cause: &mut Cause) -> Option<Loss<'static>> {
    let unsent = std::mem::take(&mut cause.unsent);
    (unsent.count > 0).then(|| Loss {
        count: unsent.count,
        from_us: unsent.from_us,
        to_us: unsent.to_us,
        reason: match number {
            0 => Cow::Borrowed(HIGH_WATER),
            BEFORE => Cow::Borrowed(NEVER_CAME),
            number => Cow::Owned(format!("refused: {}", Refusal::KINDS[number - 1])),
        },
    })
}

fn refusal_line(refusal: &Refusal, socket: &str, count: u64, total: u64) -> String {
    let first = format!("refused a datagram on {socket}: {refusal}");
    match count {
        1 => first,
        _ => format!("{first} (the latest of {count} of this kind, {total} since start)"),
    }
}

fn before_line(socket: &str, count: u64, total: u64) -> String {
    format!(
        "lost before sockserv: by Suricata's own count {count} of its alerts never came on {socket}, {total} since start; \
         was its queue full (net.unix.max_dgram_qlen), or is a record too long for a datagram (net.core.wmem_default)?"
    )
}
