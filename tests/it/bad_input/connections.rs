//! At the TCP port: whoever does not speak the protocol is told why and let go; sensors notice nothing.

use super::noise;
use crate::client::Client;
use crate::database::{BOTH, Kind};
use crate::program::eventually;
use crate::serial;
use crate::site::Site;
use flop::wire::frame::{Frame, HANDSHAKE_SECS_MAX, HEADER_BYTES, Heartbeat, Welcome};
use std::time::Instant;

#[test]
fn who_does_not_speak_the_protocol_is_refused_with_a_reason() {
    let hello = Client::hello_bytes("stranger");
    let with = |at: usize, byte: u8| {
        let mut bytes = hello.clone();
        bytes[at] = byte;
        bytes
    };
    let items_of_4_gb = [0xff, 0xff, 0xff, 0xff, 1, 4, 0, 0].to_vec();
    let hello_of_5_kb = [0, 20, 0, 0, 1, 1, 0, 0].to_vec();
    let items = Client::items_bytes(1, 1..=1);
    for (bytes, reason) in [
        (noise(1_000), "protocol version"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            "a frame of protocol version 47, version 1 is spoken here",
        ),
        (items_of_4_gb, "a Items frame of 4294967295 bytes, at most"),
        (hello_of_5_kb, "a Hello frame of 5120 bytes, at most"),
        (
            with(4, 2),
            "a frame of protocol version 2, version 1 is spoken here",
        ),
        (with(5, 99), "a frame of the unknown kind 99"),
        (
            with(HEADER_BYTES, b'X'),
            "no HELLO of sockserv: its magic word is wrong",
        ),
        (items, "Items out of order"),
        (
            Client::hello_bytes(""),
            "a sensor name of 0 bytes, 1 to 255 allowed",
        ),
        (
            Client::hello_bytes(&"n".repeat(256)),
            "the sensor name of 256 bytes, at most 255 allowed",
        ),
        (Client::hello_bytes(&"n".repeat(10_000)), "a Hello frame of"),
        (
            Client::hello_bytes("a\nb"),
            "a sensor name with the control character \\u{a}",
        ),
        (
            Client::hello_bytes("a\0b"),
            "a sensor name with the control character \\u{0}",
        ),
    ] {
        // Each at a servsock of its own, for lines about the same cause come once a second.
        let mut site = Site::empty(Kind::Sqlite);
        site.start_servsock();
        let mut stranger = Client::connect(&site);
        stranger.sends(&bytes);
        let told = stranger.is_refused();
        assert!(told.contains(reason), "{told:?} does not say {reason:?}");
        let line = site.servsock().says("connection from 127.0.0.1:");
        assert!(line.contains(reason), "{line:?} does not say {reason:?}");
        site.statistics_say("servsock", "buffered 0, refused 1 connections");
        a_sensor_is_served(&mut site);
    }
}

#[test]
fn a_sensor_is_no_refused_connection() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=3);
    let line = site.statistics_say("servsock", "stored 3 ");
    assert!(line.ends_with("buffered 0"), "{line}");
    site.stop();
    let line = site.servsock().says("stopped: ");
    assert!(line.ends_with("buffered 0"), "{line}");
}

fn a_sensor_is_served(site: &mut Site) {
    site.start_sockserv();
    site.ids_sends_alerts(1..=3);
    site.database
        .reaches("SELECT count(*) FROM alerts WHERE sensor = 'sensor'", 3);
    serial::are_stored(&site.database, "sensor", 1..=3);
    site.stop();
}

#[test]
fn a_connection_that_says_nothing_ends_after_the_handshake_time() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let mut silent = Client::connect(&site);
    let mut half = Client::connect(&site);
    half.sends(&Client::hello_bytes("half")[..20]);
    a_sensor_is_served_beside(&mut site);
    let only =
        |bytes| format!("no whole HELLO came within {HANDSHAKE_SECS_MAX} s, only {bytes} bytes");
    assert_eq!(silent.is_refused(), only(0));
    assert_eq!(half.is_refused(), only(20));
    silent.is_closed();
    half.is_closed();
}

fn a_sensor_is_served_beside(site: &mut Site) {
    site.start_sockserv();
    site.ids_sends_alerts(1..=3);
    site.database_gets(1..=3);
}

#[test]
fn many_bad_connections_are_a_few_lines_and_a_count() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let start = std::time::Instant::now();
    for _ in 0..50 {
        let mut stranger = Client::connect(&site);
        stranger.sends(b"GET / HTTP/1.1\r\n\r\n");
        stranger.is_refused();
        stranger.is_closed();
    }
    site.statistics_say("servsock", "buffered 0, refused 50 connections");
    a_sensor_is_served(&mut site);
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time");
    let log = site.servsock().log();
    let lines = log
        .lines()
        .filter(|line| line.contains("connection") && !line.contains(": received "))
        .count();
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");
}

/// Names are only ever values: never a part of SQL text or of a path.
#[test]
fn names_with_quotes_and_slashes_are_names() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let names = [
            "o'clock \"two\"",
            "../../../etc/passwd",
            "'; DROP TABLE event; --",
            "sensor\\'",
            "S\u{fc}d \u{2764} 100%s",
        ];
        let longest = "\u{fc}".repeat(127);
        for (number, name) in names.into_iter().chain([longest.as_str()]).enumerate() {
            let socket = format!("socket{number}");
            let port = site.address().port().to_string();
            let args = ["-s", &socket, "-p", &port, "-N", name, "-I", name];
            let mut sockserv = site.run("sockserv", &socket, &args);
            sockserv.says(": ready");
            site.ids_sends_to(&socket, serial::alerts(1..=2));
            site.database.has_alerts(2 * (number + 1));
            let sensors = "SELECT hostname, interface FROM sensor ORDER BY sid DESC LIMIT 1";
            let name = Some(name.to_owned());
            assert_eq!(site.database.query(sensors), [[name.clone(), name]]);
        }
    }
}

#[test]
fn a_sequence_number_that_jumps_ends_the_connection_and_stores_nothing_behind_it() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let mut client = Client::connect(&site);
        assert_eq!(
            client.greets("sensor"),
            Welcome {
                stored: 0,
                sid: 1,
                packs: false
            }
        );
        client.sends(&Client::items_bytes(1, 1..=3));
        client.gets_acknowledged(3);
        client.sends(&Client::items_bytes(5, 5..=6));
        assert_eq!(
            client.is_refused(),
            "protocol error: sequence number 5 where 4 was next"
        );
        client.is_closed();
        let line = site.servsock().says("sensor \"sensor\" left after");
        assert!(
            line.ends_with(
                " s: protocol error: sequence number 5 where 4 was next; received 3, stored 3"
            ),
            "{line}"
        );
        serial::are_stored(&site.database, "sensor", 1..=3);
        // It comes back, and goes on where the database is.
        let mut client = Client::connect(&site);
        assert_eq!(
            client.greets("sensor"),
            Welcome {
                stored: 3,
                sid: 1,
                packs: false
            }
        );
        client.sends(&Client::items_bytes(4, 4..=6));
        client.gets_acknowledged(6);
        serial::are_stored(&site.database, "sensor", 1..=6);
    }
}

#[test]
fn sequence_numbers_that_repeat_or_go_back_are_stored_once() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let mut client = Client::connect(&site);
        client.greets("sensor");
        client.sends(&Client::items_bytes(1, 1..=3));
        client.sends(&Client::items_bytes(1, 1..=3)); // All of them again.
        client.sends(&Client::items_bytes(2, 2..=5)); // Back, and beyond.
        client.sends(&Client::items_bytes(1, 1..=1));
        client.sends(&Client::items_bytes(6, 6..=6));
        client.gets_acknowledged(6);
        client.sends_frame(&Frame::Bye("the test ends"));
        client.is_closed();
        let line = site
            .servsock()
            .says("sensor \"sensor\": 3 items came again and are skipped");
        assert!(line.ends_with("skipped"), "{line}");
        // 1 to 3, then 2 and 3, then 1.
        let line = site.servsock().says("left after");
        assert!(
            line.ends_with(" s: the test ends; received 6, stored 6, skipped 6 that came again"),
            "{line}"
        );
        serial::are_stored(&site.database, "sensor", 1..=6);
    }
}

/// Numbers that no stream has: 0, and beyond the last.
#[test]
fn impossible_sequence_numbers_are_refused() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    for first in [0, u64::MAX] {
        let mut client = Client::connect(&site);
        client.greets("sensor");
        client.sends(&Client::items_bytes(first, 1..=1));
        let told = client.is_refused();
        assert!(
            told.contains(&format!("1 items from number {first} on")),
            "{told}"
        );
        client.is_closed();
        let line = site.servsock().says(&format!("from number {first} on"));
        let ends = format!(" s: {told}; received 0, stored 0");
        assert!(
            line.contains("sensor \"sensor\" left after") && line.ends_with(&ends),
            "{line}"
        );
    }
    assert_eq!(site.database.number("SELECT count(*) FROM event"), 0);
}

#[test]
fn a_disconnect_in_the_middle_of_a_hello_is_told_with_what_had_come() {
    let hello = Client::hello_bytes("sensor");
    for cut in [
        0,
        1,
        HEADER_BYTES - 1,
        HEADER_BYTES,
        HEADER_BYTES + 10,
        hello.len() - 1,
    ] {
        // Each at a servsock of its own, for lines about the same cause come once a second.
        let mut site = Site::empty(Kind::Sqlite);
        site.start_servsock();
        Client::connect(&site).sends(&hello[..cut]);
        let line = site.servsock().says("connection from 127.0.0.1:");
        let ends = format!(" ended: it was closed after {cut} bytes, before its HELLO");
        assert!(line.ends_with(&ends), "{line}");
        a_sensor_is_served(&mut site);
    }
}

#[test]
fn a_disconnect_in_the_middle_of_any_message_is_told_and_harms_nothing() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let items = Client::items_bytes(1, 1..=3);
        let (heartbeat, bye) = (Frame::Heartbeat(Heartbeat::default()), Frame::Bye("bye"));
        let mut told = 0;
        for message in [
            items,
            Client::frame_bytes(&heartbeat),
            Client::frame_bytes(&bye),
        ] {
            for cut in [1, HEADER_BYTES, HEADER_BYTES + 5, message.len() - 1] {
                let cut = cut.min(message.len() - 1);
                let mut client = Client::connect(&site);
                assert_eq!(
                    client.greets("sensor").stored,
                    0,
                    "nothing of a cut message is stored"
                );
                client.sends(&message[..cut]);
                drop(client);
                told += 1;
                has_left(&mut site, told);
            }
        }
        let mut client = Client::connect(&site);
        assert_eq!(client.greets("sensor").stored, 0);
        client.sends(&Client::items_bytes(1, 1..=3));
        client.gets_acknowledged(3);
        serial::are_stored(&site.database, "sensor", 1..=3);
    }
}

/// So many times by now a sensor has left for this reason.
fn has_left(site: &mut Site, times: usize) {
    const WHY: &str = " s: the other side closed the connection; received 0, stored 0";
    eventually("the sensor has left", || {
        let log = site.servsock().log();
        let mut left = log.lines().filter(|line| line.contains("left after"));
        match left.clone().filter(|line| line.ends_with(WHY)).count() {
            seen if seen == times => Ok(()),
            _ => Err(format!("the last is {:?}", left.next_back())),
        }
    });
}

#[test]
fn seventy_silent_connections_do_not_keep_a_sensor_out() {
    let start = Instant::now();
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let silent: Vec<Client> = (0..70).map(|_| Client::connect(&site)).collect();
    site.start_sockserv();
    site.ids_sends_alerts(1..=3);
    site.database_gets(1..=3);
    let waited = start.elapsed();
    assert!(
        waited.as_secs() < HANDSHAKE_SECS_MAX,
        "the sensor was served only after {waited:?}, when the silent ones had to end anyway"
    );
    let line = site.servsock().says("connection from 127.0.0.1:");
    assert!(
        line.ends_with(" ended: it said nothing for a second, and others were waiting"),
        "{line}"
    );
    drop(silent);
    site.stop();
}
