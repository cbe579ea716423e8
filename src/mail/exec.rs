//! `--exec`: a program that gets the records of a batch on its standard input, a line of JSON each, and has a time to
//! deal with them. It is told done by exit code 0.

#![forbid(unsafe_code)]

use crate::error::Error;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program that was there.
pub(super) struct Program {
    path: PathBuf,
    timeout: Duration,
}

impl Program {
    /// Checks that it can be executed. The file that is looked at here is the one that is run: not one of the same name
    /// in the directories of PATH.
    ///
    /// # Errors
    ///
    /// It is no regular file, or may not be executed.
    pub(super) fn open(path: &Path, timeout: Duration) -> Result<Program, Error> {
        let refused = |answer: String| {
            Error::start(
                format!("cannot run program {}", path.display()),
                answer,
                "it must be a path to an executable file",
            )
        };
        let path = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let file = std::fs::metadata(&path).map_err(|error| refused(error.to_string()))?;
        if !file.is_file() {
            return Err(refused("it is no regular file".to_owned()));
        }
        access(&path, AccessFlags::X_OK).map_err(|errno| refused(errno.desc().to_owned()))?;
        Ok(Program { path, timeout })
    }

    /// Runs it with these lines. It is killed when its time is over, or ours is, as `stop_at` tells.
    ///
    /// # Errors
    ///
    /// It cannot be started, did not end in time, or its exit code is not 0.
    pub(super) fn run(
        &self,
        lines: String,
        stop_at: impl Fn() -> Option<Instant>,
    ) -> Result<(), String> {
        let shown = self.path.display();
        let begun = Instant::now();
        let mut child = Command::new(&self.path)
            .stdin(Stdio::piped())
            .process_group(0) // So that what it starts is killed with it.
            .spawn()
            .map_err(|error| format!("cannot start {shown}: {error}"))?;
        let mut input = child.stdin.take().expect("it is piped");
        // A program that does not read would hold a plain write for ever; killing it ends this thread.
        let writer = thread::Builder::new()
            .name("mail-exec".to_owned())
            .spawn(move || input.write_all(lines.as_bytes()));
        let is_over =
            || begun.elapsed() >= self.timeout || stop_at().is_some_and(|at| Instant::now() >= at);
        let ended = match writer {
            Ok(_) => wait(&mut child, is_over),
            Err(error) => Err(error),
        };
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("{shown} ended with {status}")),
            Ok(None) => {
                kill(&mut child);
                Err(format!(
                    "{shown} did not end within {} s and was killed",
                    begun.elapsed().as_secs()
                ))
            }
            Err(error) => {
                kill(&mut child);
                Err(format!("cannot wait for {shown}: {error}"))
            }
        }
    }
}

fn wait(child: &mut Child, is_over: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if is_over() {
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL); // It may have ended just now.
    }
    let _ = child.wait();
}
