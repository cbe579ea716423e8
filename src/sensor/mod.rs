//! sockserv: owns the threads between the IDS's sockets and servsock.
//!
//! | thread      | work                                                                        |
//! |-------------|-----------------------------------------------------------------------------|
//! | sensor-recv | alert sockets -> decode, encode -> buffer; never waits for anything else     |
//! | sensor-disk | with a spool: buffer -> files                                               |
//! | sensor-sync | with a spool: brings the files to the disk, in groups                       |
//! | sensor-send | buffer or spool -> connection; forgets what is acknowledged                 |
//! | sensor-drop | what HighWater forced out, and a stop left -> drop socket or standard output |
//! | sensor-ctrl | FIFO, periodic statistics, and the lines that the receiver may not write    |

#![forbid(unsafe_code)]

mod before;
mod carried;
mod controls;
mod disk;
mod dropper;
mod from_buffer;
mod from_spool;
mod held;
mod ledger;
mod line;
mod outgoing;
mod receiver;
mod sender;
#[cfg(test)]
pub(crate) mod simulated;
mod slack;
mod spooling;
mod status;
mod tuning;
mod way;

use crate::crew::Crew;
use crate::ctrl::{self, Fifo};
use crate::dgram::Served;
use crate::error::Error;
use crate::options::SensorConfig;
use crate::process::{Carrier, Cause, LeftOpen, Pulse, Restart, Signals};
use crate::spool::{self, Appender};
use crate::wake::Waker;
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use carried::Carried;
use controls::Controls;
use dropper::{Doomed, EndsBy};
use outgoing::{Left, Outgoing};
use spooling::Spooling;
use status::Status;
use tuning::Tuning;
use way::{DiskEnd, OverDisk, Way};

/// The sender gets the whole drain time; the others end within this, or are left behind.
const END_SECS_MAX: Duration = Duration::from_secs(2);
/// For the drop socket to take what a stop leaves; then the rest is told as a number.
const LAST_SECS_MAX: Duration = Duration::from_secs(2);
/// For a restart both ends of the buffer have to be still; the sender may be looking up a name.
const HALT_SECS_MAX: Duration = Duration::from_secs(30);

/// What can be refused: opened while standard error is still the terminal.
pub struct Inputs {
    sockets: Vec<Served>,
    /// Of a sockserv that restarted, what is to be emptied once and then closed.
    leaving: Vec<Served>,
    fifo: Fifo,
    spooling: Option<Spooling>,
    /// What a sockserv that restarted left, when this is the program that follows it.
    carried: Option<Carried>,
}

impl Inputs {
    /// Opens the spool, binds the alert sockets and makes the FIFO, or takes those over that a restart left open.
    ///
    /// # Errors
    ///
    /// The first that is refused.
    pub fn open(
        config: &SensorConfig,
        control: Option<LeftOpen>,
        carried: Option<Carried>,
    ) -> Result<Inputs, Error> {
        let spool = config.spool.as_ref();
        let spooling = match spool.map(|spool| Spooling::open(spool, carried.as_ref())) {
            None => None,
            Some(Ok(spooling)) => Some(spooling),
            // A daemon that only restarts goes on as with any other failure of its disk.
            Some(Err(error)) if carried.is_some() => {
                crate::err!("{error}; alerts wait in memory until the next restart");
                None
            }
            Some(Err(error)) => return Err(error),
        };
        let left = carried.as_ref().map_or(&[][..], |carried| &carried.sockets);
        let mut leaving = left
            .iter()
            .map(|left| Served::inherit(ALERT_SOCKET, left))
            .collect::<Result<_, _>>()?;
        let sockets = config
            .sockets
            .iter()
            .map(|path| Served::bind_or_keep(ALERT_SOCKET, path, &mut leaving))
            .collect::<Result<_, _>>()?;
        Ok(Inputs {
            sockets,
            leaving,
            fifo: Fifo::inherit(control, &config.control)?,
            spooling,
            carried,
        })
    }
}

/// As errors name it.
const ALERT_SOCKET: &str = "alert socket";

/// Asks the threads to end, in the order in which alerts flow.
#[derive(Clone)]
struct Stop {
    asked: Arc<AtomicBool>,
    /// The alert sockets stay open, for a restart.
    keeps: Arc<AtomicBool>,
    receiver: Waker,
    control: Waker,
}

impl Stop {
    fn new() -> Result<Stop, Error> {
        Ok(Stop {
            asked: Arc::default(),
            keeps: Arc::default(),
            receiver: waker()?,
            control: waker()?,
        })
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn keeps_sockets(&self) -> bool {
        self.keeps.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.receiver.wake();
        self.control.wake();
    }
}

fn waker() -> Result<Waker, Error> {
    Waker::new().map_err(|error| Error::start("cannot make an eventfd", error, ""))
}

/// The running sockserv.
pub struct Sensor {
    crew: Crew,
    stop: Stop,
    sender: sender::Deadline,
    /// What the sender leaves when it ends.
    left: Receiver<Box<dyn Outgoing>>,
    /// What sensor-disk leaves when it ends, where there is a spool.
    disk: Option<DiskEnd>,
    /// What the receiver leaves when it ends.
    sockets: Receiver<Vec<Served>>,
    /// What the control thread leaves when it ends.
    fifo: Receiver<Fifo>,
    asked: Receiver<Cause>,
    drops: Sender<Doomed>,
    dropper_ends_by: EndsBy,
    tuning: Tuning,
    status: Status,
    drain: Duration,
}

/// The reason of alerts that a stop leaves: of those never sent, and of those sent and not confirmed.
fn reasons(cause: Cause) -> [&'static str; 2] {
    match cause {
        Cause::GiveUp(_) => [
            "servsock unreachable",
            "servsock unreachable; it was sent before and may be in the database",
        ],
        Cause::Stop(_) | Cause::Restart(_) => [
            "sockserv stops",
            "sockserv stops; it was sent, servsock did not confirm it, and it may be in the database",
        ],
    }
}

impl Sensor {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread or a descriptor.
    pub fn start(inputs: Inputs, config: &SensorConfig) -> Result<Sensor, Error> {
        announce(&inputs, config);
        let stop = Stop::new()?;
        let send_waker = waker()?;
        let sockets = inputs.sockets.iter().chain(&inputs.leaving);
        let paths = sockets.map(|socket| socket.path().display().to_string());
        let Way {
            intake,
            outgoing,
            status,
            over_disk,
        } = Way::build(
            config,
            paths.collect(),
            (inputs.spooling, inputs.carried),
            &stop.control,
            &send_waker,
        )?;
        let tuning = Tuning::new(config, send_waker.clone());
        let (asked_send, asked) = unbounded();
        let (left_send, left) = bounded(1);
        let (sockets_send, sockets) = bounded(1);
        let (fifo_send, fifo_left) = bounded(1);
        let (drops_send, drops) = bounded(dropper::BACKLOG_MAX);
        let deadline = sender::Deadline::new(send_waker.clone());
        let dropper_ends_by = EndsBy::default();
        let dropper = dropper::Dropper::new(
            config.sensor.clone(),
            tuning.clone(),
            drops,
            Arc::clone(&dropper_ends_by),
        );
        let sender = sender::Sender::new(
            config,
            outgoing,
            send_waker,
            deadline.clone(),
            tuning.clone(),
            status.clone(),
            asked_send.clone(),
        );
        let controls = Controls::new(
            config,
            tuning.clone(),
            status.clone(),
            stop.clone(),
            asked_send,
        );
        let (fifo, control_waker) = (inputs.fifo, stop.control.clone());
        let receiver = receiver::Receiver {
            sockets: inputs.sockets,
            leaving: inputs.leaving,
            link: config.link,
            intake,
            drops: drops_send.clone(),
            untold: 0,
            tuning: tuning.clone(),
            status: status.clone(),
            stop: stop.clone(),
        };
        let mut crew = Crew::default();
        crew.spawn("sensor-drop", move || dropper.run())?;
        let disk = over_disk
            .map(|way| spawn_disk(&mut crew, way))
            .transpose()?;
        // An error of these three: nobody wants to know what they leave.
        crew.spawn("sensor-send", move || drop(left_send.send(sender.run())))?;
        crew.spawn("sensor-ctrl", move || {
            drop(fifo_send.send(ctrl::run(fifo, &control_waker, controls)))
        })?;
        crew.spawn("sensor-recv", move || {
            drop(sockets_send.send(receiver.run()))
        })?;
        let drain = config.drain;
        Ok(Sensor {
            crew,
            stop,
            sender: deadline,
            left,
            disk,
            sockets,
            fifo: fifo_left,
            asked,
            drops: drops_send,
            dropper_ends_by,
            tuning,
            status,
            drain,
        })
    }

    /// The threads that never wait for anybody. (The sender may be looking up a name.)
    pub fn pulses(&self) -> Vec<Pulse> {
        vec![
            Pulse::new("sensor-recv", &self.stop.receiver),
            Pulse::new("sensor-ctrl", &self.stop.control),
        ]
    }

    /// Waits for a reason to stop or restart.
    pub fn wait(&self, signals: &Signals) -> Cause {
        select! {
            recv(signals.caught) -> cause => cause.unwrap_or(Cause::Stop("no signals any more")),
            recv(self.asked) -> cause => cause.unwrap_or(Cause::Stop("no control thread any more")),
        }
    }

    /// Stops reading, goes on sending for at most the drain time, tells what is left to the drop socket, ends the
    /// threads. The final statistics: what was received was sent, dropped or is left (`buffered`).
    pub fn stop(self, cause: Cause) -> String {
        self.sender.set(Instant::now() + self.drain);
        self.stop.ask();
        let outgoing = self.left.recv_timeout(self.drain + END_SECS_MAX).ok();
        // An error of these: they are still busy, which the crew tells.
        let _ = self.sockets.recv_timeout(END_SECS_MAX);
        let disk = self.disk.as_ref();
        let appender = disk.and_then(|disk| disk.appender.recv_timeout(END_SECS_MAX).ok());
        let spooling = outgoing.map(|mut outgoing| {
            let left = outgoing.leave();
            self.give_up(Some(left), reasons(cause));
            self.spooling(appender, outgoing)
        });
        match spooling {
            Some(Some(mut spooling)) => spooling.close(),
            Some(None) => {}
            None => self.give_up(None, reasons(cause)),
        }
        self.join().final_line()
    }

    /// The spool again, from what the threads left.
    fn spooling(
        &self,
        appender: Option<Appender>,
        outgoing: Box<dyn Outgoing>,
    ) -> Option<Spooling> {
        let disk = self.disk.as_ref()?;
        Some(Spooling::again(
            appender?,
            outgoing.into_reader()?,
            &disk.dir,
        ))
    }

    /// What is left goes to the drop socket, or where the operator wants it.
    fn give_up(&self, left: Option<Left>, [unsent, sent]: [&'static str; 2]) {
        let ends_by = Instant::now() + LAST_SECS_MAX;
        // An error: it is set already, and is earlier.
        let _ = self.dropper_ends_by.set(ends_by);
        let has_losses = left.as_ref().is_some_and(|left| left.has_losses);
        let [unsent, sent] = match left {
            Some(left) => [
                Doomed::new(unsent, left.unsent),
                Doomed::new(sent, left.sent),
            ],
            None => [
                Doomed::new(unsent, Vec::new()),
                // The sender holds them and does not end: it may have sent them.
                Doomed {
                    unseen: self.status.counts().buffered,
                    ..Doomed::new(sent, Vec::new())
                },
            ],
        };
        // What is lost for certain first: the time may be over before the others.
        for (doomed, what) in [
            (unsent, "could not be sent and are dropped"),
            (
                sent,
                "were sent and not confirmed: what the database does not have is dropped",
            ),
        ] {
            if doomed.alerts() == 0 {
                continue;
            }
            crate::warning!("{} alerts {what} ({})", doomed.alerts(), doomed.reason);
            if !self.tuning.is_quiet() {
                // An error: the dropper hangs, and the line above has told how many they are.
                let _ = self.drops.send_deadline(doomed, ends_by + END_SECS_MAX);
            }
        }
        if has_losses || self.status.shared.ledger.has_losses() {
            crate::warning!("losses could not be recorded in the database");
        }
    }

    fn join(self) -> Status {
        drop(self.drops); // So the dropper ends.
        let left = self
            .crew
            .join_until(Instant::now() + LAST_SECS_MAX + END_SECS_MAX);
        if !left.is_empty() {
            crate::warning!("left behind, still busy: {}", left.join(", "));
        }
        self.status
    }

    /// Ends the threads at once, and gives all that is not acknowledged, and the open sockets, to the program that
    /// `restart` executes. Returns only when that failed: then with what a new `start` goes on with.
    ///
    /// # Errors
    ///
    /// A thread did not end, so that nothing could be carried over.
    pub fn restart(self, restart: &Restart, signals: &Signals) -> Result<Inputs, Error> {
        self.sender.set(Instant::now());
        // An error: it is set already, and is earlier.
        let _ = self.dropper_ends_by.set(Instant::now() + LAST_SECS_MAX);
        self.stop.keeps.store(true, Ordering::SeqCst);
        self.stop.ask();
        let busy = |what: &str| {
            Error::start(
                "cannot restart",
                format!("thread {what} does not end"),
                "start it again",
            )
        };
        let mut outgoing = self
            .left
            .recv_timeout(HALT_SECS_MAX)
            .map_err(|_| busy("sensor-send"))?;
        let sockets = self
            .sockets
            .recv_timeout(HALT_SECS_MAX)
            .map_err(|_| busy("sensor-recv"))?;
        let fifo = self
            .fifo
            .recv_timeout(HALT_SECS_MAX)
            .map_err(|_| busy("sensor-ctrl"))?;
        let appender = match &self.disk {
            Some(disk) => {
                let left = disk.appender.recv_timeout(HALT_SECS_MAX);
                Some(left.map_err(|_| busy("sensor-disk"))?)
            }
            None => None,
        };
        let carried = Carried {
            stream: outgoing.stream(),
            acknowledged: outgoing.acknowledged(),
            sent: outgoing.most_sent(),
            is_spooled: outgoing.is_on_disk(),
            chunks: outgoing.carry(),
            sockets: sockets.iter().map(Served::left_open).collect(),
        };
        let mut spooling = self.spooling(appender, outgoing);
        if let Some(spooling) = &mut spooling {
            spooling.close();
        }
        crate::notice!("{}", self.join().final_line());
        let mut leaving = fifo.leaving();
        leaving.open.extend(sockets.iter().map(Served::as_fd));
        let write = |carrier: &mut Carrier| carried.write(carrier);
        leaving.payload = Some(&write);
        let Err(error) = restart.execute(&leaving, signals);
        crate::err!("{error}");
        Ok(Inputs {
            sockets,
            leaving: Vec::new(),
            fifo,
            spooling,
            carried: Some(carried),
        })
    }
}

fn spawn_disk(crew: &mut Crew, way: OverDisk) -> Result<DiskEnd, Error> {
    let (appender_send, appender) = bounded(1);
    let OverDisk { disk, syncer, dir } = way;
    crew.spawn("sensor-sync", move || syncer.run())?;
    // An error: nobody wants to know what it leaves.
    crew.spawn("sensor-disk", move || drop(appender_send.send(disk.run())))?;
    Ok(DiskEnd { appender, dir })
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
    match config.spool.as_ref().filter(|_| inputs.spooling.is_some()) {
        Some(spool) => crate::info!(
            "durable: yes, alerts wait in spool {} until servsock has stored them{}",
            spool.dir.display(),
            match spool.options.sync {
                spool::Sync::Group => "",
                spool::Sync::Off => "; a power loss may take the last seconds (--spool-sync off)",
            }
        ),
        None => crate::info!(
            "durable: no, there is no spool; what is not acknowledged yet is lost if this process is killed"
        ),
    }
}
