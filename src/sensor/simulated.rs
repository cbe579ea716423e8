//! A sockserv for the simulation: the way of the alerts from the intake to the frames as it is, over memory or over a
//! spool, without process, socket, thread and time.

#![forbid(unsafe_code)]

use super::carried::Carried;
use super::outgoing::{Outgoing, Peek};
use super::spooling::Spooling;
use super::status::Status;
use super::way::{OverDisk, Way};
use crate::alert::SensorName;
use crate::buffer::{Chunk, Intake, Water};
use crate::config::CommandLine;
use crate::options::{SOCKSERV_KEYWORDS, SensorConfig, Sockserv, SpoolConfig, Surroundings};
use crate::process::Carrier;
use crate::simulation::{Breach, waker};
use crate::wire::StreamId;
use crate::wire::frame::{self, Frame, Heartbeat, Hello};
use crate::wire::packed::Packer;
use clap::CommandFactory;
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;

/// See the module.
pub(crate) struct Sensor {
    intake: Intake,
    outgoing: Box<dyn Outgoing>,
    status: Status,
    over_disk: Option<OverDisk>,
    /// WELCOME came on this connection.
    is_welcome: bool,
    /// For this connection; `None`: items go out as they are.
    packer: Option<Packer>,
    habits: Habits,
}

/// What stays when it starts again.
#[derive(Clone)]
pub(crate) struct Habits {
    /// Its marks.
    pub(crate) water: Water,
    /// Where alerts wait on disk; `None`: they wait in memory.
    pub(crate) spool: Option<SpoolConfig>,
    /// It offers to pack its items.
    pub(crate) packs: bool,
    /// The promise that it breaks.
    pub(crate) breach: Option<Breach>,
}

/// Items that go out in one frame.
pub(crate) struct Sent {
    /// Number of the first.
    pub(crate) first: u64,
    /// The items.
    pub(crate) items: Vec<Vec<u8>>,
    /// The frame.
    pub(crate) bytes: Vec<u8>,
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is to be made again.
    Lost,
    /// The stream cannot go on; a new one has to begin.
    NewStream,
}

impl Sensor {
    /// One that starts for the first time.
    pub(crate) fn new(stream: StreamId, habits: &Habits) -> Sensor {
        Sensor::start(empty(stream), habits)
    }

    fn start(carried: Carried, habits: &Habits) -> Sensor {
        let config = SensorConfig {
            water: habits.water,
            ..config()
        };
        let spool = habits.spool.as_ref();
        let spooling = spool.map(|spool| Spooling::open(spool, Some(&carried)));
        let spooling = spooling.map(|spooling| spooling.expect("a directory of its own"));
        let left = (spooling, Some(carried));
        let way = Way::build(&config, Vec::new(), left, &waker(), &waker());
        let Way {
            intake,
            outgoing,
            status,
            over_disk,
        } = way.expect("descriptors are left");
        Sensor {
            intake,
            outgoing,
            status,
            over_disk,
            is_welcome: false,
            packer: None,
            habits: habits.clone(),
        }
    }

    /// What SIGHUP makes of it: a program that goes on where this one stands.
    pub(crate) fn restart(self) -> Sensor {
        let Sensor {
            intake,
            mut outgoing,
            status,
            over_disk,
            habits,
            ..
        } = self;
        drop((intake, status));
        let is_spooled = outgoing.is_on_disk();
        let at_disk = over_disk.map(end_of_disk);
        let mut carried = empty(outgoing.stream());
        carried.acknowledged = outgoing.acknowledged();
        carried.sent = outgoing.most_sent();
        carried.is_spooled = is_spooled;
        carried.chunks = outgoing.carry();
        let reread = handed_over(&carried);
        // It would tell that they are lost.
        drop(carried.take_chunks());
        if let (Some((appender, dir)), Some(reader)) = (at_disk, outgoing.into_reader()) {
            Spooling::again(appender, reader, &dir).close();
        }
        Sensor::start(reread, &habits)
    }

    /// What kill -9 and a start make of it, and what is gone: items that were in memory only.
    pub(crate) fn killed(mut self, fresh: StreamId) -> (Sensor, Vec<Arc<Chunk>>) {
        let unwritten = self.over_disk.as_mut().map(|way| way.disk.unwritten());
        let gone = unwritten.into_iter().flatten();
        let gone = gone.map(|numbered| numbered.chunk).collect();
        let habits = self.habits.clone();
        drop(self);
        (Sensor::new(fresh, &habits), gone)
    }

    /// The operator sets other marks.
    pub(crate) fn set_water(&mut self, water: Water) {
        self.habits.water = water;
        self.status.gauge.set_water(water);
    }

    /// An alert of the IDS. What HighWater forces out.
    pub(crate) fn push(&mut self, item: &[u8], now_us: i64) -> Vec<Chunk> {
        let Some(dropped) = self.intake.push(item) else {
            return Vec::new();
        };
        self.status.shared.ledger.dropped(dropped.items, now_us);
        dropped.chunks
    }

    /// The next turn of the thread that writes to the disk, or of the one that brings it there.
    pub(crate) fn disk_turn(&mut self, syncs: bool) {
        match &mut self.over_disk {
            Some(way) if syncs => way.syncer.turn(),
            Some(way) => drop(way.disk.turn()),
            None => {}
        }
    }

    /// The name of its stream.
    pub(crate) fn stream(&self) -> StreamId {
        self.outgoing.stream()
    }

    /// The last number that it has heard to be durable.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.outgoing.acknowledged()
    }

    /// Whether there is something to make a connection for.
    pub(crate) fn wants_connection(&mut self) -> bool {
        matches!(self.outgoing.peek(), Peek::Something)
    }

    /// The first bytes on a new connection.
    pub(crate) fn connect(&mut self) -> Vec<u8> {
        self.is_welcome = false;
        self.packer = None;
        self.outgoing.start_again();
        let hello = Frame::Hello(Hello {
            stream: self.outgoing.stream(),
            forgotten: self.outgoing.acknowledged(),
            packs: self.habits.packs,
            sensor: SensorName {
                name: "north".to_owned(),
                interface: String::new(),
            },
            program: String::new(),
        });
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &hello);
        frame::put(&mut bytes, &Frame::Heartbeat(Heartbeat::default()));
        bytes
    }

    /// The next items.
    pub(crate) fn next(&mut self) -> Option<Sent> {
        if !self.is_welcome {
            return None;
        }
        let piece = self.outgoing.next_piece()?;
        let (first, count) = (piece.first, piece.chunk.len());
        let items = piece.chunk.items().map(<[u8]>::to_vec).collect();
        let bytes = framed(self.packer.as_mut(), first, count, piece.chunk.bytes());
        if self.habits.breach == Some(Breach::ForgottenEarly) {
            let _ = self.outgoing.acknowledge(first + u64::from(count) - 1);
        }
        Some(Sent {
            first,
            items,
            bytes,
        })
    }

    /// Takes the whole frames off the front of what arrived.
    pub(crate) fn hear(&mut self, input: &mut Vec<u8>) -> Result<(), Ended> {
        while let Some((frame, length)) = frame::first(input).map_err(|_| Ended::Lost)? {
            self.take(&frame)?;
            input.drain(..length);
        }
        Ok(())
    }

    /// As `sender` does.
    fn take(&mut self, frame: &Frame<'_>) -> Result<(), Ended> {
        match frame {
            Frame::Welcome(welcome) if !self.is_welcome => {
                let stored = welcome.stored;
                let welcomed = self.beside_disk(|outgoing| outgoing.welcome(stored));
                welcomed.map_err(|_| Ended::NewStream)?;
                self.is_welcome = true;
                self.packer = welcome
                    .packs
                    .then(|| Packer::new().expect("memory is left"));
                Ok(())
            }
            Frame::Ack(ack) if self.is_welcome => {
                let acknowledged = self.outgoing.acknowledge(ack.stored);
                acknowledged.map_err(|_| Ended::Lost)
            }
            Frame::State { .. } => Ok(()),
            _ => Err(Ended::Lost),
        }
    }

    /// Begins a stream of this name.
    pub(crate) fn begin_stream(&mut self, stream: StreamId) {
        // An error: the old one goes on.
        let _ = self.beside_disk(|outgoing| outgoing.begin_stream(stream));
    }

    /// Does what may wait for the thread that writes to the disk.
    fn beside_disk<T: Send>(&mut self, work: impl FnOnce(&mut dyn Outgoing) -> T + Send) -> T {
        let outgoing = self.outgoing.as_mut();
        let Some(way) = &mut self.over_disk else {
            return work(outgoing);
        };
        thread::scope(|scope| {
            let works = scope.spawn(|| work(outgoing));
            while !works.is_finished() {
                way.disk.turn();
                way.syncer.turn();
                thread::yield_now();
            }
            works.join().expect("it does not panic")
        })
    }

    /// It turns to another servsock: a new stream begins, unless something of this one is under way.
    pub(crate) fn leave_stream(&mut self, stream: StreamId) {
        if !self.outgoing.is_any_sent() {
            self.begin_stream(stream);
        }
    }

    /// Items that it holds, in memory or on disk.
    pub(crate) fn held(&self) -> u64 {
        let counts = self.status.counts();
        counts.buffered + counts.spooled
    }
}

/// The frame of these items.
fn framed(packer: Option<&mut Packer>, first: u64, count: u32, items: &[u8]) -> Vec<u8> {
    let Some(packer) = packer else {
        return [&frame::items_front(first, count, items.len()), items].concat();
    };
    let mut bytes = Vec::new();
    let packed = packer.put(&mut bytes, first, count, items);
    packed.expect("memory is left");
    bytes
}

/// Carries nothing, but names a stream.
fn empty(stream: StreamId) -> Carried {
    Carried {
        stream,
        acknowledged: 0,
        sent: 0,
        is_spooled: false,
        sockets: Vec::new(),
        chunks: Vec::new(),
    }
}

/// What the next program reads of it.
fn handed_over(carried: &Carried) -> Carried {
    let mut carrier = Carrier::new().expect("memory for a file");
    carried.write(&mut carrier).expect("memory for a file");
    carrier.rewind().expect("a file in memory");
    Carried::read(&mut carrier).expect("what was written")
}

/// The disk's threads end as they do at a stop.
fn end_of_disk(way: OverDisk) -> (crate::spool::Appender, std::path::PathBuf) {
    let OverDisk {
        mut disk,
        syncer,
        dir,
    } = way;
    let mut turns = 0;
    while !disk.turn() {
        syncer.turn();
        turns += 1;
        assert!(turns < 100, "the disk's threads do not end");
    }
    (disk.end(), dir)
}

/// The options' defaults.
fn config() -> SensorConfig {
    static CONFIG: OnceLock<SensorConfig> = OnceLock::new();
    let parse = || {
        let line = ["sockserv", "-s", "alerts"].map(Into::into).to_vec();
        let line = CommandLine::parse(Sockserv::command(), line).expect("options");
        let in_force = line.with_file(SOCKSERV_KEYWORDS).expect("no file");
        let surroundings = Surroundings {
            host_name: || Ok("north".to_owned()),
            state_directory: None,
        };
        Sockserv::validate(&in_force, surroundings).expect("options")
    };
    CONFIG.get_or_init(parse).clone()
}
