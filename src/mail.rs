//! The records of dropped alerts, as they come out of a datagram socket -> what a person reads. For now they are
//! printed; one mail for many of them comes next.

#![forbid(unsafe_code)]

use crate::crew::Crew;
use crate::dgram::Served;
use crate::error::Error;
use crate::net;
use crate::process::{Cause, Signals};
use crate::wake::Waker;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A record is some hundred bytes; what is longer is shown cut.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// The socket, before the thread starts.
pub struct Printer {
    socket: Served,
}

/// The running drop.
pub struct Running {
    crew: Crew,
    stop: Arc<AtomicBool>,
    waker: Waker,
    records: Arc<AtomicU64>,
}

impl Printer {
    /// Binds the socket.
    ///
    /// # Errors
    ///
    /// As `Served::bind`.
    pub fn open(path: &Path) -> Result<Printer, Error> {
        Ok(Printer {
            socket: Served::bind("drop socket", path)?,
        })
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread or a descriptor.
    pub fn start(self) -> Result<Running, Error> {
        let waker =
            Waker::new().map_err(|error| Error::start("cannot make an eventfd", error, ""))?;
        let mut running = Running {
            crew: Crew::default(),
            stop: Arc::default(),
            waker: waker.clone(),
            records: Arc::default(),
        };
        let (stop, records) = (Arc::clone(&running.stop), Arc::clone(&running.records));
        running.crew.spawn("drop-print", move || {
            print_all(&self.socket, &waker, &stop, &records)
        })?;
        Ok(running)
    }
}

impl Running {
    /// Waits for a reason to stop, and names it.
    pub fn wait(&self, signals: &Signals) -> &'static str {
        match signals.caught.recv() {
            Ok(Cause::Stop(cause) | Cause::Restart(cause)) => cause,
            Err(_) => "no signals any more",
        }
    }

    /// Ends the thread. The final count.
    pub fn stop(self) -> String {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        self.crew
            .join_until(Instant::now() + Duration::from_secs(2));
        format!("{} records came", self.records.load(Ordering::SeqCst))
    }
}

fn print_all(socket: &Served, waker: &Waker, stop: &AtomicBool, records: &AtomicU64) {
    let mut buffer = vec![0; RECORD_BYTES_MAX];
    while !stop.load(Ordering::SeqCst) {
        let _ = net::poll(&mut [net::readable(socket), net::readable(waker)], None);
        while let Ok(bytes) = socket.receive(&mut buffer) {
            records.fetch_add(1, Ordering::SeqCst);
            let record = String::from_utf8_lossy(&buffer[..bytes.min(RECORD_BYTES_MAX)]);
            crate::info!("{}", record.trim_end());
        }
    }
}
