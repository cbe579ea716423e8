//! States of an SQLite file.

use super::tmpfs::SmallDisk;
use super::{BEFORE, BOTH_WAYS, DURING, begin, holds, is_over, start_servsock};
use crate::database::{Database, Kind};
use crate::site::Site;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

fn file(site: &Site) -> PathBuf {
    let Database::Sqlite(path) = &site.database else {
        panic!("asked for SQLite")
    };
    path.clone()
}

#[test]
fn a_file_that_another_program_keeps_locked() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Sqlite);
        begin(&mut site, waiting);
        let lock = rusqlite::Connection::open(file(&site)).expect("the file is there");
        lock.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
        holds(
            &mut site,
            waiting,
            "another program has kept it locked for more than 10 s",
        );
        drop(lock);
        is_over(&mut site, waiting);
    }
}

#[test]
fn a_disk_that_is_full() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Sqlite);
        let Some(disk) = SmallDisk::new(&site.path("small"), 4, site.folder()) else {
            return;
        };
        site.database = Database::Sqlite(site.path("small").join("alerts.db"));
        begin(&mut site, waiting);
        let ballast = disk.is_filled();
        holds(
            &mut site,
            waiting,
            "database or disk is full; is its file system full?",
        );
        drop(ballast);
        is_over(&mut site, waiting);
    }
}

/// Bytes of the file that somebody has written over.
struct Damage {
    file: File,
    offset: u64,
    bytes: Vec<u8>,
}

impl Damage {
    /// From `offset` on.
    fn at(site: &Site, offset: u64, length: usize) -> Damage {
        // Into the file with all that is in the log; and a change, so that nobody trusts what it read before.
        let connection = rusqlite::Connection::open(file(site)).expect("the file is there");
        connection
            .execute_batch("UPDATE detail SET detail_text = detail_text")
            .expect("a change");
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("a checkpoint");
        drop(connection);
        let file = File::options()
            .read(true)
            .write(true)
            .open(file(site))
            .expect("the file");
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)
            .expect("so many bytes");
        file.write_all_at(&vec![0xff; length], offset)
            .expect("so many bytes");
        Damage {
            file,
            offset,
            bytes,
        }
    }

    /// The first page of this index or table.
    fn of(site: &Site, name: &str) -> Damage {
        let page = site.database.number(&format!(
            "SELECT rootpage FROM sqlite_master WHERE name = '{name}'"
        ));
        let size = site.database.number("PRAGMA page_size");
        let offset = u64::try_from((page - 1) * size).expect("a small number");
        Damage::at(site, offset, 64)
    }

    fn is_mended(&self) {
        self.file
            .write_all_at(&self.bytes, self.offset)
            .expect("so many bytes");
    }
}

const WHAT_TO_DO: &str = "the file is damaged: stop servsock, copy it";

#[test]
fn a_page_that_is_damaged_while_servsock_runs() {
    for name in ["event", "signature_idx", "flop_stream"] {
        for waiting in BOTH_WAYS {
            let mut site = Site::empty(Kind::Sqlite);
            begin(&mut site, waiting);
            let damage = Damage::of(&site, name);
            holds(&mut site, waiting, WHAT_TO_DO);
            damage.is_mended();
            is_over(&mut site, waiting);
        }
    }
}

#[test]
fn a_header_that_is_damaged_while_servsock_runs() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Sqlite);
        begin(&mut site, waiting);
        let damage = Damage::at(&site, 0, 32);
        holds(&mut site, waiting, "is not a database");
        damage.is_mended();
        is_over(&mut site, waiting);
    }
}

#[test]
fn a_file_that_is_damaged_before_the_start() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Sqlite);
        begin(&mut site, waiting);
        site.servsock().signal(nix::sys::signal::Signal::SIGTERM);
        site.servsock().exits();
        let damage = Damage::of(&site, "signature_idx");
        start_servsock(&mut site, waiting);
        site.ids_sends_alerts(BEFORE + 1..=BEFORE + 1);
        site.servsock().says(WHAT_TO_DO);
        damage.is_mended();
        site.ids_sends_alerts(BEFORE + 2..=DURING);
        site.database_gets(1..=DURING);
        site.stop();
    }
    let mut site = Site::empty(Kind::Sqlite);
    begin(&mut site, BOTH_WAYS[0]);
    site.stop();
    let _damage = Damage::at(&site, 0, 32);
    let db = site.database.url();
    let mut servsock = site.run("servsock", "refused", &["-p", "0", "--db", &db]);
    assert_eq!(servsock.exits().code(), Some(1));
    servsock.says("file is not a database; it is damaged, or something else");
}

#[test]
fn a_file_that_may_not_be_written() {
    let mut site = Site::empty(Kind::Sqlite);
    begin(&mut site, BOTH_WAYS[0]);
    site.stop();
    let folder = site.path("read-only");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(file(&site), folder.join("alerts.db")).expect("a copy");
    for (path, mode) in [(folder.join("alerts.db"), 0o400), (folder.clone(), 0o500)] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("a mode");
    }
    let db = format!("sqlite:{}", folder.join("alerts.db").display());
    let mut servsock = site.run_obeying_modes("refused", &["-p", "0", "--db", &db]);
    assert_eq!(servsock.exits().code(), Some(1));
    servsock.says("may this user write the file and its folder?");
}
