//! How bytes stand in text columns: what `sensor.encoding` says, and what BASE decodes by.
//!
//! | number | name   | a payload becomes                                                                    |
//! |-------:|--------|--------------------------------------------------------------------------------------|
//! |      0 | hex    | upper-case hexadecimal digits                                                        |
//! |      1 | base64 | the standard alphabet with padding, without line breaks                              |
//! |      2 | ascii  | itself; `<`, `>` and `&` become `&lt;`, `&gt;` and `&amp;`, what is not printable `.` |
//!
//! This is how Snort and barnyard2 write them. ASCII loses bytes, so only the payload is written like that: the data of
//! options, and the packet's headers, are hexadecimal then.

#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How payloads are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Upper-case hexadecimal digits, two a byte.
    #[default]
    Hex,
    /// Four characters for three bytes.
    Base64,
    /// For people: what is not printable is lost.
    Ascii,
}

impl Encoding {
    /// All of them, in the order of their numbers in the table `encoding`.
    pub const ALL: [Encoding; 3] = [Encoding::Hex, Encoding::Base64, Encoding::Ascii];

    /// The name in the table `encoding`, and of the option's value.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
            Encoding::Ascii => "ascii",
        }
    }

    /// The number in `sensor.encoding`.
    pub(super) fn number(self) -> i16 {
        match self {
            Encoding::Hex => 0,
            Encoding::Base64 => 1,
            Encoding::Ascii => 2,
        }
    }

    /// The encoding with this number, if there is one.
    pub(super) fn from_number(number: i64) -> Option<Encoding> {
        Encoding::ALL
            .into_iter()
            .find(|encoding| i64::from(encoding.number()) == number)
    }

    /// How what must not lose a byte is written beside payloads of this encoding.
    pub(super) fn lossless(self) -> Encoding {
        match self {
            Encoding::Ascii => Encoding::Hex,
            other => other,
        }
    }

    /// Appends the bytes as ASCII text.
    pub(super) fn push(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Encoding::Hex => push_hex(out, bytes),
            Encoding::Base64 => push_base64(out, bytes),
            Encoding::Ascii => bytes.iter().for_each(|byte| push_printable(out, *byte)),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    // No table: what is only computed, the compiler does for many bytes at once.
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'A' - 10 };
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    let (digits, _) = out[start..].as_chunks_mut::<2>();
    for (digits, byte) in digits.iter_mut().zip(bytes) {
        *digits = [digit(byte >> 4), digit(byte & 15)];
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64
        .encode_slice(bytes, &mut out[start..])
        .expect("four characters for each three bytes begun");
}

fn push_printable(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'<' => out.extend(b"&lt;"),
        b'>' => out.extend(b"&gt;"),
        b'&' => out.extend(b"&amp;"),
        b' '..=b'~' => out.push(byte),
        _ => out.push(b'.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(encoding: Encoding, bytes: &[u8]) -> String {
        let mut out = b"|".to_vec();
        encoding.push(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_are_written_as_snort_and_barnyard2_write_them() {
        let bytes = b"\0\x1f ~\x7f\xff<a&b>\r\n";
        assert_eq!(pushed(Encoding::Hex, bytes), "|001F207E7FFF3C6126623E0D0A");
        assert_eq!(pushed(Encoding::Base64, bytes), "|AB8gfn//PGEmYj4NCg==");
        assert_eq!(pushed(Encoding::Ascii, bytes), "|.. ~..&lt;a&amp;b&gt;..");
        for encoding in Encoding::ALL {
            assert_eq!(pushed(encoding, b""), "|");
        }
        assert_eq!(pushed(Encoding::Base64, b"abc"), "|YWJj");
        assert_eq!(pushed(Encoding::Base64, b"ab"), "|YWI=");
    }

    #[test]
    fn numbers_are_those_of_the_table_encoding() {
        for (number, encoding) in (0..).zip(Encoding::ALL) {
            assert_eq!(i64::from(encoding.number()), number);
            assert_eq!(Encoding::from_number(number), Some(encoding));
        }
        assert_eq!(Encoding::from_number(3), None);
        assert_eq!(Encoding::from_number(-1), None);
    }
}
