//! Headers and record fronts <-> bytes; see `spool` for the layout. Without I/O.

#![forbid(unsafe_code)]

use super::Stream;
use crate::wire::frame::SEQUENCE_MAX;
use crate::wire::item::{ITEM_BYTES_MAX, ITEM_BYTES_MIN};
use crate::wire::{Fields, StreamId};
use crc32c::{crc32c, crc32c_append};

/// Two pages, one for each copy: records begin on a third.
pub(super) const HEADER_BYTES: u64 = 2 * PAGE_BYTES;
/// What a disk, or the kernel for it, loses at once.
pub(super) const PAGE_BYTES: u64 = 4096;
/// What a record has before its item.
pub(super) const FRONT_BYTES: usize = 16;
/// The front and the item's length, which is read with it.
pub(super) const FRONT_AND_LENGTH_BYTES: usize = FRONT_BYTES + 4;
/// No record is shorter.
pub(super) const RECORD_BYTES_MIN: usize = FRONT_BYTES + ITEM_BYTES_MIN;

pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"FLoPSPOL";
pub(super) const COPY_BYTES: usize = 64;
/// Where the two copies begin.
pub(super) const COPIES: [usize; 2] = [0, PAGE_BYTES as usize];

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: Stream,
    pub(super) first: u64,
    pub(super) acknowledged: u64,
    pub(super) inherited: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not what was written.
    Damaged,
    /// Sound, but of a version that is not known here.
    Version(u32),
}

impl Header {
    /// The pages.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&self.stream.id.0);
        for number in [
            self.stream.base,
            self.first,
            self.acknowledged,
            self.inherited,
        ] {
            copy.extend_from_slice(&number.to_le_bytes());
        }
        copy.extend_from_slice(&crc32c(&copy).to_le_bytes());
        let mut pages = vec![0; HEADER_BYTES as usize];
        for at in COPIES {
            pages[at..at + COPY_BYTES].copy_from_slice(&copy);
        }
        pages
    }

    /// Reads the header of the segment that begins with `first` according to its name: the copy that is sound.
    pub(super) fn decode(pages: &[u8], first: u64) -> Result<Header, Unfit> {
        let mut unfit = Unfit::Damaged;
        for at in COPIES {
            match pages.get(at..at + COPY_BYTES).map(Header::decode_copy) {
                Some(Ok(header)) if header.is_of(first) => return Ok(header),
                Some(Err(Unfit::Version(version))) => unfit = Unfit::Version(version),
                _ => {}
            }
        }
        Err(unfit)
    }

    fn decode_copy(copy: &[u8]) -> Result<Header, Unfit> {
        let mut fields = Fields::new(copy);
        let mut read = || {
            let magic = fields.bytes("magic", MAGIC.len())?;
            let version = fields.u32("version")?;
            let header = Header {
                stream: Stream {
                    id: StreamId(fields.array("stream")?),
                    base: fields.u64("base")?,
                },
                first: fields.u64("first")?,
                acknowledged: fields.u64("acknowledged")?,
                inherited: fields.u64("inherited")?,
            };
            let sound = fields.u32("check")? == crc32c(&copy[..COPY_BYTES - 4]);
            Ok::<_, crate::wire::DecodeError>((sound && magic == MAGIC, version, header))
        };
        match read() {
            Ok((true, VERSION, header)) => Ok(header),
            Ok((true, version, _)) => Err(Unfit::Version(version)),
            _ => Err(Unfit::Damaged),
        }
    }

    fn is_of(&self, first: u64) -> bool {
        self.first == first
            && self.acknowledged <= SEQUENCE_MAX
            && self.stream.base <= self.acknowledged
    }
}

/// What goes before an item, and the item's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) number: u64,
    pub(super) item_check: u32,
    /// The whole item, with its length.
    pub(super) item_bytes: usize,
}

/// What the check of each front begins with: a stream's records are of no use in another one's segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn of(stream: StreamId) -> Salt {
        Salt(crc32c(&stream.0))
    }
}

impl Front {
    /// Reads a front; `None` unless it is sound and its number is in `numbers`.
    pub(super) fn decode(
        bytes: &[u8; FRONT_AND_LENGTH_BYTES],
        salt: Salt,
        numbers: &std::ops::RangeInclusive<u64>,
    ) -> Option<Front> {
        let word = |at: usize| {
            bytes[at..at + 4]
                .first_chunk()
                .copied()
                .map(u32::from_le_bytes)
        };
        let number = bytes[8..].first_chunk().copied().map(u64::from_le_bytes)?;
        let item_bytes = (word(FRONT_BYTES)? as usize).checked_add(4)?;
        // These first: they are cheap, and in a search nearly each front fails here.
        if !numbers.contains(&number) || !(ITEM_BYTES_MIN..=ITEM_BYTES_MAX).contains(&item_bytes) {
            return None;
        }
        let front = Front {
            number,
            item_check: word(4)?,
            item_bytes,
        };
        (word(0)? == crc32c_append(salt.0, &bytes[4..])).then_some(front)
    }

    /// Bytes of the record.
    pub(super) fn record_bytes(&self) -> u64 {
        (FRONT_BYTES + self.item_bytes) as u64
    }
}

/// Bytes that an item takes on disk.
pub(super) fn record_bytes(item: &[u8]) -> u64 {
    (FRONT_BYTES + item.len()) as u64
}

/// Appends a record.
pub(super) fn put_record(out: &mut Vec<u8>, salt: Salt, number: u64, item: &[u8]) {
    debug_assert!((ITEM_BYTES_MIN..=ITEM_BYTES_MAX).contains(&item.len()));
    let mut front = [0; FRONT_AND_LENGTH_BYTES];
    front[4..8].copy_from_slice(&crc32c(item).to_le_bytes());
    front[8..16].copy_from_slice(&number.to_le_bytes());
    front[16..].copy_from_slice(&item[..4]);
    let check = crc32c_append(salt.0, &front[4..]);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(&front[4..FRONT_BYTES]);
    out.extend_from_slice(item);
}

/// Whether the item is the one that was written.
pub(super) fn is_sound(front: &Front, item: &[u8]) -> bool {
    crc32c(item) == front.item_check
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: StreamId = StreamId([7; 16]);

    fn header() -> Header {
        Header {
            stream: Stream { id: ID, base: 3 },
            first: 9,
            acknowledged: 5,
            inherited: 4,
        }
    }

    #[test]
    fn a_header_has_these_bytes() {
        let page = header().encode();
        assert_eq!(page.len(), 8192);
        let mut expected = b"FLoPSPOL\x01\0\0\0".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[..60], expected);
        assert_eq!(page[60..64], crc32c(&expected).to_le_bytes());
        assert_eq!(page[4096..4160], page[..64]);
        assert!(
            page[64..4096]
                .iter()
                .chain(&page[4160..])
                .all(|byte| *byte == 0)
        );
    }

    #[test]
    fn one_sound_copy_is_enough() {
        for lost in [0..4096, 4096..8192, 60..64, 4096..4097] {
            let mut page = header().encode();
            page[lost].fill(0xff);
            assert_eq!(Header::decode(&page, 9), Ok(header()));
        }
        let mut page = header().encode();
        page[0] = 0;
        page[4096] = 0;
        assert_eq!(Header::decode(&page, 9), Err(Unfit::Damaged));
        assert_eq!(Header::decode(&header().encode(), 8), Err(Unfit::Damaged));
        assert_eq!(Header::decode(&[], 9), Err(Unfit::Damaged));
    }

    #[test]
    fn a_newer_version_is_not_taken_for_damage() {
        let mut page = header().encode();
        for at in COPIES {
            page[at + 8] = 2;
            let check = crc32c(&page[at..at + 60]).to_le_bytes();
            page[at + 60..at + 64].copy_from_slice(&check);
        }
        assert_eq!(Header::decode(&page, 9), Err(Unfit::Version(2)));
        page[8] = 1;
        page[4104] = 1;
        assert_eq!(Header::decode(&page, 9), Err(Unfit::Damaged));
    }

    #[test]
    fn a_record_has_these_bytes() {
        let item = [&[28, 0, 0, 0][..], &[9; 28]].concat();
        let mut record = Vec::new();
        put_record(&mut record, Salt::of(ID), 0x0102, &item);
        let mut fields = crc32c(&item).to_le_bytes().to_vec();
        fields.extend_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0]);
        let check = crc32c(&[&[7; 16][..], &fields].concat());
        assert_eq!(record[..4], check.to_le_bytes());
        assert_eq!(record[4..20], fields);
        assert_eq!(record[16..], item);
        let front = record.first_chunk().unwrap();
        let decode = |salt, numbers| Front::decode(front, Salt::of(salt), &numbers);
        let front = decode(ID, 258..=258).unwrap();
        assert_eq!((front.number, front.item_bytes), (258, 32));
        assert!(is_sound(&front, &item));
        assert_eq!(front.record_bytes(), record.len() as u64);
        assert_eq!(decode(ID, 1..=257), None);
        assert_eq!(decode(ID, 259..=300), None);
        assert_eq!(decode(StreamId([8; 16]), 258..=258), None);
    }

    #[test]
    fn each_bit_of_a_front_counts() {
        let item = [&[28, 0, 0, 0][..], &[9; 28]].concat();
        let mut record = Vec::new();
        put_record(&mut record, Salt::of(ID), 5, &item);
        for bit in 0..FRONT_AND_LENGTH_BYTES * 8 {
            let mut front: [u8; FRONT_AND_LENGTH_BYTES] = *record.first_chunk().unwrap();
            front[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Front::decode(&front, Salt::of(ID), &(0..=u64::MAX)), None);
        }
    }
}
