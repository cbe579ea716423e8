//! `event.timestamp` in the clocks of a zone, and the view's instants.

#![forbid(unsafe_code)]

use super::*;

in_both! {
    the_view_shows_the_same_instants_in_each_zone
    extreme_times_are_the_same_instants_in_a_zone
    other_times_stay_in_utc
}

/// In Berlin clocks go from 02:00 to 03:00.
const GAP_US: i64 = 1_774_746_000_000_000;
/// In Berlin clocks go from 03:00 back to 02:00.
const OVERLAP_US: i64 = 1_792_890_000_000_000;

/// Around the gap, and in the overlap: half past two the first time, the last instant of it, and the second time.
const TIMES_US: [i64; 6] = [
    TIME_US,
    GAP_US - 1,
    GAP_US,
    OVERLAP_US - 1_800_000_000,
    OVERLAP_US - 1,
    OVERLAP_US + 1_800_000_000,
];

const INSTANTS: [&str; 6] = [
    "2026-11-21T03:22:52.123456Z",
    "2026-03-29T00:59:59.999999Z",
    "2026-03-29T01:00:00.000000Z",
    "2026-10-25T00:30:00.000000Z",
    "2026-10-25T00:59:59.999999Z",
    "2026-10-25T01:30:00.000000Z",
];

fn at(time_us: i64) -> Item<'static> {
    Item::Alert(Alert { time_us, ..alert() })
}

fn zone(name: &str) -> Settings {
    Settings {
        time_zone: name.parse().unwrap(),
        ..Settings::default()
    }
}

/// Stores the times in a zone, each time in the same stream.
fn store_in(site: &Site, settings: &Settings, times: &[i64]) {
    let mut store = site.store_with(settings);
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let items: Vec<Item<'_>> = times.iter().map(|us| at(*us)).collect();
    write(&mut *store, &stream, stream.last_seq, &items).unwrap();
}

fn instants(site: &Site) -> Vec<String> {
    let time = site.instant("timestamp");
    site.rows(&format!("SELECT {time} FROM alerts ORDER BY cid"))
}

fn the_view_shows_the_same_instants_in_each_zone(site: &Site) {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "Asia/Kathmandu",
        "America/St_Johns",
        "UTC",
    ];
    for (done, name) in (1..).zip(zones) {
        store_in(site, &zone(name), &TIMES_US);
        assert_eq!(instants(site), INSTANTS.repeat(done), "{name}");
    }
    let newest = site.rows("SELECT sid FROM alerts ORDER BY timestamp DESC LIMIT 10");
    assert_eq!(newest.len(), 10);
}

fn extreme_times_are_the_same_instants_in_a_zone(site: &Site) {
    let times = [i64::MIN, -5_000_000_000_000_000, 0, i64::MAX];
    store_in(site, &zone("UTC"), &times);
    let expected = instants(site);
    for name in ["Europe/Berlin", "America/Juneau", "Pacific/Kiritimati"] {
        site.execute("DELETE FROM event; DELETE FROM flop_event");
        store_in(site, &zone(name), &times);
        assert_eq!(instants(site), expected, "{name}");
    }
}

fn other_times_stay_in_utc(site: &Site) {
    let mut store = site.store_with(&zone("Europe/Berlin"));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let bytes = ip4(17);
    let loss = Loss {
        count: 1,
        from_us: TIME_US,
        to_us: TIME_US,
        reason: "HighWater".into(),
    };
    let seen = Alert {
        packet: packet(&bytes, 0, None),
        ..alert()
    };
    write(
        &mut *store,
        &stream,
        0,
        &[Item::Alert(seen), Item::Loss(loss)],
    )
    .unwrap();
    let (packet_time, from, to) = (
        site.instant("packet_time"),
        site.instant("from_time"),
        site.instant("to_time"),
    );
    assert_eq!(
        site.row(&format!(
            "SELECT {packet_time}, {from}, {to} FROM flop_event JOIN flop_loss USING (sid)"
        )),
        [INSTANTS[0]; 3].join("|")
    );
}

#[test]
fn sqlite_has_the_offset_of_each_instant_and_finds_the_newest_by_an_index() {
    let site = Site::sqlite();
    store_in(&site, &zone("Europe/Berlin"), &TIMES_US);
    assert_eq!(
        site.rows("SELECT timestamp FROM event ORDER BY cid"),
        [
            "2026-11-21T04:22:52.123456+01:00",
            "2026-03-29T01:59:59.999999+01:00",
            "2026-03-29T03:00:00.000000+02:00",
            "2026-10-25T02:30:00.000000+02:00",
            "2026-10-25T02:59:59.999999+02:00",
            "2026-10-25T02:30:00.000000+01:00",
        ]
    );
    finds_the_newest_by(&site, "flop_instant_idx");
    assert_eq!(
        site.rows("SELECT timestamp FROM alerts ORDER BY timestamp DESC LIMIT 3"),
        [INSTANTS[0], INSTANTS[5], INSTANTS[4]]
    );
}

#[test]
fn sqlite_in_utc_is_as_it_always_was() {
    let site = Site::sqlite();
    store_in(&site, &Settings::default(), &TIMES_US);
    assert_eq!(
        site.rows("SELECT timestamp FROM event ORDER BY cid"),
        INSTANTS
    );
    finds_the_newest_by(&site, "timestamp_idx");
    assert_eq!(
        site.row("SELECT count(*) FROM sqlite_master WHERE name = 'flop_instant_idx'"),
        "0"
    );
}

#[test]
fn times_of_other_programs_are_shown_as_they_are_in_sqlite() {
    let site = Site::sqlite();
    takeover::classic_tables(&site, "BIGINT", "TEXT", "DATETIME");
    let strange = "2009-07-01 12:00:02.000000 +nonsense";
    site.execute(&format!("INSERT INTO event VALUES (3, 39, 1, '{strange}')"));
    store_in(&site, &zone("Europe/Berlin"), &[TIME_US]);
    assert_eq!(
        instants(&site),
        [
            strange,
            "2009-07-01 12:00:00",
            "2009-07-01 12:00:01",
            INSTANTS[0]
        ]
    );
}

fn finds_the_newest_by(site: &Site, index: &str) {
    let plan =
        site.rows("EXPLAIN QUERY PLAN SELECT message FROM alerts ORDER BY timestamp DESC LIMIT 10");
    let text = plan.join("\n");
    assert!(
        text.contains(index) && !text.contains("TEMP B-TREE"),
        "{text}"
    );
}

#[test]
fn postgresql_with_time_zone_is_not_changed() {
    let site = Site::postgres();
    store_in(&site, &zone("Europe/Berlin"), &TIMES_US);
    let time = site.instant("timestamp");
    assert_eq!(
        site.rows(&format!("SELECT {time} FROM event ORDER BY cid")),
        INSTANTS
    );
    assert_eq!(
        site.rows("SELECT 1 FROM pg_class WHERE relname = 'flop_instant_idx'")
            .len(),
        0
    );
}

#[test]
fn postgresql_without_time_zone_has_what_the_clocks_show() {
    let site = Site::postgres();
    takeover::classic_tables(&site, "INT8", "TEXT", "TIMESTAMP WITHOUT TIME ZONE");
    site.execute("DELETE FROM event");
    store_in(&site, &zone("Europe/Berlin"), &TIMES_US);
    assert_eq!(
        site.rows("SELECT timestamp FROM event ORDER BY cid"),
        [
            "2026-11-21 04:22:52.123456",
            "2026-03-29 01:59:59.999999",
            "2026-03-29 03:00:00",
            "2026-10-25 02:30:00",
            "2026-10-25 02:59:59.999999",
            "2026-10-25 02:30:00",
        ]
    );
    let mut expected = INSTANTS;
    // Such a column cannot tell the first half past two from the second.
    expected[3] = "2026-10-25T01:30:00.000000Z";
    expected[4] = "2026-10-25T01:59:59.999999Z";
    assert_eq!(instants(&site), expected);
    let plan = site.rows(
        "SET enable_sort = off;
         EXPLAIN SELECT message FROM alerts ORDER BY timestamp DESC LIMIT 10",
    );
    let plan = plan.join("\n");
    assert!(
        plan.contains("flop_instant_idx") && !plan.contains("Sort"),
        "{plan}"
    );
    // Another zone: what is there is read in that one.
    store_in(&site, &zone("UTC"), &[TIME_US]);
    assert_eq!(instants(&site)[0], "2026-11-21T04:22:52.123456Z");
    assert_eq!(instants(&site)[6], INSTANTS[0]);
}

#[test]
fn who_may_not_make_an_index_does_without() {
    let site = Site::postgres();
    takeover::classic_tables(&site, "INT8", "TEXT", "TIMESTAMP WITHOUT TIME ZONE");
    site.execute(
        "CREATE ROLE guest_of_event LOGIN;
         GRANT ALL ON SCHEMA public TO guest_of_event;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO guest_of_event;
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guest_of_event",
    );
    let url = site.url.to_string().replace("postgres@", "guest_of_event@");
    let guest = Site {
        url: Url::parse(&url).unwrap(),
        ..Site::postgres()
    };
    store_in(&guest, &zone("Europe/Berlin"), &[TIME_US]);
    assert_eq!(instants(&guest)[2], INSTANTS[0]);
    assert_eq!(
        site.row("SELECT count(*) FROM pg_class WHERE relname = 'flop_instant_idx'"),
        "0"
    );
}
