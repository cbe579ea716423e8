//! What a sockserv that restarts hands to the program that follows it in the same process: its stream, its place in
//! it, and everything that is not acknowledged. Bytes in an anonymous file, whose number goes over in the environment.
//!
//! | size | field        | meaning                                                            |
//! |-----:|--------------|--------------------------------------------------------------------|
//! |    8 | magic        | `FLoPCARY`                                                         |
//! |    4 | version      | 1                                                                  |
//! |   16 | stream       | the stream's id                                                    |
//! |    8 | acknowledged | last acknowledged sequence number                                  |
//! |    4 | sockets      | number of alert sockets, then for each: u32 descriptor, u16 length, path |
//! |    4 | chunks       | number of chunks, then for each: u8 what, u64 first number, u32 length, items |
//!
//! What: 0 alerts that were never sent (they get their numbers later), 1 alerts that were sent, 2 loss records that
//! were sent or numbered.

#![forbid(unsafe_code)]

use crate::buffer::Chunk;
use crate::error::Error;
use crate::process;
use crate::wire::{DecodeError, Fields, StreamId, error, put_text};
use std::os::fd::RawFd;
use std::path::PathBuf;

const MAGIC: &[u8; 8] = b"FLoPCARY";
const VERSION: u32 = 1;

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const SENT_LOSSES: u8 = 2;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Carried {
    /// The stream goes on.
    pub stream: StreamId,
    /// Its last acknowledged number.
    pub acknowledged: u64,
    /// Descriptors of the alert sockets, which stay open, and their paths.
    pub sockets: Vec<(RawFd, PathBuf)>,
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

impl Carried {
    /// What the program before this one in the same process left; `None` at an ordinary start.
    ///
    /// # Errors
    ///
    /// It cannot be read: then the alerts in it cannot be saved, and nothing is to be started over them.
    pub fn take() -> Result<Option<Carried>, Error> {
        let failed = |answer: String| {
            Error::start(
                "cannot take over what was there before the restart",
                answer,
                "",
            )
        };
        match process::carried().map_err(|error| failed(error.to_string()))? {
            None => Ok(None),
            Some(bytes) => Carried::decode(&bytes)
                .map(Some)
                .map_err(|error| failed(error.0)),
        }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.stream.0);
        out.extend_from_slice(&self.acknowledged.to_le_bytes());
        out.extend_from_slice(&count(self.sockets.len()));
        for (descriptor, path) in &self.sockets {
            out.extend_from_slice(&descriptor.to_le_bytes());
            put_text(&mut out, path.as_os_str().as_encoded_bytes());
        }
        out.extend_from_slice(&count(self.chunks.len()));
        for chunk in &self.chunks {
            let (what, first, chunk) = match chunk {
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
            out.push(what);
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&count(chunk.bytes().len()));
            out.extend_from_slice(chunk.bytes());
        }
        out
    }

    /// Reads the bytes.
    ///
    /// # Errors
    ///
    /// They are not what another sockserv left.
    pub fn decode(bytes: &[u8]) -> Result<Carried, DecodeError> {
        let mut fields = Fields::new(bytes);
        if fields.bytes("the magic word", MAGIC.len())? != MAGIC {
            return error("nothing that a sockserv left");
        }
        let version = fields.u32("the version")?;
        if version != VERSION {
            return error(format!(
                "version {version}, version {VERSION} is known here"
            ));
        }
        let stream = StreamId(fields.array("the stream")?);
        let acknowledged = fields.u64("the acknowledged number")?;
        let mut sockets = Vec::new();
        for _ in 0..fields.u32("the number of sockets")? {
            let descriptor = fields.u32("a descriptor")?.cast_signed();
            sockets.push((descriptor, PathBuf::from(fields.text("a path", 4096)?)));
        }
        let mut chunks = Vec::new();
        for _ in 0..fields.u32("the number of chunks")? {
            let what = fields.u8("the kind of a chunk")?;
            let first = fields.u64("the number of a chunk")?;
            let length = fields.u32("the length of a chunk")? as usize;
            let chunk = Chunk::of(fields.bytes("a chunk", length)?.to_vec());
            chunks.push(match what {
                UNSENT => CarriedChunk::Unsent(chunk),
                SENT => CarriedChunk::Sent {
                    first,
                    chunk,
                    alerts: true,
                },
                SENT_LOSSES => CarriedChunk::Sent {
                    first,
                    chunk,
                    alerts: false,
                },
                other => return error(format!("a chunk of the unknown kind {other}")),
            });
        }
        fields.end("what was left")?;
        Ok(Carried {
            stream,
            acknowledged,
            sockets,
            chunks,
        })
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

    #[test]
    fn all_of_it_survives() {
        let carried = Carried {
            stream: StreamId([3; 16]),
            acknowledged: 7,
            sockets: vec![(5, "/tmp/snort".into()), (6, "other".into())],
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
        let bytes = carried.encode();
        assert_eq!(Carried::decode(&bytes).as_ref(), Ok(&carried));
        for end in 0..bytes.len() {
            assert!(Carried::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
