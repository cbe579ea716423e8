//! What each daemon does between its options and its threads: debug levels, background, umask, PID file; and when it is
//! ready, syslog.

#![forbid(unsafe_code)]

use super::detach::{Detach, Detached, Readiness};
use super::{PidFile, Restart, absolute};
use crate::daemon::DaemonConfig;
use crate::error::Error;
use crate::log;
use nix::sys::stat::{Mode, umask};
use std::os::unix::net::UnixDatagram;
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
    /// To be called before any thread is started. `restart` hears what it has to hand over one day.
    ///
    /// # Errors
    ///
    /// The background, the directory or the PID file is refused.
    pub fn begin(config: &DaemonConfig, restart: &mut Restart) -> Result<Begun, Error> {
        for debug in &config.debug {
            // An error: the option was checked against the same table.
            let _ = log::set_debug(debug.area, debug.level);
        }
        let detach = Detach {
            // A restart keeps its process: it is in the background already.
            background: config.background && !restart.is_restarted(),
            directory: config.work_dir.clone(),
            umask: config.umask,
        };
        let readiness = match detach.run()? {
            Detached::Parent(code) => return Ok(Begun::Parent(code)),
            Detached::Daemon(readiness) => readiness,
        };
        if config.background
            && restart.is_restarted()
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
            pid_file: take_pid_file(config, restart)?,
            syslog: config.syslog.then(|| config.syslog_socket.clone()),
        }))
    }
}

/// Takes the PID file. One that the program before this one had, and that the configuration does not name any more, is
/// removed.
fn take_pid_file(config: &DaemonConfig, restart: &mut Restart) -> Result<Option<PidFile>, Error> {
    let path = config.pid_file.as_deref();
    let place = path.map(absolute);
    let taken = path.map(PidFile::create).transpose()?;
    if let Some(before) = restart.pid_file_before()
        && Some(before) != place.as_deref()
    {
        PidFile::remove_own(before);
    }
    restart.next.pid_file = place;
    // Absolute: the next program logs there before it is in this directory.
    restart.next.syslog = config.syslog.then(|| absolute(&config.syslog_socket));
    Ok(taken)
}

impl Running {
    /// The daemon is ready: the operator's command returns, and from now on lines go to syslog, if they are to. The PID
    /// file, to be kept to the end.
    ///
    /// # Errors
    ///
    /// The terminal cannot be let go.
    pub fn ready(self) -> Result<Option<PidFile>, Error> {
        match self.syslog {
            Some(socket) => {
                // The last chance to say it anywhere.
                if let Err(error) = UnixDatagram::unbound().and_then(|probe| probe.connect(&socket))
                {
                    crate::warning!(
                        "syslog does not answer at {}: {error}; lines are lost until it does",
                        socket.display()
                    );
                }
                log::use_syslog(socket);
            }
            None => log::use_terminal(),
        }
        self.readiness.tell()?;
        Ok(self.pid_file)
    }
}
