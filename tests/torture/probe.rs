//! How long the disk, and this machine, let a program wait that writes as a spool does: beside a fault, in the same file
//! system. What such a wait holds up is not written yet when its process is killed.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// About an alert.
const BYTES: [u8; 500] = [0; 500];
const WRITE_EVERY: Duration = Duration::from_millis(2);

/// Two threads at work: one writes, one calls fdatasync.
pub(crate) struct Probe {
    is_over: Arc<AtomicBool>,
    writer: Option<JoinHandle<Duration>>,
}

impl Probe {
    pub(crate) fn start(folder: &Path) -> Probe {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut file = File::create(folder.join("probe")).expect("a new file");
        let same = file.try_clone().expect("a second descriptor");
        let until = Arc::clone(&is_over);
        thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                same.sync_data().expect("a file of ours");
                thread::sleep(WRITE_EVERY);
            }
        });
        let until = Arc::clone(&is_over);
        let writer = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !until.load(Ordering::SeqCst) {
                let began = Instant::now();
                file.write_all(&BYTES).expect("a file of ours");
                thread::sleep(WRITE_EVERY);
                longest = longest.max(began.elapsed());
            }
            longest
        });
        Probe {
            is_over,
            writer: Some(writer),
        }
    }

    /// The longest wait between two writes.
    pub(crate) fn longest(mut self) -> Duration {
        self.is_over.store(true, Ordering::SeqCst);
        let longest = self.writer.take().map(JoinHandle::join);
        longest
            .expect("taken here only")
            .expect("it does not panic")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}
