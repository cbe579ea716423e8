//! What the master and a worker tell each other over their control connection: JSON, a message a datagram. Both are
//! the same program, so a message that cannot be read is a fault, and ends the worker.

#![forbid(unsafe_code)]

use super::settings::Settings;
use super::swap::Place;
use crate::ctrl;
use crate::store;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;

/// Master to worker.
#[derive(Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The first message; the sensor's connection comes with it.
    Start(Start),
    /// What is in force from now on.
    Settings(Settings),
    /// Stop reading, store what is there, end.
    Stop,
    /// The sensor has connected again, elsewhere: forget what is not stored, it comes again; end.
    Superseded,
    /// An operator wants the connection to end: stop reading, store what is there, end.
    Disconnect,
}

/// What a worker begins with. Not `Debug`: it holds the database's password, which never shows in argv or a log.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    /// The database's URL, password and all.
    pub(super) db: String,
    /// Those of a sensor that nothing special is set for; its own come when its name is known.
    pub(super) settings: Settings,
    /// How alerts are stored there.
    pub(super) store: store::Settings,
    /// Where alerts wait while the database is away, if not at their sensors.
    pub(super) swap: Option<Place>,
    pub(super) drain_secs: u64,
    /// Where the syslog daemon listens, if lines go there.
    pub(super) syslog: Option<OsString>,
}

/// Worker to master.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// The handshake's first half: who the sensor is.
    Hello {
        name: String,
        interface: String,
        stream: String,
        program: String,
    },
    /// The numbers of this connection, after they changed, and how its sensor is.
    Numbers(Numbers, Condition),
    /// The last message: why the connection ended.
    Bye { reason: String, numbers: Numbers },
}

/// How a sensor is, beside its numbers; times are those of servsock's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condition {
    /// When its IDS was last heard.
    pub(super) heard_us: Option<i64>,
    /// Since when the oldest alert waits, there or here.
    pub(super) oldest_us: Option<i64>,
    /// Alerts in memory that are not committed, there and here.
    pub(super) buffered: u64,
    /// Alerts on the sensor's disk.
    pub(super) spooled: u64,
    /// Alerts that the worker dropped and that are not committed: should it end, the sensor sends them again.
    pub(super) pending: u64,
    /// The worker cannot reach the database.
    pub(super) database_away: bool,
}

/// Counts of one connection, or the sum of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// Alerts that came.
    pub(super) received: u64,
    /// Alerts that are committed.
    pub(super) stored: u64,
    /// Alerts that the sensor says are lost, those that the worker dropped, and those that the database refuses.
    pub(super) dropped: u64,
    /// Alerts that never came to the sensor, by its IDS's own count; neither received nor dropped.
    pub(super) lost_before: u64,
    /// Items that are here and not committed yet.
    pub(super) buffered: u64,
    /// Items that came again although they were taken before; they are skipped.
    pub(super) repeated: u64,
    /// Connections that ended before a sensor was known; counted by the master.
    pub(super) refused: u64,
}

impl Numbers {
    pub(super) fn add(&mut self, other: Numbers) {
        let sums = [
            (&mut self.received, other.received),
            (&mut self.stored, other.stored),
            (&mut self.dropped, other.dropped),
            (&mut self.lost_before, other.lost_before),
            (&mut self.buffered, other.buffered),
            (&mut self.repeated, other.repeated),
            (&mut self.refused, other.refused),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    /// The statistics line, with the change since `before` in brackets.
    pub(super) fn line(&self, before: &Numbers) -> String {
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(", refused {refused} connections"),
        };
        let line = ctrl::statistics(
            [
                ("received", self.received, before.received),
                ("stored", self.stored, before.stored),
                ("dropped", self.dropped, before.dropped),
            ],
            self.buffered,
        );
        line + &ctrl::lost_before(self.lost_before) + &refused
    }
}

pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("strings and numbers always become JSON")
}
