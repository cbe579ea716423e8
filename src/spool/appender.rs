//! The end that writes: items become records of the newest segment, and durable in groups.

#![forbid(unsafe_code)]

use super::format::{HEADER_BYTES, Header, Salt, put_record, record_bytes};
use super::group::{Begun, Group, Synced};
use super::index::{Counts, Index};
use super::trouble::{Health, News, Trouble};
use super::{Options, Recovered, Stream, Sync};
use crate::buffer::Chunk;
use crate::wire::StreamId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Writes to the spool.
///
/// Invariant: `durable < next`, and all that is in no file of `unsynced` is durable.
pub struct Appender {
    index: Arc<Index>,
    options: Options,
    /// The newest segment, if it was begun by this process and never failed.
    active: Option<Active>,
    /// Segments in which something is not durable; `active` is the last of them.
    unsynced: Vec<Begun>,
    /// Segments with nothing that counts, because the disk failed; they go before another one is begun.
    stale: Vec<u64>,
    /// Raised by each failure of the disk: a group from before says nothing of what was appended since.
    failures: u64,
    next: u64,
    durable: u64,
    /// Records on their way to the file.
    records: Vec<u8>,
    /// `max_bytes` were reached, and since then nothing was appended.
    was_full: bool,
    /// What the newest header says to be acknowledged, and to be inherited.
    noted: (u64, u64),
    /// The last number that was found at the start; 0 when servsock was asked which of them it has.
    inherited: u64,
    health: Health,
}

struct Active {
    file: Arc<File>,
    header: Header,
    salt: Salt,
    bytes: u64,
}

impl Appender {
    pub(super) fn new(
        index: Arc<Index>,
        options: Options,
        recovered: &Recovered,
        newest: Option<Header>,
    ) -> Appender {
        let next = recovered.last + 1;
        Appender {
            index,
            options,
            active: None,
            unsynced: Vec::new(),
            stale: Vec::new(),
            failures: 0,
            next,
            durable: next - 1,
            records: Vec::new(),
            was_full: false,
            noted: newest.map_or((0, 0), |header| (header.acknowledged, header.inherited)),
            inherited: recovered.inherited,
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
        self.note(result)
    }

    /// Brings to the disk what was appended. The last durable number.
    ///
    /// # Errors
    ///
    /// As for `append`.
    pub fn sync(&mut self) -> Result<u64, Trouble> {
        match self.group() {
            Some(group) => self.settle(group.sync()),
            None => Ok(self.durable),
        }
    }

    /// What was appended and is not durable, for another thread to bring to the disk while this one appends more.
    /// `None`: all is durable.
    pub fn group(&self) -> Option<Group> {
        let end = self.active.as_ref()?;
        (self.durable + 1 < self.next).then(|| Group {
            index: Arc::clone(&self.index),
            segments: match self.options.sync {
                Sync::Group => self.unsynced.clone(),
                Sync::Off => Vec::new(),
            },
            last: self.next - 1,
            end: (end.header.first, end.bytes),
            failures: self.failures,
        })
    }

    /// Notes what became of a group. The last durable number.
    ///
    /// # Errors
    ///
    /// As for `append`.
    pub fn settle(&mut self, synced: Synced) -> Result<u64, Trouble> {
        if synced.failures == self.failures {
            let result = synced.result;
            self.note(result)?;
            self.is_durable(synced.last, synced.end);
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
        self.sync()?;
        self.inherited = 0;
        let base = self.counts().acknowledged;
        let begun = self.begin(self.next, Stream { id, base }, self.options.sync);
        self.note(begun)?;
        Ok(self.stream())
    }

    /// servsock has said which of the numbers it has that were found at the start: from now on new ones may be sent. On
    /// the disk, so that the next process inherits them all.
    ///
    /// # Errors
    ///
    /// As for `append`; the next segment will say it.
    pub fn confirm(&mut self) -> Result<(), Trouble> {
        self.inherited = 0;
        if self.noted.1 == 0 {
            return Ok(());
        }
        self.sync()?;
        let begun = self.begin(self.next, self.stream(), self.options.sync);
        self.note(begun)
    }

    /// At an orderly end: brings all to the disk, with what is acknowledged, so that the next start need not look for
    /// it.
    ///
    /// # Errors
    ///
    /// As for `append`.
    pub fn close(&mut self) -> Result<(), Trouble> {
        self.remove_stale()?;
        self.sync()?;
        let counts = self.counts();
        if counts.segments > 0 && self.noted.0 < counts.acknowledged {
            let first = self.next.max(counts.acknowledged + 1);
            let begun = self.begin(first, self.stream(), self.options.sync);
            self.note(begun)?;
        }
        self.index.remove_acknowledged()
    }

    fn write(&mut self, first: u64, chunk: &Chunk) -> Result<(), Trouble> {
        if let Err(full) = self.check_room(chunk) {
            self.was_full = true;
            return Err(full);
        }
        self.was_full = false;
        if first > self.next {
            // Within a segment numbers follow each other.
            self.begin(first, self.stream(), Sync::Off)?;
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
        // Once full, it is full until an eighth is free: not to be told of every item.
        let reserve = match self.was_full {
            true => self.segment_bytes().max(self.options.max_bytes / 8),
            false => 0,
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
                self.begin(self.next, self.stream(), Sync::Off)
            }
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.options
            .segment_bytes
            .min(self.options.max_bytes / 4)
            .max(HEADER_BYTES)
    }

    /// Begins a segment with this number. `sync`: whether it is to be on the disk already when it is used.
    fn begin(&mut self, first: u64, stream: Stream, sync: Sync) -> Result<(), Trouble> {
        debug_assert!(self.records.is_empty());
        self.remove_stale()?;
        let header = Header {
            stream,
            first,
            acknowledged: self.counts().acknowledged,
            inherited: self.inherited,
        };
        let directory = &self.index.directory;
        let file = directory
            .begin_segment(&header, sync == Sync::Group)
            .map_err(|answer| Trouble::io("begin", &directory.path_of(first), answer))?;
        let file = Arc::new(file);
        self.index.began(&header);
        self.unsynced.push(Begun {
            first,
            file: Arc::clone(&file),
            is_on_disk: sync == Sync::Group,
        });
        self.active = Some(Active {
            file,
            salt: Salt::of(stream.id),
            header,
            bytes: HEADER_BYTES,
        });
        if self.durable + 1 == self.next {
            self.durable = first - 1; // What is in between went past the disk.
        }
        self.next = first;
        self.noted = (header.acknowledged, header.inherited);
        Ok(())
    }

    /// In one that stays, numbers would be found later that belong to another segment.
    fn remove_stale(&mut self) -> Result<(), Trouble> {
        while let Some(&first) = self.stale.last() {
            let removed = self.index.directory.remove(first);
            removed.map_err(|answer| self.failed("remove", first, answer))?;
            self.stale.pop();
        }
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

    fn is_durable(&mut self, last: u64, end: (u64, u64)) {
        if last <= self.durable {
            return;
        }
        self.durable = last;
        self.index.is_durable(last, end);
        self.unsynced.retain(|begun| begun.first >= end.0);
        for begun in &mut self.unsynced {
            begun.is_on_disk |= begun.first == end.0;
        }
        // What was appended before it was full says nothing.
        if !self.was_full {
            self.health.works();
        }
    }

    fn failed(&self, tried: &'static str, first: u64, answer: io::Error) -> Trouble {
        Trouble::io(tried, &self.index.directory.path_of(first), answer)
    }

    /// After an error of the disk all that is not durable counts as not appended, and none of its segments is written
    /// to any more: of their pages nobody knows what became of them, nor whether a segment was begun behind them.
    fn note<T>(&mut self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(trouble) = &result {
            self.health.fails(trouble);
        }
        if let Err(Trouble::Io { .. }) = &result {
            self.failures += 1;
            self.records.clear();
            self.next = self.durable + 1;
            self.active = None;
            self.cut_unsynced();
        }
        result
    }

    fn cut_unsynced(&mut self) {
        for begun in self.unsynced.drain(..).rev() {
            match self.index.was_cut(&begun, self.durable) {
                // For the room. Should it fail: the next segment begins with the first of these numbers all the same.
                Some(bytes) => drop(begun.file.set_len(bytes)),
                None => self.stale.push(begun.first),
            }
        }
    }
}

#[cfg(test)]
impl Appender {
    /// The file that was written to.
    pub(super) fn replace_file(&mut self, file: File) -> Arc<File> {
        let file = Arc::new(file);
        if let Some(begun) = self.unsynced.last_mut() {
            begun.file = Arc::clone(&file);
        }
        std::mem::replace(&mut self.active.as_mut().unwrap().file, file)
    }
}
