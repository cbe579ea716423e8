//! What a worker and its sensor tell each other, without I/O, clock or log line: which frame may come when, what is
//! taken of it, and what may be answered.
//!
//! Invariants:
//! - Each number is taken once, and in order; what is taken goes into the buffer under its number.
//! - Nothing is acknowledged but what the writer said to be durable, and nothing twice.

#![forbid(unsafe_code)]

use super::dropper::Pending;
use crate::buffer::{Chunk, Intake};
use crate::store::OpenStream;
use crate::wire::frame::{Ack, Frame, Heartbeat, Hello, Welcome};
use crate::wire::packed::Unpacker;
use crate::wire::sequence::Expected;
use crate::wire::{DecodeError, item};

/// One connection of a sensor.
pub(super) struct Conversation {
    stage: Stage,
    /// The last number that is durable.
    stored: u64,
    /// `None`: nothing may come packed.
    unpacker: Option<Unpacker>,
}

enum Stage {
    /// Nothing is known of the sensor.
    Handshake(Intake),
    /// HELLO came; the writer opens the stream in the database.
    Opening(Intake),
    /// WELCOME went out.
    Streaming(Expected, Intake),
    /// Nothing more is taken; the writer stores what is there.
    Ended,
}

/// What a frame of the sensor says.
pub(super) enum Heard<'a> {
    /// Who it is: the stream is to be opened.
    Hello(Hello),
    /// Items, which are in the buffer now.
    Items(Taken),
    /// Its condition.
    Heartbeat(Heartbeat),
    /// It ends the connection.
    Bye(&'a str),
    /// Too late.
    Nothing,
}

/// What came with one frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Alerts among the items that are new.
    pub(crate) alerts: u64,
    /// Items that came before, and were skipped.
    pub(crate) repeated: u64,
}

impl Conversation {
    pub(super) fn new(intake: Intake) -> Conversation {
        Conversation {
            stage: Stage::Handshake(intake),
            stored: 0,
            unpacker: None,
        }
    }

    /// Whether HELLO has not come yet.
    pub(super) fn is_handshake(&self) -> bool {
        matches!(self.stage, Stage::Handshake(_))
    }

    /// Whether nothing more is taken.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Whether HELLO came, and the end did not.
    pub(super) fn is_going_on(&self) -> bool {
        matches!(self.stage, Stage::Opening(_) | Stage::Streaming(..))
    }

    /// The last number that is durable.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Takes a frame of the sensor.
    ///
    /// # Errors
    ///
    /// It must not come now, or is not what it says. The connection has to end.
    pub(super) fn hear<'a>(&mut self, frame: Frame<'a>) -> Result<Heard<'a>, DecodeError> {
        match (frame, &mut self.stage) {
            (Frame::Bye(reason), _) => Ok(Heard::Bye(reason)),
            (_, Stage::Ended) => Ok(Heard::Nothing),
            (Frame::Hello(hello), Stage::Handshake(_)) => {
                self.begin();
                self.unpacker = hello.packs.then(Unpacker::new).flatten();
                Ok(Heard::Hello(hello))
            }
            (
                Frame::Items {
                    first,
                    count,
                    bytes,
                },
                Stage::Streaming(expected, intake),
            ) => take_items(expected, intake, first, count, bytes).map(Heard::Items),
            (Frame::Packed(packed), Stage::Streaming(expected, intake)) => {
                let unpacker = self.unpacker.as_mut();
                let items = unpacker.ok_or_else(not_agreed)?.unpack(&packed)?;
                take_items(expected, intake, packed.first, packed.count, items).map(Heard::Items)
            }
            (Frame::Heartbeat(heartbeat), Stage::Opening(_) | Stage::Streaming(..)) => {
                Ok(Heard::Heartbeat(heartbeat))
            }
            (other, _) => Err(DecodeError(format!("{:?} out of order", other.kind()))),
        }
    }

    fn begin(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Handshake(intake) => Stage::Opening(intake),
            other => other,
        };
    }

    /// The stream is this worker's; what the sensor is to hear.
    pub(super) fn opened(&mut self, stream: &OpenStream) -> Welcome {
        self.stored = stream.last_seq;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Opening(intake) => Stage::Streaming(Expected::after(stream.last_seq), intake),
            other => other,
        };
        Welcome {
            stored: stream.last_seq,
            sid: stream.sid,
            packs: self.unpacker.is_some(),
        }
    }

    /// The writer says what is durable. What comes out of a swap was acknowledged when it went in.
    pub(super) fn durable(&mut self, ack: Ack) -> Option<Ack> {
        let is_new = ack.stored > self.stored;
        self.stored = self.stored.max(ack.stored);
        is_new.then_some(ack)
    }

    /// Above HighWater the newest items leave the buffer, and others take their numbers (`Pending::replace`): what was dropped.
    pub(super) fn drop_newest(&mut self, pending: &mut Pending) -> Option<Vec<Chunk>> {
        let Stage::Streaming(_, intake) = &mut self.stage else {
            return None;
        };
        let dropped = intake.drop_newest()?;
        let instead = pending.replace(&dropped);
        intake.push_all(instead.iter().map(Vec::as_slice));
        Some(dropped.chunks)
    }

    /// Takes nothing more. Dropping the intake closes the buffer: the writer ends when it is empty.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Ended;
    }
}

fn not_agreed() -> DecodeError {
    DecodeError("packed items, which were not agreed on".to_owned())
}

/// Puts the items that are new into the buffer. Their framing is checked here, their content by the writer: one bad
/// alert must not stop those behind it.
pub(crate) fn take_items(
    expected: &mut Expected,
    intake: &mut Intake,
    first: u64,
    count: u32,
    bytes: &[u8],
) -> Result<Taken, DecodeError> {
    let mut items = Vec::with_capacity((count as usize).min(bytes.len() / item::ITEM_BYTES_MIN));
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = item::length(rest)?.filter(|length| *length <= rest.len());
        let Some(length) = length else {
            return Err(DecodeError(format!(
                "{count} items of which the last is cut"
            )));
        };
        let (item, behind) = rest.split_at(length);
        item::check_version(item)?;
        item::check_sent(item)?;
        items.push(item);
        rest = behind;
    }
    if items.len() != count as usize {
        return Err(DecodeError(format!(
            "{} items that say they are {count}",
            items.len()
        )));
    }
    let skip = expected.take(first, count)?;
    let new = &items[skip..];
    intake.push_all(new.iter().copied());
    Ok(Taken {
        alerts: new.iter().filter(|item| item::is_alert(item)).count() as u64,
        repeated: skip as u64,
    })
}
