//! A servsock that is the benchmark itself: it acknowledges what comes and counts its bytes, stores nothing.

use crate::Result;
use crate::sensor::read_frame;
use flop::wire::frame::{self, Ack, Frame, HEADER_BYTES, ITEMS_HEADER_BYTES, Welcome};
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What a sensor sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) alerts: usize,
    /// Of the frames with alerts, their headers included.
    pub(crate) bytes: usize,
}

/// Serves one sensor until `alerts` alerts have come.
pub(crate) fn serve(listener: &TcpListener, alerts: usize) -> Result<Arrived> {
    let (stream, _) = listener.accept()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    let (mut arrived, mut body) = (Arrived::default(), Vec::new());
    while arrived.alerts < alerts {
        let answer = match read_frame(&mut reader, &mut body)? {
            Frame::Hello(_) => Frame::Welcome(Welcome { stored: 0, sid: 1 }),
            Frame::Items {
                first,
                count,
                bytes,
            } => {
                let stored = first + u64::from(count) - 1;
                arrived.alerts += count as usize;
                arrived.bytes += HEADER_BYTES + ITEMS_HEADER_BYTES + bytes.len();
                Frame::Ack(Ack {
                    stored,
                    first_cid: 1,
                    last_cid: i64::try_from(stored)?,
                })
            }
            _ => continue,
        };
        send(&stream, &answer)?;
    }
    Ok(arrived)
}

fn send(mut stream: &TcpStream, frame: &Frame<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, frame);
    Ok(stream.write_all(&bytes)?)
}
