//! A database as `store` promises it: the items of a batch and the stream's new number come together or not at all, and
//! only where epoch and number are those that the worker knows.

#![forbid(unsafe_code)]

use super::Breach;
use super::coroutine::Asking;
use crate::store::{Batch, CheckError, OpenStream, Opening, Store, StoreError, Stored};
use crate::wire::{Item, StreamId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An alert with this gid is refused for its content.
pub(crate) const BAD_GID: u32 = 666;

/// What a worker's writer asks before and behind each call of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing is to be stored.
    Idle,
    /// The stream is to be opened, or opened again.
    Open,
    /// A batch is to be stored.
    Write,
    /// The database has answered, and the writer has not heard it.
    Answered,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It succeeds, or fails, as it has to.
    Runs,
    /// The database is away.
    Away,
    /// It runs, but its answer is lost.
    AnswerLost,
}

/// The tables.
pub(super) struct Database {
    streams: HashMap<StreamId, Row>,
    last_cid: i64,
    /// What was committed since this was looked at.
    committed: Vec<Committed>,
    breach: Option<Breach>,
}

#[derive(Clone, Copy, Default)]
struct Row {
    epoch: i64,
    last_seq: u64,
}

/// An item in the tables.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) stream: StreamId,
    pub(super) number: u64,
    pub(super) what: What,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The alert with this number of ours.
    Alert(u32),
    /// So many alerts are lost.
    Loss(u64),
    /// In place of so many numbers: so many alerts are lost.
    Gap { numbers: u64, lost: u64 },
}

impl Database {
    pub(super) fn new(breach: Option<Breach>) -> Database {
        Database {
            streams: HashMap::new(),
            last_cid: 0,
            committed: Vec::new(),
            breach,
        }
    }

    /// The last number that is durable.
    pub(super) fn last_seq(&self, stream: StreamId) -> u64 {
        self.streams.get(&stream).map_or(0, |row| row.last_seq)
    }

    pub(super) fn take_committed(&mut self) -> Vec<Committed> {
        std::mem::take(&mut self.committed)
    }

    /// Somebody else uses the stream's name.
    pub(super) fn pretend(&mut self, stream: StreamId, last_seq: u64) {
        self.streams.entry(stream).or_default().last_seq = last_seq;
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        let row = self.streams.entry(opening.stream).or_default();
        if opening.epoch.is_some_and(|mine| mine != row.epoch) {
            return Err(StoreError::Fenced("another epoch".to_owned()));
        }
        row.epoch += 1;
        row.last_seq = row.last_seq.max(opening.forgotten);
        Ok(OpenStream {
            sid: 1,
            id: opening.stream,
            epoch: row.epoch,
            last_seq: row.last_seq,
        })
    }

    /// Whether the batch would be taken.
    fn check(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<(), StoreError> {
        let row = self.streams.entry(stream.id).or_default();
        let is_ours = (row.epoch, row.last_seq) == (stream.epoch, batch.after_seq);
        if !is_ours && self.breach != Some(Breach::NoFence) {
            return Err(StoreError::Fenced(format!(
                "epoch {} at {}, not {} at {}",
                row.epoch, row.last_seq, stream.epoch, batch.after_seq
            )));
        }
        let is_bad = |item: &Item<'_>| matches!(item, Item::Alert(alert) if alert.gid == BAD_GID);
        match batch.items.iter().any(is_bad) {
            true => Err(StoreError::Content("a bad alert".to_owned())),
            false => Ok(()),
        }
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        self.check(stream, batch)?;
        let row = self.streams.entry(stream.id).or_default();
        row.last_seq = batch.last_seq();
        let first_cid = self.last_cid + 1;
        let mut number = batch.after_seq + 1;
        for item in batch.items {
            self.last_cid += i64::from(matches!(item, Item::Alert(_)));
            self.committed.push(Committed {
                stream: stream.id,
                number,
                what: what(item),
            });
            number += item.numbers();
        }
        Ok(Stored {
            first_cid,
            last_cid: self.last_cid,
        })
    }

    /// The rows are there, but the number was to come in a transaction of its own.
    fn forget_number(&mut self, stream: &OpenStream) {
        self.pretend(stream.id, stream.last_seq);
    }
}

fn what(item: &Item<'_>) -> What {
    match item {
        Item::Alert(alert) => What::Alert(alert.event_id.unwrap_or_default()),
        Item::Loss(loss) => What::Loss(loss.count),
        Item::Gap(gap) => What::Gap {
            numbers: gap.numbers,
            lost: gap.loss.count,
        },
    }
}

/// The database, shared by all workers.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Database>>);

impl Shared {
    pub(super) fn new(breach: Option<Breach>) -> Shared {
        Shared(Arc::new(Mutex::new(Database::new(breach))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Database> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn breach(&self) -> Option<Breach> {
        self.lock().breach
    }
}

/// A worker's connection to it.
pub(crate) struct Client {
    pub(crate) asking: Arc<Asking<Call, Fate>>,
    pub(crate) database: Shared,
}

impl Client {
    fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Database) -> Result<T, StoreError>,
        half: impl FnOnce(&mut Database),
    ) -> Result<T, StoreError> {
        let away = || Err(StoreError::Away("it is away".to_owned()));
        let answer = match self.asking.ask(call) {
            Fate::Runs => work(&mut self.database.lock()),
            Fate::Away => away(),
            Fate::AnswerLost => {
                let mut database = self.database.lock();
                if work(&mut database).is_ok() && database.breach == Some(Breach::NumberApart) {
                    half(&mut database);
                }
                away()
            }
        };
        self.asking.ask(Call::Answered);
        answer
    }
}

impl Store for Client {
    fn check(&mut self) -> Result<(), CheckError> {
        Ok(())
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        self.call(Call::Open, |database| database.open(opening), |_| {})
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        self.call(
            Call::Write,
            |database| database.write(stream, batch),
            |database| database.forget_number(stream),
        )
    }

    fn try_out(&mut self, stream: &OpenStream, item: &Item<'_>) -> Result<(), StoreError> {
        let batch = Batch::next(stream, item);
        let tried = |database: &mut Database| database.check(stream, &batch);
        self.call(Call::Write, tried, |_| {})
    }
}
