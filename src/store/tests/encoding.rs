//! `sensor.encoding` and what is stored under it.

#![forbid(unsafe_code)]

use super::*;

in_both! {
    payloads_are_stored_in_the_encoding_of_the_settings_and_options_lose_nothing
    a_sensor_without_alerts_takes_the_encoding_of_the_settings
    a_sensor_with_alerts_keeps_its_encoding
    the_row_with_the_wanted_encoding_is_taken_unless_another_one_has_the_stream
    each_batch_is_stored_as_the_row_says_whatever_other_workers_want
    a_number_that_is_no_encoding_stores_nothing
}

fn wanting(encoding: Encoding) -> Settings {
    Settings {
        encoding,
        ..Settings::default()
    }
}

fn with_payload() -> Item<'static> {
    Item::Alert(Alert {
        payload: Payload::Own(b"<a>\0\xff"),
        ..alert()
    })
}

fn payloads(site: &Site) -> Vec<String> {
    site.rows("SELECT payload FROM alerts ORDER BY sid, cid")
}

const HEX: &str = "3C613E00FF";
const BASE64: &str = "PGE+AP8=";
const ASCII: &str = "&lt;a&gt;..";

fn payloads_are_stored_in_the_encoding_of_the_settings_and_options_lose_nothing(site: &Site) {
    let mut bytes = ip4(6);
    bytes.extend([
        0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x70, 2, 0, 0, 0, 0, 0, 0,
    ]);
    bytes.extend([8, 8, 0xff, 0xfe, 0, 0, 0x3c, 0x3e]);
    for (n, encoding) in (1_u8..).zip(Encoding::ALL) {
        let mut store = site.store_with(&wanting(encoding));
        let name = SensorName {
            name: format!("sensor{n}"),
            interface: String::new(),
        };
        let stream = store.open_stream(&name, StreamId([n; 16]), 0).unwrap();
        let with_option = Item::Alert(Alert {
            flow: flow(SRC, DST, 6, ports(1, 2)),
            packet: packet(&bytes, 0, Some(20)),
            payload: Payload::Own(b"<a>\0\xff"),
            ..alert()
        });
        write(&mut *store, &stream, 0, &[with_option]).unwrap();
    }
    assert_eq!(
        site.rows("SELECT encoding FROM sensor ORDER BY sid"),
        ["0", "1", "2"]
    );
    assert_eq!(payloads(site), [HEX, BASE64, ASCII]);
    assert_eq!(
        site.rows("SELECT opt_len, opt_data FROM opt ORDER BY sid"),
        ["6|FFFE00003C3E", "6|//4AADw+", "6|FFFE00003C3E"]
    );
    assert_eq!(site.rows("SELECT payload_len FROM alerts"), ["5", "5", "5"]);
}

fn a_sensor_without_alerts_takes_the_encoding_of_the_settings(site: &Site) {
    site.store().open_stream(&sensor(), STREAM, 0).unwrap();
    let mut store = site.store_with(&wanting(Encoding::Base64));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[with_payload()]).unwrap();
    assert_eq!(site.rows("SELECT sid, encoding FROM sensor"), ["1|1"]);
    assert_eq!(payloads(site), [BASE64]);
}

fn a_sensor_with_alerts_keeps_its_encoding(site: &Site) {
    let mut store = site.store_with(&wanting(Encoding::Base64));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[with_payload()]).unwrap();
    for (after_seq, encoding) in (1..).zip([Encoding::Hex, Encoding::Ascii]) {
        let mut store = site.store_with(&wanting(encoding));
        let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
        assert_eq!(stream.last_seq, after_seq, "the stream is found again");
        write(&mut *store, &stream, after_seq, &[with_payload()]).unwrap();
    }
    assert_eq!(site.rows("SELECT sid, encoding FROM sensor"), ["1|1"]);
    assert_eq!(payloads(site), [BASE64; 3]);
}

fn the_row_with_the_wanted_encoding_is_taken_unless_another_one_has_the_stream(site: &Site) {
    site.store().check().unwrap();
    site.execute(
        "INSERT INTO sensor (sid, hostname, interface, filter, detail, encoding, last_cid) VALUES
         (1, 'north', 'eth0', NULL, 1, 7, 5), (2, 'north', 'eth0', NULL, 1, 0, 5), (3, 'north', 'eth0', NULL, 1, 2, 5)",
    );
    let sid = |encoding, stream| {
        let mut store = site.store_with(&wanting(encoding));
        store.open_stream(&sensor(), stream, 0).unwrap().sid
    };
    let other = StreamId([1; 16]);
    assert_eq!(sid(Encoding::Ascii, STREAM), 3);
    assert_eq!(sid(Encoding::Hex, STREAM), 3);
    assert_eq!(sid(Encoding::Hex, other), 2);
    assert_eq!(sid(Encoding::Ascii, other), 2);
    assert_eq!(sid(Encoding::Base64, StreamId([2; 16])), 2);
}

fn each_batch_is_stored_as_the_row_says_whatever_other_workers_want(site: &Site) {
    let mut first = site.store_with(&wanting(Encoding::Hex));
    let mut second = site.store_with(&wanting(Encoding::Base64));
    let stream = first.open_stream(&sensor(), STREAM, 0).unwrap();
    // No alert is there yet, so the second one has its way, and the first one must follow.
    let other = StreamId([1; 16]);
    let other = second.open_stream(&sensor(), other, 0).unwrap();
    write(&mut *first, &stream, 0, &[with_payload()]).unwrap();
    write(&mut *second, &other, 0, &[with_payload()]).unwrap();
    assert_eq!(site.rows("SELECT encoding FROM sensor"), ["1"]);
    assert_eq!(payloads(site), [BASE64; 2]);
}

fn a_number_that_is_no_encoding_stores_nothing(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    site.execute("UPDATE sensor SET encoding = 7");
    let error = write(&mut *store, &stream, 0, &[with_payload()]).unwrap_err();
    assert!(
        matches!(&error, StoreError::Away(text) if text.contains("encoding of sensor 1")),
        "{error:?}"
    );
    assert_eq!(site.row("SELECT count(*) FROM event"), "0");
}
