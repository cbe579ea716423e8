//! The reference for whoever takes datagrams: a process that receives them into one buffer, and does nothing else.
//! It is this program, started again with the word `null-receiver`.

use crate::Result;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The word in front of the path of its socket.
pub(crate) const WORD: &str = "null-receiver";
const BUFFER_BYTES: usize = 256 << 10;
const START_DEADLINE: Duration = Duration::from_secs(10);

/// The process; killed when this is dropped.
pub(crate) struct NullReceiver(Child);

impl NullReceiver {
    /// Returns once its socket is there.
    pub(crate) fn start(socket: &Path) -> Result<NullReceiver> {
        let child = Command::new(std::env::current_exe()?)
            .arg(WORD)
            .arg(socket)
            .spawn()?;
        let receiver = NullReceiver(child);
        let deadline = Instant::now() + START_DEADLINE;
        while !socket.exists() {
            if Instant::now() > deadline {
                return Err("the null receiver does not make its socket".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(receiver)
    }
}

impl Drop for NullReceiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process does.
pub(crate) fn run(socket: &Path) -> Result<()> {
    let socket = UnixDatagram::bind(socket)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        socket.recv(&mut buffer)?;
    }
}
