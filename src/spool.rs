//! Encoded items on disk, and the stream they belong to: what a kill or a power loss must not take.
//!
//! A directory of *segments*: files that are only ever appended to, and removed when all in them is acknowledged. No
//! thread, clock or log line is in here. Two ends share the directory, each made for one thread: the `Appender` writes
//! what the receiver took (`append`) and brings it to the disk in groups (`sync`, or `group` for a thread that waits);
//! the `Reader` gives out what is on the disk, a bounded chunk at a time, and forgets what is acknowledged.
//!
//! # Numbers
//!
//! The items of a directory are numbered for its whole life, over all restarts; the numbers are not written over. A
//! `Stream` is a name and the number after which it begins: sequence number = number - base. A new stream is a new
//! header, not a new copy of what waits: it takes all that is not acknowledged along.
//!
//! # Invariants
//!
//! - `acknowledged <= durable < next`, unless items went past the disk: nothing is given out before it is on the disk.
//! - A number belongs to the segment with the greatest first number that is not above it; where a segment begins, the
//!   one before it ends, whatever bytes it has.
//! - From `acknowledged + 1` to `durable` the reader accounts for each number once: as an item, byte for byte as it
//!   was appended, or as lost.
//! - There is a header of the current stream as soon as something is durable: the newest segment is never removed.
//! - Memory and the time of `open` depend on the size of one segment, not on how much waits.
//!
//! # What the caller owes
//!
//! - It keeps an item until `sync` says that it is durable. After an error nothing of what was not durable counts as
//!   appended, and `next` says where to go on: an error of fdatasync(2) leaves pages that are clean and gone, so only a
//!   second `append` helps.
//! - It compares the first WELCOME after `open` with `Recovered::inherited`. A servsock that has more means that this
//!   disk lost what it had reported as written (or was not asked to write, `Sync::Off`): then the numbers behind are in
//!   use for other items, and `Appender::begin_stream` has to come before anything is sent. Else `Appender::confirm` has
//!   to: until then each process that follows inherits no more than this one.
//!
//! # Files
//!
//! `DIR` has mode 0700, its files 0600. `lock` is held by flock(2) and has the PID of its owner. `NUMBER.spool`, 20
//! digits, is the segment that begins with this number; it comes into being as `new`, and gets its name when its header
//! is written. All else is left alone.
//!
//! Integers are little-endian. A segment is a header of 8,192 bytes and records, one after another.
//!
//! ## Header
//!
//! Twice, at 0 and at 4,096, so that a page that cannot be read does not take both; zeros behind each.
//!
//! | offset | size | field        | meaning                                                             |
//! |-------:|-----:|--------------|---------------------------------------------------------------------|
//! |      0 |    8 | magic        | `FLoPSPOL`                                                          |
//! |      8 |    4 | version      | 1; another one is refused, with both versions in the reason         |
//! |     12 |   16 | stream       | its name, as in HELLO                                               |
//! |     28 |    8 | base         | number before the stream's sequence number 1                        |
//! |     36 |    8 | first        | number of the first record; the one in the file's name              |
//! |     44 |    8 | acknowledged | last acknowledged number when the segment was begun                 |
//! |     52 |    8 | inherited    | last number that the process found at its start, if it had not heard |
//! |        |      |              | of servsock yet which of them it has; else 0                        |
//! |     60 |    4 | check        | CRC32C of the 60 bytes before                                       |
//!
//! ## Record
//!
//! | offset | size | field      | meaning                                                               |
//! |-------:|-----:|------------|-----------------------------------------------------------------------|
//! |      0 |    4 | check      | CRC32C of the header's stream and of the bytes 4 to 19 here           |
//! |      4 |    4 | item check | CRC32C of the item                                                    |
//! |      8 |    8 | number     | one more than that of the record before                               |
//! |     16 |    n | item       | as `wire::item` has it: u32 length first, 32 to 2,162,688 bytes in all |
//!
//! Two checks, so that an item that is damaged is skipped with certainty and nothing behind it is lost. Where a front is
//! damaged, each following byte is tried as the begin of a record. What an attacker puts into a packet cannot pose as
//! one: he does not know the stream's random name.
//!
//! # Damage
//!
//! Never a reason not to start. What is missing is what the numbers tell: each one between two that can be read is lost.
//! What cannot be read at the end of the newest segment is a *torn tail*: it was being written, was never reported as
//! durable, and is cut off, that is, never looked at again, for the next segment begins there. A power loss may tear the
//! segment before it, too, where nothing was durable either: those numbers are lost. What a former process wrote is
//! never changed.

#![forbid(unsafe_code)]

mod appender;
mod directory;
mod format;
mod group;
mod index;
mod inspect;
mod lock;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod trouble;

pub use appender::Appender;
pub use group::{Group, Synced};
pub use index::Counts;
pub use inspect::{Exported, Found, check, export};
pub use reader::{Gauge, Lost, Reader, Run};
pub use trouble::{News, Trouble};

use crate::error::Error;
use crate::wire::StreamId;
use directory::Directory;
use format::{HEADER_BYTES, Header, Unfit};
use index::{Index, Segment};
use scan::Scanner;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes on disk at most, where nothing else is said.
pub const MAX_BYTES_DEFAULT: u64 = 1 << 30;
/// The least that is of use: four segments in which the longest item fits.
pub const MAX_BYTES_LEAST: u64 = 4 * (4 << 20);
/// A new segment begins before one grows beyond this: short enough to be scanned in the blink of an eye at start, long
/// enough that the work for a segment does not count.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// When items count as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// After fdatasync(2), for all that was appended since the last one.
    Group,
    /// When they are written: they survive a kill, but not a power loss.
    Off,
}

/// How a spool is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes on disk at most.
    pub max_bytes: u64,
    /// When items count as durable.
    pub sync: Sync,
    /// A segment has no more, unless one item alone has more; never more than a quarter of `max_bytes`.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_bytes: MAX_BYTES_DEFAULT,
            sync: Sync::Group,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// The stream, and how its sequence numbers follow from the numbers of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub id: StreamId,
    /// Number before its sequence number 1.
    pub base: u64,
}

impl Stream {
    /// The sequence number of a number of this stream; 0 of one before it.
    pub fn sequence(self, number: u64) -> u64 {
        number.saturating_sub(self.base)
    }

    /// The number of a sequence number.
    pub fn number(self, sequence: u64) -> u64 {
        self.base.saturating_add(sequence)
    }
}

/// What `open` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The stream that goes on; the one that was given where there was none.
    pub stream: Stream,
    /// Last number that is known to be acknowledged; servsock may know of more.
    pub acknowledged: u64,
    /// Last number that is there, or was.
    pub last: u64,
    /// Last number that a process before this one may have sent.
    pub inherited: u64,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them `open` looked at.
    pub examined: u64,
    /// What was cut off at the end.
    pub torn: Option<Torn>,
    /// Segments, newest first, whose headers could not be read although they had to be.
    pub headless: Vec<PathBuf>,
    /// Why the newest segment could not be brought to the disk, if so: it would not survive a power loss.
    pub unsure: Option<String>,
}

impl Recovered {
    /// Items that are to be sent, for all that is known here.
    pub fn waiting(&self) -> u64 {
        self.last.saturating_sub(self.acknowledged)
    }
}

/// A torn tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How much it is.
    pub bytes: u64,
}

/// Opens the spool in `dir`, which is created if it is not there. `fresh` names the stream that begins where there is
/// none. Nothing is written before something is appended.
///
/// # Errors
///
/// `dir` cannot be used or is used by another process, or a newer program wrote what is in it. Damage and a full disk
/// are no errors.
pub fn open(
    dir: &Path,
    options: &Options,
    fresh: StreamId,
) -> Result<(Appender, Reader, Recovered), Error> {
    let (directory, lock) = loop {
        let directory = Directory::create(dir)?;
        if let Some(lock) = lock::take(&directory, dir)? {
            break (directory, lock);
        }
    };
    let segments = directory
        .segments()
        .map_err(|answer| refused(dir, answer))?;
    let newest = newest_header(&directory, &segments)?;
    let mut recovered = Recovered {
        stream: newest
            .header
            .map_or(Stream { id: fresh, base: 0 }, |header| header.stream),
        acknowledged: newest.header.map_or(0, |header| header.acknowledged),
        last: 0,
        inherited: 0,
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        examined: HEADER_BYTES * newest.headless.len() as u64,
        torn: None,
        headless: newest.headless,
        unsure: None,
    };
    if let Some(last) = segments.last() {
        let oldest = segments.first().map_or(last.first, |first| first.first);
        recovered.acknowledged = recovered.acknowledged.max(oldest - 1);
        scan_last(&directory, last, options, &mut recovered);
        // Items that went past the disk may have been acknowledged behind its last one.
        recovered.last = recovered.last.max(recovered.acknowledged);
        if newest.header.is_none() {
            // Nobody knows the name of the stream that these belong to, nor whether they are what was written.
            recovered.stream.base = recovered.last;
            recovered.acknowledged = recovered.last;
        }
    }
    recovered.inherited = match newest.header.map_or(0, |header| header.inherited) {
        0 => recovered.last,
        inherited => inherited.min(recovered.last),
    };
    let index = Arc::new(Index::new(directory, lock, segments, &recovered));
    let appender = Appender::new(Arc::clone(&index), *options, &recovered, newest.header);
    Ok((appender, Reader::new(index), recovered))
}

/// The newest header that can be read.
struct Newest {
    header: Option<Header>,
    headless: Vec<PathBuf>,
}

fn newest_header(directory: &Directory, segments: &[Segment]) -> Result<Newest, Error> {
    let mut headless = Vec::new();
    for segment in segments.iter().rev() {
        match directory.header(segment.first) {
            Ok(header) => {
                let header = Some(header);
                return Ok(Newest { header, headless });
            }
            Err(Unfit::Version(version)) => return Err(too_new(directory, segment.first, version)),
            Err(Unfit::Damaged) => headless.push(directory.path_of(segment.first)),
        }
    }
    Ok(Newest {
        header: None,
        headless,
    })
}

/// Finds the last number in the last segment, and where it ends.
fn scan_last(directory: &Directory, last: &Segment, options: &Options, recovered: &mut Recovered) {
    let mut sound_end = 0;
    recovered.last = last.first - 1;
    // A file that cannot even be opened is a damaged one.
    if let Ok(mut scanner) = Scanner::open(directory, last.first, recovered.stream.id) {
        scanner.set_end(last.bytes);
        while scanner.next_readable(last.first, u64::MAX).is_some() {}
        recovered.last = scanner.next_number() - 1;
        sound_end = scanner.sound_end();
        recovered.unsure = match options.sync {
            // Another process wrote it, and may have been killed before it came to the disk.
            Sync::Group => scanner
                .file()
                .sync_data()
                .err()
                .map(|error| error.to_string()),
            Sync::Off => None,
        };
    }
    recovered.examined += HEADER_BYTES + last.bytes;
    recovered.torn = (sound_end < last.bytes).then(|| Torn {
        file: directory.path_of(last.first),
        offset: sound_end,
        bytes: last.bytes - sound_end,
    });
}

/// Whether a living process has the spool in `dir` open.
pub fn is_in_use(dir: &Path) -> bool {
    Directory::open(dir).is_ok_and(|directory| lock::find_owner(&directory).is_some())
}

fn refused(dir: &Path, answer: impl std::fmt::Display) -> Error {
    Error::start(
        format!("cannot use spool directory {}", dir.display()),
        answer,
        "",
    )
}

fn too_new(directory: &Directory, first: u64, version: u32) -> Error {
    Error::start(
        format!(
            "cannot read spool file {}",
            directory.path_of(first).display()
        ),
        format!(
            "it has version {version}, version {} is known here",
            format::VERSION
        ),
        "start the newer program again until all is sent, or name another directory",
    )
}
