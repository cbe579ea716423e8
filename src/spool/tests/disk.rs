//! Disks that are full or fail, and the limit of our own.

use super::*;
use std::process::Command;

#[test]
fn at_its_limit_it_says_so_once_and_goes_on_when_something_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 60 << 10,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    let full = loop {
        let next = spool.appender.next();
        match spool.appender.append(next, &chunk([next], 800)) {
            Ok(()) => assert_eq!(spool.appender.sync().unwrap(), next),
            Err(trouble) => break trouble,
        }
    };
    let last = spool.appender.next() - 1;
    assert!(
        matches!(
            full,
            Trouble::Full {
                max_bytes: 61_440,
                ..
            }
        ),
        "{full}"
    );
    assert_eq!(
        spool.appender.take_news(),
        Some(News::Fails(full.to_string()))
    );
    for _ in 0..3 {
        assert!(
            spool
                .appender
                .append(last + 1, &chunk([last + 1], 800))
                .is_err()
        );
        assert_eq!(spool.appender.sync().unwrap(), last, "what is there stands");
        assert_eq!(spool.appender.take_news(), None, "told already");
    }
    let on_disk: u64 = spool
        .files()
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(on_disk <= options.max_bytes);
    assert_eq!(on_disk, spool.appender.counts().bytes);

    // Room for an item is not enough: it would be full again at once.
    spool.reader.acknowledge(2).unwrap();
    assert!(
        spool
            .appender
            .append(last + 1, &chunk([last + 1], 800))
            .is_err()
    );
    assert_eq!(spool.appender.take_news(), None);
    spool.reader.acknowledge(6).unwrap();
    spool.append_to(last + 1, 800);
    assert_eq!(spool.appender.take_news(), Some(News::Back));
    assert_eq!(spool.read_all(), (numbers(7..=last + 1), vec![]));
}

#[test]
fn an_item_that_never_fits_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 18 << 10,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    assert!(spool.appender.append(1, &chunk([1], 20_000)).is_err());
    spool.append_to(1, 800);
    assert_eq!(spool.read_all(), (vec![1], vec![]));
}

#[test]
fn a_failed_fdatasync_takes_back_what_it_was_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        sync: Sync::Group,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    spool.append_to(2, 100);
    spool.appender.append(3, &chunk(3..=4, 100)).unwrap();
    // fdatasync(2) refuses a socket, as it refuses a file whose disk is gone.
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let real = spool
        .appender
        .replace_file(std::os::fd::OwnedFd::from(socket).into());
    let trouble = spool.appender.sync().unwrap_err();
    assert!(
        trouble.to_string().starts_with("cannot write spool file "),
        "{trouble}"
    );
    assert_eq!(
        spool.appender.take_news(),
        Some(News::Fails(trouble.to_string()))
    );
    assert_eq!(spool.appender.next(), 3);
    assert_eq!(spool.read_all(), (vec![1, 2], vec![]));
    assert!(
        real.metadata().unwrap().len() > HEADER_BYTES + 300,
        "the cut failed, too"
    );
    // The same numbers, in a segment of their own; what is left of the first try is not read.
    spool.append_to(5, 120);
    assert_eq!(spool.appender.take_news(), Some(News::Back));
    assert_eq!(spool.read_all(), (vec![3, 4, 5], vec![]));
    drop(spool);
    let mut spool = Spool::open(&dir, &options);
    let Some(Run::Items { chunk: read, .. }) = spool.reader.read().unwrap() else {
        panic!("five items");
    };
    assert_eq!(read, chunk(1..=2, 100));
    assert_eq!(spool.read_all(), (vec![3, 4, 5], vec![]));
}

/// A file system of one megabyte, while it lives; `None` where this test may not mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "flop-spool-test"])
            .arg(dir.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_once_loses_nothing_and_is_used_again() {
    let Some(disk) = SmallDisk::mount() else {
        return eprintln!("only root can mount a small disk: not tested");
    };
    let options = Options {
        max_bytes: 16 << 20,
        sync: Sync::Group,
        segment_bytes: 64 << 10,
    };
    let mut spool = Spool::open(&disk.0, &options);
    let bytes = 10_000;
    let mut durable = 0;
    let trouble = loop {
        let next = spool.appender.next();
        assert_eq!(next, durable + 1);
        let appended = spool.appender.append(next, &chunk(next..next + 3, bytes));
        match appended.and_then(|()| spool.appender.sync()) {
            Ok(number) => durable = number,
            Err(trouble) => break trouble,
        }
    };
    let text = trouble.to_string();
    assert!(
        text.contains("No space left on device") && text.ends_with("make room on that file system"),
        "{text}"
    );
    assert!(spool.appender.take_news().is_some());
    durable = spool.appender.next() - 1;
    let files = spool.files().len();
    for _ in 0..20 {
        let next = spool.appender.next();
        let appended = spool.appender.append(next, &chunk(next..next + 3, bytes));
        if appended.and_then(|()| spool.appender.sync()).is_err() {
            durable = spool.appender.next() - 1;
        }
    }
    assert!(
        spool.files().len() <= files + 2,
        "tries leave nothing behind"
    );
    assert_eq!(spool.read_all(), (numbers(1..=durable), vec![]));
    assert!(!spool.appender_dir().join("new").exists());
    while spool.appender.take_news().is_some() {}

    spool.reader.acknowledge(durable).unwrap();
    spool.append_to(durable + 10, bytes);
    assert_eq!(spool.appender.take_news(), Some(News::Back));
    assert_eq!(
        spool.read_all(),
        (numbers(durable + 1..=durable + 10), vec![])
    );
}

#[test]
fn a_start_on_a_full_disk_goes_well() {
    let Some(disk) = SmallDisk::mount() else {
        return eprintln!("only root can mount a small disk: not tested");
    };
    let mut spool = Spool::open(&disk.0, &SMALL);
    spool.append_to(3, 40);
    drop(spool);
    let _ = fs::write(disk.0.path().join("filler"), vec![1; 2 << 20]);
    let mut spool = Spool::open(&disk.0, &SMALL);
    assert_eq!(spool.read_all(), (numbers(1..=3), vec![]));
    let trouble = spool.appender.append(4, &chunk([4], 40)).unwrap_err();
    assert!(
        trouble.to_string().starts_with("cannot begin spool file "),
        "{trouble}"
    );
    fs::remove_file(disk.0.path().join("filler")).unwrap();
    spool.append_to(4, 40);
    assert_eq!(spool.read_all(), (vec![4], vec![]));
}

#[test]
fn a_group_goes_to_the_disk_while_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        sync: Sync::Group,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    // Three segments, none of which was waited for.
    for number in 1..=6 {
        spool
            .appender
            .append(number, &chunk([number], 800))
            .unwrap();
    }
    let group = spool.appender.group().unwrap();
    for number in 7..=10 {
        spool
            .appender
            .append(number, &chunk([number], 800))
            .unwrap();
    }
    assert_eq!(spool.reader.read().unwrap(), None);
    assert_eq!(spool.appender.settle(group.sync()).unwrap(), 6);
    assert_eq!(spool.read_all(), (numbers(1..=6), vec![]));
    assert_eq!(spool.appender.sync().unwrap(), 10);
    assert_eq!(spool.read_all(), (numbers(7..=10), vec![]));
    assert!(spool.appender.group().is_none(), "all is durable");
}

#[test]
fn a_failure_takes_back_all_segments_that_are_not_durable_and_what_a_group_from_before_says() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        sync: Sync::Group,
        ..SMALL
    };
    let mut spool = Spool::open(&dir, &options);
    spool.append_to(1, 800);
    for number in 2..=7 {
        spool
            .appender
            .append(number, &chunk([number], 800))
            .unwrap();
    }
    let before = spool.appender.group().unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    spool
        .appender
        .replace_file(std::os::fd::OwnedFd::from(socket).into());
    assert!(spool.appender.sync().is_err());
    assert_eq!(spool.appender.next(), 2);
    assert_eq!(spool.files().len(), 4, "they go with the next one");
    // Other items than before, as it would be after numbers that went past the disk.
    spool.appender.append(4, &chunk(4..=5, 90)).unwrap();
    assert_eq!(spool.files().len(), 2);
    assert_eq!(
        spool.appender.settle(before.sync()).unwrap(),
        3,
        "it says nothing any more"
    );
    spool.append_to(5, 90);
    let expected = (vec![1, 4, 5], vec![2, 3]);
    assert_eq!(spool.read_all(), expected);
    assert_eq!(
        spool.appender.counts().bytes,
        spool
            .files()
            .iter()
            .map(|file| std::fs::metadata(file).unwrap().len())
            .sum::<u64>()
    );
    drop(spool);
    assert_eq!(Spool::open(&dir, &options).read_all(), expected);
}
