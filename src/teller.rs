//! Tells of alerts that will not be in the database: JSON datagrams to the drop socket, or lines on standard output (or
//! syslog) where there is none, or nobody reads it. For a thread of its own, which may be slow: a reader that hangs
//! costs a second for each alert.

#![forbid(unsafe_code)]

use crate::alert::{Alert, SensorName};
use crate::dropped::{Dropped, summary};
use crate::options::Drops;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Lines of dropped alerts on standard output in a second; the rest is counted.
const PRINTED_MAX: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Reasons that are counted each by itself; a database may have a thousand of them.
const REASONS_MAX: usize = 8;

/// One sensor's.
pub struct Teller {
    sensor: SensorName,
    /// A socket to send from; `None` where the system has none.
    socket: Option<UnixDatagram>,
    /// The drop socket whose last record could not be sent, which was told.
    unread: Option<PathBuf>,
    printing: Printing,
}

/// Lines on standard output, at most so many a second.
struct Printing {
    second: Instant,
    printed: u64,
    held_back: Tally,
}

impl Printing {
    fn new() -> Printing {
        Printing {
            second: Instant::now(),
            printed: 0,
            held_back: Tally::default(),
        }
    }
}

/// Numbers by reason.
#[derive(Default)]
struct Tally(Vec<(String, u64)>);

impl Tally {
    fn add(&mut self, reason: &str, count: u64) {
        let is_known = self.0.iter().any(|(known, _)| known == reason);
        let reason = match is_known || self.0.len() < REASONS_MAX {
            true => reason,
            false => "various reasons",
        };
        match self.0.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((reason.to_owned(), count)),
        }
    }
}

/// A reader that hangs costs a second for each alert, not for ever.
fn socket() -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SECOND))?;
    Ok(socket)
}

impl Teller {
    /// For the alerts of this sensor.
    pub fn new(sensor: SensorName) -> Teller {
        let told = |error| crate::err!("no socket for dropped alerts: {error}; they are printed");
        Teller {
            sensor,
            socket: socket().map_err(told).ok(),
            unread: None,
            printing: Printing::new(),
        }
    }

    /// Tells of one alert.
    pub fn tell(&mut self, alert: &Alert<'_>, to: &Drops, reason: &str) {
        if *to == Drops::Quiet {
            return;
        }
        let json = Dropped::new(alert, &self.sensor, reason).json();
        if self.is_sent(&json, to) {
            return;
        }
        if self.printing.second.elapsed() >= SECOND {
            self.tell_held_back();
        }
        if self.printing.printed < PRINTED_MAX {
            self.printing.printed += 1;
            crate::info!("dropped {json}");
        } else {
            self.printing.held_back.add(reason, 1);
        }
    }

    /// Tells of `count` alerts of which nothing else is known. A reader that did not read is not waited for again.
    pub fn tell_sum(&mut self, count: u64, to: &Drops, reason: &str) {
        let hangs = matches!(to, Drops::Socket(path) if self.unread.as_ref() == Some(path));
        if count == 0 || *to == Drops::Quiet {
            return;
        }
        let json = summary(count, &self.sensor, reason);
        if hangs || !self.is_sent(&json, to) {
            crate::info!("dropped {json}");
        }
    }

    /// When `tell_held_back` is due, if something is held back.
    pub fn due(&self) -> Option<Instant> {
        let held_back = !self.printing.held_back.0.is_empty();
        held_back.then(|| self.printing.second + SECOND)
    }

    /// Tells how many lines were held back, and begins a new second.
    pub fn tell_held_back(&mut self) {
        for (reason, count) in &self.printing.held_back.0 {
            crate::info!("dropped {}", summary(*count, &self.sensor, reason));
        }
        self.printing = Printing::new();
    }

    fn is_sent(&mut self, json: &str, to: &Drops) -> bool {
        let (Some(socket), Drops::Socket(path)) = (&self.socket, to) else {
            return false;
        };
        let sent = socket.send_to(json.as_bytes(), path);
        self.tell_edge(path, sent.as_ref().err());
        sent.is_ok()
    }

    /// Tells that nobody reads the drop socket, and that somebody does again, once each.
    fn tell_edge(&mut self, path: &Path, error: Option<&std::io::Error>) {
        let was_unread = self.unread.as_deref() == Some(path);
        match (error, was_unread) {
            (Some(error), false) => crate::warning!(
                "cannot send to drop socket {}: {error}; dropped alerts are printed here, {PRINTED_MAX} a second",
                path.display()
            ),
            (None, true) => crate::notice!("drop socket {} is read again", path.display()),
            _ => {}
        }
        self.unread = error.map(|_| path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_reasons_take_no_more_memory_than_a_handful() {
        let mut tally = Tally::default();
        (0..1000).for_each(|number| tally.add(&format!("reason {number}"), 2));
        tally.add("reason 3", 1);
        assert_eq!(tally.0.len(), REASONS_MAX + 1);
        assert_eq!(tally.0.iter().map(|(_, count)| count).sum::<u64>(), 2001);
        assert_eq!(tally.0[3], ("reason 3".to_owned(), 3));
    }
}
