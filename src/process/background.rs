//! What each daemon does between its options and its threads: debug levels, background, umask, PID file; and when it is
//! ready, syslog.

#![forbid(unsafe_code)]

use super::detach::{Detach, Detached, Readiness};
use super::{PidFile, is_restarted};
use crate::daemon::DaemonConfig;
use crate::error::Error;
use crate::log;
use nix::sys::stat::{Mode, umask};
use std::path::PathBuf;
use std::process::ExitCode;

/// Which of the two processes this is.
pub enum Begun {
    /// The one that the operator started: it ends with this code.
    Parent(ExitCode),
    /// The daemon.
    Daemon(Running),
}

/// A daemon that is not ready yet: until `ready`, what is refused still reaches the terminal.
pub struct Running {
    readiness: Readiness,
    syslog: Option<PathBuf>,
    pid_file: Option<PidFile>,
}

impl Begun {
    /// To be called before any thread is started.
    ///
    /// # Errors
    ///
    /// The background, the directory or the PID file is refused.
    pub fn begin(config: &DaemonConfig) -> Result<Begun, Error> {
        for debug in &config.debug {
            // An error: the option was checked against the same table.
            let _ = log::set_debug(debug.area, debug.level);
        }
        let detach = Detach {
            // A restart keeps its process: it is in the background already.
            background: config.background && !is_restarted(),
            directory: config.work_dir.clone(),
            umask: config.umask,
        };
        let readiness = match detach.run()? {
            Detached::Parent(code) => return Ok(Begun::Parent(code)),
            Detached::Daemon(readiness) => readiness,
        };
        if config.background
            && is_restarted()
            && let Some(directory) = &config.work_dir
        {
            std::env::set_current_dir(directory).map_err(|error| {
                Error::start(format!("cannot work in {}", directory.display()), error, "")
            })?;
        }
        if let Some(mask) = config.umask {
            umask(Mode::from_bits_truncate(mask));
        }
        Ok(Begun::Daemon(Running {
            readiness,
            syslog: config.syslog.then(|| config.syslog_socket.clone()),
            pid_file: config
                .pid_file
                .as_deref()
                .map(PidFile::create)
                .transpose()?,
        }))
    }
}

impl Running {
    /// The daemon is ready: the operator's command returns, and from now on lines go to syslog, if they are to. The PID
    /// file, to be kept to the end.
    ///
    /// # Errors
    ///
    /// The terminal cannot be let go.
    pub fn ready(self) -> Result<Option<PidFile>, Error> {
        if let Some(socket) = self.syslog {
            log::use_syslog(socket);
        }
        self.readiness.tell()?;
        Ok(self.pid_file)
    }
}
