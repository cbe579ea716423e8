//! Items on their way to servsock from the spool: what is not acknowledged waits on the disk, and is read again after a
//! reconnect; while the disk fails, what it does not have is sent from memory.

#![forbid(unsafe_code)]

use super::carried::CarriedChunk;
use super::disk::Asks;
use super::held::{Held, Numbered};
use super::outgoing::{Left, Outgoing, Peek, Piece, never_sent};
use super::status::Status;
use crate::buffer::Chunk;
use crate::clock::now_us;
use crate::spool::{Lost, News, Reader, Run};
use crate::wire::{StreamId, item};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What cannot be read is tried again so often before it is passed over: a disk may come back.
const UNREAD_MAX: u32 = 10;
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct FromSpool {
    reader: Reader,
    held: Arc<Held>,
    disk: Asks,
    status: Status,
    /// Numbers of loss records that went out and are not acknowledged; all other numbers are alerts.
    losses: VecDeque<u64>,
    /// Losses are noted up to here.
    looked_at: u64,
    /// What went out last.
    piece: Arc<Chunk>,
    /// The last number that went out, on any connection, or may have in a process before this one.
    most_sent: u64,
    /// Before the first WELCOME: the last number that a process before this one left.
    inherited: Option<u64>,
    /// Tries to read what cannot be read, and when the next one is due.
    unread: u32,
    read_again: Option<Instant>,
    /// What is damaged up to this number was told.
    told_lost: u64,
}

impl FromSpool {
    /// `inherited`: the last number that a process before this one left.
    pub(super) fn new(
        reader: Reader,
        held: Arc<Held>,
        disk: Asks,
        status: Status,
        inherited: u64,
    ) -> FromSpool {
        FromSpool {
            reader,
            held,
            disk,
            status,
            losses: VecDeque::new(),
            looked_at: 0,
            piece: Arc::default(),
            most_sent: inherited,
            inherited: Some(inherited),
            unread: 0,
            read_again: None,
            told_lost: 0,
        }
    }

    fn acknowledged_number(&self) -> u64 {
        self.reader.counts().acknowledged
    }

    /// The next items, from the disk or from memory, and the number of the first.
    fn next_items(&mut self) -> Option<(u64, Arc<Chunk>)> {
        if self.read_again.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        self.read_again = None;
        let read = self.reader.read();
        self.tell_news();
        match read {
            Ok(Some(Run::Items { first, chunk })) => Some((first, Arc::new(chunk))),
            Ok(Some(Run::Lost(lost))) => {
                self.tell_lost(&lost);
                Some((lost.first, Arc::new(lost.chunk(now_us()))))
            }
            Ok(None) => self.next_held(),
            Err(_) => {
                self.read_again = Some(Instant::now() + READ_AGAIN);
                self.unread += 1;
                if self.unread >= UNREAD_MAX {
                    self.unread = 0;
                    self.reader.pass_over();
                }
                None
            }
        }
    }

    fn next_held(&mut self) -> Option<(u64, Arc<Chunk>)> {
        let next = self.reader.next();
        let held = self.held.open_at(next)?;
        self.reader.skip_to(held.end());
        match next - held.first {
            0 => Some((next, held.chunk)),
            known => {
                let mut rest = Chunk::of(held.chunk.bytes().to_vec());
                rest.skip(usize::try_from(known).unwrap_or(usize::MAX));
                Some((next, Arc::new(rest)))
            }
        }
    }

    /// One line for what lies together, however much it is; the statistics have the number.
    fn tell_lost(&mut self, lost: &Lost) {
        let last = lost.first + lost.count - 1;
        if last <= self.told_lost {
            return;
        }
        if lost.first != self.told_lost + 1 {
            let place = lost
                .offset
                .map_or("it is missing".to_owned(), |at| format!("offset {at}"));
            crate::err!(
                "alerts that waited in {} cannot be read any more, from number {} on ({place}): they are recorded as lost",
                lost.file.display(),
                lost.first
            );
        }
        self.told_lost = last;
        self.status.note_damaged(lost.count);
    }

    fn tell_news(&mut self) {
        match self.reader.take_news() {
            Some(News::Fails(text)) => {
                crate::err!("{text}; what cannot be read is tried again, and then taken for lost");
            }
            Some(News::Back) => crate::notice!("the spool can be read again"),
            None => {}
        }
        match self.reader.take_removal_news() {
            Some(News::Fails(text)) => {
                crate::err!("{text}; what is stored goes on taking room there");
            }
            Some(News::Back) => crate::notice!("what is stored is removed from the spool again"),
            None => {}
        }
    }

    fn note_acknowledged(&mut self, number: u64) {
        let mut sent = number.saturating_sub(self.acknowledged_number());
        while self.losses.front().is_some_and(|loss| *loss <= number) {
            self.losses.pop_front();
            sent = sent.saturating_sub(1);
        }
        self.status.note_sent(sent);
        // An error is told, and tried again with the next acknowledgement.
        let _ = self.reader.acknowledge(number);
        self.tell_news();
        self.held.is_acknowledged(number);
        if self.held.is_open() {
            self.disk.wake();
        }
    }

    /// After a reconnect they are seen again.
    fn note_losses(&mut self, first: u64, chunk: &Chunk) {
        for (number, item) in (first..).zip(chunk.items()) {
            if number > self.looked_at && !item::is_alert(item) {
                self.losses.push_back(number);
            }
        }
        self.looked_at = self.looked_at.max(first + u64::from(chunk.len()) - 1);
    }

    /// servsock has more than what was inherited: a former process sent what the disk did not keep. What it kept is the
    /// begin of that, so servsock has it.
    fn take_for_stored(&mut self, inherited: u64) {
        let waiting = inherited.saturating_sub(self.acknowledged_number());
        if waiting > 0 {
            crate::err!(
                "servsock has more of this stream than the spool: the disk has lost its end, or another sockserv has a copy \
                 of it; {waiting} alerts of the spool are taken for stored"
            );
        }
        self.note_acknowledged(inherited);
    }

    /// Chunks that the disk does not have.
    fn not_on_disk(&self) -> Vec<Numbered> {
        let counts = self.reader.counts();
        let behind = counts.durable.max(counts.acknowledged) + 1;
        let held = self.held.from(0);
        held.into_iter()
            .filter(|held| held.end() > behind)
            .collect()
    }
}

impl Outgoing for FromSpool {
    fn stream(&self) -> StreamId {
        self.reader.stream().id
    }

    fn begin_stream(&mut self, id: StreamId) -> Result<(), String> {
        self.disk.begin_stream(id)?;
        self.most_sent = self.acknowledged_number();
        self.start_again();
        Ok(())
    }

    fn start_again(&mut self) {
        self.reader.start_again();
    }

    fn acknowledged(&self) -> u64 {
        self.reader.stream().sequence(self.acknowledged_number())
    }

    fn peek(&mut self) -> Peek {
        let waits = match self.held.is_open() {
            true => self.held.last(),
            false => self.reader.counts().durable,
        };
        if waits > self.acknowledged_number() {
            Peek::Something
        } else if self.held.is_closed() {
            Peek::End
        } else {
            Peek::Nothing
        }
    }

    fn is_on_disk(&self) -> bool {
        self.reader.counts().segments > 0
    }

    fn most_sent(&self) -> u64 {
        self.reader.stream().sequence(self.most_sent)
    }

    fn next_piece(&mut self) -> Option<Piece<'_>> {
        let (first, chunk) = self.next_items()?;
        let end = first + u64::from(chunk.len());
        self.note_losses(first, &chunk);
        self.most_sent = self.most_sent.max(end - 1);
        self.piece = chunk;
        Some(Piece {
            first: self.reader.stream().sequence(first),
            chunk: &self.piece,
        })
    }

    fn has_unsent(&self) -> bool {
        let next = self.reader.next();
        self.read_again.is_none()
            && (next <= self.reader.counts().durable || self.held.open_at(next).is_some())
    }

    fn is_any_sent(&self) -> bool {
        self.most_sent > self.acknowledged_number()
    }

    fn welcome(&mut self, stored: u64) -> Result<(), String> {
        let inherited = self.inherited.take();
        let acknowledged = self.acknowledge(stored);
        match (&acknowledged, inherited) {
            (Err(_), Some(inherited)) => self.take_for_stored(inherited),
            // An error: it is told as one of the disk. Alerts go on all the same.
            (Ok(()), Some(_)) => drop(self.disk.confirm()),
            (_, None) => {}
        }
        acknowledged
    }

    fn acknowledge(&mut self, stored: u64) -> Result<(), String> {
        let stream = self.reader.stream();
        let number = stream.number(stored);
        if number > self.most_sent {
            return Err(never_sent(stored, stream.sequence(self.most_sent)));
        }
        self.note_acknowledged(number);
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.held.is_closed() && self.acknowledged_number() >= self.held.last()
    }

    fn carry(&mut self) -> Vec<CarriedChunk> {
        let stream = self.reader.stream();
        let carried = |held: Numbered| CarriedChunk::Sent {
            first: stream.sequence(held.first),
            chunk: Chunk::of(held.chunk.bytes().to_vec()),
            alerts: held.alerts,
        };
        self.not_on_disk().into_iter().map(carried).collect()
    }

    fn leave(&mut self) -> Left {
        let mut left = Left::default();
        for held in self.not_on_disk() {
            let chunk = Chunk::of(held.chunk.bytes().to_vec());
            match (held.alerts, held.first <= self.most_sent) {
                (false, _) => left.has_losses = true,
                (true, true) => left.sent.push(chunk),
                (true, false) => left.unsent.push(chunk),
            }
        }
        left
    }

    fn into_reader(self: Box<Self>) -> Option<Reader> {
        Some(self.reader)
    }
}
