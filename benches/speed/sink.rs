//! A servsock that is the benchmark itself: it acknowledges what comes and counts its bytes, stores nothing.

use crate::Result;
use crate::sensor::read_frame;
use flop::wire::frame::{
    self, Ack, Frame, HEADER_BYTES, ITEMS_HEADER_BYTES, PACKED_HEADER_BYTES, Packed, Welcome,
};
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What a sensor sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) alerts: usize,
    /// Of the frames with alerts, their headers included.
    pub(crate) bytes: usize,
}

impl Arrived {
    fn add(&mut self, alerts: u32, body_bytes: usize) {
        self.alerts += alerts as usize;
        self.bytes += HEADER_BYTES + body_bytes;
    }
}

/// Serves one sensor until `alerts` alerts have come.
pub(crate) fn serve(listener: &TcpListener, alerts: usize) -> Result<Arrived> {
    let (stream, _) = listener.accept()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    let (mut arrived, mut body) = (Arrived::default(), Vec::new());
    while arrived.alerts < alerts {
        let answer = match read_frame(&mut reader, &mut body)? {
            Frame::Hello(hello) => Frame::Welcome(Welcome {
                stored: 0,
                sid: 1,
                packs: hello.packs,
            }),
            Frame::Items {
                first,
                count,
                bytes,
            } => {
                arrived.add(count, ITEMS_HEADER_BYTES + bytes.len());
                acknowledgement(first, count)?
            }
            Frame::Packed(Packed {
                first,
                count,
                bytes,
                ..
            }) => {
                arrived.add(count, PACKED_HEADER_BYTES + bytes.len());
                acknowledgement(first, count)?
            }
            _ => continue,
        };
        send(&stream, &answer)?;
    }
    Ok(arrived)
}

fn acknowledgement(first: u64, count: u32) -> Result<Frame<'static>> {
    let stored = first + u64::from(count) - 1;
    Ok(Frame::Ack(Ack {
        stored,
        first_cid: 1,
        last_cid: i64::try_from(stored)?,
    }))
}

fn send(mut stream: &TcpStream, frame: &Frame<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, frame);
    Ok(stream.write_all(&bytes)?)
}
