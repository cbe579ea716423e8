//! servsock: receives the alerts of all sensors and writes them to a database, a worker process per sensor.
//!
//! The order of `run` is the contract with the operator, as in sockserv.

use clap::CommandFactory;
use flop::central::{self, Central, Inputs};
use flop::config::{self, CommandLine};
use flop::ctrl::{self, Fifo};
use flop::error::Error;
use flop::options::{SERVSOCK_KEYWORDS, Servsock};
use flop::preflight;
use flop::process::{Begun, Cause, Restart, Service, Signals};
use std::process::ExitCode;

fn main() -> ExitCode {
    config::run_program(Servsock::command(), run)
}

fn run(line: CommandLine) -> Result<ExitCode, Error> {
    if line.flag("worker") {
        central::run_worker()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut restart = Restart::prepare()?;
    let in_force = line.with_file::<Servsock>(SERVSOCK_KEYWORDS)?;
    let instead = in_force.options.instead.clone();
    if instead.status {
        let fifo = in_force.options.control_from_here();
        return Ok(ctrl::print_status(&fifo, instead.json));
    }
    let config = Servsock::validate(&in_force)?;
    if instead.dump {
        return config::print(&config.dump);
    }
    if instead.test {
        return Ok(preflight::tell(preflight::servsock(
            &config,
            instead.offline,
        )));
    }
    let daemon = match Begun::begin(&config.daemon, &mut restart)? {
        Begun::Parent(code) => return Ok(code),
        Begun::Daemon(daemon) => daemon,
    };
    let inputs = Inputs::open(&config, restart.take_control())?;
    let signals = Signals::install(Cause::Restart("SIGHUP"))?;
    let _pid_file = daemon.ready()?;
    let service = Service::find()?;
    let central = Central::start(inputs, &config)?;
    service.ready(central.pulses());
    flop::notice!("ready");
    match restart.heed(&signals, || Ok::<_, Error>(central.wait(&signals)))? {
        Cause::Stop(cause) | Cause::GiveUp(cause) => {
            service.stopping();
            flop::notice!("stopping: {cause}");
            flop::notice!("stopped: {}", central.stop());
            Ok(ExitCode::SUCCESS)
        }
        Cause::Restart(cause) => {
            service.reloading();
            flop::notice!("restarting: {cause}");
            // The sensors keep what is not acknowledged, and come back.
            let (line, fifo) = central.halt();
            flop::notice!("{line}");
            let leaving = fifo.as_ref().map(Fifo::leaving).unwrap_or_default();
            restart.follow(&leaving, &signals)
        }
    }
}
