//! Command lines: clap's structs, and `validate()`, which makes of them a configuration with nothing left to check.

#![forbid(unsafe_code)]

use crate::alert::SensorName;
use crate::buffer::Water;
use crate::config::Keyword;
use crate::daemon::{self, DaemonConfig, DaemonOptions};
use crate::error::Error;
use crate::ids::LinkType;
use crate::store::Url;
use crate::wire::frame::check_sensor_name;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// FLoP's port.
const PORT: u16 = 5765;
/// A longer path does not fit the kernel's `sockaddr_un`; both Snorts cut it silently, and nothing arrives.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Statistics once a day at least; a longer pause is a mistake.
const STATS_SECS_MAX: u64 = 86_400;
/// FLoP's -W counts in seconds; a pause of more than a day is a mistake.
const WAIT_SECS_MAX: u64 = 86_400;
/// An init system kills what takes longer.
const DRAIN_SECS_MAX: u64 = 3_600;

/// Takes the alerts of the IDS on this sensor and ships them to servsock.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sockserv",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Sockserv {
    /// Unix datagram socket to make for the IDS; may be given several times
    #[arg(
        short = 's',
        long = "socket",
        value_name = "SOCKET",
        default_value = "/tmp/snort"
    )]
    sockets: Vec<PathBuf>,
    /// Host that runs servsock
    #[arg(short = 'S', long, value_name = "SERVER", default_value = "127.0.0.1")]
    server: String,
    /// TCP port of servsock
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Tries to reach servsock, one after another without success, before giving up [default: for ever]
    #[arg(short = 'M', long, value_name = "TRIES", value_parser = clap::value_parser!(u64).range(1..))]
    max_try: Option<u64>,
    /// Seconds between two tries [default: 1, growing to 30]
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=WAIT_SECS_MAX))]
    wait_time: Option<u64>,
    /// Name of this sensor in the database [default: the host name]
    #[arg(short = 'N', long, value_name = "NAME")]
    sensor_name: Option<String>,
    /// Interface on which the IDS sniffs; together with the name it should be unique
    #[arg(
        short = 'I',
        long,
        value_name = "INTERFACE",
        default_value = "",
        hide_default_value = true
    )]
    interface: String,
    /// Buffered alerts from where on the newest are dropped
    #[arg(short = 'H', long, value_name = "HIGH", default_value_t = Water::default().high())]
    high_water: u64,
    /// Buffered alerts down to which they are dropped
    #[arg(short = 'L', long, value_name = "LOW", default_value_t = Water::default().low())]
    low_water: u64,
    /// Unix datagram socket that gets what is dropped, as JSON [default: standard output]
    #[arg(short = 'D', long, value_name = "SOCKET")]
    drop_socket: Option<PathBuf>,
    /// Only count what is dropped, show it nowhere
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Link layer of the packets that Snort and barnyard2 send
    #[arg(long, value_name = "TYPE", value_enum, default_value = "auto")]
    linktype: LinkTypeOption,
    /// Print statistics every so many seconds [default: off]
    #[arg(short = 'A', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=STATS_SECS_MAX))]
    stats: Option<u64>,
    /// Named pipe to make for commands [default: the first socket's path with .ctrl behind]
    #[arg(long, value_name = "FIFO")]
    control: Option<PathBuf>,
    /// Seconds to go on sending after a signal to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=DRAIN_SECS_MAX))]
    drain: u64,
    /// Configuration file
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force, and end
    #[arg(short = 'd', long)]
    pub dump: bool,
    /// Test the configuration, and what it names, and end
    #[arg(short = 'T', long)]
    pub test: bool,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    daemon: DaemonOptions,
}

/// sockserv's keywords; the names are FLoP's where FLoP has them.
pub const SOCKSERV_KEYWORDS: &[Keyword] = &{
    let [a, b, c, d, e, f, g] = daemon::KEYWORDS;
    [
        Keyword::new("SnortSocket", "sockets"),
        Keyword::new("Server", "server"),
        Keyword::new("Port", "port"),
        Keyword::new("MaxTry", "max_try"),
        Keyword::new("WaitTime", "wait_time"),
        Keyword::new("SensorName", "sensor_name"),
        Keyword::new("Interface", "interface"),
        Keyword::new("HighWater", "high_water"),
        Keyword::new("LowWater", "low_water"),
        Keyword::new("DropSocket", "drop_socket"),
        Keyword::new("Quiet", "quiet"),
        Keyword::new("LinkType", "linktype"),
        Keyword::new("Statistics", "stats"),
        Keyword::new("Control", "control"),
        Keyword::new("Drain", "drain"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
    ]
};

/// servsock's keywords.
pub const SERVSOCK_KEYWORDS: &[Keyword] = &{
    let [a, b, c, d, e, f, g] = daemon::KEYWORDS;
    [
        Keyword::new("Port", "port"),
        Keyword::new("Listen", "listen"),
        Keyword::secret("DB", "db"),
        Keyword::new("HighWater", "high_water"),
        Keyword::new("LowWater", "low_water"),
        Keyword::new("Statistics", "stats"),
        Keyword::new("Control", "control"),
        Keyword::new("Drain", "drain"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
    ]
};

/// `--linktype`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkTypeOption {
    /// Ethernet, else IP from the first byte
    Auto,
    /// Ethernet only
    Ethernet,
    /// IP from the first byte
    Raw,
    /// BSD loopback
    Null,
}

/// What sockserv works with.
#[derive(Clone, Debug)]
pub struct SensorConfig {
    /// Alert sockets to make; at least one.
    pub sockets: Vec<PathBuf>,
    /// Where servsock listens.
    pub server: Server,
    /// Tries to reach it, one after another without success, before giving up.
    pub max_try: Option<u64>,
    /// Between two tries.
    pub wait_time: Option<Duration>,
    /// Who this sensor is.
    pub sensor: SensorName,
    /// HighWater and LowWater.
    pub water: Water,
    /// Where dropped alerts go.
    pub drops: Drops,
    /// Link layer of the packets.
    pub link: LinkType,
    /// Between two lines of statistics.
    pub stats_every: Option<Duration>,
    /// The control FIFO's path.
    pub control: PathBuf,
    /// How long to go on after a signal.
    pub drain: Duration,
    /// Background, syslog, PID file.
    pub daemon: DaemonConfig,
}

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

/// Where dropped alerts go, besides the counters and the loss record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drops {
    /// Nowhere.
    Quiet,
    /// To standard output.
    Print,
    /// To this datagram socket; to standard output while nobody is there.
    Socket(PathBuf),
}

impl Sockserv {
    /// Checks all values; `host_name` is asked where no sensor name is given.
    ///
    /// # Errors
    ///
    /// A sentence about the first that is refused.
    pub fn validate(
        self,
        host_name: impl FnOnce() -> Result<String, Error>,
    ) -> Result<SensorConfig, Error> {
        for socket in &self.sockets {
            check_socket_path(socket)?;
        }
        if let Some(twice) = first_twice(&self.sockets) {
            return Err(Error::Usage(format!(
                "-s {} is given twice",
                twice.display()
            )));
        }
        let name = match self.sensor_name {
            Some(name) => name,
            None => host_name()?,
        };
        let usage = |error: crate::wire::DecodeError| Error::Usage(format!("refused: {error}"));
        check_sensor_name("sensor name (-N)", &name, 1).map_err(usage)?;
        check_sensor_name("interface (-I)", &self.interface, 0).map_err(usage)?;
        let control = self.control.unwrap_or_else(|| {
            let mut path = self.sockets[0].clone().into_os_string();
            path.push(".ctrl");
            path.into()
        });
        Ok(SensorConfig {
            sockets: self.sockets,
            server: Server {
                host: self.server,
                port: self.port,
            },
            max_try: self.max_try,
            wait_time: self.wait_time.map(Duration::from_secs),
            sensor: SensorName {
                name,
                interface: self.interface,
            },
            water: water(self.high_water, self.low_water)?,
            drops: match (self.quiet, self.drop_socket) {
                (true, _) => Drops::Quiet,
                (false, None) => Drops::Print,
                (false, Some(path)) => {
                    check_socket_path(&path)?;
                    Drops::Socket(path)
                }
            },
            link: match self.linktype {
                LinkTypeOption::Auto => LinkType::Auto,
                LinkTypeOption::Ethernet => LinkType::Ethernet,
                LinkTypeOption::Raw => LinkType::Raw,
                LinkTypeOption::Null => LinkType::Null,
            },
            stats_every: self.stats.map(Duration::from_secs),
            control,
            drain: Duration::from_secs(self.drain),
            daemon: self.daemon.validate()?,
        })
    }
}

/// Receives the alerts of all sensors and writes them to a database, a worker process per sensor.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "servsock",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Servsock {
    /// TCP port to listen on; 0 takes a free one and says which
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: String,
    /// Database: sqlite:PATH, postgresql://user:password@host:port/name or postgresql:///name?host=/socket/dir
    #[arg(long, value_name = "URL", default_value = "sqlite:flop.db")]
    db: String,
    /// Alerts buffered for one sensor from where on its connection is not read
    #[arg(short = 'H', long, value_name = "HIGH", default_value_t = Water::default().high())]
    high_water: u64,
    /// Alerts buffered for one sensor down to which it is not read
    #[arg(short = 'L', long, value_name = "LOW", default_value_t = Water::default().low())]
    low_water: u64,
    /// Print statistics every so many seconds [default: off]
    #[arg(short = 'A', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=STATS_SECS_MAX))]
    stats: Option<u64>,
    /// Named pipe to make for commands
    #[arg(long, value_name = "FIFO", default_value = "servsock.ctrl")]
    control: PathBuf,
    /// Seconds to go on storing after a signal to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=DRAIN_SECS_MAX))]
    drain: u64,
    /// Be the worker process of one sensor; only servsock itself starts it
    #[arg(long, hide = true, exclusive = true)]
    worker: bool,
    /// Configuration file
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force, and end
    #[arg(short = 'd', long)]
    pub dump: bool,
    /// Test the configuration, and what it names, and end
    #[arg(short = 'T', long)]
    pub test: bool,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    daemon: DaemonOptions,
}

/// What servsock works with.
#[derive(Clone, Debug)]
pub struct CentralConfig {
    /// Where to listen.
    pub listen: Server,
    /// The database.
    pub db: Url,
    /// HighWater and LowWater of each worker.
    pub water: Water,
    /// Between two lines of statistics.
    pub stats_every: Option<Duration>,
    /// The control FIFO's path.
    pub control: PathBuf,
    /// How long to go on after a signal.
    pub drain: Duration,
    /// Background, syslog, PID file.
    pub daemon: DaemonConfig,
}

impl Servsock {
    /// Checks all values.
    ///
    /// # Errors
    ///
    /// A sentence about the first that is refused.
    pub fn validate(self) -> Result<CentralConfig, Error> {
        Ok(CentralConfig {
            listen: Server {
                host: self.listen,
                port: self.port,
            },
            db: Url::parse(&self.db).map_err(|error| Error::Usage(format!("--db: {error}")))?,
            water: water(self.high_water, self.low_water)?,
            stats_every: self.stats.map(Duration::from_secs),
            control: self.control,
            drain: Duration::from_secs(self.drain),
            daemon: self.daemon.validate()?,
        })
    }
}

fn water(high: u64, low: u64) -> Result<Water, Error> {
    Water::new(high, low).map_err(|error| Error::Usage(format!("{error} (-H and -L set them)")))
}

pub(crate) fn check_socket_path(path: &std::path::Path) -> Result<(), Error> {
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

fn first_twice(paths: &[PathBuf]) -> Option<&PathBuf> {
    let (last, before) = paths.split_last()?;
    before
        .iter()
        .find(|path| *path == last)
        .or_else(|| first_twice(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn sockserv(args: &[&str]) -> Result<SensorConfig, Error> {
        let args = std::iter::once("sockserv").chain(args.iter().copied());
        Sockserv::try_parse_from(args)
            .map_err(|error| Error::Usage(error.to_string()))?
            .validate(|| Ok("host".to_owned()))
    }

    #[test]
    fn the_option_structs_are_sound() {
        Sockserv::command().debug_assert();
        Servsock::command().debug_assert();
    }

    #[test]
    fn each_option_has_a_long_name_and_one_keyword() {
        let without = ["config", "dump", "test", "version", "help", "worker"];
        for (command, keywords) in [
            (Sockserv::command(), SOCKSERV_KEYWORDS),
            (Servsock::command(), SERVSOCK_KEYWORDS),
        ] {
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                let known = keywords
                    .iter()
                    .filter(|keyword| keyword.option == id)
                    .count();
                assert_eq!(known, usize::from(!without.contains(&id)), "{id}");
                assert!(arg.get_long().is_some(), "{id}");
            }
        }
    }

    #[test]
    fn defaults_are_flops() {
        let config = sockserv(&["-N", "s"]).unwrap();
        assert_eq!(config.sockets, [PathBuf::from("/tmp/snort")]);
        assert_eq!(config.server.to_string(), "127.0.0.1:5765");
        assert_eq!((config.water.high(), config.water.low()), (10_000, 9_900));
        assert_eq!(config.control, PathBuf::from("/tmp/snort.ctrl"));
        assert_eq!(config.stats_every, None);
        assert_eq!(config.drops, Drops::Print);
    }

    #[test]
    fn wrong_values_are_refused_with_a_sentence() {
        let long = format!("/{}", "x".repeat(107));
        for (args, sentence) in [
            (
                vec!["-H", "100"],
                "HighWater 100 is not above LowWater 9900",
            ),
            (vec!["-s", &long], "has 108 bytes"),
            (
                vec!["-s", "/a", "-s", "/b", "-s", "/a"],
                "-s /a is given twice",
            ),
            (vec!["-N", ""], "sensor name (-N) of 0 bytes"),
            (vec!["-N", "a\nb"], "control character"),
            (vec!["-p", "70000"], "70000"),
            (vec!["-A", "0"], "0 is not in 1..=86400"),
        ] {
            let error = sockserv(&args).unwrap_err().to_string();
            assert!(error.contains(sentence), "{args:?}: {error}");
        }
        let longest = format!("/{}", "x".repeat(106));
        assert!(sockserv(&["-N", "s", "-s", &longest]).is_ok());
    }
}
