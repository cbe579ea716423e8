//! The database: what a worker needs of it, and the two that there are.
//!
//! The tables are the Snort schema, version 107, with ours beside it (`schema/`). A batch becomes rows in `rows`,
//! which know no database; `sqlite` and `postgres` write them.
//!
//! Invariants, for both databases:
//! - The rows of a batch and the stream's new `last_seq` are committed together or not at all.
//! - `last_seq` is only changed where the epoch is the one that `open_stream` gave and the old value is the one the
//!   batch follows: nothing is stored twice, and nothing by a worker that was replaced.
//! - cids of a sensor go on by one, without gap: `sensor.last_cid` moves in the same transaction.
//! - After any error the transaction is rolled back, never committed.

#![forbid(unsafe_code)]

mod capture;
mod encoding;
mod extensions;
#[cfg(feature = "null-store")]
mod null;
mod postgres;
mod references;
mod rows;
mod settings;
mod signatures;
mod sqlite;
#[cfg(test)]
mod tests;
mod url;

pub use encoding::Encoding;
#[cfg(feature = "null-store")]
pub use postgres::rendered::render;
pub use settings::{Settings, TimeZone};
pub use url::{Login, Url};

use crate::alert::SensorName;
use crate::wire::{Item, StreamId};
use references::{References, Resolved};
use signatures::Cache;
use std::fmt;
use url::Kind;

/// The database at this address. Connects to nothing yet: `Store::check` and `Store::open_stream` do.
pub fn open(url: &Url, settings: &Settings) -> Box<dyn Store> {
    let settings = settings.clone();
    match &url.0 {
        Kind::Sqlite(path) => Box::new(sqlite::Sqlite::new(path.clone(), settings)),
        Kind::Postgres(server) => Box::new(postgres::Postgres::new(server.clone(), settings)),
        #[cfg(feature = "null-store")]
        Kind::Null => Box::new(null::Null),
    }
}

/// Whether a database server answers, lets this user in, and has the tables or lets them be made. Changes nothing. A
/// file is not opened: that could make others beside it.
///
/// # Errors
///
/// A sentence: it cannot be reached, or not be used.
pub fn probe(url: &Url) -> Result<(), String> {
    match &url.0 {
        Kind::Postgres(server) => postgres::probe::probe(server),
        _ => Ok(()),
    }
}

/// A database that alerts are stored in. One connection, used by one thread.
pub trait Store: Send {
    /// Connects once and creates what is missing in the schema, so that a program can say at its start what is
    /// wrong. The connection is kept for `open_stream`.
    ///
    /// # Errors
    ///
    /// See `CheckError`.
    fn check(&mut self) -> Result<(), CheckError>;

    /// Finds or makes the sensor's row and the stream's row, and takes the stream over: from now on no other worker
    /// can store anything of this stream (its epoch is raised by one). Connects, and creates what is missing in the
    /// schema, when that has not happened yet.
    ///
    /// A stream that the database does not know starts at `Opening::forgotten`. One that it knows but whose `last_seq`
    /// is lower was acknowledged by a database that has been lost since (restored from a backup): it goes on from
    /// `forgotten`, and the gap becomes a row in `flop_loss`.
    ///
    /// # Errors
    ///
    /// See `StoreError`; waits some seconds at most for a lock which a dying worker still has.
    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError>;

    /// Opens a stream for a new worker. `forgotten` is the last sequence number which the sensor no longer has (0 at
    /// the beginning).
    ///
    /// # Errors
    ///
    /// As `open`.
    fn open_stream(
        &mut self,
        sensor: &SensorName,
        stream: StreamId,
        forgotten: u64,
    ) -> Result<OpenStream, StoreError> {
        self.open(&Opening {
            sensor,
            stream,
            forgotten,
            epoch: None,
        })
    }

    /// Opens a stream again after `StoreError::Away`: `last_seq` then tells what was committed.
    ///
    /// # Errors
    ///
    /// As `open`; `Fenced` when another worker has opened it since.
    fn resume_stream(
        &mut self,
        sensor: &SensorName,
        last: &OpenStream,
    ) -> Result<OpenStream, StoreError> {
        self.open(&Opening {
            sensor,
            stream: last.id,
            forgotten: last.last_seq,
            epoch: Some(last.epoch),
        })
    }

    /// Stores a batch in one transaction: all of it, with the stream's new `last_seq`, or nothing.
    ///
    /// # Errors
    ///
    /// See `StoreError`; after `StoreError::Away` the caller opens the stream again to learn whether the
    /// transaction was committed.
    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError>;

    /// Whether the item would be stored as the next one of the stream: it is written, its constraints are checked, and
    /// the transaction is rolled back.
    ///
    /// # Errors
    ///
    /// As `write`.
    fn try_out(&mut self, stream: &OpenStream, item: &Item<'_>) -> Result<(), StoreError>;
}

/// How the transaction of a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
}

/// A stream that this worker may write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStream {
    /// The sensor's number in the database.
    pub sid: i64,
    /// The stream's random name.
    pub id: StreamId,
    /// Raised at each `open_stream`; a worker with an older one can store nothing more.
    pub epoch: i64,
    /// The last sequence number that is durable.
    pub last_seq: u64,
}

/// Consecutive items of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Sequence number of the item before the first one; equals the stream's durable `last_seq`.
    pub after_seq: u64,
    /// The items, numbered `after_seq + 1 ..`; a gap takes as many numbers as it stands for.
    pub items: &'a [Item<'a>],
}

/// What a committed batch became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// First cid given to an alert of the batch; more than `last_cid` when it had no alert.
    pub first_cid: i64,
    /// Last cid given.
    pub last_cid: i64,
}

impl<'a> Batch<'a> {
    /// One item, behind all that is durable.
    pub(crate) fn next(stream: &OpenStream, item: &'a Item<'a>) -> Self {
        Batch {
            after_seq: stream.last_seq,
            items: std::slice::from_ref(item),
        }
    }
}

impl Batch<'_> {
    /// The number of its last item.
    pub fn last_seq(&self) -> u64 {
        let numbers = self.items.iter().map(Item::numbers);
        numbers.fold(self.after_seq, u64::saturating_add)
    }

    fn alerts(&self) -> impl Iterator<Item = &crate::alert::Alert<'_>> {
        self.items.iter().filter_map(|item| match item {
            Item::Alert(alert) => Some(alert),
            Item::Loss(_) | Item::Gap(_) => None,
        })
    }
}

impl Stored {
    /// What becomes of `alerts` alerts, the last of which gets `last_cid`.
    fn up_to(last_cid: i64, alerts: i64) -> Self {
        Stored {
            first_cid: last_cid - alerts + 1,
            last_cid,
        }
    }
}

/// What the database has given to a batch.
struct Given {
    first_cid: i64,
    /// The one in the sensor's row, under the lock of this transaction: two workers of different settings, too, write
    /// what the row says.
    encoding: Encoding,
    /// For each alert its row in `signature`.
    signatures: Vec<i64>,
    /// What its alerts refer to; empty when nobody asks for it.
    references: Resolved,
}

/// Makes the rows of an alert, with each setting that adds to them.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_rows(alert: &crate::alert::Alert<'_>, encoding: Encoding) {
    let settings = Settings {
        full_payload: true,
        reference: true,
        ..Settings::default()
    };
    let item = Item::Alert(alert.clone());
    let stream = OpenStream {
        sid: 1,
        id: StreamId([0; 16]),
        epoch: 1,
        last_seq: 0,
    };
    let given = Given {
        first_cid: 1,
        encoding,
        signatures: vec![1],
        references: Resolved::default(),
    };
    let rows = rows::Rows {
        settings: &settings,
        stream: &stream,
        batch: &Batch::next(&stream, &item),
        given: &given,
    };
    for table in rows::Table::ALL {
        let columns = table.columns(&settings).len();
        let made = rows.each(table, |row| match row.len() {
            made if made == columns => Ok(()),
            made => Err(made),
        });
        assert_eq!(made, Ok(()), "{}", table.name());
    }
}

/// What opening a stream showed.
struct Opened {
    stream: OpenStream,
    /// This worker comes back to a database that has all it had stored there.
    is_as_left: bool,
    /// The number in the sensor's row.
    encoding: i64,
}

/// The encoding of a sensor's row, which `find_sensor` takes only if there is such a one.
fn encoding_of(sid: i64, number: i64) -> Result<Encoding, StoreError> {
    Encoding::from_number(number).ok_or_else(|| {
        StoreError::Away(format!(
            "the encoding of sensor {sid} was changed to {number}, which is none; set it back to 0 (hex), 1 (base64) or \
             2 (ascii) in the table sensor"
        ))
    })
}

/// What a store remembers from one batch to the next, all of it committed.
#[derive(Debug, Default)]
struct Memory {
    signatures: Cache,
    references: References,
}

impl Memory {
    /// The database may be another one by now, or have been changed while it was away.
    fn stream_opened(&mut self, opened: &Opened, settings: &Settings) {
        self.references.clear();
        if !(settings.trust && opened.is_as_left) {
            self.signatures.clear();
        }
    }
}

/// Tells, once for each worker, that a sensor's row decides, not the setting.
#[derive(Debug, Default)]
struct EncodingNotice(bool);

impl EncodingNotice {
    fn tell(&mut self, sensor: &SensorName, opened: &Opened, wanted: Encoding) {
        let Some(kept) = Encoding::from_number(opened.encoding).filter(|kept| *kept != wanted)
        else {
            return;
        };
        if !std::mem::replace(&mut self.0, true) {
            crate::notice!(
                "sensor \"{}\": its payloads are stored as {kept}, not as {wanted}: it has alerts already, and readers \
                 decode all of them by the one encoding in its row",
                sensor.name
            );
        }
    }
}

/// How a stream is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Whose stream it is.
    pub sensor: &'a SensorName,
    /// Its random name.
    pub stream: StreamId,
    /// The last sequence number that the sensor no longer has.
    pub forgotten: u64,
    /// The epoch it must still be in, when a worker comes back to it.
    pub epoch: Option<i64>,
}

impl Opening<'_> {
    /// Checks the epoch that is in the database.
    fn check(&self, epoch: i64) -> Result<(), StoreError> {
        match self.epoch {
            Some(mine) if mine != epoch => Err(StoreError::Fenced(format!(
                "stream {} was taken over by another worker, or made anew, while the database was away",
                self.stream
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a worker comes back to a database that has all which it had stored. `known`: what is durable of the
    /// stream, if the database knows it.
    fn has_all(&self, known: Option<i64>) -> bool {
        let forgotten = rows::clamp(self.forgotten);
        self.epoch.is_some() && known.is_some_and(|last_seq| last_seq >= forgotten)
    }
}

/// Another worker has raised the epoch or moved `last_seq`.
fn fenced(stream: &OpenStream, batch: &Batch<'_>) -> StoreError {
    StoreError::Fenced(format!(
        "stream {} of sensor {} was taken over by another worker: it is no longer in epoch {} at number {}",
        stream.id, stream.sid, stream.epoch, batch.after_seq
    ))
}

/// Why `flop_loss` has a row for alerts which the sensor believes to be safe.
fn gap_reason(count: i64) -> String {
    format!(
        "{count} items were acknowledged to the sensor, but this database does not have them; was it restored from a \
         backup?"
    )
}

/// The parts of a file in `schema/`: the name of a table and the statements that make it.
fn parts(schema: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    schema
        .split("\n-- table ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
}

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// It cannot be reached now: to be tried again.
    Away(String),
    /// It will not be usable before somebody has changed something: a path, a password, a permission.
    Final(String),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CheckError::Away(text) | CheckError::Final(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for CheckError {}

impl From<CheckError> for StoreError {
    /// Once alerts are waiting, no error of the database is a reason to end.
    fn from(error: CheckError) -> Self {
        let (CheckError::Away(text) | CheckError::Final(text)) = error;
        StoreError::Away(text)
    }
}

/// Why the database did not take something. The text names what was tried and what the system answered, and never
/// contains a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It cannot be reached, is locked, restarting, read-only, full ...: to be tried again. The connection is
    /// given up.
    Away(String),
    /// It refused this batch for something that is in it: to be halved.
    Content(String),
    /// Another worker has taken the stream over: this one must end.
    Fenced(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (StoreError::Away(text) | StoreError::Content(text) | StoreError::Fenced(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for StoreError {}
