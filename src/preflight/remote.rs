//! Looks at what is behind the network: where servsock listens, and whether it can be reached.

#![forbid(unsafe_code)]

use super::Finding::{self, Fine, Wrong};
use crate::ctrl;
use crate::options::Server;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::frame::{self, Frame};

/// For name lookup and connect together.
const REACH_SECS_MAX: Duration = Duration::from_secs(3);

/// Whether servsock, or at least something, answers there.
pub(super) fn server(server: &Server) -> Finding {
    let advice =
        "is servsock running there, and is this its address (-S, -p)? --offline leaves this out";
    match reach(server) {
        Ok(address) => Fine(format!("servsock at {server} can be reached ({address})")),
        Err(error) => Wrong(format!(
            "servsock at {server} cannot be reached: {error}; {advice}"
        )),
    }
}

/// Looks the name up and connects, in a thread that is left behind where the resolver hangs.
fn reach(server: &Server) -> io::Result<SocketAddr> {
    let (send, answer) = channel();
    let server = server.clone();
    thread::Builder::new()
        .name("look-at-server".to_owned())
        .spawn(move || {
            // Nobody listens any more: it took too long.
            let _ = send.send(connect(&server, Instant::now() + REACH_SECS_MAX));
        })?;
    let silence = || io::Error::new(ErrorKind::TimedOut, "nothing answered within 3 s");
    answer
        .recv_timeout(REACH_SECS_MAX)
        .unwrap_or_else(|_| Err(silence()))
}

fn connect(server: &Server, deadline: Instant) -> io::Result<SocketAddr> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1)); // 0 is refused.
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                say_goodbye(stream);
                return Ok(address);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// So that servsock's log says why nothing came.
fn say_goodbye(mut stream: TcpStream) {
    let mut bye = Vec::new();
    frame::put(
        &mut bye,
        &Frame::Bye("only a look whether servsock is here (sockserv -T)"),
    );
    // An error: it was reached, which is all that was to be known.
    let _ = stream.write_all(&bye);
}

/// Whether servsock could listen there. Bound, and not listening, a socket is seen by nobody.
pub(super) fn listen(listen: &Server, fifo: &Path) -> Finding {
    match bind(listen) {
        Ok(()) => Fine(format!("{listen} is free to listen on")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match ctrl::ask(fifo) {
            Ok(report) if address(listen).is_ok_and(|at| at.to_string() == report.listens) => Fine(
                format!("{listen} is in use, and the servsock of this control FIFO runs"),
            ),
            _ => Wrong(format!(
                "cannot listen on {listen}: {error}; is another servsock running? -p takes another port"
            )),
        },
        Err(error) => Wrong(format!(
            "cannot listen on {listen}: {error}; --listen takes an address of this machine, ports below 1024 are for root"
        )),
    }
}

fn address(listen: &Server) -> io::Result<SocketAddr> {
    let mut addresses = (listen.host.as_str(), listen.port).to_socket_addrs()?;
    let none = || io::Error::new(ErrorKind::NotFound, "the name has no address");
    addresses.next().ok_or_else(none)
}

fn bind(listen: &Server) -> io::Result<()> {
    let address = address(listen)?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // As the listener does: an old connection in TIME_WAIT does not hinder it.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn at(port: u16) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port,
        }
    }

    #[test]
    fn a_server_is_reached_or_it_is_said_why_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(matches!(server(&at(port)), Fine(_)));
        let taken = listen(&at(port), Path::new("/nowhere/x.ctrl"));
        assert!(matches!(&taken, Wrong(text) if text.contains("is another servsock running?")));
        drop(listener);
        assert!(matches!(
            listen(&at(port), Path::new("/nowhere/x.ctrl")),
            Fine(_)
        ));
        let away = server(&at(port));
        assert!(
            matches!(&away, Wrong(text) if text.contains("Connection refused")),
            "{away:?}"
        );
    }
}
