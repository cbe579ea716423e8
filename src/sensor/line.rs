//! Whether there is a connection to servsock, since when, and why not: set by the sender, read by the control thread.

#![forbid(unsafe_code)]

use crate::clock::now_us;
use crate::options::Server;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module.
pub(super) struct LineState(Mutex<LineNow>);

/// The connection at this moment.
#[derive(Clone)]
pub(super) struct LineNow {
    /// Where servsock is.
    pub(super) address: String,
    /// Why there is none; `None` where there is one.
    pub(super) down: Option<String>,
    /// Since when it is there, or not; microseconds since 1970.
    pub(super) since_us: i64,
}

impl LineState {
    /// Before the first try.
    pub(super) fn new(server: &Server) -> LineState {
        LineState(Mutex::new(LineNow {
            address: server.to_string(),
            down: Some("not connected yet".to_owned()),
            since_us: now_us(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, LineNow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> LineNow {
        self.lock().clone()
    }

    /// servsock has taken the sensor.
    pub(super) fn up(&self) {
        let mut line = self.lock();
        line.down = None;
        line.since_us = now_us();
    }

    /// The connection was lost, or could not be made again.
    pub(super) fn down(&self, reason: &str) {
        let mut line = self.lock();
        if line.down.is_none() {
            line.since_us = now_us();
        }
        line.down = Some(reason.to_owned());
    }

    /// There is no connection to the servsock that is wanted now.
    pub(super) fn moved(&self, server: &Server) {
        *self.lock() = LineState::new(server).now();
    }
}
