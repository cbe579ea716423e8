//! What commands change while sockserv runs: the control thread sets it, the threads that it concerns look at it where
//! they decide. Never held across I/O.

#![forbid(unsafe_code)]

use crate::options::{Drops, SensorConfig, Server};
use crate::wake::Waker;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The settings in force.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: Server,
    pub(super) max_try: Option<u64>,
    pub(super) wait_time: Option<Duration>,
    pub(super) quiet: bool,
    pub(super) drop_socket: Option<PathBuf>,
    /// Raised by each command that wants a new connection.
    pub(super) wanted: u64,
}

impl Settings {
    /// Where dropped alerts go.
    pub(super) fn drops(&self) -> Drops {
        match (self.quiet, &self.drop_socket) {
            (true, _) => Drops::Quiet,
            (false, None) => Drops::Print,
            (false, Some(path)) => Drops::Socket(path.clone()),
        }
    }
}

/// Shared by the threads.
#[derive(Clone)]
pub(super) struct Tuning {
    settings: Arc<Mutex<Settings>>,
    sender: Waker,
}

impl Tuning {
    pub(super) fn new(config: &SensorConfig, sender: Waker) -> Tuning {
        let settings = Settings {
            server: config.server.clone(),
            max_try: config.max_try,
            wait_time: config.wait_time,
            quiet: config.quiet,
            drop_socket: config.drop_socket.clone(),
            wanted: 0,
        };
        Tuning {
            settings: Arc::new(Mutex::new(settings)),
            sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in force now.
    pub(super) fn settings(&self) -> Settings {
        self.lock().clone()
    }

    /// Changes something, and wakes the sender to see it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.lock());
        self.sender.wake();
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lock().quiet
    }

    pub(super) fn wanted(&self) -> u64 {
        self.lock().wanted
    }
}
