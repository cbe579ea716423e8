//! To the background, and how the terminal hears of what is refused on the way.
//!
//! The parent stays until the daemon sends it a byte, its exit code: 0 when it is ready, another one when it has said on
//! the terminal why it ends. Until then the daemon's standard error is still the terminal. A daemon that dies without a
//! word closes the pipe by that, and not before: so it is held to the end of the process.

#![forbid(unsafe_code)]

use crate::error::Error;
use daemonize::{Daemonize, Outcome, Stdio};
use nix::sys::stat::{Mode, umask};
use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// How to go to the background.
#[derive(Clone, Debug, Default)]
pub(super) struct Detach {
    /// Whether to do so at all.
    pub(super) background: bool,
    /// Working directory there; `None` stays where it is.
    pub(super) directory: Option<PathBuf>,
    /// Umask there; `None` keeps it.
    pub(super) umask: Option<u32>,
}

/// Which of the two processes this is.
#[derive(Debug)]
pub(super) enum Detached {
    /// The one that the operator started: it ends with this code.
    Parent(ExitCode),
    /// The daemon (or the only one there is, in the foreground).
    Daemon(Readiness),
}

/// The parent that waits, if there is one.
static PARENT: Mutex<Option<PipeWriter>> = Mutex::new(None);

/// Whether there is a terminal to be let go, once everything that can be refused has been checked.
#[derive(Debug)]
pub(super) struct Readiness {
    has_terminal: bool,
}

/// The parent, if one waits, ends with this code. To be called once the terminal has the daemon's last line.
pub fn tell_parent(code: u8) {
    let parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut parent) = parent {
        // An error: it was killed, and nobody waits.
        let _ = parent.write_all(&[code]);
    }
}

impl Detach {
    /// Detaches, if that is wanted. To be called before any thread is started: fork(2) keeps no thread but its caller.
    ///
    /// # Errors
    ///
    /// The system refuses a process or the directory.
    pub(super) fn run(&self) -> Result<Detached, Error> {
        if !self.background {
            return Ok(Detached::Daemon(Readiness {
                has_terminal: false,
            }));
        }
        let failed =
            |error: &dyn std::fmt::Display| Error::start("cannot go to the background", error, "");
        let (read, write) = std::io::pipe().map_err(|error| failed(&error))?;
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => std::env::current_dir().map_err(|error| failed(&error))?,
        };
        // daemonize would set 027.
        let mask = self.umask.map_or_else(current_umask, |mask| mask & 0o777);
        let outcome = Daemonize::new()
            .working_directory(&directory)
            .umask(mask)
            .stdout(Stdio::keep())
            .stderr(Stdio::keep())
            .execute();
        match outcome {
            Outcome::Parent(Ok(_)) => {
                drop(write);
                Ok(Detached::Parent(wait_for_daemon(read)))
            }
            Outcome::Child(Ok(_)) => {
                *PARENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(write);
                Ok(Detached::Daemon(Readiness { has_terminal: true }))
            }
            Outcome::Parent(Err(error)) | Outcome::Child(Err(error)) => Err(Error::start(
                format!("cannot go to the background in {}", directory.display()),
                error,
                "",
            )),
        }
    }
}

impl Readiness {
    /// The daemon is ready: its parent ends with code 0, and the terminal is let go.
    ///
    /// # Errors
    ///
    /// /dev/null cannot be opened.
    pub(super) fn tell(self) -> Result<(), Error> {
        if !self.has_terminal {
            return Ok(());
        }
        let failed = |error: std::io::Error| Error::start("cannot open /dev/null", error, "");
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        let dup = nix::unistd::dup2_stdout(&null).and_then(|()| nix::unistd::dup2_stderr(&null));
        dup.map_err(|errno| failed(errno.into()))?;
        tell_parent(0);
        Ok(())
    }
}

fn wait_for_daemon(mut daemon: PipeReader) -> ExitCode {
    let mut code = [0];
    match daemon.read_exact(&mut code) {
        Ok(()) => ExitCode::from(code[0]),
        Err(_) => ExitCode::FAILURE, // It died; the terminal may know why.
    }
}

/// The umask can only be read by setting it; no other thread exists yet.
fn current_umask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}
