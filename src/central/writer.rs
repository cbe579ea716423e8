//! Thread worker-write: buffer -> store, all that is there in one transaction, up to a limit.
//!
//! A database that is away, for whatever reason, is tried again until it is back; a batch that fails for its content
//! is halved until the bad alert is alone. Only after COMMIT the receiver hears of it, and acknowledges.
//!
//! An alert becomes a loss for its content only while the database takes another one (`comparing`): a trigger that is
//! broken, or a column that nobody fills, refuses all of them, with the same words.

#![forbid(unsafe_code)]

use super::alarm::Alarm;
use super::away::Away;
use super::batch::{self, Count};
use super::comparing::Comparing;
use super::dropper::Overflow;
use super::settings::Settings;
use super::swap::Place;
use super::swapping::Swapping;
use crate::alert::{Alert, SensorName};
#[cfg(feature = "broken-promises")]
use crate::broken;
use crate::buffer::{Chunk, Outlet, Taken};
use crate::log::Limiter;
use crate::net;
use crate::options::Drops;
use crate::store::{self, Batch, OpenStream, Store, StoreError, Url};
use crate::wake::Waker;
use crate::wire::frame::Hello;
use crate::wire::{Item, StreamId};
use crossbeam_channel::{Receiver, Sender};
use std::time::{Duration, Instant};

/// A batch takes no more chunks from here on: enough to make the commit's cost vanish, little enough for memory.
pub(super) const BATCH_ITEMS_ENOUGH: u32 = 4_000;
pub(super) const BATCH_BYTES_ENOUGH: usize = 8 << 20;
/// Pause before the second try to reach the database; doubles up to the longest.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What the receiver tells the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Store nothing more, end.
    Discard,
    /// What is in force from now on.
    Settings(Settings),
}

/// What the writer tells the receiver.
#[derive(Debug)]
pub(super) enum Event {
    /// The stream belongs to this worker.
    Opened(OpenStream),
    /// A batch is durable.
    Committed(Committed),
    /// All up to this number is on this machine's disk, and so many items of it are not in the database.
    Swapped { last_seq: u64, waiting: u64 },
    /// The database cannot be reached; it is tried again.
    Away,
    /// The same, but alerts are taken: they wait on disk.
    AwayWithSwap,
    /// The database is reached again.
    Back,
    /// Another worker has taken the stream over.
    Fenced(String),
}

/// A durable batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) last_seq: u64,
    /// Greater than `last_cid` when no alert was in the batch, or when its cids are not known.
    pub(super) first_cid: i64,
    pub(super) last_cid: i64,
    pub(super) count: Count,
}

/// What ties the writer to the rest of its worker.
pub(super) struct Ends {
    pub(super) outlet: Outlet,
    pub(super) orders: Receiver<Order>,
    pub(super) events: Sender<Event>,
    /// For what the database refuses.
    pub(super) overflow: Overflow,
    /// Wakes the writer.
    pub(super) waker: Waker,
    /// Wakes the worker's main thread.
    pub(super) receiver: Waker,
}

/// Where alerts go.
pub(super) struct Storage {
    pub(super) db: Url,
    /// How they are stored there.
    pub(super) settings: store::Settings,
    /// Where they wait while the database is away, if not at their sensors.
    pub(super) swap: Option<Place>,
}

pub(super) struct Writer {
    pub(super) store: Box<dyn Store>,
    pub(super) sensor: SensorName,
    pub(super) stream: StreamId,
    pub(super) forgotten: u64,
    pub(super) ends: Ends,
    /// Where swaps are, if alerts are to wait on disk while the database is away.
    pub(super) place: Option<Place>,
    /// Of a COMMIT without answer, of which only a swap has yet to tell: the number before its first item.
    pub(super) unsure: Option<u64>,
    /// The swap, while it has something.
    pub(super) swapping: Option<Swapping>,
    pub(super) alarm: Alarm,
    /// Where dropped alerts go, if it is somewhere.
    drops: Option<Drops>,
    away: Option<Away>,
    pub(super) comparing: Comparing,
    bad: Limiter,
    /// Between two tries to reach the database.
    pub(super) longest_pause: Duration,
}

/// Why no more is stored.
#[derive(Debug)]
pub(super) enum Halt {
    /// The thread is to end.
    Ended,
    /// The database is away, and there is a swap.
    Away,
}

impl Writer {
    pub(super) fn new(storage: &Storage, hello: &Hello, ends: Ends) -> Writer {
        Writer {
            store: store::open(&storage.db, &storage.settings),
            sensor: hello.sensor.clone(),
            stream: hello.stream,
            forgotten: hello.forgotten,
            ends,
            alarm: Alarm::new(hello.sensor.clone()),
            drops: None,
            away: None,
            comparing: Comparing::default(),
            bad: Limiter::default(),
            longest_pause: RETRY_LONGEST,
            place: storage.swap.clone(),
            unsure: None,
            swapping: None,
        }
    }

    /// Stores what the receiver puts into the buffer.
    pub(super) fn run(mut self) {
        let ended = self.store_all();
        self.end(ended);
    }

    /// Stores what another worker left in the swap of this stream.
    pub(super) fn run_leftover(mut self) {
        let ended = self.empty_leftover();
        self.end(ended);
    }

    /// Whatever the reason: the receiver sees the end of the events.
    fn end(mut self, ended: Result<(), Halt>) {
        crate::debug!(Db, 1, "the writer ends: {ended:?}");
        if let Some(swapping) = self.swapping.take() {
            swapping.close();
        }
        self.alarm.tell_missed();
        let receiver = self.ends.receiver.clone();
        drop(self);
        receiver.wake();
    }

    fn store_all(&mut self) -> Result<(), Halt> {
        let mut stream = self.begin()?;
        while let Some(chunks) = self.next_chunks(&mut stream)? {
            self.store_next(&mut stream, chunks)?;
        }
        Ok(())
    }

    /// Opens the stream, and tells so.
    pub(super) fn begin(&mut self) -> Result<OpenStream, Halt> {
        let stream = self.first_stream()?;
        self.tell(Event::Opened(stream));
        Ok(stream)
    }

    /// Stores these chunks; while the database is away, in the swap, if there is one.
    pub(super) fn store_next(
        &mut self,
        stream: &mut OpenStream,
        chunks: Vec<Chunk>,
    ) -> Result<(), Halt> {
        let after = stream.last_seq;
        if self.swapping.is_none() {
            match self.store_chunks(stream, &chunks) {
                Err(Halt::Away) => self.leave_database(stream)?,
                stored => stored?,
            }
        }
        match self.swapping {
            // A part of them may be in the database already.
            Some(_) => self.swap_chunks(stream, after, chunks)?,
            None => self.release(chunks),
        }
        Ok(())
    }

    pub(super) fn store_chunks(
        &mut self,
        stream: &mut OpenStream,
        chunks: &[Chunk],
    ) -> Result<(), Halt> {
        let items = batch::decode(chunks, |error| {
            self.tell_bad(&format!("cannot be decoded: {error}"));
        });
        self.store_batch(stream, &items)
    }

    /// These chunks are safe.
    pub(super) fn release(&mut self, chunks: Vec<Chunk>) {
        let count = chunks.iter().map(|chunk| u64::from(chunk.len())).sum();
        self.ends.outlet.acknowledge(count);
        chunks
            .into_iter()
            .for_each(|chunk| self.ends.outlet.recycle(chunk));
        self.ends.receiver.wake();
    }

    /// All that is there, up to a limit; waits when nothing is. `None`: nothing will come any more.
    pub(super) fn next_chunks(
        &mut self,
        stream: &mut OpenStream,
    ) -> Result<Option<Vec<Chunk>>, Halt> {
        let (mut chunks, mut items, mut bytes) = (Vec::new(), 0, 0);
        loop {
            self.ends.waker.clear();
            self.check_orders()?;
            if chunks.is_empty() {
                self.try_database(stream)?;
            }
            match self.take() {
                Taken::Chunk(chunk) => {
                    items += chunk.len();
                    bytes += chunk.bytes().len();
                    chunks.push(chunk);
                    if items < BATCH_ITEMS_ENOUGH && bytes < BATCH_BYTES_ENOUGH {
                        continue;
                    }
                }
                Taken::Closed if chunks.is_empty() => return Ok(None),
                Taken::Empty if chunks.is_empty() => {
                    self.rest();
                    continue;
                }
                Taken::Empty | Taken::Closed => {}
            }
            return Ok(Some(chunks));
        }
    }

    /// Waits until something comes, or the alert socket or the database should be tried again.
    fn rest(&mut self) {
        let due = self.alarm.due();
        let database = self.swapping.as_ref().map(Swapping::due);
        let wait = due.into_iter().chain(database).min();
        let wait = wait.map(|due| due.saturating_duration_since(Instant::now()));
        let _ = net::poll(&mut [net::readable(&self.ends.waker)], wait);
        if due.is_some_and(|due| due <= Instant::now()) {
            self.alarm.tell_missed();
        }
    }

    pub(super) fn check_orders(&mut self) -> Result<(), Halt> {
        while let Ok(order) = self.ends.orders.try_recv() {
            match order {
                Order::Discard => return Err(Halt::Ended),
                Order::Settings(settings) => {
                    self.alarm.set(settings.alert_socket(), settings.priority);
                    self.drops = settings.drops();
                }
            }
        }
        Ok(())
    }

    pub(super) fn tell(&self, event: Event) {
        // An error: the process is ending.
        let _ = self.ends.events.send(event);
        self.ends.receiver.wake();
    }

    /// Opens the stream, however long it takes, unless there is a swap. `last`: what this worker had when it lost the
    /// database.
    pub(super) fn open(&mut self, last: Option<&OpenStream>) -> Result<OpenStream, Halt> {
        let mut retry = RETRY_FIRST;
        let began = Instant::now();
        loop {
            let opened = match last {
                None => self
                    .store
                    .open_stream(&self.sensor, self.stream, self.forgotten),
                Some(last) => self.store.resume_stream(&self.sensor, last),
            };
            crate::debug!(Db, 1, "opening the stream: {opened:?}");
            match opened {
                // With a batch at hand, only its COMMIT shows that the database takes alerts again.
                Ok(stream) => {
                    if last.is_none() && self.swapping.is_none() {
                        self.tell_back();
                    }
                    return Ok(stream);
                }
                Err(StoreError::Fenced(text)) => return Err(self.fenced(text)),
                // Nothing of an alert is stored yet: whatever it is, it is the database's state.
                Err(StoreError::Away(text) | StoreError::Content(text)) => {
                    self.tell_away(&text, began)
                }
            }
            self.mind_swap()?;
            self.back_off(&mut retry)?;
        }
    }

    /// Where there is a swap, nobody waits for the database.
    fn mind_swap(&self) -> Result<(), Halt> {
        match self.place {
            Some(_) => Err(Halt::Away),
            None => Ok(()),
        }
    }

    pub(super) fn fenced(&self, text: String) -> Halt {
        self.tell(Event::Fenced(text));
        Halt::Ended
    }

    /// Waits before the next try; the one after it waits longer.
    pub(super) fn back_off(&mut self, pause: &mut Duration) -> Result<(), Halt> {
        let until = Instant::now() + (*pause).min(self.longest_pause);
        *pause = longer(*pause);
        loop {
            self.check_orders()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.ends.waker.clear();
            let _ = net::poll(&mut [net::readable(&self.ends.waker)], Some(left));
        }
    }

    /// `began` is when the first try was made that failed: a locked database takes its time to say so.
    pub(super) fn tell_away(&mut self, text: &str, began: Instant) {
        if let Some(away) = &mut self.away {
            if away.is_told(text, Instant::now()) {
                crate::warning!(
                    "sensor \"{}\": the database is still away, after {} s: {text}",
                    self.sensor.name,
                    away.lasts().as_secs()
                );
            }
            return;
        }
        self.away = Some(Away::new(text, began));
        crate::warning!(
            "sensor \"{}\": {text}; trying again, the alerts wait",
            self.sensor.name
        );
        self.tell(match self.place {
            Some(_) => Event::AwayWithSwap,
            None => Event::Away,
        });
    }

    pub(super) fn tell_back(&mut self) {
        if let Some(away) = self.away.take() {
            crate::notice!(
                "sensor \"{}\": the database takes alerts again, after {} s",
                self.sensor.name,
                away.lasts().as_secs()
            );
            self.tell(Event::Back);
        }
    }

    /// Stores the items, in one transaction or, when one of them is bad, in as many as that takes.
    fn store_batch(&mut self, stream: &mut OpenStream, items: &[Item<'_>]) -> Result<(), Halt> {
        let after_seq = stream.last_seq;
        let batch = Batch { after_seq, items };
        let last_seq = batch.last_seq();
        let mut retry = RETRY_FIRST;
        let began = Instant::now();
        let mut takes_another = false;
        #[cfg(feature = "broken-promises")]
        if broken::breaks(broken::ACKNOWLEDGE_BEFORE_COMMIT) {
            self.tell_committed(last_seq, 1, 0, items);
        }
        loop {
            match self.store.write(stream, &batch) {
                Ok(stored) => {
                    crate::debug!(
                        Db,
                        3,
                        "{} items are committed up to number {last_seq}, cid {} to {}, in {} us",
                        items.len(),
                        stored.first_cid,
                        stored.last_cid,
                        began.elapsed().as_micros()
                    );
                    stream.last_seq = last_seq;
                    self.tell_back();
                    self.tell_committed(last_seq, stored.first_cid, stored.last_cid, items);
                    self.alarm.tell(stream.sid, Some(stored.first_cid), items);
                    self.comparing.stored(items);
                    return Ok(());
                }
                Err(StoreError::Fenced(text)) => return Err(self.fenced(text)),
                Err(StoreError::Content(text)) => match items {
                    [Item::Alert(bad)] if takes_another => {
                        return self.record_refused(stream, bad, &text);
                    }
                    [Item::Alert(_)] if self.takes_another(stream)? => {
                        // Again: it may take all by now.
                        takes_another = true;
                        continue;
                    }
                    // A loss or a gap is all ours: if that is refused, it is for something in the database.
                    [_] => self.tell_away(&text, began),
                    _ => return self.halve(stream, items),
                },
                Err(StoreError::Away(text)) => self.tell_away(&text, began),
            }
            takes_another = false;
            self.unsure = Some(after_seq);
            self.mind_swap()?;
            self.back_off(&mut retry)?;
            // Was it committed, and only the answer lost?
            *stream = self.open(Some(stream))?;
            if stream.last_seq == last_seq {
                self.tell_back();
                self.tell_committed(last_seq, 1, 0, items);
                self.alarm.tell(stream.sid, None, items);
                return Ok(());
            }
            if stream.last_seq != after_seq {
                return Err(self.fenced(format!(
                    "the database has number {} of this stream where {after_seq} or {last_seq} was expected",
                    stream.last_seq
                )));
            }
        }
    }

    fn halve(&mut self, stream: &mut OpenStream, items: &[Item<'_>]) -> Result<(), Halt> {
        self.comparing.refused(items);
        let (front, back) = items.split_at(items.len() / 2);
        self.store_batch(stream, front)?;
        self.store_batch(stream, back)
    }

    /// An alert that the database refuses while it takes others.
    fn record_refused(
        &mut self,
        stream: &mut OpenStream,
        bad: &Alert<'_>,
        why: &str,
    ) -> Result<(), Halt> {
        self.tell_bad(&format!(
            "({}:{}:{} \"{}\") is refused by the database: {why}",
            bad.gid,
            bad.sid,
            bad.rev,
            bad.message_text()
        ));
        let reason = format!("refused by the database: {why}");
        self.store_batch(stream, &[batch::lost(&reason)])?;
        if let Some(to) = &self.drops {
            self.ends.overflow.put_alert(to, &reason, bad);
        }
        Ok(())
    }

    fn tell_bad(&mut self, what: &str) {
        if let Some(count) = self.bad.told(Instant::now()) {
            crate::err!(
                "sensor \"{}\": an alert {what}; recorded as lost ({count} since the last such line)",
                self.sensor.name
            );
        }
    }

    pub(super) fn tell_committed(
        &self,
        last_seq: u64,
        first_cid: i64,
        last_cid: i64,
        items: &[Item<'_>],
    ) {
        self.tell(Event::Committed(Committed {
            last_seq,
            first_cid,
            last_cid,
            count: batch::count(items),
        }));
    }
}

/// The pause after this one.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(RETRY_LONGEST)
}
