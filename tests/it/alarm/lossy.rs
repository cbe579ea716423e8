//! A way to PostgreSQL on which the answer to one COMMIT gets lost, with the connection.

use crate::database::Database;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The server's socket has this name in its directory.
const SOCKET: &str = ".s.PGSQL.5432";
/// CommandComplete's tag.
const ANSWER: &[u8] = b"COMMIT\0";

pub(crate) struct Lossy {
    /// The same database, on this way.
    pub(crate) database: Database,
    /// Whether the next answer gets lost.
    armed: Arc<AtomicBool>,
}

impl Lossy {
    /// A way to `database`, by a socket in `folder`.
    pub(crate) fn new(database: &Database, folder: &Path) -> Lossy {
        let Database::Postgres(url) = database else {
            panic!("asked for PostgreSQL")
        };
        let (begin, server) = url.split_once("?host=").expect("a socket's directory");
        let server = Path::new(server).join(SOCKET);
        let listener = UnixListener::bind(folder.join(SOCKET)).expect("the socket");
        let armed = Arc::new(AtomicBool::new(false));
        let is_armed = Arc::clone(&armed);
        // Both end with the test's process.
        thread::spawn(move || serve(&listener, &server, &is_armed));
        Lossy {
            database: Database::Postgres(format!("{begin}?host={}", folder.display())),
            armed,
        }
    }

    pub(crate) fn loses_the_next_answer(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_lost_it(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

fn serve(listener: &UnixListener, server: &PathBuf, armed: &Arc<AtomicBool>) {
    for client in listener.incoming().flatten() {
        let server = UnixStream::connect(server).expect("the server runs");
        let (from, to) = (client.try_clone(), server.try_clone());
        let (from, to) = (from.expect("a descriptor"), to.expect("a descriptor"));
        let armed = Arc::clone(armed);
        thread::spawn(move || forward(from, to, |_| false));
        thread::spawn(move || {
            forward(server, client, |bytes| {
                let is_answer = bytes.windows(ANSWER.len()).any(|part| part == ANSWER);
                is_answer && armed.swap(false, Ordering::SeqCst)
            });
        });
    }
}

/// Until the end, or until bytes come that are to be lost: they end the connection.
fn forward(mut from: UnixStream, mut to: UnixStream, is_lost: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if is_lost(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
