//! The line between sockserv and servsock, which can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Passes on what comes, in both directions, until it is cut.
pub(super) struct Line {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    /// A line to this port.
    pub(super) fn to(server: u16) -> io::Result<Line> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let line = Line {
            port: listener.local_addr()?.port(),
            open: Arc::default(),
        };
        let open = Arc::clone(&line.open);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // An error: servsock is away, and the other end of this connection is closed.
                if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
                    pass_on(near, far, &open);
                }
            }
        });
        Ok(line)
    }

    /// Where it begins.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the connections that are there, in the middle of whatever they carry.
    pub(super) fn cut(&self) {
        for end in self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = end.shutdown(Shutdown::Both); // An error: it was closed already.
        }
    }
}

fn pass_on(near: TcpStream, far: TcpStream, open: &Mutex<Vec<TcpStream>>) {
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        thread::spawn(move || {
            // However it ends, the other end is to hear of it.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    open.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([near, far]);
}
