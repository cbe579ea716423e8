//! servsock's side of the control thread: each command becomes a request to the master's thread.

#![forbid(unsafe_code)]

use super::master::shown;
use super::messages::Numbers;
use super::settings::{Change, Settings};
use crate::alert::SensorName;
use crate::clock::now_us;
use crate::ctrl::{self, Command, Configuration, Controlled, Periodic};
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

/// The numbers of all workers, those that have ended too, and of each connected sensor.
type Statistics = (Numbers, Vec<(SensorName, Numbers)>);

const BUSY: &str = "the master thread is busy; ask again in a while";

/// What the master is asked.
pub(super) enum Request {
    Statistics(Sender<Statistics>),
    /// All sensors that have come.
    Report(Sender<Report>),
    /// The settings, and a line for each sensor with marks of its own.
    InForce(Sender<(Settings, Vec<String>)>),
    /// Other settings, for workers and those to come; answered with what is in force then.
    Change(Change, Sender<String>),
    /// The end of this sensor's connections; answered with how many there were.
    Disconnect(String, Sender<String>),
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

    /// `None`: the master is busy, or has ended, and so will this thread.
    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Option<T> {
        let (send, receive) = bounded(1);
        self.send.send(request(send)).ok()?;
        self.waker.wake();
        receive.recv_timeout(ANSWER_WITHIN).ok()
    }

    fn ask_for_text(&self, request: impl FnOnce(Sender<String>) -> Request) -> String {
        self.ask(request)
            .unwrap_or_else(|| format!("no answer: {BUSY}"))
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
    before: Statistics,
    configuration: Configuration,
    started_us: i64,
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
            before: Statistics::default(),
            configuration: Configuration::new(&config.dump),
            started_us: now_us(),
        }
    }

    /// A line for all sensors together, then one for each that is connected.
    fn statistics(&mut self) -> String {
        let Some(now) = self.requests.ask(Request::Statistics) else {
            return format!("no statistics: {BUSY}");
        };
        let lines = statistics_lines(&now, &self.before);
        self.before = now;
        lines
    }

    fn set_stats(&mut self, every: Option<Duration>) -> String {
        self.stats = Periodic::new(every);
        self.stats.shown()
    }

    fn change(&self, change: Change) -> String {
        self.requests
            .ask_for_text(|answer| Request::Change(change, answer))
    }

    /// The file that a restart would need to come to what is in force now.
    fn configuration(&mut self) -> String {
        let Some((settings, own)) = self.requests.ask(Request::InForce) else {
            return format!("no configuration: {BUSY}");
        };
        let path = |path: Option<std::ffi::OsString>| {
            let path = path.map(|path| path.to_string_lossy().into_owned());
            path.into_iter().collect::<Vec<_>>()
        };
        let every = self.stats.every().map(|every| every.as_secs().to_string());
        for (keyword, values) in [
            ("HighWater", vec![settings.high.to_string()]),
            ("LowWater", vec![settings.low.to_string()]),
            ("Quiet", vec![ctrl::flag(settings.quiet)]),
            ("DropSocket", path(settings.drop_socket)),
            ("AlertSocket", path(settings.alert_socket)),
            ("UnixPriority", vec![settings.priority.to_string()]),
            ("Statistics", every.into_iter().collect()),
        ] {
            self.configuration.set(keyword, &values);
        }
        let text = [self.configuration.text()];
        text.into_iter().chain(own).collect::<Vec<_>>().join("\n")
    }

    fn ask(&self, cause: Cause) -> String {
        // An error: it is stopping already.
        let _ = self.asked.send(cause);
        String::new() // The main thread says it.
    }
}

fn statistics_lines(now: &Statistics, before: &Statistics) -> String {
    let total = now.0.line(&before.0);
    let each = now.1.iter().map(|(sensor, numbers)| {
        let is_same = |(known, _): &&(SensorName, Numbers)| known == sensor;
        let earlier = before.1.iter().find(is_same);
        let earlier = earlier.map_or(Numbers::default(), |(_, numbers)| *numbers);
        format!("sensor {}: {}", shown(sensor), numbers.line(&earlier))
    });
    [total]
        .into_iter()
        .chain(each)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Controlled for Controls {
    const PROGRAM: ctrl::Program = ctrl::Program::Servsock;

    fn execute(&mut self, command: Command) -> String {
        match command {
            Command::Stats => self.statistics(),
            Command::StatsEvery(every) => self.set_stats(every),
            Command::High(mark) => self.change(Change::High(mark)),
            Command::Low(mark) => self.change(Change::Low(mark)),
            Command::Quiet(quiet) => self.change(Change::Quiet(quiet)),
            Command::Debug(debug) => self.change(Change::Debug(debug)),
            Command::Priority(priority) => self.change(Change::Priority(priority)),
            Command::AlertSocket(path) => self.change(Change::AlertSocket(path)),
            Command::Disconnect(name) => self
                .requests
                .ask_for_text(|answer| Request::Disconnect(name, answer)),
            Command::Config => self.configuration(),
            Command::Restart => self.ask(Cause::Restart("restart, from the control FIFO")),
            Command::Quit => self.ask(Cause::Stop("quit, from the control FIFO")),
            // The first three are answered by the control thread itself, with `report`.
            Command::Help
            | Command::Status
            | Command::Sensors
            | Command::Server(..)
            | Command::Reconnect
            | Command::MaxTry(_)
            | Command::Wait(_)
            | Command::DropSocket(_) => "refused: this command is not servsock's".to_owned(),
        }
    }

    fn report(&mut self) -> Report {
        let report = self.requests.ask(Request::Report);
        report.unwrap_or_else(|| Report {
            program: "servsock".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listens: String::new(),
            now_us: now_us(),
            started_us: self.started_us,
            database_away: false,
            sensors: Vec::new(),
        })
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        if self.stats.is_due(now) {
            let lines = self.statistics();
            lines.lines().for_each(|line| crate::info!("{line}"));
        }
        self.stats.next()
    }

    fn stopped(&self) -> bool {
        self.requests.stop.load(Ordering::SeqCst)
    }
}
