//! The database: what a worker needs of it, and the two that there are.

use crate::wire::{Item, StreamId};
use std::fmt;

/// A database that alerts are stored in. One connection, used by one thread.
pub trait Store: Send {
    /// Finds or makes the sensor's row and the stream's row, and takes the stream over: from now on no other
    /// worker can store anything of this stream (its epoch is raised by one). Connects, and creates what is
    /// missing in the schema, when that has not happened yet.
    ///
    /// `forgotten` is the last sequence number which the sensor no longer has (0 at the beginning). A stream that
    /// the database does not know starts there.
    ///
    /// # Errors
    ///
    /// See `StoreError`.
    fn open_stream(
        &mut self,
        sensor: &SensorName,
        stream: StreamId,
        forgotten: u64,
    ) -> Result<OpenStream, StoreError>;

    /// Stores a batch in one transaction: all of it, with the stream's new `last_seq`, or nothing.
    ///
    /// # Errors
    ///
    /// See `StoreError`; after `StoreError::Away` the caller opens the stream again to learn whether the
    /// transaction was committed.
    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError>;
}

/// Who a sensor says it is; checked by `wire` (length, characters).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SensorName {
    /// `sensor.hostname`.
    pub name: String,
    /// `sensor.interface`; empty for none (NULL in the database).
    pub interface: String,
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
    /// The items, numbered `after_seq + 1 ..`.
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

/// Why the database did not take something. The text names what was tried and what the system answered, and never
/// contains a password.
#[derive(Debug)]
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
