//! Benchmarks of single parts: `cargo bench --features null-store`. `make bench` measures the programs that they are
//! parts of.

#![forbid(unsafe_code)]

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;
#[path = "../speed/load/mod.rs"]
#[allow(dead_code, reason = "the other benchmark needs more mixes")]
mod load;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use flop::alert::Alert;
use flop::buffer::{self, Taken, Water};
use flop::ids::{Decoded, LinkType, Scratch};
use flop::wake::Waker;
use flop::wire::frame::{self, Frame};
use flop::wire::item;
use flop::wire::packed::{Packer, Unpacker};
use load::{Encoded, Load, Mix};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Alerts of a run: enough for payloads of all sizes.
const ALERTS: usize = 1_000;
const SEED: u64 = 1;

/// What real IDS programs sent.
const CAPTURES: [&str; 4] = [
    "snort29-unixsock-own",
    "snort3-unixsock-own",
    "barnyard2-unixsock-own-from-snort29",
    "suricata7-eve-dgram-own",
];

fn main() {
    divan::main();
}

/// The datagrams of a real IDS -> `Alert`.
#[divan::bench(args = CAPTURES)]
fn decode(bencher: Bencher<'_, '_>, capture: &str) {
    let datagrams = fixtures::datagrams(capture);
    let mut scratch = Scratch::default();
    bencher
        .counter(ItemsCount::new(datagrams.len()))
        .bench_local(|| {
            for datagram in &datagrams {
                black_box(decode_one(datagram, &mut scratch));
            }
        });
}

/// `Alert` -> its bytes in buffer and frame.
#[divan::bench(args = [Mix::Usual, Mix::Ip6, Mix::Eve])]
fn encode(bencher: Bencher<'_, '_>, mix: Mix) {
    let (mut datagram, mut scratch) = (Vec::new(), Scratch::default());
    Load::new(mix, SEED).next(&mut datagram);
    let alert = decode_one(&datagram, &mut scratch).expect("an alert");
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        item::put_alert(&mut out, black_box(&alert));
    });
}

/// Through the buffer: push, take, acknowledge, recycle.
#[divan::bench]
fn through_the_buffer(bencher: Bencher<'_, '_>) {
    let encoded = encoded();
    let items = items(&encoded);
    let (mut intake, mut outlet, _gauge) =
        buffer::new(Water::default(), Waker::new().expect("an eventfd"));
    bencher
        .counter(ItemsCount::new(items.len()))
        .bench_local(|| {
            for item in &items {
                assert!(intake.push(item).is_none(), "HighWater is not reached");
            }
            while let Taken::Chunk(chunk) = outlet.take() {
                outlet.acknowledge(u64::from(chunk.len()));
                outlet.recycle(chunk);
            }
        });
}

/// The bytes of items -> `Alert`, as a worker does.
#[divan::bench]
fn decode_items(bencher: Bencher<'_, '_>) {
    let encoded = encoded();
    let items = items(&encoded);
    bencher
        .counter(ItemsCount::new(items.len()))
        .counter(BytesCount::new(encoded.bytes.len()))
        .bench_local(|| {
            for bytes in &items {
                let _ = black_box(item::decode(bytes));
            }
        });
}

/// Chunks -> PACKED frames, as the sender does with `--compress`.
#[divan::bench(args = [Mix::Usual, Mix::Http, Mix::Eve])]
fn pack(bencher: Bencher<'_, '_>, mix: Mix) {
    let chunks = chunks(mix);
    let (mut packer, mut out) = (packer(), Vec::new());
    bencher.counter(ItemsCount::new(ALERTS)).bench_local(|| {
        out.clear();
        pack_all(&mut packer, &chunks, &mut out);
    });
}

/// The same back, as a worker does.
#[divan::bench(args = [Mix::Usual, Mix::Http, Mix::Eve])]
fn unpack(bencher: Bencher<'_, '_>, mix: Mix) {
    let mut frames = Vec::new();
    pack_all(&mut packer(), &chunks(mix), &mut frames);
    bencher
        .counter(ItemsCount::new(ALERTS))
        // A connection each: its bytes cannot come twice.
        .with_inputs(|| Unpacker::new().expect("memory"))
        .bench_local_values(|mut unpacker| {
            let mut rest = frames.as_slice();
            while let Ok(Some((Frame::Packed(packed), length))) = frame::first(rest) {
                black_box(unpacker.unpack(&packed)).expect("items of ours");
                rest = &rest[length..];
            }
            assert!(rest.is_empty());
        });
}

/// A batch of alerts -> rows -> the bytes of COPY.
#[cfg(feature = "null-store")]
#[divan::bench]
fn render(bencher: Bencher<'_, '_>) {
    use flop::store::{Batch, OpenStream, Settings, render};
    use flop::wire::StreamId;
    let encoded = encoded();
    let items = items(&encoded).into_iter().map(item::decode);
    let items: Vec<_> = items
        .collect::<std::result::Result<_, _>>()
        .expect("items of ours");
    let batch = Batch {
        after_seq: 0,
        items: &items,
    };
    let stream = OpenStream {
        sid: 1,
        id: StreamId([1; 16]),
        epoch: 1,
        last_seq: 0,
    };
    let (settings, mut out) = (Settings::default(), Vec::new());
    bencher.counter(ItemsCount::new(ALERTS)).bench_local(|| {
        black_box(render(&settings, &stream, &batch, &mut out)).expect("rows of ours")
    });
}

fn packer() -> Packer {
    Packer::new().expect("memory")
}

/// A mix as it lies in the sender's buffer.
fn chunks(mix: Mix) -> Vec<Vec<u8>> {
    let encoded = load::encoded(mix, SEED, ALERTS).expect("alerts of the load generator");
    let mut chunks = vec![Vec::new()];
    for item in items(&encoded) {
        let last = chunks.last_mut().expect("there is one");
        match last.len() + item.len() <= buffer::CHUNK_BYTES {
            true => last.extend_from_slice(item),
            false => chunks.push(item.to_vec()),
        }
    }
    chunks
}

fn pack_all(packer: &mut Packer, chunks: &[Vec<u8>], out: &mut Vec<u8>) {
    for chunk in chunks {
        let packed = packer.put(out, 1, 1, chunk);
        packed.expect("memory");
    }
}

fn encoded() -> Encoded {
    load::encoded(Mix::Usual, SEED, ALERTS).expect("alerts of the load generator")
}

fn items(encoded: &Encoded) -> Vec<&[u8]> {
    let mut rest = encoded.bytes.as_slice();
    let item = |length: &usize| {
        let (item, behind) = rest.split_at(*length);
        rest = behind;
        item
    };
    encoded.lengths.iter().map(item).collect()
}

fn decode_one<'a>(datagram: &'a [u8], scratch: &'a mut Scratch) -> Option<Alert<'a>> {
    match flop::ids::decode(datagram, LinkType::Auto, scratch) {
        Ok(Decoded::Alert(alert)) => Some(alert),
        _ => None,
    }
}
