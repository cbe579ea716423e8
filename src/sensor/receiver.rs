//! Thread sensor-recv: alert sockets -> check, encode -> buffer. It does nothing else: it never writes to a socket, a
//! file, a log or a terminal, and never waits for anything but the next datagram, for the IDS waits behind it.

#![forbid(unsafe_code)]

use super::Stop;
use super::before::Before;
use super::dropper::Doomed;
use super::ledger::HIGH_WATER;
use super::status::Status;
use super::tuning::Tuning;
use crate::alert::{Alert, Ids};
use crate::buffer::{Dropped, Intake};
use crate::clock::now_us;
use crate::dgram::Served;
use crate::ids::{self, Decoded, EVE_BYTES_MAX, LinkType, Refusal, Scratch};
use crate::net;
use crate::wire::item;
use crossbeam_channel::{Sender, TrySendError};
use nix::poll::PollFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Datagrams taken from one socket before the next one gets its turn.
const TURN_DATAGRAMS: usize = 256;
/// At the end, what the kernel still queues is taken, but an IDS that goes on sending is not followed for ever: no
/// kernel queues more than this.
const LAST_DATAGRAMS: usize = 10_000;

pub(super) struct Receiver {
    pub(super) sockets: Vec<Served>,
    /// Sockets from before a restart, by which nobody is to reach us any more.
    pub(super) leaving: Vec<Served>,
    pub(super) link: LinkType,
    pub(super) intake: Intake,
    /// To the dropper.
    pub(super) drops: Sender<Doomed>,
    /// Alerts that were dropped, and did not fit there.
    pub(super) untold: u64,
    pub(super) tuning: Tuning,
    pub(super) status: Status,
    pub(super) stop: Stop,
}

impl Receiver {
    /// Takes alerts until it is asked to stop. The sockets, for a restart.
    pub(super) fn run(mut self) -> Vec<Served> {
        let mut hand = Hand::new(self.sockets.len() + self.leaving.len());
        let sockets = std::mem::take(&mut self.sockets);
        let stop = self.stop.receiver.clone();
        self.take_leave(&mut hand, sockets.len());
        let mut fds: Vec<PollFd> = sockets.iter().map(net::readable).collect();
        fds.push(net::readable(&stop));
        while !self.stop.is_asked() {
            if net::poll(&mut fds, None).is_err() {
                continue; // ENOMEM: the kernel is short of memory for a moment.
            }
            if fds.last().is_some_and(net::is_ready) {
                stop.clear(); // Before the flag is looked at; to the watchdog it is a sign of life.
            }
            for (number, (socket, fd)) in sockets.iter().zip(&fds).enumerate() {
                if net::is_ready(fd) {
                    self.turn(&mut hand, socket, number, TURN_DATAGRAMS);
                }
            }
        }
        if self.stop.keeps_sockets() {
            return sockets; // What they queue is for the program that follows.
        }
        self.empty(&mut hand, &sockets, 0);
        sockets
    }

    /// Closes the sockets that are not served any more: an IDS that still sends there is told so instead of waiting.
    fn take_leave(&mut self, hand: &mut Hand, first: usize) {
        let leaving = std::mem::take(&mut self.leaving);
        self.empty(hand, &leaving, first);
    }

    /// Takes what the kernel queues for the last time. The first socket has this number.
    fn empty(&mut self, hand: &mut Hand, sockets: &[Served], first: usize) {
        sockets.iter().for_each(Served::unlink);
        for (number, socket) in (first..).zip(sockets) {
            self.turn(hand, socket, number, LAST_DATAGRAMS);
        }
    }

    /// Takes what is there, up to `most` datagrams. One look at the clock holds for all of them, some milliseconds: that is
    /// close enough for when the IDS was heard, and for when a loss was.
    fn turn(&mut self, hand: &mut Hand, socket: &Served, number: usize, most: usize) {
        let now_us = now_us();
        for _ in 0..most {
            match socket.receive(&mut hand.datagram) {
                Ok(bytes) => self.take(hand, bytes, number, now_us),
                Err(_) => return, // WouldBlock; anything else would show again at once in poll.
            }
        }
    }

    fn take(&mut self, hand: &mut Hand, bytes: usize, socket: usize, now_us: i64) {
        let Hand {
            datagram,
            scratch,
            item,
            accounts,
        } = hand;
        self.status.shared.heard_us.store(now_us, Relaxed);
        let decoded = match datagram.get(..bytes) {
            Some(datagram) => ids::decode(datagram, self.link, scratch),
            None => Err(Refusal::Cut { bytes }),
        };
        match decoded {
            Ok(Decoded::Alert(alert)) => {
                if alert.ids == Ids::Suricata {
                    accounts[socket].alert();
                }
                item.clear();
                item::put_alert(item, &alert);
                self.note_first(&alert, socket);
                if let Some(dropped) = self.intake.push(item) {
                    self.give_up(dropped, now_us);
                }
            }
            Ok(Decoded::Stats(stats)) => {
                self.status.shared.other_records.fetch_add(1, Relaxed);
                if let Some(shortfall) = accounts[socket].stats(stats, Instant::now(), now_us) {
                    let ledger = &self.status.shared.ledger;
                    ledger.never_came(shortfall, socket, now_us);
                }
            }
            Ok(Decoded::OtherRecord) => {
                self.status.shared.other_records.fetch_add(1, Relaxed);
            }
            Err(refusal) => {
                accounts[socket].refused();
                self.status.shared.ledger.refused(refusal, socket, now_us);
            }
        }
    }

    fn note_first(&self, alert: &Alert<'_>, socket: usize) {
        let first = &self.status.shared.first_alert[alert.ids as usize - 1];
        if first.load(Relaxed) == 0 {
            first.store(socket as u64 + 1, Relaxed);
            self.stop.control.wake();
        }
    }

    fn give_up(&mut self, dropped: Dropped, now_us: i64) {
        self.status.shared.ledger.dropped(dropped.items, now_us);
        if self.tuning.is_quiet() {
            return self.intake.recycle(dropped.chunks);
        }
        let mut doomed = Doomed::new(HIGH_WATER, dropped.chunks);
        doomed.unseen = std::mem::take(&mut self.untold);
        let alerts = doomed.alerts();
        // Full: the dropper cannot keep up. The ledger has counted them, and the next ones that fit say how many.
        if let Err(unsent) = self
            .drops
            .try_send(doomed)
            .map_err(TrySendError::into_inner)
        {
            self.untold = alerts;
            self.intake.recycle(unsent.chunks);
        }
    }
}

/// Memory that is used for each datagram again.
struct Hand {
    datagram: Vec<u8>,
    scratch: Scratch,
    item: Vec<u8>,
    /// One for each socket, by its number.
    accounts: Vec<Before>,
}

impl Hand {
    fn new(sockets: usize) -> Self {
        let (now, now_us) = (Instant::now(), now_us());
        Hand {
            // Of this the kernel gives only the pages that are used: 17 for Snort.
            datagram: vec![0; EVE_BYTES_MAX],
            scratch: Scratch::default(),
            item: Vec::new(),
            accounts: (0..sockets).map(|_| Before::new(now, now_us)).collect(),
        }
    }
}
