//! What the main thread of a worker has of the writer's thread, and how that starts.

#![forbid(unsafe_code)]

use super::dropper::{Dropper, Overflow};
use super::writer::{Ends, Event, Order, Storage, Writer};
use crate::buffer::{self, Gauge, Intake, Water};
use crate::crew::Crew;
use crate::teller::Teller;
use crate::wake::Waker;
use crate::wire::frame::Hello;
use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

/// What the receiver has of the other threads.
pub(super) struct Handle {
    pub(super) crew: Crew,
    orders: Sender<Order>,
    pub(super) events: Receiver<Event>,
    /// Wakes this thread.
    pub(super) waker: Waker,
    /// Wakes the writer.
    writer_waker: Waker,
    /// For the threads, until they start.
    unstarted: Option<(Ends, Dropper)>,
    /// The thread has ended, and all it said was heard.
    pub(super) ended: bool,
}

impl Handle {
    /// The writer's side of things, the end of the buffer that it empties, and a look at it.
    pub(super) fn new(
        water: Water,
        overflow: Overflow,
        dropper: Dropper,
    ) -> std::io::Result<(Handle, Intake, Gauge)> {
        let (receiver, waker) = (Waker::new()?, Waker::new()?);
        let (intake, outlet, gauge) = buffer::new(water, waker.clone());
        let (orders, order_receiver) = unbounded();
        let (event_sender, events) = unbounded();
        let handle = Handle {
            crew: Crew::default(),
            orders,
            events,
            waker: receiver.clone(),
            writer_waker: waker.clone(),
            unstarted: Some((
                Ends {
                    outlet,
                    orders: order_receiver,
                    events: event_sender,
                    overflow,
                    waker,
                    receiver,
                },
                dropper,
            )),
            ended: false,
        };
        Ok((handle, intake, gauge))
    }

    /// Tells the writer.
    pub(super) fn order(&self, order: Order) {
        // An error: the thread has ended.
        let _ = self.orders.send(order);
        self.writer_waker.wake();
    }

    /// Starts the writer with its work, `Writer::run` or `Writer::run_leftover`; and if a drop socket is to be told
    /// (`tells`), the thread for that.
    pub(super) fn start(
        &mut self,
        storage: &Storage,
        hello: &Hello,
        tells: bool,
        work: fn(Writer),
    ) {
        let Some((ends, dropper)) = self.unstarted.take() else {
            return;
        };
        let writer = Writer::new(storage, hello, ends);
        let teller = Teller::new(hello.sensor.clone());
        let dropping = match tells {
            true => self.crew.spawn("worker-drop", move || dropper.run(teller)),
            false => Ok(()),
        };
        let started = dropping.and_then(|()| self.crew.spawn("worker-write", move || work(writer)));
        if let Err(error) = started {
            // The events' sender is dropped with the thread that never was: the worker ends.
            crate::err!("{error}");
        }
    }

    /// Whether the writer has ended; for one that nobody else listens to.
    pub(super) fn has_ended(&self) -> bool {
        loop {
            match self.events.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }
}
