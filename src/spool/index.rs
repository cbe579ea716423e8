//! What both ends know of the directory: its segments, how far they are durable, what is acknowledged. The lock is
//! never held while a file is touched.

#![forbid(unsafe_code)]

use super::directory::Directory;
use super::format::{HEADER_BYTES, Header};
use super::group::Begun;
use super::lock::Lock;
use super::trouble::Trouble;
use super::{Recovered, Stream};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first record.
    pub(super) first: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// How much of it may be read.
    durable_bytes: u64,
}

impl Segment {
    /// One that a former process left.
    pub(super) fn of(first: u64, bytes: u64) -> Segment {
        Segment {
            first,
            bytes,
            durable_bytes: bytes,
        }
    }
}

/// Numbers of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last number that is on the disk.
    pub durable: u64,
    /// The last acknowledged number.
    pub acknowledged: u64,
}

impl Counts {
    /// Items that are on the disk and not acknowledged.
    pub fn waiting(&self) -> u64 {
        self.durable.saturating_sub(self.acknowledged)
    }
}

/// Where a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Not on the disk yet.
    Nothing,
    /// In no file; neither are the numbers up to this one.
    Missing { until: u64 },
    /// In the segment that begins with `first`, before byte `end`, if it is there; `limit` is not.
    Segment { first: u64, end: u64, limit: u64 },
}

pub(super) struct Index {
    pub(super) directory: Directory,
    _lock: Lock,
    state: Mutex<State>,
}

struct State {
    segments: VecDeque<Segment>,
    bytes: u64,
    durable: u64,
    acknowledged: u64,
    stream: Stream,
}

impl Index {
    pub(super) fn new(
        directory: Directory,
        lock: Lock,
        segments: Vec<Segment>,
        recovered: &Recovered,
    ) -> Index {
        let state = State {
            bytes: recovered.bytes,
            segments: segments.into(),
            durable: recovered.last,
            acknowledged: recovered.acknowledged,
            stream: recovered.stream,
        };
        state.check();
        Index {
            directory,
            _lock: lock,
            state: Mutex::new(state),
        }
    }

    pub(super) fn stream(&self) -> Stream {
        self.lock().stream
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            segments: state.segments.len() as u64,
            bytes: state.bytes,
            durable: state.durable,
            acknowledged: state.acknowledged,
        }
    }

    /// A segment was begun. It takes the place of one that begins with the same number.
    pub(super) fn began(&self, header: &Header) {
        let mut state = self.lock();
        if state
            .segments
            .back()
            .is_some_and(|last| last.first == header.first)
        {
            let replaced = state.segments.pop_back().map_or(0, |last| last.bytes);
            state.bytes -= replaced;
        }
        state
            .segments
            .push_back(Segment::of(header.first, HEADER_BYTES));
        state.bytes += HEADER_BYTES;
        state.stream = header.stream;
        state.check();
    }

    /// The newest segment has this length now.
    pub(super) fn grew(&self, bytes: u64) {
        let mut state = self.lock();
        let last = state
            .segments
            .back_mut()
            .expect("a segment is being written");
        let more = bytes - last.bytes;
        last.bytes = bytes;
        state.bytes += more;
        state.check();
    }

    /// All up to this number may be read: up to a byte of a segment, and the segments before it.
    pub(super) fn is_durable(&self, number: u64, (first, bytes): (u64, u64)) {
        let mut state = self.lock();
        let written = state.segments.iter_mut().rev();
        let is_new =
            |segment: &&mut Segment| segment.first > first || segment.durable_bytes < segment.bytes;
        for segment in written.take_while(is_new) {
            segment.durable_bytes = match segment.first.cmp(&first) {
                Ordering::Less => segment.bytes,
                Ordering::Equal => segment.durable_bytes.max(bytes),
                Ordering::Greater => continue,
            };
        }
        state.durable = state.durable.max(number);
        state.check();
    }

    /// What is not durable in a segment was cut off: how much is left of it. `None`: nothing, and it does not count any
    /// more.
    pub(super) fn was_cut(&self, begun: &Begun, durable: u64) -> Option<u64> {
        let mut state = self.lock();
        // One that is not there was acknowledged, and removed.
        let last = *state
            .segments
            .back()
            .filter(|last| last.first == begun.first)?;
        state.bytes -= last.bytes;
        // A header on the disk may be the only one with the stream's name.
        let left = match begun.first > durable && !begun.is_on_disk {
            true => {
                state.segments.pop_back();
                None
            }
            false => {
                let last = state.segments.back_mut().expect("it was seen above");
                last.bytes = last.durable_bytes;
                Some(last.durable_bytes)
            }
        };
        state.bytes += left.unwrap_or(0);
        state.check();
        left
    }

    /// Where a number is.
    pub(super) fn view(&self, number: u64) -> View {
        let state = self.lock();
        if number > state.durable {
            return View::Nothing;
        }
        let end = state.durable + 1;
        let behind = state
            .segments
            .partition_point(|segment| segment.first <= number);
        let limit = state
            .segments
            .get(behind)
            .map_or(end, |next| next.first.min(end));
        match behind.checked_sub(1).map(|at| state.segments[at]) {
            None => View::Missing { until: limit },
            Some(segment) => View::Segment {
                first: segment.first,
                end: segment.durable_bytes,
                limit,
            },
        }
    }

    /// All up to `number` is acknowledged. Numbers that were acknowledged before change nothing.
    pub(super) fn acknowledge(&self, number: u64) {
        let mut state = self.lock();
        state.acknowledged = state.acknowledged.max(number);
        state.check();
    }

    /// Removes the files of segments in which all is acknowledged, but for the newest.
    pub(super) fn remove_acknowledged(&self) -> Result<(), Trouble> {
        let mut removed = false;
        while let Some(segment) = self.first_acknowledged() {
            if let Err(answer) = self.directory.remove(segment.first) {
                let file = self.directory.path_of(segment.first);
                return Err(Trouble::io("remove", &file, answer));
            }
            self.lock().removed(segment);
            removed = true;
        }
        match removed.then(|| self.directory.sync()) {
            Some(Err(answer)) => Err(Trouble::io("remove", self.directory.path(), answer)),
            _ => Ok(()),
        }
    }

    fn first_acknowledged(&self) -> Option<Segment> {
        let state = self.lock();
        let next = state.segments.get(1)?;
        (next.first <= state.acknowledged + 1).then(|| state.segments[0])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way but by a failed debug_assert, which a test is to see.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn removed(&mut self, segment: Segment) {
        // Both ends may have found the same one.
        if self.segments.front() == Some(&segment) {
            self.segments.pop_front();
            self.bytes -= segment.bytes;
        }
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.segments.iter().is_sorted_by(|a, b| a.first < b.first));
        debug_assert!(
            self.segments
                .iter()
                .all(|segment| segment.durable_bytes <= segment.bytes)
        );
        debug_assert_eq!(
            self.bytes,
            self.segments
                .iter()
                .map(|segment| segment.bytes)
                .sum::<u64>()
        );
        debug_assert!(self.stream.base <= self.acknowledged.max(self.durable));
    }
}
