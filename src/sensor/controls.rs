//! sockserv's side of the control thread: what its commands do, and what it says of itself.

#![forbid(unsafe_code)]

use super::Stop;
use super::status::{Counts, Status};
use super::tuning::{Settings, Tuning};
use crate::alert::{Ids, SensorName};
use crate::buffer::{Gauge, Water};
use crate::clock::now_us;
use crate::ctrl::{self, Command, Configuration, Controlled, Periodic};
use crate::daemon::Debug;
use crate::log;
use crate::options::{Drops, SensorConfig, Server};
use crate::process::Cause;
use crate::status::{Pulse, Report, SensorState};
use crossbeam_channel::Sender;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What the control thread works on.
pub(super) struct Controls {
    status: Status,
    tuning: Tuning,
    stop: Stop,
    asked: Sender<Cause>,
    stats: Periodic,
    /// The numbers of the last line, for the brackets.
    before: Counts,
    told_first: [bool; Ids::ALL.len()],
    sensor: SensorName,
    configuration: Configuration,
    pulse: Pulse,
    started_us: i64,
}

impl Controls {
    pub(super) fn new(
        config: &SensorConfig,
        tuning: Tuning,
        status: Status,
        stop: Stop,
        asked: Sender<Cause>,
    ) -> Self {
        Controls {
            status,
            tuning,
            stop,
            asked,
            stats: Periodic::new(config.stats_every),
            before: Counts::default(),
            told_first: Default::default(),
            sensor: config.sensor.clone(),
            configuration: Configuration::new(&config.dump),
            pulse: Pulse::default(),
            started_us: now_us(),
        }
    }

    fn stats_line(&mut self) -> String {
        let now = self.status.counts();
        let line = self.status.line(&now, &self.before);
        self.before = now;
        line
    }

    fn set_stats(&mut self, every: Option<Duration>) -> String {
        self.stats = Periodic::new(every);
        self.stats.shown()
    }

    fn set_server(&self, host: String, port: Option<u16>) -> String {
        self.tuning.change(|settings| {
            let port = port.unwrap_or(settings.server.port);
            settings.server = Server { host, port };
            settings.wanted += 1;
        });
        let server = self.tuning.settings().server;
        format!("servsock is at {server} from now on")
    }

    fn reconnect(&self) -> String {
        self.tuning.change(|settings| settings.wanted += 1);
        let server = self.tuning.settings().server;
        format!("the connection to servsock at {server} is made anew")
    }

    fn set_drops(&self, change: impl FnOnce(&mut Settings)) -> String {
        self.tuning.change(change);
        let settings = self.tuning.settings();
        match (settings.drops(), settings.drop_socket) {
            (Drops::Socket(path), _) => {
                format!("dropped alerts go to drop socket {}", path.display())
            }
            (Drops::Print, _) => "dropped alerts are printed, or logged with -l".to_owned(),
            (Drops::Quiet, None) => {
                "dropped alerts are only counted; after `quiet off` they are printed".to_owned()
            }
            (Drops::Quiet, Some(path)) => format!(
                "dropped alerts are only counted; after `quiet off` they go to drop socket {}",
                path.display()
            ),
        }
    }

    /// The file that a restart would need to come to what is in force now.
    fn configuration(&mut self) -> String {
        let (settings, water) = (self.tuning.settings(), self.status.gauge.water());
        let some = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let path = |path: std::path::PathBuf| path.display().to_string();
        let secs = |duration: Duration| duration.as_secs().to_string();
        for (keyword, values) in [
            ("Server", vec![settings.server.host]),
            ("Port", vec![settings.server.port.to_string()]),
            (
                "MaxTry",
                some(settings.max_try.map(|tries| tries.to_string())),
            ),
            ("WaitTime", some(settings.wait_time.map(secs))),
            ("DropSocket", some(settings.drop_socket.map(path))),
            ("Quiet", vec![ctrl::flag(settings.quiet)]),
            ("HighWater", vec![water.high().to_string()]),
            ("LowWater", vec![water.low().to_string()]),
            ("Statistics", some(self.stats.every().map(secs))),
        ] {
            self.configuration.set(keyword, &values);
        }
        self.configuration.text()
    }

    fn ask(&self, cause: Cause) -> String {
        // An error: it is stopping already.
        let _ = self.asked.send(cause);
        String::new() // The main thread says it.
    }

    fn tell_first_alerts(&mut self) {
        let shared = &self.status.shared;
        for (ids, told) in Ids::ALL.into_iter().zip(&mut self.told_first) {
            let socket = shared.first_alert[ids as usize - 1].load(Relaxed);
            if socket > 0 && !*told {
                *told = true;
                let socket = &shared.sockets[socket as usize - 1];
                crate::notice!("the first alert of {} came on {socket}", ids.name());
            }
        }
    }

    fn sample(&mut self, now: Instant) -> Counts {
        let counts = self.status.counts();
        self.pulse
            .sample(now, now_us(), counts.received, counts.dropped);
        counts
    }
}

/// Sets one mark and leaves the other; the answer for the operator.
fn set_water(gauge: &Gauge, high: Option<u64>, low: Option<u64>) -> String {
    let now = gauge.water();
    match Water::new(high.unwrap_or(now.high()), low.unwrap_or(now.low())) {
        Ok(water) => {
            gauge.set_water(water);
            format!("HighWater is {}, LowWater is {}", water.high(), water.low())
        }
        Err(error) => format!(
            "refused: {error}; HighWater stays {}, LowWater {}",
            now.high(),
            now.low()
        ),
    }
}

fn set_debug(debug: Debug) -> String {
    match log::set_debug(debug.area, debug.level) {
        Ok(()) => format!("debug level of {} is {}", debug.area, debug.level),
        Err(reason) => format!("refused: {reason}"),
    }
}

impl Controlled for Controls {
    const PROGRAM: ctrl::Program = ctrl::Program::Sockserv;

    fn execute(&mut self, command: Command) -> String {
        match command {
            Command::Stats => self.stats_line(),
            Command::StatsEvery(every) => self.set_stats(every),
            Command::High(mark) => set_water(&self.status.gauge, Some(mark.alerts), None),
            Command::Low(mark) => set_water(&self.status.gauge, None, Some(mark.alerts)),
            Command::Quiet(quiet) => self.set_drops(|settings| settings.quiet = quiet),
            Command::DropSocket(path) => self.set_drops(|settings| settings.drop_socket = path),
            Command::Debug(debug) => set_debug(debug),
            Command::Config => self.configuration(),
            Command::Server(host, port) => self.set_server(host, port),
            Command::Reconnect => self.reconnect(),
            Command::MaxTry(tries) => {
                self.tuning.change(|settings| settings.max_try = tries);
                match tries {
                    Some(tries) => {
                        format!("after {tries} tries without success it gives up")
                    }
                    None => "it tries to reach servsock for ever".to_owned(),
                }
            }
            Command::Wait(secs) => {
                let wait = secs.map(Duration::from_secs);
                self.tuning.change(|settings| settings.wait_time = wait);
                match secs {
                    Some(secs) => format!("{secs} s between two tries to reach servsock"),
                    None => "1 s between two tries to reach servsock, growing to 30 s".to_owned(),
                }
            }
            Command::Restart => self.ask(Cause::Restart("restart, from the control FIFO")),
            Command::Quit => self.ask(Cause::Stop("quit, from the control FIFO")),
            Command::Help
            | Command::Status
            | Command::Sensors
            | Command::Priority(_)
            | Command::AlertSocket(_)
            | Command::Disconnect(_) => "refused: this command is not sockserv's".to_owned(),
        }
    }

    fn report(&mut self) -> Report {
        let now = Instant::now();
        let counts = self.sample(now);
        let shared = &self.status.shared;
        let line = shared.line.now();
        let heard_us = shared.heard_us.load(Relaxed);
        Report {
            program: "sockserv".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listens: String::new(),
            now_us: now_us(),
            started_us: self.started_us,
            database_away: line.down.is_none() && shared.database_away.load(Relaxed),
            sensors: vec![SensorState {
                name: self.sensor.name.clone(),
                interface: self.sensor.interface.clone(),
                address: line.address,
                down: line.down,
                since_us: line.since_us,
                heard_us: (heard_us > 0).then_some(heard_us),
                received: counts.received,
                stored: counts.sent,
                dropped: counts.dropped,
                dropped_us: self.pulse.dropped_us(),
                buffered: counts.buffered,
                low_water: self.status.gauge.water().low(),
                spooled: counts.spooled,
                lag_us: u64::try_from(self.status.lag().as_micros()).unwrap_or(u64::MAX),
                rate: self.pulse.rate(now, counts.received),
            }],
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.tell_first_alerts();
        self.sample(now);
        let shared = Arc::clone(&self.status.shared);
        let name = |socket: usize| Cow::Borrowed(shared.sockets[socket].as_str());
        for line in shared.ledger.tell(now, name) {
            crate::warning!("{line}");
        }
        if self.stats.is_due(now) {
            let line = self.stats_line();
            crate::info!("{line}");
        }
        let due = [
            self.stats.next(),
            shared.ledger.next_due(),
            self.pulse.next_due(),
        ];
        due.into_iter().flatten().min()
    }

    fn stopped(&self) -> bool {
        self.stop.is_asked()
    }
}
