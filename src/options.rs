//! Command lines of sockserv and servsock: clap's structs, and `validate()`, which makes of them a configuration with
//! nothing left to check. Here is what both have in common.

#![forbid(unsafe_code)]

mod central;
mod database;
pub(crate) mod pgpass;
mod sensor;

pub use central::{CentralConfig, SERVSOCK_KEYWORDS, Servsock};
pub use sensor::{Drops, SOCKSERV_KEYWORDS, SensorConfig, Sockserv, SpoolConfig, Surroundings};

use crate::buffer::{HIGH_WATER_MAX, Water};
use crate::config::{InForce, Keyword, number};
use crate::error::Error;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// FLoP's port.
const PORT: u16 = 5765;
/// A longer path does not fit the kernel's `sockaddr_un`; both Snorts cut it silently, and nothing arrives.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Statistics once a day at least; a longer pause is a mistake. The same for -W.
pub const PAUSE_SECS_MAX: u64 = 86_400;
/// An init system kills what takes longer.
const DRAIN_SECS_MAX: u64 = 3_600;

/// HighWater, LowWater, statistics, stopping: what both programs work with.
#[derive(Clone, Debug, Args)]
struct Shared {
    /// HighWater: so many are buffered
    ///
    /// Alerts that are not in the database yet. When there are more, sockserv drops the newest, down to LowWater; a worker
    /// of servsock stops reading its sensor until LowWater, or with -D or -q drops as well.
    #[arg(short = 'H', long, value_name = "ALERTS", default_value_t = Water::default().high(), value_parser = alerts)]
    #[arg(help_heading = "Buffer")]
    high_water: u64,
    /// LowWater: so many stay then
    #[arg(short = 'L', long, value_name = "ALERTS", default_value_t = Water::default().low(), value_parser = alerts)]
    #[arg(help_heading = "Buffer")]
    low_water: u64,
    /// Print statistics so often [default: off]
    ///
    /// What was received, sent or stored, and dropped; in brackets the change since the last time.
    #[arg(short = 'A', long, value_name = "SECS", value_parser = pause, help_heading = CONTROL)]
    stats: Option<u64>,
    /// Seconds to go on after a signal to stop
    #[arg(long, value_name = "SECS", default_value_t = 5, value_parser = drain)]
    #[arg(help_heading = CONTROL, hide_short_help = true)]
    drain: u64,
}

/// What a program is to do instead of its work.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub struct Instead {
    /// Configuration file
    ///
    /// `keyword: value` or `keyword = value` in each line; -d shows all keywords. The command line wins.
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Test the configuration and all it names, and end
    ///
    /// Nothing is made or changed; a daemon that runs with it is not disturbed. Exit code 0 if all is fine, else 1.
    #[arg(short = 'T', long)]
    pub test: bool,
    /// With -T: leave out what another process has to answer
    ///
    /// The database, the server, the readers of sockets: what may be away for a while and is no reason not to start.
    #[arg(long, requires = "test", hide_short_help = true)]
    pub offline: bool,
    /// Print the configuration in force, and end
    #[arg(short = 'd', long)]
    pub dump: bool,
    /// Ask the running daemon how it is, and end
    ///
    /// It is asked through its control FIFO's neighbour, so give the same -c or --control as it has. Exit code 0 if all
    /// is fine, 1 if something needs attention, 2 if nobody answers.
    #[arg(long, conflicts_with_all = ["test", "dump"])]
    pub status: bool,
    /// With --status: as JSON
    #[arg(long, requires = "status", hide_short_help = true)]
    pub json: bool,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

const CONTROL: &str = "Control and statistics";
const CONFIGURATION: &str = "Configuration";

/// The keywords of `Shared`.
const SHARED_KEYWORDS: [Keyword; 4] = [
    Keyword::new("HighWater", "high_water"),
    Keyword::new("LowWater", "low_water"),
    Keyword::new("Statistics", "stats"),
    Keyword::new("Drain", "drain"),
];

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Shared {
    fn water<P>(&self, in_force: &InForce<P>) -> Result<Water, Error> {
        Water::new(self.high_water, self.low_water).map_err(|error| {
            let places = ["high_water", "low_water"].map(|option| in_force.place(option));
            let place = places.into_iter().find(|place| !place.is_empty());
            let place = place.unwrap_or_default();
            Error::Usage(format!("{place}{error} (-H and -L set them)"))
        })
    }

    fn stats_every(&self) -> Option<Duration> {
        self.stats.map(Duration::from_secs)
    }

    fn drain(&self) -> Duration {
        Duration::from_secs(self.drain)
    }
}

fn alerts(value: &str) -> Result<u64, String> {
    number(value, "alerts", 0, HIGH_WATER_MAX)
}

fn pause(value: &str) -> Result<u64, String> {
    number(value, "seconds", 1, PAUSE_SECS_MAX)
}

fn drain(value: &str) -> Result<u64, String> {
    number(value, "seconds", 0, DRAIN_SECS_MAX)
}

/// Checks the path of a unix socket.
///
/// # Errors
///
/// It is empty, or the kernel has no room for it.
pub(crate) fn check_socket_path(path: &Path) -> Result<(), Error> {
    let bytes = path.as_os_str().len();
    match bytes {
        0 => Err(Error::Usage("an empty path is no socket".to_owned())),
        1..=SOCKET_PATH_BYTES_MAX => Ok(()),
        _ => Err(Error::Usage(format!(
            "socket path {} has {bytes} bytes, a unix socket's may have {SOCKET_PATH_BYTES_MAX}; choose a shorter directory",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests;
