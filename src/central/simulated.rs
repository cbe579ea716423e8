//! A worker for the simulation: the conversation, the buffer and the writer as they are, without process, socket and
//! time. The writer's thread runs from one call of the database to the next.

#![forbid(unsafe_code)]

use super::conversation::{Conversation, Heard};
use super::dropper::{self, Overflow, Pending};
use super::writer::{Ends, Event, Halt, Order, Storage, Writer};
use crate::buffer::{self, Gauge, Water};
use crate::simulation::coroutine::{Asking, Coroutine};
use crate::simulation::database::{Call, Client, Fate, Shared};
use crate::simulation::{Breach, waker};
use crate::store::{self, Url};
use crate::wire::StreamId;
use crate::wire::frame::{self, Ack, Frame, Hello, Packed};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(crate) struct Worker {
    conversation: Conversation,
    gauge: Gauge,
    orders: Sender<Order>,
    events: Receiver<Event>,
    pending: Pending,
    /// It drops at HighWater; else it does not read.
    drops: bool,
    /// Nobody listens to what is dropped.
    _overflow: Overflow,
    unstarted: Option<Ends>,
    writer: Option<Coroutine<Call, Fate>>,
    database: Shared,
    stream: Option<StreamId>,
    /// What it told the sensor to be durable, since this was looked at.
    promised: Vec<(StreamId, u64)>,
    /// To be sent.
    output: Vec<u8>,
    is_fenced: bool,
    /// The highest number that came, for a worker that breaks its word.
    came: u64,
}

impl Worker {
    pub(crate) fn new(water: Water, drops: bool, database: Shared) -> Worker {
        let (intake, outlet, gauge) = buffer::new(water, waker());
        let (orders, order_receiver) = unbounded();
        let (event_sender, events) = unbounded();
        let (overflow, _) = dropper::channel();
        let ends = Ends {
            outlet,
            orders: order_receiver,
            events: event_sender,
            overflow: overflow.clone(),
            waker: waker(),
            receiver: waker(),
        };
        Worker {
            conversation: Conversation::new(intake),
            gauge,
            orders,
            events,
            pending: Pending::default(),
            drops,
            _overflow: overflow,
            unstarted: Some(ends),
            writer: None,
            database,
            stream: None,
            promised: Vec::new(),
            output: Vec::new(),
            is_fenced: false,
            came: 0,
        }
    }

    /// What it tells the sensor.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The operator sets other marks.
    pub(crate) fn set_water(&self, water: Water) {
        self.gauge.set_water(water);
    }

    /// What it told to be durable.
    pub(crate) fn take_promised(&mut self) -> Vec<(StreamId, u64)> {
        std::mem::take(&mut self.promised)
    }

    /// What its writer stands at. `None`: it does not run, or has ended.
    pub(crate) fn call(&self) -> Option<Call> {
        self.writer.as_ref()?.question().copied()
    }

    /// Lets the writer go on, if there is something to do: a change of threads takes more time than all the rest.
    pub(crate) fn answer(&mut self, fate: Fate) {
        let is_idle = self.call() == Some(Call::Idle);
        let has_work = self.conversation.has_ended() || self.gauge.counts().held > 0;
        if let Some(writer) = self.writer.as_mut().filter(|_| has_work || !is_idle) {
            writer.answer(fate);
        }
    }

    /// Nothing more is taken, and what is there is stored, or cannot be.
    pub(crate) fn is_finished(&self) -> bool {
        let is_stored = self.gauge.counts().held == 0 || self.call().is_none();
        self.conversation.has_ended() && is_stored
    }

    /// Whether another worker has the stream.
    pub(crate) fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// The connection is over, or is to be.
    pub(crate) fn end(&mut self) {
        self.conversation.end();
    }

    /// The master says that the sensor has connected again.
    pub(crate) fn supersede(&mut self) {
        let _ = self.orders.send(Order::Discard);
        self.end();
    }

    /// Takes the whole frames off the front of what arrived.
    pub(crate) fn hear(&mut self, input: &mut Vec<u8>) {
        while !self.is_paused() && !self.conversation.has_ended() {
            let parsed = frame::first(input).and_then(|found| match found {
                None => Ok(0),
                Some((frame, length)) => self.take(frame).map(|()| length),
            });
            match parsed {
                Ok(0) => return,
                Ok(length) => drop(input.drain(..length)),
                Err(error) => {
                    frame::put(&mut self.output, &Frame::Refuse(&error.to_string()));
                    self.end();
                }
            }
        }
    }

    fn is_paused(&self) -> bool {
        !self.drops && self.gauge.is_high()
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<(), crate::wire::DecodeError> {
        if let Frame::Items { first, count, .. } | Frame::Packed(Packed { first, count, .. }) =
            &frame
        {
            self.came = self.came.max(first + u64::from(*count) - 1);
        }
        match self.conversation.hear(frame)? {
            Heard::Hello(hello) => self.begin(&hello),
            Heard::Items(_) => {
                if self.drops {
                    self.conversation.drop_newest(&mut self.pending);
                }
                if self.database.breach() == Some(Breach::AcknowledgedEarly) {
                    self.tell(Ack {
                        stored: self.came,
                        first_cid: 1,
                        last_cid: 0,
                    });
                }
            }
            Heard::Bye(_) => self.end(),
            Heard::Heartbeat(_) | Heard::Nothing => {}
        }
        Ok(())
    }

    fn begin(&mut self, hello: &Hello) {
        self.stream = Some(hello.stream);
        let Some(ends) = self.unstarted.take() else {
            return;
        };
        let storage = Storage {
            db: Url::parse("sqlite:/nowhere").expect("an address"),
            settings: store::Settings::default(),
            swap: None,
        };
        let mut writer = Writer::new(&storage, hello, ends);
        writer.longest_pause = Duration::ZERO;
        let database = self.database.clone();
        self.writer = Some(Coroutine::start(move |asking| {
            writer.store = Box::new(Client {
                asking: Arc::clone(&asking),
                database,
            });
            // Whatever the reason, it ends.
            let _ = store_all(&mut writer, &asking);
        }));
    }

    /// Hears what the writer says, and tells the sensor.
    pub(crate) fn hear_writer(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Opened(mut stream) => {
                    if self.database.breach() == Some(Breach::ForgetfulWelcome) {
                        stream.last_seq = stream.last_seq.saturating_sub(1);
                    }
                    let welcome = self.conversation.opened(&stream);
                    self.promise(welcome.stored);
                    frame::put(&mut self.output, &Frame::Welcome(welcome));
                }
                Event::Committed(committed) => {
                    self.pending.committed(committed.count.in_gaps);
                    let ack = self.conversation.durable(Ack {
                        stored: committed.last_seq,
                        first_cid: committed.first_cid,
                        last_cid: committed.last_cid,
                    });
                    if let Some(ack) = ack {
                        self.tell(ack);
                    }
                }
                Event::Fenced(_) => {
                    self.is_fenced = true;
                    self.end();
                }
                Event::Away => frame::put(
                    &mut self.output,
                    &Frame::State {
                        database_away: true,
                    },
                ),
                Event::Back | Event::AwayWithSwap | Event::Swapped { .. } => {}
            }
        }
    }

    fn tell(&mut self, ack: Ack) {
        self.promise(ack.stored);
        frame::put(&mut self.output, &Frame::Ack(ack));
    }

    fn promise(&mut self, stored: u64) {
        self.promised
            .extend(self.stream.map(|stream| (stream, stored)));
    }

    /// Its last words.
    pub(crate) fn say_goodbye(&mut self) {
        self.hear_writer();
        frame::put(&mut self.output, &Frame::Bye("the end"));
    }
}

/// `Writer::run`, but that it stands at a question where that one waits for items.
fn store_all(writer: &mut Writer, asking: &Asking<Call, Fate>) -> Result<(), Halt> {
    let mut stream = writer.begin()?;
    loop {
        while !writer.has_items() && !writer.ends.outlet.is_finished() {
            asking.ask(Call::Idle);
            writer.check_orders()?;
        }
        match writer.next_chunks(&mut stream)? {
            Some(chunks) => writer.store_next(&mut stream, chunks)?,
            None => return Ok(()),
        }
    }
}
