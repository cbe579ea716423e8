//! The IDS: sends datagrams with serial numbers, each as soon as the kernel takes it, and knows which one the kernel
//! took, when, and whose socket it was.

use crate::round::HANGS_AFTER;
use crate::serial::{Form, datagram};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A send that blocks looks up so often.
const LOOK_UP_EVERY: Duration = Duration::from_millis(500);
const RETRY_EVERY: Duration = Duration::from_millis(3);

/// So many alerts, then a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    pub(crate) alerts: u64,
    pub(crate) pause: Duration,
}

/// What the kernel took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// When serial number n + 1 was taken.
    pub(crate) times: Vec<Instant>,
    /// The sockservs, one after another, that it was sent to.
    pub(crate) lives: Vec<Life>,
}

/// The alerts that one sockserv process got, also over its restarts by SIGHUP: the socket stays.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Serial number of its first alert.
    pub(crate) first: u32,
    /// When it was killed.
    pub(crate) killed: Option<Instant>,
}

/// An IDS.
pub(crate) struct Ids {
    socket: PathBuf,
    form: Form,
    connected: Option<UnixDatagram>,
    sent: Arc<Mutex<Sent>>,
}

/// What others see of an IDS that is at work.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Sent>>);

impl Ids {
    pub(crate) fn new(socket: PathBuf, form: Form) -> Ids {
        Ids {
            socket,
            form,
            connected: None,
            sent: Arc::default(),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.sent))
    }

    /// Sends these bursts in a thread of its own.
    pub(crate) fn start(mut self, bursts: Vec<Burst>) -> JoinHandle<Ids> {
        thread::spawn(move || {
            for burst in bursts {
                (0..burst.alerts).for_each(|_| self.send());
                thread::sleep(burst.pause);
            }
            self
        })
    }

    /// Sends the next alert, however long that takes.
    pub(crate) fn send(&mut self) {
        let serial = self.watch().count() + 1;
        let bytes = datagram(self.form, serial);
        let began = Instant::now();
        loop {
            let socket = self.connect(serial);
            let answer = socket.as_ref().map(|socket| socket.send(&bytes));
            match answer {
                Some(Ok(_)) => return lock(&self.sent).times.push(Instant::now()),
                Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
                // The sockserv has ended: the next one makes a socket of its own.
                _ => {
                    self.connected = None;
                    thread::sleep(RETRY_EVERY);
                }
            }
            assert!(
                began.elapsed() < HANGS_AFTER,
                "the IDS hangs: no sockserv took alert {serial} within {HANGS_AFTER:?}"
            );
        }
    }

    fn connect(&mut self, serial: u32) -> Option<&UnixDatagram> {
        if self.connected.is_none() {
            let socket = UnixDatagram::unbound().expect("a socket");
            socket
                .set_write_timeout(Some(LOOK_UP_EVERY))
                .expect("a timeout");
            socket.connect(&self.socket).ok()?;
            lock(&self.sent).lives.push(Life {
                first: serial,
                killed: None,
            });
            self.connected = Some(socket);
        }
        self.connected.as_ref()
    }
}

impl Watch {
    /// How many alerts were sent.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(lock(&self.0).times.len()).expect("some thousand")
    }

    pub(crate) fn sent(&self) -> Sent {
        lock(&self.0).clone()
    }

    /// The sockserv that it sent to is dead, and no other one is there yet.
    pub(crate) fn was_killed(&self, at: Instant) {
        if let Some(life) = lock(&self.0).lives.last_mut() {
            life.killed = Some(at);
        }
    }
}

impl Sent {
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.times.len()).expect("some thousand")
    }

    /// When this alert was sent.
    pub(crate) fn time(&self, serial: u32) -> Instant {
        self.times[serial as usize - 1]
    }

    /// Each life with its serial numbers.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (&Life, std::ops::Range<u32>)> {
        let ends = self.lives.iter().skip(1).map(|life| life.first);
        let ends = ends.chain([self.count() + 1]);
        self.lives
            .iter()
            .zip(ends)
            .map(|(life, end)| (life, life.first..end))
    }
}

fn lock(sent: &Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}
