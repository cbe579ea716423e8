//! What goes between sockserv and servsock: items, and frames out of a real connection.

#![forbid(unsafe_code)]

use super::datagrams::check_alert;
use super::{Input, check_sentence};
use crate::buffer::{self, Outlet, Taken, Water};
use crate::central::{batch, conversation};
use crate::net::{self, Connection, Lost};
use crate::wake::Waker;
use crate::wire::frame::{self, Frame, HEADER_BYTES, Hello, PACKED_ITEMS_BYTES_MAX, Packed};
use crate::wire::item::{self, check_sent};
use crate::wire::packed::{Packer, Unpacker};
use crate::wire::sequence::Expected;
use crate::wire::{DecodeError, Item};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What loopback needs at most; more is a hang.
const PATIENCE: Duration = Duration::from_secs(10);
const PIECES_MAX: usize = 16;

/// An item, what is packed, or a stream of frames that is cut into pieces: which of these, how it is cut, then the bytes.
pub fn wire(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() {
        0 => check_item(input.0),
        1 => check_item(&with_its_length(input.0)),
        255 => check_inflated(input.0),
        cut => check_stream(input.0, usize::from(cut)),
    }
}

fn with_its_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a fuzzer's input is short");
    [&length.to_le_bytes(), body].concat()
}

fn check_item(bytes: &[u8]) {
    match item::decode(bytes) {
        Ok(item) => check_understood(&item),
        Err(error) => check_sentence(&error.0),
    }
}

fn check_understood(item: &Item<'_>) {
    let mut again = Vec::new();
    match item {
        Item::Alert(alert) => {
            item::put_alert(&mut again, alert);
            check_alert(alert);
        }
        Item::Loss(loss) => item::put_loss(&mut again, loss),
        Item::Gap(gap) => item::put_gap(&mut again, gap),
    }
    assert_eq!(item::length(&again), Ok(Some(again.len())));
    assert_eq!(item::decode(&again).as_ref(), Ok(item));
}

/// No fuzzer guesses a check. Cut in two, for the second frame goes on where the first one stood.
fn check_inflated(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for claim in [0, bytes.len(), PACKED_ITEMS_BYTES_MAX] {
        let mut unpacker = Unpacker::new().expect("memory");
        for bytes in [first, second] {
            match unpacker.inflate(bytes, claim) {
                Ok(items) => assert_eq!(items.len(), claim),
                Err(error) => {
                    check_sentence(&error.0);
                    break;
                }
            }
        }
    }
}

/// A connection gives the same frames, and ends the same, however the bytes are cut.
fn check_stream(bytes: &[u8], cut: usize) {
    let (frames, refusal) = frames_in(bytes);
    frames.iter().for_each(|frame| check_frame(frame));
    let pieces = bytes.chunks(bytes.len() / PIECES_MAX + cut);
    let (received, received_refusal) = PAIR.with(|pair| pair.send(pieces));
    assert_eq!(received, frames.iter().map(written).collect::<Vec<_>>());
    assert_eq!(received_refusal, refusal);
    if let Some(refusal) = refusal {
        check_sentence(&refusal.0);
    }
}

/// The whole frames at the front, and what is wrong behind them.
fn frames_in(mut bytes: &[u8]) -> (Vec<Frame<'_>>, Option<DecodeError>) {
    let mut frames = Vec::new();
    while let Some((front, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let decoded = frame::Header::decode(front).and_then(|header| {
            let Some((body, rest)) = rest.split_at_checked(header.body_bytes) else {
                return Ok(None);
            };
            Ok(Some((frame::decode(header.kind, body)?, rest)))
        });
        match decoded {
            Ok(None) => break,
            Ok(Some((frame, rest))) => {
                frames.push(frame);
                bytes = rest;
            }
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn written(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, frame);
    bytes
}

fn check_frame(frame: &Frame<'_>) {
    match frame {
        // The program's version is escaped when it is read, so it may be too long to be sent on, which nobody does.
        Frame::Hello(hello) => check_survives(&Frame::Hello(Hello {
            program: String::new(),
            ..hello.clone()
        })),
        frame => check_survives(frame),
    }
    match frame {
        Frame::Items {
            first,
            count,
            bytes,
        } => {
            check_items(*first, *count, bytes);
            check_packing(*first, *count, bytes);
        }
        Frame::Packed(packed) => check_packed(packed),
        _ => {}
    }
}

fn check_packed(packed: &Packed<'_>) {
    let mut unpacker = Unpacker::new().expect("memory");
    match unpacker.unpack(packed) {
        Ok(items) => {
            assert_eq!(items.len(), packed.unpacked);
            check_items(packed.first, packed.count, items);
        }
        Err(error) => check_sentence(&error.0),
    }
}

/// Items survive being packed, whatever they are; and again, when the same has gone before.
fn check_packing(first: u64, count: u32, items: &[u8]) {
    let mut packer = Packer::new().expect("memory");
    let mut unpacker = Unpacker::new().expect("memory");
    for _ in 0..2 {
        let mut bytes = Vec::new();
        let put = packer.put(&mut bytes, first, count, items);
        put.expect("memory");
        match frame::first(&bytes) {
            Ok(Some((Frame::Packed(packed), length))) => {
                assert_eq!(length, bytes.len());
                assert_eq!((packed.first, packed.count), (first, count));
                assert_eq!(unpacker.unpack(&packed).as_deref(), Ok(items));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check_survives(frame: &Frame<'_>) {
    let bytes = written(frame);
    let (front, body) = bytes.split_first_chunk().expect("a header");
    let header = frame::Header::decode(front).expect("a frame of ours");
    assert_eq!((header.kind, header.body_bytes), (frame.kind(), body.len()));
    assert_eq!(frame::decode(header.kind, body).as_ref(), Ok(frame));
}

/// What a worker does with the items of a frame: some it has already, the others go through its buffer.
fn check_items(first: u64, count: u32, bytes: &[u8]) {
    let water = Water::default();
    let (mut intake, outlet, _gauge) = buffer::new(water, Waker::new().expect("a descriptor"));
    let known = u64::from(count.min(3)) / 2;
    let mut expected = Expected::after(first - 1 + known);
    let taken = conversation::take_items(&mut expected, &mut intake, first, count, bytes);
    drop(intake);
    let chunks = emptied(outlet);
    let mut undecoded = 0;
    let items = batch::decode(&chunks, |error| {
        undecoded += 1;
        check_sentence(&error.0);
    });
    match taken {
        Ok(taken) => {
            assert_eq!(taken.repeated, known);
            assert_eq!(items.len() as u64, u64::from(count) - known);
            assert_eq!(expected.last(), first + u64::from(count) - 1);
            assert!(taken.alerts <= items.len() as u64);
        }
        Err(error) => {
            check_sentence(&error.0);
            assert!(items.is_empty(), "all of a frame, or nothing");
        }
    }
    assert!(undecoded <= items.len());
    items.iter().for_each(check_understood);
    let numbers: u64 = items.iter().map(Item::numbers).sum();
    assert_eq!(numbers, items.len() as u64, "a gap never comes in");
}

fn emptied(mut outlet: Outlet) -> Vec<buffer::Chunk> {
    let mut chunks = Vec::new();
    while let Taken::Chunk(chunk) = outlet.take() {
        assert!(chunk.items().all(|item| check_sent(item).is_ok()));
        chunks.push(chunk);
    }
    chunks
}

thread_local! {
    static PAIR: Pair = Pair::new();
}

/// Both ends of a connection, which serves for many streams.
struct Pair {
    near: TcpStream,
    far: TcpStream,
}

impl Pair {
    fn new() -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let near = TcpStream::connect(address).expect("it listens");
        let (far, _) = listener.accept().expect("it was connected to");
        Pair { near, far }
    }

    /// Sends the pieces one by one; what has come of each is read before the next one goes out. The frames as they are
    /// written again, and what is refused.
    fn send<'a>(
        &self,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Option<DecodeError>) {
        let clone = self.far.try_clone().expect("a descriptor");
        let mut connection = Connection::new(clone).expect("a connected socket");
        let mut frames = Vec::new();
        for piece in pieces {
            (&self.near).write_all(piece).expect("room for a piece");
            let mut left = piece.len();
            while left > 0 {
                let before = connection.unparsed();
                self.wait();
                connection.fill().expect("a living peer");
                left -= connection.unparsed() - before;
                if let Err(refusal) = take_frames(&mut connection, &mut frames) {
                    self.forget(left);
                    return (frames, Some(refusal));
                }
            }
        }
        (frames, None)
    }

    fn wait(&self) {
        let mut fds = [net::readable(&self.far)];
        net::poll(&mut fds, Some(PATIENCE)).expect("a socket can be waited for");
        assert!(net::is_ready(&fds[0]), "it was sent");
    }

    /// Reads what the connection did not.
    fn forget(&self, bytes: usize) {
        let mut rest = vec![0; bytes];
        let mut read = 0;
        while read < bytes {
            self.wait();
            read += (&self.far).read(&mut rest[read..]).expect("a living peer");
        }
    }
}

fn take_frames(connection: &mut Connection, frames: &mut Vec<Vec<u8>>) -> Result<(), DecodeError> {
    loop {
        match connection.next_frame() {
            Ok(Some(frame)) => frames.push(written(&frame)),
            Ok(None) => return Ok(()),
            Err(Lost::Protocol(error)) => return Err(error),
            Err(other) => panic!("the connection is lost: {other}"),
        }
    }
}
