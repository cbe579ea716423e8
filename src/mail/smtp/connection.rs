//! The connection to a mail server: commands out, answers in, plain or encrypted.
//!
//! - Each answer has to be whole by a point in time, and the try as well. The system's own timeouts begin anew with each
//!   byte, so a server that sends one now and then would hold us for ever.
//! - What is read and not yet an answer is bounded: a line without an end takes no memory.
//! - No byte that came in clear is taken for one that came encrypted.

#![forbid(unsafe_code)]

use super::answer::{Answer, LINE_BYTES_MAX, Line};
use super::tls::Tls;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What is read at once.
const READ_BYTES: usize = 1024;
/// What has to be written by the deadline of an answer: a slow line takes the mail in so many parts.
const PART_BYTES: usize = 16 << 10;
/// A try as a whole may take the time of so many answers: a server that answers each time at the last moment hangs too.
const TRY_ANSWERS: u32 = 10;

/// Why there is no mail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server said no; one can go on talking.
    Refused(String),
    /// There is no talking with it, at least not now.
    Broken(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::Broken(reason)
    }
}

/// How long to wait.
#[derive(Clone, Copy)]
struct Patience {
    answer: Duration,
    try_by: Instant,
}

impl Patience {
    fn begin(answer: Duration) -> Patience {
        Patience {
            answer,
            try_by: Instant::now() + answer * TRY_ANSWERS,
        }
    }

    fn next_by(&self) -> Instant {
        self.try_by.min(Instant::now() + self.answer)
    }

    /// What a read or write that failed means.
    fn failure(&self, error: &io::Error) -> Failure {
        let seconds = self.answer.as_secs();
        Failure::Broken(match error.kind() {
            io::ErrorKind::TimedOut if Instant::now() >= self.try_by => format!(
                "the try took longer than {} s, {TRY_ANSWERS} times --mail-timeout",
                (self.answer * TRY_ANSWERS).as_secs()
            ),
            io::ErrorKind::TimedOut => format!("no answer within {seconds} s"),
            io::ErrorKind::UnexpectedEof => closed(),
            _ => error.to_string(),
        })
    }
}

fn closed() -> String {
    "it closed the connection: incomplete response".to_owned()
}

/// A socket that is read and written until a point in time.
struct Timed {
    socket: TcpStream,
    by: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.by.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

/// To the system a timeout is `WouldBlock`; and where one is set, a signal ends the call.
fn until_done(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            result => return result,
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        until_done(|| {
            self.socket.set_read_timeout(Some(self.left()?))?;
            self.socket.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        until_done(|| {
            self.socket.set_write_timeout(Some(self.left()?))?;
            self.socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// What goes through the socket.
enum Stream {
    Plain(Timed),
    Encrypted(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Stream::Plain(timed) => timed,
            Stream::Encrypted(tls) => &mut tls.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(buffer),
            Stream::Encrypted(tls) => tls.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.write_all(bytes),
            Stream::Encrypted(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// See the module.
pub(super) struct Connection {
    stream: Stream,
    patience: Patience,
    /// Read, and not yet an answer; `LINE_BYTES_MAX + READ_BYTES` at most.
    heard: Vec<u8>,
}

impl Connection {
    /// Connects to the first address of `host` that takes us. From now on the time of the try runs.
    ///
    /// # Errors
    ///
    /// No address, or what the last one answered.
    pub(super) fn open(host: &str, port: u16, answer: Duration) -> Result<Connection, Failure> {
        let patience = Patience::begin(answer);
        let addresses = (host, port).to_socket_addrs();
        let addresses = addresses.map_err(|error| patience.failure(&error))?;
        let mut failure = Failure::Broken("its name has no address".to_owned());
        for address in addresses {
            let left = patience
                .next_by()
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)); // Zero would be an error of its own.
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => return Ok(Connection::over(socket, patience)),
                Err(error) => failure = patience.failure(&error),
            }
        }
        Err(failure)
    }

    fn over(socket: TcpStream, patience: Patience) -> Connection {
        let by = patience.next_by();
        Connection {
            stream: Stream::Plain(Timed { socket, by }),
            patience,
            heard: Vec::new(),
        }
    }

    /// Encrypts what follows.
    ///
    /// # Errors
    ///
    /// The server has sent bytes already, which came in clear, from whoever was able to send them: the answers to
    /// commands that are still to come.
    pub(super) fn encrypt(self, tls: &Tls) -> Result<Connection, Failure> {
        let Stream::Plain(timed) = self.stream else {
            return Err(Failure::Broken("it is encrypted already".to_owned()));
        };
        if !self.heard.is_empty() {
            return Err(Failure::Broken(
                "it sent more behind its answer to STARTTLS, in clear: somebody between us and it may have added that"
                    .to_owned(),
            ));
        }
        let session = tls
            .session()
            .map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(Connection {
            stream: Stream::Encrypted(Box::new(StreamOwned::new(session, timed))),
            ..self
        })
    }

    /// Sends a command; its answer is there in time.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn ask(&mut self, command: &str) -> Result<Answer, Failure> {
        debug_assert!(!command.contains(['\r', '\n']), "one command, one line");
        self.send(format!("{command}\r\n").as_bytes())?;
        self.hear()
    }

    /// Sends bytes as they are, each part of them in time.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for part in bytes.chunks(PART_BYTES) {
            self.stream.timed().by = self.patience.next_by();
            let written = self.stream.write(part);
            written.map_err(|error| self.patience.failure(&error))?;
        }
        Ok(())
    }

    /// The next answer.
    ///
    /// # Errors
    ///
    /// The connection is broken, or it is no answer.
    pub(super) fn hear(&mut self) -> Result<Answer, Failure> {
        self.stream.timed().by = self.patience.next_by();
        Answer::read(|| {
            let bytes = self.line()?;
            Line::read(&bytes).ok_or_else(|| {
                let shown = String::from_utf8_lossy(&bytes);
                Failure::Broken(format!("its answer is no SMTP: {}", shown.trim_end()))
            })
        })
    }

    /// The next line with its end.
    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let end = self.heard.iter().position(|byte| *byte == b'\n');
            if end.map_or(self.heard.len(), |end| end + 1) > LINE_BYTES_MAX {
                return Err(Failure::Broken(format!(
                    "a line of its answer has more than {LINE_BYTES_MAX} bytes"
                )));
            }
            if let Some(end) = end {
                return Ok(self.heard.drain(..=end).collect());
            }
            let mut buffer = [0; READ_BYTES];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::Broken(closed())),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(self.patience.failure(&error)),
            }
        }
    }

    /// Says goodbye, and waits for the answer so long at most: what there was to do is done.
    pub(super) fn quit(mut self, limit: Duration) {
        self.patience.answer = self.patience.answer.min(limit);
        let _ = self.ask("QUIT"); // Nothing depends on it.
        if let Stream::Encrypted(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.stream.timed().socket.shutdown(Shutdown::Both);
    }
}
