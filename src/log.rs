//! The operator's lines: `notice` and `info` to standard output, `err` and `warning` to standard error; with `-l` all of
//! them to syslog. Debug lines by area, for `-V`.
//!
//! What comes from outside can end up in a line, so control characters are escaped here, at the one place that all
//! lines pass. An error is logged once, by whoever decides what happens next.

#![forbid(unsafe_code)]

mod rfc3164;

use rfc3164::Syslog;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
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
    /// For README.debug.
    Debug,
}

/// A part of the program that debug lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Start, stop, signals, processes.
    Main,
    /// What comes from the IDS, or from a sensor.
    Recv,
    /// Chunks, HighWater and LowWater.
    Buffer,
    /// What goes to servsock.
    Send,
    /// Connections.
    Net,
    /// The control FIFO.
    Ctrl,
    /// The database.
    Db,
    /// Dropped alerts.
    Drop,
    /// Mail.
    Mail,
}

impl Area {
    /// All of them.
    pub const ALL: [Area; 9] = [
        Area::Main,
        Area::Recv,
        Area::Buffer,
        Area::Send,
        Area::Net,
        Area::Ctrl,
        Area::Db,
        Area::Drop,
        Area::Mail,
    ];

    /// As `-V` and the control FIFO name it.
    pub fn name(self) -> &'static str {
        match self {
            Area::Main => "main",
            Area::Recv => "recv",
            Area::Buffer => "buffer",
            Area::Send => "send",
            Area::Net => "net",
            Area::Ctrl => "ctrl",
            Area::Db => "db",
            Area::Drop => "drop",
            Area::Mail => "mail",
        }
    }
}

/// Means every area.
pub const ALL_AREAS: &str = "all";
/// The highest debug level.
pub const DEBUG_LEVEL_MAX: u8 = 9;

/// The level in force, by area; 0 is off.
static LEVELS: [AtomicU8; Area::ALL.len()] = [const { AtomicU8::new(0) }; Area::ALL.len()];

/// What `-V` and the control FIFO take as an area.
pub fn area_names() -> impl Iterator<Item = &'static str> {
    Area::ALL.into_iter().map(Area::name).chain([ALL_AREAS])
}

/// Sets the debug level of one area, or of `all`.
///
/// # Errors
///
/// A sentence that names the areas, or the levels.
pub fn set_debug(area: &str, level: u8) -> Result<(), String> {
    if level > DEBUG_LEVEL_MAX {
        return Err(format!("debug level {level} is above {DEBUG_LEVEL_MAX}"));
    }
    if !area_names().any(|name| name == area) {
        let names: Vec<_> = area_names().collect();
        return Err(format!(
            "unknown debug area; there are {}",
            names.join(", ")
        ));
    }
    for (known, in_force) in Area::ALL.into_iter().zip(&LEVELS) {
        if area == ALL_AREAS || area == known.name() {
            in_force.store(level, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The levels in force, as a worker takes them over.
pub fn debug_levels() -> [u8; Area::ALL.len()] {
    std::array::from_fn(|area| LEVELS[area].load(Ordering::Relaxed))
}

/// Sets all levels at once.
pub fn set_debug_levels(levels: [u8; Area::ALL.len()]) {
    for (in_force, level) in LEVELS.iter().zip(levels) {
        in_force.store(level.min(DEBUG_LEVEL_MAX), Ordering::Relaxed);
    }
}

/// Whether lines of this level are wanted from this area: one load, where none are.
#[inline]
pub fn wants(area: Area, level: u8) -> bool {
    LEVELS[area as usize].load(Ordering::Relaxed) >= level
}

static NAME: OnceLock<String> = OnceLock::new();
static SYSLOG: Mutex<Option<Syslog>> = Mutex::new(None);

/// Where the local syslog daemon listens.
pub const SYSLOG_SOCKET: &str = "/dev/log";

/// Sets the name in front of each line; the first call counts.
pub fn open(name: impl Into<String>) {
    let _ = NAME.set(name.into());
}

/// From now on lines go to syslog, facility LOCAL0. To be called in the process that logs: its PID is in each line.
pub fn use_syslog(socket: PathBuf) {
    let mut syslog = SYSLOG.lock().unwrap_or_else(PoisonError::into_inner);
    *syslog = Some(Syslog::new(socket, name()));
}

/// From now on lines go to standard output and standard error.
pub fn use_terminal() {
    *SYSLOG.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn name() -> &'static str {
    NAME.get().map_or("flop", String::as_str)
}

#[cfg(test)]
thread_local! {
    static IS_MUTE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What this thread logs is thrown away: a test that makes thousands of errors on purpose.
#[cfg(test)]
pub(crate) fn mute_this_thread() {
    IS_MUTE.set(true);
}

/// Writes one line. A terminal, file or daemon that takes nothing is no reason to stop: the error is ignored.
pub fn line(level: Level, text: fmt::Arguments<'_>) {
    #[cfg(test)]
    if IS_MUTE.get() {
        return;
    }
    let text = escaped(&text.to_string());
    let mut syslog = SYSLOG.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(syslog) = &mut *syslog {
        return syslog.send(level, &text);
    }
    drop(syslog);
    let line = format!("{}: {text}\n", name());
    let _ = match level {
        Level::Err | Level::Warning => io::stderr().lock().write_all(line.as_bytes()),
        Level::Notice | Level::Info | Level::Debug => {
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

/// A debug line of an area; formatted only where it is wanted.
#[macro_export]
macro_rules! debug {
    ($area:ident, $level:literal, $($arg:tt)*) => {
        if $crate::log::wants($crate::log::Area::$area, $level) {
            $crate::log::line($crate::log::Level::Debug, format_args!($($arg)*));
        }
    };
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
    fn debug_levels_are_set_by_area() {
        assert!(
            set_debug("nothing", 1)
                .unwrap_err()
                .contains("main, recv, buffer")
        );
        assert!(set_debug("mail", 10).is_err());
        set_debug("mail", 3).unwrap();
        assert!(wants(Area::Mail, 3) && !wants(Area::Mail, 4) && !wants(Area::Db, 1));
        set_debug("all", 0).unwrap();
        assert!(!wants(Area::Mail, 1));
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
