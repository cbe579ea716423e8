//! Encoded items between a thread that must not wait (the IDS) and one that must (the network, the database).
//!
//! A queue of chunks, each some 64 KiB of items one after another, in exactly the bytes that go out: in a flood an item
//! costs its bytes and a hundredth more. `Intake::push` appends to the last chunk; `Outlet::take` takes the first one whole;
//! what was taken is still *held* until `Outlet::acknowledge` is told so.
//!
//! Invariants, checked by `debug_assert!` after each change and against a model in the tests:
//! - `low < high`, and after each `push` `held <= high` and `bytes <= Water::bytes_max`, unless all that is held was
//!   taken: memory has a ceiling. While the outlet flows, the ceiling is that of the bytes alone.
//! - `pushed == acknowledged + dropped + held`: an item is delivered or counted, never gone.
//! - What is dropped is the newest that was never taken: what may have been sent keeps its sequence number and its
//!   content for ever. What stays keeps its order.
//! - `push` takes no lock that is held across I/O, and allocates a chunk at most.
//!
//! An item begins with its length (`wire::item`); nothing else of it is known here.

#![forbid(unsafe_code)]

use crate::wake::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A chunk is closed before it grows beyond this; a longer item has a chunk of its own.
/// Below malloc's 128 KiB, from where on each chunk would be mapped and unmapped by the kernel.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Emptied chunks that are kept for the next ones.
const SPARE_CHUNKS_MAX: usize = 16;

/// The two marks: more than `high` items are not held, and what is dropped then is dropped down to `low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Water {
    high: u64,
    low: u64,
}

/// HighWater counts alerts, but an alert may have a megabyte: from this much for each of them on the newest are dropped
/// all the same. Snort's alerts have some hundred bytes, EVE records some thousand.
const BYTES_EACH_MAX: u64 = 16 << 10;
/// A low HighWater still leaves room for some big ones.
const BYTES_LEAST: u64 = 64 << 20;

/// HighWater's upper limit: a hundred thousand times FLoP's default.
pub const HIGH_WATER_MAX: u64 = 1_000_000_000;

impl Water {
    /// Checks the marks.
    ///
    /// # Errors
    ///
    /// A sentence, when not `1 <= low < high <= HIGH_WATER_MAX`.
    pub fn new(high: u64, low: u64) -> Result<Water, String> {
        if high > HIGH_WATER_MAX {
            Err(format!(
                "HighWater {high} is above {HIGH_WATER_MAX}, the most that is allowed"
            ))
        } else if low == 0 {
            Err("LowWater must be at least 1".to_owned())
        } else if high < low {
            Err(format!("HighWater {high} is below LowWater {low}"))
        } else if high == low {
            Err(format!("HighWater {high} is not above LowWater {low}"))
        } else {
            Ok(Water { high, low })
        }
    }

    /// HighWater.
    pub fn high(self) -> u64 {
        self.high
    }

    /// LowWater.
    pub fn low(self) -> u64 {
        self.low
    }

    /// Bytes of items that are held at most: 16 KiB for each item up to HighWater, at least 64 MiB.
    pub fn bytes_max(self) -> u64 {
        (self.high * BYTES_EACH_MAX).max(BYTES_LEAST)
    }
}

impl Default for Water {
    /// FLoP's marks.
    fn default() -> Self {
        Water {
            high: 10_000,
            low: 9_900,
        }
    }
}

/// Items one after another.
#[derive(Default, PartialEq, Eq)]
pub struct Chunk {
    bytes: Vec<u8>,
    items: u32,
    /// Bytes that the buffer counts for it since it was taken.
    counted: u64,
    /// When its first item was pushed; `None` where it never was in a buffer. One look at the clock for each chunk: in a
    /// flood for a hundred items, and some 30 ns at rest, where each has a chunk of its own.
    since: Option<Instant>,
}

impl Chunk {
    /// The items' bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.items
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The items, one by one.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        split(&self.bytes)
    }

    /// A chunk of items that lie one after another.
    pub fn of(bytes: Vec<u8>) -> Chunk {
        let items = split(&bytes).count();
        Chunk {
            items: u32::try_from(items).expect("an item has 4 bytes at least"),
            bytes,
            ..Chunk::default()
        }
    }

    /// When its first item was pushed; `None` where it never was in a buffer.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Cuts the first `count` items off.
    pub fn skip(&mut self, count: usize) {
        let at: usize = self.items().take(count).map(<[u8]>::len).sum();
        self.bytes.drain(..at);
        self.items = u32::try_from(self.items().count()).expect("fewer than before");
    }

    fn has_room(&self, item: &[u8]) -> bool {
        self.bytes.len() + item.len() <= CHUNK_BYTES
    }

    fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.items += 1;
    }

    /// Cuts the last items off, into a chunk of their own: as many as it takes until `surplus_items` items or
    /// `surplus_bytes` bytes are off, whichever takes more.
    fn cut(&mut self, surplus_items: u64, surplus_bytes: u64) -> Chunk {
        let starts: Vec<usize> = self
            .items()
            .scan(0, |next, item| {
                Some(std::mem::replace(next, *next + item.len()))
            })
            .collect();
        let end = self.bytes.len();
        let enough = |(off, start): (usize, &usize)| {
            off as u64 + 1 >= surplus_items && (end - start) as u64 >= surplus_bytes
        };
        let off = starts.iter().rev().enumerate().position(enough);
        let off = off.map_or(starts.len(), |before| before + 1);
        let items = u32::try_from(off).expect("at most `items`, a u32");
        self.items -= items;
        Chunk {
            bytes: self.bytes.split_off(starts[starts.len() - off]),
            items,
            counted: 0,
            since: self.since,
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} items, {} bytes)", self.items, self.bytes.len())
    }
}

/// Items that lie one after another, as far as their lengths fit.
fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = bytes.first_chunk().copied().map(u32::from_le_bytes)? as usize + 4;
        let (item, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(item)
    })
}

/// Numbers since the buffer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that were pushed.
    pub pushed: u64,
    /// Items that were acknowledged.
    pub acknowledged: u64,
    /// Items that were dropped at HighWater.
    pub dropped: u64,
    /// Items that are in the buffer, or taken and not acknowledged.
    pub held: u64,
    /// Bytes of the items that are in the buffer, and of chunks that were taken and not recycled.
    pub bytes: u64,
}

/// What a push forced out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many items.
    pub items: u64,
    /// The items, oldest first.
    pub chunks: Vec<Chunk>,
}

struct State {
    chunks: VecDeque<Chunk>,
    /// Of the chunks that were taken: how many items of each are not acknowledged, and since when the oldest waits.
    taken: VecDeque<(u64, Instant)>,
    spare: Vec<Vec<u8>>,
    counts: Counts,
    water: Water,
    /// The outlet's thread sleeps, or is about to.
    wanted: bool,
    closed: bool,
    /// The outlet takes over what comes, however much: HighWater is for what cannot flow off.
    flows: bool,
}

struct Shared {
    state: Mutex<State>,
    outlet: Waker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way but by a failed debug_assert, which a test is to see.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a buffer. `outlet` is woken when something came for a sleeping outlet.
pub fn new(water: Water, outlet: Waker) -> (Intake, Outlet, Gauge) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            chunks: VecDeque::new(),
            taken: VecDeque::new(),
            spare: Vec::new(),
            counts: Counts::default(),
            water,
            wanted: false,
            closed: false,
            flows: false,
        }),
        outlet,
    });
    (
        Intake(Arc::clone(&shared)),
        Outlet(Arc::clone(&shared)),
        Gauge(shared),
    )
}

/// The end that is filled. Dropping it closes the buffer.
pub struct Intake(Arc<Shared>);

impl Intake {
    /// Appends an item. When more than HighWater are held then, the newest that were never taken are cut off until
    /// LowWater is reached, and returned. (The same for bytes, down to one hundredth below their limit.)
    pub fn push(&mut self, item: &[u8]) -> Option<Dropped> {
        let mut state = self.0.lock();
        state.append(item);
        let dropped = state.is_over().then(|| state.drop_newest());
        state.check();
        self.0.wake_outlet(state);
        dropped
    }

    /// What `push` does when there are too many, behind a `push_all`.
    pub fn drop_newest(&mut self) -> Option<Dropped> {
        let mut state = self.0.lock();
        let dropped = state.is_over().then(|| state.drop_newest());
        state.check();
        dropped.filter(|dropped| dropped.items > 0)
    }

    /// Gives the memory of dropped items back, when nobody wants them.
    pub fn recycle(&mut self, dropped: Vec<Chunk>) {
        let mut state = self.0.lock();
        for chunk in dropped {
            state.keep_spare(chunk.bytes);
        }
    }

    /// Appends items without looking at HighWater: for the worker, which stops reading instead (`Gauge::is_high`), or
    /// puts something in the place of what it drops (`drop_newest`).
    pub fn push_all<'a>(&mut self, items: impl Iterator<Item = &'a [u8]>) {
        let mut state = self.0.lock();
        items.for_each(|item| state.append(item));
        state.check();
        self.0.wake_outlet(state);
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.wanted = true;
        self.0.wake_outlet(state);
    }
}

impl Shared {
    fn wake_outlet(&self, mut state: MutexGuard<'_, State>) {
        let wake = std::mem::take(&mut state.wanted);
        drop(state);
        if wake {
            self.outlet.wake();
        }
    }
}

impl State {
    fn append(&mut self, item: &[u8]) {
        debug_assert_eq!(split(item).next(), Some(item), "an item of its length");
        match self.chunks.back_mut() {
            Some(chunk) if chunk.has_room(item) => chunk.push(item),
            _ => {
                // What will be forced out at once, for all the others were taken, is not worth a whole chunk.
                let is_full = self.chunks.is_empty() && self.counts.held >= self.water.high;
                let mut chunk = match is_full {
                    true => Chunk::default(),
                    false => self.new_chunk(item.len()),
                };
                chunk.since = Some(Instant::now());
                chunk.push(item);
                self.chunks.push_back(chunk);
            }
        }
        self.counts.pushed += 1;
        self.counts.held += 1;
        self.counts.bytes += item.len() as u64;
    }

    fn new_chunk(&mut self, first_bytes: usize) -> Chunk {
        let bytes = match first_bytes > CHUNK_BYTES {
            true => Vec::with_capacity(first_bytes),
            false => self
                .spare
                .pop()
                .unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES)),
        };
        Chunk {
            bytes,
            ..Chunk::default()
        }
    }

    fn is_over(&self) -> bool {
        self.has_too_many() || self.counts.bytes > self.water.bytes_max()
    }

    fn has_too_many(&self) -> bool {
        !self.flows && self.counts.held > self.water.high
    }

    fn drop_newest(&mut self) -> Dropped {
        let bytes_max = self.water.bytes_max();
        let (over, over_bytes) = (self.has_too_many(), self.counts.bytes > bytes_max);
        let held_goal = if over { self.water.low } else { u64::MAX };
        let bytes_goal = if over_bytes {
            bytes_max - bytes_max / 100
        } else {
            u64::MAX
        };
        let mut dropped = Dropped::default();
        loop {
            let items = self.counts.held.saturating_sub(held_goal);
            let bytes = self.counts.bytes.saturating_sub(bytes_goal);
            if items == 0 && bytes == 0 {
                break;
            }
            let Some(mut last) = self.chunks.pop_back() else {
                break; // All the others were taken.
            };
            if items < u64::from(last.items) && bytes < last.bytes.len() as u64 {
                let cut = last.cut(items, bytes);
                let rest = std::mem::replace(&mut last, cut);
                if !rest.is_empty() {
                    self.chunks.push_back(rest);
                }
            }
            self.counts.held -= u64::from(last.items);
            self.counts.bytes -= last.bytes.len() as u64;
            self.counts.dropped += u64::from(last.items);
            dropped.items += u64::from(last.items);
            dropped.chunks.push(last);
        }
        dropped.chunks.reverse();
        dropped
    }

    fn keep_spare(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() == CHUNK_BYTES && self.spare.len() < SPARE_CHUNKS_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// `items` of the oldest that were taken are acknowledged.
    fn forget_taken(&mut self, mut items: u64) {
        while let Some((left, _)) = self.taken.front_mut() {
            if items < *left {
                *left -= items;
                return;
            }
            items -= *left;
            self.taken.pop_front();
        }
    }

    /// Since when the oldest item that is held waits.
    fn oldest(&self) -> Option<Instant> {
        let taken = self.taken.front().map(|(_, since)| *since);
        taken.or_else(|| self.chunks.front().and_then(|chunk| chunk.since))
    }

    fn check(&self) {
        let counts = &self.counts;
        debug_assert!(self.water.low < self.water.high);
        debug_assert_eq!(
            counts.pushed,
            counts.acknowledged + counts.dropped + counts.held
        );
        debug_assert!(self.chunks.iter().all(|chunk| chunk.items > 0));
    }
}

/// What `Outlet::take` found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The oldest chunk.
    Chunk(Chunk),
    /// Nothing; the waker will tell when there is something.
    Empty,
    /// Nothing, and nothing will come any more.
    Closed,
}

/// The end that is emptied.
pub struct Outlet(Arc<Shared>);

impl Outlet {
    /// Takes the oldest chunk, whole. Its items stay held until they are acknowledged.
    pub fn take(&mut self) -> Taken {
        let mut state = self.0.lock();
        let Some(mut chunk) = state.chunks.pop_front() else {
            if state.closed {
                return Taken::Closed;
            }
            state.wanted = true;
            return Taken::Empty;
        };
        // At rest each alert is taken alone: ten thousand of them that wait for their acknowledgement must not hold
        // ten thousand nearly empty chunks.
        if chunk.bytes.capacity() == CHUNK_BYTES && chunk.bytes.len() < CHUNK_BYTES / 4 * 3 {
            let exact = chunk.bytes.as_slice().to_vec();
            let roomy = std::mem::replace(&mut chunk.bytes, exact);
            state.keep_spare(roomy);
        }
        chunk.counted = chunk.bytes.len() as u64;
        let since = chunk.since.expect("append() noted it");
        state.taken.push_back((u64::from(chunk.items), since));
        Taken::Chunk(chunk)
    }

    /// Takes the oldest chunk for good: it counts as acknowledged, and its bytes no longer, for the caller answers for
    /// them. Nothing else of this outlet was taken before.
    pub fn take_over(&mut self) -> Taken {
        let taken = self.take();
        let Taken::Chunk(mut chunk) = taken else {
            return taken;
        };
        self.acknowledge(u64::from(chunk.items));
        self.0.lock().counts.bytes -= std::mem::take(&mut chunk.counted);
        Taken::Chunk(chunk)
    }

    /// Whether the items flow off as they come, with `take_over`: then HighWater does not count.
    pub fn set_flowing(&mut self, flows: bool) {
        self.0.lock().flows = flows;
    }

    /// Whether `take` would find a chunk.
    pub fn has_items(&self) -> bool {
        !self.0.lock().chunks.is_empty()
    }

    /// Whether the intake is gone: nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Whether the intake is gone and everything was taken.
    pub fn is_finished(&self) -> bool {
        let state = self.0.lock();
        state.closed && state.chunks.is_empty()
    }

    /// `items` of what was taken need not be kept any more.
    pub fn acknowledge(&mut self, items: u64) {
        let mut state = self.0.lock();
        state.counts.acknowledged += items;
        state.counts.held -= items;
        state.forget_taken(items);
        state.check();
    }

    /// Gives an acknowledged chunk's memory back.
    pub fn recycle(&mut self, chunk: Chunk) {
        let mut state = self.0.lock();
        state.counts.bytes -= chunk.counted;
        state.keep_spare(chunk.bytes);
    }
}

/// Looks at a buffer, and sets its marks.
#[derive(Clone)]
pub struct Gauge(Arc<Shared>);

impl Gauge {
    /// The numbers of this moment.
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// Since when the oldest item that is held waits, told by its chunk's first one; `None` where none is held.
    pub fn oldest(&self) -> Option<Instant> {
        self.0.lock().oldest()
    }

    /// The marks in force.
    pub fn water(&self) -> Water {
        self.0.lock().water
    }

    /// Sets the marks; what is above them is dropped by the next push.
    pub fn set_water(&self, water: Water) {
        self.0.lock().water = water;
    }

    /// HighWater is reached: who can stop the source, stops it.
    pub fn is_high(&self) -> bool {
        let state = self.0.lock();
        state.counts.held >= state.water.high || state.counts.bytes >= state.water.bytes_max()
    }

    /// LowWater is reached: the source may flow again.
    pub fn is_low(&self) -> bool {
        let state = self.0.lock();
        state.counts.held <= state.water.low && state.counts.bytes < state.water.bytes_max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(number: u32, bytes: usize) -> Vec<u8> {
        let mut item = vec![0; bytes.max(8)];
        let length = u32::try_from(item.len() - 4).unwrap();
        item[..4].copy_from_slice(&length.to_le_bytes());
        item[4..8].copy_from_slice(&number.to_le_bytes());
        item
    }

    fn number(item: &[u8]) -> u32 {
        u32::from_le_bytes(item[4..8].try_into().unwrap())
    }

    fn numbers(dropped: &Option<Dropped>) -> Vec<u32> {
        let chunks = dropped.iter().flat_map(|dropped| &dropped.chunks);
        chunks.flat_map(Chunk::items).map(number).collect()
    }

    fn buffer(high: u64, low: u64) -> (Intake, Outlet, Gauge) {
        new(Water::new(high, low).unwrap(), Waker::new().unwrap())
    }

    fn take_all(outlet: &mut Outlet) -> Vec<u32> {
        let mut taken = Vec::new();
        while let Taken::Chunk(chunk) = outlet.take() {
            taken.extend(chunk.items().map(number));
        }
        taken
    }

    #[test]
    fn at_high_water_nothing_is_dropped_and_one_more_drops_to_low_water() {
        let (mut intake, mut outlet, gauge) = buffer(10, 7);
        for n in 1..=10 {
            assert_eq!(intake.push(&item(n, 20)), None);
        }
        assert!(gauge.is_high());
        let dropped = intake.push(&item(11, 20));
        assert_eq!(numbers(&dropped), [8, 9, 10, 11], "the newest, in order");
        assert_eq!(gauge.counts().held, 7);
        assert_eq!(take_all(&mut outlet), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_was_taken_counts_until_acknowledged_and_is_never_dropped() {
        let (mut intake, mut outlet, gauge) = buffer(4, 2);
        (1..=4).for_each(|n| assert_eq!(intake.push(&item(n, 20)), None));
        assert_eq!(take_all(&mut outlet), [1, 2, 3, 4]);
        assert_eq!(numbers(&intake.push(&item(5, 20))), [5], "only 5 was left");
        outlet.acknowledge(3);
        assert_eq!(gauge.counts().held, 1);
        assert_eq!(intake.push(&item(6, 20)), None);
        assert_eq!(take_all(&mut outlet), [6]);
    }

    #[test]
    fn an_item_longer_than_a_chunk_travels_alone() {
        let (mut intake, mut outlet, _) = buffer(10, 5);
        for (n, bytes) in [(1, 20), (2, CHUNK_BYTES + 1), (3, 20)] {
            intake.push(&item(n, bytes));
        }
        let mut lengths = Vec::new();
        while let Taken::Chunk(chunk) = outlet.take() {
            lengths.push((chunk.len(), chunk.bytes().len()));
        }
        assert_eq!(lengths, [(1, 20), (1, CHUNK_BYTES + 1), (1, 20)]);
    }

    #[test]
    fn a_chunk_taken_nearly_empty_keeps_little_memory() {
        let (mut intake, mut outlet, _) = buffer(10, 5);
        intake.push(&item(1, 700));
        let Taken::Chunk(chunk) = outlet.take() else {
            panic!("one item is there")
        };
        assert_eq!(chunk.bytes.capacity(), 700);
    }

    #[test]
    fn a_closed_buffer_is_emptied_first() {
        let (mut intake, mut outlet, _) = buffer(10, 5);
        assert_eq!(outlet.take(), Taken::Empty);
        intake.push(&item(1, 20));
        drop(intake);
        assert!(matches!(outlet.take(), Taken::Chunk(_)));
        assert_eq!(outlet.take(), Taken::Closed);
    }

    #[test]
    fn marks_are_checked_with_a_sentence() {
        assert_eq!(
            Water::new(100, 9900).unwrap_err(),
            "HighWater 100 is below LowWater 9900"
        );
        assert_eq!(Water::new(1, 0).unwrap_err(), "LowWater must be at least 1");
        assert!(Water::new(5, 5).is_err());
        assert!(Water::new(HIGH_WATER_MAX + 1, 1).is_err());
        assert!(Water::new(2, 1).is_ok());
    }

    #[test]
    fn a_sleeping_outlet_is_woken_by_every_first_push() {
        let waker = Waker::new().unwrap();
        let (mut intake, mut outlet, _) = new(Water::new(1_000_000, 1).unwrap(), waker.clone());
        let items = 20_000;
        let taker = std::thread::spawn(move || {
            let mut taken = 0;
            loop {
                match outlet.take() {
                    Taken::Chunk(chunk) => taken += chunk.len(),
                    Taken::Closed => return taken,
                    Taken::Empty => {
                        crate::net::poll(&mut [crate::net::readable(&waker)], None).unwrap();
                        waker.clear();
                    }
                }
            }
        });
        for n in 0..items {
            intake.push(&item(n, 20));
        }
        drop(intake);
        assert_eq!(taker.join().unwrap(), items);
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let (mut intake, mut outlet, gauge) = buffer(10, 5);
        let big = item(1, 1 << 20);
        let fit = BYTES_LEAST / (1 << 20);
        gauge.set_water(Water::new(1000, 999).unwrap());
        let bytes_max = gauge.water().bytes_max();
        assert_eq!(bytes_max, BYTES_LEAST);
        for _ in 0..fit {
            assert_eq!(intake.push(&big), None);
        }
        assert!(gauge.is_high());
        let dropped = intake.push(&item(2, 8)).unwrap();
        assert_eq!(
            dropped.items, 2,
            "the small one, and a big one to be 1 % below"
        );
        assert_eq!(gauge.counts().bytes, bytes_max - (1 << 20));
        while let Taken::Chunk(chunk) = outlet.take() {
            outlet.acknowledge(u64::from(chunk.len()));
            outlet.recycle(chunk);
        }
        assert_eq!((gauge.counts().held, gauge.counts().bytes), (0, 0));
    }

    #[test]
    fn the_oldest_item_waits_until_it_is_acknowledged_taken_or_not() {
        let (mut intake, mut outlet, gauge) = buffer(10, 5);
        assert_eq!(gauge.oldest(), None);
        intake.push(&item(1, 20));
        let first = gauge.oldest().expect("one is there");
        intake.push(&item(2, 20));
        assert!(matches!(outlet.take(), Taken::Chunk(_)));
        intake.push(&item(3, 20));
        outlet.acknowledge(1);
        assert_eq!(gauge.oldest(), Some(first), "2 came with 1");
        outlet.acknowledge(1);
        let third = gauge.oldest().expect("3 waits");
        assert!(third > first);
        assert!(matches!(outlet.take(), Taken::Chunk(_)));
        assert_eq!(gauge.oldest(), Some(third));
        outlet.acknowledge(1);
        assert_eq!(gauge.oldest(), None);
    }

    #[test]
    fn the_front_of_a_chunk_is_skipped_by_items() {
        let mut chunk = Chunk::of([item(1, 20), item(2, 30), item(3, 9)].concat());
        chunk.skip(2);
        assert_eq!((chunk.len(), chunk.bytes()), (1, &item(3, 9)[..]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Take,
        Acknowledge(u8),
        Water(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (8..3000usize).prop_map(Step::Push),
            1 => Just(Step::Push(CHUNK_BYTES + 5)),
            2 => Just(Step::Take),
            2 => any::<u8>().prop_map(Step::Acknowledge),
            1 => (1..40u64, 1..20u64).prop_map(|(low, more)| Step::Water(low + more, low)),
        ]
    }

    proptest! {
        /// The model: two plain lists, of what was never taken and of what was taken.
        #[test]
        fn agrees_with_a_model(steps in prop::collection::vec(step(), 1..300)) {
            let (mut intake, mut outlet, gauge) = buffer(30, 20);
            let (mut open, mut taken, mut next) = (VecDeque::new(), 0u64, 0);
            let (mut high, mut low) = (30, 20);
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        next += 1;
                        open.push_back(next);
                        let mut expected = Vec::new();
                        if open.len() as u64 + taken > high {
                            while open.len() as u64 + taken > low && !open.is_empty() {
                                expected.insert(0, open.pop_back().unwrap());
                            }
                        }
                        let dropped = intake.push(&item(next, bytes));
                        prop_assert_eq!(dropped.as_ref().map_or(0, |dropped| dropped.items), expected.len() as u64);
                        prop_assert_eq!(numbers(&dropped), expected);
                    }
                    Step::Take => {
                        if let Taken::Chunk(chunk) = outlet.take() {
                            for item in chunk.items() {
                                prop_assert_eq!(Some(number(item)), open.pop_front());
                                taken += 1;
                            }
                            outlet.recycle(chunk);
                        } else {
                            prop_assert!(open.is_empty());
                        }
                    }
                    Step::Acknowledge(share) => {
                        let items = taken * u64::from(share) / 255;
                        outlet.acknowledge(items);
                        taken -= items;
                    }
                    Step::Water(new_high, new_low) => {
                        (high, low) = (new_high, new_low);
                        gauge.set_water(Water::new(high, low).unwrap());
                    }
                }
                prop_assert_eq!(gauge.counts().held, open.len() as u64 + taken);
            }
        }
    }
}
