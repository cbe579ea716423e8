//! servsock: receives the alerts of all sensors and writes them to a database, a worker process per sensor.

use clap::Parser;
use flop::central::{Central, Inputs, Worker};
use flop::error::Error;
use flop::process::{Cause, Signals};
use flop::{log, options};
use std::process::ExitCode;

fn main() -> ExitCode {
    log::open("servsock");
    match run(options::Servsock::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            flop::err!("{error}");
            error.exit_code()
        }
    }
}

fn run(options: options::Servsock) -> Result<(), Error> {
    if options.worker {
        Worker::inherit()?.run();
        return Ok(());
    }
    let config = options.validate()?;
    let inputs = Inputs::open(&config)?;
    let signals = Signals::install(Cause::Stop("SIGHUP"))?;
    let central = Central::start(inputs, &config)?;
    flop::notice!("ready");
    let cause = central.wait(&signals);
    flop::notice!("stopping: {cause}");
    flop::notice!("stopped: {}", central.stop());
    Ok(())
}
