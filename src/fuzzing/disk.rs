//! A spool whose files somebody else wrote. The layout is written here once more, by the table in `spool`, so that what
//! reads it is not compared with itself; the checksums are made to fit, else nothing behind them would ever be reached.

#![forbid(unsafe_code)]

use super::{Input, check_sentence};
use crate::buffer::Chunk;
use crate::spool::{self, Options, Reader, Run, Stream, Sync, check, export, open};
use crate::wire::StreamId;
use crate::wire::item::{self, ITEM_BYTES_MIN, Loss};
use crc32c::{crc32c, crc32c_append};
use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const STREAM: [u8; 16] = [7; 16];
const FRESH: StreamId = StreamId([9; 16]);
const PAGE_BYTES: usize = 4096;
const SEGMENTS_MAX: u8 = 4;
const RECORDS_MAX: u8 = 12;

const SMALL: Options = Options {
    max_bytes: spool::MAX_BYTES_LEAST,
    sync: Sync::Off,
    segment_bytes: 10 << 10,
};

/// A directory of segments: for each its place, what is wrong with its header, and its records; see `put_segment`.
pub fn spool(bytes: &[u8]) {
    let folder = Folder::new();
    let written = put_segments(&folder.0, &mut Input(bytes));
    check_from_outside(&folder.0);
    check_goes_on(&folder.0, &written);
}

/// Each item that a sound record has, by its number: damage may have left one of them or none, and never another.
type Written = HashMap<u64, Vec<Vec<u8>>>;

/// A folder of this process and thread, which goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let thread = std::thread::current().id();
        let name = format!("flop-fuzz-{}-{thread:?}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        folder.remove();
        let made = DirBuilder::new().mode(0o700).create(&folder.0);
        made.expect("a folder for temporary files");
        folder
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

fn put_segments(folder: &Path, input: &mut Input<'_>) -> Written {
    let mut written = Written::new();
    let mut first = 1;
    for _ in 0..=input.byte() % SEGMENTS_MAX {
        first += u64::from(input.byte()) * 4; // Some are more than one `Run::Lost`.
        let bytes = segment(first, input, &mut written);
        let name = format!("{first:020}.spool");
        fs::write(folder.join(name), bytes).expect("room for a file");
        first += 1;
    }
    written
}

/// A segment whose first number is `first`.
///
/// | size | meaning                                                                                                  |
/// |-----:|----------------------------------------------------------------------------------------------------------|
/// |    1 | bits: 1 and 2 the copies of the header that are damaged, 4 version 2, 8 stream, 16 another first number, 32 cut, 64 inherited |
/// |    2 | last acknowledged number, from `first` backwards                                                         |
/// |    2 | with bit 32: bytes that are left of the file                                                              |
/// |    1 | records; then each as in `put_record`                                                                     |
fn segment(first: u64, input: &mut Input<'_>, written: &mut Written) -> Vec<u8> {
    let shape = input.byte();
    let is = |bit: u8| shape & bit != 0;
    let stream = if is(8) { [8; 16] } else { STREAM };
    let acknowledged = (first - 1).saturating_sub(input.word());
    let left = if is(32) { input.word() } else { u64::MAX };
    let mut header = b"FLoPSPOL".to_vec();
    header.extend_from_slice(&(1 + u32::from(is(4))).to_le_bytes());
    header.extend_from_slice(&stream);
    let inherited = if is(64) { acknowledged } else { 0 };
    for number in [0, first + u64::from(is(16)), acknowledged, inherited] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&crc32c(&header).to_le_bytes());
    let mut file = vec![0; 2 * PAGE_BYTES];
    for (at, bit) in [(0, 1), (PAGE_BYTES, 2)] {
        file[at..at + header.len()].copy_from_slice(&header);
        file[at + 20] ^= u8::from(is(bit));
    }
    let mut number = first;
    for _ in 0..input.byte() % RECORDS_MAX {
        put_record(&mut file, stream, &mut number, input, written);
    }
    file.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    file
}

/// A record, or what stands in its place.
///
/// | size | meaning                                                                                    |
/// |-----:|--------------------------------------------------------------------------------------------|
/// |    1 | lower half: 0 to 9 sound, 10, 11 the item is damaged, 12, 13 its front, else any bytes; upper half: numbers that are left out |
/// |    1 | bytes of the item or of the loss's reason, in fours                                         |
/// |    n | these                                                                                       |
fn put_record(
    file: &mut Vec<u8>,
    stream: [u8; 16],
    number: &mut u64,
    input: &mut Input<'_>,
    written: &mut Written,
) {
    let shape = input.byte();
    let bytes = usize::from(input.byte()) * 4;
    let bytes = input.take(bytes);
    let item = match shape & 15 {
        14.. => return file.extend_from_slice(bytes),
        0..=4 => loss(bytes),
        _ => any_item(bytes),
    };
    *number += u64::from(shape >> 4);
    let mut front = crc32c(&item).to_le_bytes().to_vec();
    front.extend_from_slice(&number.to_le_bytes());
    front.extend_from_slice(&item[..4]);
    let check = crc32c_append(crc32c(&stream), &front);
    let start = file.len();
    file.extend_from_slice(&check.to_le_bytes());
    file.extend_from_slice(&front[..12]);
    file.extend_from_slice(&item);
    match shape & 15 {
        10 | 11 => *file.last_mut().expect("an item") ^= 1,
        12 | 13 => file[start] ^= 1,
        _ => written.entry(*number).or_default().push(item),
    }
    *number += 1;
}

fn loss(reason: &[u8]) -> Vec<u8> {
    let mut item = Vec::new();
    item::put_loss(
        &mut item,
        &Loss {
            count: 1,
            from_us: 2,
            to_us: 3,
            reason: String::from_utf8_lossy(reason),
        },
    );
    item
}

/// An item of the right length, whatever it says.
fn any_item(body: &[u8]) -> Vec<u8> {
    let mut item = vec![0; 4];
    item.extend_from_slice(body);
    item.resize(item.len().max(ITEM_BYTES_MIN), 0);
    let length = u32::try_from(item.len() - 4).expect("a fuzzer's input is short");
    item[..4].copy_from_slice(&length.to_le_bytes());
    item
}

/// `--spool-check` and `--spool-export` see the same, and change nothing.
fn check_from_outside(folder: &Path) {
    let before = contents(folder);
    let mut lines = Vec::new();
    match (check(folder), export(folder, &mut lines)) {
        (Ok(found), Ok(exported)) => {
            let text = String::from_utf8(lines).expect("JSON is UTF-8");
            assert_eq!(
                text.lines().count() as u64,
                exported.alerts + exported.others
            );
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON");
            }
            assert_eq!(exported.alerts, found.alerts);
            assert!(exported.others >= found.loss_records + found.unknown);
            assert!(!found.to_string().is_empty());
        }
        (Err(error), Err(same)) => {
            check_sentence(&error.to_string());
            assert_eq!(error.to_string(), same.to_string());
        }
        (check, export) => panic!("{check:?}, but {export:?}"),
    }
    assert!(contents(folder) == before, "looking changes nothing");
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut contents: Vec<_> = entries
        .map(|entry| entry.expect("a file").path())
        .map(|path| (path.clone(), fs::read(&path).expect("a file")))
        .collect();
    contents.sort();
    contents
}

/// sockserv starts over it: all is accounted for once, new items get new numbers, and the next start finds them.
fn check_goes_on(folder: &Path, written: &Written) {
    let (mut appender, mut reader, recovered) = match open(folder, &SMALL, FRESH) {
        Ok(opened) => opened,
        Err(error) => return check_sentence(&error.to_string()),
    };
    assert!(recovered.acknowledged <= recovered.last);
    assert!(recovered.inherited <= recovered.last);
    assert_eq!(appender.next(), recovered.last + 1);
    check_accounted(&mut reader, |number, item| {
        written
            .get(&number)
            .is_some_and(|items| items.iter().any(|it| it == item))
    });
    let new = any_item(b"new");
    let first = appender.next();
    let chunk = Chunk::of([new.as_slice(), new.as_slice()].concat());
    appender.append(first, &chunk).expect("room for two items");
    assert_eq!(appender.sync().expect("room for two items"), first + 1);
    let known = |number: u64, item: &[u8]| match number >= first {
        true => item == new,
        false => written
            .get(&number)
            .is_some_and(|items| items.iter().any(|it| it == item)),
    };
    check_accounted(&mut reader, known);
    let stream = reader.stream();
    drop((appender, reader));
    check_found_again(folder, first, stream, known);
}

fn check_found_again(
    folder: &Path,
    first: u64,
    stream: Stream,
    known: impl Fn(u64, &[u8]) -> bool,
) {
    let (appender, mut reader, recovered) = open(folder, &SMALL, FRESH).expect("as before");
    assert_eq!((recovered.last, recovered.stream), (first + 1, stream));
    let items = check_accounted(&mut reader, known);
    assert!(items >= 2, "what was durable is there");
    reader.acknowledge(first + 1).expect("files can be removed");
    drop((appender, reader));
    let segments = contents(folder).into_iter();
    let left = segments.filter(|(path, _)| path.extension() == Some("spool".as_ref()));
    assert_eq!(left.count(), 1, "the newest stays");
}

/// Reads from the last acknowledged number to the last durable one: each number once, as one of its own items or as lost.
/// How many items there were.
fn check_accounted(reader: &mut Reader, known: impl Fn(u64, &[u8]) -> bool) -> u64 {
    reader.start_again();
    let mut next = reader.counts().acknowledged + 1;
    let mut items = 0;
    while let Some(run) = reader.read().expect("the files can be read") {
        match run {
            Run::Items { first, chunk } => {
                assert_eq!(first, next);
                for item in chunk.items() {
                    assert!(known(next, item), "number {next} was never written so");
                    next += 1;
                    items += 1;
                }
            }
            Run::Lost(lost) => {
                assert_eq!(lost.first, next);
                assert!(lost.count > 0);
                next += lost.count;
            }
        }
    }
    assert_eq!(next, reader.counts().durable + 1);
    items
}
