//! drop: takes what sockserv dropped from a unix datagram socket, and prints it.

use clap::Parser;
use flop::error::Error;
use flop::process::{Cause, Signals};
use flop::{log, mail, options};
use std::process::ExitCode;

fn main() -> ExitCode {
    log::open("drop");
    match run(options::Drop::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flop::err!("{error}");
            error.exit_code()
        }
    }
}

fn run(options: options::Drop) -> Result<(), Error> {
    let path = options.validate()?;
    let printer = mail::Printer::open(&path)?;
    let signals = Signals::install(Cause::Stop("SIGHUP"))?;
    let printer = printer.start()?;
    flop::notice!("ready: dropped alerts from {}", path.display());
    let cause = printer.wait(&signals);
    flop::notice!("stopping: {cause}");
    flop::notice!("stopped: {}", printer.stop());
    Ok(())
}
