//! sockserv: takes the alerts of the IDS on this sensor and ships them to servsock.
//!
//! The order of `run` is the contract with the operator: what can be refused is refused while standard error is still
//! the terminal; only then do threads start.

use clap::CommandFactory;
use flop::config::{self, CommandLine};
use flop::ctrl;
use flop::error::Error;
use flop::options::{SOCKSERV_KEYWORDS, Sockserv, Surroundings};
use flop::preflight;
use flop::process::{self, Begun, Cause, Restart, Service, Signals};
use flop::sensor::{Carried, Inputs, Sensor};
use flop::spool;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    config::run_program(Sockserv::command(), run)
}

fn run(line: CommandLine) -> Result<ExitCode, Error> {
    let mut restart = Restart::prepare()?;
    let carried = Carried::take(&mut restart)?;
    let in_force = line.with_file::<Sockserv>(SOCKSERV_KEYWORDS)?;
    let instead = in_force.options.instead.clone();
    if let Some(dir) = &in_force.options.spool_check {
        return check_spool(dir);
    }
    if let Some(dir) = &in_force.options.spool_export {
        return export_spool(dir);
    }
    if instead.status {
        let fifo = in_force.options.control_from_here();
        return Ok(ctrl::print_status(&fifo, instead.json));
    }
    let surroundings = Surroundings {
        host_name: process::host_name,
        state_directory: std::env::var_os("STATE_DIRECTORY"),
    };
    let config = Sockserv::validate(&in_force, surroundings)?;
    if instead.dump {
        return config::print(&config.dump);
    }
    if instead.test {
        return Ok(preflight::tell(preflight::sockserv(
            &config,
            instead.offline,
        )));
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
            Cause::Stop(text) => {
                service.stopping();
                flop::notice!("stopping: {text}");
                flop::notice!("stopped: {}", sensor.stop(Cause::Stop(text)));
                return Ok(ExitCode::SUCCESS);
            }
            Cause::GiveUp(text) => {
                service.stopping();
                flop::err!("giving up: {text}");
                flop::notice!("stopped: {}", sensor.stop(Cause::GiveUp(text)));
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

fn check_spool(dir: &Path) -> Result<ExitCode, Error> {
    let found = spool::check(dir)?;
    config::print(&found.to_string())?;
    if found.segments == 0 {
        eprintln!("no spool file is in {}", dir.display());
    }
    Ok(ExitCode::from(u8::from(found.lost > 0)))
}

fn export_spool(dir: &Path) -> Result<ExitCode, Error> {
    let exported = spool::export(dir, &mut BufWriter::new(std::io::stdout().lock()))?;
    // Standard output has the records.
    eprintln!(
        "{} alerts and {} other records of spool {}",
        exported.alerts,
        exported.others,
        dir.display()
    );
    Ok(ExitCode::SUCCESS)
}
