//! The options that all daemons share: background, syslog, PID file, umask, directory, debug levels.

#![forbid(unsafe_code)]

use crate::config::Keyword;
use crate::error::Error;
use crate::log::{self, DEBUG_LEVEL_MAX};
use clap::Args;
use std::path::{Path, PathBuf};

/// Permission bits that a umask can take away.
const UMASK_MAX: u32 = 0o777;

/// The options of each daemon; `#[command(flatten)]` them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Daemon")]
pub struct DaemonOptions {
    /// Go to the background; implies -l
    ///
    /// Only once all that can be refused has been checked: errors reach the terminal, and the exit code.
    #[arg(short = 'b', long)]
    background: bool,
    /// Log to syslog, facility LOCAL0
    ///
    /// Once it is ready; until then lines go to the terminal.
    #[arg(short = 'l', long)]
    syslog: bool,
    /// Where the syslog daemon listens
    #[arg(long, value_name = "PATH", default_value = log::SYSLOG_SOCKET, hide_short_help = true)]
    syslog_socket: PathBuf,
    /// Umask: decimal, octal (0...) or hex (0x...)
    ///
    /// For the files that are made: sockets, PID file, database.
    #[arg(short = 'm', long, value_name = "MODE", value_parser = umask, hide_short_help = true)]
    umask: Option<u32>,
    /// File for the process id
    ///
    /// Locked as long as the daemon lives. One whose process lives refuses the start, any other is replaced.
    #[arg(short = 'P', long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Directory to work in, with -b
    ///
    /// Relative paths are meant from there on. Without it, the current directory.
    #[arg(short = 'w', long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Debug level 0 to 9 of an area
    ///
    /// May be given several times. README.debug says which areas there are, and what they show.
    #[arg(short = 'V', long, value_name = "AREA,LEVEL", value_parser = debug_level)]
    debug: Vec<Debug>,
}

/// The keywords of these options, for each program's table.
pub const KEYWORDS: [Keyword; 7] = [
    Keyword::new("DaemonMode", "background"),
    Keyword::new("DaemonDir", "work_dir"),
    Keyword::new("Umask", "umask"),
    Keyword::new("Syslog", "syslog"),
    Keyword::new("SyslogSocket", "syslog_socket"),
    Keyword::new("PidFile", "pid_file"),
    Keyword::new("Debug", "debug"),
];

/// `-V area,level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debug {
    /// One of `log::area_names`.
    pub area: &'static str,
    /// 0 is off.
    pub level: u8,
}

/// How a daemon runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Detach from the terminal.
    pub background: bool,
    /// Log to syslog.
    pub syslog: bool,
    /// Where the syslog daemon listens.
    pub syslog_socket: PathBuf,
    /// For files made from now on.
    pub umask: Option<u32>,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// Where to work.
    pub work_dir: Option<PathBuf>,
    /// In the order given; later ones win.
    pub debug: Vec<Debug>,
}

impl DaemonConfig {
    /// As `DaemonOptions::from_here`.
    pub fn from_here(&self, path: &Path) -> PathBuf {
        in_directory(self.background, self.work_dir.as_deref(), path.to_owned())
    }
}

fn in_directory(background: bool, directory: Option<&Path>, path: PathBuf) -> PathBuf {
    match directory {
        Some(directory) if background => directory.join(path),
        _ => path,
    }
}

impl DaemonOptions {
    /// A path of the daemon, seen from the directory in which it is started: in the background, relative ones are meant
    /// from -w.
    pub fn from_here(&self, path: PathBuf) -> PathBuf {
        in_directory(self.background, self.work_dir.as_deref(), path)
    }

    /// Checks all values.
    ///
    /// # Errors
    ///
    /// An empty path.
    pub fn validate(self) -> Result<DaemonConfig, Error> {
        for (what, path) in [("-P", &self.pid_file), ("-w", &self.work_dir)] {
            if path
                .as_ref()
                .is_some_and(|path| path.as_os_str().is_empty())
            {
                return Err(Error::Usage(format!("{what}: an empty path names nothing")));
            }
        }
        Ok(DaemonConfig {
            background: self.background,
            syslog: self.syslog || self.background,
            syslog_socket: self.syslog_socket,
            umask: self.umask,
            pid_file: self.pid_file,
            work_dir: self.work_dir,
            debug: self.debug,
        })
    }
}

/// FLoP's modes: decimal, octal with a leading 0, hexadecimal with a leading 0x.
fn umask(value: &str) -> Result<u32, String> {
    let (digits, radix) = match value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
    {
        Some(digits) => (digits, 16),
        None if value.len() > 1 && value.starts_with('0') => (value, 8),
        None => (value, 10),
    };
    let unsigned = !digits.starts_with('+'); // Which Rust would take.
    match u32::from_str_radix(digits, radix) {
        Ok(mode) if mode <= UMASK_MAX && unsigned => Ok(mode),
        _ => Err(format!(
            "{value} is not a umask (0 to 0777, as octal 027, decimal 23 or hexadecimal 0x17)"
        )),
    }
}

/// Reads `AREA,LEVEL`.
///
/// # Errors
///
/// A sentence that says which areas and levels there are.
pub fn debug_level(value: &str) -> Result<Debug, String> {
    let refused = || {
        let areas: Vec<_> = log::area_names().collect();
        format!(
            "{value} is not AREA,LEVEL (areas: {}; levels 0 to {DEBUG_LEVEL_MAX})",
            areas.join(", ")
        )
    };
    let (area, level) = value.split_once(',').ok_or_else(refused)?;
    let area = log::area_names().find(|known| *known == area.trim());
    let level = level
        .trim()
        .parse()
        .ok()
        .filter(|level| *level <= DEBUG_LEVEL_MAX);
    match (area, level) {
        (Some(area), Some(level)) => Ok(Debug { area, level }),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_umask_is_decimal_octal_or_hexadecimal() {
        for (text, mode) in [
            ("027", 0o27),
            ("23", 0o27),
            ("0x17", 0o27),
            ("0X17", 0o27),
            ("0", 0),
            ("0777", 0o777),
            ("511", 0o777),
        ] {
            assert_eq!(umask(text), Ok(mode), "{text}");
        }
        for text in [
            "", "08", "01000", "512", "0x200", "0x", "-1", "+7", "rwx", "0o27",
        ] {
            let refused = umask(text).unwrap_err();
            assert!(
                refused.starts_with(&format!("{text} is not a umask")),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_debug_level_is_an_area_and_a_digit() {
        let mail = Debug {
            area: "mail",
            level: 9,
        };
        assert_eq!(debug_level("mail,9"), Ok(mail));
        assert_eq!(debug_level("mail, 9"), Ok(mail));
        for text in ["mail", "mail,10", "mail,-1", "post,1", ",1", "mail,"] {
            assert!(
                debug_level(text).unwrap_err().contains("is not AREA,LEVEL"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_background_implies_syslog() {
        let options = DaemonOptions {
            background: true,
            ..DaemonOptions::default()
        };
        assert!(options.validate().unwrap().syslog);
    }
}
