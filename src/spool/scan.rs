//! Reads the records of one segment, and finds the next sound one behind what is damaged.

#![forbid(unsafe_code)]

use super::directory::Directory;
use super::format::{
    FRONT_AND_LENGTH_BYTES, FRONT_BYTES, Front, HEADER_BYTES, PAGE_BYTES, RECORD_BYTES_MIN, Salt,
    is_sound,
};
use crate::wire::StreamId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is read at once, if a record does not need more.
const WINDOW_BYTES: usize = 256 << 10;

/// A place in a segment.
///
/// Invariant: `HEADER_BYTES <= sound_end <= at`, and each number below `next_number` was met or passed over.
#[derive(Debug)]
pub(super) struct Scanner {
    window: Window,
    salt: Salt,
    first: u64,
    /// The next byte to look at.
    at: u64,
    /// Where to stop.
    end: u64,
    next_number: u64,
    sound_end: u64,
    /// Where the first damage since `take_damage` is.
    damage: Option<u64>,
    /// The record before `at`, if it was given out.
    given: Option<Front>,
}

impl Scanner {
    /// At the first record of a segment. `stream` is taken for its stream where its header cannot be read.
    pub(super) fn open(directory: &Directory, first: u64, stream: StreamId) -> io::Result<Scanner> {
        let stream = directory
            .header(first)
            .map_or(stream, |header| header.stream.id);
        Ok(Scanner {
            window: Window::over(directory.read(first)?),
            salt: Salt::of(stream),
            first,
            at: HEADER_BYTES,
            end: HEADER_BYTES,
            next_number: first,
            sound_end: HEADER_BYTES,
            damage: None,
            given: None,
        })
    }

    /// Number of the segment's first record.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number behind the last one that was met, be its item sound or not.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Where the last record ends whose front is sound.
    pub(super) fn sound_end(&self) -> u64 {
        self.sound_end
    }

    pub(super) fn file(&self) -> &File {
        &self.window.file
    }

    /// Looks no further than this, which is the end of a record, or of the file.
    pub(super) fn set_end(&mut self, end: u64) {
        self.end = end;
        self.window.limit = end;
    }

    /// Where the first damage is that was met since this was asked last.
    pub(super) fn take_damage(&mut self) -> Option<u64> {
        self.damage.take()
    }

    /// The same, to be asked again.
    pub(super) fn damage(&self) -> Option<u64> {
        self.damage
    }

    /// The next sound item whose number is in `from .. limit`. `None`: there is none up to the end.
    pub(super) fn next(&mut self, from: u64, limit: u64) -> io::Result<Option<(u64, &[u8])>> {
        self.given = self.find(from, limit)?;
        self.item()
    }

    /// The same; what cannot be read is damage.
    pub(super) fn next_readable(&mut self, from: u64, limit: u64) -> Option<(u64, &[u8])> {
        self.given = loop {
            match self.find(from, limit) {
                Ok(given) => break given,
                Err(_) => self.pass_over(),
            }
        };
        self.item().expect("its bytes were just checked")
    }

    /// `next` gives the same item again.
    pub(super) fn put_back(&mut self) {
        if let Some(front) = self.given.take() {
            self.at -= front.record_bytes();
            self.next_number = front.number;
            self.sound_end = self.at;
        }
    }

    /// After an error of `next`: takes the page that could not be read for damaged.
    pub(super) fn pass_over(&mut self) {
        self.window.pass_over();
    }

    fn item(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let Some(front) = self.given else {
            return Ok(None);
        };
        let at = self.at - front.item_bytes as u64;
        Ok(Some((front.number, self.window.get(at, front.item_bytes)?)))
    }

    fn find(&mut self, from: u64, limit: u64) -> io::Result<Option<Front>> {
        while self.next_number < limit {
            let left = self.end.saturating_sub(self.at);
            if left < RECORD_BYTES_MIN as u64 {
                self.skip_rest();
                break;
            }
            match self.front(limit, left)? {
                None => self.damaged(1),
                Some(front) if front.number < from => self.step(&front),
                Some(front) => {
                    let item = self
                        .window
                        .get(self.at + FRONT_BYTES as u64, front.item_bytes)?;
                    if is_sound(&front, item) {
                        self.step(&front);
                        return Ok(Some(front));
                    }
                    let at = self.at;
                    self.step(&front);
                    self.damage.get_or_insert(at);
                }
            }
        }
        Ok(None)
    }

    /// The front at this place, if it is one and its record ends in time.
    fn front(&mut self, limit: u64, left: u64) -> io::Result<Option<Front>> {
        // Numbers follow each other: so many records, at most, can be before this place.
        let before = (self.at - HEADER_BYTES) / RECORD_BYTES_MIN as u64;
        let numbers = self.next_number..=(limit - 1).min(self.first + before);
        let bytes = self.window.get(self.at, FRONT_AND_LENGTH_BYTES)?;
        let bytes = bytes.first_chunk().expect("so many were asked for");
        let front = Front::decode(bytes, self.salt, &numbers);
        Ok(front.filter(|front| front.record_bytes() <= left))
    }

    fn step(&mut self, front: &Front) {
        self.at += front.record_bytes();
        self.next_number = front.number + 1;
        self.sound_end = self.at;
    }

    fn damaged(&mut self, bytes: u64) {
        self.damage.get_or_insert(self.at);
        self.at += bytes;
    }

    fn skip_rest(&mut self) {
        if self.at < self.end {
            self.damaged(self.end - self.at);
        }
    }
}

/// The part of a file that is in memory.
#[derive(Debug)]
struct Window {
    file: File,
    bytes: Vec<u8>,
    /// Where in the file they begin.
    at: u64,
    /// What is behind is not read: it may be written at this moment.
    limit: u64,
}

impl Window {
    fn over(file: File) -> Window {
        Window {
            file,
            bytes: Vec::new(),
            at: 0,
            limit: 0,
        }
    }

    /// `count` bytes of the file. Those that it does not have (somebody cut it) are zeros: that is no record.
    fn get(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let end = at + count as u64;
        if at < self.at || at > self.end() {
            self.bytes.clear();
            self.at = at;
        }
        if end > self.end() {
            self.forget_before(at);
            self.fill_to(end)?;
        }
        let from = (at - self.at) as usize;
        Ok(&self.bytes[from..from + count])
    }

    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    fn forget_before(&mut self, at: u64) {
        self.bytes.drain(..(at - self.at) as usize);
        self.at = at;
        // One long item is no reason to keep its memory.
        self.bytes.shrink_to(WINDOW_BYTES * 2);
    }

    fn fill_to(&mut self, end: u64) -> io::Result<()> {
        debug_assert!(end <= self.limit);
        while self.end() < end {
            let most = (self.limit - self.end()) as usize;
            let wanted = ((end - self.end()) as usize).max(WINDOW_BYTES.min(most));
            if self.read(wanted).is_err() {
                // Perhaps only a page of it cannot be read.
                self.read(self.to_next_page())?;
            }
        }
        Ok(())
    }

    fn read(&mut self, wanted: usize) -> io::Result<()> {
        let held = self.bytes.len();
        let end = self.end();
        self.bytes.resize(held + wanted, 0);
        loop {
            match self.file.read_at(&mut self.bytes[held..], end) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.bytes.truncate(held + count);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.truncate(held);
                    return Err(error);
                }
            }
        }
    }

    /// Bytes up to the end of the page, or to the limit: what is given up at once where the disk cannot be read.
    fn to_next_page(&self) -> usize {
        let end = self.end();
        (PAGE_BYTES - end % PAGE_BYTES).min(self.limit - end) as usize
    }

    fn pass_over(&mut self) {
        self.bytes.resize(self.bytes.len() + self.to_next_page(), 0);
    }
}

#[cfg(test)]
impl Scanner {
    pub(super) fn replace_file(&mut self, file: File) {
        self.window.file = file;
    }
}
