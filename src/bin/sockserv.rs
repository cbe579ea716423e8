//! sockserv: takes the alerts of the IDS on this sensor and ships them to servsock.
//!
//! The order of `run` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

use clap::CommandFactory;
use flop::config::{self, CommandLine};
use flop::error::Error;
use flop::options::{SOCKSERV_KEYWORDS, Sockserv};
use flop::process::{self, Begun, Cause, Restart, Service, Signals};
use flop::sensor::{Carried, Inputs, Sensor};
use std::process::ExitCode;

fn main() -> ExitCode {
    config::run_program(Sockserv::command(), run)
}

fn run(line: CommandLine) -> Result<ExitCode, Error> {
    let mut restart = Restart::prepare()?;
    let carried = Carried::take(&mut restart)?;
    let in_force = line.with_file::<Sockserv>(SOCKSERV_KEYWORDS)?;
    let testing = in_force.options.instead.test;
    let config = Sockserv::validate(&in_force, process::host_name)?;
    if in_force.options.instead.dump {
        return config::print(&in_force.dump(SOCKSERV_KEYWORDS, &[]));
    }
    if testing {
        drop(Inputs::open(&config, None, None)?);
        flop::notice!("the configuration is fine");
        return Ok(ExitCode::SUCCESS);
    }
    let daemon = match Begun::begin(&config.daemon, &mut restart)? {
        Begun::Parent(code) => return Ok(code),
        Begun::Daemon(daemon) => daemon,
    };
    let mut inputs = Inputs::open(&config, restart.take_control(), carried)?;
    let signals = Signals::install(Cause::Restart("SIGHUP"))?;
    let _pid_file = daemon.ready()?;
    let service = Service::find()?;
    loop {
        let sensor = Sensor::start(inputs, &config)?;
        service.ready(sensor.pulses());
        flop::notice!("ready");
        match restart.heed(&signals, || Ok::<_, Error>(sensor.wait(&signals)))? {
            Cause::Stop(cause) => {
                service.stopping();
                flop::notice!("stopping: {cause}");
                flop::notice!("stopped: {}", sensor.stop());
                return Ok(ExitCode::SUCCESS);
            }
            Cause::GiveUp(cause) => {
                service.stopping();
                flop::err!("giving up: {cause}");
                flop::notice!("stopped: {}", sensor.stop());
                return Ok(ExitCode::FAILURE);
            }
            Cause::Restart(cause) => {
                service.reloading();
                flop::notice!("restarting: {cause}");
                inputs = sensor.restart(&restart, &signals)?;
            }
        }
    }
}
