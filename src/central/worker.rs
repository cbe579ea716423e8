//! `Worker`, the process of one sensor: its main thread receives. One poll over the sensor's connection, the control
//! connection to the master and what the writer tells.

#![forbid(unsafe_code)]

use super::beat::Beat;
use super::conversation::{Conversation, Heard};
use super::dropper::{self, HIGH_WATER, Overflow, Pending};
use super::handle::Handle;
use super::leftovers::Leftovers;
use super::messages::{Condition, FromWorker, Numbers, Start, ToWorker, encode};
use super::settings::Settings;
use super::writer::{Event, Order, Storage, Writer};
use crate::buffer::{Gauge, Water};
use crate::clock::now_us;
use crate::error::Error;
use crate::log::{self, Limiter};
use crate::net::{self, Connection, Lost};
use crate::process::{self, Control, Received};
use crate::store::Url;
use crate::wire::frame::{Ack, Frame, HANDSHAKE_SECS_MAX, HEARTBEAT_SECS, Hello, SILENCE_SECS_MAX};
use crossbeam_channel::TryRecvError;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Between two messages of numbers to the master.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// A writer that is in the middle of a transaction gets this long to notice that it is to end.
const SUPERSEDED_SECS_MAX: Duration = Duration::from_secs(1);
/// For the peer to read our last words.
const CLOSE_SECS_MAX: Duration = Duration::from_secs(1);

/// The process of one sensor.
pub(super) struct Worker {
    control: Control,
    /// `None` once a signal came: it stays readable.
    stop_signal: Option<UnixStream>,
    /// Its end was seen: it stays readable.
    master_gone: bool,
    connection: Connection,
    storage: Storage,
    drain: Duration,
    conversation: Conversation,
    /// When the handshake, or what has to be stored at the end, has taken too long.
    until: Option<Instant>,
    gauge: Gauge,
    writer: Handle,
    settings: Settings,
    numbers: Numbers,
    reported: (Numbers, Instant),
    /// The sensor's condition has changed since.
    has_news: bool,
    beat: Beat,
    pending: Pending,
    /// Items in the swap that are not in the database.
    swapped: u64,
    /// For what is dropped at HighWater; `None` once nothing more is.
    overflow: Option<Overflow>,
    /// HighWater was reached, LowWater not again yet: the connection is not read.
    paused: bool,
    heard: Instant,
    heartbeat_due: Instant,
    database_away: bool,
    /// Although the database is away: there is a swap.
    takes_all_the_same: bool,
    /// Why the connection ended, once it did.
    reason: Option<String>,
    /// Its name, once it has said HELLO.
    sensor: String,
    repeats: Limiter,
}

/// What this process has to do, as the master's first message says.
///
/// # Errors
///
/// This process was not started by a master.
pub(super) fn inherit() -> Result<Task, Error> {
    process::name_worker();
    let control = Control::inherited()?;
    let (start, connection) = receive_start(&control)?;
    log::set_debug_levels(start.settings.debug);
    if let Some(socket) = &start.syslog {
        log::use_syslog(socket.into());
    }
    Ok(match connection {
        Some(connection) => Task::Sensor(Box::new(Worker::new(control, start, connection)?)),
        None => Task::Leftovers(Box::new(Leftovers::new(control, start)?)),
    })
}

/// See `inherit`.
pub(super) enum Task {
    /// To serve a sensor.
    Sensor(Box<Worker>),
    /// To empty what other workers left.
    Leftovers(Box<Leftovers>),
}

impl Worker {
    fn new(control: Control, start: Start, connection: TcpStream) -> Result<Worker, Error> {
        let storage = storage(&start)?;
        let settings = start.settings;
        let io = |error: std::io::Error| refused(error.to_string());
        let water = Water::new(settings.high, settings.low).map_err(refused)?;
        let (overflow, dropper) = dropper::channel();
        let (writer, intake, gauge) = Handle::new(water, overflow.clone(), dropper).map_err(io)?;
        writer.order(Order::Settings(settings.clone()));
        let now = Instant::now();
        Ok(Worker {
            control,
            stop_signal: Some(process::stop_signal_pipe().map_err(io)?),
            master_gone: false,
            connection: Connection::new(connection).map_err(io)?,
            storage,
            drain: Duration::from_secs(start.drain_secs),
            conversation: Conversation::new(intake),
            until: Some(now + Duration::from_secs(HANDSHAKE_SECS_MAX)),
            gauge,
            writer,
            settings,
            numbers: Numbers::default(),
            reported: (Numbers::default(), now),
            has_news: false,
            beat: Beat::default(),
            pending: Pending::default(),
            swapped: 0,
            overflow: Some(overflow),
            paused: false,
            heard: now,
            heartbeat_due: now + Duration::from_secs(HEARTBEAT_SECS),
            database_away: false,
            takes_all_the_same: false,
            reason: None,
            sensor: String::new(),
            repeats: Limiter::default(),
        })
    }

    /// Serves the sensor until the connection or the process has to end.
    pub(super) fn run(mut self) {
        while !self.is_finished() {
            self.wait();
            self.writer.waker.clear();
            self.hear_master();
            self.hear_writer();
            self.hear_sensor();
            self.watch_time();
            if let Err(lost) = self.connection.flush() {
                self.end(&lost.to_string(), None);
            } else if !self.connection.has_room() {
                self.end("it reads no acknowledgements", None);
            }
            self.report();
        }
        self.say_goodbye();
    }

    fn is_finished(&self) -> bool {
        // The writer tells of a commit before it lets go of the items, so all of it was heard.
        let is_stored = || self.writer.ended || self.gauge.counts().held == 0;
        self.conversation.has_ended() && (self.is_over() || is_stored())
    }

    /// Whether the time to drain is over.
    fn is_over(&self) -> bool {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        self.conversation.has_ended() && is_late
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let mut due = vec![self.heartbeat_due];
        if self.has_news || self.numbers() != self.reported.0 {
            due.push(self.reported.1 + REPORT_EVERY);
        }
        due.extend(self.pending.next_due());
        due.extend(self.until);
        let wait = due
            .into_iter()
            .min()
            .map(|due| due.saturating_duration_since(now));
        let reading = self.is_reading();
        let mut fds = vec![net::readable(&self.writer.waker)];
        if !self.master_gone {
            fds.push(net::readable(&self.control));
        }
        // A lost connection is always "ready": while nothing is read and nothing to write, it is not looked at.
        if reading || self.connection.wants_write() {
            fds.push(self.connection.poll_fd(reading));
        }
        fds.extend(self.stop_signal.iter().map(net::readable));
        if net::poll(&mut fds, wait).is_err() {
            std::thread::sleep(Duration::from_millis(100)); // ENOMEM.
        }
        let signalled = self.stop_signal.is_some() && fds.last().is_some_and(net::is_ready);
        if signalled {
            self.stop_signal = None;
            self.stop("servsock stops");
        }
    }

    fn is_reading(&self) -> bool {
        !self.paused && !self.conversation.has_ended()
    }

    fn hear_master(&mut self) {
        while !self.master_gone {
            match self.control.receive() {
                Ok(Received::Message(message, _)) => match serde_json::from_slice(&message) {
                    Ok(ToWorker::Settings(settings)) => self.set(settings),
                    Ok(ToWorker::Superseded) => {
                        self.writer.order(Order::Discard);
                        self.end("the sensor connected again", Some(SUPERSEDED_SECS_MAX));
                    }
                    Ok(ToWorker::Disconnect) => self.stop("disconnected by servsock's operator"),
                    Ok(ToWorker::Stop) => self.stop("servsock stops"),
                    Ok(ToWorker::Start(_)) | Err(_) => self.stop("a fault in its master"),
                },
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    self.master_gone = true;
                    return self.stop("its master has ended");
                }
            }
        }
    }

    fn set(&mut self, settings: Settings) {
        log::set_debug_levels(settings.debug);
        // An error: the master has checked them.
        if let Ok(water) = Water::new(settings.high, settings.low) {
            self.gauge.set_water(water);
        }
        // Who drops does not push back.
        self.paused &= settings.drops().is_none();
        self.writer.order(Order::Settings(settings.clone()));
        self.settings = settings;
    }

    fn stop(&mut self, reason: &str) {
        self.end(reason, Some(self.drain));
    }

    /// Reads no more; what is there is stored, for at most `within`.
    fn end(&mut self, reason: &str, within: Option<Duration>) {
        let until = within.map(|within| Instant::now() + within);
        if self.conversation.has_ended() {
            // The earlier of two limits counts.
            self.until = self.until.into_iter().chain(until).min();
            return;
        }
        self.reason = Some(reason.to_owned());
        self.until = until;
        self.conversation.end();
    }

    fn hear_writer(&mut self) {
        loop {
            let event = match self.writer.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.writer.ended = true;
                    break;
                }
            };
            match event {
                Event::Opened(stream) => {
                    self.set_away(stream.sid == 0);
                    let welcome = self.conversation.opened(&stream);
                    self.connection.queue(&Frame::Welcome(welcome));
                }
                Event::Committed(committed) => {
                    self.set_away(false);
                    self.numbers.stored += committed.count.alerts;
                    let dropped = self.numbers.dropped.saturating_add(committed.count.lost);
                    self.numbers.dropped = dropped;
                    let before = self.numbers.lost_before;
                    self.numbers.lost_before = before.saturating_add(committed.count.before);
                    self.pending.committed(committed.count.in_gaps);
                    self.acknowledge(Ack {
                        stored: committed.last_seq,
                        first_cid: committed.first_cid,
                        last_cid: committed.last_cid,
                    });
                }
                Event::Swapped { last_seq, waiting } => {
                    self.swapped = waiting;
                    self.has_news = true;
                    self.acknowledge(Ack {
                        stored: last_seq,
                        first_cid: 1,
                        last_cid: 0, // There are none yet.
                    });
                }
                Event::Away => {
                    self.set_away(true);
                    self.heartbeat_due = Instant::now();
                }
                Event::AwayWithSwap => {
                    self.set_away(true);
                    self.takes_all_the_same = true;
                }
                Event::Back => {
                    self.takes_all_the_same = false;
                    self.set_away(false);
                    self.heartbeat_due = Instant::now();
                }
                Event::Fenced(reason) => self.end(&reason, None),
            }
        }
        if self.paused && self.gauge.is_low() {
            self.paused = false;
            self.heard = Instant::now(); // What it sent meanwhile was not read.
        }
    }

    fn acknowledge(&mut self, ack: Ack) {
        if let Some(ack) = self.conversation.durable(ack) {
            self.connection.queue(&Frame::Ack(ack));
        }
    }

    fn set_away(&mut self, away: bool) {
        self.has_news |= self.database_away != away;
        self.database_away = away;
    }

    fn hear_sensor(&mut self) {
        if !self.is_reading() {
            return;
        }
        if let Err(lost) = self.read() {
            match (&lost, self.conversation.is_handshake()) {
                (Lost::Protocol(_), true) => {
                    self.refuse(&format!("{lost}; no sockserv speaks so"));
                }
                (Lost::Protocol(_), _) => self.refuse(&lost.to_string()),
                (Lost::Closed, true) => {
                    let half = self.connection.unparsed();
                    self.end(
                        &format!("it was closed after {half} bytes, before its HELLO"),
                        None,
                    );
                }
                _ => self.end(&lost.to_string(), None),
            }
        }
    }

    /// Ends the connection with a reason that both sides show. What came before is stored.
    fn refuse(&mut self, reason: &str) {
        self.connection.queue(&Frame::Refuse(reason));
        self.end(reason, None);
    }

    fn read(&mut self) -> Result<(), Lost> {
        self.connection.fill()?;
        while !self.paused {
            let Some(frame) = self.connection.next_frame()? else {
                return Ok(());
            };
            self.heard = Instant::now();
            match &frame {
                Frame::Items {
                    first,
                    count,
                    bytes,
                } => crate::debug!(
                    Recv,
                    3,
                    "{count} items from number {first} on, {} bytes",
                    bytes.len()
                ),
                Frame::Packed(packed) => crate::debug!(
                    Recv,
                    3,
                    "{} items from number {} on, {} bytes, compressed to {}",
                    packed.count,
                    packed.first,
                    packed.unpacked,
                    packed.bytes.len()
                ),
                _ => {}
            }
            match self.conversation.hear(frame).map_err(Lost::Protocol)? {
                Heard::Hello(hello) => self.begin(&hello),
                Heard::Items(taken) => {
                    self.numbers.received += taken.alerts;
                    self.tell_repeated(taken.repeated);
                    self.mind_high_water();
                }
                Heard::Heartbeat(heartbeat) => {
                    self.beat = Beat::new(&heartbeat, now_us(), self.conversation.stored());
                    self.has_news = true;
                }
                Heard::Bye(reason) => {
                    let reason = reason.to_owned();
                    self.end(&reason, None);
                    return Ok(());
                }
                Heard::Nothing => return Ok(()),
            }
        }
        Ok(())
    }

    /// At HighWater the newest are dropped, or the connection is not read.
    fn mind_high_water(&mut self) {
        let Some(to) = self.settings.drops() else {
            self.paused = self.gauge.is_high();
            if self.paused {
                crate::debug!(
                    Buffer,
                    1,
                    "HighWater: the connection is not read until LowWater"
                );
            }
            return;
        };
        let Some(dropped) = self.conversation.drop_newest(&mut self.pending) else {
            return;
        };
        self.has_news = true;
        for chunk in dropped {
            if let Some(overflow) = &self.overflow {
                overflow.put(&to, HIGH_WATER, chunk);
            }
        }
    }

    fn tell_repeated(&mut self, repeated: u64) {
        self.numbers.repeated += repeated;
        if repeated > 0 {
            self.repeats.add(repeated);
        }
        if let Some(count) = self.repeats.due(Instant::now()) {
            crate::notice!(
                "sensor \"{}\": {count} items came again and are skipped",
                self.sensor
            );
        }
    }

    fn begin(&mut self, hello: &Hello) {
        self.until = None;
        self.sensor.clone_from(&hello.sensor.name);
        self.tell_master(&FromWorker::Hello {
            name: hello.sensor.name.clone(),
            interface: hello.sensor.interface.clone(),
            stream: hello.stream.to_string(),
            program: hello.program.clone(),
        });
        let tells = self.settings.drop_socket.is_some();
        self.writer.start(&self.storage, hello, tells, Writer::run);
    }

    fn watch_time(&mut self) {
        self.tell_repeated(0);
        self.pending.tell(&self.sensor);
        let now = Instant::now();
        let is_silent = now >= self.heard + Duration::from_secs(SILENCE_SECS_MAX);
        if self.conversation.is_handshake() && self.until.is_some_and(|until| now >= until) {
            let came = self.connection.unparsed();
            self.refuse(&format!(
                "no whole HELLO came within {HANDSHAKE_SECS_MAX} s, only {came} bytes"
            ));
        } else if self.conversation.is_going_on() && !self.paused && is_silent {
            self.end(
                &format!("nothing was heard of it for {SILENCE_SECS_MAX} s"),
                None,
            );
        }
        if now >= self.heartbeat_due {
            self.heartbeat_due = now + Duration::from_secs(HEARTBEAT_SECS);
            if self.conversation.is_going_on() {
                self.connection.queue(&Frame::State {
                    database_away: self.database_away && !self.takes_all_the_same,
                });
            }
        }
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            buffered: self.gauge.counts().held,
            ..self.numbers
        }
    }

    fn condition(&self) -> Condition {
        let waiting = self.gauge.oldest().map(|since| {
            let waits = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
            now_us().saturating_sub(waits)
        });
        let stored = self.conversation.stored();
        let oldest = [self.beat.oldest_us(stored), waiting];
        Condition {
            heard_us: self.beat.heard_us(),
            oldest_us: oldest.into_iter().flatten().min(),
            buffered: self.beat.buffered(stored).max(self.gauge.counts().held),
            spooled: self.beat.spooled(stored).saturating_add(self.swapped),
            pending: self.pending.alerts(),
            database_away: self.database_away,
        }
    }

    fn report(&mut self) {
        let (numbers, now) = (self.numbers(), Instant::now());
        let is_new = self.has_news || numbers != self.reported.0;
        if is_new && now >= self.reported.1 + REPORT_EVERY {
            self.reported = (numbers, now);
            self.has_news = false;
            self.tell_master(&FromWorker::Numbers(numbers, self.condition()));
        }
    }

    fn tell_master(&self, message: &FromWorker) {
        // An error: the master is gone, which `hear_master` notices, or it hangs.
        let _ = self.control.send(&encode(message), None);
    }

    fn say_goodbye(mut self) {
        self.hear_writer();
        let in_time = !self.is_over();
        let reason = self.reason.take().unwrap_or_default();
        let held = self.gauge.counts().held;
        let numbers = Numbers {
            buffered: held.saturating_add(self.pending.alerts()),
            ..self.numbers
        };
        self.tell_master(&FromWorker::Bye {
            reason: reason.clone(),
            numbers,
        });
        self.connection.queue(&Frame::Bye(&reason));
        self.connection.close(CLOSE_SECS_MAX);
        if in_time {
            // The writer closes the database in order: SQLite then leaves one file, with everything in it. The dropper
            // ends when all is told.
            self.overflow = None;
            self.writer.crew.join_until(Instant::now() + CLOSE_SECS_MAX);
        }
    }
}

/// Where the master wants alerts stored.
pub(super) fn storage(start: &Start) -> Result<Storage, Error> {
    Ok(Storage {
        db: Url::parse(&start.db).map_err(refused)?,
        settings: start.store.clone(),
        swap: start.swap.clone(),
    })
}

pub(super) fn refused(answer: String) -> Error {
    Error::start("cannot start a worker", answer, "")
}

/// Waits for the master's first message, and the connection that comes with it, if this is to serve a sensor.
fn receive_start(control: &Control) -> Result<(Start, Option<TcpStream>), Error> {
    let io = |error: std::io::Error| refused(error.to_string());
    net::poll(&mut [net::readable(control)], None).map_err(io)?;
    // The message is never shown: it holds the database's password.
    let Received::Message(message, descriptor) = control.receive().map_err(io)? else {
        return Err(refused("nothing came from the master".to_owned()));
    };
    match serde_json::from_slice(&message) {
        Ok(ToWorker::Start(start)) => Ok((start, descriptor.map(process::into_tcp))),
        _ => Err(refused(
            "the master's first message is not Start".to_owned(),
        )),
    }
}
