//! servsock's side of the control thread: each command becomes a request to the master's thread.

#![forbid(unsafe_code)]

use super::messages::Numbers;
use crate::buffer::Water;
use crate::ctrl::{self, Command, Controlled, Periodic};
use crate::options::CentralConfig;
use crate::process::Cause;
use crate::status::Report;
use crate::wake::Waker;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The master answers at once unless it is starting a worker.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the master is asked.
pub(super) enum Request {
    /// The sum of all workers' numbers, those that have ended too.
    Numbers(Sender<Numbers>),
    /// Other marks, for all workers and those to come.
    Water(Water),
}

/// Asks the master.
#[derive(Clone)]
pub(super) struct Requests {
    send: Sender<Request>,
    waker: Waker,
    stop: Arc<AtomicBool>,
}

/// The master's end.
pub(super) struct MasterRequests {
    pub(super) receive: Receiver<Request>,
    pub(super) waker: Waker,
    stop: Arc<AtomicBool>,
}

pub(super) fn requests(waker: Waker) -> (Requests, MasterRequests) {
    let (send, receive) = unbounded();
    let stop = Arc::new(AtomicBool::new(false));
    (
        Requests {
            send,
            waker: waker.clone(),
            stop: Arc::clone(&stop),
        },
        MasterRequests {
            receive,
            waker,
            stop,
        },
    )
}

impl Requests {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn ask(&self, request: Request) {
        // An error: the master has ended, and so will this thread.
        let _ = self.send.send(request);
        self.waker.wake();
    }

    fn numbers(&self) -> Option<Numbers> {
        let (send, receive) = bounded(1);
        self.ask(Request::Numbers(send));
        receive.recv_timeout(ANSWER_WITHIN).ok()
    }
}

impl MasterRequests {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What the control thread works on.
pub(super) struct Controls {
    requests: Requests,
    asked: Sender<Cause>,
    stats: Periodic,
    before: Numbers,
    water: Water,
}

impl Controls {
    pub(super) fn new(
        config: &CentralConfig,
        requests: Requests,
        asked: Sender<Cause>,
    ) -> Controls {
        Controls {
            requests,
            asked,
            stats: Periodic::new(config.stats_every),
            before: Numbers::default(),
            water: config.water,
        }
    }

    fn stats_line(&mut self) -> String {
        let Some(now) = self.requests.numbers() else {
            return "no statistics: the master thread is busy, try again".to_owned();
        };
        let line = now.line(&self.before);
        self.before = now;
        line
    }

    fn set_water(&mut self, high: u64, low: u64) -> String {
        match Water::new(high, low) {
            Ok(water) => {
                self.water = water;
                self.requests.ask(Request::Water(water));
                format!("HighWater is {high}, LowWater is {low}, for all sensors")
            }
            Err(error) => format!(
                "refused: {error}; HighWater stays {}, LowWater {}",
                self.water.high(),
                self.water.low()
            ),
        }
    }
}

impl Controlled for Controls {
    const PROGRAM: ctrl::Program = ctrl::Program::Servsock;

    fn execute(&mut self, command: Command) -> String {
        match command {
            Command::Stats => self.stats_line(),
            Command::High(mark) => self.set_water(mark.alerts, self.water.low()),
            Command::Low(mark) => self.set_water(self.water.high(), mark.alerts),
            Command::Restart => {
                // An error: it is stopping already.
                let _ = self
                    .asked
                    .send(Cause::Restart("restart, from the control FIFO"));
                String::new() // The main thread says it.
            }
            Command::Quit => {
                // An error: it is stopping already.
                let _ = self.asked.send(Cause::Stop("quit, from the control FIFO"));
                String::new() // The main thread says it.
            }
            _ => "not yet".to_owned(),
        }
    }

    fn report(&mut self) -> Report {
        let now_us = crate::clock::now_us();
        Report {
            program: "servsock".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_us,
            started_us: now_us,
            database_away: false,
            sensors: Vec::new(),
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        if self.stats.is_due(now) {
            let line = self.stats_line();
            crate::info!("{line}");
        }
        self.stats.next()
    }

    fn stopped(&self) -> bool {
        self.requests.stop.load(Ordering::SeqCst)
    }
}
