//! The end that writes: items become records of the newest segment, and durable in groups.

#![forbid(unsafe_code)]

use super::format::{HEADER_BYTES, Header, Salt, put_record, record_bytes};
use super::index::{Counts, Index};
use super::trouble::{Health, News, Trouble};
use super::{Options, Stream, Sync};
use crate::buffer::Chunk;
use crate::wire::StreamId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Writes to the spool.
///
/// Invariant: `durable < next`, and all of `active` but the records from `durable + 1` to `next - 1` is durable.
pub struct Appender {
    index: Arc<Index>,
    options: Options,
    /// The newest segment, if it was begun by this process and never failed.
    active: Option<Active>,
    next: u64,
    durable: u64,
    /// Records on their way to the file.
    records: Vec<u8>,
    /// `max_bytes` were reached, and since then nothing was brought to the disk.
    was_full: bool,
    /// What the newest header says to be acknowledged.
    noted: u64,
    health: Health,
}

struct Active {
    file: File,
    header: Header,
    salt: Salt,
    bytes: u64,
}

impl Appender {
    pub(super) fn new(index: Arc<Index>, options: Options, next: u64, noted: u64) -> Appender {
        Appender {
            index,
            options,
            active: None,
            next,
            durable: next - 1,
            records: Vec::new(),
            was_full: false,
            noted,
            health: Health::default(),
        }
    }

    /// The number that the next item gets, if nothing goes past the disk.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The stream that items belong to.
    pub fn stream(&self) -> Stream {
        self.index.stream()
    }

    /// Numbers of this moment.
    pub fn counts(&self) -> Counts {
        self.index.counts()
    }

    /// What is to be told since this was asked last.
    pub fn take_news(&mut self) -> Option<News> {
        self.health.take_news()
    }

    /// Writes items, the first of which is number `first`: `next`, or a greater one where items went past the disk.
    /// They are not durable before `sync` says so.
    ///
    /// # Errors
    ///
    /// The disk is full or fails: `next` is the first number now that is not durable.
    ///
    /// # Panics
    ///
    /// `first` is below `next`: a number would have two items.
    pub fn append(&mut self, first: u64, chunk: &Chunk) -> Result<(), Trouble> {
        assert!(first >= self.next, "number {first} was given before");
        let result = self.write(first, chunk);
        self.settle(result)
    }

    /// Brings to the disk what was appended. The last durable number.
    ///
    /// # Errors
    ///
    /// As for `append`.
    pub fn sync(&mut self) -> Result<u64, Trouble> {
        let before = self.durable;
        let result = self.bring_to_disk();
        self.settle(result)?;
        if self.durable > before {
            self.health.works();
            self.was_full = false;
        }
        Ok(self.durable)
    }

    /// Begins a stream of this name, which takes along all that is not acknowledged. The reader's thread waits for it:
    /// nothing is acknowledged in between.
    ///
    /// # Errors
    ///
    /// As for `append`; the old stream goes on then.
    pub fn begin_stream(&mut self, id: StreamId) -> Result<Stream, Trouble> {
        let base = self.counts().acknowledged;
        let result = self
            .bring_to_disk()
            .and_then(|()| self.begin(self.next, Stream { id, base }));
        self.settle(result)?;
        Ok(self.stream())
    }

    /// At an orderly end: brings all to the disk, with what is acknowledged, so that the next start need not look for
    /// it.
    ///
    /// # Errors
    ///
    /// As for `append`.
    pub fn close(mut self) -> Result<(), Trouble> {
        self.sync()?;
        let counts = self.counts();
        if counts.segments > 0 && self.noted < counts.acknowledged {
            self.begin(self.next.max(counts.acknowledged + 1), self.stream())?;
        }
        self.index.remove_acknowledged()
    }

    fn write(&mut self, first: u64, chunk: &Chunk) -> Result<(), Trouble> {
        if let Err(full) = self.check_room(chunk) {
            // What was appended before stands.
            self.bring_to_disk()?;
            self.was_full = true;
            return Err(full);
        }
        if first > self.next {
            // Within a segment numbers follow each other.
            self.bring_to_disk()?;
            self.begin(first, self.stream())?;
        }
        for item in chunk.items() {
            self.make_room(record_bytes(item))?;
            let active = self.active.as_ref().expect("make_room begins one");
            put_record(&mut self.records, active.salt, self.next, item);
            self.next += 1;
        }
        self.flush()
    }

    fn check_room(&self, chunk: &Chunk) -> Result<(), Trouble> {
        let records: u64 = chunk.items().map(record_bytes).sum();
        let segments = records / self.segment_bytes() + 1;
        // Once full, it is full until a segment is free: not to be told of every item.
        let reserve = if self.was_full {
            self.segment_bytes()
        } else {
            0
        };
        let needed = records + segments * HEADER_BYTES + reserve;
        if self.counts().bytes + needed > self.options.max_bytes {
            return Err(Trouble::Full {
                dir: self.index.directory.path().to_owned(),
                max_bytes: self.options.max_bytes,
            });
        }
        Ok(())
    }

    /// Sees to it that there is a segment, with room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> Result<(), Trouble> {
        let end = self
            .active
            .as_ref()
            .map(|active| active.bytes + self.records.len() as u64);
        match end {
            Some(end) if end + bytes <= self.segment_bytes() || end == HEADER_BYTES => Ok(()),
            _ => {
                self.flush()?;
                self.bring_to_disk()?;
                self.begin(self.next, self.stream())
            }
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.options
            .segment_bytes
            .min(self.options.max_bytes / 4)
            .max(HEADER_BYTES)
    }

    /// Begins a segment with this number. All before is durable.
    fn begin(&mut self, first: u64, stream: Stream) -> Result<(), Trouble> {
        debug_assert!(self.records.is_empty() && self.durable + 1 == self.next);
        let header = Header {
            stream,
            first,
            acknowledged: self.counts().acknowledged,
        };
        let directory = &self.index.directory;
        let file = directory
            .begin_segment(&header, self.options.sync == Sync::Group)
            .map_err(|answer| Trouble::io("begin", &directory.path_of(first), answer))?;
        self.index.began(&header);
        self.active = Some(Active {
            file,
            salt: Salt::of(stream.id),
            header,
            bytes: HEADER_BYTES,
        });
        (self.next, self.durable) = (first, first - 1);
        self.noted = header.acknowledged;
        Ok(())
    }

    /// Hands the records to the system.
    fn flush(&mut self) -> Result<(), Trouble> {
        let Some(active) = self.active.as_mut().filter(|_| !self.records.is_empty()) else {
            return Ok(());
        };
        let written = active.file.write_all_at(&self.records, active.bytes);
        active.bytes += self.records.len() as u64;
        self.records.clear();
        let first = active.header.first;
        self.index.grew(active.bytes);
        written.map_err(|answer| self.failed("write", first, answer))
    }

    fn bring_to_disk(&mut self) -> Result<(), Trouble> {
        let Some(active) = self
            .active
            .as_ref()
            .filter(|_| self.durable + 1 < self.next)
        else {
            return Ok(());
        };
        if self.options.sync == Sync::Group
            && let Err(answer) = active.file.sync_data()
        {
            return Err(self.failed("write", active.header.first, answer));
        }
        self.durable = self.next - 1;
        self.index.is_durable(self.durable);
        Ok(())
    }

    fn failed(&self, tried: &'static str, first: u64, answer: io::Error) -> Trouble {
        Trouble::io(tried, &self.index.directory.path_of(first), answer)
    }

    /// After an error of the disk all that is not durable counts as not appended, and this segment is not written to
    /// any more: of its pages nobody knows what became of them, nor whether a segment was begun behind it.
    fn settle<T>(&mut self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(trouble) = &result {
            self.health.fails(trouble);
        }
        if let Err(Trouble::Io { .. }) = &result {
            self.records.clear();
            self.next = self.durable + 1;
            if let Some(active) = self.active.take() {
                // For the room. Should it fail: the next segment begins with the first of these numbers all the same.
                let bytes = self.index.was_cut();
                let _ = active.file.set_len(bytes);
            }
        }
        result
    }
}

#[cfg(test)]
impl Appender {
    /// The file that was written to.
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.active.as_mut().unwrap().file, file)
    }
}
