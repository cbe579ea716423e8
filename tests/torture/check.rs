//! What must hold after each round, read from the database: stored + dropped = sent, each serial number once, cids
//! without gap, order within each stream, and nothing missing that was acknowledged.

use crate::database::Database;
use crate::faults::Fault;
use crate::missing::Missing;
use crate::plan::{Plan, Spool};
use crate::round::Outcome;
use crate::sender::Sent;
use crate::sensor::Sensor;
use crate::serial::FIRST_ADDRESS;
use crate::site::Site;
use flop::wire::StreamId;
use std::collections::BTreeSet;
use std::time::Duration;

/// The one reason for which alerts may be dropped here.
const HIGH_WATER: &str = "HighWater";

/// A spool has everything that was sent so long before a kill, but for what the disk, or the kernel's queue, held up.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// Looks at all that a round left.
pub(crate) fn check(plan: &Plan, site: &Site<'_>, stall: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    for (sensor, sensor_plan) in site.sensors.iter().zip(&plan.sensors) {
        let sent = sensor.ids.sent();
        outcome.alerts += u64::from(sent.count());
        let mut check = Check {
            database: &site.database,
            sensor,
            sent,
            may_drop: plan.may_drop(sensor_plan),
            has_spool: sensor_plan.spool != Spool::No,
            is_bound: sensor_plan.spool != Spool::No && !plan.has(Fault::SpoolDiskFull),
            stall,
            outcome: &mut outcome,
        };
        check.cids();
        check.serials();
        check.acknowledgements();
    }
    outcome
}

/// Whether an alert with this serial number, or a newer one, is in the database.
pub(crate) fn has_stored(database: &Database, sensor: &str, serial: u32) -> Result<bool, String> {
    let address = FIRST_ADDRESS + i64::from(serial);
    let rows = database.try_query(&format!(
        "SELECT 1 FROM sensor n JOIN iphdr i ON i.sid = n.sid WHERE n.hostname = '{sensor}' AND i.ip_src >= {address} LIMIT 1"
    ))?;
    Ok(!rows.is_empty())
}

/// One sensor's part.
struct Check<'a> {
    database: &'a Database,
    sensor: &'a Sensor,
    sent: Sent,
    may_drop: bool,
    has_spool: bool,
    /// It has a spool whose disk takes everything: a kill loses no more than the last moment.
    is_bound: bool,
    /// The longest that the disk let a write wait.
    stall: Duration,
    outcome: &'a mut Outcome,
}

impl Check<'_> {
    fn broken(&mut self, what: &str) {
        let name = &self.sensor.name;
        self.outcome.broken.push(format!("{name}: {what}"));
    }

    /// Of numbers, in rows of so many.
    fn numbers<const N: usize>(&self, sql: &str) -> Vec<[i64; N]> {
        let sql = sql.replace("{sensor}", &self.sensor.name);
        let number = |cell: &Option<String>| {
            cell.as_ref()
                .map_or(-1, |cell| cell.parse().expect("a number"))
        };
        let rows = self.database.query(&sql);
        rows.iter()
            .map(|row| std::array::from_fn(|column| number(&row[column])))
            .collect()
    }

    /// They are 1, 2, 3 ..., and the sensor's row has the last one.
    fn cids(&mut self) {
        let rows = self.numbers::<4>(
            "SELECT count(e.cid), coalesce(min(e.cid), 1), coalesce(max(e.cid), 0), n.last_cid FROM sensor n \
             LEFT JOIN event e ON e.sid = n.sid WHERE n.hostname = '{sensor}' GROUP BY n.sid, n.last_cid",
        );
        match rows[..] {
            [[count, first, last, last_cid]] => {
                if (first, last, last_cid) != (1, count, count) {
                    self.broken(&format!(
                        "{count} alerts have cids {first} to {last}, and last_cid is {last_cid}"
                    ));
                }
            }
            _ => self.broken(&format!("{} rows in the table sensor", rows.len())),
        }
    }

    /// What came, in order.
    fn stored(&self) -> Vec<i64> {
        let rows = self.numbers::<1>(
            "SELECT i.ip_src FROM sensor n JOIN event e ON e.sid = n.sid LEFT JOIN iphdr i ON i.sid = e.sid AND \
             i.cid = e.cid WHERE n.hostname = '{sensor}' ORDER BY e.cid",
        );
        rows.iter()
            .map(|[address]| address - FIRST_ADDRESS)
            .collect()
    }

    fn serials(&mut self) {
        let stored = self.stored();
        self.outcome.stored += stored.len() as u64;
        let known: BTreeSet<u32> = stored
            .iter()
            .filter_map(|serial| u32::try_from(*serial).ok())
            .collect();
        let doubled = stored.len() - known.len();
        if doubled > 0 {
            self.outcome.doubled += doubled as u64;
            self.broken(&format!("{doubled} alerts are stored twice"));
        }
        if let Some(last) = known.last().filter(|last| **last > self.sent.count()) {
            self.broken(&format!("number {last} is stored and was never sent"));
        }
        self.order(&stored);
        self.missing(&known);
    }

    /// A life is a stream; with a spool all lives are one.
    fn order(&mut self, stored: &[i64]) {
        let lives: Vec<_> = match self.has_spool {
            true => std::iter::once(1..self.sent.count() + 1).collect(),
            false => self.sent.lives().map(|(_, serials)| serials).collect(),
        };
        for life in lives {
            let range = i64::from(life.start)..i64::from(life.end);
            let of_life: Vec<i64> = stored
                .iter()
                .copied()
                .filter(|serial| range.contains(serial))
                .collect();
            if let Some(pair) = of_life.windows(2).find(|pair| pair[0] > pair[1]) {
                self.broken(&format!(
                    "number {} is stored before number {}",
                    pair[0], pair[1]
                ));
            }
        }
    }

    /// What is not stored must be in `flop_loss`, or have ended with a sockserv that was killed.
    fn missing(&mut self, stored: &BTreeSet<u32>) {
        let dropped = self.dropped();
        let missing = Missing::of(&self.sent, stored);
        let lost = match self.may_drop {
            true => missing.safe.saturating_sub(dropped),
            false => missing.safe + missing.holes,
        };
        self.outcome.dropped += dropped;
        self.outcome.lost += lost;
        self.outcome.with_process += missing.count().saturating_sub(dropped + lost);
        if lost > 0 {
            let (sent, stored) = (self.sent.count(), stored.len());
            self.broken(&format!(
                "{lost} alerts are lost: {sent} sent, {stored} stored, {dropped} dropped"
            ));
        }
        if dropped > missing.count() {
            self.broken(&format!(
                "flop_loss has {dropped}, but {} are missing",
                missing.count()
            ));
        }
        if self.is_bound {
            self.taken_by_kill(missing.oldest);
        }
    }

    fn taken_by_kill(&mut self, oldest: Duration) {
        let stall = self.stall;
        self.outcome.oldest = self.outcome.oldest.max((oldest, stall));
        if oldest > WRITTEN_WITHIN + stall {
            self.broken(&format!(
                "a spool lost what was sent {oldest:?} before its sockserv was killed; a write to the disk took up to {stall:?}"
            ));
        }
    }

    /// What `flop_loss` says; for any other reason than HighWater it is a broken promise.
    fn dropped(&mut self) -> u64 {
        let sql = "SELECT l.reason, sum(l.count) FROM sensor n JOIN flop_loss l ON l.sid = n.sid WHERE n.hostname = '{sensor}' \
                   GROUP BY l.reason";
        let rows = self
            .database
            .query(&sql.replace("{sensor}", &self.sensor.name));
        let mut dropped = 0;
        for row in rows {
            let cell = |column: usize| row[column].clone().unwrap_or_default();
            match (cell(0).as_str(), self.may_drop) {
                (HIGH_WATER, true) => dropped = cell(1).parse().expect("a number"),
                (reason, _) => self.broken(&format!("flop_loss has {}: {reason}", cell(1))),
            }
        }
        dropped
    }

    /// An acknowledgement is a promise: the database has at least that number of the stream.
    fn acknowledgements(&mut self) {
        let sql = "SELECT s.stream, s.last_seq FROM sensor n JOIN flop_stream s ON s.sid = n.sid WHERE n.hostname = '{sensor}'";
        let rows = self
            .database
            .query(&sql.replace("{sensor}", &self.sensor.name));
        for (stream, acknowledged) in self.sensor.line.acknowledged() {
            let row = rows
                .iter()
                .find(|row| row[0].as_deref().and_then(StreamId::parse) == Some(stream));
            let stored = row
                .and_then(|row| row[1].as_deref()?.parse().ok())
                .unwrap_or(0);
            if stored < acknowledged {
                self.broken(&format!(
                    "number {acknowledged} of stream {stream} was acknowledged, and {stored} is the last one stored"
                ));
            }
        }
    }
}
