//! Thread sensor-drop: what HighWater forced out, and what a stop leaves -> JSON datagrams to the drop socket, or lines
//! on standard output (or syslog) where there is none, or nobody reads it. It may be slow: the channel in front of it is
//! bounded, and the ledger counts everything. Once it is to end, what cannot be told one by one in time becomes a
//! summary: `{"dropped": n, ...}`.

#![forbid(unsafe_code)]

use super::tuning::Tuning;
use crate::alert::SensorName;
use crate::buffer::Chunk;
use crate::dropped::{Dropped, summary};
use crate::options::Drops;
use crate::wire::{Item, item};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Groups of dropped alerts (each what one push forced out, 101 with FLoP's marks) that wait for this thread.
pub(super) const BACKLOG_MAX: usize = 64;
/// Lines of dropped alerts on standard output in a second; the rest is counted.
const PRINTED_MAX: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Alerts that will not reach the database, and why.
pub(super) struct Doomed {
    pub(super) reason: &'static str,
    pub(super) chunks: Vec<Chunk>,
    /// So many more, of which nothing but their number is known.
    pub(super) unseen: u64,
}

impl Doomed {
    pub(super) fn new(reason: &'static str, chunks: Vec<Chunk>) -> Doomed {
        Doomed {
            reason,
            chunks,
            unseen: 0,
        }
    }

    /// How many there are.
    pub(super) fn alerts(&self) -> u64 {
        let chunks = self.chunks.iter().map(|chunk| u64::from(chunk.len()));
        chunks.sum::<u64>() + self.unseen
    }
}

/// When the dropper has to be done; not set while nobody stops it.
pub(super) type EndsBy = Arc<OnceLock<Instant>>;

pub(super) struct Dropper {
    drops: Receiver<Doomed>,
    sensor: SensorName,
    tuning: Tuning,
    ends_by: EndsBy,
    /// A socket to send from; `None` where the system has none.
    socket: Option<UnixDatagram>,
    /// The drop socket whose last record could not be sent, which was told.
    unread: Option<PathBuf>,
    printing: Printing,
    /// What could not be told one by one before the end.
    late: Tally,
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

/// Numbers by reason; there are a handful of reasons.
#[derive(Default)]
struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    fn add(&mut self, reason: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None if count > 0 => self.0.push((reason, count)),
            None => {}
        }
    }

    fn summaries(&self, sensor: &SensorName) -> Vec<String> {
        let each = |(reason, count): &(&str, u64)| summary(*count, sensor, reason);
        self.0.iter().map(each).collect()
    }
}

/// A reader that hangs costs a second for each alert, not for ever.
fn socket() -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SECOND))?;
    Ok(socket)
}

impl Dropper {
    pub(super) fn new(
        sensor: SensorName,
        tuning: Tuning,
        drops: Receiver<Doomed>,
        ends_by: EndsBy,
    ) -> Dropper {
        let told = |error| crate::err!("no socket for dropped alerts: {error}; they are printed");
        Dropper {
            drops,
            sensor,
            tuning,
            ends_by,
            socket: socket().map_err(told).ok(),
            unread: None,
            printing: Printing::new(),
            late: Tally::default(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let next = match self.printing.held_back.0.is_empty() {
                true => self
                    .drops
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                false => self.drops.recv_deadline(self.printing.second + SECOND),
            };
            match next {
                Ok(doomed) => self.tell_all(&doomed),
                Err(RecvTimeoutError::Timeout) => self.next_second(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.next_second();
        self.tell_late();
    }

    fn tell_all(&mut self, doomed: &Doomed) {
        let reason = doomed.reason;
        crate::debug!(Drop, 3, "{} alerts are dropped: {reason}", doomed.alerts());
        for item in doomed.chunks.iter().flat_map(Chunk::items) {
            match self.ends_by.get() {
                Some(end) if Instant::now() >= *end => self.late.add(reason, 1),
                _ => self.tell(item, reason),
            }
        }
        self.late.add(reason, doomed.unseen);
    }

    fn tell(&mut self, item: &[u8], reason: &'static str) {
        let Ok(Item::Alert(alert)) = item::decode(item) else {
            return; // Only the receiver's own alerts come here.
        };
        let drops = self.tuning.settings().drops();
        if drops == Drops::Quiet {
            return; // Switched on meanwhile.
        }
        let json = Dropped::new(&alert, &self.sensor, reason).json();
        if let Drops::Socket(path) = &drops
            && self.is_sent(&json, path)
        {
            return;
        }
        if self.printing.second.elapsed() >= SECOND {
            self.next_second();
        }
        if self.printing.printed < PRINTED_MAX {
            self.printing.printed += 1;
            crate::info!("dropped {json}");
        } else {
            self.printing.held_back.add(reason, 1);
        }
    }

    fn is_sent(&mut self, json: &str, path: &Path) -> bool {
        let Some(socket) = &self.socket else {
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

    fn next_second(&mut self) {
        for summary in self.printing.held_back.summaries(&self.sensor) {
            crate::info!("dropped {summary}");
        }
        self.printing = Printing::new();
    }

    /// The last words: a record for each reason, to where the alerts themselves would have gone.
    fn tell_late(&mut self) {
        let drops = self.tuning.settings().drops();
        for summary in self.late.summaries(&self.sensor) {
            let sent = match &drops {
                // One that does not read is not waited for again.
                Drops::Socket(path) if self.unread.as_ref() != Some(path) => {
                    self.is_sent(&summary, path)
                }
                Drops::Socket(_) | Drops::Print => false,
                Drops::Quiet => true,
            };
            if !sent {
                crate::info!("dropped {summary}");
            }
        }
    }
}
