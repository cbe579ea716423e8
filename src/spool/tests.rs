//! The spool on real files. `Spool` here is both ends and their directory.

mod damage;
mod disk;
mod looking;
mod property;

use super::*;
use crate::buffer::Chunk;
use crate::wire::item::ITEM_BYTES_MIN;
use std::fs;
use tempfile::TempDir;

const STREAM: StreamId = StreamId([7; 16]);
const OTHER: StreamId = StreamId([8; 16]);

/// Small segments, of which each has some items of the tests.
const SMALL: Options = Options {
    max_bytes: 4 << 20,
    sync: Sync::Off,
    segment_bytes: 10 << 10,
};

/// An item that tells its number.
fn item(number: u64, bytes: usize) -> Vec<u8> {
    let mut item = vec![number as u8; bytes.max(ITEM_BYTES_MIN)];
    let length = u32::try_from(item.len() - 4).unwrap();
    item[..4].copy_from_slice(&length.to_le_bytes());
    item[8..16].copy_from_slice(&number.to_le_bytes());
    item
}

fn chunk(numbers: impl IntoIterator<Item = u64>, bytes: usize) -> Chunk {
    Chunk::of(
        numbers
            .into_iter()
            .flat_map(|number| item(number, bytes))
            .collect(),
    )
}

fn number(item: &[u8]) -> u64 {
    u64::from_le_bytes(item[8..16].try_into().unwrap())
}

struct Spool {
    appender: Appender,
    reader: Reader,
    recovered: Recovered,
}

impl Spool {
    fn open(dir: &TempDir, options: &Options) -> Spool {
        let (appender, reader, recovered) =
            open(&dir.path().join("spool"), options, STREAM).unwrap();
        Spool {
            appender,
            reader,
            recovered,
        }
    }

    /// Appends up to this number and brings it to the disk.
    fn append_to(&mut self, last: u64, bytes: usize) {
        for number in self.appender.next()..=last {
            self.appender
                .append(number, &chunk([number], bytes))
                .unwrap();
        }
        assert_eq!(self.appender.sync().unwrap(), last);
    }

    /// All that can be read: numbers of items, and of what is lost.
    fn read_all(&mut self) -> (Vec<u64>, Vec<u64>) {
        let (mut items, mut lost) = (Vec::new(), Vec::new());
        while let Some(run) = self.reader.read().unwrap() {
            match run {
                Run::Items { first, chunk } => {
                    let numbers: Vec<u64> = chunk.items().map(number).collect();
                    let expected: Vec<u64> = (first..first + u64::from(chunk.len())).collect();
                    assert_eq!(numbers, expected, "items under their numbers");
                    items.extend(numbers);
                }
                Run::Lost(run) => lost.extend(run.first..run.first + run.count),
            }
        }
        (items, lost)
    }

    fn files(&self) -> Vec<PathBuf> {
        let dir = self.appender_dir();
        files(&dir)
    }

    fn appender_dir(&self) -> PathBuf {
        self.reader.directory_path().to_owned()
    }
}

/// The segments' files, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension() == Some("spool".as_ref()))
        .collect();
    files.sort();
    files
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn what_is_appended_is_read_in_order_and_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &Options::default());
    let sizes = [32, 800, 70_000, 33, crate::wire::item::ITEM_BYTES_MAX, 64];
    let mut expected = Vec::new();
    for (number, bytes) in (1..).zip(sizes) {
        expected.extend(item(number, bytes));
        spool
            .appender
            .append(number, &chunk([number], bytes))
            .unwrap();
    }
    assert_eq!(spool.appender.sync().unwrap(), 6);
    let mut read = Vec::new();
    while let Some(Run::Items { chunk, .. }) = spool.reader.read().unwrap() {
        assert!(chunk.len() == 1 || chunk.bytes().len() <= crate::buffer::CHUNK_BYTES);
        read.extend_from_slice(chunk.bytes());
    }
    assert!(read == expected);
}

#[test]
fn nothing_is_read_before_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(
        &dir,
        &Options {
            sync: Sync::Group,
            ..SMALL
        },
    );
    spool.appender.append(1, &chunk(1..=3, 100)).unwrap();
    assert_eq!(spool.reader.read().unwrap(), None);
    spool.appender.sync().unwrap();
    assert_eq!(spool.read_all(), (numbers(1..=3), vec![]));
    // The reader stands at the end of what it saw; what is written behind it is seen once it is durable.
    spool.appender.append(4, &chunk(4..=5, 100)).unwrap();
    assert_eq!(spool.reader.read().unwrap(), None);
    spool.appender.sync().unwrap();
    assert_eq!(spool.read_all(), (numbers(4..=5), vec![]));
}

#[test]
fn after_a_kill_the_stream_goes_on_with_all_that_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!(
        spool.recovered.stream,
        Stream {
            id: STREAM,
            base: 0
        }
    );
    spool.append_to(20, 800);
    spool.reader.acknowledge(9).unwrap();
    drop(spool);

    let (appender, reader, recovered) = open(&dir.path().join("spool"), &SMALL, OTHER).unwrap();
    assert_eq!(
        recovered.stream,
        Stream {
            id: STREAM,
            base: 0
        },
        "not the fresh one"
    );
    assert_eq!((recovered.last, appender.next()), (20, 21));
    assert!(recovered.acknowledged <= 9, "never ahead");
    assert!(recovered.acknowledged >= 6, "less than a segment behind");
    assert_eq!(recovered.torn, None);
    let mut spool = Spool {
        appender,
        reader,
        recovered,
    };
    spool.append_to(22, 800);
    let from = spool.recovered.acknowledged + 1;
    assert_eq!(spool.read_all(), (numbers(from..=22), vec![]));
}

#[test]
fn after_an_orderly_end_nothing_is_sent_twice_and_the_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(20, 800);
    spool.reader.acknowledge(20).unwrap();
    spool.appender.close().unwrap();
    drop(spool);

    for _ in 0..2 {
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!((spool.recovered.waiting(), spool.recovered.last), (0, 20));
        assert_eq!(spool.files().len(), 1, "the header that keeps the stream");
        spool.appender.close().unwrap();
    }
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(21, 800);
    assert_eq!(spool.files().len(), 1, "it took the place of the empty one");
    assert_eq!(spool.read_all(), (vec![21], vec![]));
}

#[test]
fn a_spool_that_was_never_written_to_has_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!(spool.reader.read().unwrap(), None);
    assert_eq!((spool.recovered.last, spool.recovered.waiting()), (0, 0));
    let files = spool.files();
    spool.appender.close().unwrap();
    assert_eq!(files, Vec::<PathBuf>::new());
}

#[test]
fn segments_go_when_all_in_them_is_acknowledged_and_the_newest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(10, 800);
    // Two items of 816 bytes fit 10 KiB with the header.
    assert_eq!(spool.files().len(), 5);
    spool.reader.acknowledge(3).unwrap();
    assert_eq!(spool.files().len(), 4);
    spool.reader.acknowledge(4).unwrap();
    assert_eq!(spool.files().len(), 3);
    spool.reader.acknowledge(2).unwrap();
    assert_eq!(
        spool.read_all(),
        (numbers(5..=10), vec![]),
        "an old acknowledgement changes nothing"
    );
    spool.reader.acknowledge(10).unwrap();
    assert_eq!(spool.files().len(), 1);
    let counts = spool.reader.counts();
    assert_eq!((counts.segments, counts.waiting()), (1, 0));
    assert_eq!(counts.bytes, fs::metadata(&spool.files()[0]).unwrap().len());
}

#[test]
fn after_a_reconnect_all_that_is_not_acknowledged_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(10, 800);
    assert_eq!(spool.read_all(), (numbers(1..=10), vec![]));
    spool.reader.acknowledge(3).unwrap();
    spool.reader.start_again();
    assert_eq!(spool.read_all(), (numbers(4..=10), vec![]));
    assert_eq!(spool.read_all(), (vec![], vec![]));
}

#[test]
fn a_new_stream_takes_along_what_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(10, 800);
    spool.reader.acknowledge(4).unwrap();
    let stream = spool.appender.begin_stream(OTHER).unwrap();
    assert_eq!(stream, Stream { id: OTHER, base: 4 });
    assert_eq!((stream.sequence(5), stream.number(1)), (1, 5));
    spool.append_to(12, 800);
    spool.reader.start_again();
    assert_eq!(spool.read_all(), (numbers(5..=12), vec![]));
    drop(spool);
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!(spool.recovered.stream, stream);
    assert_eq!(spool.read_all(), (numbers(5..=12), vec![]));
}

/// A process that was not heard by servsock leaves to the next one what it inherited itself: what it appended was never
/// sent, and may have the numbers of what the disk has lost.
#[test]
fn what_was_found_at_the_start_is_handed_on_until_servsock_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!(spool.recovered.inherited, 0);
    spool.append_to(5, 100);
    drop(spool);
    for last in [8, 11] {
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!(spool.recovered.inherited, 5);
        spool.append_to(last, 100);
        spool.appender.close().unwrap();
    }
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!((spool.recovered.inherited, spool.recovered.last), (5, 11));
    spool.appender.confirm().unwrap();
    spool.append_to(12, 100);
    drop(spool);
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!(spool.recovered.inherited, 12);
    // Nothing was appended since: that servsock was asked is on the disk already.
    let files = spool.files();
    spool.appender.confirm().unwrap();
    assert_eq!(spool.files(), files);
}

#[test]
fn items_that_went_past_the_disk_have_numbers_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(3, 100);
    spool.appender.append(7, &chunk(7..=8, 100)).unwrap();
    spool.appender.sync().unwrap();
    assert_eq!(spool.read_all(), (vec![1, 2, 3, 7, 8], vec![4, 5, 6]));
    // They were acknowledged, and are behind all that the next process will find.
    spool.reader.acknowledge(12).unwrap();
    assert_eq!(spool.appender.next(), 9);
    spool.appender.close().unwrap();
    drop(spool);
    assert_eq!(Spool::open(&dir, &SMALL).appender.next(), 13);
}

#[test]
#[should_panic(expected = "number 3 was given before")]
fn a_number_is_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(3, 100);
    let _ = spool.appender.append(3, &chunk([3], 100));
}

#[test]
fn a_second_process_is_refused_and_told_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir, &SMALL);
    let path = dir.path().join("spool");
    let Err(error) = open(&path, &SMALL, STREAM) else {
        panic!("two at once");
    };
    let error = error.to_string();
    let me = format!(
        "process {}, uses it; stop that one first",
        std::process::id()
    );
    assert!(error.contains(&me), "{error}");
    // Either end holds it.
    drop(spool.appender);
    assert!(open(&path, &SMALL, STREAM).is_err());
    drop(spool.reader);
    open(&path, &SMALL, STREAM).unwrap();
}

#[test]
fn a_start_looks_at_one_segment_however_much_waits() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 16 << 20,
        segment_bytes: 16 << 10,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    spool.append_to(2000, 800);
    drop(spool);
    let spool = Spool::open(&dir, &options);
    assert!(spool.recovered.segments > 100);
    assert_eq!(
        (spool.recovered.last, spool.recovered.waiting()),
        (2000, 2000)
    );
    assert!(spool.recovered.examined <= HEADER_BYTES + options.segment_bytes);
}

#[test]
fn one_thread_writes_while_another_reads_and_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let Spool {
        mut appender,
        mut reader,
        ..
    } = Spool::open(&dir, &SMALL);
    let last = 20_000;
    let writer = std::thread::spawn(move || {
        while appender.next() <= last {
            let first = appender.next();
            let end = (first + 6).min(last);
            match appender.append(first, &chunk(first..=end, 200)) {
                Ok(()) => assert_eq!(appender.sync().unwrap(), end),
                // The reader is slower: its acknowledgements make room.
                Err(Trouble::Full { .. }) => std::thread::yield_now(),
                Err(trouble) => panic!("{trouble}"),
            }
        }
    });
    let mut next = 1;
    while next <= last {
        match reader.read().unwrap() {
            None => std::thread::yield_now(),
            Some(Run::Lost(lost)) => panic!("{lost:?}"),
            Some(Run::Items { first, chunk }) => {
                assert_eq!(first, next);
                chunk.items().for_each(|item| {
                    assert_eq!(number(item), next);
                    next += 1;
                });
                reader.acknowledge(next - 1).unwrap();
            }
        }
    }
    writer.join().unwrap();
}
