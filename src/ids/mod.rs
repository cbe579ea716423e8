//! Whose datagram it is, and what it says: bytes of an IDS program -> `Alert`, or why not.
//!
//! | length of the datagram | first byte | sender |
//! |---:|---|---|
//! | 65,864 | any | Snort 3, or Snort 2.9 without OpenAppID: by the quote in front of the message (`snort`) |
//! | 65,928 | any | Snort 2.9 with OpenAppID |
//! | 1,856 | any | barnyard2, 64-bit |
//! | up to `EVE_BYTES_MAX` | `{` | Suricata, an EVE record |
//!
//! An EVE record may have the length of another layout, and a message may begin with `{`: JSON contains no NUL, the
//! other layouts always do.
//!
//! Invariants:
//! - No datagram makes this panic, or lets a part of `Scratch` grow far beyond `EVE_BYTES_MAX`.
//! - Nothing is lost without a word: what is no alert is `Stats`, an `OtherRecord` or a `Refusal`.
//! - Snort's and barnyard2's alerts are decoded without allocation, EVE's with none but for texts that contain escapes.

#![forbid(unsafe_code)]

mod alertpkt;
mod barnyard2;
mod packet;
mod snort;
mod suricata;

#[cfg(test)]
pub(crate) mod tests;

pub use suricata::Stats;

use crate::alert::{Alert, Ids};
use std::fmt;

/// EVE records up to this length are read; longer datagrams are cut by the kernel and refused.
pub const EVE_BYTES_MAX: usize = 1 << 20;

/// Lengths that were alerts once: Snort 2.2.0 on 64 and 32 bits, barnyard2 on 32.
const OLD_BYTES: [usize; 2] = [1_864, 1_844];

/// How the link layer of Snort's and barnyard2's packets is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LinkType {
    /// Ethernet, else IP from the first byte or behind a BSD loopback header.
    #[default]
    Auto,
    /// Ethernet only.
    Ethernet,
    /// IP from the first byte.
    Raw,
    /// BSD loopback: four bytes, then IP.
    Null,
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // It is looked at once and never kept; a box would be memory for each alert.
pub enum Decoded<'a> {
    /// An alert.
    Alert(Alert<'a>),
    /// A record in which Suricata counts its alerts.
    Stats(Stats),
    /// An EVE record that is neither (flow, http ...): counted and left out.
    OtherRecord,
}

/// Why a datagram is not taken. `Display` is a part of a sentence for the operator; it shows no byte of the
/// datagram. Small and without memory of its own: whoever receives passes it on, somebody else words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This many bytes, which no IDS sends, and no `{` in front.
    UnknownLength(usize),
    /// The length of a layout of the past.
    OldLayout(usize),
    /// Longer than the buffer it was received in. Made by the receiver, who learns the true length.
    Cut {
        /// The datagram's length.
        bytes: usize,
    },
    /// The right length, but this many microseconds in the event's time.
    Microseconds(Ids, u32),
    /// The right length, but neither gid nor sid.
    NoSignature(Ids),
    /// An EVE record longer than `EVE_BYTES_MAX`.
    TooLong(usize),
    /// Not JSON, from this byte on.
    NotJson(usize),
    /// JSON that ends in its middle, after this many bytes.
    Unfinished(usize),
    /// JSON whose objects and lists are nested deeper than any EVE record.
    TooDeep,
    /// An EVE alert without this key.
    Missing(&'static str),
    /// An EVE alert whose value of this key is of the wrong type or out of range.
    Wrong(&'static str),
    /// An EVE alert whose value of this key is not base64.
    NotBase64(&'static str),
}

impl Refusal {
    /// A short name of each cause, for counters; `kind` is the index.
    pub const KINDS: [&'static str; 12] = [
        "unknown length",
        "layout of the past",
        "cut",
        "impossible microseconds",
        "no signature",
        "record too long",
        "not JSON",
        "JSON unfinished",
        "JSON too deep",
        "key missing",
        "wrong value",
        "not base64",
    ];

    /// The cause's index in `KINDS`.
    pub fn kind(self) -> usize {
        match self {
            Refusal::UnknownLength(_) => 0,
            Refusal::OldLayout(_) => 1,
            Refusal::Cut { .. } => 2,
            Refusal::Microseconds(..) => 3,
            Refusal::NoSignature(_) => 4,
            Refusal::TooLong(_) => 5,
            Refusal::NotJson(_) => 6,
            Refusal::Unfinished(_) => 7,
            Refusal::TooDeep => 8,
            Refusal::Missing(_) => 9,
            Refusal::Wrong(_) => 10,
            Refusal::NotBase64(_) => 11,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownLength(bytes) => write!(
                f,
                "{bytes} bytes long: no alert of Snort ({} or {} bytes), barnyard2 ({}) or Suricata (JSON)",
                snort::BYTES,
                snort::APPID_BYTES,
                barnyard2::BYTES
            ),
            Refusal::OldLayout(bytes) => write!(
                f,
                "{bytes} bytes long: an alert of Snort 2.2 or of a 32-bit barnyard2, which are not supported; \
                 Snort 2.9, Snort 3 and 64-bit barnyard2 are"
            ),
            Refusal::Cut { bytes } => write!(
                f,
                "{bytes} bytes long: longer than the receive buffer, so the rest of it is gone"
            ),
            Refusal::Microseconds(ids, microseconds) => write!(
                f,
                "as long as an alert of {}, but its event time has {microseconds} microseconds: \
                 another program's, or of a machine with another byte order",
                ids.name()
            ),
            Refusal::NoSignature(ids) => write!(
                f,
                "as long as an alert of {}, but without generator and signature id",
                ids.name()
            ),
            Refusal::TooLong(bytes) => write!(
                f,
                "an EVE record of {bytes} bytes, {EVE_BYTES_MAX} are the most"
            ),
            Refusal::NotJson(at) => {
                write!(f, "begins like an EVE record, but is not JSON at byte {at}")
            }
            Refusal::Unfinished(bytes) => write!(
                f,
                "begins like an EVE record, but ends in the middle of its JSON, after {bytes} bytes"
            ),
            Refusal::TooDeep => f.write_str("an EVE record that is nested too deep"),
            Refusal::Missing(key) => write!(f, "an EVE record without {key}"),
            Refusal::Wrong(key) => write!(
                f,
                "an EVE alert whose {key} is of the wrong type or out of range"
            ),
            Refusal::NotBase64(key) => write!(f, "an EVE alert whose {key} is not base64"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Memory that decoding uses again and again: what had to be mended or decoded from base64.
#[derive(Debug, Default)]
pub struct Scratch {
    packet: Vec<u8>,
    payload: Vec<u8>,
    text: String,
}

/// Decodes one datagram.
///
/// # Errors
///
/// The reason why it is not an alert of a known IDS.
pub fn decode<'a>(
    datagram: &'a [u8],
    link: LinkType,
    scratch: &'a mut Scratch,
) -> Result<Decoded<'a>, Refusal> {
    let bytes = datagram.len();
    if datagram.first() == Some(&b'{') && !(is_layout(bytes) && datagram.contains(&0)) {
        return suricata::decode(datagram, scratch);
    }
    match bytes {
        snort::BYTES | snort::APPID_BYTES => snort::decode(datagram, link).map(Decoded::Alert),
        barnyard2::BYTES => barnyard2::decode(datagram, link).map(Decoded::Alert),
        _ if OLD_BYTES.contains(&bytes) => Err(Refusal::OldLayout(bytes)),
        _ => Err(Refusal::UnknownLength(bytes)),
    }
}

fn is_layout(bytes: usize) -> bool {
    matches!(bytes, snort::BYTES | snort::APPID_BYTES | barnyard2::BYTES)
        || OLD_BYTES.contains(&bytes)
}
