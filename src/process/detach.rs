//! To the background, and how the terminal hears of what is refused on the way.
//!
//! The parent stays until the daemon says that it is ready, or ends: until then the daemon's standard error is still
//! the terminal, and its exit code the parent's.

#![forbid(unsafe_code)]

use crate::error::Error;
use daemonize::{Daemonize, Outcome, Stdio};
use nix::sys::stat::{Mode, umask};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

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

/// Tells the parent that everything which can be refused has been checked. Dropped before that, the parent ends with
/// an error.
#[derive(Debug)]
pub(super) struct Readiness(Option<File>);

impl Detach {
    /// Detaches, if that is wanted. To be called before any thread is started: fork(2) keeps no thread but its caller.
    ///
    /// # Errors
    ///
    /// The system refuses a process or the directory.
    pub(super) fn run(&self) -> Result<Detached, Error> {
        if !self.background {
            return Ok(Detached::Daemon(Readiness(None)));
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
                Ok(Detached::Parent(wait_for_daemon(File::from(
                    std::os::fd::OwnedFd::from(read),
                ))))
            }
            Outcome::Child(Ok(_)) => Ok(Detached::Daemon(Readiness(Some(File::from(
                std::os::fd::OwnedFd::from(write),
            ))))),
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
        let Some(mut parent) = self.0 else {
            return Ok(());
        };
        let failed = |error: std::io::Error| Error::start("cannot open /dev/null", error, "");
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        let dup = nix::unistd::dup2_stdout(&null).and_then(|()| nix::unistd::dup2_stderr(&null));
        dup.map_err(|errno| failed(errno.into()))?;
        // An error: the parent was killed, and nobody waits.
        let _ = parent.write_all(b"+");
        Ok(())
    }
}

fn wait_for_daemon(mut daemon: File) -> ExitCode {
    let mut said = Vec::new();
    match daemon.read_to_end(&mut said) {
        Ok(1) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE, // The daemon has said why.
    }
}

/// The umask can only be read by setting it; no other thread exists yet.
fn current_umask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}
