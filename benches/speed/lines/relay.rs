//! sockserv -> servsock without a database: what the programs and the connection can do.

use super::full_sensors::FullSensors;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::load::{self, Mix};
use crate::paired::Pairs;
use crate::sender;
use crate::sink;
use crate::site::{Site, listener};
use crate::table::{Line, Target};
use crate::tcp_pump;
use std::thread;

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    if !cfg!(feature = "null-store") {
        return Err("servsock was built without its null store; add --features null-store, as `make bench` does".into());
    }
    let count = bench.plan.to_null_store;
    let encoded = load::encoded(Mix::Usual, 0, count)?;
    let ours = || {
        let full = FullSensors::new("null:", Mix::Usual, 1, count)?;
        Ok(count as f64 / full.flow(|sockservs| sockservs[0].is_empty())?)
    };
    let reference = || Ok(count as f64 / tcp_pump::pump(&encoded.bytes)?);
    let pairs = Pairs::measure(bench.plan.pairs, ours, reference)?;
    Ok(vec![
        Line::paired("sockserv to servsock, a null store in place of the database", ALERTS_S, pairs)
            .against("a TCP pump: the same encoded bytes in writes of 64 KiB, a reader that throws them away")
            .must_reach(Target::value_at_least(300_000.0, 1_000_000.0)),
    ])
}

/// Bytes on the wire.
pub(super) fn wire(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.end_to_end;
    let encoded = load::encoded(Mix::Usual, 0, count)?.bytes.len() as f64 / count as f64;
    let listener = listener()?;
    let address = listener.local_addr()?;
    let served =
        thread::spawn(move || sink::serve(&listener, count).map_err(|error| error.to_string()));
    let site = Site::new()?;
    let high = (count + 2).to_string();
    let sockserv = site.sockserv("sensor", address, &["-H", &high])?;
    sender::send(&sockserv.socket, Mix::Usual, 0, count)?;
    let arrived = served.join().map_err(|_| "the sink panicked")??;
    let sent = arrived.bytes as f64 / arrived.alerts as f64;
    let pairs = Pairs {
        ours: vec![sent],
        reference: vec![encoded],
    };
    Ok(vec![
        Line::paired("bytes on the wire for an alert of the mix", "bytes", pairs)
            .against("the encoded alert alone")
            .must_reach(Target::ratio_at_most(1.02, 1.02)),
    ])
}
