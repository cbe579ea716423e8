//! At the TCP port: whoever does not speak the protocol is told why and let go; sensors notice nothing.

use super::noise;
use crate::client::Client;
use crate::database::{BOTH, Kind};
use crate::serial;
use crate::site::Site;
use flop::wire::frame::{Frame, HANDSHAKE_SECS_MAX, HEADER_BYTES, Heartbeat, Welcome};

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
        a_sensor_is_served(&mut site);
    }
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
    a_sensor_is_served(&mut site);
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time");
    let log = site.servsock().log();
    let lines = log
        .lines()
        .filter(|line| line.contains("connection"))
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
        assert_eq!(client.greets("sensor"), Welcome { stored: 0, sid: 1 });
        client.sends(&Client::items_bytes(1, 1..=3));
        client.gets_acknowledged(3);
        client.sends(&Client::items_bytes(5, 5..=6));
        assert_eq!(
            client.is_refused(),
            "protocol error: sequence number 5 where 4 was next"
        );
        client.is_closed();
        site.servsock().says("sensor \"sensor\" left after");
        serial::are_stored(&site.database, "sensor", 1..=3);
        // It comes back, and goes on where the database is.
        let mut client = Client::connect(&site);
        assert_eq!(client.greets("sensor"), Welcome { stored: 3, sid: 1 });
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
        site.servsock().says("left after 0 s: the test ends");
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
    }
    assert_eq!(site.database.number("SELECT count(*) FROM event"), 0);
}

#[test]
fn a_disconnect_in_the_middle_of_any_message_harms_nothing() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let hello = Client::hello_bytes("sensor");
        for cut in [
            1,
            HEADER_BYTES - 1,
            HEADER_BYTES,
            HEADER_BYTES + 10,
            hello.len() - 1,
        ] {
            Client::connect(&site).sends(&hello[..cut]);
        }
        drop(Client::connect(&site));
        let next = Client::items_bytes(1, 1..=3);
        let (heartbeat, bye) = (Frame::Heartbeat(Heartbeat::default()), Frame::Bye("bye"));
        for message in [
            next,
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
            }
        }
        let mut client = Client::connect(&site);
        assert_eq!(client.greets("sensor").stored, 0);
        client.sends(&Client::items_bytes(1, 1..=3));
        client.gets_acknowledged(3);
        serial::are_stored(&site.database, "sensor", 1..=3);
    }
}
