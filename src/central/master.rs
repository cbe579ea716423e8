//! Thread central-main: one poll over the listener and the control connections of all workers.

#![forbid(unsafe_code)]

use super::END_SECS_MAX;
use super::control::{MasterRequests, Request};
use super::leftovers::Emptier;
use super::messages::{Condition, FromWorker, Numbers, Start, ToWorker, encode};
use super::sensors::{Connection, Sensors};
use super::settings::{Change, Tuning};
use super::swap::Place;
use crate::alert::SensorName;
use crate::clock::now_us;
use crate::log::Limiter;
use crate::net;
use crate::options::CentralConfig;
use crate::process::{self, Control, Received};
use crate::status::Report;
use crate::wake::Waker;
use nix::poll::PollFd;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::{Duration, Instant};

/// Workers whose sensor has not said HELLO yet. Beyond, new connections wait in the kernel's queue: whoever opens
/// connections and says nothing gets no more processes than this.
const STRANGERS_MAX: usize = 64;
/// Workers at all; FLoP's largest known site has some hundred sensors.
const WORKERS_MAX: usize = 4096;
/// After an accept or a start that failed (no descriptors, no processes), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// See `Master::make_room`.
const STRANGER_PATIENCE: Duration = Duration::from_secs(1);
/// A superseded worker that has not ended by then hangs, and is killed.
const SUPERSEDED_SECS_MAX: Duration = Duration::from_secs(2);

pub(super) struct Master {
    listener: TcpListener,
    config: CentralConfig,
    requests: MasterRequests,
    /// Woken at the end, for the control thread looks at the same flag.
    control: Waker,
    workers: Vec<Worker>,
    /// Numbers of workers that have ended.
    ended: Numbers,
    /// What they had and did not store: their sensors have it still.
    unstored: u64,
    tuning: Tuning,
    sensors: Sensors,
    started_us: i64,
    accept_again: Option<Instant>,
    accept_errors: Limiter,
    strangers_gone: Limiter,
    /// Empties what workers left in their swaps.
    emptier: Emptier,
}

struct Worker {
    child: Child,
    control: Control,
    peer: SocketAddr,
    since: Instant,
    sensor: Option<(SensorName, String)>,
    numbers: Numbers,
    condition: Condition,
    /// The worker's own last word.
    bye: Option<String>,
    /// Killed when this has passed, for this reason.
    kill: Option<(Instant, &'static str)>,
    gone: bool,
}

impl Master {
    pub(super) fn new(
        listener: TcpListener,
        config: CentralConfig,
        requests: MasterRequests,
        control: Waker,
    ) -> Master {
        Master {
            listener,
            tuning: Tuning::new(&config),
            sensors: Sensors::default(),
            started_us: now_us(),
            config,
            requests,
            control,
            workers: Vec::new(),
            ended: Numbers::default(),
            unstored: 0,
            accept_again: None,
            accept_errors: Limiter::default(),
            strangers_gone: Limiter::default(),
            emptier: Emptier::default(),
        }
    }

    /// Serves until it is stopped; returns the final statistics.
    pub(super) fn run(mut self) -> String {
        self.emptier.look(); // At what was left before this servsock began.
        self.tend_leftovers();
        while !self.requests.is_stopped() {
            self.turn(true);
        }
        self.control.wake();
        self.tell_all(&ToWorker::Stop);
        let kill_at = Instant::now() + self.config.drain + END_SECS_MAX;
        for worker in &mut self.workers {
            worker.kill = Some((kill_at, "it did not end in time and was killed"));
        }
        while !self.workers.is_empty() {
            self.turn(false);
        }
        std::mem::take(&mut self.emptier).stop();
        let line = self.numbers().line(&Numbers::default());
        match self.unstored {
            0 => line,
            unstored => {
                format!("{line}; {unstored} came and were not stored, their sensors keep them")
            }
        }
    }

    fn turn(&mut self, accepting: bool) {
        let (ready, knocking) = self.wait(accepting);
        self.requests.waker.clear();
        while let Ok(request) = self.requests.receive.try_recv() {
            self.answer(request);
        }
        for number in ready {
            self.hear(number);
        }
        self.kill_overdue();
        self.reap();
        if let Some(count) = self.strangers_gone.due(Instant::now()) {
            crate::warning!("{count} more connections ended before a sensor was known");
        }
        if knocking {
            self.accept_all();
        }
        self.make_room();
        self.sample();
        self.emptier.reap();
        if accepting {
            self.tend_leftovers();
        }
    }

    /// What a worker begins with.
    fn start_message(&self) -> Start {
        Start {
            db: self.config.db.with_password(),
            settings: self.tuning.general().clone(),
            store: self.config.settings.clone(),
            swap: self.place(),
            drain_secs: self.config.drain.as_secs(),
            syslog: self
                .config
                .daemon
                .syslog
                .then(|| self.config.daemon.syslog_socket.clone().into()),
        }
    }

    /// Where alerts wait while the database is away.
    fn place(&self) -> Option<Place> {
        let dir = self.config.swap_dir.clone()?;
        Some(Place {
            dir: dir.into(),
            max_bytes: self.config.swap_max,
        })
    }

    /// Has what was left in swaps emptied.
    fn tend_leftovers(&mut self) {
        let mut emptier = std::mem::take(&mut self.emptier);
        emptier.tend(self.config.swap_dir.as_deref(), || self.start_message());
        self.emptier = emptier;
    }

    fn sample(&mut self) {
        let now = Instant::now();
        if self.sensors.sample_due().is_none_or(|due| due <= now) {
            self.sensors.sample(live(&self.workers), now, now_us());
        }
    }

    /// The numbers of the workers that sent something, and whether somebody wants to connect.
    fn wait(&mut self, accepting: bool) -> (Vec<usize>, bool) {
        let now = Instant::now();
        let room = self.strangers() < STRANGERS_MAX && self.workers.len() < WORKERS_MAX;
        let accepting = accepting && room && self.accept_again.is_none_or(|again| again <= now);
        let mut due: Vec<Instant> = self
            .workers
            .iter()
            .filter(|worker| !worker.gone)
            .filter_map(|worker| worker.kill.map(|(at, _)| at))
            .collect();
        due.extend(self.accept_again.filter(|again| *again > now));
        due.extend(self.strangers_gone.next_due());
        due.extend(self.sensors.sample_due());
        due.extend(self.emptier.due());
        let wait = due
            .into_iter()
            .min()
            .map(|due| due.saturating_duration_since(now));
        let mut fds: Vec<PollFd> = vec![net::readable(&self.requests.waker)];
        fds.extend(
            self.workers
                .iter()
                .map(|worker| net::readable(&worker.control)),
        );
        let emptier = self.emptier.fd();
        fds.extend(emptier.iter().map(net::readable));
        if accepting {
            fds.push(net::readable(&self.listener));
        }
        if let Err(error) = net::poll(&mut fds, wait) {
            crate::err!("poll failed: {error}; trying again in a second");
            std::thread::sleep(ACCEPT_PAUSE);
        }
        let workers = &fds[1..=self.workers.len()];
        let ready = (0..workers.len())
            .filter(|number| net::is_ready(&workers[*number]))
            .collect();
        let knocking = accepting && fds.last().is_some_and(net::is_ready);
        (ready, knocking)
    }

    fn answer(&mut self, request: Request) {
        match request {
            // Errors: whoever asked has waited long enough.
            Request::Statistics(answer) => {
                let sensors = self.sensors.numbers(live(&self.workers));
                let _ = answer.send((self.numbers(), sensors));
            }
            Request::Report(answer) => {
                let _ = answer.send(self.report());
            }
            Request::InForce(answer) => {
                let _ = answer.send((self.tuning.general().clone(), self.tuning.own_lines()));
            }
            Request::Change(change, answer) => {
                let _ = answer.send(self.change(change));
            }
            Request::Disconnect(name, answer) => {
                let _ = answer.send(self.disconnect(&name));
            }
        }
    }

    fn report(&self) -> Report {
        let now_us = now_us();
        Report {
            program: "servsock".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listens: self
                .listener
                .local_addr()
                .map_or_else(|_| String::new(), |at| at.to_string()),
            now_us,
            started_us: self.started_us,
            database_away: live(&self.workers).any(|worker| worker.condition.database_away),
            sensors: self
                .sensors
                .states(live(&self.workers), Instant::now(), now_us),
        }
    }

    /// Answers with what is in force then. The workers are told before.
    fn change(&mut self, change: Change) -> String {
        if let Some(name) = change.sensor()
            && !self.sensors.has(name)
        {
            return nobody(name);
        }
        let answer = self.tuning.change(change);
        self.workers
            .iter()
            .for_each(|worker| self.tell_settings(worker));
        answer
    }

    fn tell_settings(&self, worker: &Worker) {
        worker.tell(&ToWorker::Settings(match &worker.sensor {
            Some((sensor, _)) => self.tuning.of(&sensor.name),
            None => self.tuning.general().clone(),
        }));
    }

    fn disconnect(&self, name: &str) -> String {
        let is_its = |worker: &&Worker| {
            let sensor = worker.sensor.as_ref();
            sensor.is_some_and(|(sensor, _)| sensor.name == name) && worker.bye.is_none()
        };
        let workers: Vec<&Worker> = self.workers.iter().filter(is_its).collect();
        for worker in &workers {
            worker.tell(&ToWorker::Disconnect);
        }
        match workers.len() {
            0 if self.sensors.has(name) => format!("sensor \"{name}\" is not connected now"),
            0 => nobody(name),
            1 => format!(
                "sensor \"{name}\" is disconnected; its sockserv comes back by itself, at the latest with its next alert"
            ),
            count => format!(
                "{count} connections of sensor \"{name}\" are ended; its sockservs come back by themselves, at the latest with their next alert"
            ),
        }
    }

    fn numbers(&self) -> Numbers {
        let mut sum = self.ended;
        self.workers
            .iter()
            .for_each(|worker| sum.add(worker.numbers()));
        sum
    }

    fn tell_all(&self, message: &ToWorker) {
        self.workers.iter().for_each(|worker| worker.tell(message));
    }

    fn accept_all(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(error) = self.start(&stream, peer) {
                        self.tell_accept_error(&format!(
                            "cannot start a worker for {peer}: {error}"
                        ));
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.tell_accept_error(&format!("cannot accept a connection: {error}"));
                    return;
                }
            }
            if self.strangers() >= STRANGERS_MAX {
                return;
            }
        }
    }

    fn tell_accept_error(&mut self, text: &str) {
        let now = Instant::now();
        self.accept_again = Some(now + ACCEPT_PAUSE);
        if let Some(count) = self.accept_errors.told(now) {
            crate::err!(
                "{text} ({count} times); the next try is in a second, the sensor keeps its alerts"
            );
        }
    }

    fn start(&mut self, stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
        let (child, control) = process::start_worker()?;
        crate::debug!(Main, 1, "worker {} is started for {peer}", child.id());
        let start = ToWorker::Start(self.start_message());
        let mut worker = Worker {
            child,
            control,
            peer,
            since: Instant::now(),
            sensor: None,
            numbers: Numbers::default(),
            condition: Condition::default(),
            bye: None,
            kill: None,
            gone: false,
        };
        let sent = worker.control.send(&encode(&start), Some(stream.as_fd()));
        if sent.is_err() {
            worker.kill = Some((Instant::now(), "it could not be given its connection"));
        }
        self.workers.push(worker);
        sent
    }

    fn hear(&mut self, number: usize) {
        loop {
            match self.workers[number].control.receive() {
                Ok(Received::Message(message, _)) => match serde_json::from_slice(&message) {
                    Ok(message) => self.understand(number, message),
                    Err(error) => {
                        crate::err!("a worker's message cannot be read: {error}; it is ended");
                        let kill = (Instant::now(), "its messages could not be read");
                        self.workers[number].kill = Some(kill);
                        return;
                    }
                },
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    self.workers[number].gone = true;
                    return;
                }
            }
        }
    }

    fn understand(&mut self, number: usize, message: FromWorker) {
        match message {
            FromWorker::Hello {
                name,
                interface,
                stream,
                program,
            } => {
                self.supersede(&stream);
                let worker = &mut self.workers[number];
                let sensor = SensorName { name, interface };
                crate::notice!(
                    "sensor {} came from {} (sockserv {program}), worker {}",
                    shown(&sensor),
                    worker.peer,
                    worker.child.id()
                );
                self.sensors
                    .came(&sensor, worker.peer.to_string(), now_us());
                worker.sensor = Some((sensor, stream));
                self.tell_settings(&self.workers[number]);
            }
            FromWorker::Numbers(numbers, condition) => {
                let worker = &mut self.workers[number];
                (worker.numbers, worker.condition) = (numbers, condition);
            }
            FromWorker::Bye { reason, numbers } => {
                self.workers[number].numbers = numbers;
                self.workers[number].bye = Some(reason);
            }
        }
    }

    /// A sensor that connects again while its old connection hangs: the old worker ends. Nothing depends on when, for
    /// the new one has taken the stream over in the database.
    fn supersede(&mut self, stream: &str) {
        for worker in &mut self.workers {
            let same = worker
                .sensor
                .as_ref()
                .is_some_and(|(_, theirs)| theirs == stream);
            if same && worker.bye.is_none() && worker.kill.is_none() {
                worker.tell(&ToWorker::Superseded);
                let at = Instant::now() + SUPERSEDED_SECS_MAX;
                worker.kill = Some((
                    at,
                    "the sensor connected again; this worker hung and was killed",
                ));
            }
        }
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            if let Some((at, why)) = worker.kill.filter(|(at, _)| !worker.gone && *at <= now) {
                worker.bye = Some(why.to_owned());
                // An error: it has ended by itself meanwhile.
                let _ = worker.child.kill();
                worker.kill = Some((at + SUPERSEDED_SECS_MAX, why));
            }
        }
    }

    fn strangers(&self) -> usize {
        self.workers
            .iter()
            .filter(|worker| worker.sensor.is_none())
            .count()
    }

    /// When all places of strangers are taken, one that has said nothing for a second has to make room: a sensor says
    /// HELLO at once.
    fn make_room(&mut self) {
        if self.strangers() < STRANGERS_MAX {
            return;
        }
        let strangers = self
            .workers
            .iter_mut()
            .filter(|worker| worker.sensor.is_none());
        if let Some(oldest) = strangers.min_by_key(|worker| worker.since)
            && oldest.kill.is_none()
        {
            let at = oldest.since + STRANGER_PATIENCE;
            oldest.kill = Some((at, "it said nothing for a second, and others were waiting"));
        }
    }

    fn reap(&mut self) {
        let mut number = 0;
        while number < self.workers.len() {
            match self.workers[number].gone {
                true => {
                    let worker = self.workers.swap_remove(number);
                    self.bury(worker);
                }
                false => number += 1,
            }
        }
    }

    fn bury(&mut self, mut worker: Worker) {
        self.emptier.look();
        // Its end of the control connection is closed: it has ended, or is to end now. An error: it has.
        let _ = worker.child.kill();
        let status = worker.child.wait();
        crate::debug!(Main, 1, "worker {} ended: {status:?}", worker.child.id());
        let why = match (worker.bye, status) {
            (Some(bye), _) => bye,
            (None, Ok(status)) => format!("worker {} ended with {status}", worker.child.id()),
            (None, Err(error)) => format!("worker {}: {error}", worker.child.id()),
        };
        let numbers = worker.numbers;
        self.ended.add(Numbers {
            buffered: 0,
            ..numbers
        });
        self.unstored += numbers.buffered;
        if let Some((sensor, _)) = &worker.sensor {
            let connection = Connection {
                sensor,
                numbers,
                condition: worker.condition,
            };
            self.sensors.left(&connection, &why, now_us());
        }
        match &worker.sensor {
            Some((sensor, _)) => crate::notice!(
                "sensor {} left after {} s: {why}; received {}, stored {}{}",
                shown(sensor),
                worker.since.elapsed().as_secs(),
                numbers.received,
                numbers.stored,
                match numbers.repeated {
                    0 => String::new(),
                    repeated => format!(", skipped {repeated} that came again"),
                }
            ),
            None => {
                self.ended.refused += 1;
                if let Some(count) = self.strangers_gone.told(Instant::now()) {
                    let more = match count {
                        1 => String::new(),
                        _ => format!(" ({} more like this)", count - 1),
                    };
                    crate::warning!("connection from {} ended: {why}{more}", worker.peer);
                }
            }
        }
    }
}

impl Worker {
    /// As the operator is to see them: what it dropped counts at once. (Should the worker end before it is committed,
    /// the sensor sends it again: then it is not dropped.)
    fn numbers(&self) -> Numbers {
        let dropped = self.numbers.dropped.saturating_add(self.condition.pending);
        Numbers {
            dropped,
            ..self.numbers
        }
    }

    fn tell(&self, message: &ToWorker) {
        // An error: it has ended, which its control connection tells as well.
        let _ = self.control.send(&encode(message), None);
    }
}

/// The workers that know their sensor.
fn live(workers: &[Worker]) -> impl Iterator<Item = Connection<'_>> {
    workers.iter().filter_map(|worker| {
        let (sensor, _) = worker.sensor.as_ref()?;
        Some(Connection {
            sensor,
            numbers: worker.numbers(),
            condition: worker.condition,
        })
    })
}

fn nobody(name: &str) -> String {
    format!(
        "refused: no sensor \"{name}\" has come since servsock's start; `sensors` names those that have"
    )
}

/// As the operator knows it.
pub(super) fn shown(sensor: &SensorName) -> String {
    match sensor.interface.as_str() {
        "" => format!("\"{}\"", sensor.name),
        interface => format!("\"{}\" (interface {interface})", sensor.name),
    }
}
