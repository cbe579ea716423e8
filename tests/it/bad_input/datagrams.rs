//! At the unix socket: a clear line, a count, and the next alert is stored.

use super::noise;
use crate::database::Kind;
use crate::fixtures::datagrams;
use crate::program::eventually;
use crate::serial;
use crate::site::Site;

/// Offsets in a datagram of Snort 3.
const CAPLEN: usize = 264;
const IP: usize = 292 + 14;
const TCP: usize = IP + 20;

#[test]
fn lengths_that_no_ids_sends_are_refused() {
    let lengths = [0, 1, 255, 1_843, 1_857, 65_863, 65_865, 65_929, 200_000];
    each_is_refused(lengths.map(|bytes| (vec![b'A'; bytes], format!("{bytes} bytes long"))));
}

#[test]
fn known_lengths_full_of_noise_are_refused() {
    let noisy = |bytes, says: &str| (noise(bytes), says.to_owned());
    each_is_refused([
        noisy(1_856, "as long as an alert of barnyard2, but"),
        noisy(65_864, "as long as an alert of Snort 2.9, but"),
        noisy(65_928, "as long as an alert of Snort 2.9, but"),
        noisy(1_844, "an alert of Snort 2.2 or of a 32-bit barnyard2"),
        noisy(1_864, "an alert of Snort 2.2 or of a 32-bit barnyard2"),
    ]);
}

#[test]
fn broken_json_is_refused() {
    let whole = serial::alert(1);
    let deep = [
        b"{\"event_type\":\"alert\",\"a\":".to_vec(),
        vec![b'['; 10_000],
    ]
    .concat();
    let own = |datagram: &[u8], says: &str| (datagram.to_vec(), says.to_owned());
    each_is_refused([
        own(&whole[..whole.len() / 2], "ends in the middle of its JSON"),
        own(&deep, "nested too deep"),
        own(b"{not json}", "is not JSON at byte"),
        own(b"{", "ends in the middle of its JSON"),
        own(
            &[b"{\"a\":\"".to_vec(), vec![b'x'; 1 << 20]].concat(),
            "bytes long: longer than the receive buffer",
        ),
    ]);
}

#[test]
fn eve_alerts_with_keys_missing_or_wrong_are_refused() {
    each_is_refused([
        changed(
            "\"timestamp\":\"2026-11-21T03:22:52.000000+0000\",",
            "",
            "without timestamp",
        ),
        changed(
            "\"signature_id\":1000001,",
            "",
            "without alert.signature_id",
        ),
        changed("\"alert\":{", "\"other\":{", "without alert"),
        changed(
            "\"alert\":{",
            "\"alert\":5,\"other\":{",
            "alert is of the wrong type",
        ),
        changed(
            "\"2026-11-21T03:22:52.000000+0000\"",
            "7",
            "timestamp is of the wrong type",
        ),
        changed(
            "2026-11-21T",
            "yesterday ",
            "timestamp is of the wrong type or out of range",
        ),
        changed(
            "\"signature_id\":1000001",
            "\"signature_id\":\"x\"",
            "alert.signature_id is of the wrong type",
        ),
        changed(
            "\"signature_id\":1000001",
            "\"signature_id\":4294967296",
            "out of range",
        ),
        changed(
            "\"src_ip\":\"10.0.0.1\"",
            "\"src_ip\":5",
            "src_ip is of the wrong type",
        ),
        changed(
            "\"src_ip\":\"10.0.0.1\"",
            "\"src_ip\":\"10.0.0\"",
            "src_ip is of the wrong type",
        ),
        changed(
            "\"src_port\":1024",
            "\"src_port\":70000",
            "src_port is of the wrong type",
        ),
        changed(
            "\"signature\":\"serial\"",
            "\"signature\":[]",
            "alert.signature is of the wrong type",
        ),
        changed(
            "\"proto\":\"TCP\",",
            "\"proto\":\"TCP\",\"stream\":0,\"packet\":\"no base64!\",\"packet_info\":{\"linktype\":1},",
            "packet is not base64",
        ),
        changed(
            "\"proto\":\"TCP\",",
            "\"proto\":\"TCP\",\"payload\":\"*\",",
            "payload is not base64",
        ),
    ]);
}

/// The alert with a part of it replaced.
fn changed(part: &str, by: &str, says: &str) -> (Vec<u8>, String) {
    let alert = String::from_utf8(serial::alert(1)).expect("ASCII");
    assert!(alert.contains(part), "{part} is not in {alert}");
    (alert.replacen(part, by, 1).into_bytes(), says.to_owned())
}

/// Each at a sockserv of its own, for lines about the same cause come once a second.
fn each_is_refused(cases: impl IntoIterator<Item = (Vec<u8>, String)>) {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    for (number, (datagram, says)) in cases.into_iter().enumerate() {
        let sensor = format!("sensor{number}");
        let mut sockserv = site.another_sockserv(&sensor, &[]);
        site.ids_sends_to(&sensor, [datagram, serial::alert(1)]);
        let line = sockserv.says("refused a datagram on");
        assert!(line.contains(&says), "{line:?} does not say {says:?}");
        assert!(line.len() < 300, "a line, not a dump: {line}");
        let stored =
            format!("SELECT count(*) FROM alerts WHERE sensor = '{sensor}' AND message = 'serial'");
        site.database.reaches(&stored, 1);
        let lost = format!(
            "SELECT count(*) FROM flop_loss l JOIN sensor n ON n.sid = l.sid \
             WHERE n.hostname = '{sensor}' AND l.count = 1 AND l.reason LIKE 'refused: %'"
        );
        site.database.reaches(&lost, 1);
        // The alert is in the database a moment before sockserv hears of it.
        eventually("the statistics count it", || {
            site.commands(&format!("{sensor}.ctrl"), "stats");
            match sockserv.lines_with("buffered 0, refused 1 datagrams") {
                0 => Err(String::from("they do not")),
                _ => Ok(()),
            }
        });
    }
}

#[test]
fn a_thousand_bad_datagrams_are_a_few_lines_and_a_count() {
    let mut site = Site::new(Kind::Sqlite);
    let start = std::time::Instant::now();
    site.ids_sends(vec![b"?"; 1_000]);
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    site.statistics_say("sockserv", "refused 1000 datagrams");
    site.sockserv().says("of this kind, 1000 since start)");
    let lines = site.sockserv().lines_with("refused a datagram");
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time");
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");
    eventually("the losses are in the database", || {
        match site
            .database
            .number("SELECT coalesce(sum(count), 0) FROM flop_loss")
        {
            1_000 => Ok(()),
            seen => Err(format!("there are {seen}")),
        }
    });
}

/// These are alerts: strange ones, of which the database gets what is there.
#[test]
fn alerts_with_impossible_lengths_and_cut_headers_are_stored() {
    let mut site = Site::new(Kind::Sqlite);
    let cut_at = |bytes: usize| with_word(CAPLEN, u32::try_from(bytes - 292).expect("small"));
    let long_message = {
        let mut datagram = snort3();
        datagram[..256].fill(b'm');
        datagram
    };
    // Of a header that is not whole nothing is taken: its bytes count as payload of the header in front of it.
    let cases = [
        ("no packet", with_word(CAPLEN, 0), "||"),
        (
            "more than any packet",
            with_word(CAPLEN, 65_549),
            "4|40001|0",
        ),
        ("4 GB of packet", with_word(CAPLEN, u32::MAX), "4|40001|0"),
        ("half of Ethernet", cut_at(292 + 10), "||"),
        ("half of IP", cut_at(IP + 10), "||"),
        ("half of TCP", cut_at(TCP + 8), "4||8"),
        ("half of TCP's options", cut_at(TCP + 26), "4||26"),
        ("a message without end", long_message, "4|40001|0"),
    ];
    let stored = "SELECT coalesce(ip_version, '') || '|' || coalesce(sport, '') || '|' || coalesce(payload_len, '') \
                  FROM alerts ORDER BY cid DESC LIMIT 1";
    for (number, (what, datagram, expected)) in cases.into_iter().enumerate() {
        site.ids_sends([datagram]);
        site.database.has_alerts(number + 1);
        let expected = Some(expected.to_owned());
        assert_eq!(site.database.query(stored), [[expected]], "{what}");
    }
    let message = "SELECT message FROM alerts ORDER BY cid DESC LIMIT 1";
    let expected = Some("m".repeat(256));
    assert_eq!(
        site.database.query(message),
        [[expected]],
        "all 256 bytes, for no NUL ends them"
    );
    site.ids_sends(serial::alerts(1..=1));
    site.database.has_alerts(9);
    site.stop();
}

/// A datagram of Snort 3 about a TCP segment with options, behind Ethernet and IPv4.
fn snort3() -> Vec<u8> {
    datagrams("snort3-unixsock-own").swap_remove(0)
}

fn with_word(at: usize, word: u32) -> Vec<u8> {
    let mut datagram = snort3();
    datagram[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    datagram
}
