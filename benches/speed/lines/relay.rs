//! sockserv -> servsock without a database: what the programs and the connection can do.

use super::full_sensors::FullSensors;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::fixtures;
use crate::load::{self, Mix};
use crate::paired::Pairs;
use crate::sender;
use crate::sink;
use crate::site::{Site, listener};
use crate::table::{Line, Target};
use crate::tcp_pump;
use flop::ids::{Decoded, LinkType, Scratch};
use flop::wire::item;
use std::path::Path;
use std::thread;

/// The mix `Http`, for who reads the table.
const HTTP: &str = "HTTP attacks (32 well-known requests, usual headers, random tokens)";

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    if !cfg!(feature = "null-store") {
        return Err("servsock was built without its null store; add --features null-store, as `make bench` does".into());
    }
    let count = bench.plan.to_null_store;
    let encoded = load::encoded(Mix::Usual, 0, count)?;
    let reference = || Ok(count as f64 / tcp_pump::pump(&encoded.bytes)?);
    let pairs = Pairs::measure(
        bench.plan.pairs,
        || relayed(&[], Mix::Usual, count),
        reference,
    )?;
    Ok(vec![
        Line::paired("sockserv to servsock, a null store in place of the database", ALERTS_S, pairs)
            .against("a TCP pump: the same encoded bytes in writes of 64 KiB, a reader that throws them away")
            .must_reach(Target::value_at_least(300_000.0, 1_000_000.0)),
        compressed(bench, "the mix", Mix::Usual)?,
        compressed(bench, HTTP, Mix::Http)?,
    ])
}

/// Both on the same machine, so that all the time is processor time and none is the line's.
fn compressed(bench: &Bench<'_>, what: &str, mix: Mix) -> Result<Line> {
    let count = bench.plan.to_null_store / 2;
    let pairs = Pairs::measure(
        bench.plan.pairs,
        || relayed(&["--compress"], mix, count),
        || relayed(&[], mix, count),
    )?;
    Ok(Line::paired(
        format!("the same with --compress, alerts of {what}"),
        ALERTS_S,
        pairs,
    )
    .against("the same without"))
}

/// Alerts per second of a full sensor.
fn relayed(options: &[&str], mix: Mix, count: usize) -> Result<f64> {
    let full = FullSensors::with(options, "null:", mix, 1, count)?;
    Ok(count as f64 / full.flow(|sockservs| sockservs[0].is_empty())?)
}

/// Bytes on the wire.
pub(super) fn wire(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.end_to_end;
    let of = |mix, options: &[&str]| {
        let encoded = load::encoded(mix, 0, count)?.bytes.len();
        bytes_of(encoded, count, options, |to| {
            sender::send(to, mix, 0, count).map(drop)
        })
    };
    let captured = Captured::read();
    let of_captured = bytes_of(
        captured.encoded_bytes,
        captured.datagrams.len(),
        &["--compress"],
        |to| sender::send_these(to, &captured.datagrams),
    )?;
    Ok(vec![
        line("the mix", of(Mix::Usual, &[])?, "the encoded alert alone")
            .must_reach(Target::ratio_at_most(1.02, 1.02)),
        line(
            "the mix, with --compress",
            of(Mix::Usual, &["--compress"])?,
            "the same; its payloads are random bytes, which nothing compresses: 0.79 of all",
        ),
        line(
            &format!("{HTTP}, with --compress"),
            of(Mix::Http, &["--compress"])?,
            "the encoded alert alone",
        )
        .must_reach(Target::ratio_at_most(0.5, 0.35)),
        line(
            "tests/fixtures, with --compress",
            of_captured,
            "the encoded alert alone; what IDS programs sent for test traffic, which repeats itself",
        ),
    ])
}

fn line(what: &str, pairs: Pairs, reference: &str) -> Line {
    Line::paired(
        format!("bytes on the wire for an alert of {what}"),
        "bytes",
        pairs,
    )
    .against(reference)
}

/// For each of `count` alerts that the sender sends: bytes on the wire, and encoded ones.
fn bytes_of(
    encoded_bytes: usize,
    count: usize,
    options: &[&str],
    send: impl FnOnce(&Path) -> Result<()>,
) -> Result<Pairs> {
    let listener = listener()?;
    let address = listener.local_addr()?;
    let served =
        thread::spawn(move || sink::serve(&listener, count).map_err(|error| error.to_string()));
    let site = Site::new()?;
    let (high, low) = ((count + 2).to_string(), (count + 1).to_string());
    let marks = ["-H", &high, "-L", &low];
    let sockserv = site.sockserv("sensor", address, &[&marks, options].concat())?;
    send(&sockserv.socket)?;
    let arrived = served.join().map_err(|_| "the sink panicked")??;
    Ok(Pairs {
        ours: vec![arrived.bytes as f64 / arrived.alerts as f64],
        reference: vec![encoded_bytes as f64 / count as f64],
    })
}

/// What real IDS programs sent.
struct Captured {
    datagrams: Vec<Vec<u8>>,
    encoded_bytes: usize,
}

impl Captured {
    /// All that is an alert.
    fn read() -> Captured {
        let (mut encoded, mut scratch) = (Vec::new(), Scratch::default());
        let names = fixtures::names();
        let mut datagrams: Vec<Vec<u8>> = names
            .iter()
            .flat_map(|name| fixtures::datagrams(name))
            .collect();
        datagrams.retain(|datagram| {
            let decoded = flop::ids::decode(datagram, LinkType::Auto, &mut scratch);
            let Ok(Decoded::Alert(alert)) = decoded else {
                return false;
            };
            item::put_alert(&mut encoded, &alert);
            true
        });
        Captured {
            datagrams,
            encoded_bytes: encoded.len(),
        }
    }
}
