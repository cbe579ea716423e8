//! SIGHUP: the process executes its program anew, with the same arguments. A program that was replaced on disk is the one
//! that runs then.

#![forbid(unsafe_code)]

use super::{Signals, inherited, keep_on_exec};
use crate::error::Error;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{AccessFlags, access, execve};
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// The environment variable that names the descriptor of what is carried over.
const VARIABLE: &str = "FLOP_CARRIED";
/// What is carried over is bounded by the buffer's own limit; this is against a wrong descriptor.
const CARRIED_BYTES_MAX: u64 = 1 << 40;

/// What is needed to execute this program again; to be made at the very start.
#[derive(Debug)]
pub struct Restart {
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
}

impl Restart {
    /// Notes program, arguments and directory.
    ///
    /// # Errors
    ///
    /// /proc is not there, or the directory is gone.
    pub fn prepare() -> Result<Restart, Error> {
        let failed = |error| Error::start("cannot find out which program this is", error, "");
        Ok(Restart {
            program: std::env::current_exe().map_err(failed)?,
            arguments: std::env::args_os().collect(),
            directory: std::env::current_dir().map_err(failed)?,
        })
    }

    /// Whether a restart is possible: asked before anything is stopped for it.
    ///
    /// # Errors
    ///
    /// The program is gone, or may not be executed.
    pub fn check(&self) -> Result<(), Error> {
        access(&self.program, AccessFlags::X_OK).map_err(|errno| self.error(errno.desc()))
    }

    /// The last act of a program that has stopped for its restart, and carries nothing over: executes it, or ends in
    /// order when a signal to stop came meanwhile.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn follow(&self, signals: &Signals) -> Result<ExitCode, Error> {
        match self.execute(&[], signals) {
            Err(_) if signals.ask_to_stop() => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error),
        }
    }

    fn error(&self, answer: impl std::fmt::Display) -> Error {
        Error::start(
            format!("cannot restart {}", self.program.display()),
            answer,
            "put the program back; this one goes on running",
        )
    }

    /// Executes the program. Only returns when that failed.
    ///
    /// Signals are blocked until the new program has its handlers (`Signals::install`): one that comes in between waits
    /// for it. One that asks to stop and came before that is not lost either: then nothing is executed.
    ///
    /// # Errors
    ///
    /// What the system answered, or that a signal asks to stop.
    pub fn execute(&self, carried: &[u8], signals: &Signals) -> Result<Infallible, Error> {
        let failed = |error: io::Error| self.error(error);
        let file = carried_file(carried).map_err(failed)?;
        let here = std::env::current_dir().map_err(failed)?;
        std::env::set_current_dir(&self.directory).map_err(failed)?;
        let text =
            |text: OsString| CString::new(text.into_vec()).map_err(|error| self.error(error));
        let program = text(self.program.clone().into_os_string())?;
        let arguments = self
            .arguments
            .iter()
            .cloned()
            .map(text)
            .collect::<Result<Vec<_>, _>>()?;
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os().filter(|(name, _)| name != VARIABLE) {
            let mut entry = name;
            entry.push("=");
            entry.push(value);
            environment.push(text(entry)?);
        }
        environment.push(text(format!("{VARIABLE}={}", file.as_raw_fd()).into())?);
        block();
        let error = match signals.ask_to_stop() {
            true => Error::start("no restart", "a signal asks to stop", ""),
            false => {
                let Err(errno) = execve(&program, &arguments, &environment);
                self.error(errno.desc())
            }
        };
        unblock();
        std::env::set_current_dir(here).map_err(failed)?;
        Err(error)
    }
}

/// From now on a signal of ours does not come to this thread.
pub(super) fn block() {
    // An error: there is no such signal, which cannot be.
    let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&our_signals()), None);
}

/// Lets signals in that came while the program was executed. After the handlers are there.
pub(super) fn unblock() {
    // An error: they were never blocked.
    let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&our_signals()), None);
}

fn our_signals() -> SigSet {
    [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT]
        .into_iter()
        .collect()
}

fn carried_file(carried: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"flop-carried", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(carried)?;
    keep_on_exec(&file)?;
    Ok(file)
}

/// Whether this program follows another one in the same process.
pub fn is_restarted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// What the program before this one in the same process left; `None` at an ordinary start.
///
/// # Errors
///
/// The variable is there, but what it names is not what it should be.
pub fn carried() -> io::Result<Option<Vec<u8>>> {
    let Some(descriptor) = std::env::var_os(VARIABLE) else {
        return Ok(None);
    };
    let descriptor: Option<RawFd> = descriptor.to_str().and_then(|text| text.parse().ok());
    let descriptor = descriptor.ok_or(io::ErrorKind::InvalidInput)?;
    let name = std::fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
    if !name.to_string_lossy().starts_with("/memfd:flop-carried") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut file = File::from(inherited(descriptor)?);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(CARRIED_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
