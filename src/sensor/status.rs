//! The numbers of a running sockserv, shared by its threads.

#![forbid(unsafe_code)]

use super::held::Held;
use super::ledger::Ledger;
use super::line::LineState;
use crate::alert::Ids;
use crate::buffer::Gauge;
use crate::clock::now_us;
use crate::ctrl;
use crate::options::Server;
use crate::spool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Numbers since start.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) gauge: Gauge,
    pub(super) shared: Arc<Shared>,
    spooled: Option<Spooled>,
}

/// What is between the buffer and servsock.
#[derive(Clone)]
pub(super) struct Spooled {
    pub(super) gauge: spool::Gauge,
    pub(super) held: Arc<Held>,
}

/// Where the alerts are. What was received here, or lay in the spool at the start, is in one of the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Taken from the IDS.
    pub(super) received: u64,
    /// Acknowledged by servsock.
    pub(super) sent: u64,
    /// Dropped at HighWater, or damaged in the spool.
    pub(super) dropped: u64,
    /// In memory only.
    pub(super) buffered: u64,
    /// On the disk and not acknowledged; loss records among them.
    pub(super) spooled: u64,
}

/// What the receiver counts, and the sender knows.
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    /// EVE records that are no alerts.
    pub(super) other_records: AtomicU64,
    /// When the IDS was last heard, microseconds since 1970; 0 for never.
    pub(super) heard_us: AtomicI64,
    /// For each `Ids`: the number of the socket its first alert came on, plus 1; 0 for none yet.
    pub(super) first_alert: [AtomicU64; Ids::ALL.len()],
    /// The connection to servsock.
    pub(super) line: LineState,
    /// servsock says that it cannot reach its database.
    pub(super) database_away: AtomicBool,
    /// Alerts of the spool that servsock acknowledged.
    sent: AtomicU64,
    /// Alerts of the spool that could not be read any more.
    damaged: AtomicU64,
    /// The alert sockets' paths, by their numbers.
    pub(super) sockets: Vec<String>,
}

impl Status {
    pub(super) fn new(
        gauge: Gauge,
        spooled: Option<Spooled>,
        ledger: Ledger,
        sockets: Vec<String>,
        server: &Server,
    ) -> Status {
        let shared = Shared {
            ledger,
            line: LineState::new(server),
            database_away: AtomicBool::new(false),
            other_records: AtomicU64::new(0),
            heard_us: AtomicI64::new(0),
            sent: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            first_alert: Default::default(),
            sockets,
        };
        Status {
            gauge,
            shared: Arc::new(shared),
            spooled,
        }
    }

    /// The numbers of this moment.
    pub(super) fn counts(&self) -> Counts {
        let buffer = self.gauge.counts();
        let Some(Spooled { gauge, held }) = &self.spooled else {
            return Counts {
                received: buffer.pushed,
                sent: buffer.acknowledged,
                dropped: buffer.dropped,
                buffered: buffer.held,
                spooled: 0,
            };
        };
        Counts {
            received: buffer.pushed,
            sent: self.shared.sent.load(Relaxed),
            dropped: buffer.dropped + self.shared.damaged.load(Relaxed),
            buffered: buffer.held + held.items(),
            spooled: gauge.counts().waiting(),
        }
    }

    /// servsock acknowledged so many alerts of the spool.
    pub(super) fn note_sent(&self, alerts: u64) {
        self.shared.sent.fetch_add(alerts, Relaxed);
    }

    /// So many alerts of the spool cannot be read any more.
    pub(super) fn note_damaged(&self, alerts: u64) {
        self.shared.damaged.fetch_add(alerts, Relaxed);
    }

    /// The final statistics.
    pub(super) fn final_line(&self) -> String {
        self.line(&self.counts(), &Counts::default())
    }

    /// Since when the oldest alert waits that is not acknowledged. After a restart it begins anew.
    fn oldest(&self) -> Option<Instant> {
        let spooled = self.spooled.as_ref();
        let oldest = spooled.and_then(|spooled| spooled.held.oldest());
        oldest.or_else(|| self.gauge.oldest())
    }

    /// How long that alert waits.
    pub(super) fn lag(&self) -> Duration {
        let oldest = self.oldest();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// When that alert came, microseconds since 1970; 0 where none waits.
    pub(super) fn oldest_us(&self) -> i64 {
        match self.oldest() {
            None => 0,
            Some(since) => {
                let lag = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
                now_us().saturating_sub(lag)
            }
        }
    }

    /// The line of statistics.
    pub(super) fn line(&self, now: &Counts, before: &Counts) -> String {
        let refused = match self.shared.ledger.refused_total() {
            0 => String::new(),
            refused => format!(", refused {refused} datagrams"),
        };
        let others = match self.shared.other_records.load(Relaxed) {
            0 => String::new(),
            others => format!(", left out {others} EVE records that are no alerts"),
        };
        let line = ctrl::statistics(
            [
                ("received", now.received, before.received),
                ("sent", now.sent, before.sent),
                ("dropped", now.dropped, before.dropped),
            ],
            now.buffered,
        );
        let spooled = match self.spooled {
            Some(_) => format!(", on disk {}", now.spooled),
            None => String::new(),
        };
        line + &spooled + &refused + &others
    }
}
