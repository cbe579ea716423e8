//! The operator's lines: `notice` and `info` to standard output, `err` and `warning` to standard error.
//!
//! What comes from outside can end up in a line, so control characters are escaped here, at the one place that all
//! lines pass. An error is logged once, by whoever decides what happens next.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How urgent a line is, in syslog's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody must act.
    Err,
    /// Alerts are late or dropped.
    Warning,
    /// Start, stop, a connection made or lost.
    Notice,
    /// Settings and counts.
    Info,
}

static NAME: OnceLock<String> = OnceLock::new();

/// Sets the name in front of each line; the first call counts.
pub fn open(name: impl Into<String>) {
    let _ = NAME.set(name.into());
}

/// Writes one line. A terminal or file that takes nothing is no reason to stop: the error is ignored.
pub fn line(level: Level, text: fmt::Arguments<'_>) {
    let name = NAME.get().map_or("flop", String::as_str);
    let line = format!("{name}: {}\n", escaped(&text.to_string()));
    let _ = match level {
        Level::Err | Level::Warning => io::stderr().lock().write_all(line.as_bytes()),
        Level::Notice | Level::Info => {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush())
        }
    };
}

/// Shows control characters, and U+2028 and the like, as escapes.
pub fn escaped(text: &str) -> String {
    let harmless = |char: char| {
        !char.is_control()
            && !matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match harmless(char) {
            true => shown.push(char),
            false => shown.extend(char.escape_default()),
        }
    }
    shown
}

/// Somebody must act.
#[macro_export]
macro_rules! err {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Err, format_args!($($arg)*)) };
}

/// Alerts are late or dropped.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Warning, format_args!($($arg)*)) };
}

/// Start, stop, a connection made or lost.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Notice, format_args!($($arg)*)) };
}

/// Settings and counts.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Info, format_args!($($arg)*)) };
}

/// At most one line a second for the same cause, then a count.
#[derive(Debug, Default)]
pub struct Limiter {
    last: Option<Instant>,
    untold: u64,
}

/// The least time between two lines of the same cause.
pub const LINE_EVERY: Duration = Duration::from_secs(1);

impl Limiter {
    /// It happened `count` times more; returns how many are untold.
    pub fn add(&mut self, count: u64) -> u64 {
        self.untold += count;
        self.untold
    }

    /// It happened once more: `Some(n)` if a line is due now, which speaks for `n` cases that were not told.
    pub fn told(&mut self, now: Instant) -> Option<u64> {
        self.add(1);
        self.due(now)
    }

    /// `Some(n)` if a line is due now for `n` cases that were not told.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let quiet = |last| now.saturating_duration_since(last) >= LINE_EVERY;
        if self.untold == 0 || !self.last.is_none_or(quiet) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// When a line about what is untold becomes due.
    pub fn next_due(&self) -> Option<Instant> {
        match self.untold {
            0 => None,
            _ => self.last.map(|last| last + LINE_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_shown_as_escapes() {
        assert_eq!(escaped("a\nb\u{1b}[2Jü"), "a\\nb\\u{1b}[2Jü");
        assert_eq!(escaped("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(escaped("plain ünd simple"), "plain ünd simple");
    }

    #[test]
    fn the_same_cause_gets_a_line_a_second_and_then_a_count() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(limiter.told(start), Some(1));
        assert_eq!(limiter.told(start), None);
        assert_eq!(limiter.told(start + LINE_EVERY / 2), None);
        assert_eq!(limiter.next_due(), Some(start + LINE_EVERY));
        assert_eq!(limiter.due(start + LINE_EVERY), Some(2));
        assert_eq!(
            limiter.due(start + LINE_EVERY * 2),
            None,
            "nothing is untold"
        );
    }
}
