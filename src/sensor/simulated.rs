//! A sockserv for the simulation: the way of the alerts from the intake to the frames as it is, without process, socket,
//! thread and time.

#![forbid(unsafe_code)]

use super::carried::Carried;
use super::from_buffer::FromBuffer;
use super::ledger::Ledger;
use super::outgoing::{Outgoing, Peek};
use super::status::Status;
use crate::alert::SensorName;
use crate::buffer::{self, Chunk, Gauge, Intake, Outlet, Water};
use crate::options::Server;
use crate::process::Carrier;
use crate::simulation::{Breach, waker};
use crate::wire::StreamId;
use crate::wire::frame::{self, Frame, Heartbeat, Hello};

/// See the module.
pub(crate) struct Sensor {
    intake: Intake,
    outgoing: Box<dyn Outgoing>,
    status: Status,
    /// WELCOME came on this connection.
    is_welcome: bool,
    breach: Option<Breach>,
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
    /// One that starts.
    pub(crate) fn new(stream: StreamId, water: Water, breach: Option<Breach>) -> Sensor {
        let (intake, outlet, status) = parts(water);
        let outgoing = Box::new(FromBuffer::new(stream, outlet, status.clone()));
        Sensor {
            intake,
            outgoing,
            status,
            is_welcome: false,
            breach,
        }
    }

    /// What SIGHUP makes of it: a program that goes on where this one stands.
    pub(crate) fn restart(self, water: Water) -> Sensor {
        let Sensor {
            intake,
            mut outgoing,
            breach,
            ..
        } = self;
        drop(intake);
        let carried = Carried {
            stream: outgoing.stream(),
            acknowledged: outgoing.acknowledged(),
            is_spooled: false,
            sockets: Vec::new(),
            chunks: outgoing.carry(),
        };
        let mut carrier = Carrier::new().expect("memory for a file");
        carried.write(&mut carrier).expect("memory for a file");
        // Dropped with alerts in it, it would tell of a loss.
        let mut carried = carried;
        drop(carried.take_chunks());
        carrier.rewind().expect("a file in memory");
        let carried = Carried::read(&mut carrier).expect("what was written");
        let (mut intake, outlet, status) = parts(water);
        let outgoing = FromBuffer::resume(outlet, status.clone(), &mut intake, carried);
        Sensor {
            intake,
            outgoing: Box::new(outgoing),
            status,
            is_welcome: false,
            breach,
        }
    }

    /// An alert of the IDS. What HighWater forces out.
    pub(crate) fn push(&mut self, item: &[u8], now_us: i64) -> Vec<Chunk> {
        let Some(dropped) = self.intake.push(item) else {
            return Vec::new();
        };
        self.status.shared.ledger.dropped(dropped.items, now_us);
        dropped.chunks
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
        self.outgoing.start_again();
        let hello = Frame::Hello(Hello {
            stream: self.outgoing.stream(),
            forgotten: self.outgoing.acknowledged(),
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
        let front = frame::items_front(first, count, piece.chunk.bytes().len());
        let bytes = [&front, piece.chunk.bytes()].concat();
        if self.breach == Some(Breach::ForgottenEarly) {
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
                let welcomed = self.outgoing.welcome(welcome.stored);
                welcomed.map_err(|_| Ended::NewStream)?;
                self.is_welcome = true;
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
        let _ = self.outgoing.begin_stream(stream);
    }

    /// It turns to another servsock: a new stream begins, unless something of this one is under way.
    pub(crate) fn leave_stream(&mut self, stream: StreamId) {
        if !self.outgoing.is_any_sent() {
            self.begin_stream(stream);
        }
    }

    /// Alerts that it holds.
    pub(crate) fn counts(&self) -> buffer::Counts {
        self.status.gauge.counts()
    }
}

fn parts(water: Water) -> (Intake, Outlet, Status) {
    let (intake, outlet, gauge) = buffer::new(water, waker());
    (intake, outlet, status(gauge))
}

fn status(gauge: Gauge) -> Status {
    let server = Server {
        host: "servsock".to_owned(),
        port: 1,
    };
    Status::new(
        gauge,
        None,
        Ledger::new(waker(), waker()),
        Vec::new(),
        &server,
    )
}
