//! What trust saves, and what never depends on it.

#![forbid(unsafe_code)]

use super::*;

in_both! {
    a_signature_that_somebody_removed_is_made_anew
    with_trust_nobody_looks_for_a_signature_again
    with_trust_the_cache_is_kept_while_the_database_is_away
    even_with_trust_a_restored_backup_is_looked_at_anew
    even_with_trust_an_older_worker_is_fenced_and_foreign_cids_are_not_given_again
}

fn trusting() -> Settings {
    Settings {
        trust: true,
        ..Settings::default()
    }
}

fn rule(sid: u32) -> Item<'static> {
    Item::Alert(Alert { sid, ..alert() })
}

/// The messages of all alerts, `-` where the signature is gone.
fn messages(site: &Site) -> Vec<String> {
    site.rows("SELECT sig_sid FROM alerts ORDER BY cid")
}

fn a_signature_that_somebody_removed_is_made_anew(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[rule(1), rule(2)]).unwrap();
    site.execute("DELETE FROM signature WHERE sig_sid = 1");
    write(&mut *store, &stream, 2, &[rule(1), rule(2), rule(1)]).unwrap();
    assert_eq!(messages(site), ["-", "2", "1", "2", "1"]);
    assert_eq!(site.row("SELECT count(*) FROM signature"), "2");
}

fn with_trust_nobody_looks_for_a_signature_again(site: &Site) {
    let mut store = site.store_with(&trusting());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[rule(1)]).unwrap();
    site.execute("DELETE FROM signature");
    write(&mut *store, &stream, 1, &[rule(1), rule(2)]).unwrap();
    assert_eq!(
        site.row("SELECT count(*) FROM event WHERE cid <= 2 AND signature = 1"),
        "2"
    );
}

fn with_trust_the_cache_is_kept_while_the_database_is_away(site: &Site) {
    for (settings, expected) in [(Settings::default(), "1"), (trusting(), "0")] {
        site.store().check().unwrap();
        site.execute("DELETE FROM event; DELETE FROM flop_event; DELETE FROM flop_stream; DELETE FROM signature");
        let mut store = site.store_with(&settings);
        let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
        write(&mut *store, &stream, 0, &[rule(1)]).unwrap();
        let stream = OpenStream {
            last_seq: 1,
            ..stream
        };
        let stream = store.resume_stream(&sensor(), &stream).unwrap();
        site.execute("DELETE FROM signature");
        write(&mut *store, &stream, 1, &[rule(1)]).unwrap();
        assert_eq!(site.row("SELECT count(*) FROM signature"), expected);
    }
}

fn even_with_trust_a_restored_backup_is_looked_at_anew(site: &Site) {
    let mut store = site.store_with(&trusting());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[rule(1)]).unwrap();
    // The backup was made before that batch.
    site.execute("DELETE FROM event; DELETE FROM signature; UPDATE flop_stream SET last_seq = 0");
    let stream = OpenStream {
        last_seq: 1,
        ..stream
    };
    let stream = store.resume_stream(&sensor(), &stream).unwrap();
    write(&mut *store, &stream, 1, &[rule(1)]).unwrap();
    assert_eq!(messages(site), ["1"]);
    assert_eq!(site.row("SELECT count(*) FROM flop_loss"), "1");
}

fn even_with_trust_an_older_worker_is_fenced_and_foreign_cids_are_not_given_again(site: &Site) {
    let (mut old, mut new) = (site.store_with(&trusting()), site.store_with(&trusting()));
    let old_stream = old.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *old, &old_stream, 0, &[rule(1)]).unwrap();
    let stream = new.open_stream(&sensor(), STREAM, 0).unwrap();
    let fenced = write(&mut *old, &old_stream, 1, &[rule(1)]);
    assert!(matches!(fenced, Err(StoreError::Fenced(_))), "{fenced:?}");
    site.execute("INSERT INTO flop_event (sid, cid, ids) VALUES (1, 2, 1)");
    let taken = write(&mut *new, &stream, 1, &[rule(1)]);
    assert!(matches!(taken, Err(StoreError::Away(_))), "{taken:?}");
    let stream = new.resume_stream(&sensor(), &stream).unwrap();
    let stored = write(&mut *new, &stream, 1, &[rule(1)]).unwrap();
    assert_eq!(stored.first_cid, 3);
}
