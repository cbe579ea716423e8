//! Whose datagram it is, and what it says: bytes of an IDS program -> `Alert`, or why not.
//!
//! | length of the datagram | first byte | sender |
//! |---:|---|---|
//! | 65,864 | any | Snort 3, or Snort 2.9 without OpenAppID |
//! | 65,928 | any | Snort 2.9 with OpenAppID |
//! | 1,856 | any | barnyard2, 64-bit |
//! | up to `EVE_BYTES_MAX` | `{` | Suricata, an EVE record |

use crate::alert::Alert;
use std::fmt;

/// EVE records up to this length are read; longer datagrams are cut by the kernel and refused.
pub const EVE_BYTES_MAX: usize = 1 << 20;

/// How the link layer of Snort's and barnyard2's packets is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LinkType {
    /// Ethernet, else IP from the first byte.
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
pub enum Decoded<'a> {
    /// An alert.
    Alert(Alert<'a>),
    /// An EVE record that is no alert (flow, stats, http ...): counted and left out.
    OtherRecord,
}

/// Why a datagram is not taken. `Display` is a part of a sentence for the operator; it shows no byte of the
/// datagram that could harm a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    // filled in by the decoders
    /// placeholder
    UnknownLength(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownLength(n) => write!(f, "{n} bytes are no alert"),
        }
    }
}

/// Memory that decoding uses again and again: what had to be unescaped or decoded from base64.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) packet: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// Decodes one datagram.
///
/// # Errors
///
/// The reason why it is not an alert of a known IDS.
pub fn decode<'a>(
    datagram: &'a [u8],
    _link: LinkType,
    _scratch: &'a mut Scratch,
) -> Result<Decoded<'a>, Refusal> {
    Err(Refusal::UnknownLength(datagram.len()))
}
