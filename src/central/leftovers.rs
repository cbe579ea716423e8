//! Swaps that workers left when their sensors went while the database was away. One process empties them all, started by
//! the master like a worker, but without a connection; it waits for the database for as long as it takes.

#![forbid(unsafe_code)]

use super::handle::Handle;
use super::messages::{Start, ToWorker, encode};
use super::settings::Settings;
use super::swap::{Leftover, leftovers};
use super::writer::{Order, Storage, Writer};
use super::{dropper, worker};
use crate::buffer::Water;
use crate::error::Error;
use crate::net;
use crate::process::{self, Control, Received};
use crate::wire::frame::Hello;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// After a process that ended badly.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The master's side: at most one such process.
#[derive(Default)]
pub(super) struct Emptier {
    running: Option<(Child, Control)>,
    /// Something was left since it was started.
    wanted: bool,
    /// It ended badly, and is tried again.
    not_before: Option<Instant>,
}

impl Emptier {
    /// A worker has ended, or servsock begins: there may be something.
    pub(super) fn look(&mut self) {
        self.wanted = true;
    }

    /// Starts the process when something was left in `dir`, and nobody is at it.
    pub(super) fn tend(&mut self, dir: Option<&Path>, start: impl FnOnce() -> Start) {
        let Some(dir) = dir.filter(|_| self.wanted && self.running.is_none()) else {
            return;
        };
        if self.not_before.is_some_and(|then| Instant::now() < then) {
            return;
        }
        self.not_before = None;
        self.wanted = false;
        if leftovers(dir).is_empty() {
            return;
        }
        let started = process::start_worker().and_then(|(child, control)| {
            let sent = control.send(&encode(&ToWorker::Start(start())), None);
            self.running = Some((child, control));
            sent
        });
        if let Err(error) = started {
            self.try_again();
            crate::err!(
                "cannot start a worker for what waits in {}: {error}",
                dir.display()
            );
        }
    }

    /// When the master has to come back for it, if it does.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before
            .filter(|_| self.wanted && self.running.is_none())
    }

    /// For the master's poll.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|(_, control)| control.as_fd())
    }

    /// servsock stops: what is on disk stays there.
    pub(super) fn stop(mut self) {
        if let Some((mut child, control)) = self.running.take() {
            drop(control); // Which it notices.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn try_again(&mut self) {
        self.wanted = true;
        self.not_before = Some(Instant::now() + AGAIN_AFTER);
    }

    /// Sees that the process has ended.
    pub(super) fn reap(&mut self) {
        if let Some((child, control)) = &mut self.running {
            match control.receive() {
                Ok(Received::Nothing | Received::Message(..)) => {}
                Ok(Received::Closed) | Err(_) => {
                    let _ = child.kill();
                    let well = child.wait().is_ok_and(|status| status.success());
                    self.running = None;
                    if !well {
                        self.try_again();
                    }
                }
            }
        }
    }
}

/// The process.
pub(super) struct Leftovers {
    control: Control,
    stop_signal: UnixStream,
    storage: Storage,
    settings: Settings,
    water: Water,
}

impl Leftovers {
    pub(super) fn new(control: Control, start: Start) -> Result<Leftovers, Error> {
        let io = |error: io::Error| worker::refused(error.to_string());
        Ok(Leftovers {
            control,
            stop_signal: process::stop_signal_pipe().map_err(io)?,
            storage: worker::storage(&start)?,
            water: Water::new(start.settings.high, start.settings.low).map_err(worker::refused)?,
            settings: start.settings,
        })
    }

    /// Empties all that is there, one after the other; ends early when servsock stops.
    pub(super) fn run(self) -> Result<(), Error> {
        let Some(place) = &self.storage.swap else {
            return Ok(());
        };
        for leftover in leftovers(Path::new(&place.dir)) {
            if !self.empty(leftover)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether it came to its end.
    fn empty(&self, leftover: Leftover) -> Result<bool, Error> {
        let io = |error: io::Error| worker::refused(error.to_string());
        let (overflow, dropper) = dropper::channel();
        // Nothing more comes: the buffer is closed at once.
        let (mut handle, _, _) = Handle::new(self.water, overflow, dropper).map_err(io)?;
        handle.order(Order::Settings(self.settings.clone()));
        let hello = Hello {
            sensor: leftover.sensor,
            stream: leftover.stream,
            forgotten: 0,
            packs: false,
            program: String::new(),
        };
        let tells = self.settings.drop_socket.is_some();
        handle.start(&self.storage, &hello, tells, Writer::run_leftover);
        loop {
            let mut fds = [
                net::readable(&handle.waker),
                net::readable(&self.control),
                net::readable(&self.stop_signal),
            ];
            net::poll(&mut fds, None).map_err(io)?;
            if net::is_ready(&fds[1]) || net::is_ready(&fds[2]) {
                return Ok(false);
            }
            handle.waker.clear();
            if handle.has_ended() {
                return Ok(true);
            }
        }
    }
}
