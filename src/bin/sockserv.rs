//! sockserv: takes the alerts of the IDS on this sensor and ships them to servsock.
//!
//! The order of `run` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

use clap::Parser;
use flop::error::Error;
use flop::process::{self, Cause, Restart, Signals};
use flop::sensor::{Carried, Inputs, Sensor};
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
    let restart = Restart::prepare()?;
    let config = options.validate(process::host_name)?;
    let mut inputs = Inputs::open(&config, Carried::take()?)?;
    let signals = Signals::install(Cause::Restart("SIGHUP"))?;
    loop {
        let sensor = Sensor::start(inputs, &config)?;
        flop::notice!("ready");
        match wait(&sensor, &signals, &restart) {
            Cause::Stop(cause) => {
                flop::notice!("stopping: {cause}");
                flop::notice!("stopped: {}", sensor.stop());
                return Ok(());
            }
            Cause::Restart(cause) => {
                flop::notice!("restarting: {cause}");
                inputs = sensor.restart(&restart, &config)?;
            }
        }
    }
}

/// A restart that is impossible is told, and changes nothing.
fn wait(sensor: &Sensor, signals: &Signals, restart: &Restart) -> Cause {
    loop {
        let cause = sensor.wait(signals);
        match (cause, restart.check()) {
            (Cause::Restart(_), Err(error)) => flop::err!("{error}"),
            _ => return cause,
        }
    }
}
