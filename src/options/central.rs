//! servsock's options.

#![forbid(unsafe_code)]

use super::database::{DATABASE_KEYWORDS, DatabaseOptions};
use super::{CONTROL, Instead, PORT, SHARED_KEYWORDS, Server, Shared, check_socket_path};
use crate::buffer::Water;
use crate::config::{self, InForce, Keyword, number, size};
use crate::daemon::{self, DaemonConfig, DaemonOptions};
use crate::error::Error;
use crate::spool::MAX_BYTES_LEAST;
use crate::store::{Settings, Url};
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Receives the alerts of all sensors and writes them to a database.
///
/// A worker process serves each sensor.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "servsock",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(next_help_heading = "Sensors")]
pub struct Servsock {
    /// TCP port; 0 takes a free one
    ///
    /// Which one, is said at the start.
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = PORT, value_parser = port_or_free)]
    port: u16,
    /// Address to listen on
    ///
    /// With the default only this machine's own sockserv comes in.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: String,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    shared: Shared,
    /// At HighWater drop, and tell this socket
    ///
    /// At HighWater the newest alerts of that sensor are dropped as JSON records to this unix datagram socket (or, while
    /// nobody reads it, to the log), down to LowWater. Without -D nothing is dropped here: the sensor's connection is
    /// not read until LowWater, and its sockserv buffers.
    #[arg(short = 'D', long, value_name = "PATH", help_heading = "Buffer")]
    drop_socket: Option<PathBuf>,
    /// At HighWater drop, only count
    #[arg(short = 'q', long, help_heading = "Buffer", hide_short_help = true)]
    quiet: bool,
    /// Directory for alerts while the database is away
    ///
    /// What arrives meanwhile is appended to servsock_swap_SENSOR there, acknowledged, and stored later, before
    /// anything newer. Without -W the sensors keep it.
    #[arg(short = 'W', long, value_name = "DIR", help_heading = "Buffer")]
    swap_dir: Option<PathBuf>,
    /// Bytes that may wait there for each sensor, as 500M or 1G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = swap_size)]
    #[arg(help_heading = "Buffer", hide_short_help = true)]
    swap_max: u64,
    /// Gets the important alerts once they are stored
    ///
    /// A unix datagram socket of another program, as alert: after COMMIT it gets a JSON record of each alert of the
    /// priority of -M or a more important one.
    #[arg(
        short = 'U',
        long,
        value_name = "PATH",
        help_heading = "Important alerts"
    )]
    alert_socket: Option<PathBuf>,
    /// Least important one for -U
    ///
    /// 1 is the most important; 0, which says that the rule has none, is never told.
    #[arg(short = 'M', long, value_name = "PRIO", default_value_t = 1, value_parser = priority)]
    #[arg(help_heading = "Important alerts")]
    priority: u32,
    /// Named pipe to make for commands
    #[arg(long, value_name = "FIFO", default_value = "servsock.ctrl")]
    #[arg(help_heading = CONTROL, hide_short_help = true)]
    control: PathBuf,
    /// Be the worker process of one sensor; only servsock itself starts it
    #[arg(long, hide = true, exclusive = true)]
    worker: bool,
    /// What to do instead.
    #[command(flatten)]
    pub instead: Instead,
    #[command(flatten)]
    daemon: DaemonOptions,
}

const OWN_KEYWORDS: [Keyword; 9] = [
    Keyword::new("Port", "port"),
    Keyword::new("Listen", "listen"),
    Keyword::new("DropSocket", "drop_socket"),
    Keyword::new("Quiet", "quiet"),
    Keyword::new("SwapDir", "swap_dir"),
    Keyword::new("SwapMax", "swap_max"),
    Keyword::new("AlertSocket", "alert_socket"),
    Keyword::new("UnixPriority", "priority"),
    Keyword::new("Control", "control"),
];

/// servsock's keywords; the names are FLoP's where FLoP has them.
pub const SERVSOCK_KEYWORDS: &[Keyword] = &config::join::<
    {
        OWN_KEYWORDS.len()
            + DATABASE_KEYWORDS.len()
            + SHARED_KEYWORDS.len()
            + daemon::KEYWORDS.len()
    },
>(&[
    &OWN_KEYWORDS,
    &DATABASE_KEYWORDS,
    &SHARED_KEYWORDS,
    &daemon::KEYWORDS,
]);

/// What servsock works with.
#[derive(Clone, Debug)]
pub struct CentralConfig {
    /// Where to listen.
    pub listen: Server,
    /// The database.
    pub db: Url,
    /// How alerts are stored there.
    pub settings: Settings,
    /// HighWater and LowWater of each worker.
    pub water: Water,
    /// At HighWater a worker drops, and only counts, whoever `drop_socket` is.
    pub quiet: bool,
    /// At HighWater a worker drops, and tells this socket. Without it and without `quiet` it stops reading.
    pub drop_socket: Option<PathBuf>,
    /// Where alerts wait while the database is away.
    pub swap_dir: Option<PathBuf>,
    /// Bytes that may wait there for each stream.
    pub swap_max: u64,
    /// Who gets the important alerts.
    pub alert_socket: Option<PathBuf>,
    /// Which alerts are important: those of this priority, and of more important ones.
    pub priority: u32,
    /// Between two lines of statistics.
    pub stats_every: Option<Duration>,
    /// The control FIFO's path.
    pub control: PathBuf,
    /// How long to go on after a signal.
    pub drain: Duration,
    /// Background, syslog, PID file.
    pub daemon: DaemonConfig,
    /// The configuration in force, as -d prints it.
    pub dump: String,
}

impl Servsock {
    /// Checks all values, and reads the files that hold secrets.
    ///
    /// # Errors
    ///
    /// A sentence about the first that is refused, with the line of the configuration file where it stands.
    pub fn validate(in_force: &InForce<Servsock>) -> Result<CentralConfig, Error> {
        let options = in_force.options.clone();
        for path in options.drop_socket.iter().chain(&options.alert_socket) {
            check_socket_path(path)?;
        }
        let db = options.database.url(in_force)?;
        Ok(CentralConfig {
            listen: Server {
                host: options.listen,
                port: options.port,
            },
            settings: options.database.settings(in_force)?,
            water: options.shared.water(in_force)?,
            quiet: options.quiet,
            drop_socket: options.drop_socket,
            swap_dir: options.swap_dir,
            swap_max: options.swap_max,
            alert_socket: options.alert_socket,
            priority: options.priority,
            stats_every: options.shared.stats_every(),
            control: options.control,
            drain: options.shared.drain(),
            daemon: options.daemon.validate()?,
            dump: in_force.dump(SERVSOCK_KEYWORDS, &options.database.computed(&db)),
            db,
        })
    }

    /// Where the control FIFO of the running daemon is, seen from here.
    pub fn control_from_here(&self) -> PathBuf {
        self.daemon.from_here(self.control_path())
    }

    /// Where the control FIFO is.
    pub fn control_path(&self) -> PathBuf {
        self.control.clone()
    }
}

fn swap_size(value: &str) -> Result<u64, String> {
    size(value, MAX_BYTES_LEAST, i64::MAX as u64)
}

/// A TCP port, or 0.
fn port_or_free(value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| format!("{value} is not a port (0 to 65535)"))
}

fn priority(value: &str) -> Result<u32, String> {
    let number = number(value, "a priority", 1, u64::from(u32::MAX));
    number
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        .map_err(|_| {
            format!(
                "{value} is no priority (1, the most important, to {})",
                u32::MAX
            )
        })
}
