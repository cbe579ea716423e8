//! Tries a program out before anything is stopped for it: it reads its arguments and its configuration file, and ends.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// All our programs have this option; its short form is not the same in all of them.
const CHECK: &str = "--dump";
/// It takes milliseconds; a disk that has to wake up takes seconds.
const TRIAL_SECS_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A sentence or two.
const ANSWER_BYTES_MAX: u64 = 2_000;

/// Runs `program` in `directory` with its own arguments and `CHECK`, which checks all of them and the file, makes nothing, and
/// prints what is in force. So a program that is cut off or broken is found as well. Where a signal to stop comes
/// meanwhile there is nothing to say against a restart: it is for that one to stop.
///
/// # Errors
///
/// What the system, or the program, says against it.
pub(super) fn try_out(
    program: &Path,
    arguments: &[OsString],
    directory: BorrowedFd<'_>,
    asked_to_stop: impl Fn() -> bool,
) -> Result<(), String> {
    let (mut child, answer) =
        start(program, arguments, directory).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + TRIAL_SECS_MAX;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(refusal(status, answer)),
            None if asked_to_stop() => {
                end(child);
                return Ok(());
            }
            None if Instant::now() > deadline => {
                end(child);
                let seconds = TRIAL_SECS_MAX.as_secs();
                return Err(format!("tried out, it did not end within {seconds} s"));
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// The child, and what it says to its standard error. That is bounded: more than a socket holds, and it hangs.
fn start(
    program: &Path,
    arguments: &[OsString],
    directory: BorrowedFd<'_>,
) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (name, arguments) = arguments.split_first().ok_or(io::ErrorKind::NotFound)?;
    let child = Command::new(program)
        .arg0(name)
        .arg(CHECK)
        .args(arguments)
        // Also where the directory was removed meanwhile.
        .current_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(theirs))
        .spawn()?;
    Ok((child, ours))
}

fn refusal(status: ExitStatus, answer: UnixStream) -> String {
    let mut said = Vec::new();
    // Nobody is waited for: what is there is there.
    let _ = answer.take(ANSWER_BYTES_MAX).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    match said.lines().next() {
        Some(line) => format!("tried out, it says `{line}`"),
        None => format!("tried out, it ended with {status}"),
    }
}

fn end(mut child: Child) {
    // Errors: it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
