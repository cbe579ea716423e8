//! `--exec`: a program that gets the records of a batch on its standard input, a line of JSON each, and has a time to
//! deal with them. It is told done by exit code 0.

#![forbid(unsafe_code)]

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the program with these lines.
///
/// # Errors
///
/// It cannot be started, did not end in time, or its exit code is not 0.
pub(super) fn run(program: &Path, lines: String, timeout: Duration) -> Result<(), String> {
    let shown = program.display();
    let deadline = Instant::now() + timeout;
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .process_group(0) // So that what it starts is killed with it.
        .spawn()
        .map_err(|error| format!("cannot start {shown}: {error}"))?;
    let mut input = child.stdin.take().expect("it is piped");
    // A program that does not read would hold a plain write for ever; killing it ends this thread.
    let writer = thread::Builder::new()
        .name("mail-exec".to_owned())
        .spawn(move || input.write_all(lines.as_bytes()));
    let ended = match writer {
        Ok(_) => wait(&mut child, deadline),
        Err(error) => Err(error),
    };
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{shown} ended with {status}")),
        Ok(None) => {
            kill(&mut child);
            Err(format!(
                "{shown} did not end within {} s and was killed",
                timeout.as_secs()
            ))
        }
        Err(error) => {
            kill(&mut child);
            Err(format!("cannot wait for {shown}: {error}"))
        }
    }
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
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
