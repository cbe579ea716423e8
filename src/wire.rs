//! The bytes between sockserv and servsock, and in their buffers: one format for both.
//!
//! A connection carries *frames* (`frame`); a stream consists of *items* (`item`), each an alert or a loss, which are
//! numbered 1, 2, 3 ... by their order alone; `sequence` holds the rules of these numbers. Everything is
//! little-endian, each length comes first and is checked before memory is taken. No function here touches a socket.
//!
//! # A connection
//!
//! ```text
//! sensor                                     worker
//! HELLO  name, stream, forgotten  ------>
//!                                 <------    WELCOME  last durable sequence number   (or REFUSE, and the end)
//! ITEMS  first number, items      ------>             or PACKED, where both say so: the same, compressed
//!                                 <------    ACK      last durable sequence number
//! HEARTBEAT                       ------>             both, every `HEARTBEAT_SECS`, from HELLO on
//!                                 <------    STATE
//! BYE    reason                   <----->             before an orderly end, by either side
//! ```

#![forbid(unsafe_code)]

pub mod frame;
pub mod item;
pub mod packed;
pub mod sequence;

pub use item::{Gap, Item, Loss};

use std::fmt;

/// A stream's name: random, so that two sensors never share one by accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// Reads what `Display` wrote: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<StreamId> {
        let mut id = [0; 16];
        if text.len() != 2 * id.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(StreamId(id))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

/// Why bytes are not what they should be. A part of a sentence; never shows bytes that came from outside unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

pub(crate) fn error<T>(text: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError(text.into()))
}

/// Reads little-endian fields from the front of a slice; each read is bounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, what: &str, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => error(format!(
                "{what} needs {count} bytes, {} are left",
                self.rest.len()
            )),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes(what, N)?;
        Ok(bytes.try_into().expect("bytes() returned N of them"))
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, what: &str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// A text with a u16 length in front, at most `most` bytes of UTF-8.
    pub(crate) fn text(&mut self, what: &str, most: usize) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.u16(what)?);
        if length > most {
            return error(format!("{what} of {length} bytes, at most {most} allowed"));
        }
        let bytes = self.bytes(what, length)?;
        std::str::from_utf8(bytes).or_else(|_| error(format!("{what} is not UTF-8")))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(&self, what: &str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            more => error(format!("{what} is {more} bytes too long")),
        }
    }
}

/// Appends a text with its u16 length; the caller has bounded it.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).expect("texts are bounded far below 65,536 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
}
