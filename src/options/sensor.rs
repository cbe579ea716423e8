//! sockserv's options.

#![forbid(unsafe_code)]

use super::{CONTROL, Instead, PORT, SHARED_KEYWORDS, Server, Shared, check_socket_path, pause};
use crate::alert::SensorName;
use crate::buffer::Water;
use crate::config::{self, InForce, Keyword, number, port};
use crate::daemon::{self, DaemonConfig, DaemonOptions};
use crate::error::Error;
use crate::ids::LinkType;
use crate::spool;
use crate::wire::frame::check_sensor_name;
use clap::{Parser, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
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
    /// Compress what goes to it
    ///
    /// For a slow line. Payloads that are text, as HTTP, shrink to a quarter; what is random or encrypted does not. Costs
    /// this machine 1 to 3 microseconds for each alert of Snort, 7 for a record of Suricata, and servsock a third of that.
    /// An older servsock gets alerts as they are.
    #[arg(long, help_heading = SERVER, hide_short_help = true)]
    compress: bool,
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
    /// Alerts wait on disk in there [default: off]
    ///
    /// Alerts wait there until servsock has stored them: they survive a kill and a power loss, and what is over HighWater
    /// stays there. Made if it is not there; one sockserv for each directory. Under systemd with StateDirectory= its
    /// default is `spool` there; `off` means none.
    #[arg(long, value_name = "DIR", help_heading = SPOOL)]
    spool: Option<PathBuf>,
    /// Its bytes at most
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = spool_size, help_heading = SPOOL)]
    #[arg(hide_short_help = true)]
    spool_max: u64,
    /// When an alert counts as safe
    #[arg(long, value_name = "WHEN", value_enum, default_value = "group", help_heading = SPOOL, hide_short_help = true)]
    spool_sync: SpoolSync,
    /// Named pipe to make for commands [default: the first socket's path with .ctrl behind]
    #[arg(
        long,
        value_name = "FIFO",
        help_heading = CONTROL,
        hide_short_help = true
    )]
    control: Option<PathBuf>,
    /// Tell what is in the spool DIR, and end
    ///
    /// How many alerts, how old, and what is damaged; also while a sockserv uses it. Exit code 1 if something is damaged.
    #[arg(long, value_name = "DIR", help_heading = SPOOL, hide_short_help = true, conflicts_with = "spool_export")]
    pub spool_check: Option<PathBuf>,
    /// Write what is in the spool DIR as lines of JSON, and end
    ///
    /// To standard output; the records have the fields of those that drop mails, and more.
    #[arg(long, value_name = "DIR", help_heading = SPOOL, hide_short_help = true)]
    pub spool_export: Option<PathBuf>,
    /// What to do instead.
    #[command(flatten)]
    pub instead: Instead,
    #[command(flatten)]
    daemon: DaemonOptions,
}

const SERVER: &str = "Connection to servsock";
const SPOOL: &str = "Spool";
/// `--spool` of this name means none, also where systemd has a directory for one.
const NO_SPOOL: &str = "off";

const OWN_KEYWORDS: [Keyword; 15] = [
    Keyword::new("SnortSocket", "sockets"),
    Keyword::new("SensorName", "sensor_name"),
    Keyword::new("Interface", "interface"),
    Keyword::new("LinkType", "linktype"),
    Keyword::new("Server", "server"),
    Keyword::new("Port", "port"),
    Keyword::new("MaxTry", "max_try"),
    Keyword::new("WaitTime", "wait_time"),
    Keyword::new("Compress", "compress"),
    Keyword::new("DropSocket", "drop_socket"),
    Keyword::new("Quiet", "quiet"),
    Keyword::new("Spool", "spool"),
    Keyword::new("SpoolMax", "spool_max"),
    Keyword::new("SpoolSync", "spool_sync"),
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

/// `--spool-sync`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SpoolSync {
    /// When it is on the disk: an fdatasync for all that came since the last one
    Group,
    /// When it is written: it survives a kill, but not a power loss
    Off,
}

/// The spool to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Its directory.
    pub dir: PathBuf,
    /// How it is kept.
    pub options: spool::Options,
}

/// What to look up where the options say nothing.
pub struct Surroundings<N> {
    /// Asked where no sensor name is given.
    pub host_name: N,
    /// systemd's STATE_DIRECTORY: one directory or several, with `:` between them.
    pub state_directory: Option<OsString>,
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
    /// What goes to servsock is compressed, if servsock knows how.
    pub compress: bool,
    /// HighWater and LowWater.
    pub water: Water,
    /// Dropped alerts are only counted, whoever `drop_socket` is.
    pub quiet: bool,
    /// Who gets dropped alerts; `None`: they are printed.
    pub drop_socket: Option<PathBuf>,
    /// Where alerts wait on disk; `None`: they wait in memory.
    pub spool: Option<SpoolConfig>,
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
    /// Checks all values.
    ///
    /// # Errors
    ///
    /// A sentence about the first that is refused, with the line of the configuration file where it stands.
    pub fn validate(
        in_force: &InForce<Sockserv>,
        surroundings: Surroundings<impl FnOnce() -> Result<String, Error>>,
    ) -> Result<SensorConfig, Error> {
        let options = in_force.options.clone();
        options.check_sockets(in_force)?;
        let control = options.control_path();
        let spool = options.spool(surroundings.state_directory);
        let name = match options.sensor_name {
            Some(name) => name,
            None => (surroundings.host_name)()?,
        };
        let check = |option: &str, what: &str, name: &str, bytes_min: usize| {
            let refused =
                |error| Error::Usage(format!("{}refused: {error}", in_force.place(option)));
            check_sensor_name(what, name, bytes_min).map_err(refused)
        };
        check("sensor_name", "sensor name (-N)", &name, 1)?;
        check("interface", "interface (-I)", &options.interface, 0)?;
        let spool_dir = spool.as_ref().map(|spool| spool.dir.display().to_string());
        let computed = [
            ("sensor_name", name.clone()),
            ("control", control.display().to_string()),
            ("spool", spool_dir.unwrap_or_else(|| NO_SPOOL.to_owned())),
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
            compress: options.compress,
            water: options.shared.water(in_force)?,
            quiet: options.quiet,
            drop_socket: options.drop_socket,
            spool,
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

    fn spool(&self, state_directory: Option<OsString>) -> Option<SpoolConfig> {
        let dir = match &self.spool {
            Some(dir) if dir.as_os_str() == NO_SPOOL => return None,
            Some(dir) => dir.clone(),
            None => {
                let directories = state_directory.filter(|names| !names.is_empty())?;
                let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
                PathBuf::from(OsStr::from_bytes(first)).join("spool")
            }
        };
        Some(SpoolConfig {
            dir,
            options: spool::Options {
                max_bytes: self.spool_max,
                sync: match self.spool_sync {
                    SpoolSync::Group => spool::Sync::Group,
                    SpoolSync::Off => spool::Sync::Off,
                },
                ..spool::Options::default()
            },
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

fn spool_size(value: &str) -> Result<u64, String> {
    config::size(value, spool::MAX_BYTES_LEAST, u64::MAX >> 1)
}

fn tries(value: &str) -> Result<u64, String> {
    number(value, "tries", 1, TRIES_MAX)
}
