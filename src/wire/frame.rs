//! Frames: what goes over a connection, each a header and a body.
//!
//! # Header, 8 bytes
//!
//! | offset | size | field      | meaning                                                          |
//! |-------:|-----:|------------|------------------------------------------------------------------|
//! |      0 |    4 | body bytes | bytes that follow, at most the kind's limit; checked first        |
//! |      4 |    1 | version    | `VERSION`; any other is refused, with both versions in the reason |
//! |      5 |    1 | kind       | 1 HELLO, 2 WELCOME, 3 REFUSE, 4 ITEMS, 5 ACK, 6 HEARTBEAT, 7 STATE, 8 BYE, 9 PACKED |
//! |      6 |    2 | reserved   | sent as 0, ignored when read                                      |
//!
//! # Bodies
//!
//! | kind | from | size | field | meaning |
//! |---|---|---:|---|---|
//! | HELLO     | sensor | 8  | magic     | `FLoPHELO`                                                     |
//! |           |        | 16 | stream    | random id of the stream                                        |
//! |           |        | 8  | forgotten | last sequence number that the sensor no longer has             |
//! |           |        | 4  | features  | bits the sensor offers: 1 PACKED; unknown ones are ignored      |
//! |           |        | 2+ | name      | u16 length (1 to 255), the sensor's name                       |
//! |           |        | 2+ | interface | u16 length (0 to 255)                                          |
//! |           |        | 2+ | program   | u16 length (0 to 255), version of sockserv, for the log        |
//! | WELCOME   | worker | 8  | stored    | last sequence number of this stream that is durable            |
//! |           |        | 8  | sid       | i64, the sensor's number in the database                       |
//! |           |        | 4  | features  | bits both will use; without bit 1 ITEMS is all that may come   |
//! | REFUSE    | worker | 2+ | reason    | u16 length, text; the connection ends                          |
//! | ITEMS     | sensor | 8  | first     | sequence number of the first item                              |
//! |           |        | 4  | count     | number of items, at least 1                                    |
//! |           |        |    | items     | as `item` describes them, one after another                    |
//! | ACK       | worker | 8  | stored    | last sequence number that is durable                           |
//! |           |        | 8  | first cid | i64, first cid since the previous ACK; greater than last: none |
//! |           |        | 8  | last cid  | i64                                                            |
//! | HEARTBEAT | sensor | 8  | now       | i64, the sensor's clock, microseconds since 1970               |
//! |           |        | 8  | heard     | i64, when the IDS was last heard, the same clock; 0 never      |
//! |           |        | 8  | received  | alerts taken from the IDS since start                          |
//! |           |        | 8  | dropped   | alerts dropped since start                                     |
//! |           |        | 8  | buffered  | alerts in memory that are not acknowledged yet                 |
//! |           |        | 8  | spooled   | alerts on the sensor's disk that are not acknowledged yet      |
//! |           |        | 8  | oldest    | i64, when the oldest of them came, the same clock; 0: none     |
//! | STATE     | worker | 1  | database  | 0 reachable, 1 away; the worker's heartbeat                    |
//! | BYE       | both   | 2+ | reason    | u16 length, text; nothing follows                              |
//! | PACKED    | sensor | 8  | first     | as in ITEMS                                                    |
//! |           |        | 4  | count     | as in ITEMS                                                    |
//! |           |        | 4  | unpacked  | bytes of the items, at most `PACKED_ITEMS_BYTES_MAX`           |
//! |           |        | 4  | check     | CRC-32C of first, count and the items                          |
//! |           |        |    | packed    | the next bytes of the connection's zstd frame (`packed`)       |
//!
//! A body may be longer than this version knows: what follows the known fields is ignored, except in ITEMS and PACKED.

#![forbid(unsafe_code)]

use super::item::{ITEM_BYTES_MAX, REASON_BYTES_MAX};
use super::{DecodeError, Fields, StreamId, error, put_text};
use crate::alert::SensorName;
use std::io;

/// The protocol's version.
pub const VERSION: u8 = 1;
/// Bytes before each body.
pub const HEADER_BYTES: usize = 8;
/// Each side sends something at least this often after HELLO; the heartbeat fills the silence.
pub const HEARTBEAT_SECS: u64 = 5;
/// A peer that was silent for so long is given up: three heartbeats and a little.
pub const SILENCE_SECS_MAX: u64 = 20;
/// From the accepted connection to the whole HELLO.
pub const HANDSHAKE_SECS_MAX: u64 = 10;
/// A sensor's name and interface, in bytes of UTF-8.
pub const SENSOR_NAME_BYTES_MAX: usize = 255;
/// Body of an ITEMS frame: several chunks' worth, and never less than one item.
pub const ITEMS_BODY_BYTES_MAX: usize = ITEMS_HEADER_BYTES + ITEM_BYTES_MAX;
/// Sequence numbers end here, after some thousand years of flood: a database's integers have a sign.
pub const SEQUENCE_MAX: u64 = 1 << 62;
/// Bytes of an ITEMS body before its first item.
pub const ITEMS_HEADER_BYTES: usize = 12;

/// Bytes of a PACKED body before what is packed.
pub const PACKED_HEADER_BYTES: usize = 20;
/// Items of a PACKED frame, unpacked: as many bytes as in ITEMS.
pub const PACKED_ITEMS_BYTES_MAX: usize = ITEM_BYTES_MAX;

/// What does not get shorter gets a little longer: by 3 bytes for each 128 KiB, and a frame's beginning.
const PACKED_BODY_BYTES_MAX: usize = PACKED_HEADER_BYTES + ITEM_BYTES_MAX + (ITEM_BYTES_MAX >> 8);
const SMALL_BODY_BYTES_MAX: usize = 4096;
/// In HELLO's and WELCOME's features.
const FEATURE_PACKED: u32 = 1;
const MAGIC: &[u8; 8] = b"FLoPHELO";

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The sensor says who it is.
    Hello = 1,
    /// The worker says what it has.
    Welcome = 2,
    /// The worker will not serve this sensor.
    Refuse = 3,
    /// Alerts and losses.
    Items = 4,
    /// What is committed.
    Ack = 5,
    /// The sensor is alive.
    Heartbeat = 6,
    /// The worker is alive.
    State = 7,
    /// An orderly end.
    Bye = 8,
    /// Alerts and losses, compressed.
    Packed = 9,
}

/// A frame's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// Its length.
    pub body_bytes: usize,
}

/// HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which stream follows.
    pub stream: StreamId,
    /// The last sequence number that the sensor no longer has; 0 at the beginning.
    pub forgotten: u64,
    /// It offers to pack its items.
    pub packs: bool,
    /// Who it is.
    pub sensor: SensorName,
    /// The sender's version, for the log.
    pub program: String,
}

/// WELCOME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The last sequence number that is durable.
    pub stored: u64,
    /// The sensor's number in the database.
    pub sid: i64,
    /// The sensor may pack its items.
    pub packs: bool,
}

/// ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The last sequence number that is durable.
    pub stored: u64,
    /// First cid given since the previous ACK; greater than `last_cid` when no alert was among the items.
    pub first_cid: i64,
    /// Last cid given.
    pub last_cid: i64,
}

/// HEARTBEAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sensor's clock: microseconds since 1970-01-01 00:00:00 UTC.
    pub now_us: i64,
    /// When the IDS was last heard, by the same clock; 0 for never.
    pub heard_us: i64,
    /// Alerts taken from the IDS since start.
    pub received: u64,
    /// Alerts dropped since start.
    pub dropped: u64,
    /// Alerts in memory that are not acknowledged yet.
    pub buffered: u64,
    /// Alerts on the sensor's disk that are not acknowledged yet.
    pub spooled: u64,
    /// When the oldest of them was taken from the IDS, by the same clock; 0 where there is none.
    pub oldest_us: i64,
}

/// PACKED, as it came: `packed::Unpacker` has the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Sequence number of the first item.
    pub first: u64,
    /// How many there are.
    pub count: u32,
    /// Bytes of the items: at most `PACKED_ITEMS_BYTES_MAX`.
    pub unpacked: usize,
    /// What `packed_check` has to say.
    pub check: u32,
    /// The next bytes of the connection's zstd frame.
    pub bytes: &'a [u8],
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// HELLO.
    Hello(Hello),
    /// WELCOME.
    Welcome(Welcome),
    /// REFUSE, with its reason.
    Refuse(&'a str),
    /// ITEMS: first sequence number, number of items, their bytes (not looked at yet).
    Items {
        /// Sequence number of the first item.
        first: u64,
        /// How many there are.
        count: u32,
        /// The items.
        bytes: &'a [u8],
    },
    /// ACK.
    Ack(Ack),
    /// HEARTBEAT.
    Heartbeat(Heartbeat),
    /// STATE: whether the database is away.
    State {
        /// The database cannot be reached at the moment.
        database_away: bool,
    },
    /// BYE, with its reason.
    Bye(&'a str),
    /// PACKED.
    Packed(Packed<'a>),
}

impl Header {
    /// Decodes a header and bounds the body's length, before any memory is taken for it.
    ///
    /// # Errors
    ///
    /// An unknown version or kind, a body that is too long.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, DecodeError> {
        let [b0, b1, b2, b3, version, kind, _, _] = *bytes;
        if version != VERSION {
            return error(format!(
                "a frame of protocol version {version}, version {VERSION} is spoken here"
            ));
        }
        let Some(kind) = Kind::from_number(kind) else {
            return error(format!("a frame of the unknown kind {kind}"));
        };
        let body_bytes = u32::from_le_bytes([b0, b1, b2, b3]) as usize;
        let most = kind.body_bytes_max();
        if body_bytes > most {
            return error(format!(
                "a {kind:?} frame of {body_bytes} bytes, at most {most} allowed"
            ));
        }
        Ok(Header { kind, body_bytes })
    }

    /// The header's bytes.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let length = u32::try_from(self.body_bytes).expect("bodies are bounded far below 4 GiB");
        let [b0, b1, b2, b3] = length.to_le_bytes();
        [b0, b1, b2, b3, VERSION, self.kind as u8, 0, 0]
    }
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Hello,
        Kind::Welcome,
        Kind::Refuse,
        Kind::Items,
        Kind::Ack,
        Kind::Heartbeat,
        Kind::State,
        Kind::Bye,
        Kind::Packed,
    ];

    fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    fn body_bytes_max(self) -> usize {
        match self {
            Kind::Items => ITEMS_BODY_BYTES_MAX,
            Kind::Packed => PACKED_BODY_BYTES_MAX,
            _ => SMALL_BODY_BYTES_MAX,
        }
    }
}

impl Frame<'_> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Frame::Hello(_) => Kind::Hello,
            Frame::Welcome(_) => Kind::Welcome,
            Frame::Refuse(_) => Kind::Refuse,
            Frame::Items { .. } => Kind::Items,
            Frame::Ack(_) => Kind::Ack,
            Frame::Heartbeat(_) => Kind::Heartbeat,
            Frame::State { .. } => Kind::State,
            Frame::Bye(_) => Kind::Bye,
            Frame::Packed(_) => Kind::Packed,
        }
    }
}

/// Header and count of an ITEMS frame whose items (`items_bytes` of them) the caller sends behind it: chunks go out
/// as they lie in the buffer.
pub fn items_front(
    first: u64,
    count: u32,
    items_bytes: usize,
) -> [u8; HEADER_BYTES + ITEMS_HEADER_BYTES] {
    let header = Header {
        kind: Kind::Items,
        body_bytes: ITEMS_HEADER_BYTES + items_bytes,
    };
    let mut front = [0; HEADER_BYTES + ITEMS_HEADER_BYTES];
    front[..8].copy_from_slice(&header.encode());
    front[8..16].copy_from_slice(&first.to_le_bytes());
    front[16..].copy_from_slice(&count.to_le_bytes());
    front
}

/// Appends a PACKED frame of these items; `put_bytes` packs them.
pub(super) fn put_packed(
    out: &mut Vec<u8>,
    first: u64,
    count: u32,
    items: &[u8],
    put_bytes: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let start = out.len();
    put(
        out,
        &Frame::Packed(Packed {
            first,
            count,
            unpacked: items.len(),
            check: packed_check(first, count, items),
            bytes: &[],
        }),
    );
    put_bytes(out)?;
    put_header(out, start, Kind::Packed);
    Ok(())
}

/// The check of a PACKED frame.
pub(super) fn packed_check(first: u64, count: u32, items: &[u8]) -> u32 {
    let numbers = crc32c::crc32c(&first.to_le_bytes());
    let numbers = crc32c::crc32c_append(numbers, &count.to_le_bytes());
    crc32c::crc32c_append(numbers, items)
}

/// Appends a whole frame.
pub fn put(out: &mut Vec<u8>, frame: &Frame<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    put_body(out, frame);
    put_header(out, start, frame.kind());
}

/// Puts the header of the frame that begins at `start` and is the last one, now that its length is known.
fn put_header(out: &mut [u8], start: usize, kind: Kind) {
    let header = Header {
        kind,
        body_bytes: out.len() - start - HEADER_BYTES,
    };
    out[start..start + HEADER_BYTES].copy_from_slice(&header.encode());
}

fn put_body(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Hello(hello) => {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&hello.stream.0);
            out.extend_from_slice(&hello.forgotten.to_le_bytes());
            put_features(out, hello.packs);
            put_text(out, hello.sensor.name.as_bytes());
            put_text(out, hello.sensor.interface.as_bytes());
            put_text(out, hello.program.as_bytes());
        }
        Frame::Welcome(welcome) => {
            out.extend_from_slice(&welcome.stored.to_le_bytes());
            out.extend_from_slice(&welcome.sid.to_le_bytes());
            put_features(out, welcome.packs);
        }
        Frame::Refuse(reason) | Frame::Bye(reason) => put_reason(out, reason),
        Frame::Items {
            first,
            count,
            bytes,
        } => {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Frame::Ack(ack) => {
            out.extend_from_slice(&ack.stored.to_le_bytes());
            out.extend_from_slice(&ack.first_cid.to_le_bytes());
            out.extend_from_slice(&ack.last_cid.to_le_bytes());
        }
        Frame::Heartbeat(heartbeat) => {
            out.extend_from_slice(&heartbeat.now_us.to_le_bytes());
            out.extend_from_slice(&heartbeat.heard_us.to_le_bytes());
            out.extend_from_slice(&heartbeat.received.to_le_bytes());
            out.extend_from_slice(&heartbeat.dropped.to_le_bytes());
            out.extend_from_slice(&heartbeat.buffered.to_le_bytes());
            out.extend_from_slice(&heartbeat.spooled.to_le_bytes());
            out.extend_from_slice(&heartbeat.oldest_us.to_le_bytes());
        }
        Frame::State { database_away } => out.push(u8::from(*database_away)),
        Frame::Packed(packed) => {
            let unpacked = u32::try_from(packed.unpacked).expect("bounded far below 4 GiB");
            out.extend_from_slice(&packed.first.to_le_bytes());
            out.extend_from_slice(&packed.count.to_le_bytes());
            out.extend_from_slice(&unpacked.to_le_bytes());
            out.extend_from_slice(&packed.check.to_le_bytes());
            out.extend_from_slice(packed.bytes);
        }
    }
}

fn put_features(out: &mut Vec<u8>, packs: bool) {
    let features = if packs { FEATURE_PACKED } else { 0 };
    out.extend_from_slice(&features.to_le_bytes());
}

fn put_reason(out: &mut Vec<u8>, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    put_text(out, reason.as_bytes());
}

/// The first frame of `bytes` and its length; `None` while it is not whole.
///
/// # Errors
///
/// What is there is no frame.
pub fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, DecodeError> {
    let Some((header, behind)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let header = Header::decode(header)?;
    let Some(body) = behind.get(..header.body_bytes) else {
        return Ok(None);
    };
    let frame = decode(header.kind, body)?;
    Ok(Some((frame, HEADER_BYTES + header.body_bytes)))
}

/// Decodes the body of a frame.
///
/// # Errors
///
/// Says which field is wrong.
pub fn decode(kind: Kind, body: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut fields = Fields::new(body);
    Ok(match kind {
        Kind::Hello => Frame::Hello(decode_hello(fields)?),
        Kind::Welcome => Frame::Welcome(Welcome {
            stored: fields.u64("the stored number")?,
            sid: fields.i64("the sid")?,
            packs: decode_features(&mut fields)?,
        }),
        Kind::Refuse => Frame::Refuse(fields.text("the reason", REASON_BYTES_MAX)?),
        Kind::Items => decode_items(fields)?,
        Kind::Ack => Frame::Ack(Ack {
            stored: fields.u64("the stored number")?,
            first_cid: fields.i64("the first cid")?,
            last_cid: fields.i64("the last cid")?,
        }),
        Kind::Heartbeat => Frame::Heartbeat(Heartbeat {
            now_us: fields.i64("the sensor's clock")?,
            heard_us: fields.i64("the time of the last alert")?,
            received: fields.u64("the received alerts")?,
            dropped: fields.u64("the dropped alerts")?,
            buffered: fields.u64("the buffered alerts")?,
            spooled: fields.u64("the spooled alerts")?,
            oldest_us: fields.i64("the time of the oldest alert")?,
        }),
        Kind::State => Frame::State {
            database_away: fields.u8("the database's state")? != 0,
        },
        Kind::Bye => Frame::Bye(fields.text("the reason", REASON_BYTES_MAX)?),
        Kind::Packed => Frame::Packed(decode_packed(fields)?),
    })
}

/// Whether PACKED is among them.
fn decode_features(fields: &mut Fields<'_>) -> Result<bool, DecodeError> {
    Ok(fields.u32("the features")? & FEATURE_PACKED != 0)
}

fn decode_hello(mut fields: Fields<'_>) -> Result<Hello, DecodeError> {
    if fields.bytes("the magic word", MAGIC.len())? != MAGIC {
        return error("no HELLO of sockserv: its magic word is wrong");
    }
    let stream = StreamId(fields.array("the stream")?);
    let forgotten = fields.u64("the forgotten number")?;
    if forgotten > SEQUENCE_MAX {
        return error(format!(
            "{forgotten} as a sequence number, at most {SEQUENCE_MAX} allowed"
        ));
    }
    let packs = decode_features(&mut fields)?;
    let name = fields.text("the sensor name", SENSOR_NAME_BYTES_MAX)?;
    let interface = fields.text("the interface", SENSOR_NAME_BYTES_MAX)?;
    let program = fields.text("the program's version", SENSOR_NAME_BYTES_MAX)?;
    check_sensor_name("sensor name", name, 1)?;
    check_sensor_name("interface", interface, 0)?;
    Ok(Hello {
        stream,
        forgotten,
        packs,
        sensor: SensorName {
            name: name.to_owned(),
            interface: interface.to_owned(),
        },
        program: program.escape_debug().to_string(),
    })
}

/// What may be a sensor's name or interface, here and in sockserv's options: 1 (0) to 255 bytes without control
/// characters. Quotes, slashes and dots are fine, for no name ever becomes a part of SQL text or of a path.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn check_sensor_name(what: &str, name: &str, least: usize) -> Result<(), DecodeError> {
    if !(least..=SENSOR_NAME_BYTES_MAX).contains(&name.len()) {
        return error(format!(
            "a {what} of {} bytes, {least} to {SENSOR_NAME_BYTES_MAX} allowed",
            name.len()
        ));
    }
    match name.chars().find(|char| char.is_control()) {
        Some(char) => error(format!(
            "a {what} with the control character {}",
            char.escape_unicode()
        )),
        None => Ok(()),
    }
}

/// First number and count of items.
fn decode_numbers(fields: &mut Fields<'_>) -> Result<(u64, u32), DecodeError> {
    let first = fields.u64("the first number")?;
    let count = fields.u32("the number of items")?;
    if !(1..=SEQUENCE_MAX).contains(&first) || count == 0 {
        return error(format!("{count} items from number {first} on"));
    }
    Ok((first, count))
}

fn decode_packed(mut fields: Fields<'_>) -> Result<Packed<'_>, DecodeError> {
    let (first, count) = decode_numbers(&mut fields)?;
    let unpacked = fields.u32("the length of packed items")? as usize;
    if unpacked > PACKED_ITEMS_BYTES_MAX {
        return error(format!(
            "packed items of {unpacked} bytes, at most {PACKED_ITEMS_BYTES_MAX} allowed"
        ));
    }
    Ok(Packed {
        first,
        count,
        unpacked,
        check: fields.u32("the check")?,
        bytes: fields.rest(),
    })
}

fn decode_items(mut fields: Fields<'_>) -> Result<Frame<'_>, DecodeError> {
    let (first, count) = decode_numbers(&mut fields)?;
    Ok(Frame::Items {
        first,
        count,
        bytes: fields.rest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_an_ack_has_these_bytes() {
        let bytes = [24, 0, 0, 0, 1, 5, 0, 0];
        let header = Header {
            kind: Kind::Ack,
            body_bytes: 24,
        };
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn hello_has_these_bytes() {
        let mut bytes = vec![51, 0, 0, 0, 1, 1, 0, 0];
        bytes.extend_from_slice(b"FLoPHELO");
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(b"\x02\x00s1\x04\x00eth0\x03\x000.1");
        let hello = Frame::Hello(Hello {
            stream: StreamId([7; 16]),
            forgotten: 5,
            packs: false,
            sensor: SensorName {
                name: "s1".into(),
                interface: "eth0".into(),
            },
            program: "0.1".into(),
        });
        let mut put_bytes = Vec::new();
        put(&mut put_bytes, &hello);
        assert_eq!(put_bytes, bytes);
        assert_eq!(decode(Kind::Hello, &bytes[8..]), Ok(hello));
    }

    #[test]
    fn the_offer_to_pack_is_the_first_bit_of_the_features_and_the_others_are_ignored() {
        let mut bytes = Vec::new();
        let hello = |packs| {
            Frame::Hello(Hello {
                stream: StreamId([7; 16]),
                forgotten: 5,
                packs,
                sensor: SensorName {
                    name: "s1".into(),
                    interface: String::new(),
                },
                program: String::new(),
            })
        };
        put(&mut bytes, &hello(true));
        assert_eq!(bytes[40..44], [1, 0, 0, 0]);
        bytes[40..44].copy_from_slice(&[0xff; 4]);
        assert_eq!(decode(Kind::Hello, &bytes[8..]), Ok(hello(true)));
        bytes[40] = 0xfe;
        assert_eq!(decode(Kind::Hello, &bytes[8..]), Ok(hello(false)));
    }

    #[test]
    fn packed_items_have_these_bytes() {
        let mut bytes = vec![23, 0, 0, 0, 1, 9, 0, 0];
        bytes.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend_from_slice(&[0xdd, 0xcc, 0xbb, 0xaa]);
        bytes.extend_from_slice(b"abc");
        let frame = Frame::Packed(Packed {
            first: 3,
            count: 1,
            unpacked: 4,
            check: 0xaabb_ccdd,
            bytes: b"abc",
        });
        let mut put_bytes = Vec::new();
        put(&mut put_bytes, &frame);
        assert_eq!(put_bytes, bytes);
        assert_eq!(decode(Kind::Packed, &bytes[8..]), Ok(frame));
    }

    #[test]
    fn every_frame_survives_its_own_bytes() {
        let frames = [
            Frame::Welcome(Welcome {
                stored: 9,
                sid: 2,
                packs: true,
            }),
            Frame::Welcome(Welcome {
                stored: 9,
                sid: 2,
                packs: false,
            }),
            Frame::Packed(Packed {
                first: 3,
                count: 1,
                unpacked: 4,
                check: 5,
                bytes: b"abc",
            }),
            Frame::Refuse("no"),
            Frame::Items {
                first: 3,
                count: 1,
                bytes: b"abc",
            },
            Frame::Ack(Ack {
                stored: 4,
                first_cid: 5,
                last_cid: 6,
            }),
            Frame::Heartbeat(Heartbeat {
                now_us: 1,
                heard_us: 2,
                received: 3,
                dropped: 4,
                buffered: 5,
                spooled: 6,
                oldest_us: 7,
            }),
            Frame::State {
                database_away: true,
            },
            Frame::Bye("restart"),
        ];
        for frame in frames {
            let mut bytes = Vec::new();
            put(&mut bytes, &frame);
            let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
            assert_eq!(header.body_bytes, bytes.len() - HEADER_BYTES);
            assert_eq!(decode(header.kind, &bytes[HEADER_BYTES..]), Ok(frame));
        }
    }

    #[test]
    fn a_body_of_4_gib_is_refused_before_memory_is_taken() {
        for kind in Kind::ALL {
            let bytes = [255, 255, 255, 255, VERSION, kind as u8, 0, 0];
            let error = Header::decode(&bytes).unwrap_err();
            assert!(error.0.contains("4294967295 bytes, at most"), "{error}");
        }
    }

    #[test]
    fn another_version_is_refused_with_both_versions_named() {
        let error = Header::decode(&[0, 0, 0, 0, 9, 1, 0, 0]).unwrap_err();
        assert_eq!(
            error.0,
            "a frame of protocol version 9, version 1 is spoken here"
        );
    }

    #[test]
    fn sensor_names_are_1_to_255_bytes_without_control_characters() {
        for good in ["a", "../x", "it's \"q\"", &"n".repeat(255), "sensör"] {
            assert_eq!(check_sensor_name("sensor name", good, 1), Ok(()));
        }
        for bad in ["", "a\nb", "a\0b", "\u{7f}", &"n".repeat(256)] {
            assert!(check_sensor_name("sensor name", bad, 1).is_err(), "{bad:?}");
        }
    }
}
