//! What a service manager hears of a daemon: ready, reloading, stopping, and that it lives (systemd's sd_notify(3)).
//! Without NOTIFY_SOCKET nothing is said and no thread is started.
//!
//! A thread that panics ends its process, so a watchdog is there for a thread that hangs. Each `Pulse` is the waker of a
//! thread that must never be busy for long: it is woken, and a thread that lives comes round and clears it. While one
//! does not, nothing is said, and systemd ends the process.
//!
//! systemd's clock goes on during a restart by exec: the process, and so MAINPID and WATCHDOG_PID, stay the same.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::wake::Waker;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sd_notify::NotifyState;
use std::time::Duration;

/// The threads are looked at four times in the time that systemd allows: one that is late by a turn is seen again
/// before half of that time has passed.
const LOOKS: u32 = 4;
/// More changes than this are never on their way: ready, reloading, stopping.
const CHANGES_MAX: usize = 8;

/// A thread that shows that it lives.
#[derive(Clone, Debug)]
pub struct Pulse {
    thread: &'static str,
    waker: Waker,
}

impl Pulse {
    /// A thread that polls this waker, and clears it each time.
    pub fn new(thread: &'static str, waker: &Waker) -> Pulse {
        Pulse {
            thread,
            waker: waker.clone(),
        }
    }
}

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    /// To the watchdog: whom to look at from now on.
    watched: Option<Sender<Vec<Pulse>>>,
}

impl Service {
    /// Asks whether there is a service manager with a watchdog. To be called after the process detached, for it may
    /// start a thread.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread.
    pub fn find() -> Result<Service, Error> {
        let patience = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        let Some(patience) = patience else {
            return Ok(Service { watched: None });
        };
        let (watched, changes) = bounded(CHANGES_MAX);
        std::thread::Builder::new()
            .name("main-watchdog".to_owned())
            .spawn(move || watch(&changes, patience / LOOKS))
            .map_err(|error| Error::start("cannot start thread main-watchdog", error, ""))?;
        Ok(Service {
            watched: Some(watched),
        })
    }

    /// All that can be refused has been checked, the threads run.
    pub fn ready(&self, pulses: Vec<Pulse>) {
        tell(&[NotifyState::Ready]);
        self.watch(pulses);
    }

    /// The process is about to execute its program anew. That has deadlines of its own.
    pub fn reloading(&self) {
        self.watch(Vec::new());
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]), // No clock: systemd before 253 does without.
        }
    }

    /// The threads are about to end; that has the drain time.
    pub fn stopping(&self) {
        self.watch(Vec::new());
        tell(&[NotifyState::Stopping]);
    }

    fn watch(&self, pulses: Vec<Pulse>) {
        if let Some(watched) = &self.watched {
            // An error: the watchdog has ended, and systemd notices.
            let _ = watched.send(pulses);
        }
    }
}

/// Thread main-watchdog. It says nothing before the daemon is ready.
fn watch(changes: &Receiver<Vec<Pulse>>, every: Duration) {
    let Ok(mut pulses) = changes.recv() else {
        return;
    };
    let mut told = false;
    loop {
        let silent = pulses.iter().find(|pulse| pulse.waker.is_awake());
        match silent {
            None => {
                told = false;
                tell(&[NotifyState::Watchdog]);
                pulses.iter().for_each(|pulse| pulse.waker.wake());
            }
            Some(pulse) if !told => {
                told = true;
                crate::warning!(
                    "thread {} has not answered for {} ms; if it stays like this, systemd ends this process",
                    pulse.thread,
                    every.as_millis()
                );
            }
            Some(_) => {}
        }
        match changes.recv_timeout(every) {
            Ok(others) => pulses = others,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        crate::warning!("cannot tell the service manager about this process: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_clears_its_waker_is_alive_and_one_that_does_not_is_silent() {
        let waker = Waker::new().unwrap();
        let pulse = Pulse::new("test", &waker);
        assert!(!pulse.waker.is_awake());
        pulse.waker.wake();
        assert!(pulse.waker.is_awake(), "nobody has come round yet");
        waker.clear();
        assert!(!pulse.waker.is_awake());
    }
}
