//! What a sockserv that restarts hands to the program that follows it in the same process: its stream, its place in
//! it, and everything that is not acknowledged. The payload of what `process` hands over, written and read chunk by
//! chunk, so that the alerts are in memory once more and not twice.
//!
//! | size | field        | meaning                                                            |
//! |-----:|--------------|--------------------------------------------------------------------|
//! |    8 | magic        | `FLoPCARY`                                                         |
//! |    4 | version      | 3                                                                  |
//! |    4 | size         | of the fields up to the chunks, at most 1 MiB                      |
//! |   16 | stream       | the stream's id                                                    |
//! |    8 | acknowledged | last acknowledged sequence number                                  |
//! |    8 | sent         | last sequence number that may have been sent                       |
//! |    1 | spooled      | 1: the stream is that of a spool, which has what is not here       |
//! |    4 | sockets      | number of alert sockets, then each as `LeftOpen`                   |
//! |    4 | chunks       | number of chunks                                                   |
//! |      | chunks       | for each: u8 what, u64 first number, u32 length, items             |
//!
//! What: 0 alerts that were never sent (they get their numbers later), 1 alerts that were sent, 2 loss records that
//! were sent or numbered.

#![forbid(unsafe_code)]

use crate::buffer::Chunk;
use crate::error::Error;
use crate::process::{Carrier, LeftOpen, Restart};
use crate::wire::{DecodeError, Fields, StreamId, error};
use std::io::{self, Write};

const MAGIC: &[u8; 8] = b"FLoPCARY";
const VERSION: u32 = 3;
/// Sockets are few, and their paths are short.
const FIELDS_BYTES_MAX: usize = 1 << 20;
/// In front of a chunk's items.
const CHUNK_HEAD_BYTES: usize = 13;

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const SENT_LOSSES: u8 = 2;

/// See the module. Dropped with alerts in it, it says how many are lost: then this program was refused something before
/// it could take them into its buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Carried {
    /// The stream goes on.
    pub stream: StreamId,
    /// Its last acknowledged number.
    pub acknowledged: u64,
    /// The last number that may have been sent.
    pub sent: u64,
    /// The stream is that of a spool, which has what is not in `chunks`.
    pub is_spooled: bool,
    /// The alert sockets, which stay open.
    pub sockets: Vec<LeftOpen>,
    /// In order; the sent ones first.
    pub chunks: Vec<CarriedChunk>,
}

/// A chunk that goes over.
#[derive(Debug, PartialEq, Eq)]
pub enum CarriedChunk {
    /// Never sent: it may still be dropped.
    Unsent(Chunk),
    /// Numbered from `first` on, for ever.
    Sent {
        /// Number of the first item.
        first: u64,
        /// The items.
        chunk: Chunk,
        /// Whether these are alerts; else loss records.
        alerts: bool,
    },
}

impl CarriedChunk {
    fn alerts(&self) -> u64 {
        match self {
            CarriedChunk::Unsent(chunk)
            | CarriedChunk::Sent {
                chunk,
                alerts: true,
                ..
            } => u64::from(chunk.len()),
            CarriedChunk::Sent { alerts: false, .. } => 0,
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (what, first, chunk) = match self {
            CarriedChunk::Unsent(chunk) => (UNSENT, 0, chunk),
            CarriedChunk::Sent {
                first,
                chunk,
                alerts: true,
            } => (SENT, *first, chunk),
            CarriedChunk::Sent {
                first,
                chunk,
                alerts: false,
            } => (SENT_LOSSES, *first, chunk),
        };
        let mut head = vec![what];
        head.extend_from_slice(&first.to_le_bytes());
        head.extend_from_slice(&count(chunk.bytes().len()));
        out.write_all(&head)?;
        out.write_all(chunk.bytes())
    }

    fn read(carrier: &mut Carrier) -> Result<CarriedChunk, DecodeError> {
        let head = carrier.take("the head of a chunk", CHUNK_HEAD_BYTES)?;
        let mut fields = Fields::new(&head);
        let what = fields.u8("the kind of a chunk")?;
        let first = fields.u64("the number of a chunk")?;
        let length = fields.u32("the length of a chunk")? as usize;
        let chunk = Chunk::of(carrier.take("a chunk", length)?);
        match what {
            UNSENT => Ok(CarriedChunk::Unsent(chunk)),
            SENT | SENT_LOSSES => Ok(CarriedChunk::Sent {
                first,
                chunk,
                alerts: what == SENT,
            }),
            other => error(format!("a chunk of the unknown kind {other}")),
        }
    }
}

impl Carried {
    /// What the program before this one in the same process left; `None` at an ordinary start.
    ///
    /// # Errors
    ///
    /// It cannot be read: then the alerts in it cannot be saved, and nothing is to be started over them.
    pub fn take(restart: &mut Restart) -> Result<Option<Carried>, Error> {
        let carried = restart.take_payload().map(|mut left| {
            Carried::read(&mut left).map_err(|error| {
                let tried = "cannot take over what was buffered before the restart";
                Error::start(tried, error, "it is lost")
            })
        });
        carried.transpose()
    }

    /// For a sockserv without spool. What a spool's stream had under way begins a stream of its own, for what is left in
    /// that spool goes on under those numbers.
    pub(super) fn unspooled(
        mut self,
        fresh: impl FnOnce() -> Result<StreamId, Error>,
    ) -> Result<Carried, Error> {
        if self.is_spooled {
            let mut next = 1;
            for chunk in &mut self.chunks {
                if let CarriedChunk::Sent { first, chunk, .. } = chunk {
                    *first = next;
                    next += u64::from(chunk.len());
                }
            }
            (self.stream, self.acknowledged, self.is_spooled) = (fresh()?, 0, false);
        }
        Ok(self)
    }

    /// The alerts, for good: from now on somebody else knows of them.
    pub fn take_chunks(&mut self) -> Vec<CarriedChunk> {
        std::mem::take(&mut self.chunks)
    }

    fn alerts(&self) -> u64 {
        self.chunks.iter().map(CarriedChunk::alerts).sum()
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut fields = Vec::new();
        fields.extend_from_slice(&self.stream.0);
        fields.extend_from_slice(&self.acknowledged.to_le_bytes());
        fields.extend_from_slice(&self.sent.to_le_bytes());
        fields.push(u8::from(self.is_spooled));
        fields.extend_from_slice(&count(self.sockets.len()));
        for socket in &self.sockets {
            socket.put(&mut fields);
        }
        fields.extend_from_slice(&count(self.chunks.len()));
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&count(fields.len()))?;
        out.write_all(&fields)?;
        self.chunks.iter().try_for_each(|chunk| chunk.write(out))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is not what another sockserv left.
    pub fn read(carrier: &mut Carrier) -> Result<Carried, DecodeError> {
        let head = carrier.take("the head", MAGIC.len() + 8)?;
        let mut head = Fields::new(&head);
        if head.bytes("the magic word", MAGIC.len())? != MAGIC {
            return error("nothing that a sockserv left");
        }
        let version = head.u32("the version")?;
        if version != VERSION {
            return error(format!(
                "version {version}, version {VERSION} is known here"
            ));
        }
        let size = head.u32("the size of the fields")? as usize;
        if size > FIELDS_BYTES_MAX {
            return error(format!(
                "fields of {size} bytes, at most {FIELDS_BYTES_MAX} allowed"
            ));
        }
        let fields = carrier.take("the fields", size)?;
        let mut fields = Fields::new(&fields);
        let stream = StreamId(fields.array("the stream")?);
        let acknowledged = fields.u64("the acknowledged number")?;
        let sent = fields.u64("the last number that was sent")?;
        let is_spooled = fields.u8("whether there is a spool")? != 0;
        let mut sockets = Vec::new();
        for _ in 0..fields.u32("the number of sockets")? {
            sockets.push(LeftOpen::read(&mut fields)?);
        }
        let count = fields.u32("the number of chunks")?;
        fields.end("the fields")?;
        let chunks = (0..count)
            .map(|_| CarriedChunk::read(carrier))
            .collect::<Result<_, _>>()?;
        match carrier.left() {
            0 => Ok(Carried {
                stream,
                acknowledged,
                sent,
                is_spooled,
                sockets,
                chunks,
            }),
            more => error(format!("what was left is {more} bytes too long")),
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let alerts = self.alerts();
        if alerts > 0 {
            crate::err!("{alerts} alerts that were buffered before the restart are lost");
        }
    }
}

fn count(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("memory is bounded far below")
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Chunk {
        let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        Chunk::of(bytes)
    }

    fn read_back(bytes: &[u8]) -> Result<Carried, DecodeError> {
        let mut carrier = Carrier::new().unwrap();
        carrier.write_all(bytes).unwrap();
        carrier.rewind().unwrap();
        Carried::read(&mut carrier)
    }

    #[test]
    fn all_of_it_survives_and_a_part_of_it_is_refused() {
        let socket = |descriptor, path: &str| LeftOpen {
            descriptor,
            file: (1, 2),
            path: path.into(),
        };
        let carried = Carried {
            stream: StreamId([3; 16]),
            acknowledged: 7,
            sent: 9,
            is_spooled: true,
            sockets: vec![socket(5, "/tmp/snort"), socket(6, "/other")],
            chunks: vec![
                CarriedChunk::Sent {
                    first: 8,
                    chunk: chunk("first"),
                    alerts: true,
                },
                CarriedChunk::Sent {
                    first: 9,
                    chunk: chunk("loss"),
                    alerts: false,
                },
                CarriedChunk::Unsent(chunk("later")),
            ],
        };
        assert_eq!(carried.alerts(), 2, "losses are no alerts");
        let mut bytes = Vec::new();
        carried.write(&mut bytes).unwrap();
        assert_eq!(read_back(&bytes).as_ref(), Ok(&carried));
        for end in 0..bytes.len() {
            assert!(read_back(&bytes[..end]).is_err(), "cut at {end}");
        }
        bytes.push(0);
        assert!(read_back(&bytes).is_err(), "a byte too long");
    }
}
