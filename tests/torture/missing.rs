//! What was sent and is not stored, and whose doing that may be.

use crate::sender::{Life, Sent};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// So many alerts a socket's queue holds, which goes with its process.
static QUEUED: LazyLock<u32> = LazyLock::new(|| {
    let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
    let most: Option<u32> = most.ok().and_then(|most| most.trim().parse().ok());
    most.expect("Linux says how many") + 1
});

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Of sockservs that ended in order, if at all.
    pub(crate) safe: u64,
    /// Of those that were killed.
    pub(crate) killed: u64,
    /// Of these, what was sent before something that is stored: memory is lost from the end.
    pub(crate) holes: u64,
    /// Of those, how long before its kill the oldest was sent, but for what may have been in the socket.
    pub(crate) oldest: Duration,
}

impl Missing {
    pub(crate) fn of(sent: &Sent, stored: &BTreeSet<u32>) -> Missing {
        let mut all = Missing::default();
        for (life, serials) in sent.lives() {
            let missing = serials.clone().filter(|serial| !stored.contains(serial));
            match life {
                Life { killed: None, .. } => all.safe += missing.count() as u64,
                Life {
                    killed: Some(at), ..
                } => {
                    let last = stored.range(serials.clone()).next_back().copied();
                    for serial in missing {
                        all.killed += 1;
                        all.holes += u64::from(Some(serial) < last);
                        all.note_age(sent, serial, &serials, *at);
                    }
                }
            }
        }
        all
    }

    fn note_age(&mut self, sent: &Sent, serial: u32, serials: &Range<u32>, killed: Instant) {
        if serial + *QUEUED < serials.end {
            let age = killed.saturating_duration_since(sent.time(serial));
            self.oldest = self.oldest.max(age);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.safe + self.killed
    }
}
