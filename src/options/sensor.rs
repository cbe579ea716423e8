//! sockserv's options.

#![forbid(unsafe_code)]

use super::{CONTROL, Instead, PORT, SHARED_KEYWORDS, Server, Shared, check_socket_path, pause};
use crate::alert::SensorName;
use crate::buffer::Water;
use crate::config::{self, InForce, Keyword, number, port};
use crate::daemon::{self, DaemonConfig, DaemonOptions};
use crate::error::Error;
use crate::ids::LinkType;
use crate::wire::frame::check_sensor_name;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Enough for -M: a century of tries.
const TRIES_MAX: u64 = u32::MAX as u64;

/// Takes the alerts of the IDS on this sensor and ships them to servsock.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sockserv",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(next_help_heading = "Alerts of the IDS")]
pub struct Sockserv {
    /// Socket for the IDS [default: /tmp/snort]
    ///
    /// A unix datagram socket, made at the start; may be given several times: Snort 3 wants one for each of its packet threads.
    #[arg(
        short = 's',
        long = "socket",
        value_name = "PATH",
        default_value = "/tmp/snort",
        hide_default_value = true
    )]
    sockets: Vec<PathBuf>,
    /// Name of this sensor [default: the host name]
    ///
    /// By this name it is known in the database.
    #[arg(short = 'N', long, value_name = "NAME")]
    sensor_name: Option<String>,
    /// Interface of the IDS; makes the name unique
    ///
    /// The interface on which the IDS sniffs. Together with the name it should be unique.
    #[arg(
        short = 'I',
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    interface: String,
    /// Link layer of the packets that Snort and barnyard2 send
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        default_value = "auto",
        hide_short_help = true
    )]
    linktype: LinkTypeOption,
    /// Host that runs servsock
    #[arg(
        short = 'S',
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        help_heading = SERVER
    )]
    server: String,
    /// Its TCP port
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = PORT, value_parser = port, help_heading = SERVER)]
    port: u16,
    /// Tries to reach it [default: for ever]
    ///
    /// So many, one after another without success: then sockserv ends with exit code 1.
    #[arg(short = 'M', long, value_name = "TRIES", value_parser = tries, help_heading = SERVER)]
    max_try: Option<u64>,
    /// Pause between two tries [default: 1 to 30]
    ///
    /// In seconds. Without -W, the pause grows from 1 to 30 seconds.
    #[arg(short = 'W', long, value_name = "SECS", value_parser = pause, help_heading = SERVER)]
    wait_time: Option<u64>,
    #[command(flatten)]
    shared: Shared,
    /// Gets what is dropped [default: printed]
    ///
    /// A unix datagram socket of another program, as drop: it gets a JSON record of each alert that is dropped at
    /// HighWater. Without it they are printed, or logged, twenty a second.
    #[arg(short = 'D', long, value_name = "PATH", help_heading = "Buffer")]
    drop_socket: Option<PathBuf>,
    /// Only count what is dropped, show it nowhere
    #[arg(short = 'q', long, help_heading = "Buffer")]
    quiet: bool,
    /// Named pipe to make for commands [default: the first socket's path with .ctrl behind]
    #[arg(
        long,
        value_name = "FIFO",
        help_heading = CONTROL,
        hide_short_help = true
    )]
    control: Option<PathBuf>,
    /// What to do instead.
    #[command(flatten)]
    pub instead: Instead,
    #[command(flatten)]
    daemon: DaemonOptions,
}

const SERVER: &str = "Connection to servsock";

const OWN_KEYWORDS: [Keyword; 11] = [
    Keyword::new("SnortSocket", "sockets"),
    Keyword::new("SensorName", "sensor_name"),
    Keyword::new("Interface", "interface"),
    Keyword::new("LinkType", "linktype"),
    Keyword::new("Server", "server"),
    Keyword::new("Port", "port"),
    Keyword::new("MaxTry", "max_try"),
    Keyword::new("WaitTime", "wait_time"),
    Keyword::new("DropSocket", "drop_socket"),
    Keyword::new("Quiet", "quiet"),
    Keyword::new("Control", "control"),
];

/// sockserv's keywords; the names are FLoP's where FLoP has them.
pub const SOCKSERV_KEYWORDS: &[Keyword] = &config::join::<
    { OWN_KEYWORDS.len() + SHARED_KEYWORDS.len() + daemon::KEYWORDS.len() },
>(&[&OWN_KEYWORDS, &SHARED_KEYWORDS, &daemon::KEYWORDS]);

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
    /// Dropped alerts are only counted, whoever `drop_socket` is.
    pub quiet: bool,
    /// Who gets dropped alerts; `None`: they are printed.
    pub drop_socket: Option<PathBuf>,
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
    /// The configuration in force, as -d prints it.
    pub dump: String,
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
    /// A sentence about the first that is refused, with the line of the configuration file where it stands.
    pub fn validate(
        in_force: &InForce<Sockserv>,
        host_name: impl FnOnce() -> Result<String, Error>,
    ) -> Result<SensorConfig, Error> {
        let options = in_force.options.clone();
        options.check_sockets(in_force)?;
        let control = options.control_path();
        let name = match options.sensor_name {
            Some(name) => name,
            None => host_name()?,
        };
        let check = |option: &str, what: &str, name: &str, bytes_min: usize| {
            let refused =
                |error| Error::Usage(format!("{}refused: {error}", in_force.place(option)));
            check_sensor_name(what, name, bytes_min).map_err(refused)
        };
        check("sensor_name", "sensor name (-N)", &name, 1)?;
        check("interface", "interface (-I)", &options.interface, 0)?;
        let computed = [
            ("sensor_name", name.clone()),
            ("control", control.display().to_string()),
        ];
        Ok(SensorConfig {
            sockets: options.sockets,
            server: Server {
                host: options.server,
                port: options.port,
            },
            max_try: options.max_try,
            wait_time: options.wait_time.map(Duration::from_secs),
            sensor: SensorName {
                name,
                interface: options.interface,
            },
            water: options.shared.water(in_force)?,
            quiet: options.quiet,
            drop_socket: options.drop_socket,
            link: match options.linktype {
                LinkTypeOption::Auto => LinkType::Auto,
                LinkTypeOption::Ethernet => LinkType::Ethernet,
                LinkTypeOption::Raw => LinkType::Raw,
                LinkTypeOption::Null => LinkType::Null,
            },
            stats_every: options.shared.stats_every(),
            control,
            drain: options.shared.drain(),
            daemon: options.daemon.validate()?,
            dump: in_force.dump(SOCKSERV_KEYWORDS, &computed),
        })
    }

    /// Where the control FIFO of the running daemon is, seen from here.
    pub fn control_from_here(&self) -> PathBuf {
        self.daemon.from_here(self.control_path())
    }

    /// Where the control FIFO is.
    pub fn control_path(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| {
            let mut path = self.sockets[0].clone().into_os_string();
            path.push(".ctrl");
            path.into()
        })
    }

    fn check_sockets(&self, in_force: &InForce<Sockserv>) -> Result<(), Error> {
        for path in self.sockets.iter().chain(&self.drop_socket) {
            check_socket_path(path)?;
        }
        match first_twice(&self.sockets) {
            Some(twice) => Err(Error::Usage(format!(
                "{}-s {} is given twice",
                in_force.place("sockets"),
                twice.display()
            ))),
            None => Ok(()),
        }
    }
}

fn first_twice(paths: &[PathBuf]) -> Option<&PathBuf> {
    let (last, before) = paths.split_last()?;
    before
        .iter()
        .find(|path| *path == last)
        .or_else(|| first_twice(before))
}

fn tries(value: &str) -> Result<u64, String> {
    number(value, "tries", 1, TRIES_MAX)
}
