//! The numbers of a running sockserv, shared by its threads, and the control thread's view of them.

#![forbid(unsafe_code)]

use super::Stop;
use super::ledger::Ledger;
use crate::alert::Ids;
use crate::buffer::{Counts, Gauge, Water};
use crate::ctrl::{self, Command, Controlled, Periodic};
use crate::options::SensorConfig;
use crate::process::Cause;
use crossbeam_channel::Sender;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Numbers since start.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) gauge: Gauge,
    pub(super) shared: Arc<Shared>,
}

/// What the receiver counts.
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    /// EVE records that are no alerts.
    pub(super) other_records: AtomicU64,
    /// When the IDS was last heard, microseconds since 1970; 0 for never.
    pub(super) heard_us: AtomicI64,
    /// For each `Ids`: the number of the socket its first alert came on, plus 1; 0 for none yet.
    pub(super) first_alert: [AtomicU64; Ids::ALL.len()],
    /// At the end: alerts that were sent and not acknowledged.
    pub(super) unconfirmed: AtomicU64,
    sockets: Vec<String>,
}

impl Status {
    pub(super) fn new(gauge: Gauge, ledger: Ledger, sockets: Vec<String>) -> Status {
        let shared = Shared {
            ledger,
            unconfirmed: AtomicU64::new(0),
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

    /// What a stop leaves behind, in lines for the operator.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let held = self.gauge.counts().held;
        let unconfirmed = self.shared.unconfirmed.load(Relaxed).min(held);
        let unsent = held - unconfirmed;
        let mut lines = Vec::new();
        if unsent > 0 {
            lines.push(format!(
                "{unsent} alerts could not be sent in the time to drain and are lost"
            ));
        }
        if unconfirmed > 0 {
            lines.push(format!(
                "{unconfirmed} alerts were sent, but servsock has not confirmed them: those that are not in the \
                 database are lost"
            ));
        }
        if self.shared.ledger.has_losses() {
            lines.push("losses could not be recorded in the database".to_owned());
        }
        lines
    }

    fn line(&self, now: &Counts, before: &Counts) -> String {
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

/// What the control thread works on.
pub(super) struct Controls {
    status: Status,
    stop: Stop,
    asked: Sender<Cause>,
    stats: Periodic,
    /// The numbers of the last line, for the brackets.
    before: Counts,
    told_first: [bool; Ids::ALL.len()],
}

impl Controls {
    pub(super) fn new(
        config: &SensorConfig,
        status: Status,
        stop: Stop,
        asked: Sender<Cause>,
    ) -> Self {
        Controls {
            status,
            stop,
            asked,
            stats: Periodic::new(config.stats_every),
            before: Counts::default(),
            told_first: Default::default(),
        }
    }

    fn stats_line(&mut self) -> String {
        let now = self.status.gauge.counts();
        let line = self.status.line(&now, &self.before);
        self.before = now;
        line
    }

    fn tell_first_alerts(&mut self) {
        let shared = &self.status.shared;
        for (ids, told) in Ids::ALL.into_iter().zip(&mut self.told_first) {
            let socket = shared.first_alert[ids as usize - 1].load(Relaxed);
            if socket > 0 && !*told {
                *told = true;
                let socket = &shared.sockets[socket as usize - 1];
                crate::notice!("the first alert of {} came on {socket}", ids.name());
            }
        }
    }
}

/// Sets one mark and leaves the other; the answer for the operator.
fn set_water(gauge: &Gauge, high: Option<u64>, low: Option<u64>) -> String {
    let now = gauge.water();
    match Water::new(high.unwrap_or(now.high()), low.unwrap_or(now.low())) {
        Ok(water) => {
            gauge.set_water(water);
            format!("HighWater is {}, LowWater is {}", water.high(), water.low())
        }
        Err(error) => format!(
            "refused: {error}; HighWater stays {}, LowWater {}",
            now.high(),
            now.low()
        ),
    }
}

impl Controlled for Controls {
    const PROGRAM: ctrl::Program = ctrl::Program::Sockserv;

    fn execute(&mut self, command: Command) -> String {
        match command {
            Command::Stats => self.stats_line(),
            Command::High(mark) => set_water(&self.status.gauge, Some(mark.alerts), None),
            Command::Low(mark) => set_water(&self.status.gauge, None, Some(mark.alerts)),
            Command::Restart => {
                // An error: it is stopping already.
                let _ = self
                    .asked
                    .send(Cause::Restart("restart, from the control FIFO"));
                String::new() // The main thread says it.
            }
            Command::Quit => {
                // An error: it is stopping already.
                let _ = self.asked.send(Cause::Stop("quit, from the control FIFO"));
                String::new() // The main thread says it.
            }
            _ => "not yet".to_owned(),
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.tell_first_alerts();
        let shared = Arc::clone(&self.status.shared);
        let name = |socket: usize| Cow::Borrowed(shared.sockets[socket].as_str());
        for line in shared.ledger.tell(now, name) {
            crate::warning!("{line}");
        }
        if self.stats.is_due(now) {
            let line = self.stats_line();
            crate::info!("{line}");
        }
        self.stats
            .next()
            .into_iter()
            .chain(shared.ledger.next_due())
            .min()
    }

    fn stopped(&self) -> bool {
        self.stop.is_asked()
    }
}
