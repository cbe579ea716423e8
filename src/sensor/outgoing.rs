//! Items on their way to servsock: their numbers, and what of them is acknowledged. Without I/O.

#![forbid(unsafe_code)]

use super::carried::{Carried, CarriedChunk};
use super::status::Status;
use crate::buffer::{Chunk, Intake, Outlet, Taken};
use crate::wire::item;
use std::collections::VecDeque;

/// Items on their way: what the buffer gave out and nobody acknowledged.
pub(super) struct Outgoing {
    outlet: Outlet,
    /// In order; numbered without gap from `acknowledged + 1` on, but for a first chunk of which a part is
    /// acknowledged.
    in_flight: VecDeque<InFlight>,
    /// How many of `in_flight` went out on this connection.
    sent: usize,
    /// How many of them went out on any connection.
    most_sent: usize,
    /// The last acknowledged number.
    acknowledged: u64,
    /// The number that the next item gets.
    next: u64,
}

pub(super) struct InFlight {
    pub(super) first: u64,
    pub(super) chunk: Chunk,
    /// Whether its items are counted by the buffer; loss records are not.
    counted: bool,
}

/// What nobody will send any more.
#[derive(Default)]
pub(super) struct Left {
    /// Alerts that were sent and are not acknowledged: they may be in the database.
    pub(super) sent: Vec<Chunk>,
    /// Alerts that were never sent.
    pub(super) unsent: Vec<Chunk>,
    /// Whether loss records are among it.
    pub(super) has_losses: bool,
}

impl InFlight {
    fn end(&self) -> u64 {
        self.first + u64::from(self.chunk.len())
    }
}

/// What `Outgoing::peek` found.
pub(super) enum Peek {
    /// There is something to send.
    Something,
    /// There is not; the waker will tell.
    Nothing,
    /// There is not, and nothing will come.
    End,
}

impl Outgoing {
    pub(super) fn new(outlet: Outlet) -> Outgoing {
        Outgoing {
            outlet,
            in_flight: VecDeque::new(),
            sent: 0,
            most_sent: 0,
            acknowledged: 0,
            next: 1,
        }
    }

    /// Goes on where the program before this one stood. What was sent keeps its number; what was not goes into the
    /// buffer again.
    pub(super) fn resume(outlet: Outlet, intake: &mut Intake, mut carried: Carried) -> Outgoing {
        let mut outgoing = Outgoing::new(outlet);
        outgoing.acknowledged = carried.acknowledged;
        outgoing.next = carried.acknowledged + 1;
        for carried in carried.take_chunks() {
            match carried {
                CarriedChunk::Unsent(chunk) => intake.push_all(chunk.items()),
                CarriedChunk::Sent {
                    first,
                    chunk,
                    alerts: false,
                } => {
                    outgoing.next = first;
                    outgoing.depart(chunk, false);
                }
                CarriedChunk::Sent {
                    first,
                    chunk,
                    alerts: true,
                } => {
                    outgoing.next = first;
                    // Through the buffer, so that it counts them.
                    intake.push_all(chunk.items());
                    while let Taken::Chunk(chunk) = outgoing.outlet.take() {
                        outgoing.depart(chunk, true);
                    }
                    // A part of the first chunk may be acknowledged: it was not to be counted.
                    let known = outgoing
                        .acknowledged
                        .saturating_sub(first - 1)
                        .min(u64::from(chunk.len()));
                    outgoing.outlet.acknowledge(known);
                }
            }
        }
        outgoing.most_sent = outgoing.in_flight.len();
        outgoing
    }

    /// Everything that is not acknowledged, for the program that follows this one. The receiver has ended.
    pub(super) fn carry(mut self, status: &Status) -> (u64, Vec<CarriedChunk>) {
        let losses = status.shared.ledger.take_losses();
        let mut bytes = Vec::new();
        losses
            .iter()
            .for_each(|loss| item::put_loss(&mut bytes, loss));
        // What was never sent has no number that anybody knows: the losses go in front of it.
        let unsent: Vec<InFlight> = self.in_flight.drain(self.most_sent..).collect();
        self.next = unsent.first().map_or(self.next, |first| first.first);
        if !losses.is_empty() {
            self.depart(Chunk::of(bytes), false);
        }
        let mut chunks: Vec<CarriedChunk> = Vec::new();
        for InFlight {
            first,
            chunk,
            counted,
        } in self.in_flight.drain(..)
        {
            chunks.push(CarriedChunk::Sent {
                first,
                chunk,
                alerts: counted,
            });
        }
        for InFlight { chunk, counted, .. } in unsent {
            match counted {
                true => chunks.push(CarriedChunk::Unsent(chunk)),
                false => {
                    let first = self.next;
                    self.next += u64::from(chunk.len());
                    let at = chunks
                        .iter()
                        .position(|chunk| matches!(chunk, CarriedChunk::Unsent(_)));
                    let losses = CarriedChunk::Sent {
                        first,
                        chunk,
                        alerts: false,
                    };
                    chunks.insert(at.unwrap_or(chunks.len()), losses);
                }
            }
        }
        while let Taken::Chunk(chunk) = self.outlet.take() {
            chunks.push(CarriedChunk::Unsent(chunk));
        }
        (self.acknowledged, chunks)
    }

    /// Everything that is not acknowledged, for a stop: nobody will send it. The receiver has ended.
    pub(super) fn leave(mut self) -> Left {
        let mut left = Left::default();
        for (number, mut in_flight) in self.in_flight.drain(..).enumerate() {
            in_flight.skip_until(self.acknowledged);
            match (in_flight.counted, number < self.most_sent) {
                (false, _) => left.has_losses = true,
                (true, true) => left.sent.push(in_flight.chunk),
                (true, false) => left.unsent.push(in_flight.chunk),
            }
        }
        while let Taken::Chunk(chunk) = self.outlet.take() {
            left.unsent.push(chunk);
        }
        left
    }

    /// On a new connection everything that is not acknowledged goes out again.
    pub(super) fn start_again(&mut self) {
        self.sent = 0;
    }

    /// The last acknowledged number.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether something has left the buffer and is not acknowledged.
    pub(super) fn is_under_way(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Looks for something to send, while nothing is under way.
    pub(super) fn peek(&mut self) -> Peek {
        match self.outlet.take() {
            Taken::Chunk(chunk) => {
                self.depart(chunk, true);
                Peek::Something
            }
            Taken::Closed => Peek::End,
            Taken::Empty => Peek::Nothing,
        }
    }

    /// Numbers what is not acknowledged from 1 on: for a new stream.
    pub(super) fn renumber(&mut self) {
        let mut next = 1;
        let acknowledged = std::mem::take(&mut self.acknowledged);
        for in_flight in &mut self.in_flight {
            in_flight.skip_until(acknowledged);
            in_flight.first = next;
            next = in_flight.end();
        }
        self.next = next;
    }

    /// The next chunk to send: one that is in flight since an earlier connection, else what the buffer has, with the
    /// losses in front of it. `None`: nothing, and the waker will tell.
    pub(super) fn next_chunk(&mut self, status: &Status) -> Option<&InFlight> {
        if self.sent == self.in_flight.len()
            && !self.depart_losses(status)
            && let Taken::Chunk(chunk) = self.outlet.take()
        {
            self.depart(chunk, true);
        }
        let next = self.in_flight.get(self.sent)?;
        self.sent += 1;
        self.most_sent = self.most_sent.max(self.sent);
        Some(next)
    }

    /// While losses are on their way, further ones add up: in a flood there is a record for each round trip, not for
    /// each alert.
    fn depart_losses(&mut self, status: &Status) -> bool {
        if self.in_flight.iter().any(|in_flight| !in_flight.counted) {
            return false;
        }
        let losses = status.shared.ledger.take_losses();
        let mut bytes = Vec::new();
        losses
            .iter()
            .for_each(|loss| item::put_loss(&mut bytes, loss));
        if !losses.is_empty() {
            self.depart(Chunk::of(bytes), false);
        }
        !losses.is_empty()
    }

    fn depart(&mut self, chunk: Chunk, counted: bool) {
        let in_flight = InFlight {
            first: self.next,
            chunk,
            counted,
        };
        self.next = in_flight.end();
        self.in_flight.push_back(in_flight);
    }

    /// Everything up to `stored` is durable. Numbers that were acknowledged before change nothing.
    pub(super) fn acknowledge(&mut self, stored: u64) -> Result<(), String> {
        if stored >= self.next {
            return Err(format!(
                "it acknowledged number {stored}, but {} was the last one sent",
                self.next - 1
            ));
        }
        while let Some(first) = self.in_flight.front() {
            let from = first.first.max(self.acknowledged + 1);
            let to = first.end().min(stored + 1);
            if to > from && first.counted {
                self.outlet.acknowledge(to - from);
            }
            if first.end() > stored + 1 {
                break;
            }
            let done = self.in_flight.pop_front().expect("front() found it");
            self.sent = self.sent.saturating_sub(1);
            self.most_sent = self.most_sent.saturating_sub(1);
            self.outlet.recycle(done.chunk);
        }
        self.acknowledged = self.acknowledged.max(stored);
        Ok(())
    }

    /// The receiver has ended, and all it took, or lost, is acknowledged.
    pub(super) fn is_finished(&self, status: &Status) -> bool {
        // In this order: the receiver books its last loss before it closes the buffer.
        self.in_flight.is_empty() && self.outlet.is_finished() && !status.shared.ledger.has_losses()
    }

    /// Whether something went out, on any connection, and is not acknowledged.
    pub(super) fn is_any_sent(&self) -> bool {
        self.most_sent > 0
    }

    /// Whether `next_chunk` has something that did not go out on this connection.
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.in_flight.len() || self.outlet.has_items()
    }
}

impl InFlight {
    /// Cuts what is acknowledged off the front.
    fn skip_until(&mut self, acknowledged: u64) {
        let skip = (acknowledged + 1).saturating_sub(self.first);
        if skip > 0 {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            self.chunk.skip(skip);
        }
    }
}
