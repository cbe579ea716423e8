//! servsock: listens, starts a worker process for each connection, tells who came and went, reaps.
//!
//! | process, thread       | work                                                                     |
//! |-----------------------|--------------------------------------------------------------------------|
//! | master, central-main  | accepts, starts and reaps workers, passes commands on                    |
//! | master, central-ctrl  | FIFO, periodic statistics                                                |
//! | worker, main thread   | connection -> check -> buffer; acknowledges what is committed            |
//! | worker, worker-write  | buffer -> database, a batch a transaction; important alerts -> alert socket |
//! | worker, worker-drop   | dropped alerts -> drop socket or standard output                         |

#![forbid(unsafe_code)]

mod alarm;
mod away;
pub(crate) mod batch;
mod beat;
mod comparing;
mod control;
pub(crate) mod conversation;
mod dropper;
mod handle;
mod leftovers;
mod master;
mod messages;
mod sensors;
mod settings;
#[cfg(test)]
pub(crate) mod simulated;
mod swap;
mod swapping;
mod worker;
mod writer;

use crate::crew::Crew;
use crate::ctrl::{self, Fifo};
use crate::error::Error;
use crate::net;
use crate::options::CentralConfig;
use crate::preflight;
use crate::process::{Cause, LeftOpen, Pulse, Signals};
use crate::store;
use crate::wake::Waker;
use crossbeam_channel::{Receiver, bounded, select, unbounded};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use worker::Task;

/// The workers get the whole drain time, and the master this much more to hear of their end.
const END_SECS_MAX: Duration = Duration::from_secs(2);

/// What can be refused: opened while standard error is still the terminal.
pub struct Inputs {
    listener: TcpListener,
    fifo: Fifo,
}

impl Inputs {
    /// Checks the database, listens, makes the FIFO, or takes over the one that a restart left open. A database that is merely away is told, and no reason to stop:
    /// the sensors keep their alerts until it is there.
    ///
    /// # Errors
    ///
    /// The first that is refused.
    pub fn open(config: &CentralConfig, control: Option<LeftOpen>) -> Result<Inputs, Error> {
        let listener = net::listen(&config.listen.host, config.listen.port).map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "is another servsock running? -p takes another port"
                }
                std::io::ErrorKind::AddrNotAvailable => "--listen takes an address of this machine",
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are for root; -p takes another one"
                }
                _ => "",
            };
            Error::start(format!("cannot listen on {}", config.listen), error, advice)
        })?;
        if let Some(dir) = &config.swap_dir {
            let tried = || format!("cannot keep alerts in {} (-W)", dir.display());
            preflight::can_make_files(dir).map_err(|answer| Error::start(tried(), answer, ""))?;
        }
        let fifo = Fifo::inherit(control, &config.control)?;
        match store::open(&config.db, &config.settings).check() {
            Ok(()) => crate::notice!("alerts are stored in {}", config.db),
            Err(store::CheckError::Final(error)) => {
                return Err(Error::start("the database cannot be used", error, ""));
            }
            Err(store::CheckError::Away(error)) => crate::warning!(
                "{error}; {} until the database is there",
                match config.swap_dir {
                    Some(_) => "alerts wait on disk",
                    None => "the sensors keep their alerts",
                }
            ),
        }
        Ok(Inputs { listener, fifo })
    }
}

/// Is a worker process: serves one sensor, or empties what other workers left on disk.
///
/// # Errors
///
/// This process was not started by servsock.
pub fn run_worker() -> Result<(), Error> {
    match worker::inherit()? {
        Task::Sensor(worker) => worker.run(),
        Task::Leftovers(leftovers) => leftovers.run()?,
    }
    Ok(())
}

/// The running servsock.
pub struct Central {
    crew: Crew,
    requests: control::Requests,
    ended: Receiver<String>,
    /// What the control thread leaves when it ends.
    fifo: Receiver<Fifo>,
    asked: Receiver<Cause>,
    pulses: Vec<Pulse>,
    drain: Duration,
}

impl Central {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread or a descriptor.
    pub fn start(inputs: Inputs, config: &CentralConfig) -> Result<Central, Error> {
        let waker =
            || Waker::new().map_err(|error| Error::start("cannot make an eventfd", error, ""));
        let master_waker = waker()?;
        let (requests, master_requests) = control::requests(master_waker.clone());
        let control_waker = waker()?;
        let pulses = vec![
            Pulse::new("central-main", &master_waker),
            Pulse::new("central-ctrl", &control_waker),
        ];
        let (asked_send, asked) = unbounded();
        let (ended_send, ended) = bounded(1);
        let (fifo_send, fifo_left) = bounded(1);
        match inputs.listener.local_addr() {
            Ok(address) => crate::notice!("listening for sensors on {address}"),
            Err(error) => crate::warning!("listening, but where is unknown: {error}"),
        }
        let mut crew = Crew::default();
        let master = master::Master::new(
            inputs.listener,
            config.clone(),
            master_requests,
            control_waker.clone(),
        );
        crew.spawn("central-main", move || {
            // The receiver lives as long as `Central`.
            let _ = ended_send.send(master.run());
        })?;
        let controls = control::Controls::new(config, requests.clone(), asked_send);
        let fifo = inputs.fifo;
        crew.spawn("central-ctrl", move || {
            // The receiver lives as long as `Central`.
            let _ = fifo_send.send(ctrl::run(fifo, &control_waker, controls));
        })?;
        Ok(Central {
            crew,
            requests,
            ended,
            fifo: fifo_left,
            asked,
            pulses,
            drain: config.drain,
        })
    }

    /// The threads that never wait for anybody.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.pulses.clone()
    }

    /// Waits for a reason to stop or restart.
    pub fn wait(&self, signals: &Signals) -> Cause {
        select! {
            recv(signals.caught) -> cause => cause.unwrap_or(Cause::Stop("no signals any more")),
            recv(self.asked) -> cause => cause.unwrap_or(Cause::Stop("no control thread any more")),
        }
    }

    /// Stops accepting, lets the workers store what they have for at most the drain time. The final statistics.
    pub fn stop(self) -> String {
        self.halt().0
    }

    /// The same, and the FIFO for the program that follows; `None` where the control thread does not end.
    pub fn halt(self) -> (String, Option<Fifo>) {
        self.requests.stop();
        let line = self.ended.recv_timeout(self.drain + 2 * END_SECS_MAX);
        let left = self.crew.join_until(Instant::now() + END_SECS_MAX);
        if !left.is_empty() {
            crate::warning!("left behind, still busy: {}", left.join(", "));
        }
        let line = line.unwrap_or_else(|_| "the final numbers are not known".to_owned());
        (line, self.fifo.try_recv().ok())
    }
}
