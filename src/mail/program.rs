//! The one source of both programs.
//!
//! The order of `work` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

#![forbid(unsafe_code)]

use super::options::{KEYWORDS, Options, command, computed, validate};
use super::{Inputs, Kind, Mailer};
use crate::config::CommandLine;
use crate::error::Error;
use crate::log;
use crate::process::Signals;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// From the command line to the exit code: 0 for a stop by signal, 1 for errors, 2 for usage errors; a test (-T) ends
/// with 0 or 1.
pub fn run(kind: Kind, args: impl Iterator<Item = OsString>) -> ExitCode {
    log::open(kind.name());
    let line = match CommandLine::parse(command(kind), args.collect()) {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print(); // Help and version as well; a closed output is no error of ours.
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let testing = line.flag("test");
    match work(kind, line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::err!("{error}");
            match testing {
                true => ExitCode::FAILURE,
                false => error.exit_code(),
            }
        }
    }
}

fn work(kind: Kind, line: CommandLine) -> Result<(), Error> {
    let in_force = line.with_file::<Options>(KEYWORDS)?;
    let config = validate(kind, &in_force)?;
    if in_force.options.dump {
        return print(&in_force.dump(KEYWORDS, &computed(&config)));
    }
    config.daemon.refuse_what_is_missing()?;
    let inputs = Inputs::open(&config)?;
    if in_force.options.test {
        inputs.test()?;
        crate::notice!("the configuration is fine: {config}");
        return Ok(());
    }
    let signals = Signals::install()?;
    let mut mailer = Mailer::start(inputs, &config)?;
    crate::notice!("ready: {config}");
    let cause = mailer.wait(&signals);
    if let Ok(signal) = &cause {
        crate::notice!("stopping: {signal}");
    }
    let stopped = mailer.stop(); // In any case: the socket is to be removed.
    cause?;
    crate::notice!("stopped: {}", stopped?);
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Error::start("cannot print the configuration", error, ""))
}
