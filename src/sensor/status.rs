//! The numbers of a running sockserv, shared by its threads.

#![forbid(unsafe_code)]

use super::ledger::Ledger;
use super::line::LineState;
use crate::alert::Ids;
use crate::buffer::{Counts, Gauge};
use crate::clock::now_us;
use crate::ctrl;
use crate::options::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Numbers since start.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) gauge: Gauge,
    pub(super) shared: Arc<Shared>,
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
    /// The alert sockets' paths, by their numbers.
    pub(super) sockets: Vec<String>,
}

impl Status {
    pub(super) fn new(
        gauge: Gauge,
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
            first_alert: Default::default(),
            sockets,
        };
        Status {
            gauge,
            shared: Arc::new(shared),
        }
    }

    /// The final statistics.
    pub(super) fn final_line(&self) -> String {
        self.line(&self.gauge.counts(), &Counts::default())
    }

    /// How long the oldest alert waits that is not acknowledged. After a restart it begins anew.
    pub(super) fn lag(&self) -> Duration {
        let oldest = self.gauge.oldest();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// When that alert came, microseconds since 1970; 0 where none waits.
    pub(super) fn oldest_us(&self) -> i64 {
        match self.gauge.oldest() {
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
                ("received", now.pushed, before.pushed),
                ("sent", now.acknowledged, before.acknowledged),
                ("dropped", now.dropped, before.dropped),
            ],
            now.held,
        );
        line + &refused + &others
    }
}
