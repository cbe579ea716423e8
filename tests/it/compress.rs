//! `--compress`: what is sent is compressed where both sides know how, and plain where one does not.

use crate::client::Client;
use crate::database::{BOTH, Kind};
use crate::listener::{listener, next_within_the_deadline};
use crate::program::signal_to;
use crate::serial;
use crate::site::Site;
use flop::wire::frame::{Frame, HEADER_BYTES, PACKED_HEADER_BYTES, Welcome};
use flop::wire::packed::Packer;
use nix::sys::signal::Signal;
use std::ops::RangeInclusive;

/// Alerts on their way while something happens to their connection.
const MANY: u32 = 20_000;

/// Makes a frame bad.
type Edit = fn(&mut Vec<u8>);

/// A PACKED frame with these alerts; their numbers are the serial ones.
fn packed(packer: &mut Packer, serials: RangeInclusive<u32>) -> Vec<u8> {
    let first = u64::from(*serials.start());
    let (count, items) = Client::items(serials);
    let mut bytes = Vec::new();
    packer
        .put(&mut bytes, first, count, &items)
        .expect("memory to compress");
    bytes
}

fn packer() -> Packer {
    Packer::new().expect("memory to compress")
}

#[test]
fn alerts_arrive_compressed_in_both_databases_and_both_logs_say_so() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock_with(&["-V", "recv,3"]);
        site.start_sockserv_with(&["--compress"]);
        site.ids_sends_alerts(1..=1_000);
        site.database_gets(1..=1_000);
        let line = site.sockserv().says("connected to servsock at");
        assert!(line.ends_with(", as sid 1, compressed"), "{line}");
        site.servsock().says(", compressed to ");
        // An alert at rest, too.
        site.ids_sends_alerts(1_001..=1_001);
        site.database_gets(1..=1_001);
        site.stop();
    }
}

#[test]
fn without_the_option_nothing_is_compressed() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock_with(&["-V", "recv,3"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    site.stop();
    assert_eq!(site.servsock().lines_with("compressed"), 0);
    assert_eq!(site.sockserv().lines_with("compressed"), 0);
}

#[test]
fn an_older_servsock_gets_alerts_as_they_are_and_a_line_says_so() {
    let mut site = Site::empty(Kind::Sqlite);
    let listener = listener(&site);
    site.start_sockserv_with(&["--compress"]);
    site.ids_sends_alerts(1..=10);
    let mut old = next_within_the_deadline(&listener);
    assert!(old.welcomes(0).packs);
    old.gets_items(10);
    old.acknowledges(10);
    let line = site.sockserv().says("connected to servsock at");
    assert!(line.ends_with(", not compressed (it is too old for that)"));
    site.statistics_say("sockserv", "sent 10 ");
}

#[test]
fn a_welcome_to_compress_changes_nothing_for_who_did_not_offer_it() {
    let mut site = Site::empty(Kind::Sqlite);
    let listener = listener(&site);
    site.start_sockserv();
    site.ids_sends_alerts(1..=10);
    let mut other = next_within_the_deadline(&listener);
    assert!(!other.gets_hello().packs);
    other.sends_frame(&Frame::Welcome(Welcome {
        stored: 0,
        sid: 1,
        packs: true,
    }));
    other.gets_items(10);
}

#[test]
fn a_sensor_that_did_not_offer_it_and_compresses_is_refused() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let mut client = Client::connect(&site);
    assert!(!client.greets("sensor").packs);
    client.sends(&packed(&mut packer(), 1..=3));
    let reason = "protocol error: packed items, which were not agreed on";
    assert_eq!(client.is_refused(), reason);
    let line = site.servsock().says("sensor \"sensor\" left after");
    assert!(line.contains(reason), "{line}");
}

#[test]
fn what_is_no_good_ends_its_connection_and_names_the_sensor_and_all_of_it_may_come_again() {
    let edits: [(&str, Edit); 5] = [
        ("check is wrong", |frame| frame[HEADER_BYTES + 16] ^= 1),
        ("packed items of", |frame| cut(frame, 1)),
        ("packed items of more than their 1 bytes", |frame| {
            frame[HEADER_BYTES + 12..][..4].copy_from_slice(&[1, 0, 0, 0]);
        }),
        ("at most 2162688 allowed", |frame| {
            frame[HEADER_BYTES + 12..][..4].copy_from_slice(&[0xff; 4]);
        }),
        ("cannot be unpacked", |frame| {
            frame[HEADER_BYTES + PACKED_HEADER_BYTES..].fill(0xff);
        }),
    ];
    for (told, edit) in edits {
        let mut site = Site::empty(Kind::Sqlite);
        site.start_servsock();
        let mut client = Client::connect(&site);
        let mut sender = packer();
        assert_eq!(client.greets_packing("sensor").stored, 0);
        client.sends(&packed(&mut sender, 1..=3));
        client.gets_acknowledged(3);
        let mut bad = packed(&mut sender, 4..=6);
        edit(&mut bad);
        client.sends(&bad);
        let reason = client.is_refused();
        assert!(reason.contains(told), "{reason:?} does not say {told:?}");
        client.is_closed();
        let line = site.servsock().says("sensor \"sensor\" left after");
        assert!(line.contains(&reason), "{line}");
        let mut client = Client::connect(&site);
        assert_eq!(client.greets_packing("sensor").stored, 3);
        client.sends(&packed(&mut packer(), 4..=6));
        client.gets_acknowledged(6);
        serial::are_stored(&site.database, "sensor", 1..=6);
    }
}

/// Cuts the last bytes off a frame.
fn cut(frame: &mut Vec<u8>, bytes: usize) {
    frame.truncate(frame.len() - bytes);
    let body = u32::try_from(frame.len() - HEADER_BYTES).expect("a short frame");
    frame[..4].copy_from_slice(&body.to_le_bytes());
}

#[test]
fn workers_that_are_killed_and_restarts_lose_and_double_nothing_of_what_is_compressed() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv_with(&["--compress", "-W", "1", "-H", "1000000", "-L", "900000"]);
        for (begin, end) in [(1, MANY / 2), (MANY / 2 + 1, MANY)] {
            site.ids_sends_alerts(begin..=end);
            for worker in site.servsock().children() {
                signal_to(worker, Signal::SIGKILL);
            }
            site.sockserv().signal(Signal::SIGHUP);
            site.database_gets(1..=end);
        }
        site.sockserv().says_times("compressed", 2);
        site.stop();
        serial::are_stored(&site.database, "sensor", 1..=MANY);
        assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
    }
}
