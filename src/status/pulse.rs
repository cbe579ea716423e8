//! What counters tell over time: how many a second, and when something was last dropped or lost.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is meant over so long at most.
const SPAN: Duration = Duration::from_secs(60);
/// Between two samples; so many of them are kept as fit the span.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const SAMPLES_MAX: usize = 12;

/// Samples of a sensor's counters, taken by whoever has a clock.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// When, and how many alerts had come by then; oldest first.
    samples: VecDeque<(Instant, u64)>,
    dropped: Growth,
    lost_before: Growth,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Alerts that came.
    pub received: u64,
    /// Alerts that were dropped.
    pub dropped: u64,
    /// Alerts that never came.
    pub lost_before: u64,
}

/// A counter, and when it last grew, by the wall clock.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    count: u64,
    at_us: Option<i64>,
}

impl Growth {
    fn sample(&mut self, now_us: i64, count: u64) {
        if count > self.count {
            self.at_us = Some(now_us);
        }
        self.count = count;
    }
}

impl Pulse {
    /// Looks at the counters, at most every five seconds for the rate. `now_us` is the wall clock.
    pub fn sample(&mut self, now: Instant, now_us: i64, counted: Counted) {
        self.dropped.sample(now_us, counted.dropped);
        self.lost_before.sample(now_us, counted.lost_before);
        if self.next_due().is_some_and(|due| now < due) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, counted.received));
    }

    /// When the next sample is due; `None`: at once.
    pub fn next_due(&self) -> Option<Instant> {
        self.samples.back().map(|(at, _)| *at + SAMPLE_EVERY)
    }

    /// Alerts a second over the last minute, or since the first sample where that is less.
    pub fn rate(&self, now: Instant, received: u64) -> f64 {
        let is_recent = |(at, _): &&(Instant, u64)| now.saturating_duration_since(*at) <= SPAN;
        let Some((at, before)) = self.samples.iter().find(is_recent) else {
            return 0.0;
        };
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        match seconds > 0.0 {
            // A count of alerts is exact in a float up to 2^53.
            true => received.saturating_sub(*before) as f64 / seconds,
            false => 0.0,
        }
    }

    /// When something was last dropped, by the wall clock; as exact as the samples.
    pub fn dropped_us(&self) -> Option<i64> {
        self.dropped.at_us
    }

    /// When alerts were last lost before they came, in the same way.
    pub fn lost_before_us(&self) -> Option<i64> {
        self.lost_before.at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(received: u64, dropped: u64) -> Counted {
        Counted {
            received,
            dropped,
            lost_before: 0,
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (start, mut pulse) = (Instant::now(), Pulse::default());
        assert_eq!(pulse.rate(start, 0), 0.0);
        // A flood of a thousand alerts at first, then one a second.
        for second in 0..200_u64 {
            let now = start + Duration::from_secs(second);
            let received = 1_000 * second.min(1) + second;
            pulse.sample(now, 0, counted(received, 0));
        }
        assert!(pulse.samples.len() <= SAMPLES_MAX, "memory is bounded");
        let rate = pulse.rate(start + Duration::from_secs(200), 1_200);
        assert!((rate - 1.0).abs() < 0.001, "{rate}");
        assert_eq!(pulse.rate(start + Duration::from_secs(900), 1_200), 0.0);
    }

    #[test]
    fn a_drop_is_noted_between_samples_too() {
        let (start, mut pulse) = (Instant::now(), Pulse::default());
        pulse.sample(start, 5, counted(10, 0));
        assert_eq!(pulse.dropped_us(), None);
        pulse.sample(start, 7, counted(20, 1));
        pulse.sample(start, 9, counted(20, 1));
        assert_eq!(
            (pulse.dropped_us(), pulse.lost_before_us()),
            (Some(7), None)
        );
        let lost = Counted {
            lost_before: 1,
            ..counted(20, 1)
        };
        pulse.sample(start, 11, lost);
        assert_eq!(
            (pulse.dropped_us(), pulse.lost_before_us()),
            (Some(7), Some(11))
        );
    }
}
