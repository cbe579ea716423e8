//! What a power loss, a bad disk or an operator does to the files.

use super::*;
use crate::spool::format::{FRONT_BYTES, Salt, put_record};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// Where the records of items of so many bytes begin.
fn record_at(index: u64, item_bytes: usize) -> u64 {
    HEADER_BYTES + index * (FRONT_BYTES + item_bytes) as u64
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn cut(file: &Path, bytes: u64) {
    OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

/// A spool with items up to `last` in it, which nobody uses.
fn left_behind(last: u64, bytes: usize) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(last, bytes);
    let files = spool.files();
    (dir, files)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_its_number_given_anew() {
    let (dir, files) = left_behind(3, 40);
    let file = &files[0];
    let whole = fs::read(file).unwrap();
    for end in record_at(2, 40)..record_at(3, 40) {
        fs::write(file, &whole[..end as usize]).unwrap();
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!(spool.recovered.last, 2, "cut at {end}");
        let torn = spool
            .recovered
            .torn
            .as_ref()
            .map(|torn| (torn.offset, torn.bytes));
        let expected = end - record_at(2, 40);
        assert_eq!(torn, (expected > 0).then_some((record_at(2, 40), expected)));
        spool.append_to(4, 40);
        assert_eq!(spool.read_all(), (numbers(1..=4), vec![]), "cut at {end}");
        let path = spool.files()[1].clone();
        drop(spool);
        // What was cut stays cut when there is a newer segment.
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!(spool.recovered.torn, None);
        assert_eq!(spool.read_all(), (numbers(1..=4), vec![]));
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_newest_header_cut_at_any_byte_loses_no_older_item() {
    let (dir, files) = left_behind(3, 900);
    assert_eq!(files.len(), 2);
    let whole = fs::read(&files[1]).unwrap();
    for end in (0..60).chain(4090..4160).chain(8180..HEADER_BYTES as usize) {
        fs::write(&files[1], &whole[..end]).unwrap();
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!(
            (spool.recovered.last, spool.recovered.stream.id),
            (2, STREAM),
            "cut at {end}"
        );
        assert_eq!(
            spool.recovered.headless.len(),
            usize::from(end < 64),
            "cut at {end}"
        );
        assert_eq!(spool.read_all(), (vec![1, 2], vec![]));
        spool.append_to(3, 900);
        assert_eq!(spool.read_all(), (vec![3], vec![]), "cut at {end}");
    }
}

#[test]
fn a_bad_byte_costs_the_item_that_has_it_and_no_other() {
    let (dir, files) = left_behind(4, 40);
    for at in record_at(1, 40)..record_at(2, 40) {
        flip(&files[0], at);
        let mut spool = Spool::open(&dir, &SMALL);
        assert_eq!((spool.recovered.last, &spool.recovered.torn), (4, &None));
        assert_eq!(spool.read_all(), (vec![1, 3, 4], vec![2]), "byte {at}");
        drop(spool);
        flip(&files[0], at);
    }
}

#[test]
fn a_lost_item_is_told_with_its_place_and_keeps_its_number() {
    let (dir, files) = left_behind(4, 40);
    flip(&files[0], record_at(1, 40) + 20);
    let mut spool = Spool::open(&dir, &SMALL);
    let mut runs = Vec::new();
    while let Some(run) = spool.reader.read().unwrap() {
        runs.push(run);
    }
    let lost = Lost {
        first: 2,
        count: 1,
        file: files[0].clone(),
        offset: Some(record_at(1, 40)),
    };
    let items = |first, chunk| Run::Items { first, chunk };
    assert_eq!(lost.chunk(5).len(), 1);
    assert_eq!(
        runs,
        [
            items(1, chunk([1], 40)),
            Run::Lost(lost),
            items(3, chunk(3..=4, 40))
        ]
    );
}

#[test]
fn a_bad_item_at_the_end_is_lost_and_its_number_not_given_anew() {
    let (dir, files) = left_behind(3, 40);
    flip(&files[0], record_at(2, 40) + 30);
    let mut spool = Spool::open(&dir, &SMALL);
    assert_eq!((spool.recovered.last, &spool.recovered.torn), (3, &None));
    spool.append_to(4, 40);
    assert_eq!(spool.read_all(), (vec![1, 2, 4], vec![3]));
}

#[test]
fn a_segment_without_header_is_read_with_the_stream_of_the_others() {
    let (dir, files) = left_behind(6, 800);
    for at in [0, 4096] {
        flip(&files[1], at);
    }
    assert_eq!(
        Spool::open(&dir, &SMALL).read_all(),
        (numbers(1..=6), vec![])
    );
}

#[test]
fn without_any_header_a_new_stream_begins_behind_all_that_is_there() {
    let (dir, files) = left_behind(3, 40);
    cut(&files[0], 7);
    let (appender, reader, recovered) = open(&dir.path().join("spool"), &SMALL, OTHER).unwrap();
    assert_eq!(recovered.headless, files);
    assert_eq!(
        recovered.stream,
        Stream {
            id: OTHER,
            base: recovered.last
        }
    );
    let mut spool = Spool {
        appender,
        reader,
        recovered,
    };
    let next = spool.appender.next();
    spool.append_to(next, 40);
    assert_eq!(spool.read_all(), (vec![next], vec![]));
}

#[test]
fn a_segment_that_is_gone_is_lost_number_by_number() {
    let (dir, files) = left_behind(8, 800);
    assert_eq!(files.len(), 4);
    fs::remove_file(&files[1]).unwrap();
    assert_eq!(
        Spool::open(&dir, &SMALL).read_all(),
        (vec![1, 2, 5, 6, 7, 8], vec![3, 4])
    );
    // One that somebody takes away from a living process.
    let mut spool = Spool::open(&dir, &SMALL);
    fs::remove_file(&files[2]).unwrap();
    assert_eq!(spool.read_all(), (vec![1, 2, 7, 8], vec![3, 4, 5, 6]));
    assert_eq!(spool.reader.take_news(), None);
}

#[test]
fn long_losses_are_told_in_runs_whose_records_fit_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool.append_to(1, 40);
    spool.appender.append(1000, &chunk([1000], 40)).unwrap();
    spool.appender.sync().unwrap();
    let mut next = 2;
    assert!(matches!(
        spool.reader.read().unwrap(),
        Some(Run::Items { first: 1, .. })
    ));
    while let Some(Run::Lost(lost)) = spool.reader.read().unwrap() {
        assert_eq!(lost.first, next);
        let records = lost.chunk(0);
        assert_eq!(u64::from(records.len()), lost.count);
        assert!(records.bytes().len() <= crate::buffer::CHUNK_BYTES);
        next += lost.count;
    }
    assert_eq!(next, 1000);
}

#[test]
fn a_record_in_a_packet_is_not_taken_for_one_of_ours() {
    let mut forged = Vec::new();
    put_record(&mut forged, Salt::of(OTHER), 2, &item(2, 40));
    let mut hostile = item(1, 40 + forged.len());
    hostile[40..].copy_from_slice(&forged);
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    spool
        .appender
        .append(1, &Chunk::of([hostile, item(2, 50), item(3, 50)].concat()))
        .unwrap();
    spool.appender.sync().unwrap();
    let files = spool.files();
    drop(spool);
    flip(&files[0], HEADER_BYTES);
    let mut spool = Spool::open(&dir, &SMALL);
    let Some(Run::Lost(lost)) = spool.reader.read().unwrap() else {
        panic!("the first one is damaged");
    };
    assert_eq!((lost.first, lost.count), (1, 1));
    let items = Run::Items {
        first: 2,
        chunk: chunk(2..=3, 50),
    };
    assert_eq!(spool.reader.read().unwrap(), Some(items));
}

#[test]
fn what_a_newer_program_wrote_is_left_alone() {
    let (dir, files) = left_behind(3, 40);
    let mut page = fs::read(&files[0]).unwrap();
    for at in [0, 4096] {
        page[at + 8] = 2;
        let check = crc32c::crc32c(&page[at..at + 60]).to_le_bytes();
        page[at + 60..at + 64].copy_from_slice(&check);
    }
    fs::write(&files[0], &page).unwrap();
    let Err(error) = open(&dir.path().join("spool"), &SMALL, STREAM) else {
        panic!("it was taken");
    };
    let error = error.to_string();
    assert!(
        error.contains("it has version 2, version 1 is known here; start the newer"),
        "{error}"
    );
    assert_eq!(fs::read(&files[0]).unwrap(), page);
}

#[test]
fn a_file_that_cannot_be_read_is_passed_over_page_by_page() {
    let (dir, _files) = left_behind(3, 40);
    let mut spool = Spool::open(&dir, &SMALL);
    // A descriptor that answers each read with an error, as a dead disk does.
    spool.reader.enter_first();
    let unreadable = fs::File::open(dir.path()).unwrap();
    spool.reader.scanner_mut().replace_file(unreadable);
    let trouble = spool.reader.read().unwrap_err().to_string();
    assert!(
        trouble.contains("cannot read spool file") && trouble.contains("1.spool: "),
        "{trouble}"
    );
    assert_eq!(spool.reader.take_news(), Some(News::Fails(trouble)));
    spool.reader.pass_over();
    let Some(Run::Lost(lost)) = spool.reader.read().unwrap() else {
        panic!("nothing can be read");
    };
    assert_eq!((lost.first, lost.count), (1, 3));
    assert_eq!(spool.reader.take_news(), Some(News::Back));
}
