//! Thread sensor-send: buffer -> connection; keeps what it sent until servsock says that it is durable.
//!
//! A number, once sent, belongs to its item for ever: what is in flight is never dropped, and after a reconnect the
//! same bytes go out under the same numbers. With an empty buffer a lost connection is told at once, but made again
//! only for the next alert, as FLoP does.

#![forbid(unsafe_code)]

use super::outgoing::{Outgoing, Peek, Piece};
use super::status::Status;
use super::tuning::Tuning;
use crate::alert::SensorName;
#[cfg(feature = "broken-promises")]
use crate::broken;
use crate::clock::now_us;
use crate::error::Error;
use crate::net::{self, Connection, Lookup, Lost};
use crate::options::{SensorConfig, Server};
use crate::process::Cause;
use crate::wake::Waker;
use crate::wire::StreamId;
use crate::wire::frame::{Ack, Frame, HEARTBEAT_SECS, Heartbeat, Hello, SILENCE_SECS_MAX, Welcome};
use crate::wire::packed::Packer;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pause before the second try to connect; doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// While there is no connection, so often a line says so again.
const REMIND_EVERY: Duration = Duration::from_secs(600);
/// For the peer to read our last words.
const CLOSE_SECS_MAX: Duration = Duration::from_secs(1);
/// Before it moves to another servsock, the sender waits so long for what is on its way to be acknowledged.
const MOVE_SECS_MAX: Duration = Duration::from_secs(3);

/// Until when the sender goes on after it was asked to stop; not set while it is not.
#[derive(Clone)]
pub(super) struct Deadline {
    at: Arc<Mutex<Option<Instant>>>,
    waker: Waker,
}

impl Deadline {
    pub(super) fn new(waker: Waker) -> Deadline {
        Deadline {
            at: Arc::default(),
            waker,
        }
    }

    pub(super) fn set(&self, at: Instant) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.waker.wake();
    }

    fn get(&self) -> Option<Instant> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.get().is_some_and(|at| Instant::now() >= at)
    }
}

pub(super) struct Sender {
    server: Server,
    sensor: SensorName,
    /// Offers to compress what it sends.
    compress: bool,
    waker: Waker,
    deadline: Deadline,
    tuning: Tuning,
    /// The latest wish for a new connection that was seen.
    wanted: u64,
    status: Status,
    outgoing: Box<dyn Outgoing>,
    /// The line about the first stored alert was written.
    told_stored: bool,
    /// Since when there is no connection, and what was told of it last, and when.
    lost: Option<(Instant, String, Instant)>,
    /// servsock is there, but its database is away, and that was told.
    told_away: bool,
    /// Pause before the next try to connect; short again after each WELCOME.
    retry: Duration,
    /// Tries since the last WELCOME.
    tries: u64,
    /// A try to connect had its WELCOME: the end of that connection is no failed try.
    was_welcome: bool,
    lookup: Lookup,
    /// Hears that it gives up.
    asked: crossbeam_channel::Sender<Cause>,
}

/// How a connection ended.
enum Ended {
    /// Everything is acknowledged and nothing more comes, or the deadline is over.
    Stopped,
    /// It is to be made again.
    Lost(String),
    /// The operator wants a new one, maybe to another servsock.
    Unwanted,
    /// The stream cannot go on; a new one has to begin.
    NewStream(String),
}

impl Sender {
    pub(super) fn new(
        config: &SensorConfig,
        outgoing: Box<dyn Outgoing>,
        waker: Waker,
        deadline: Deadline,
        tuning: Tuning,
        status: Status,
        asked: crossbeam_channel::Sender<Cause>,
    ) -> Sender {
        Sender {
            server: config.server.clone(),
            sensor: config.sensor.clone(),
            compress: config.compress,
            waker,
            deadline,
            tuning,
            wanted: 0,
            status,
            outgoing,
            told_stored: false,
            lost: None,
            told_away: false,
            retry: RETRY_FIRST,
            tries: 0,
            was_welcome: false,
            lookup: Lookup::default(),
            asked,
        }
    }

    /// Sends until the deadline, or until all is acknowledged and nothing more comes. What is left.
    pub(super) fn run(mut self) -> Box<dyn Outgoing> {
        while !self.deadline.is_over() {
            match self.connect_and_send() {
                Ended::Stopped => break,
                Ended::Lost(reason) => {
                    self.tell_lost(&reason);
                    if !self.was_welcome && self.gives_up() {
                        break;
                    }
                }
                Ended::Unwanted => {
                    self.turn_to_server();
                    continue;
                }
                Ended::NewStream(reason) => self.restart_stream(&reason),
            }
            self.pause();
            if !self.wait_for_alert() {
                break;
            }
            if self.is_unwanted() {
                self.turn_to_server();
            }
        }
        self.outgoing
    }

    /// Whether a command wants a new connection.
    fn is_unwanted(&self) -> bool {
        self.tuning.wanted() != self.wanted
    }

    /// The next connection goes to the servsock that is wanted now, at once.
    fn turn_to_server(&mut self) {
        let settings = self.tuning.settings();
        self.wanted = settings.wanted;
        self.retry = RETRY_FIRST;
        self.tries = 0;
        let is_other = settings.server != self.server;
        self.server = settings.server;
        if is_other {
            self.told_away = false;
            self.status.shared.line.moved(&self.server);
            self.leave_stream();
        }
    }

    /// Another servsock may have another database, and this sensor may come back from there: its stream would have a
    /// gap then in each of them, which looks like a loss. So it gets a new stream - unless something of this one is
    /// under way: if both have the same database, only its number tells that it is stored already.
    fn leave_stream(&mut self) {
        if self.outgoing.is_any_sent() {
            return;
        }
        if let Err(error) = self.begin_stream() {
            crate::warning!("the stream goes on at {}: {error}", self.server);
        }
    }

    fn begin_stream(&mut self) -> Result<(), String> {
        let stream = random_stream().map_err(|error| error.to_string())?;
        self.outgoing.begin_stream(stream)
    }

    /// Counts a try without success; whether it was the last one that -M allows.
    fn gives_up(&mut self) -> bool {
        self.tries += 1;
        let max_try = self.tuning.settings().max_try;
        let gives_up = max_try.is_some_and(|max_try| self.tries >= max_try);
        if gives_up {
            // An error: it is stopping already.
            let _ = self.asked.send(Cause::GiveUp(
                "servsock was not reached in as many tries as -M allows",
            ));
        }
        gives_up
    }

    /// Tells of a lost connection once, again when the reason is another or alerts begin to wait, and now and then.
    fn tell_lost(&mut self, reason: &str) {
        self.status.shared.line.down(reason);
        let counts = self.status.counts();
        let waiting = counts.buffered + counts.spooled;
        let again = match waiting {
            0 if self.status.shared.ledger.has_losses() => "trying again".to_owned(),
            0 => "it is made again when the next alert comes".to_owned(),
            waiting => format!("{waiting} alerts wait, trying again"),
        };
        let news = format!("{reason}; {}", if waiting > 0 { "alerts wait" } else { "" });
        let now = Instant::now();
        let (since, told, at) = self.lost.take().unwrap_or((now, String::new(), now));
        let is_news = told != news || now >= at + REMIND_EVERY;
        if is_news {
            crate::warning!(
                "no connection to servsock at {}: {reason}; {again}",
                self.server
            );
        }
        self.lost = Some((since, news, if is_news { now } else { at }));
    }

    /// Waits before the next try. A stop ends it: what is buffered gets one try at once, and then one a second. So does
    /// a wish for a new connection; another pause (`wait`) holds for the one that runs, too.
    fn pause(&mut self) {
        let begun = Instant::now();
        let growing = self.retry;
        self.retry = (self.retry * 2).min(RETRY_LONGEST);
        let was_stopping = self.deadline.get().is_some();
        loop {
            let pause = self.tuning.settings().wait_time.unwrap_or(growing);
            let until = match self.deadline.get() {
                None => begun + pause,
                Some(deadline) => (begun + pause.min(RETRY_FIRST)).min(deadline),
            };
            let left = until.saturating_duration_since(Instant::now());
            let stops_now = self.deadline.get().is_some() && !was_stopping;
            let ends = stops_now || self.is_unwanted();
            if left.is_zero() || ends || self.outgoing.is_finished() {
                return;
            }
            let _ = net::poll(&mut [net::readable(&self.waker)], Some(left));
            self.waker.clear();
        }
    }

    /// FLoP's rule: with an empty buffer there is no connection to make. `false` when nothing will come any more.
    fn wait_for_alert(&mut self) -> bool {
        loop {
            self.waker.clear();
            if self.is_unwanted() {
                return true;
            }
            match self.outgoing.peek() {
                Peek::Something => return true,
                Peek::End => return false,
                Peek::Nothing => {
                    let _ = net::poll(&mut [net::readable(&self.waker)], None);
                }
            }
        }
    }

    fn connect_and_send(&mut self) -> Ended {
        crate::debug!(
            Net,
            1,
            "connecting to {}, stream {}",
            self.server,
            self.outgoing.stream()
        );
        self.was_welcome = false;
        // A wish for another connection ends this try.
        let (tuning, wanted, deadline) = (&self.tuning, self.wanted, &self.deadline);
        let until = || match tuning.wanted() != wanted {
            true => Some(Instant::now()),
            false => deadline.get(),
        };
        let Server { host, port } = &self.server;
        let connection = net::connect(host, *port, &mut self.lookup, &self.waker, until);
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return match (self.is_unwanted(), self.deadline.is_over()) {
                    (true, _) => Ended::Unwanted,
                    (false, true) => Ended::Stopped,
                    (false, false) => Ended::Lost(error.to_string()),
                };
            }
            Err(error) => return Ended::Lost(error.to_string()),
        };
        self.outgoing.start_again();
        connection.queue(&Frame::Hello(Hello {
            stream: self.outgoing.stream(),
            forgotten: self.outgoing.acknowledged(),
            packs: self.compress,
            sensor: self.sensor.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
        }));
        let ended = match self.serve(&mut connection) {
            Ok(ended) => ended,
            Err(lost) => Ended::Lost(lost.to_string()),
        };
        let last_words = match ended {
            Ended::Stopped => "sockserv stops or restarts",
            Ended::Unwanted => "the operator wants a new connection",
            Ended::Lost(_) | Ended::NewStream(_) => return ended,
        };
        connection.queue(&Frame::Bye(last_words));
        connection.close(CLOSE_SECS_MAX);
        ended
    }

    /// The life of one connection: one thread, one poll.
    fn serve(&mut self, connection: &mut Connection) -> Result<Ended, Lost> {
        let mut line = Line::new();
        loop {
            if let Some(ended) = self.read(connection, &mut line)? {
                return Ok(ended);
            }
            let now = Instant::now();
            if line.silent_since + Duration::from_secs(SILENCE_SECS_MAX) < now {
                return Ok(Ended::Lost(format!(
                    "nothing was heard of it for {SILENCE_SECS_MAX} s"
                )));
            }
            if now >= line.heartbeat_due {
                line.heartbeat_due = now + Duration::from_secs(HEARTBEAT_SECS);
                connection.queue(&Frame::Heartbeat(self.heartbeat()));
            }
            self.waker.clear();
            if self.is_unwanted() && self.may_leave(&mut line, now) {
                return Ok(Ended::Unwanted);
            }
            let is_open = line.welcome.is_some() && line.leaves_by.is_none();
            while is_open && connection.has_room() {
                match self.outgoing.next_piece() {
                    Some(Piece { first, chunk }) => {
                        crate::debug!(
                            Send,
                            3,
                            "sending {} items from number {} on, {} bytes",
                            chunk.len(),
                            first,
                            chunk.bytes().len()
                        );
                        let (count, items) = (chunk.len(), chunk.bytes());
                        match &mut line.packer {
                            Some(packer) => {
                                connection.queue_packed(packer, first, count, items)?;
                            }
                            None => connection.queue_items(first, count, items),
                        }
                        #[cfg(feature = "broken-promises")]
                        if broken::breaks(broken::FORGET_BEFORE_ACKNOWLEDGEMENT) {
                            let last = first + u64::from(chunk.len()) - 1;
                            let _ = self.outgoing.acknowledge(last);
                        }
                    }
                    None => break,
                }
            }
            if self.deadline.is_over() || self.outgoing.is_finished() {
                return Ok(Ended::Stopped);
            }
            connection.flush()?;
            if connection.has_room() && self.outgoing.has_unsent() && is_open {
                continue;
            }
            let due = line.leaves_by.unwrap_or(line.heartbeat_due);
            self.wait(connection, due.min(line.heartbeat_due))?;
        }
    }

    /// The connection may end: at once for a new one to the same servsock, else when what is on its way is
    /// acknowledged, or will not be soon.
    fn may_leave(&self, line: &mut Line, now: Instant) -> bool {
        if line.welcome.is_none() || self.tuning.settings().server == self.server {
            return true;
        }
        let leaves_by = *line.leaves_by.get_or_insert(now + MOVE_SECS_MAX);
        now >= leaves_by || !self.outgoing.is_any_sent()
    }

    fn wait(&self, connection: &Connection, until: Instant) -> Result<(), Lost> {
        let until = self
            .deadline
            .get()
            .map_or(until, |deadline| deadline.min(until));
        let mut fds = [connection.poll_fd(true), net::readable(&self.waker)];
        let left = until.saturating_duration_since(Instant::now());
        net::poll(&mut fds, Some(left)).map_err(Lost::Io)
    }

    fn read(
        &mut self,
        connection: &mut Connection,
        line: &mut Line,
    ) -> Result<Option<Ended>, Lost> {
        connection.fill()?;
        while let Some(frame) = connection.next_frame()? {
            line.silent_since = Instant::now();
            match frame {
                Frame::Welcome(welcome) if line.welcome.is_none() => {
                    if let Err(reason) = self.outgoing.welcome(welcome.stored) {
                        return Ok(Some(Ended::NewStream(reason)));
                    }
                    line.welcome = Some(welcome);
                    if self.compress && welcome.packs {
                        line.packer = Some(Packer::new().map_err(Lost::Io)?);
                    }
                    self.retry = RETRY_FIRST;
                    self.tries = 0;
                    self.was_welcome = true;
                    self.tell_connected(&welcome);
                }
                Frame::Ack(ack) if line.welcome.is_some() => {
                    crate::debug!(Send, 3, "acknowledged up to number {}", ack.stored);
                    if let Err(reason) = self.outgoing.acknowledge(ack.stored) {
                        return Ok(Some(Ended::Lost(reason)));
                    }
                    self.tell_stored(line, &ack);
                }
                Frame::State { database_away } => self.tell_database(database_away),
                Frame::Refuse(reason) => {
                    return Ok(Some(Ended::Lost(format!(
                        "it refused this sensor: {reason}"
                    ))));
                }
                Frame::Bye(reason) => return Ok(Some(Ended::Lost(format!("it said: {reason}")))),
                other => {
                    return Ok(Some(Ended::Lost(format!(
                        "it sent {:?} out of order; is it a servsock?",
                        other.kind()
                    ))));
                }
            }
        }
        Ok(None)
    }

    fn heartbeat(&self) -> Heartbeat {
        let counts = self.status.counts();
        Heartbeat {
            now_us: now_us(),
            heard_us: self.status.shared.heard_us.load(Relaxed),
            received: counts.received,
            dropped: counts.dropped,
            buffered: counts.buffered,
            spooled: counts.spooled,
            oldest_us: self.status.oldest_us(),
        }
    }

    fn tell_connected(&mut self, welcome: &Welcome) {
        self.status.shared.line.up();
        self.tell_database(false);
        // 0: servsock's database is away, and has not said yet; the alerts wait on servsock's disk.
        let sid = match welcome.sid {
            0 => String::new(),
            sid => format!(", as sid {sid}"),
        };
        let how = match (self.compress, welcome.packs) {
            (false, _) => "",
            (true, true) => ", compressed",
            (true, false) => ", not compressed (it is too old for that)",
        };
        match self.lost.take() {
            None => crate::notice!("connected to servsock at {}{sid}{how}", self.server),
            Some((since, ..)) => crate::notice!(
                "connected to servsock at {}{sid}{how}, after {} s without; {} alerts were dropped since start",
                self.server,
                since.elapsed().as_secs(),
                self.status.counts().dropped
            ),
        }
    }

    fn tell_stored(&mut self, line: &Line, ack: &Ack) {
        let is_first = !self.told_stored && ack.first_cid <= ack.last_cid;
        if let Some(welcome) = line.welcome.filter(|welcome| is_first && welcome.sid > 0) {
            self.told_stored = true;
            crate::notice!(
                "the first alert is in the database: sid {}, cid {}",
                welcome.sid,
                ack.first_cid
            );
        }
    }

    fn tell_database(&mut self, away: bool) {
        if away && !self.told_away {
            crate::warning!(
                "servsock at {} cannot reach its database; alerts wait here until it can",
                self.server
            );
        } else if !away && self.told_away {
            crate::notice!("servsock at {} has its database back", self.server);
        }
        self.told_away = away;
        self.status.shared.database_away.store(away, Relaxed);
    }

    /// servsock has more of this stream than was sent: two sensors share a stream id, or a state was put back. What
    /// is not acknowledged goes out again, under a new name.
    fn restart_stream(&mut self, reason: &str) {
        match self.begin_stream() {
            Ok(()) => crate::err!("{}: {reason}; a new stream begins", self.server),
            // Under the old name new numbers would be taken for old ones: the next try is to be refused again.
            Err(error) => crate::err!("{}: {reason}, but {error}", self.server),
        }
    }
}

/// What is known of one connection.
struct Line {
    welcome: Option<Welcome>,
    /// `None`: items go out as they are.
    packer: Option<Packer>,
    silent_since: Instant,
    heartbeat_due: Instant,
    /// Nothing new is sent, for another servsock is wanted: this connection ends until then.
    leaves_by: Option<Instant>,
}

impl Line {
    fn new() -> Line {
        let now = Instant::now();
        Line {
            welcome: None,
            packer: None,
            silent_since: now,
            heartbeat_due: now + Duration::from_secs(HEARTBEAT_SECS),
            leaves_by: None,
        }
    }
}

pub(super) fn random_stream() -> Result<StreamId, Error> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut id))
        .map_err(|error| Error::start("cannot read /dev/urandom", error, ""))?;
    Ok(StreamId(id))
}
