//! `Connection`: frames over a non-blocking TCP connection that one thread owns; connect, listen, poll. Where TLS goes.

#![forbid(unsafe_code)]

use crate::wake::Waker;
use crate::wire::DecodeError;
use crate::wire::frame::{self, Frame};
use crate::wire::packed::Packer;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

/// What is read at once at most, and the step in which the input grows: a length that is announced takes no memory
/// before its bytes are there.
const READ_BYTES: usize = 256 << 10;
/// No more frames are to be queued while so much waits to be written.
const OUTPUT_BYTES_ENOUGH: usize = 256 << 10;
/// For one address of the server.
const CONNECT_SECS_MAX: u64 = 10;

/// A descriptor to wait for, readable.
pub fn readable<F: AsFd>(fd: &F) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

/// Waits until one of the descriptors is ready, or the time has passed (`None`: no limit). A signal ends it early.
///
/// # Errors
///
/// As poll(2).
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = match timeout {
        None => PollTimeout::NONE,
        // Rounded up: a wait for 0.4 ms must not become a busy loop.
        Some(timeout) => {
            PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        }
    };
    match nix::poll::poll(fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether poll reported anything at all for the descriptor: data, the end, or an error, all of which a read tells.
pub fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.any().unwrap_or(true)
}

/// Why a connection ended, as a part of a sentence.
#[derive(Debug)]
pub enum Lost {
    /// The peer closed it, at the end of a frame or within one.
    Closed,
    /// The system says so.
    Io(io::Error),
    /// What came is no frame.
    Protocol(DecodeError),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Closed => f.write_str("the other side closed the connection"),
            Lost::Io(error) => write!(f, "{error}"),
            Lost::Protocol(error) => write!(f, "protocol error: {error}"),
        }
    }
}

/// A connection.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// `input[parsed..filled]` is not parsed yet.
    parsed: usize,
    filled: usize,
    output: Vec<u8>,
    written: usize,
    /// The peer has closed its side.
    ended: bool,
    /// A write failed: what is queued goes nowhere.
    broken: bool,
}

impl Connection {
    /// Takes over a connected socket.
    ///
    /// # Errors
    ///
    /// The socket cannot be set up.
    pub fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Connection {
            stream,
            input: Vec::new(),
            parsed: 0,
            filled: 0,
            output: Vec::new(),
            written: 0,
            ended: false,
            broken: false,
        })
    }

    /// What to wait for: input if `reading`, and room for output while there is some.
    pub fn poll_fd(&self, reading: bool) -> PollFd<'_> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, reading);
        flags.set(PollFlags::POLLOUT, self.wants_write());
        PollFd::new(self.stream.as_fd(), flags)
    }

    /// Reads what is there, up to a limit. The end of the stream is told by `next_frame`, behind the last frame.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn fill(&mut self) -> Result<(), Lost> {
        if self.parsed == self.filled {
            (self.parsed, self.filled) = (0, 0);
        } else if self.parsed > READ_BYTES {
            self.input.copy_within(self.parsed..self.filled, 0);
            (self.parsed, self.filled) = (0, self.filled - self.parsed);
        }
        if self.input.len() < self.filled + READ_BYTES / 4 {
            self.input.resize(self.filled + READ_BYTES, 0);
        }
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => self.ended = true,
            Ok(count) => self.filled += count,
            Err(error) if is_later(&error) => {}
            Err(error) => return Err(Lost::Io(error)),
        }
        Ok(())
    }

    /// The next whole frame that has been read.
    ///
    /// # Errors
    ///
    /// What came is no frame, or the connection has ended.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Lost> {
        let unparsed = &self.input[self.parsed..self.filled];
        match frame::first(unparsed).map_err(Lost::Protocol)? {
            Some((frame, length)) => {
                self.parsed += length;
                Ok(Some(frame))
            }
            None if self.ended => Err(Lost::Closed),
            None => Ok(None),
        }
    }

    /// Queues a frame; `flush` sends it.
    pub fn queue(&mut self, frame: &Frame<'_>) {
        if !self.broken {
            frame::put(&mut self.output, frame);
        }
    }

    /// Queues an ITEMS frame.
    pub fn queue_items(&mut self, first: u64, count: u32, items: &[u8]) {
        let front = frame::items_front(first, count, items.len());
        self.output.extend_from_slice(&front);
        self.output.extend_from_slice(items);
    }

    /// Queues a PACKED frame.
    ///
    /// # Errors
    ///
    /// There is no memory to compress; the connection has to end.
    pub fn queue_packed(
        &mut self,
        packer: &mut Packer,
        first: u64,
        count: u32,
        items: &[u8],
    ) -> Result<(), Lost> {
        let packed = packer.put(&mut self.output, first, count, items);
        packed.map_err(Lost::Io)
    }

    /// Whether more may be queued, so that memory stays bounded.
    pub fn has_room(&self) -> bool {
        self.output.len() - self.written < OUTPUT_BYTES_ENOUGH
    }

    /// Whether output waits.
    pub fn wants_write(&self) -> bool {
        self.written < self.output.len()
    }

    /// Writes what the socket takes at once. After an error nothing is queued any more.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), Lost> {
        while self.wants_write() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => {
                    self.broken = true;
                    self.output.clear();
                    self.written = 0;
                    return Err(Lost::Io(error));
                }
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Ends the connection in order: writes what is queued, then reads until the peer has closed too, for at most so
    /// long. Closed with unread input, the kernel would reset the connection, and the peer lose our last words.
    pub fn close(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut shut = false;
        while self.flush().is_ok() && !self.broken && !self.ended {
            if !self.wants_write() && !shut {
                shut = true;
                if self.stream.shutdown(Shutdown::Write).is_err() {
                    return;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || poll(&mut [self.poll_fd(true)], Some(left)).is_err() {
                return;
            }
            (self.parsed, self.filled) = (0, 0); // Nobody will read it.
            if self.fill().is_err() {
                return;
            }
        }
    }

    /// Bytes that were read and are not parsed: a peer that sent half of something.
    pub fn unparsed(&self) -> usize {
        self.filled - self.parsed
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Names -> addresses. getaddrinfo(3) cannot be interrupted, and takes minutes where no name server answers: so a thread
/// of its own asks. While it hangs, the next question of the same name waits for its answer.
#[derive(Default)]
pub struct Lookup {
    /// Host and port that are asked for.
    pending: Option<(String, u16, Receiver<Addresses>)>,
}

type Addresses = io::Result<Vec<SocketAddr>>;

impl Lookup {
    fn addresses(
        &mut self,
        host: &str,
        port: u16,
        waker: &Waker,
        deadline: &impl Fn() -> Option<Instant>,
    ) -> Addresses {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let same = |pending: &(String, u16, _)| (pending.0.as_str(), pending.1) == (host, port);
        let answer = match self.pending.take().filter(same) {
            Some((.., answer)) => answer,
            None => ask(host, port, waker)?,
        };
        loop {
            waker.clear();
            match answer.try_recv() {
                Ok(addresses) => return addresses,
                Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::Other.into()),
                Err(TryRecvError::Empty) => {}
            }
            let now = Instant::now();
            let left = deadline().map(|deadline| deadline.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                self.pending = Some((host.to_owned(), port, answer));
                return Err(io::ErrorKind::Interrupted.into());
            }
            poll(&mut [readable(waker)], left)?;
        }
    }
}

fn ask(host: &str, port: u16, waker: &Waker) -> io::Result<Receiver<Addresses>> {
    let (send, answer) = bounded(1);
    let (host, waker) = (host.to_owned(), waker.clone());
    thread::Builder::new()
        .name("net-lookup".to_owned())
        .spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            // An error: nobody waits for it any more.
            let _ = send.send(addresses.map(Iterator::collect));
            waker.wake();
        })?;
    Ok(answer)
}

/// Connects to the first address of `host` that answers. `deadline` is asked whenever `waker` wakes.
///
/// # Errors
///
/// The last address's error; `Interrupted` when the deadline has passed.
pub fn connect(
    host: &str,
    port: u16,
    lookup: &mut Lookup,
    waker: &Waker,
    deadline: impl Fn() -> Option<Instant>,
) -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup.addresses(host, port, waker, &deadline)? {
        match connect_to(address, waker, &deadline) {
            Ok(stream) => return Connection::new(stream),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_to(
    address: SocketAddr,
    waker: &Waker,
    deadline: &impl Fn() -> Option<Instant>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => return Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    let patience = Instant::now() + Duration::from_secs(CONNECT_SECS_MAX);
    loop {
        let now = Instant::now();
        let deadline = deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if now >= patience {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLOUT),
            readable(waker),
        ];
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        poll(&mut fds, Some(until - now))?;
        let connected = is_ready(&fds[0]);
        waker.clear();
        if connected {
            return match socket.take_error()? {
                None => Ok(socket.into()),
                Some(error) => Err(error),
            };
        }
    }
}

/// Listens on an address; an old connection in TIME_WAIT does not hinder it.
///
/// # Errors
///
/// As bind(2) and listen(2).
pub fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(1024)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener whose queue is full: the kernel answers no further SYN.
    fn unanswered() -> (Socket, Vec<Socket>, u16) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&SockAddr::from(any)).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = client.connect(&address);
            client
        };
        let clients = (0..3).map(waiting).collect();
        (listener, clients, address.as_socket().unwrap().port())
    }

    #[test]
    fn a_server_that_does_not_answer_is_a_failed_try_and_no_interruption() {
        let (_listener, _clients, port) = unanswered();
        let waker = Waker::new().unwrap();
        let connect = |deadline: Option<Instant>| {
            let connection = connect("127.0.0.1", port, &mut Lookup::default(), &waker, || {
                deadline
            });
            connection.map(drop).unwrap_err().kind()
        };
        assert_eq!(connect(None), io::ErrorKind::TimedOut);
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(connect(Some(soon)), io::ErrorKind::Interrupted);
    }
}
