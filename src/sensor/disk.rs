//! Threads sensor-disk and sensor-sync: buffer -> spool. What comes is written at once, so that a kill takes no more
//! than what came in the last milliseconds, and brought to the disk in groups by the second thread, so that the first
//! need not wait. While the disk fails or is full, what comes waits in memory, from where the sender may take it.

#![forbid(unsafe_code)]

use super::held::Held;
use super::status::Status;
use crate::buffer::{Chunk, Outlet, Taken};
use crate::net;
use crate::spool::{Appender, Group, News, Synced, Trouble};
use crate::wake::Waker;
use crate::wire::{StreamId, item};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While a group is on its way to the disk, arrivals are written so often rather than one by one.
const WRITE_EVERY: Duration = Duration::from_millis(2);
/// A disk that failed, or is full, is tried again so often.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What the sender wishes, and who waits for the answer.
pub(super) struct Wish {
    /// The new stream to begin; `None`: the old one is confirmed (`Appender::confirm`).
    stream: Option<StreamId>,
    answer: Sender<Result<(), String>>,
}

/// Asks the thread for what only it can do.
#[derive(Clone)]
pub(super) struct Asks {
    wishes: Sender<Wish>,
    disk: Waker,
}

impl Asks {
    /// Waits until the stream has begun.
    pub(super) fn begin_stream(&self, id: StreamId) -> Result<(), String> {
        self.ask(Some(id))
    }

    /// servsock has said what it has: waits until the next process will know that it did.
    pub(super) fn confirm(&self) -> Result<(), String> {
        self.ask(None)
    }

    fn ask(&self, stream: Option<StreamId>) -> Result<(), String> {
        let (answer, answered) = bounded(1);
        // An error: the thread has ended, as the answer will say.
        let _ = self.wishes.send(Wish { stream, answer });
        self.disk.wake();
        answered
            .recv()
            .unwrap_or_else(|_| Err("sockserv stops".to_owned()))
    }

    /// There may be room again.
    pub(super) fn wake(&self) {
        self.disk.wake();
    }
}

/// What thread sensor-disk works on.
pub(super) struct Disk {
    outlet: Outlet,
    appender: Appender,
    held: Arc<Held>,
    status: Status,
    waker: Waker,
    sender: Waker,
    wishes: Receiver<Wish>,
    groups: Sender<Group>,
    synced: Receiver<Synced>,
    /// A group is on its way to the disk.
    is_syncing: bool,
    /// It failed; not tried again before this.
    retry_at: Option<Instant>,
    /// It works again when all up to this number is durable.
    failed_at: u64,
    /// The buffer is empty for ever.
    is_closed: bool,
}

/// What thread sensor-sync works on.
pub(super) struct Syncer {
    groups: Receiver<Group>,
    synced: Sender<Synced>,
    disk: Waker,
}

impl Syncer {
    pub(super) fn run(self) {
        while let Ok(group) = self.groups.recv() {
            self.sync(group);
        }
    }

    fn sync(&self, group: Group) {
        // An error: nobody waits for it any more.
        let _ = self.synced.send(group.sync());
        self.disk.wake();
    }
}

impl Disk {
    /// `waker` is the outlet's.
    pub(super) fn new(
        outlet: Outlet,
        appender: Appender,
        held: Arc<Held>,
        status: Status,
        waker: Waker,
        sender: Waker,
    ) -> (Disk, Syncer, Asks) {
        let (wishes_send, wishes) = bounded(1);
        let (groups_send, groups) = bounded(1);
        let (synced_send, synced) = bounded(1);
        let mut disk = Disk {
            outlet,
            appender,
            held,
            status,
            waker: waker.clone(),
            sender,
            wishes,
            groups: groups_send,
            synced,
            is_syncing: false,
            retry_at: None,
            failed_at: 0,
            is_closed: false,
        };
        disk.set_failing(false);
        let syncer = Syncer {
            groups,
            synced: synced_send,
            disk: waker.clone(),
        };
        let asks = Asks {
            wishes: wishes_send,
            disk: waker,
        };
        (disk, syncer, asks)
    }

    /// Brings what comes to the disk until nothing comes any more.
    pub(super) fn run(mut self) -> Appender {
        while !self.turn() {
            self.wait();
        }
        self.end()
    }

    /// Does what can be done without waiting. Whether nothing is left to be done.
    pub(super) fn turn(&mut self) -> bool {
        self.waker.clear();
        self.settle();
        self.heed_wish();
        self.take_in();
        self.write();
        self.sync();
        self.tell_news();
        self.is_done()
    }

    pub(super) fn end(self) -> Appender {
        self.held.close();
        self.sender.wake();
        self.appender
    }

    /// Notes what became of a group.
    fn settle(&mut self) {
        let Ok(synced) = self.synced.try_recv() else {
            return;
        };
        self.is_syncing = false;
        let settled = self.appender.settle(synced);
        self.note(settled);
    }

    fn note(&mut self, durable: Result<u64, Trouble>) {
        match durable {
            Ok(number) => {
                self.held.is_durable(number);
                if self.retry_at.is_none() && number >= self.failed_at {
                    self.set_failing(false);
                }
                self.sender.wake();
            }
            Err(_) => self.fails(),
        }
    }

    /// The appender has the reason for `tell_news`.
    fn fails(&mut self) {
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        self.failed_at = self.held.last();
        self.set_failing(true);
        self.sender.wake();
    }

    fn set_failing(&mut self, fails: bool) {
        self.held.set_open(fails);
        self.outlet.set_flowing(!fails);
    }

    /// Takes what is in the buffer, losses in front of it, as far as there is room; at the end all of it, for a stop, or
    /// the next program, asks for what is held.
    fn take_in(&mut self) {
        while self.held.has_room() || self.outlet.is_closed() {
            self.take_losses();
            // Asked for in vain, the receiver would wake us for each alert.
            if self.is_syncing && !self.outlet.has_items() && !self.outlet.is_finished() {
                return;
            }
            match self.outlet.take_over() {
                Taken::Chunk(chunk) => self.held.push(chunk, true),
                Taken::Empty => return,
                Taken::Closed => {
                    self.is_closed = true;
                    return self.take_losses();
                }
            }
        }
    }

    /// In a flood there is a record for each turn of this thread, not for each alert.
    fn take_losses(&mut self) {
        let losses = self.status.shared.ledger.take_losses();
        let mut bytes = Vec::new();
        losses
            .iter()
            .for_each(|loss| item::put_loss(&mut bytes, loss));
        if !bytes.is_empty() {
            self.held.push(Chunk::of(bytes), false);
        }
    }

    /// Writes what is held and was not written.
    fn write(&mut self) {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        for numbered in self.held.from(self.appender.next()) {
            if self
                .appender
                .append(numbered.first, &numbered.chunk)
                .is_err()
            {
                return self.fails();
            }
        }
    }

    /// Sends what was written on its way to the disk, one group at a time.
    fn sync(&mut self) {
        if self.is_syncing {
            return;
        }
        if let Some(group) = self.appender.group() {
            self.is_syncing = self.groups.send(group).is_ok();
        }
    }

    fn heed_wish(&mut self) {
        if self.is_syncing {
            return; // Then little is left to wait for.
        }
        if let Ok(Wish { stream, answer }) = self.wishes.try_recv() {
            let begun = match stream {
                Some(id) => self.appender.begin_stream(id).map(|_| ()),
                None => self.appender.confirm(),
            };
            if begun.is_ok() {
                // All that was written came to the disk before it; no group will tell.
                self.note(Ok(self.appender.counts().durable));
            }
            // An error: it does not wait any more.
            let _ = answer.send(begun.map_err(|trouble| trouble.to_string()));
        }
    }

    fn tell_news(&mut self) {
        match self.appender.take_news() {
            Some(News::Fails(text)) => crate::err!(
                "{text}; alerts go on in memory, under HighWater, and would not survive a kill of this process"
            ),
            Some(News::Back) => crate::notice!("the spool takes alerts again"),
            None => {}
        }
    }

    /// All is on the disk that can be.
    fn is_done(&self) -> bool {
        let is_written = self.held.items() == 0 || self.retry_at.is_some();
        self.is_closed && !self.is_syncing && is_written
    }

    fn wait(&self) {
        let pause = match (self.is_syncing, self.retry_at) {
            (true, _) => Some(WRITE_EVERY),
            (false, Some(at)) => Some(at.saturating_duration_since(Instant::now())),
            (false, None) => None,
        };
        // ENOMEM: the kernel is short of memory for a moment.
        let _ = net::poll(&mut [net::readable(&self.waker)], pause);
    }
}

#[cfg(test)]
impl Disk {
    /// What a kill takes: items that no file has.
    pub(super) fn unwritten(&mut self) -> Vec<super::held::Numbered> {
        self.take_in();
        self.held.from(self.appender.next())
    }
}

#[cfg(test)]
impl Syncer {
    /// Brings a group to the disk, if there is one.
    pub(super) fn turn(&self) {
        if let Ok(group) = self.groups.try_recv() {
            self.sync(group);
        }
    }
}
