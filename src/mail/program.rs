//! The one source of both programs.
//!
//! The order of `work` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

#![forbid(unsafe_code)]

use super::options::{KEYWORDS, Options, command, computed, validate};
use super::{Carried, Inputs, Kind, Mailer};
use crate::config::{self, CommandLine};
use crate::error::Error;
use crate::process::{Begun, Cause, Restart, Service, Signals};
use std::process::ExitCode;

/// From the command line to the exit code: 0 for a stop by signal, 1 for errors, 2 for usage errors; a test (-T) ends
/// with 0 or 1.
pub fn run(kind: Kind) -> ExitCode {
    config::run_program(command(kind), |line| work(kind, line))
}

fn work(kind: Kind, line: CommandLine) -> Result<ExitCode, Error> {
    let mut restart = Restart::prepare()?;
    let carried = Carried::take(&mut restart)?;
    let in_force = line.with_file::<Options>(KEYWORDS)?;
    let config = validate(kind, &in_force)?;
    if in_force.options.dump {
        return config::print(&in_force.dump(KEYWORDS, &computed(&config)));
    }
    if in_force.options.test {
        Inputs::open(&config, None)?.test()?;
        crate::notice!("the configuration is fine: {config}");
        return Ok(ExitCode::SUCCESS);
    }
    let daemon = match Begun::begin(&config.daemon, &mut restart)? {
        Begun::Parent(code) => return Ok(code),
        Begun::Daemon(daemon) => daemon,
    };
    let mut inputs = Inputs::open(&config, carried)?;
    let signals = Signals::install(Cause::Restart("SIGHUP"))?;
    let _pid_file = daemon.ready()?;
    let service = Service::find()?;
    loop {
        let mut mailer = Mailer::start(inputs, &config)?;
        service.ready(mailer.pulses());
        crate::notice!("ready: {config}");
        match restart.heed(&signals, || mailer.wait(&signals)) {
            Ok(Cause::Restart(cause)) => {
                service.reloading();
                crate::notice!("restarting: {cause}");
                inputs = mailer.restart(&restart, &signals)?;
            }
            ended => return stop(mailer, &service, ended),
        }
    }
}

fn stop(mailer: Mailer, service: &Service, ended: Result<Cause, Error>) -> Result<ExitCode, Error> {
    service.stopping();
    if let Ok(cause) = &ended {
        crate::notice!("stopping: {}", cause.text());
    }
    let stopped = mailer.stop(); // In any case: the socket is to be removed.
    ended?;
    crate::notice!("stopped: {}", stopped?);
    Ok(ExitCode::SUCCESS)
}
