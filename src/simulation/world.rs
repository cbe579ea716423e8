//! One run: a sensor, the workers it ever had, the lines between them, the database, and what happens to them.

#![forbid(unsafe_code)]

use super::books::Books;
use super::climate::{Climate, Step};
use super::database::{BAD_GID, Call, Fate, Shared};
use super::line::Line;
use super::random::Random;
use super::{Breach, Way};
use crate::alert::{Alert, Ids, Payload};
use crate::buffer::{CHUNK_BYTES, Water};
use crate::central::simulated::Worker;
use crate::options::SpoolConfig;
use crate::sensor::simulated::{Ended, Habits, Sensor};
use crate::spool;
use crate::wire::frame::{self, Frame};
use crate::wire::{StreamId, item};
use std::cell::RefCell;
use std::rc::Rc;
use tempfile::TempDir;

/// With faults.
const STEPS: usize = 500;
/// Rounds without faults, in each of which everybody does all he can: more would be no progress.
const ROUNDS_MAX: usize = 200;
/// An alert that the database refuses waits for others to be compared with.
const COMPARED_EVERY: usize = 20;
/// Bytes that a sender queues.
const QUEUE_BYTES: usize = 3_000;
/// What a stranger pretends is far above what is ever sent.
const STRANGER: u64 = 1 << 32;

pub(super) struct World {
    random: Random,
    climate: Climate,
    sensor: Sensor,
    /// The one that the sensor uses.
    current: Option<usize>,
    links: Vec<Link>,
    database: Shared,
    is_away: bool,
    books: Books,
    /// The spool's.
    _folder: Option<TempDir>,
    /// The names of streams that there were.
    streams: u8,
    trace: Option<Trace>,
}

/// A connection, and the worker at its end.
struct Link {
    line: Line,
    /// Bytes that arrived and are not read.
    at_worker: Vec<u8>,
    at_sensor: Vec<u8>,
    /// `None`: it is gone.
    worker: Option<Worker>,
}

/// What happened, for who wants to read it; shared, so that a panic does not take it along.
pub(super) type Trace = Rc<RefCell<Vec<String>>>;

impl World {
    pub(super) fn new(seed: u64, way: Way, breach: Option<Breach>, trace: Option<Trace>) -> World {
        let mut random = Random::new(seed);
        let climate = Climate::new(&mut random, way);
        let folder = (way == Way::Spool).then(folder);
        let habits = Habits {
            water: climate.water,
            spool: folder.as_ref().map(|folder| spool(folder, &mut random)),
            packs: seed % 2 == 1,
            breach,
        };
        World {
            sensor: Sensor::new(stream(0), &habits),
            _folder: folder,
            random,
            climate,
            current: None,
            links: Vec::new(),
            database: Shared::new(breach),
            is_away: false,
            books: Books::default(),
            streams: 0,
            trace,
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn run(mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            let step = self.random.weighted(&self.climate.steps);
            self.step(step)?;
            self.books.check(self.sensor.held())?;
        }
        self.calm_down();
        for round in 0..ROUNDS_MAX {
            if round % COMPARED_EVERY == 0 {
                self.alerts()?;
            }
            self.round()?;
            self.books.check(self.sensor.held())?;
            if self.books.is_complete() && self.sensor.held() == 0 {
                return Ok(());
            }
        }
        Err(format!("no progress: {}", self.books.missing()))
    }

    fn note(&self, text: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(text());
        }
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Alerts => self.alerts(),
            Step::Sensor => self.sensor_turn(),
            Step::Arrive => {
                let (link, up) = (self.any_link(), self.random.percent(50));
                let bytes = [1, 7, 40, 300, usize::MAX][self.random.below(5)];
                self.arrive(link, up, bytes);
                Ok(())
            }
            Step::Worker => {
                let link = self.any_link();
                self.worker_turn(link)
            }
            Step::Writer => {
                let link = self.any_link();
                self.writer_turn(link)
            }
            Step::Cut => {
                let (up, down) = (self.random.below(400), self.random.below(100));
                self.note(|| format!("cut behind {up} and {down} bytes"));
                let link = self.any_link();
                self.with_link(link, |link| link.line.cut(up, down));
                Ok(())
            }
            Step::HalfOpen => {
                let (link, up) = (self.any_link(), self.random.percent(50));
                self.note(|| format!("one direction of {link} is dead, up: {up}"));
                self.with_link(link, |link| link.line.kill_direction(up));
                Ok(())
            }
            Step::GiveUp => {
                let says_bye = self.random.percent(50);
                self.disconnect(says_bye);
                Ok(())
            }
            Step::Kill => {
                let link = self.any_link();
                self.kill(link);
                Ok(())
            }
            Step::Supersede => {
                let link = self.any_link();
                if self.current != Some(link) {
                    self.supersede(link);
                }
                Ok(())
            }
            Step::Database => {
                self.is_away = !self.is_away;
                let is_away = self.is_away;
                self.note(|| format!("the database is away: {is_away}"));
                Ok(())
            }
            Step::Restart => {
                self.restart();
                Ok(())
            }
            Step::Crash => self.crash(),
            Step::Disk => {
                let syncs = self.random.percent(40);
                self.sensor.disk_turn(syncs);
                Ok(())
            }
            Step::Move => {
                self.disconnect(true);
                let stream = self.fresh_stream();
                self.sensor.leave_stream(stream);
                Ok(())
            }
            Step::Stranger => {
                self.stranger();
                Ok(())
            }
        }
    }

    /// Mostly the newest; those before the last few are hardly alive.
    fn any_link(&mut self) -> usize {
        let before = [0, 0, 0, 0, 1, 2][self.random.below(6)];
        self.links.len().saturating_sub(1 + before)
    }

    fn with_link(&mut self, link: usize, work: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(link) {
            work(link);
        }
    }

    fn alerts(&mut self) -> Result<(), String> {
        for _ in 0..=self.random.below(8) {
            let number = self.books.next_alert();
            let item = self.alert(number);
            let dropped = self.sensor.push(&item, number.into());
            let dropped = dropped.iter().flat_map(|chunk| chunk.items());
            self.books.drops(number, dropped)?;
        }
        Ok(())
    }

    fn alert(&mut self, number: u32) -> Vec<u8> {
        let is_bad = self.random.percent(self.climate.bad_alerts);
        let is_big = self.random.percent(self.climate.big_alerts);
        let message = vec![b'x'; [1, 20, 200][self.random.below(3)]];
        let record = vec![b'x'; if is_big { CHUNK_BYTES / 2 } else { 0 }];
        let alert = Alert {
            ids: Ids::Snort3,
            time_us: number.into(),
            gid: if is_bad { BAD_GID } else { 1 },
            sid: 1,
            rev: 1,
            class_id: None,
            class_name: "".into(),
            priority: 1,
            event_id: Some(number),
            event_reference: None,
            message: message.into(),
            interface: "".into(),
            action: "".into(),
            app_proto: "".into(),
            flow: None,
            packet: None,
            payload: Payload::None,
            record: &record,
        };
        let mut bytes = Vec::new();
        item::put_alert(&mut bytes, &alert);
        bytes
    }

    fn sensor_turn(&mut self) -> Result<(), String> {
        let Some(current) = self.current else {
            if self.sensor.wants_connection() {
                self.connect();
            }
            return Ok(());
        };
        let link = &mut self.links[current];
        let heard = self.sensor.hear(&mut link.at_sensor);
        let has_ended = link.line.down.has_ended();
        self.sensor_has_heard()?;
        match heard {
            Err(Ended::NewStream) => {
                self.disconnect(false);
                self.note(|| "a new stream begins".to_owned());
                let stream = self.fresh_stream();
                self.sensor.begin_stream(stream);
            }
            Err(Ended::Lost) => self.disconnect(false),
            Ok(()) if has_ended => self.disconnect(false),
            Ok(()) => return self.send(current),
        }
        Ok(())
    }

    fn sensor_has_heard(&mut self) -> Result<(), String> {
        let (stream, number) = (self.sensor.stream(), self.sensor.acknowledged());
        let durable = self.database.lock().last_seq(stream);
        self.books.acknowledges(stream, number, durable)
    }

    fn connect(&mut self) {
        let hello = self.sensor.connect();
        let (water, drops) = (self.climate.worker_water, self.climate.worker_drops);
        let mut line = Line::default();
        line.up.send(&hello);
        self.links.push(Link {
            line,
            at_worker: Vec::new(),
            at_sensor: Vec::new(),
            worker: Some(Worker::new(water, drops, self.database.clone())),
        });
        let link = self.links.len() - 1;
        self.current = Some(link);
        let (stream, acknowledged) = (self.sensor.stream(), self.sensor.acknowledged());
        self.note(|| format!("connection {link}: stream {stream} behind {acknowledged}"));
    }

    fn send(&mut self, current: usize) -> Result<(), String> {
        while self.links[current].line.up.len() < QUEUE_BYTES {
            let Some(sent) = self.sensor.next() else {
                return Ok(());
            };
            let stream = self.sensor.stream();
            let (first, count) = (sent.first, sent.items.len());
            self.note(|| format!("connection {current}: {count} items from number {first} on"));
            for (number, item) in (first..).zip(sent.items) {
                self.books.sends(stream, number, item)?;
            }
            self.links[current].line.up.send(&sent.bytes);
        }
        Ok(())
    }

    fn disconnect(&mut self, says_bye: bool) {
        let Some(current) = self.current.take() else {
            return;
        };
        self.note(|| format!("connection {current}: left by the sensor"));
        let link = &mut self.links[current];
        if says_bye {
            let mut bytes = Vec::new();
            frame::put(&mut bytes, &Frame::Bye("a new connection"));
            link.line.up.send(&bytes);
        }
        link.line.up.close();
        link.at_sensor.clear();
    }

    fn arrive(&mut self, link: usize, up: bool, most: usize) {
        let Some(link) = self.links.get_mut(link) else {
            return;
        };
        match up {
            true => link.at_worker.extend(link.line.up.deliver(most)),
            false => link.at_sensor.extend(link.line.down.deliver(most)),
        }
    }

    fn worker_turn(&mut self, number: usize) -> Result<(), String> {
        let Some(link) = self.links.get_mut(number) else {
            return Ok(());
        };
        let Some(worker) = &mut link.worker else {
            return Ok(());
        };
        worker.hear_writer();
        worker.hear(&mut link.at_worker);
        if link.line.up.has_ended() {
            worker.end();
        }
        let (is_finished, is_fenced) = (worker.is_finished(), worker.is_fenced());
        if is_finished {
            worker.say_goodbye();
        }
        let promised = worker.take_promised();
        link.line.down.send(&worker.take_output());
        if is_finished {
            link.line.down.close();
            link.worker = None;
            let why = if is_fenced { "is fenced, and " } else { "" };
            self.note(|| format!("worker {number}: {why}ends"));
        }
        for (stream, stored) in promised {
            self.note(|| format!("worker {number}: {stored} is durable"));
            let durable = self.database.lock().last_seq(stream);
            if stored > durable {
                return Err(format!(
                    "a worker says {stored} of {stream}, {durable} is durable"
                ));
            }
        }
        Ok(())
    }

    fn writer_turn(&mut self, number: usize) -> Result<(), String> {
        let fate = self.fate();
        let link = self.links.get_mut(number);
        let Some(worker) = link.and_then(|link| link.worker.as_mut()) else {
            return Ok(());
        };
        let Some(call) = worker.call() else {
            return Ok(());
        };
        worker.answer(fate);
        if call != Call::Idle {
            self.note(|| format!("worker {number}: {call:?}, {fate:?}"));
        }
        let committed = self.database.lock().take_committed();
        for committed in committed {
            self.note(|| format!("worker {number}: COMMIT of {committed:?}"));
            self.books.commits(&committed)?;
        }
        Ok(())
    }

    fn fate(&mut self) -> Fate {
        match (self.is_away, self.random.percent(self.climate.answers_lost)) {
            (true, _) => Fate::Away,
            (false, true) => Fate::AnswerLost,
            (false, false) => Fate::Runs,
        }
    }

    /// kill -9: what it had in memory is gone, and the kernel closes its connection.
    fn kill(&mut self, number: usize) {
        self.note(|| format!("worker {number}: killed"));
        self.with_link(number, |link| {
            link.worker = None;
            link.line.down.close();
        });
    }

    fn supersede(&mut self, number: usize) {
        let link = self.links.get_mut(number);
        if let Some(worker) = link.and_then(|link| link.worker.as_mut()) {
            worker.supersede();
        }
    }

    fn restart(&mut self) {
        self.disconnect(true);
        self.note(|| "the sensor restarts".to_owned());
        self.replace_sensor(Sensor::restart);
    }

    fn crash(&mut self) -> Result<(), String> {
        self.disconnect(false);
        let fresh = self.fresh_stream();
        let mut gone = Vec::new();
        self.replace_sensor(|old| {
            let (new, unwritten) = old.killed(fresh);
            gone = unwritten;
            new
        });
        self.note(|| format!("the sensor is killed, {} chunks are gone", gone.len()));
        self.books.is_killed();
        let mut items = gone.iter().flat_map(|chunk| chunk.items());
        items.try_for_each(|item| self.books.is_gone(item))
    }

    fn replace_sensor(&mut self, work: impl FnOnce(Sensor) -> Sensor) {
        let nobody = Habits {
            packs: false,
            water: self.climate.water,
            spool: None,
            breach: None,
        };
        let old = std::mem::replace(&mut self.sensor, Sensor::new(stream(0), &nobody));
        self.sensor = work(old);
    }

    /// Only where nothing is stored that the sensor has not heard of: those would come twice, and rightly so.
    fn stranger(&mut self) {
        let (stream, acknowledged) = (self.sensor.stream(), self.sensor.acknowledged());
        let mut database = self.database.lock();
        if database.last_seq(stream) == acknowledged && acknowledged < STRANGER {
            database.pretend(stream, STRANGER);
            drop(database);
            self.note(|| format!("a stranger writes {STRANGER} of {stream}"));
        }
    }

    fn fresh_stream(&mut self) -> StreamId {
        self.streams += 1;
        stream(self.streams)
    }

    /// From now on nothing goes wrong.
    fn calm_down(&mut self) {
        self.note(|| "calm".to_owned());
        self.is_away = false;
        self.climate.answers_lost = 0;
        self.climate.bad_alerts = 0;
        // Where each buffer is full of alerts that the database refuses, nothing can be compared.
        let water = Water::new(1_000, 999).expect("low is below high");
        (self.climate.water, self.climate.worker_water) = (water, water);
        self.sensor.set_water(water);
        for link in &self.links {
            link.worker
                .iter()
                .for_each(|worker| worker.set_water(water));
        }
    }

    /// Everybody does what he can, and silence is noticed.
    fn round(&mut self) -> Result<(), String> {
        if let Some(current) = self.current
            && self.links[current].line.is_faulty()
        {
            self.disconnect(false);
        }
        for syncs in [false, true, false] {
            self.sensor.disk_turn(syncs);
        }
        self.sensor_turn()?;
        for link in 0..self.links.len() {
            if self.current != Some(link) {
                self.supersede(link);
            }
            self.arrive(link, true, usize::MAX);
            self.worker_turn(link)?;
            for _ in 0..8 {
                self.writer_turn(link)?;
            }
            self.worker_turn(link)?;
            self.arrive(link, false, usize::MAX);
        }
        self.sensor_turn()
    }
}

/// In memory, where the system has such a place: a disk that is busy with other tests would make a run ten times as long.
fn folder() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder")
}

/// Segments of a few items, or of many.
fn spool(folder: &TempDir, random: &mut Random) -> SpoolConfig {
    SpoolConfig {
        dir: folder.path().join("spool"),
        options: spool::Options {
            sync: spool::Sync::Off,
            segment_bytes: [9_000, 12_000, spool::SEGMENT_BYTES][random.below(3)],
            ..spool::Options::default()
        },
    }
}

fn stream(number: u8) -> StreamId {
    StreamId([number; 16])
}
