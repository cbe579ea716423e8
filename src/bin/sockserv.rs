//! sockserv: takes the alerts of the IDS on this sensor and ships them to servsock.
//!
//! The order of `run` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

use clap::Parser;
use flop::error::Error;
use flop::process::{self, Signals};
use flop::sensor::{Inputs, Sensor};
use flop::{log, options};
use std::process::ExitCode;

fn main() -> ExitCode {
    log::open("sockserv");
    match run(options::Sockserv::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flop::err!("{error}");
            error.exit_code()
        }
    }
}

fn run(options: options::Sockserv) -> Result<(), Error> {
    let config = options.validate(process::host_name)?;
    let inputs = Inputs::open(&config)?;
    let signals = Signals::install()?;
    let sensor = Sensor::start(inputs, &config)?;
    flop::notice!("ready");
    let cause = sensor.wait(&signals);
    flop::notice!("stopping: {cause}");
    flop::notice!("stopped: {}", sensor.stop());
    Ok(())
}
