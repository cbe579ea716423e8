//! sockserv: owns the threads between the IDS's sockets and servsock.
//!
//! | thread      | work                                                                        |
//! |-------------|-----------------------------------------------------------------------------|
//! | sensor-recv | alert sockets -> decode, encode -> buffer; never waits for anything else     |
//! | sensor-send | buffer -> connection; forgets what is acknowledged                          |
//! | sensor-drop | what HighWater forced out -> drop socket or standard output                 |
//! | sensor-ctrl | FIFO, periodic statistics, and the lines that the receiver may not write    |

#![forbid(unsafe_code)]

mod dropper;
mod ledger;
mod outgoing;
mod receiver;
mod sender;
mod slack;
mod status;

use crate::buffer;
use crate::crew::Crew;
use crate::ctrl::{self, Fifo};
use crate::dgram::Served;
use crate::error::Error;
use crate::options::{Drops, SensorConfig};
use crate::process::Signals;
use crate::wake::Waker;
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledger::Ledger;
use outgoing::Outgoing;
use status::{Controls, Status};

/// The sender gets the whole drain time; the others end within this, or are left behind.
const END_SECS_MAX: Duration = Duration::from_secs(2);

/// What can be refused: opened while standard error is still the terminal.
pub struct Inputs {
    sockets: Vec<Served>,
    fifo: Fifo,
}

impl Inputs {
    /// Binds the alert sockets and makes the FIFO.
    ///
    /// # Errors
    ///
    /// The first that is refused.
    pub fn open(config: &SensorConfig) -> Result<Inputs, Error> {
        let bind = |path| Served::bind("alert socket", path);
        let sockets = config
            .sockets
            .iter()
            .map(|path| bind(path))
            .collect::<Result<_, _>>()?;
        let fifo = Fifo::create(&config.control)?;
        Ok(Inputs { sockets, fifo })
    }
}

/// Asks the threads to end, in the order in which alerts flow.
#[derive(Clone)]
struct Stop {
    asked: Arc<AtomicBool>,
    receiver: Waker,
    control: Waker,
}

impl Stop {
    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.receiver.wake();
        self.control.wake();
    }
}

/// The running sockserv.
pub struct Sensor {
    crew: Crew,
    stop: Stop,
    /// The sender's: closed when it ends.
    sent: Receiver<()>,
    sender: sender::Deadline,
    quit: Receiver<()>,
    status: Status,
    drain: Duration,
}

impl Sensor {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread or a descriptor.
    pub fn start(inputs: Inputs, config: &SensorConfig) -> Result<Sensor, Error> {
        announce(&inputs, config);
        let waker =
            || Waker::new().map_err(|error| Error::start("cannot make an eventfd", error, ""));
        let stop = Stop {
            asked: Arc::default(),
            receiver: waker()?,
            control: waker()?,
        };
        let send_waker = waker()?;
        let (intake, outlet, gauge) = buffer::new(config.water, send_waker.clone());
        let sockets = config
            .sockets
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let ledger = Ledger::new(stop.control.clone(), send_waker.clone());
        let status = Status::new(gauge, ledger, sockets);
        let (quit_send, quit) = unbounded();
        let (sent_send, sent) = bounded(0);
        let (drops_send, drops) = bounded(dropper::BACKLOG_MAX);
        let deadline = sender::Deadline::new(send_waker.clone());

        let mut crew = Crew::default();
        let dropper = dropper::Dropper::new(config, drops);
        crew.spawn("sensor-drop", move || dropper.run())?;
        let sender = sender::Sender::new(
            config,
            Outgoing::new(outlet),
            send_waker,
            deadline.clone(),
            status.clone(),
        )?;
        crew.spawn("sensor-send", move || {
            sender.run();
            drop::<Sender<()>>(sent_send);
        })?;
        let controls = Controls::new(config, status.clone(), stop.clone(), quit_send);
        let (fifo, control_waker) = (inputs.fifo, stop.control.clone());
        crew.spawn("sensor-ctrl", move || {
            ctrl::run(fifo, &control_waker, controls)
        })?;
        let receiver = receiver::Receiver {
            sockets: inputs.sockets,
            link: config.link,
            intake,
            drops: match config.drops {
                Drops::Quiet => None,
                _ => Some(drops_send),
            },
            status: status.clone(),
            stop: stop.clone(),
        };
        crew.spawn("sensor-recv", move || receiver.run())?;
        Ok(Sensor {
            crew,
            stop,
            sent,
            sender: deadline,
            quit,
            status,
            drain: config.drain,
        })
    }

    /// Waits for a reason to stop, and names it.
    pub fn wait(&self, signals: &Signals) -> &'static str {
        select! {
            recv(signals.caught) -> signal => signal.unwrap_or("no signals any more"),
            recv(self.quit) -> _ => "quit, from the control FIFO",
        }
    }

    /// Stops reading, goes on sending for at most the drain time, ends the threads. The final statistics.
    pub fn stop(self) -> String {
        self.sender.set(Instant::now() + self.drain);
        self.stop.ask();
        // An error is the sender's end of the channel, dropped: it has sent all or has reached its deadline.
        let _ = self.sent.recv_timeout(self.drain + END_SECS_MAX);
        let left = self.crew.join_until(Instant::now() + END_SECS_MAX);
        if !left.is_empty() {
            crate::warning!("left behind, still busy: {}", left.join(", "));
        }
        for line in self.status.left_behind() {
            crate::warning!("{line}");
        }
        self.status.final_line()
    }
}

fn announce(inputs: &Inputs, config: &SensorConfig) {
    for socket in &inputs.sockets {
        crate::notice!("listening for alerts on {}", socket.path().display());
    }
    crate::notice!(
        "sending to {} as sensor {}{}",
        config.server,
        config.sensor.name,
        match config.sensor.interface.as_str() {
            "" => String::new(),
            interface => format!(", interface {interface}"),
        }
    );
    slack::tell();
    crate::info!(
        "durable: no, there is no spool; what is not acknowledged yet is lost if this process is killed"
    );
}
