//! Chance that can be repeated: the same seed gives the same numbers on every machine.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64: each seed, also 1, 2, 3 ..., begins a sequence of its own.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    /// Milliseconds.
    pub(crate) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.within(1..=times) == 1
    }

    pub(crate) fn one_of<T: Copy>(&mut self, what: &[T]) -> T {
        what[self.index(what.len())]
    }

    /// A number below `count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.within(0..=count as u64 - 1)).expect("below a usize")
    }
}
