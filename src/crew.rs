//! `Crew`: names, owns and joins the threads of a daemon; a panic in any of them ends the process, for a daemon with
//! a dead thread is worse than a dead daemon.

#![forbid(unsafe_code)]

use crate::error::Error;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A process that ends because of a panic says so with this code, as Rust's own main does.
const EXIT_PANIC: i32 = 101;

/// Threads with one owner.
#[derive(Debug, Default)]
pub struct Crew {
    threads: Vec<(JoinHandle<()>, Receiver<()>)>,
}

impl Crew {
    /// Starts a thread. Its name shows in `ps -L`, in a panic and in README.debug: at most 15 bytes.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    pub fn spawn(
        &mut self,
        name: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        debug_assert!(name.len() <= 15, "Linux cuts longer names");
        let (ended, end) = bounded::<()>(0);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || guarded(name, run, ended))
            .map_err(|error| Error::start(format!("cannot start thread {name}"), error, ""))?;
        self.threads.push((thread, end));
        Ok(())
    }

    /// Waits for all threads until `deadline`: the names of those which did not end.
    pub fn join_until(self, deadline: Instant) -> Vec<String> {
        let mut left = Vec::new();
        for (thread, end) in self.threads {
            let wait = deadline.saturating_duration_since(Instant::now());
            match end.recv_timeout(wait.max(Duration::from_millis(1))) {
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    left.push(thread.thread().name().unwrap_or("?").to_owned());
                }
                _ => {
                    // It dropped its end, as the last thing it did; a panic would have ended the process.
                    let _ = thread.join();
                }
            }
        }
        left
    }
}

fn guarded(name: &str, run: impl FnOnce(), _ended: Sender<()>) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        crate::err!(
            "thread {name} failed, see the panic above; this is a fault in the program, please report it"
        );
        std::process::exit(EXIT_PANIC);
    }
}
