//! The benchmark measures what it says: its load, its pairs, its verdicts.

#![forbid(unsafe_code)]
#![allow(
    dead_code,
    reason = "the benchmark needs more of its modules than their tests"
)]

#[path = "../../benches/speed/load/mod.rs"]
mod load;
#[path = "../../benches/speed/machine.rs"]
mod machine;
#[path = "../../benches/speed/paired.rs"]
mod paired;
#[path = "../../benches/speed/table.rs"]
mod table;

use flop::alert::{Alert, Flow, Ids, Transport};
use flop::wire::{Item, item};
use load::{Load, Mix};
use paired::{Pairs, median, quantile};
use std::cell::RefCell;
use std::collections::HashSet;
use table::{Line, Target};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ALERTS: usize = 5_000;

/// Looks at each alert of a mix.
fn each_of(mix: Mix, mut look: impl FnMut(&Alert<'_>)) {
    let encoded = load::encoded(mix, 1, ALERTS).expect("each datagram is an alert");
    let mut rest = encoded.bytes.as_slice();
    for length in encoded.lengths {
        let (bytes, behind) = rest.split_at(length);
        rest = behind;
        match item::decode(bytes).expect("an item") {
            Item::Alert(alert) => look(&alert),
            other => panic!("{other:?}"),
        }
    }
}

fn share(count: usize) -> f64 {
    count as f64 / ALERTS as f64
}

fn flow(alert: &Alert<'_>) -> Flow {
    alert.flow.expect("each alert has addresses")
}

#[test]
fn the_usual_mix_is_the_one_that_the_figures_of_others_were_measured_with() {
    let (mut signatures, mut bytes) = (HashSet::new(), Vec::new());
    let (mut tcp, mut udp, mut icmp) = (0, 0, 0);
    each_of(Mix::Usual, |alert| {
        assert_eq!(alert.ids, Ids::Snort2);
        signatures.insert((alert.gid, alert.sid, alert.message.to_vec()));
        bytes.push(alert.payload().expect("a payload").len());
        match (flow(alert).proto, flow(alert).transport) {
            (6, Transport::Ports { .. }) => tcp += 1,
            (17, Transport::Ports { .. }) => udp += 1,
            (1, Transport::Icmp { .. }) => icmp += 1,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(signatures.len(), 50);
    assert!((0.67..0.73).contains(&share(tcp)), "{tcp} of TCP");
    assert!((0.17..0.23).contains(&share(udp)), "{udp} of UDP");
    assert!((0.08..0.12).contains(&share(icmp)), "{icmp} of ICMP");
    let mean = bytes.iter().sum::<usize>() as f64 / ALERTS as f64;
    assert!(
        (730.0..770.0).contains(&mean),
        "{mean} bytes of payload in the mean"
    );
    assert!(bytes.iter().all(|bytes| (100..=1_400).contains(bytes)));
}

#[test]
fn each_datagram_of_snort_is_as_long_as_snorts() {
    let (mut load, mut datagram) = (Load::new(Mix::Small, 1), Vec::new());
    for _ in 0..100 {
        load.next(&mut datagram);
        assert_eq!(datagram.len(), 65_864);
    }
}

#[test]
fn nothing_of_an_alert_is_left_in_the_next_ones_datagram() {
    let (mut load, mut used) = (Load::new(Mix::Usual, 1), Vec::new());
    let mut same = Load::new(Mix::Usual, 1);
    for _ in 0..100 {
        load.next(&mut used);
        let mut fresh = Vec::new();
        same.next(&mut fresh);
        assert!(used == fresh);
    }
}

#[test]
fn a_flood_of_one_signature_has_one() {
    let mut signatures = HashSet::new();
    each_of(Mix::OneSignature, |alert| {
        signatures.insert(alert.sid);
    });
    assert_eq!(signatures.len(), 1);
}

#[test]
fn the_mix_of_ip6_has_no_ip4() {
    each_of(Mix::Ip6, |alert| {
        assert!(flow(alert).src.is_ipv6() && flow(alert).transport != Transport::Unknown)
    });
}

#[test]
fn eve_records_have_addresses_payload_and_ports() {
    each_of(Mix::Eve, |alert| {
        assert_eq!(alert.ids, Ids::Suricata);
        assert!(flow(alert).transport != Transport::Unknown);
        assert!(alert.payload().is_some_and(|payload| payload.len() >= 100));
    });
}

#[test]
fn a_record_of_700_bytes_has_about_700() {
    let (mut load, mut record) = (Load::new(Mix::Eve700, 1), Vec::new());
    for _ in 0..1_000 {
        load.next(&mut record);
        assert!(
            (650..=750).contains(&record.len()),
            "{} bytes",
            record.len()
        );
    }
}

#[test]
fn an_alert_of_800_encoded_bytes_has_so_many_in_the_mean() {
    let encoded = load::encoded(Mix::Encoded800, 1, ALERTS).expect("alerts");
    let mean = encoded.bytes.len() as f64 / ALERTS as f64;
    assert!((780.0..820.0).contains(&mean), "{mean} bytes");
}

#[test]
fn who_begins_changes_from_pair_to_pair() {
    let order = RefCell::new(String::new());
    let ours = || {
        order.borrow_mut().push('o');
        Ok(2.0)
    };
    let reference = || {
        order.borrow_mut().push('r');
        Ok(1.0)
    };
    let pairs = Pairs::measure(3, ours, reference).expect("no measurement fails");
    assert_eq!(order.into_inner(), "orroor");
    assert_eq!((pairs.ours, pairs.reference), (vec![2.0; 3], vec![1.0; 3]));
}

#[test]
fn the_ratio_is_the_median_of_the_paired_ratios() {
    let pairs = Pairs {
        ours: vec![1.0, 9.0, 4.0],
        reference: vec![1.0, 3.0, 2.0],
    };
    let ratio = pairs.ratio().expect("there are pairs");
    assert_eq!((ratio.median, ratio.least, ratio.most), (2.0, 1.0, 3.0));
    assert_eq!(
        Pairs {
            ours: vec![1.0],
            reference: vec![]
        }
        .ratio(),
        None
    );
}

#[test]
fn medians_and_quantiles_are_those_of_the_sorted_values() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    let many: Vec<f64> = (0..1_000).rev().map(f64::from).collect();
    assert_eq!(quantile(&many, 0.999), Some(999.0));
    assert_eq!(quantile(&[], 0.999), None);
}

#[test]
fn a_line_says_whether_it_reached_its_goal_its_floor_or_nothing() {
    let at_least =
        |value| Line::of("x", "u", vec![value]).must_reach(Target::value_at_least(10.0, 20.0));
    let at_most =
        |value| Line::of("x", "u", vec![value]).must_reach(Target::value_at_most(20.0, 10.0));
    let reached = |line: Line| {
        let table = table::markdown(&[line]);
        table
            .lines()
            .last()
            .and_then(|row| row.split('|').nth(6))
            .map(|cell| cell.trim().to_owned())
    };
    for (value, more, less) in [
        (9.0, "**missed**", "goal"),
        (10.0, "floor", "goal"),
        (20.0, "goal", "floor"),
        (21.0, "goal", "**missed**"),
    ] {
        assert_eq!(reached(at_least(value)).as_deref(), Some(more), "{value}");
        assert_eq!(reached(at_most(value)).as_deref(), Some(less), "{value}");
    }
}

#[test]
fn the_payloads_of_http_attacks_are_requests_each_with_something_of_its_own() {
    let mut payloads = HashSet::new();
    each_of(Mix::Http, |alert| {
        assert!(matches!(
            flow(alert).transport,
            Transport::Ports {
                destination: 80,
                ..
            }
        ));
        let payload = alert.payload().expect("a payload").to_vec();
        assert!(payload.starts_with(b"GET /") || payload.starts_with(b"POST /"));
        assert!((100..=1_400).contains(&payload.len()), "{}", payload.len());
        payloads.insert(payload);
    });
    assert_eq!(payloads.len(), ALERTS);
}
