//! How often the operator hears why the database is away: when it begins, and when the cause is another for a while.
//!
//! What ends a session (a restart, `pg_terminate_backend`) is often not what keeps it from coming back.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Before another cause is told; doubles with each, for two may take turns.
const QUIET_FIRST: Duration = Duration::from_secs(10);
const QUIET_LONGEST: Duration = Duration::from_secs(3_600);

/// A time in which the database takes no alerts.
#[derive(Debug)]
pub(super) struct Away {
    since: Instant,
    cause: String,
    told: Instant,
    quiet: Duration,
}

impl Away {
    /// It began at `since`; `text` is told now.
    pub(super) fn new(text: &str, since: Instant) -> Away {
        Away {
            since,
            cause: cause(text).to_owned(),
            told: Instant::now(),
            quiet: QUIET_FIRST,
        }
    }

    /// How long it has lasted.
    pub(super) fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether this failed try is to be told.
    pub(super) fn is_told(&mut self, text: &str, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.told) >= self.quiet;
        if !is_due || cause(text) == self.cause {
            return false;
        }
        cause(text).clone_into(&mut self.cause);
        self.told = now;
        self.quiet = (self.quiet * 2).min(QUIET_LONGEST);
        true
    }
}

/// What the database said, without what was tried: a batch has another size each time.
fn cause(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cause_is_told_after_a_while_and_the_same_one_never_again() {
        let start = Instant::now();
        let mut away = Away::new("cannot store a batch of 16 in x: it is restarting", start);
        let after = |secs| away_at(start, secs);
        let full = "cannot store a batch of 17 in x: no space left";
        let same = "cannot store a batch of 99 in x: it is restarting";
        assert!(!away.is_told(same, after(100)));
        assert!(!away.is_told(full, after(9)), "it may be over in a moment");
        assert!(away.is_told(full, after(11)));
        assert!(!away.is_told(full, after(200)));
        assert!(!away.is_told(same, after(30)), "two causes that take turns");
        assert!(away.is_told(same, after(32)));
    }

    fn away_at(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }
}
