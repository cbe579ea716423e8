//! SIGHUP: the process executes its program anew, with the same arguments. A program that was replaced on disk is the one
//! that runs then.
//!
//! Before anything is stopped for it, that program is tried out (`trial`). What cannot be seen there, and is refused
//! after the exec, ends the program: so from its first step on it logs where the one before it did (`handover`).

#![forbid(unsafe_code)]

use super::handover::{Carrier, Handover, LeftOpen};
use super::trial::try_out;
use super::{Cause, Signals, keep_on_exec, take_variable};
use crate::error::Error;
use crate::log;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::Mode;
use nix::unistd::{execve, fchdir};
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The environment variable that names the file of what is handed over: `PID:FD`.
const VARIABLE: &str = "FLOP_CARRIED";
/// How the kernel shows an executable whose file was removed.
const DELETED: &str = " (deleted)";

/// What is needed to execute this program again, and what the one before it left.
#[derive(Debug)]
pub struct Restart {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where the program was started; also when the directory has been removed.
    directory: OwnedFd,
    /// What the program before this one in the same process left; `None` at an ordinary start.
    before: Option<Before>,
    /// What goes over with the next restart.
    pub(super) next: Handover,
}

#[derive(Debug)]
struct Before {
    handover: Handover,
    /// The program's own; `None` once it is taken, or where there is nothing.
    payload: Option<Carrier>,
}

/// Writes a program's own part.
pub type WritePayload<'a> = dyn Fn(&mut Carrier) -> io::Result<()> + 'a;

/// What a program leaves to the one that it executes.
#[derive(Default)]
pub struct Leaving<'a> {
    /// Its control FIFO.
    pub control: Option<LeftOpen>,
    /// All that stays open.
    pub open: Vec<BorrowedFd<'a>>,
    /// Writes what the program itself has to say.
    pub payload: Option<&'a WritePayload<'a>>,
}

impl Restart {
    /// Notes program, arguments and directory, and takes over what a program before this one left: from now on lines go
    /// where it wrote them. To be called first, before there are threads.
    ///
    /// # Errors
    ///
    /// /proc is not there, or what was left is not what it should be.
    pub fn prepare() -> Result<Restart, Error> {
        let before = take_before().map_err(|answer| {
            Error::start(
                "cannot take over what was there before the restart",
                answer,
                "what was buffered is lost",
            )
        })?;
        let failed = |error| Error::start("cannot find out which program this is", error, "");
        let here = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let restart = Restart {
            program: program().map_err(failed)?,
            arguments: std::env::args_os().collect(),
            directory: here.map_err(|errno| failed(errno.into()))?,
            before,
            next: Handover::default(),
        };
        // Before there is a handler it would end this program without a word.
        let hang_up = SigSet::from_iter([Signal::SIGHUP]);
        // An error: there is no such signal, which cannot be.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&hang_up), None);
        if let Some(before) = &restart.before {
            if let Some(socket) = &before.handover.syslog {
                log::use_syslog(socket.clone());
            }
            name_process(&restart.program);
        }
        Ok(restart)
    }

    /// Whether this program follows another one in the same process.
    pub fn is_restarted(&self) -> bool {
        self.before.is_some()
    }

    /// The PID file of the program before this one.
    pub(super) fn pid_file_before(&self) -> Option<&Path> {
        self.before.as_ref()?.handover.pid_file.as_deref()
    }

    /// The control FIFO that the program before this one left open. Once.
    pub fn take_control(&mut self) -> Option<LeftOpen> {
        self.before.as_mut()?.handover.control.take()
    }

    /// What the program before this one had to say. Once.
    pub fn take_payload(&mut self) -> Option<Carrier> {
        self.before.as_mut()?.payload.take()
    }

    /// Waits for a reason to stop or restart. A restart that is impossible is told, and changes nothing.
    ///
    /// # Errors
    ///
    /// As `wait`.
    pub fn heed<E>(
        &self,
        signals: &Signals,
        mut wait: impl FnMut() -> Result<Cause, E>,
    ) -> Result<Cause, E> {
        loop {
            let cause = wait()?;
            match cause {
                Cause::Restart(_) => match self.check(signals) {
                    Ok(()) => return Ok(cause),
                    Err(error) => crate::err!("{error}"),
                },
                Cause::Stop(_) | Cause::GiveUp(_) => return Ok(cause),
            }
        }
    }

    /// Whether a restart is possible: asked before anything is stopped for it.
    fn check(&self, signals: &Signals) -> Result<(), Error> {
        let directory = self.directory.as_fd();
        try_out(&self.program, &self.arguments, directory, || {
            signals.ask_to_stop()
        })
        .map_err(|answer| {
            Error::start(
                self.tried(),
                answer,
                "put the program and its configuration in order; this one goes on running",
            )
        })
    }

    /// The last act of a program that has stopped for its restart, and goes on only in the next one: executes it, or
    /// ends in order when a signal to stop came meanwhile.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn follow(&self, leaving: &Leaving<'_>, signals: &Signals) -> Result<ExitCode, Error> {
        match self.execute(leaving, signals) {
            Err(_) if signals.ask_to_stop() => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error),
        }
    }

    /// Executes the program; where the system refuses that after all, the one that runs now once more, which is still
    /// there. Only returns when both failed.
    ///
    /// Signals are blocked until the new program has its handlers (`Signals::install`): one that comes in between waits
    /// for it. One that asks to stop and came before that is not lost either: then nothing is executed.
    ///
    /// # Errors
    ///
    /// What the system answered, or that a signal asks to stop.
    pub fn execute(&self, leaving: &Leaving<'_>, signals: &Signals) -> Result<Infallible, Error> {
        let failed = |error: io::Error| Error::start(self.tried(), error, "");
        let carrier = self.hand_over(leaving).map_err(failed)?;
        let image = Image {
            arguments: texts(self.arguments.iter().cloned()).map_err(failed)?,
            environment: environment(carrier.leave().map_err(failed)?).map_err(failed)?,
        };
        let here = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        fchdir(&self.directory).map_err(|errno| failed(errno.into()))?;
        block();
        let error = match signals.ask_to_stop() {
            true => Error::start("no restart", "a signal asks to stop", ""),
            false => match keep(&leaving.open) {
                Ok(()) => self.replace(&image),
                Err(error) => failed(error),
            },
        };
        unblock();
        leaving.open.iter().for_each(close_on_exec);
        // An error: relative paths are meant from the start directory for the last lines of this program.
        let _ = fchdir(&here);
        Err(error)
    }

    fn hand_over(&self, leaving: &Leaving<'_>) -> io::Result<Carrier> {
        let mut carrier = Carrier::new()?;
        let handover = Handover {
            control: leaving.control.clone(),
            syslog: self.next.syslog.clone(),
            pid_file: self.next.pid_file.clone(),
        };
        handover.write(&mut carrier)?;
        if let Some(payload) = leaving.payload {
            payload(&mut carrier)?;
        }
        Ok(carrier)
    }

    /// execve(2) of the program on disk, then of the one that runs.
    fn replace(&self, image: &Image) -> Error {
        let refused = image.execute(&self.program);
        crate::err!(
            "{}: {}; the program that ran until now goes on",
            self.tried(),
            refused.desc()
        );
        let refused = image.execute(Path::new("/proc/self/exe"));
        Error::start(self.tried(), refused.desc(), "start it again")
    }

    fn tried(&self) -> String {
        format!("cannot restart {}", self.program.display())
    }
}

/// What a program is executed with.
struct Image {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn execute(&self, program: &Path) -> Errno {
        let Ok(program) = CString::new(program.as_os_str().as_bytes()) else {
            return Errno::EINVAL;
        };
        let Err(errno) = execve(&program, &self.arguments, &self.environment);
        errno
    }
}

fn texts(texts: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    texts
        .map(|text| Ok(CString::new(text.into_vec())?))
        .collect()
}

/// This program's own, and the number of what is handed over.
fn environment(carrier: RawFd) -> io::Result<Vec<CString>> {
    let handed = format!("{VARIABLE}={}:{carrier}", std::process::id());
    let own = std::env::vars_os().map(|(mut entry, value)| {
        entry.push("=");
        entry.push(value);
        entry
    });
    texts(own.chain([OsString::from(handed)]))
}

/// Takes what is there for this process. What is there for another one, whose child this is, is not ours: it is only
/// kept from our own children.
fn take_before() -> Result<Option<Before>, String> {
    let Some(value) = take_variable(VARIABLE) else {
        return Ok(None);
    };
    let own = format!("{}:", std::process::id());
    let descriptor = value
        .to_str()
        .and_then(|value| value.strip_prefix(&own)?.parse().ok());
    let Some(descriptor) = descriptor else {
        return Ok(None);
    };
    let mut carrier = Carrier::take_over(descriptor).map_err(|error| error.to_string())?;
    let handover = Handover::read(&mut carrier).map_err(|error| error.0)?;
    Ok(Some(Before {
        handover,
        payload: (carrier.left() > 0).then_some(carrier),
    }))
}

/// The file of this program; where it was replaced or removed meanwhile, the place where it was.
fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let name = program.as_os_str().as_bytes();
    match name.strip_suffix(DELETED.as_bytes()) {
        Some(place) if !program.exists() => Ok(OsString::from_vec(place.to_vec()).into()),
        _ => Ok(program),
    }
}

/// For ps and top: one that was executed as /proc/self/exe is called "exe" there.
fn name_process(program: &Path) {
    let name = program.file_name().unwrap_or_default().as_bytes();
    if let Ok(name) = CString::new(name) {
        // An error: the name is wrong there, and nothing else.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

fn keep(descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    descriptors.iter().try_for_each(keep_on_exec)
}

fn close_on_exec(descriptor: &BorrowedFd<'_>) {
    // An error: it is not open, which cannot be.
    let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
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
