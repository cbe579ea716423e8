//! FLoP's `event.reference`: from a tagged packet to the alert that began the tag.

#![forbid(unsafe_code)]

use super::*;

in_both! {
    a_tagged_packet_refers_to_the_alert_that_began_the_tag
    the_first_alert_is_found_in_the_database_by_a_new_worker
    an_event_of_another_ids_or_of_long_ago_is_not_meant
    a_batch_that_was_not_committed_is_not_referred_to
    a_cid_that_the_column_cannot_hold_leaves_it_null
    a_database_of_others_gets_the_column_and_their_rows_stay
    without_the_setting_nothing_is_added
}

fn referring() -> Settings {
    Settings {
        reference: true,
        ..Settings::default()
    }
}

fn event(id: u32, reference: u32) -> Item<'static> {
    Item::Alert(Alert {
        event_id: Some(id),
        event_reference: Some(reference),
        ..alert()
    })
}

fn references(site: &Site) -> Vec<String> {
    site.rows("SELECT cid, reference FROM event ORDER BY cid")
}

fn a_tagged_packet_refers_to_the_alert_that_began_the_tag(site: &Site) {
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let none = Item::Alert(Alert {
        event_id: Some(5),
        event_reference: None,
        ..alert()
    });
    let first = [event(1, 1), event(2, 2), event(3, 2), event(4, 0), none];
    write(&mut *store, &stream, 0, &first).unwrap();
    // In a later batch; to one that is not known; and the number is given anew.
    let second = [event(6, 1), event(7, 99), event(1, 1), event(8, 1)];
    write(&mut *store, &stream, 5, &second).unwrap();
    assert_eq!(
        references(site),
        [
            "1|1", "2|2", "3|2", "4|-", "5|-", "6|1", "7|-", "8|8", "9|8"
        ],
        "what began a tag refers to itself, as BASE wants it"
    );
    assert_eq!(site.row("SELECT reference FROM schema"), "1");
}

fn the_first_alert_is_found_in_the_database_by_a_new_worker(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(
        &mut *store,
        &stream,
        0,
        &[event(1, 1), event(1, 1), event(2, 2)],
    )
    .unwrap();
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let batch = [event(3, 1), event(4, 77)];
    write(&mut *store, &stream, 3, &batch).unwrap();
    assert_eq!(
        references(site),
        ["1|-", "2|2", "3|-", "4|2", "5|-"],
        "the last one with the number"
    );
}

fn an_event_of_another_ids_or_of_long_ago_is_not_meant(site: &Site) {
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let snort3 = Item::Alert(Alert {
        ids: Ids::Snort3,
        event_id: Some(2),
        event_reference: Some(1),
        ..alert()
    });
    write(&mut *store, &stream, 0, &[event(1, 1), snort3]).unwrap();
    assert_eq!(references(site), ["1|-", "2|-"]);
    site.execute("UPDATE sensor SET last_cid = 65537");
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 2, &[event(3, 1)]).unwrap();
    assert_eq!(references(site), ["1|-", "2|-", "65538|-"]);
    site.execute(
        "UPDATE flop_event SET cid = 2000 WHERE cid = 1; UPDATE event SET cid = 2000 WHERE cid = 1",
    );
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 3, &[event(4, 1)]).unwrap();
    assert_eq!(
        references(site),
        ["2|-", "2000|2000", "65538|-", "65539|2000"]
    );
}

fn a_batch_that_was_not_committed_is_not_referred_to(site: &Site) {
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let refused = write(&mut *store, &stream, 7, &[event(1, 1)]);
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    write(&mut *store, &stream, 0, &[event(2, 2), event(3, 1)]).unwrap();
    assert_eq!(references(site), ["1|-", "2|-"]);
}

fn a_cid_that_the_column_cannot_hold_leaves_it_null(site: &Site) {
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    site.execute("UPDATE sensor SET last_cid = 2147483646");
    let batch = [event(1, 1), event(2, 1), event(3, 3), event(4, 3)];
    write(&mut *store, &stream, 0, &batch).unwrap();
    assert_eq!(
        references(site),
        [
            "2147483647|2147483647",
            "2147483648|2147483647",
            "2147483649|-",
            "2147483650|-"
        ]
    );
}

fn a_database_of_others_gets_the_column_and_their_rows_stay(site: &Site) {
    takeover::classic_tables(site, "BIGINT", "TEXT", "TIMESTAMP");
    let insert = "INSERT INTO event (sid, cid, signature, timestamp) VALUES (1, {}, 1, '2009-07-01 12:00:00')";
    site.execute(&insert.replace("{}", "7"));
    let mut store = site.store_with(&referring());
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[event(1, 1), event(2, 1)]).unwrap();
    site.execute(&insert.replace("{}", "8"));
    assert_eq!(
        site.rows("SELECT sid, cid, reference FROM event ORDER BY 1, 2"),
        ["1|7|-", "1|8|-", "3|40|-", "3|41|-", "3|42|42", "3|43|42"]
    );
    assert_eq!(site.row("SELECT vseq, reference FROM schema"), "107|1");
}

fn without_the_setting_nothing_is_added(site: &Site) {
    store_one(site, alert());
    assert_eq!(site.row("SELECT sid, cid FROM event"), "1|1");
    let columns = match site.is_sqlite() {
        true => site.rows("SELECT name FROM pragma_table_info('event')"),
        false => site.rows(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'event'::regclass AND attnum > 0 ORDER BY attnum",
        ),
    };
    assert_eq!(columns, ["sid", "cid", "signature", "timestamp"]);
}
