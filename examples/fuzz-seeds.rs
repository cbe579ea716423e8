//! Seeds for the fuzzers out of `tests/fixtures`, in the short forms of `src/fuzzing`: `fuzz-seeds FOLDER` writes
//! FOLDER/ids, FOLDER/eve and FOLDER/wire.

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use flop::alert::Alert;
use flop::ids::{Decoded, LinkType, Scratch, decode};
use flop::wire::frame::{self, Frame, HEADER_BYTES, PACKED_HEADER_BYTES};
use flop::wire::item;
use flop::wire::packed::Packer;
use std::fs;
use std::path::Path;

/// A fuzzer makes no longer inputs.
const SEED_BYTES_MAX: usize = 8192;

/// Bytes of a datagram, the number of its layout, and bytes behind its packet: see `fuzzing::ids`.
const LAYOUTS: [(usize, u8, usize); 3] = [(65_864, 0, 36), (65_928, 1, 100), (1_856, 2, 40)];
/// `fuzzing::datagrams` has the same, and some more.
const EVE_LINKS: [u32; 6] = [0, 1, 12, 14, 101, 113];

fn main() {
    let folder = std::env::args().nth(1).expect("fuzz-seeds FOLDER");
    let mut seeds = Seeds {
        folder: Path::new(&folder),
        capture: String::new(),
        written: 0,
    };
    for name in fixtures::names() {
        let link = link(&name);
        seeds.capture = name.clone();
        for datagram in fixtures::datagrams(&name) {
            match short(&datagram, link) {
                Some(short) => seeds.write("ids", &short),
                None => seeds.write("eve", &datagram),
            }
            let mut scratch = Scratch::default();
            if let Ok(Decoded::Alert(alert)) = decode(&datagram, LinkType::Auto, &mut scratch) {
                seeds.write_alert(&alert);
            }
        }
    }
    println!("{} seeds are in {folder}", seeds.written);
}

/// Its number in `fuzzing::ids`, by the name of the capture.
fn link(capture: &str) -> u8 {
    match capture.rsplit('-').next() {
        Some("linkraw") => 2,
        Some("linknull") => 3,
        _ => 0,
    }
}

/// A datagram of Snort or barnyard2 without the zeros behind its packet.
fn short(datagram: &[u8], link: u8) -> Option<Vec<u8>> {
    let (_, layout, tail_bytes) = LAYOUTS
        .into_iter()
        .find(|(bytes, ..)| *bytes == datagram.len())?;
    let (head, tail) = datagram.split_at(datagram.len() - tail_bytes);
    let end = head
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    Some([&[layout, link], &head[..end], tail].concat())
}

struct Seeds<'a> {
    folder: &'a Path,
    capture: String,
    written: usize,
}

impl Seeds<'_> {
    fn write(&mut self, target: &str, bytes: &[u8]) {
        if bytes.len() > SEED_BYTES_MAX {
            return;
        }
        let folder = self.folder.join(target);
        let file = folder.join(format!("{}-{}", self.capture, self.written));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(file, bytes));
        written.expect("a folder that can be written to");
        self.written += 1;
    }

    /// The item twice as a sensor sends it with `--compress`: in frames, and what is in them.
    fn write_packed(&mut self, item: &[u8]) {
        let mut packer = Packer::new().expect("memory");
        let (mut stream, mut packed) = (vec![9], vec![255]);
        for number in 1..=2 {
            let start = stream.len();
            let put = packer.put(&mut stream, number, 1, item);
            put.expect("memory");
            packed.extend_from_slice(&stream[start + HEADER_BYTES + PACKED_HEADER_BYTES..]);
        }
        self.write("wire", &stream);
        self.write("wire", &packed);
    }

    /// An alert as an item, and in a frame; its packet in an EVE record.
    fn write_alert(&mut self, alert: &Alert<'_>) {
        let mut bytes = vec![0];
        item::put_alert(&mut bytes, alert);
        self.write("wire", &bytes);
        let mut stream = vec![9];
        frame::put(
            &mut stream,
            &Frame::Items {
                first: 1,
                count: 1,
                bytes: &bytes[1..],
            },
        );
        self.write("wire", &stream);
        self.write_packed(&bytes[1..]);
        if let Some(packet) = &alert.packet {
            let link = EVE_LINKS.iter().position(|link| *link == packet.link);
            let link = link.map_or(8, |at| at as u8);
            self.write("ids", &[&[3, link], packet.bytes].concat());
        }
    }
}
