//! Databases that cannot be reached, cannot be written, or go away.

#![forbid(unsafe_code)]

use super::cluster::{Cluster, Stop};
use super::*;
use std::net::TcpListener;

fn check(url: &str) -> CheckError {
    open(&Url::parse(url).unwrap(), &Settings::default())
        .check()
        .unwrap_err()
}

#[test]
fn a_server_that_goes_away_is_away_and_works_again_once_it_is_back() {
    let mut cluster = Cluster::start();
    let url = Url::parse(&cluster.create_database()).unwrap();
    let mut store = open(&url, &Settings::default());
    for (after_seq, how) in (0..).zip([Stop::Fast, Stop::Immediate, Stop::Kill]) {
        let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
        assert_eq!(stream.last_seq, after_seq);
        write(&mut *store, &stream, after_seq, &[Item::Alert(alert())]).unwrap();
        cluster.stop(how);
        for _ in 0..2 {
            let error =
                write(&mut *store, &stream, after_seq + 1, &[Item::Alert(alert())]).unwrap_err();
            assert!(matches!(error, StoreError::Away(_)), "{how:?}: {error:?}");
        }
        let error = store.open_stream(&sensor(), STREAM, 0).unwrap_err();
        assert!(
            matches!(&error, StoreError::Away(text) if text.contains("cannot connect")),
            "{error:?}"
        );
        assert!(matches!(store.check(), Err(CheckError::Away(_))));
        cluster.start_again();
    }
}

#[test]
fn a_killed_session_is_away_and_nothing_of_its_batch_is_stored() {
    let site = Site::postgres();
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    site.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'servsock: north'",
    );
    let error = write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    assert_eq!(stream.last_seq, 0);
    write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap();
}

#[test]
fn a_lock_that_is_never_given_back_is_away_after_some_seconds() {
    let site = Site::postgres();
    let mut store = site.store();
    store.open_stream(&sensor(), STREAM, 0).unwrap();
    let mut client = site.client();
    let mut holder = client.transaction().unwrap();
    holder.execute("UPDATE sensor SET detail = 1", &[]).unwrap();
    let start = Instant::now();
    let error = store.open_stream(&sensor(), STREAM, 0).unwrap_err();
    assert!(
        matches!(&error, StoreError::Away(text) if text.contains("55P03")),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    holder.rollback().unwrap();
    store.open_stream(&sensor(), STREAM, 0).unwrap();
}

#[test]
fn a_read_only_server_is_away() {
    let site = Site::postgres();
    let mut store = site.store();
    store.check().unwrap();
    site.execute(
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_read_only = on'; END $$",
    );
    let mut store = site.store();
    let error = store.open_stream(&sensor(), STREAM, 0).unwrap_err();
    assert!(
        matches!(&error, StoreError::Away(text) if text.contains("25006")),
        "{error:?}"
    );
}

#[test]
fn no_error_shows_the_password() {
    let socket = cluster::shared().url("postgres");
    let place = socket.split_once('?').unwrap().1;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let cases = [
        (
            format!("postgresql://nobody:pa55word@/postgres?{place}"),
            true,
        ),
        (
            format!("postgresql://postgres:pa55word@/missing?{place}"),
            true,
        ),
        (
            format!("postgresql://u:pa55word@127.0.0.1:{closed}/d"),
            false,
        ),
        (format!("postgresql://u:pa55word@127.0.0.1:{port}/d"), false),
        ("postgresql://u:pa55word@/d?host=/nowhere".to_owned(), false),
        ("postgresql://u:pa55word@name.invalid/d".to_owned(), false),
    ];
    for (url, is_final) in cases {
        let start = Instant::now();
        let error = check(&url);
        assert_eq!(matches!(error, CheckError::Final(_)), is_final, "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("pa55word") && text.contains("***"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(15), "{text}");
    }
}

#[test]
fn an_sqlite_path_that_cannot_be_used_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite:{}/{name}", dir.path().display());
    std::fs::write(dir.path().join("text"), [b'x'; 5_000]).unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    for (url, hint) in [
        (path("missing/alerts.db"), "folder"),
        (path("folder"), "folder"),
        (path("text"), "something else"),
        ("sqlite:/proc/alerts.db".into(), "write"),
    ] {
        let error = check(&url);
        assert!(
            matches!(&error, CheckError::Final(text) if text.contains(hint)),
            "{url}: {error:?}"
        );
        assert!(error.to_string().contains(&url), "{error}");
    }
}

#[test]
fn an_sqlite_file_that_is_removed_takes_no_more_alerts() {
    let site = Site::sqlite();
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    std::fs::remove_file(site.url.sqlite_path().unwrap()).unwrap();
    for _ in 0..2 {
        let error = write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap_err();
        assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    }
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap();
    assert_eq!(site.row("SELECT count(*) FROM event"), "1");
}

#[test]
fn an_sqlite_file_that_stays_locked_is_away() {
    let site = Site::sqlite();
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let holder = rusqlite::Connection::open(site.url.sqlite_path().unwrap()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap_err();
    assert!(
        matches!(&error, StoreError::Away(text) if text.contains("locked")),
        "{error:?}"
    );
    holder.execute_batch("ROLLBACK").unwrap();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap();
}
