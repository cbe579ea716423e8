//! Starts the built programs, and sends them signals.

use crate::program::{Program, built};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;

/// Starts a built program in a folder, with these variables in its environment.
pub(crate) fn start(
    program: &str,
    environment: &[String],
    args: &[String],
    folder: &Path,
    log: &str,
) -> Program {
    let log = folder.join(format!("{log}.log"));
    let mut words = environment.to_vec();
    words.push(built(program).to_owned());
    words.extend_from_slice(args);
    // env(1) becomes the program: the process is the same.
    Program::start_file(Path::new("/usr/bin/env"), &words, folder, &log)
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| String::from(*word)).collect()
}

/// To a process that may have ended meanwhile.
pub(crate) fn signal_to(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    let _ = kill(pid, signal);
}
