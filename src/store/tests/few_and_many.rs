//! A lone alert takes another way into PostgreSQL than a flood; the rows are the same.

#![forbid(unsafe_code)]

use super::*;
use crate::ids::tests::fixtures;
use crate::ids::{self, Decoded, LinkType, Scratch};

in_both! {
    what_comes_alone_is_stored_as_what_comes_in_a_flood
    a_flood_that_is_refused_in_the_middle_of_its_rows_leaves_nothing_and_the_next_is_stored
}

/// Few enough that PostgreSQL gets them by INSERT.
const FEW: usize = 3;

fn what_comes_alone_is_stored_as_what_comes_in_a_flood(site: &Site) {
    let settings = Settings {
        full_payload: true,
        reference: true,
        ..Settings::default()
    };
    let mut number = 0;
    for settings in [Settings::default(), settings] {
        for name in fixtures::names() {
            number += 1;
            let datagrams = fixtures::datagrams(&name);
            let mut scratches: Vec<Scratch> =
                datagrams.iter().map(|_| Scratch::default()).collect();
            let mut items: Vec<Item<'_>> = datagrams
                .iter()
                .zip(&mut scratches)
                .filter_map(|(datagram, scratch)| {
                    match ids::decode(datagram, LinkType::Auto, scratch) {
                        Ok(Decoded::Alert(alert)) => Some(Item::Alert(alert)),
                        _ => None,
                    }
                })
                .collect();
            items.insert(items.len() / 2, loss());
            let (many, few) = ([items.len()], [FEW, 1, 2]);
            let flood = stored(site, &settings, &format!("flood {number}"), &items, &many);
            let alone = stored(site, &settings, &format!("alone {number}"), &items, &few);
            assert!(flood.iter().any(|row| row.starts_with("event|")), "{name}");
            assert_eq!(alone, flood, "{name}");
        }
    }
}

fn loss() -> Item<'static> {
    Item::Loss(Loss {
        from_us: TIME_US,
        to_us: TIME_US + 1,
        count: 3,
        reason: "buffer full".into(),
    })
}

/// Stores the items in batches of these sizes, again and again; returns the rows of all tables, without the sensor.
fn stored(
    site: &Site,
    settings: &Settings,
    name: &str,
    items: &[Item<'_>],
    sizes: &[usize],
) -> Vec<String> {
    let sensor = SensorName {
        name: name.to_owned(),
        interface: String::new(),
    };
    let mut store = site.store_with(settings);
    let stream = store.open_stream(&sensor, STREAM, 0).unwrap();
    let (mut rest, mut sizes, mut after) = (items, sizes.iter().cycle(), 0);
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        write(&mut *store, &stream, after, batch).unwrap();
        after += batch.len() as u64;
        rest = behind;
    }
    let rows_of = |table: rows::Table| {
        let columns = table.columns(settings)[1..].join(", ");
        let (name, sid) = (table.name(), stream.sid);
        let rows = site.rows(&format!(
            "SELECT {columns} FROM {name} WHERE sid = {sid} ORDER BY {columns}"
        ));
        rows.into_iter().map(move |row| format!("{name}|{row}"))
    };
    rows::Table::ALL.into_iter().flat_map(rows_of).collect()
}

#[test]
fn a_rule_of_the_database_makes_no_difference_between_one_alert_and_many() {
    let site = Site::postgres();
    site.store().check().unwrap();
    site.execute("CREATE RULE nothing AS ON INSERT TO data DO INSTEAD NOTHING");
    let payload = [0x37; 40];
    let items: Vec<Item<'_>> = (0..100)
        .map(|_| {
            Item::Alert(Alert {
                payload: Payload::Own(&payload),
                ..alert()
            })
        })
        .collect();
    let settings = Settings::default();
    let flood = stored(&site, &settings, "flood", &items, &[100]);
    let alone = stored(&site, &settings, "alone", &items, &[1]);
    assert_eq!(alone, flood);
    assert_eq!(site.row("SELECT count(*) FROM data"), "200");
}

fn a_flood_that_is_refused_in_the_middle_of_its_rows_leaves_nothing_and_the_next_is_stored(
    site: &Site,
) {
    let payload = vec![0xee; 1_400];
    let item = |rev| {
        Item::Alert(Alert {
            rev,
            payload: Payload::Own(&payload),
            ..alert()
        })
    };
    let flood: Vec<Item<'_>> = (0..1_000).map(|_| item(1)).collect();
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    site.execute(match site.is_sqlite() {
        true => {
            "CREATE TRIGGER dislikes BEFORE INSERT ON data WHEN NEW.cid = 500
             BEGIN SELECT RAISE(ABORT, 'dislikes it'); END"
        }
        false => "ALTER TABLE data ADD CONSTRAINT dislikes CHECK (cid <> 500)",
    });
    let refused = write(&mut *store, &stream, 0, &flood).unwrap_err();
    let StoreError::Content(text) = &refused else {
        panic!("{refused}")
    };
    assert!(text.contains("dislikes"), "{text}");
    for table in rows::Table::with_cid() {
        assert_eq!(
            site.row(&format!("SELECT count(*) FROM {}", table.name())),
            "0"
        );
    }
    site.execute(match site.is_sqlite() {
        true => "DROP TRIGGER dislikes",
        false => "ALTER TABLE data DROP CONSTRAINT dislikes",
    });
    let taken = write(&mut *store, &stream, 0, &flood).unwrap();
    assert_eq!((taken.first_cid, taken.last_cid), (1, 1_000));
    assert_eq!(site.row("SELECT count(*) FROM data"), "1000");
}

#[test]
fn alerts_share_a_signature_only_if_all_of_it_is_the_same() {
    let mut alerts = Vec::new();
    for _ in 0..2 {
        for sid in [1, 1 + signatures::SLOTS as u32] {
            for (gid, rev, priority, message, class) in [
                (1, 1, 1, "a", ""),
                (2, 1, 1, "a", ""),
                (1, 2, 1, "a", ""),
                (1, 1, 2, "a", ""),
                (1, 1, 1, "b", ""),
                (1, 1, 1, "a", "c"),
                (1, 1, 1, "a", "c"),
            ] {
                alerts.push(Item::Alert(Alert {
                    gid,
                    sid,
                    rev,
                    priority,
                    message: message.as_bytes().into(),
                    class_name: class.into(),
                    ..alert()
                }));
            }
        }
    }
    let batch = Batch {
        after_seq: 0,
        items: &alerts,
    };
    let (signatures, numbers) = signatures::distinct(&batch, signatures::Limits::default());
    assert_eq!(numbers.len(), alerts.len());
    for (alert, number) in batch.alerts().zip(&numbers) {
        assert_eq!(
            signatures[*number],
            signatures::Signature::of(alert, signatures::Limits::default())
        );
    }
    assert_eq!(
        signatures.len(),
        alerts.len() - 4,
        "what comes twice in a row is one"
    );
}
