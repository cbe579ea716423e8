//! A way to PostgreSQL that can be cut in the middle of what is sent.

use crate::database::Database;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

/// The server's socket has this name in its directory.
const SOCKET: &str = ".s.PGSQL.5432";
const OPEN: i64 = i64::MAX;

pub(super) struct Gate {
    /// The same database, on this way.
    pub(super) database: Database,
    /// Bytes to the server that go through before a cut.
    left: Arc<AtomicI64>,
}

impl Gate {
    /// A way to `database`, by a socket in `folder`.
    pub(super) fn new(database: &Database, folder: &Path) -> Gate {
        let Database::Postgres(url) = database else {
            panic!("asked for PostgreSQL")
        };
        let (begin, server) = url.split_once("?host=").expect("a socket's directory");
        let server = Path::new(server).join(SOCKET);
        let listener = UnixListener::bind(folder.join(SOCKET)).expect("the socket");
        let left = Arc::new(AtomicI64::new(OPEN));
        let counter = Arc::clone(&left);
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&server).expect("the server runs");
                join(client, server, &counter);
            }
        });
        Gate {
            database: Database::Postgres(format!("{begin}?host={}", folder.display())),
            left,
        }
    }

    /// So many bytes more, and the connection that sends the last of them is cut; once.
    pub(super) fn cuts_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) > OPEN / 2
    }
}

fn join(client: UnixStream, server: UnixStream, left: &Arc<AtomicI64>) {
    let copy = |stream: &UnixStream| stream.try_clone().expect("a descriptor");
    let (from, to, left) = (copy(&client), copy(&server), Arc::clone(left));
    thread::spawn(move || forward(from, to, &left));
    thread::spawn(move || forward(server, client, &AtomicI64::new(OPEN)));
}

fn forward(mut from: UnixStream, mut to: UnixStream, left: &AtomicI64) {
    let mut bytes = [0; 4 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let size = i64::try_from(count).expect("a small number");
        let before = left.fetch_sub(size, Ordering::SeqCst);
        if before < size {
            // The server gets the beginning.
            let _ = to.write_all(&bytes[..usize::try_from(before).unwrap_or(0)]);
            left.store(OPEN, Ordering::SeqCst);
            break;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
