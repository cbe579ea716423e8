//! A sensor that is the benchmark itself: it speaks the protocol, has its alerts encoded already, and needs little of
//! the machine. For what only servsock is measured by.

use crate::Result;
use crate::load::Encoded;
use flop::alert::SensorName;
use flop::wire::StreamId;
use flop::wire::frame::{self, Frame, HEADER_BYTES, Header, Hello};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A servsock that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// As sockserv sends them: a chunk of its buffer is a frame.
const FRAME_BYTES: usize = flop::buffer::CHUNK_BYTES;

pub(crate) struct Sensor {
    stream: TcpStream,
    next: u64,
}

impl Sensor {
    /// Connects and says who it is; does not wait for the answer.
    pub(crate) fn connect(address: SocketAddr, number: u32) -> Result<Sensor> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut sensor = Sensor { stream, next: 1 };
        sensor.send(&Frame::Hello(Hello {
            stream: new_stream()?,
            forgotten: 0,
            packs: false,
            sensor: SensorName {
                name: format!("sensor{number}"),
                interface: String::new(),
            },
            program: String::from("benchmark"),
        }))?;
        Ok(sensor)
    }

    /// Waits for WELCOME.
    pub(crate) fn is_welcome(&mut self) -> Result<()> {
        self.read_until(|frame| matches!(frame, Frame::Welcome(_)))
    }

    /// Sends alerts, and waits until all of them are stored.
    pub(crate) fn stores(&mut self, alerts: &Encoded) -> Result<()> {
        let (mut rest, mut lengths) = (alerts.bytes.as_slice(), alerts.lengths.as_slice());
        while !lengths.is_empty() {
            let mut bytes = 0;
            let fits = |length: &&usize| {
                bytes += **length;
                bytes <= FRAME_BYTES
            };
            let count = lengths.iter().take_while(fits).count().max(1);
            let length = lengths[..count].iter().sum();
            let (items, behind) = rest.split_at(length);
            self.send_items(items, count)?;
            (rest, lengths) = (behind, &lengths[count..]);
        }
        let last = self.next - 1;
        self.read_until(|frame| matches!(frame, Frame::Ack(ack) if ack.stored >= last))
    }

    fn send_items(&mut self, items: &[u8], count: usize) -> Result<()> {
        let items_count = u32::try_from(count)?;
        self.stream
            .write_all(&frame::items_front(self.next, items_count, items.len()))?;
        self.stream.write_all(items)?;
        self.next += count as u64;
        Ok(())
    }

    fn send(&mut self, frame: &Frame<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, frame);
        Ok(self.stream.write_all(&bytes)?)
    }

    fn read_until(&mut self, mut wanted: impl FnMut(&Frame<'_>) -> bool) -> Result<()> {
        loop {
            let body = &mut Vec::new();
            match read_frame(&mut self.stream, body)? {
                frame if wanted(&frame) => return Ok(()),
                Frame::Refuse(reason) | Frame::Bye(reason) => {
                    return Err(format!("servsock ended the connection: {reason}").into());
                }
                _ => {}
            }
        }
    }
}

/// A name that no other stream has: a database goes on with those that it knows.
fn new_stream() -> Result<StreamId> {
    let mut id = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(StreamId(id))
}

/// Reads a frame; `body` keeps its bytes.
pub(crate) fn read_frame<'a>(stream: &mut impl Read, body: &'a mut Vec<u8>) -> Result<Frame<'a>> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header)?;
    body.resize(header.body_bytes, 0);
    stream.read_exact(body)?;
    Ok(frame::decode(header.kind, body)?)
}
