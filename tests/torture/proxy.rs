//! The line between a sockserv and servsock: a TCP proxy that knows where frames begin, and can cut, hold, delay and
//! forward late. It also hears what servsock promises: the numbers that it acknowledges.

use flop::wire::StreamId;
use flop::wire::frame::{self, Frame, HEADER_BYTES, Header};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What a line across a continent takes.
const ON_THE_WAY: Duration = Duration::from_millis(40);

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the sensor to servsock.
    Up,
    Down,
}

/// Where the line is cut by itself: after so many frames and bytes of the next one, counted from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    pub(crate) frames: u64,
    pub(crate) bytes: usize,
}

/// The proxy; the line is cut for good when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    up_is_held: bool,
    down_is_held: bool,
    late_is_held: bool,
    delay: Duration,
    cut: Option<Cut>,
    connections: Vec<Arc<Connection>>,
    acknowledged: HashMap<StreamId, u64>,
    is_closed: bool,
}

struct Connection {
    sensor: TcpStream,
    worker: TcpStream,
    stream: Mutex<Option<StreamId>>,
    is_late: Mutex<bool>,
}

impl Proxy {
    /// Forwards to servsock at this port.
    pub(crate) fn start(servsock: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let line = Arc::new(Line::default());
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, servsock));
        let of_thread = Arc::clone(&line);
        thread::spawn(move || of_thread.serve(&listener, to));
        Proxy { port, line }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nothing is forwarded in these directions; what comes waits.
    pub(crate) fn hold(&self, up: bool, down: bool) {
        let mut state = self.line.lock();
        (state.up_is_held, state.down_is_held) = (up, down);
        self.line.changed.notify_all();
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.line.lock().delay = delay;
    }

    pub(crate) fn cut_at(&self, cut: Cut) {
        self.line.lock().cut = Some(cut);
    }

    /// Ends all connections with something on its way in both directions, as there is on a long line.
    pub(crate) fn cut_on_the_way(&self) {
        self.hold(true, true);
        thread::sleep(ON_THE_WAY);
        self.cut();
        self.hold(false, false);
    }

    /// The same at once; what is held is gone.
    pub(crate) fn cut(&self) {
        let mut state = self.line.lock();
        state.connections.drain(..).for_each(|line| line.end());
        self.line.changed.notify_all();
    }

    /// The sensor sees its connection's end, the worker does not: what is held reaches it when `deliver_late` is called.
    pub(crate) fn part(&self) {
        let mut state = self.line.lock();
        state.late_is_held = true;
        for connection in state.connections.drain(..) {
            *lock(&connection.is_late) = true;
            let _ = connection.sensor.shutdown(Shutdown::Write);
        }
    }

    pub(crate) fn deliver_late(&self) {
        self.line.lock().late_is_held = false;
        self.line.changed.notify_all();
    }

    /// A line without faults, from now on.
    pub(crate) fn heal(&self) {
        let mut state = self.line.lock();
        (state.up_is_held, state.down_is_held, state.late_is_held) = (false, false, false);
        (state.delay, state.cut) = (Duration::ZERO, None);
        self.line.changed.notify_all();
    }

    /// The last number of each stream that a worker has acknowledged.
    pub(crate) fn acknowledged(&self) -> HashMap<StreamId, u64> {
        self.line.lock().acknowledged.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.lock().is_closed = true;
        self.heal();
        self.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // Wakes the listener.
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn serve(self: Arc<Line>, listener: &TcpListener, servsock: SocketAddr) {
        for sensor in listener.incoming() {
            if self.lock().is_closed {
                return;
            }
            // No servsock: to the sensor it is a connection that ends at once.
            let (Ok(sensor), Ok(worker)) = (sensor, TcpStream::connect(servsock)) else {
                continue;
            };
            let _ = sensor.set_nodelay(true);
            let _ = worker.set_nodelay(true);
            let connection = Arc::new(Connection {
                sensor,
                worker,
                stream: Mutex::default(),
                is_late: Mutex::default(),
            });
            self.lock().connections.push(Arc::clone(&connection));
            for way in [Way::Up, Way::Down] {
                let (line, connection) = (Arc::clone(&self), Arc::clone(&connection));
                thread::spawn(move || line.forward(way, &connection));
            }
        }
    }

    fn forward(&self, way: Way, connection: &Connection) {
        let (mut from, mut to) = match way {
            Way::Up => (&connection.sensor, &connection.worker),
            Way::Down => (&connection.worker, &connection.sensor),
        };
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let is_whole = read_frame(&mut from, &mut bytes);
            if is_whole {
                self.hear(connection, &bytes);
            }
            let delay = self.wait_until_open(way, connection);
            thread::sleep(delay);
            let cut = is_whole.then(|| self.cut_due(way)).flatten();
            let pass = cut.map_or(bytes.len(), |cut| cut.min(bytes.len()));
            if to.write_all(&bytes[..pass]).is_err() || cut.is_some() {
                return connection.end();
            }
            if !is_whole {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
        }
    }

    /// Notes what a frame says.
    fn hear(&self, connection: &Connection, bytes: &[u8]) {
        let (head, body) = bytes.split_at(HEADER_BYTES);
        let header = Header::decode(head.first_chunk().expect("a whole header"));
        let frame = header.and_then(|header| frame::decode(header.kind, body));
        match frame.expect("both sides send frames") {
            Frame::Hello(hello) => *lock(&connection.stream) = Some(hello.stream),
            Frame::Ack(ack) => {
                let stream = lock(&connection.stream).expect("HELLO comes first");
                let mut state = self.lock();
                let known = state.acknowledged.entry(stream).or_default();
                *known = ack.stored.max(*known);
            }
            _ => {}
        }
    }

    /// Waits while the way is held. How long the frame is to be delayed.
    fn wait_until_open(&self, way: Way, connection: &Connection) -> Duration {
        let mut state = self.lock();
        loop {
            let is_held = match (*lock(&connection.is_late), way) {
                (true, _) => state.late_is_held,
                (false, Way::Up) => state.up_is_held,
                (false, Way::Down) => state.down_is_held,
            };
            if !is_held || state.is_closed {
                return state.delay;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the line is to be cut in this frame, and after how many of its bytes.
    fn cut_due(&self, way: Way) -> Option<usize> {
        let mut state = self.lock();
        let cut = state.cut.as_mut().filter(|cut| cut.way == way)?;
        if cut.frames > 0 {
            cut.frames -= 1;
            return None;
        }
        state.cut.take().map(|cut| cut.bytes)
    }
}

impl Connection {
    fn end(&self) {
        let _ = self.sensor.shutdown(Shutdown::Both);
        let _ = self.worker.shutdown(Shutdown::Both);
    }
}

/// Whether a whole frame came; else the connection has ended, in the middle of one maybe.
fn read_frame(from: &mut &TcpStream, bytes: &mut Vec<u8>) -> bool {
    if !read_up_to(from, bytes, HEADER_BYTES) {
        return false;
    }
    let header = Header::decode(bytes.first_chunk().expect("a whole header"));
    let header = header.expect("both sides send frames");
    read_up_to(from, bytes, HEADER_BYTES + header.body_bytes)
}

fn read_up_to(from: &mut &TcpStream, bytes: &mut Vec<u8>, length: usize) -> bool {
    let mut have = bytes.len();
    bytes.resize(length, 0);
    while have < length {
        match from.read(&mut bytes[have..]) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.truncate(have);
    have == length
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
