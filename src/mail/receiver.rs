//! Thread mail-recv: socket -> what waits. It does nothing else, so that the writers never wait.

#![forbid(unsafe_code)]

use super::{Shared, nudge, size};
use crate::dgram::Served;
use crate::dropped::{self, RECORD_BYTES_MAX};
use crate::net;
use crate::wake::Waker;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Datagrams taken before the thread comes round: also in a flood it shows that it lives.
const TURN_DATAGRAMS: usize = 256;
/// Datagrams that are still read after the signal to stop; no queue of the kernel's holds more.
const REST_MAX: usize = 10_000;

pub(super) struct Receiver {
    pub(super) socket: Served,
    pub(super) waker: Waker,
    pub(super) shared: Arc<Shared>,
    /// To the deliverer: enough alerts wait. That it is gone tells the end.
    pub(super) wake: Sender<()>,
    /// To the main thread: there is something to tell.
    pub(super) refused: Sender<()>,
    /// To the main thread: the open socket, for a restart.
    pub(super) leave: Sender<Served>,
    /// Alerts that are enough; 0 for never.
    pub(super) level: u64,
}

impl Receiver {
    pub(super) fn run(self) {
        let mut buffer = vec![0; RECORD_BYTES_MAX + 1];
        while self.shared.stop.get().is_none() {
            let _ = net::poll(
                &mut [net::readable(&self.socket), net::readable(&self.waker)],
                None,
            );
            self.waker.clear(); // Before the stop is looked at; to the watchdog it is a sign of life.
            for _ in 0..TURN_DATAGRAMS {
                if self.shared.stop.get().is_some() || !self.receive(&mut buffer) {
                    break;
                }
            }
        }
        if self.shared.keeps() {
            let _ = self.leave.send(self.socket); // What is queued in it is for the next program.
            return;
        }
        self.socket.unlink();
        for _ in 0..REST_MAX {
            if !self.receive(&mut buffer) {
                break;
            }
        }
    }

    /// Takes one datagram; `false` when there is none.
    fn receive(&self, buffer: &mut [u8]) -> bool {
        let Ok(bytes) = self.socket.receive(buffer) else {
            return false;
        };
        let counts = &self.shared.counts;
        match dropped::read(&buffer[..bytes.min(buffer.len())]) {
            Ok(told) => {
                counts.records.fetch_add(1, Relaxed);
                let waiting = {
                    let mut waiting = self.shared.lock();
                    waiting.batch.add(told);
                    size(&waiting.batch)
                };
                if self.level > 0 && waiting >= self.level {
                    nudge(&self.wake);
                }
            }
            Err(reason) => {
                counts.refused.fetch_add(1, Relaxed);
                self.shared.lock().last_refusal = reason.to_string();
                nudge(&self.refused);
            }
        }
        true
    }
}
