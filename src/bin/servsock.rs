//! servsock: receives the alerts of all sensors and writes them to a database, a worker process per sensor.
//!
//! The order of `run` is the contract with the operator, as in sockserv.

use clap::CommandFactory;
use flop::central::{Central, Inputs, Worker};
use flop::config::{self, CommandLine, InForce};
use flop::error::Error;
use flop::options::{CentralConfig, SERVSOCK_KEYWORDS, Servsock};
use flop::process::{Begun, Cause, Restart, Service, Signals};
use std::process::ExitCode;

fn main() -> ExitCode {
    config::run_program(Servsock::command(), run)
}

fn run(line: CommandLine) -> Result<ExitCode, Error> {
    if line.flag("worker") {
        Worker::inherit()?.run();
        return Ok(ExitCode::SUCCESS);
    }
    let restart = Restart::prepare()?;
    let in_force = line.with_file::<Servsock>(SERVSOCK_KEYWORDS)?;
    if in_force.options.dump {
        return config::print(&in_force.dump(SERVSOCK_KEYWORDS, &[]));
    }
    let testing = in_force.options.test;
    let config = in_force.options.clone().validate()?;
    check_password(&config, &in_force)?;
    if testing {
        drop(Inputs::open(&config)?);
        flop::notice!("the configuration is fine");
        return Ok(ExitCode::SUCCESS);
    }
    let daemon = match Begun::begin(&config.daemon)? {
        Begun::Parent(code) => return Ok(code),
        Begun::Daemon(daemon) => daemon,
    };
    let inputs = Inputs::open(&config)?;
    let signals = Signals::install(Cause::Restart("SIGHUP"))?;
    let _pid_file = daemon.ready()?;
    let service = Service::find()?;
    let central = Central::start(inputs, &config)?;
    service.ready(central.pulses());
    flop::notice!("ready");
    match wait(&central, &signals, &restart) {
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
            flop::notice!("{}", central.stop());
            match restart.execute(&[])? {}
        }
    }
}

/// A password in a file that others can read is refused, and one in the argument list is warned of: everybody on this
/// machine can see it there.
fn check_password(config: &CentralConfig, in_force: &InForce<Servsock>) -> Result<(), Error> {
    if !config.db.has_password() {
        return Ok(());
    }
    if in_force.place("db").is_empty() {
        flop::warning!(
            "the database's password is in the argument list, where everybody on this machine can read it; \
             a configuration file (-c, keyword DB) can hide it"
        );
    }
    in_force.check_secret("db")
}

/// A restart that is impossible is told, and changes nothing.
fn wait(central: &Central, signals: &Signals, restart: &Restart) -> Cause {
    loop {
        let cause = central.wait(signals);
        match (cause, restart.check()) {
            (Cause::Restart(_), Err(error)) => flop::err!("{error}"),
            _ => return cause,
        }
    }
}
