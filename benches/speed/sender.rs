//! An IDS that sends as Snort does: blocking, one datagram after the other, as fast as the socket takes them.

use crate::Result;
use crate::load::{Load, Mix};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// Different EVE records that are sent again and again: to write a new one takes longer than to send it.
const EVE_RECORDS: u64 = 4_096;

/// What the sender saw.
pub(crate) struct Sent {
    /// For all of them.
    pub(crate) took: Duration,
    /// For each single `send`, in seconds.
    pub(crate) each: Vec<f64>,
}

/// Sends `count` alerts of a mix to a socket.
pub(crate) fn send(to: &Path, mix: Mix, seed: u64, count: usize) -> Result<Sent> {
    let socket = UnixDatagram::unbound()?;
    socket
        .connect(to)
        .map_err(|error| format!("cannot connect to {}: {error}", to.display()))?;
    match mix {
        Mix::Eve | Mix::Eve700 => send_again_and_again(&socket, mix, seed, count),
        _ => send_new(&socket, Load::new(mix, seed), count),
    }
}

/// Sends these datagrams, each as soon as the socket takes it.
pub(crate) fn send_these(to: &Path, datagrams: &[Vec<u8>]) -> Result<()> {
    let socket = UnixDatagram::unbound()?;
    for datagram in datagrams {
        socket.send_to(datagram, to)?;
    }
    Ok(())
}

fn send_new(socket: &UnixDatagram, mut load: Load, count: usize) -> Result<Sent> {
    let mut datagram = Vec::new();
    let mut each = Vec::with_capacity(count);
    let start = Instant::now();
    for _ in 0..count {
        load.next(&mut datagram);
        each.push(timed_send(socket, &datagram)?);
    }
    Ok(Sent {
        took: start.elapsed(),
        each,
    })
}

fn send_again_and_again(socket: &UnixDatagram, mix: Mix, seed: u64, count: usize) -> Result<Sent> {
    let mut load = Load::new(mix, seed);
    let records: Vec<Vec<u8>> = (0..EVE_RECORDS.min(count as u64))
        .map(|_| {
            let mut record = Vec::new();
            load.next(&mut record);
            record
        })
        .collect();
    let mut each = Vec::with_capacity(count);
    let start = Instant::now();
    for record in records.iter().cycle().take(count) {
        each.push(timed_send(socket, record)?);
    }
    Ok(Sent {
        took: start.elapsed(),
        each,
    })
}

fn timed_send(socket: &UnixDatagram, datagram: &[u8]) -> Result<f64> {
    let start = Instant::now();
    socket.send(datagram)?;
    Ok(start.elapsed().as_secs_f64())
}
