//! Thread sensor-drop: what HighWater forced out -> JSON datagrams to the drop socket, or lines on standard output
//! where there is none. It may be slow: the channel in front of it is bounded, and the ledger counts everything.

#![forbid(unsafe_code)]

use super::ledger::HIGH_WATER;
use crate::alert::SensorName;
use crate::buffer::Chunk;
use crate::dropped::{Dropped, summary};
use crate::options::{Drops, SensorConfig};
use crate::wire::{Item, item};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Groups of dropped alerts (each what one push forced out, 101 with FLoP's marks) that wait for this thread.
pub(super) const BACKLOG_MAX: usize = 64;
/// Lines of dropped alerts on standard output in a second; the rest is counted.
const PRINTED_MAX: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Dropper {
    drops: Receiver<Vec<Chunk>>,
    sensor: SensorName,
    to: Option<(UnixDatagram, PathBuf)>,
    /// The last record could not be sent, and that was told.
    is_unread: bool,
    printing: Printing,
}

/// Lines on standard output, at most so many a second.
struct Printing {
    second: Instant,
    printed: u64,
    held_back: u64,
}

/// A reader that hangs costs a second for each alert, not for ever.
fn socket() -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SECOND))?;
    Ok(socket)
}

impl Dropper {
    pub(super) fn new(config: &SensorConfig, drops: Receiver<Vec<Chunk>>) -> Dropper {
        let to = match &config.drops {
            Drops::Socket(path) => match socket() {
                Ok(socket) => Some((socket, path.clone())),
                Err(error) => {
                    crate::err!("no socket for dropped alerts: {error}; they are printed");
                    None
                }
            },
            Drops::Print | Drops::Quiet => None,
        };
        let printing = Printing {
            second: Instant::now(),
            printed: 0,
            held_back: 0,
        };
        Dropper {
            drops,
            sensor: config.sensor.clone(),
            to,
            is_unread: false,
            printing,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let next = match self.printing.held_back {
                0 => self
                    .drops
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                _ => self.drops.recv_deadline(self.printing.second + SECOND),
            };
            match next {
                Ok(chunks) => {
                    crate::debug!(Drop, 3, "{} chunks were forced out", chunks.len());
                    let items = chunks.iter().flat_map(Chunk::items);
                    items.for_each(|item| self.tell(item));
                }
                Err(RecvTimeoutError::Timeout) => self.next_second(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.next_second();
    }

    fn tell(&mut self, item: &[u8]) {
        let Ok(Item::Alert(alert)) = item::decode(item) else {
            return; // Only the receiver's own alerts come here.
        };
        let json = Dropped::new(&alert, &self.sensor, HIGH_WATER).json();
        if let Some((socket, path)) = &self.to {
            let sent = socket.send_to(json.as_bytes(), path);
            self.tell_edge(sent.as_ref().err());
            if sent.is_ok() {
                return;
            }
        }
        if self.printing.second.elapsed() >= SECOND {
            self.next_second();
        }
        if self.printing.printed < PRINTED_MAX {
            self.printing.printed += 1;
            crate::info!("dropped {json}");
        } else {
            self.printing.held_back += 1;
        }
    }

    /// Tells that nobody reads the drop socket, and that somebody does again, once each.
    fn tell_edge(&mut self, error: Option<&std::io::Error>) {
        let Some((_, path)) = &self.to else {
            return;
        };
        match (error, self.is_unread) {
            (Some(error), false) => crate::warning!(
                "cannot send to drop socket {}: {error}; dropped alerts are printed here, {PRINTED_MAX} a second",
                path.display()
            ),
            (None, true) => crate::notice!("drop socket {} is read again", path.display()),
            _ => {}
        }
        self.is_unread = error.is_some();
    }

    fn next_second(&mut self) {
        if self.printing.held_back > 0 {
            let summary = summary(self.printing.held_back, &self.sensor, HIGH_WATER);
            crate::info!("dropped {summary}");
        }
        self.printing = Printing {
            second: Instant::now(),
            printed: 0,
            held_back: 0,
        };
    }
}
