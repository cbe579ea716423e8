//! PACKED frames: what ITEMS would carry, compressed.
//!
//! What all PACKED frames of a connection carry is one zstd frame without an end, flushed behind each of them. So an
//! alert at rest is compressed against those that went before it, as far back as the window reaches, and each
//! connection begins anew: nothing outlives it, neither a reconnect nor a restart.
//!
//! What comes is hostile until it is proven not to be: the window and the length are bounded before memory is taken,
//! memory grows only with what comes out, and a check over all of it ends the connection where TCP did not notice.

#![forbid(unsafe_code)]

use super::frame::{self, Packed};
use super::{DecodeError, error};
use std::io;
use zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer};

/// Level 1: the higher ones save a twentieth of the bytes for twice the sender's time (ARCHITECTURE.md has the figures).
const LEVEL: i32 = 1;
/// 256 KiB, four chunks: more saves nothing on alerts, and a worker has memory for each of its sensors.
const WINDOW_LOG: u32 = 18;
/// The step in which memory for items grows.
const STEP_BYTES: usize = 128 << 10;

/// The sensor's end of one connection.
pub struct Packer(CCtx<'static>);

impl Packer {
    /// Nothing was sent yet.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new() -> io::Result<Packer> {
        let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        for parameter in [
            CParameter::CompressionLevel(LEVEL),
            CParameter::WindowLog(WINDOW_LOG),
        ] {
            context.set_parameter(parameter).map_err(unable)?;
        }
        Ok(Packer(context))
    }

    /// Appends a whole frame with these items. After an error the connection has to end.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn put(
        &mut self,
        out: &mut Vec<u8>,
        first: u64,
        count: u32,
        items: &[u8],
    ) -> io::Result<()> {
        frame::put_packed(out, first, count, items, |out| self.deflate(out, items))
    }

    fn deflate(&mut self, out: &mut Vec<u8>, items: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(items);
        loop {
            out.reserve(zstd_safe::compress_bound(items.len()));
            let end = out.len();
            let mut room = OutBuffer::around_pos(out, end);
            let left = self.0.compress_stream2(&mut room, &mut input, ZSTD_e_flush);
            if left.map_err(unable)? == 0 {
                return Ok(());
            }
        }
    }
}

fn unable(code: usize) -> io::Error {
    io::Error::other(format!(
        "cannot compress: {}",
        zstd_safe::get_error_name(code)
    ))
}

/// The worker's end of one connection.
pub struct Unpacker {
    context: DCtx<'static>,
    items: Vec<u8>,
}

impl Unpacker {
    /// Nothing came yet. `None`: there is no memory for it.
    pub fn new() -> Option<Unpacker> {
        let mut context = DCtx::try_create()?;
        let bounded = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG));
        bounded.ok().map(|_| Unpacker {
            context,
            items: Vec::new(),
        })
    }

    /// The items of the next frame. After an error the connection has to end.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn unpack(&mut self, packed: &Packed<'_>) -> Result<&[u8], DecodeError> {
        self.inflate(packed.bytes, packed.unpacked)?;
        match packed.check == frame::packed_check(packed.first, packed.count, &self.items) {
            true => Ok(&self.items),
            false => error("packed items whose check is wrong"),
        }
    }

    /// The next bytes of the connection's zstd frame, which have to be so many when they are unpacked.
    pub(crate) fn inflate(&mut self, bytes: &[u8], unpacked: usize) -> Result<&[u8], DecodeError> {
        self.items.clear();
        self.items.shrink_to(STEP_BYTES);
        let mut input = InBuffer::around(bytes);
        loop {
            let (before, end) = (input.pos(), self.items.len());
            // One byte more than it says, to see whether there is more.
            self.items.reserve(STEP_BYTES.min(unpacked + 1 - end));
            let mut room = OutBuffer::around_pos(&mut self.items, end);
            let wanted = match self.context.decompress_stream(&mut room, &mut input) {
                Ok(wanted) => wanted,
                Err(code) => {
                    let name = zstd_safe::get_error_name(code);
                    return error(format!("packed items that cannot be unpacked: {name}"));
                }
            };
            if self.items.len() > unpacked {
                return error(format!("packed items of more than their {unpacked} bytes"));
            }
            if wanted == 0 {
                return error("packed items with an end, which a connection's have not");
            }
            if input.pos() == bytes.len() && self.items.len() < self.items.capacity() {
                return self.all(unpacked);
            }
            if (input.pos(), self.items.len()) == (before, end) {
                return error("packed items that do not go on");
            }
        }
    }

    fn all(&self, unpacked: usize) -> Result<&[u8], DecodeError> {
        match self.items.len() {
            length if length == unpacked => Ok(&self.items),
            length => error(format!(
                "packed items of {length} bytes that say they are {unpacked}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{Frame, HEADER_BYTES, PACKED_HEADER_BYTES, PACKED_ITEMS_BYTES_MAX};

    /// The frames of one connection that carry these.
    fn packed(items: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut packer = Packer::new().expect("memory");
        let put = |items: &&[u8]| {
            let mut frame = Vec::new();
            packer.put(&mut frame, 1, 1, items).expect("memory");
            frame
        };
        items.iter().map(put).collect()
    }

    fn parsed(bytes: &[u8]) -> Result<Packed<'_>, DecodeError> {
        match frame::first(bytes)? {
            Some((Frame::Packed(packed), length)) if length == bytes.len() => Ok(packed),
            _ => error("no whole PACKED"),
        }
    }

    fn unpacker() -> Unpacker {
        Unpacker::new().expect("memory")
    }

    fn unpacked(unpacker: &mut Unpacker, frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
        unpacker.unpack(&parsed(frame)?).map(<[u8]>::to_vec)
    }

    /// Bytes that do not repeat.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn items_of_any_length_come_out_as_they_went_in() {
        let noise = noise(PACKED_ITEMS_BYTES_MAX);
        let all = [
            &noise[..1],
            &noise[..70_000],
            &[7; 65_536],
            &noise,
            &[7; PACKED_ITEMS_BYTES_MAX],
            b"the end",
        ];
        let mut unpacker = unpacker();
        for (items, frame) in all.iter().zip(packed(&all)) {
            assert!(unpacked(&mut unpacker, &frame).expect("a good frame") == *items);
        }
    }

    #[test]
    fn what_went_before_on_the_connection_makes_the_next_frame_short() {
        let alert = noise(1_000);
        let frames = packed(&[&alert, &alert]);
        assert!(frames[0].len() > 1_000 && frames[1].len() < 100);
        let mut unpacker = unpacker();
        assert_eq!(unpacked(&mut unpacker, &frames[0]), Ok(alert.clone()));
        assert_eq!(unpacked(&mut unpacker, &frames[1]), Ok(alert));
        // Alone it says nothing.
        assert!(unpacked(&mut super::tests::unpacker(), &frames[1]).is_err());
    }

    #[test]
    fn items_that_cannot_be_compressed_cost_a_hundredth() {
        let items = noise(65_536);
        assert!(packed(&[&items])[0].len() < 65_536 + 655);
    }

    #[test]
    fn cut_anywhere_it_is_refused() {
        let frame = &packed(&[&noise(300).repeat(3)])[0];
        for cut in HEADER_BYTES + PACKED_HEADER_BYTES..frame.len() {
            let mut frame = frame[..cut].to_vec();
            let body = u32::try_from(cut - HEADER_BYTES).expect("it is short");
            frame[..4].copy_from_slice(&body.to_le_bytes());
            assert!(unpacked(&mut unpacker(), &frame).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing() {
        let items = noise(300).repeat(3);
        let frame = &packed(&[&items])[0];
        let mut harmless = 0;
        for bit in HEADER_BYTES * 8..frame.len() * 8 {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            match unpacked(&mut unpacker(), &frame) {
                Ok(same) => {
                    assert!(same == items, "bit {bit}");
                    harmless += 1;
                }
                Err(error) => assert!(!error.0.is_empty()),
            }
        }
        assert!(harmless < 20, "{harmless} flipped bits were not noticed");
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken_for_it() {
        let bomb = zstd_bytes(&[0; 64 << 20], WINDOW_LOG);
        assert!(bomb.len() < 16 << 10);
        let mut unpacker = unpacker();
        let refused = unpacker.inflate(&bomb, 1_000).map(<[u8]>::len);
        let more = "packed items of more than their 1000 bytes";
        assert_eq!(refused, Err(DecodeError(more.to_owned())));
        assert!(unpacker.items.capacity() <= 2 * STEP_BYTES);
    }

    #[test]
    fn a_length_that_is_only_claimed_takes_no_memory() {
        let mut unpacker = unpacker();
        let refused = unpacker.inflate(&zstd_bytes(&[0; 10], 10), PACKED_ITEMS_BYTES_MAX);
        assert!(refused.is_err());
        assert!(unpacker.items.capacity() <= 2 * STEP_BYTES);
    }

    #[test]
    fn a_window_beyond_ours_is_refused() {
        let items = noise(1 << 20);
        assert!(unpacker().inflate(&zstd_bytes(&items, 18), 1 << 20).is_ok());
        let refused = unpacker()
            .inflate(&zstd_bytes(&items, 19), 1 << 20)
            .map(drop);
        assert!(refused.is_err_and(|error| error.0.contains("too much memory")));
    }

    #[test]
    fn an_end_within_the_connection_is_refused() {
        let mut ended = vec![0; 1_000];
        let length = zstd_safe::compress(&mut ended[..], b"alerts", LEVEL).expect("room");
        assert!(unpacker().inflate(&ended[..length], 6).is_err());
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 1];
        assert!(unpacker().inflate(&skippable, 0).is_err());
    }

    #[test]
    fn more_items_than_a_frame_may_have_are_refused_by_their_number() {
        let mut frame = packed(&[b"alerts"]).remove(0);
        let claim = u32::try_from(PACKED_ITEMS_BYTES_MAX + 1).expect("it is small");
        frame[HEADER_BYTES + 12..][..4].copy_from_slice(&claim.to_le_bytes());
        let refused = parsed(&frame).map(drop).unwrap_err();
        assert!(refused.0.contains("at most"), "{refused}");
    }

    /// What somebody else's zstd with this window flushes.
    fn zstd_bytes(items: &[u8], window_log: u32) -> Vec<u8> {
        let mut packer = Packer::new().expect("memory");
        let window = CParameter::WindowLog(window_log);
        packer.0.set_parameter(window).expect("a window");
        let mut bytes = Vec::new();
        packer.deflate(&mut bytes, items).expect("memory");
        bytes
    }
}
