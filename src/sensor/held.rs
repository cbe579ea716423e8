//! Items between the buffer and the disk: each has its number, and stays here until it is durable. While the disk
//! fails, the sender may take them from here.

#![forbid(unsafe_code)]

use crate::buffer::Chunk;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So much may be written to the disk and not be durable yet; then what comes waits in the buffer, under HighWater.
const BYTES_MAX: usize = 16 << 20;
/// While the disk fails, so much is enough for the sender to have something.
const OPEN_BYTES_MAX: usize = 1 << 20;
/// Alerts that came within this are taken for equally old.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// More marks are thinned out.
const MARKS_MAX: usize = 4096;

/// Items under their numbers.
#[derive(Clone)]
pub(super) struct Numbered {
    /// Number of the first.
    pub(super) first: u64,
    pub(super) chunk: Arc<Chunk>,
    /// Whether these are alerts; else loss records.
    pub(super) alerts: bool,
}

impl Numbered {
    /// The number behind the last.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.chunk.len())
    }
}

/// See the module. Shared by the threads.
pub(super) struct Held(Mutex<State>);

struct State {
    chunks: VecDeque<Numbered>,
    bytes: usize,
    /// The number that the next item gets.
    next: u64,
    /// The disk fails: what is here may be sent.
    is_open: bool,
    /// Nothing comes any more, and all that can be on the disk is.
    is_closed: bool,
    /// Of what is not acknowledged, wherever it is: last numbers, and since when the first of those wait.
    marks: VecDeque<(u64, Instant)>,
}

impl Held {
    /// Nothing is held; the next item gets this number. `waiting`: some of those before it are not acknowledged.
    pub(super) fn new(next: u64, waiting: bool) -> Held {
        Held(Mutex::new(State {
            chunks: VecDeque::new(),
            bytes: 0,
            next,
            is_open: false,
            is_closed: false,
            // Since when they really wait, nobody has noted.
            marks: waiting
                .then(|| (next - 1, Instant::now()))
                .into_iter()
                .collect(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives items their numbers.
    pub(super) fn push(&self, chunk: Chunk, alerts: bool) {
        let mut state = self.lock();
        let since = chunk.since().unwrap_or_else(Instant::now);
        let numbered = Numbered {
            first: state.next,
            chunk: Arc::new(chunk),
            alerts,
        };
        state.next = numbered.end();
        state.bytes += numbered.chunk.bytes().len();
        state.mark(since);
        state.chunks.push_back(numbered);
    }

    /// Takes items that have their numbers already; what was given before is known.
    pub(super) fn push_at(&self, first: u64, mut chunk: Chunk, alerts: bool) {
        let next = self.last() + 1;
        if first > next {
            self.lock().next = first;
        } else {
            chunk.skip(usize::try_from(next - first).unwrap_or(usize::MAX));
        }
        if !chunk.is_empty() {
            self.push(chunk, alerts);
        }
    }

    /// Whether more may be pushed.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        state.bytes
            < if state.is_open {
                OPEN_BYTES_MAX
            } else {
                BYTES_MAX
            }
    }

    /// What is held from this number on: chunks that begin there or later.
    pub(super) fn from(&self, number: u64) -> Vec<Numbered> {
        let state = self.lock();
        let at = state.chunks.partition_point(|chunk| chunk.first < number);
        state.chunks.range(at..).cloned().collect()
    }

    /// The chunk with this number, if it may be sent from here.
    pub(super) fn open_at(&self, number: u64) -> Option<Numbered> {
        let state = self.lock();
        let at = state.chunks.partition_point(|chunk| chunk.end() <= number);
        // It may have become durable this moment: then the disk has it, and what is here begins behind it.
        let found = state.chunks.get(at).filter(|chunk| chunk.first <= number);
        found.filter(|_| state.is_open).cloned()
    }

    /// The disk fails, or works again.
    pub(super) fn set_open(&self, is_open: bool) {
        self.lock().is_open = is_open;
    }

    /// Whether the disk fails.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_open
    }

    /// All up to this number is on the disk.
    pub(super) fn is_durable(&self, number: u64) {
        self.lock().forget(number);
    }

    /// All up to this number is at servsock.
    pub(super) fn is_acknowledged(&self, number: u64) {
        let mut state = self.lock();
        state.forget(number);
        while state.marks.front().is_some_and(|(last, _)| *last <= number) {
            state.marks.pop_front();
        }
    }

    /// The last number that was given.
    pub(super) fn last(&self) -> u64 {
        self.lock().next - 1
    }

    /// Items that are held.
    pub(super) fn items(&self) -> u64 {
        let state = self.lock();
        state
            .chunks
            .front()
            .map_or(0, |first| state.next - first.first)
    }

    /// Since when the oldest item waits that is not acknowledged, wherever it is.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().marks.front().map(|(_, since)| *since)
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Whether nothing comes any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }
}

impl State {
    /// Chunks go as a whole.
    fn forget(&mut self, number: u64) {
        while self
            .chunks
            .front()
            .is_some_and(|first| first.end() <= number + 1)
        {
            let done = self.chunks.pop_front();
            self.bytes -= done.map_or(0, |done| done.chunk.bytes().len());
        }
    }

    fn mark(&mut self, since: Instant) {
        let last = self.next - 1;
        match self.marks.back_mut() {
            Some((to, before)) if since.saturating_duration_since(*before) < MARK_EVERY => {
                *to = last;
            }
            _ => self.marks.push_back((last, since)),
        }
        if self.marks.len() > MARKS_MAX {
            let pairs: Vec<_> = self.marks.drain(..).collect();
            let older = |pair: &[(u64, Instant)]| (pair[pair.len() - 1].0, pair[0].1);
            self.marks = pairs.chunks(2).map(older).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(items: usize) -> Chunk {
        Chunk::of([4, 0, 0, 0, 1, 2, 3, 4].repeat(items))
    }

    #[test]
    fn numbers_follow_each_other_and_chunks_go_whole() {
        let held = Held::new(10, false);
        held.push(chunk(3), true);
        held.push(chunk(2), false);
        assert_eq!((held.last(), held.items()), (14, 5));
        held.is_durable(11);
        assert_eq!(held.items(), 5, "12 is in the same chunk");
        held.is_durable(12);
        assert_eq!(held.items(), 2);
        held.is_acknowledged(14);
        assert_eq!((held.items(), held.last()), (0, 14));
        held.push(chunk(1), true);
        assert_eq!(held.from(0)[0].first, 15);
    }

    #[test]
    fn it_is_sent_from_here_only_while_the_disk_fails() {
        let held = Held::new(1, false);
        held.push(chunk(3), true);
        held.push(chunk(3), true);
        assert!(held.open_at(1).is_none());
        held.set_open(true);
        let first = |number| held.open_at(number).map(|chunk| chunk.first);
        assert_eq!(
            [first(1), first(3), first(4), first(7)],
            [Some(1), Some(1), Some(4), None]
        );
        held.is_durable(3);
        assert_eq!([first(3), first(4)], [None, Some(4)]);
    }

    #[test]
    fn the_oldest_is_known_to_a_second_however_many_wait() {
        let held = Held::new(1, true);
        assert!(Held::new(1, false).oldest().is_none());
        let start = held.oldest().unwrap();
        {
            let mut state = held.lock();
            for second in 1..20_000 {
                state.next += 1;
                state.mark(start + Duration::from_secs(second));
            }
            assert!(state.marks.len() <= MARKS_MAX);
        }
        assert_eq!(held.oldest(), Some(start));
        held.is_acknowledged(10_000);
        let waits = held.oldest().unwrap() - start;
        assert!((9_900..=10_001).contains(&waits.as_secs()), "{waits:?}");
        held.is_acknowledged(20_000);
        assert_eq!(held.oldest(), None);
    }
}
