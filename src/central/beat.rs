//! What a sensor says of itself in HEARTBEAT, by servsock's clock. A heartbeat is up to five seconds old: what has been
//! committed since is taken into account.

#![forbid(unsafe_code)]

use crate::wire::frame::Heartbeat;

/// The latest heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    heard_us: Option<i64>,
    oldest_us: Option<i64>,
    buffered: u64,
    spooled: u64,
    /// The last number that was durable when it came.
    stored: u64,
}

impl Beat {
    /// `now_us` is our clock, `stored` the last durable sequence number.
    pub(super) fn new(heartbeat: &Heartbeat, now_us: i64, stored: u64) -> Beat {
        // The sensor's clock may be anywhere: only differences of its own times mean something.
        let here = |there_us: i64| {
            let ago = heartbeat.now_us.saturating_sub(there_us).max(0);
            (there_us != 0).then(|| now_us.saturating_sub(ago).max(0))
        };
        Beat {
            heard_us: here(heartbeat.heard_us),
            oldest_us: here(heartbeat.oldest_us),
            buffered: heartbeat.buffered,
            spooled: heartbeat.spooled,
            stored,
        }
    }

    /// When the IDS was last heard.
    pub(super) fn heard_us(&self) -> Option<i64> {
        self.heard_us
    }

    /// Alerts on the sensor's disk that are not committed by now: those go first.
    pub(super) fn spooled(&self, stored: u64) -> u64 {
        self.spooled.saturating_sub(self.since(stored))
    }

    /// Alerts in the sensor's memory that are not committed by now.
    pub(super) fn buffered(&self, stored: u64) -> u64 {
        let of_those = self.since(stored).saturating_sub(self.spooled);
        self.buffered.saturating_sub(of_those)
    }

    /// What was committed since it came.
    fn since(&self, stored: u64) -> u64 {
        stored.saturating_sub(self.stored)
    }

    /// When the oldest alert that was waiting at the heartbeat came, if some of those still wait.
    pub(super) fn oldest_us(&self, stored: u64) -> Option<i64> {
        let waits = self.buffered(stored) > 0 || self.spooled(stored) > 0;
        self.oldest_us.filter(|_| waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Heartbeat = Heartbeat {
        now_us: 5_000,
        heard_us: 4_000,
        received: 50,
        dropped: 0,
        buffered: 10,
        spooled: 0,
        oldest_us: 3_000,
    };

    #[test]
    fn times_are_those_of_our_clock() {
        let beat = Beat::new(&BEAT, 1_000_000, 7);
        assert_eq!(beat.heard_us(), Some(999_000));
        assert_eq!(beat.oldest_us(7), Some(998_000));
        let never = Heartbeat {
            heard_us: 0,
            oldest_us: 0,
            ..BEAT
        };
        let beat = Beat::new(&never, 1_000_000, 7);
        assert_eq!((beat.heard_us(), beat.oldest_us(7)), (None, None));
    }

    #[test]
    fn what_is_committed_since_does_not_wait_any_more() {
        let beat = Beat::new(&BEAT, 1_000_000, 7);
        assert_eq!((beat.buffered(7), beat.buffered(16)), (10, 1));
        assert_eq!(beat.oldest_us(16), Some(998_000));
        assert_eq!((beat.buffered(17), beat.oldest_us(17)), (0, None));
    }

    #[test]
    fn what_is_on_disk_is_committed_before_what_is_in_memory() {
        let spooling = Heartbeat { spooled: 5, ..BEAT };
        let beat = Beat::new(&spooling, 1_000_000, 7);
        assert_eq!((beat.spooled(11), beat.buffered(11)), (1, 10));
        assert_eq!((beat.spooled(13), beat.buffered(13)), (0, 9));
    }

    #[test]
    fn impossible_clocks_do_no_harm() {
        for (now_us, heard_us) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (1, 2)] {
            let hostile = Heartbeat {
                now_us,
                heard_us,
                buffered: u64::MAX,
                ..BEAT
            };
            let beat = Beat::new(&hostile, 1_000_000, u64::MAX);
            assert!(beat.heard_us().is_some_and(|heard| heard <= 1_000_000));
        }
    }
}
