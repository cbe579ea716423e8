//! How a daemon is, and its sensors: what `--status`, `status` and `sensors` show.

#![forbid(unsafe_code)]

mod pulse;

pub use pulse::Pulse;

use serde::{Deserialize, Serialize};

/// What a running daemon says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// sockserv or servsock.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Its clock: microseconds since 1970-01-01 00:00:00 UTC.
    pub now_us: i64,
    /// When it started, by the same clock.
    pub started_us: i64,
    /// servsock: whether some worker cannot reach the database at the moment.
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
