//! How a daemon is, and its sensors: what `--status`, `status` and `sensors` show.
//!
//! What needs attention, and so makes `--status` end with exit code 1:
//! - a sensor's line is down,
//! - the database is away,
//! - a sensor has more alerts buffered than LowWater: what comes next may be dropped,
//! - a sensor dropped alerts within the last `LOST_RECENTLY`, or its IDS lost some before they came to it (the numbers
//!   since start stay in the table).
//!
//! An IDS that is silent is shown and is no fault by itself: many networks are quiet at night.

#![forbid(unsafe_code)]

mod pulse;
mod table;

pub use pulse::{Counted, Pulse};

use serde::{Deserialize, Serialize};
use std::time::Duration;
use table::{Table, age, shown};

/// What was dropped, or never came, is in the database's table flop_loss; for so long it is worth a look at once.
pub const LOST_RECENTLY: Duration = Duration::from_secs(15 * 60);

/// What a running daemon says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// sockserv or servsock.
    pub program: String,
    /// Its version.
    pub version: String,
    /// servsock: where it listens.
    #[serde(default)]
    pub listens: String,
    /// Its clock: microseconds since 1970-01-01 00:00:00 UTC.
    pub now_us: i64,
    /// When it started, by the same clock.
    pub started_us: i64,
    /// servsock: whether some worker cannot reach the database at the moment. sockserv: whether servsock said so.
    pub database_away: bool,
    /// sockserv: itself. servsock: all that have come since it started, by name.
    pub sensors: Vec<SensorState>,
}

/// One sensor, as its sockserv or as servsock knows it. Numbers count since the start of the daemon that says them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SensorState {
    /// Its name.
    pub name: String,
    /// Its interface, which may be empty.
    pub interface: String,
    /// The other end of the connection: servsock's place, or where the sensor comes from.
    pub address: String,
    /// Why there is no connection; `None` where there is one.
    pub down: Option<String>,
    /// Since when the connection is there, or is not; microseconds since 1970, as all times here.
    pub since_us: i64,
    /// When the IDS was last heard; `None`: never, or not known.
    pub heard_us: Option<i64>,
    /// Alerts that came in.
    pub received: u64,
    /// Alerts that are safe in the database.
    pub stored: u64,
    /// Alerts that were dropped, as the daemon's statistics count them.
    pub dropped: u64,
    /// When the last one was dropped; `None`: none since start, or not known.
    #[serde(default)]
    pub dropped_us: Option<i64>,
    /// Alerts that never came to sockserv, by the IDS's own count; neither received nor dropped.
    #[serde(default)]
    pub lost_before: u64,
    /// When that last grew; `None`: not since start, or not known.
    #[serde(default)]
    pub lost_before_us: Option<i64>,
    /// Alerts in memory that are not in the database yet.
    pub buffered: u64,
    /// LowWater of that memory; 0: not known.
    #[serde(default)]
    pub low_water: u64,
    /// Alerts on disk that are not in the database yet.
    pub spooled: u64,
    /// How long the oldest alert that is not in the database waits already, in microseconds; 0 where none waits.
    pub lag_us: u64,
    /// Alerts a second that came in, over the last minute or less.
    pub rate: f64,
}

impl Report {
    /// The table of `status`: a line for each sensor, below the names of the columns.
    pub fn table(&self) -> String {
        let mut table = Table::new([
            "SENSOR",
            "LINE",
            "IDS HEARD",
            "ALERTS/S",
            "BUFFERED",
            "SPOOLED",
            "LAG",
            "DROPPED",
            "LOST BEFORE",
        ]);
        for sensor in &self.sensors {
            table.row([
                sensor.shown_name(),
                sensor.line().to_owned(),
                self.ago(sensor.heard_us),
                format!("{:.1}", sensor.rate),
                sensor.buffered.to_string(),
                sensor.spooled.to_string(),
                sensor.lag(),
                sensor.dropped.to_string(),
                sensor.lost_before.to_string(),
            ]);
        }
        table.text()
    }

    /// The table of `sensors`.
    pub fn sensors_table(&self) -> String {
        let mut table = Table::new([
            "SENSOR",
            "ADDRESS",
            "SINCE",
            "RECEIVED",
            "STORED",
            "DROPPED",
            "LOST BEFORE",
            "BUFFERED",
            "LAG",
            "IDS LAST HEARD",
        ]);
        for sensor in &self.sensors {
            table.row([
                sensor.shown_name(),
                shown(&sensor.address),
                format!("{} for {}", sensor.line(), self.since(sensor.since_us)),
                sensor.received.to_string(),
                sensor.stored.to_string(),
                sensor.dropped.to_string(),
                sensor.lost_before.to_string(),
                sensor.buffered.to_string(),
                sensor.lag(),
                self.ago(sensor.heard_us),
            ]);
        }
        table.text()
    }

    /// What needs attention, a sentence each; empty where all is fine.
    pub fn attention(&self) -> Vec<String> {
        let database = self.database_away.then(|| {
            "the database cannot be reached: alerts wait in the sensors, or on servsock's disk (-W), until it is back".to_owned()
        });
        let sensors = self
            .sensors
            .iter()
            .flat_map(|sensor| self.attention_to(sensor));
        database.into_iter().chain(sensors).collect()
    }

    fn attention_to(&self, sensor: &SensorState) -> Vec<String> {
        let name = sensor.shown_name();
        let mut sentences = Vec::new();
        if let Some(reason) = &sensor.down {
            sentences.push(format!(
                "sensor {name}: no connection for {}: {}",
                self.since(sensor.since_us),
                table::sentence(reason)
            ));
        }
        if sensor.low_water > 0 && sensor.buffered > sensor.low_water {
            sentences.push(format!(
                "sensor {name}: {} alerts wait, more than LowWater ({}): what comes next may be dropped",
                sensor.buffered, sensor.low_water
            ));
        }
        if let Some(ago) = self.recently(sensor.dropped_us) {
            sentences.push(format!(
                "sensor {name}: alerts were dropped, the last {ago}, {} since start; the table flop_loss says when and why",
                sensor.dropped
            ));
        }
        if let Some(ago) = self.recently(sensor.lost_before_us) {
            sentences.push(format!(
                "sensor {name}: alerts were lost before sockserv, the last {ago}, {} since start: the IDS raised them, and \
                 they never came; is there room in its socket (net.unix.max_dgram_qlen)?",
                sensor.lost_before
            ));
        }
        sentences
    }

    /// How long ago it was, if that is not long.
    fn recently(&self, at: Option<i64>) -> Option<String> {
        let at = at.filter(|at| micros(self.now_us.saturating_sub(*at)) <= LOST_RECENTLY);
        at.map(|at| self.ago(Some(at)))
    }

    /// The report for another program: what needs attention with it.
    pub fn json(&self) -> String {
        let mut value = serde_json::to_value(self).expect("names and numbers always become JSON");
        value["attention"] = self.attention().into();
        value.to_string()
    }

    fn since(&self, since_us: i64) -> String {
        age(micros(self.now_us.saturating_sub(since_us)))
    }

    fn ago(&self, at: Option<i64>) -> String {
        at.map_or("never".to_owned(), |at| format!("{} ago", self.since(at)))
    }
}

impl SensorState {
    fn shown_name(&self) -> String {
        match self.interface.as_str() {
            "" => shown(&self.name),
            interface => shown(&format!("{}:{interface}", self.name)),
        }
    }

    fn line(&self) -> &'static str {
        match self.down {
            None => "up",
            Some(_) => "down",
        }
    }

    fn lag(&self) -> String {
        match self.lag_us {
            0 => "-".to_owned(),
            lag => age(Duration::from_micros(lag)),
        }
    }
}

/// A clock that was set back makes no negative time.
fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

#[cfg(test)]
mod tests;
