//! Items on their way to servsock straight from the buffer: what is not acknowledged waits in memory. Without I/O.

#![forbid(unsafe_code)]

use super::carried::{Carried, CarriedChunk};
use super::outgoing::{Left, Outgoing, Peek, Piece, never_sent};
use super::status::Status;
use crate::buffer::{Chunk, Intake, Outlet, Taken};
use crate::wire::{StreamId, item};
use std::collections::VecDeque;

/// Items on their way: what the buffer gave out and nobody acknowledged.
pub(super) struct FromBuffer {
    stream: StreamId,
    outlet: Outlet,
    status: Status,
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

struct InFlight {
    first: u64,
    chunk: Chunk,
    /// Whether its items are counted by the buffer; loss records are not.
    counted: bool,
}

impl InFlight {
    fn end(&self) -> u64 {
        self.first + u64::from(self.chunk.len())
    }
}

impl FromBuffer {
    pub(super) fn new(stream: StreamId, outlet: Outlet, status: Status) -> FromBuffer {
        FromBuffer {
            stream,
            outlet,
            status,
            in_flight: VecDeque::new(),
            sent: 0,
            most_sent: 0,
            acknowledged: 0,
            next: 1,
        }
    }

    /// Goes on where the program before this one stood. What was sent keeps its number; what was not goes into the
    /// buffer again.
    pub(super) fn resume(
        outlet: Outlet,
        status: Status,
        intake: &mut Intake,
        mut carried: Carried,
    ) -> FromBuffer {
        let mut outgoing = FromBuffer::new(carried.stream, outlet, status);
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

    /// While losses are on their way, further ones add up: in a flood there is a record for each round trip, not for
    /// each alert.
    fn depart_losses(&mut self) -> bool {
        if self.in_flight.iter().any(|in_flight| !in_flight.counted) {
            return false;
        }
        let losses = self.status.shared.ledger.take_losses();
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
}

impl Outgoing for FromBuffer {
    fn stream(&self) -> StreamId {
        self.stream
    }

    fn begin_stream(&mut self, id: StreamId) -> Result<(), String> {
        self.stream = id;
        let mut next = 1;
        let acknowledged = std::mem::take(&mut self.acknowledged);
        for in_flight in &mut self.in_flight {
            in_flight.skip_until(acknowledged);
            in_flight.first = next;
            next = in_flight.end();
        }
        self.next = next;
        Ok(())
    }

    fn start_again(&mut self) {
        self.sent = 0;
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn peek(&mut self) -> Peek {
        if !self.in_flight.is_empty() || self.status.shared.ledger.has_losses() {
            return Peek::Something;
        }
        match self.outlet.take() {
            Taken::Chunk(chunk) => {
                self.depart(chunk, true);
                Peek::Something
            }
            Taken::Closed => Peek::End,
            Taken::Empty => Peek::Nothing,
        }
    }

    fn is_on_disk(&self) -> bool {
        false
    }

    fn most_sent(&self) -> u64 {
        let last = self.most_sent.checked_sub(1);
        last.map_or(self.acknowledged, |last| self.in_flight[last].end() - 1)
    }

    fn next_piece(&mut self) -> Option<Piece<'_>> {
        if self.sent == self.in_flight.len()
            && !self.depart_losses()
            && let Taken::Chunk(chunk) = self.outlet.take()
        {
            self.depart(chunk, true);
        }
        let next = self.in_flight.get(self.sent)?;
        self.sent += 1;
        self.most_sent = self.most_sent.max(self.sent);
        Some(Piece {
            first: next.first,
            chunk: &next.chunk,
        })
    }

    fn has_unsent(&self) -> bool {
        self.sent < self.in_flight.len() || self.outlet.has_items()
    }
    fn is_any_sent(&self) -> bool {
        self.most_sent > 0
    }

    fn welcome(&mut self, stored: u64) -> Result<(), String> {
        self.acknowledge(stored)
    }

    fn acknowledge(&mut self, stored: u64) -> Result<(), String> {
        if stored >= self.next {
            return Err(never_sent(stored, self.next - 1));
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

    fn is_finished(&self) -> bool {
        // In this order: the receiver books its last loss before it closes the buffer.
        self.in_flight.is_empty()
            && self.outlet.is_finished()
            && !self.status.shared.ledger.has_losses()
    }

    fn carry(&mut self) -> Vec<CarriedChunk> {
        let losses = self.status.shared.ledger.take_losses();
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
        chunks
    }

    fn leave(&mut self) -> Left {
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

    fn into_reader(self: Box<Self>) -> Option<crate::spool::Reader> {
        None
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
