//! The faults: what each does to a site, and how it is over.

use crate::database::Kind;
use crate::dice::Dice;
use crate::fifo;
use crate::postgres_server::Stop;
use crate::proxy::{Cut, Way};
use crate::site::Site;
use nix::sys::signal::Signal;
use std::time::Duration;

/// One of a round's faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    pub(crate) fault: Fault,
    /// After the first alert.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    /// Which sensor it hits, where it hits one.
    pub(crate) sensor: usize,
    /// For what else chance decides.
    pub(crate) seed: u64,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    SockservKilled,
    SpoolingKilled,
    SockservStopped,
    SockservEnded,
    SockservRestarted,
    ServsockKilled,
    ServsockStopped,
    ServsockEnded,
    ServsockRestarted,
    AllOfServsockKilled,
    WorkerKilled,
    WorkerStopped,
    DatabaseKilled,
    DatabaseCrashed,
    DatabaseEnded,
    DatabaseStopped,
    SessionsKilled,
    DatabaseLocked,
    LineCut,
    LineCutInFrame,
    LineDelayed,
    LineHalfOpen,
    LineDead,
    OnlyUp,
    OnlyDown,
    DeliveredLate,
    DatabaseDiskFull,
    SwapDiskFull,
    SpoolDiskFull,
    ClockSetBack,
    FifoAbused,
}

/// What a fault is done to; a round does one thing at most to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Sockserv,
    Servsock,
    Worker,
    Database,
    Line,
    Spool,
    Clock,
    Fifo,
}

/// Whether something is over.
pub(crate) enum Progress {
    Done,
    /// To be asked again a little later.
    Later,
}

impl Fault {
    pub(crate) const ALL: [Fault; 31] = [
        Fault::SockservKilled,
        Fault::SpoolingKilled,
        Fault::SockservStopped,
        Fault::SockservEnded,
        Fault::SockservRestarted,
        Fault::ServsockKilled,
        Fault::ServsockStopped,
        Fault::ServsockEnded,
        Fault::ServsockRestarted,
        Fault::AllOfServsockKilled,
        Fault::WorkerKilled,
        Fault::WorkerStopped,
        Fault::DatabaseKilled,
        Fault::DatabaseCrashed,
        Fault::DatabaseEnded,
        Fault::DatabaseStopped,
        Fault::SessionsKilled,
        Fault::DatabaseLocked,
        Fault::LineCut,
        Fault::LineCutInFrame,
        Fault::LineDelayed,
        Fault::LineHalfOpen,
        Fault::LineDead,
        Fault::OnlyUp,
        Fault::OnlyDown,
        Fault::DeliveredLate,
        Fault::DatabaseDiskFull,
        Fault::SwapDiskFull,
        Fault::SpoolDiskFull,
        Fault::ClockSetBack,
        Fault::FifoAbused,
    ];

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::SockservKilled => "sockserv: kill -9",
            Fault::SpoolingKilled => "sockserv with --spool: kill -9",
            Fault::SockservStopped => "sockserv: SIGSTOP, SIGCONT",
            Fault::SockservEnded => "sockserv: SIGTERM, started again",
            Fault::SockservRestarted => "sockserv: SIGHUP",
            Fault::ServsockKilled => "servsock: kill -9",
            Fault::ServsockStopped => "servsock and workers: SIGSTOP, SIGCONT",
            Fault::ServsockEnded => "servsock: SIGTERM, started again",
            Fault::ServsockRestarted => "servsock: SIGHUP",
            Fault::AllOfServsockKilled => "servsock and workers: kill -9",
            Fault::WorkerKilled => "a worker: kill -9",
            Fault::WorkerStopped => "a worker: SIGSTOP, SIGCONT, line cut meanwhile",
            Fault::DatabaseKilled => "PostgreSQL: kill -9",
            Fault::DatabaseCrashed => "PostgreSQL: SIGQUIT",
            Fault::DatabaseEnded => "PostgreSQL: SIGINT, started again",
            Fault::DatabaseStopped => "PostgreSQL: SIGSTOP, SIGCONT",
            Fault::SessionsKilled => "PostgreSQL: sessions ended",
            Fault::DatabaseLocked => "SQLite: locked",
            Fault::LineCut => "line: cut, and cut again",
            Fault::LineCutInFrame => "line: cut at or in a frame",
            Fault::LineDelayed => "line: each frame delayed",
            Fault::LineHalfOpen => "line: half open, then cut",
            Fault::LineDead => "line: half open until given up",
            Fault::OnlyUp => "line: only to servsock, then cut",
            Fault::OnlyDown => "line: only to the sensor, then cut",
            Fault::DeliveredLate => "line: old connection delivers late",
            Fault::DatabaseDiskFull => "disk full: database",
            Fault::SwapDiskFull => "disk full: swap, PostgreSQL ended",
            Fault::SpoolDiskFull => "disk full: spool",
            Fault::ClockSetBack => "clock set back by an hour",
            Fault::FifoAbused => "FIFO abused",
        }
    }

    pub(crate) fn target(self) -> Target {
        match self {
            Fault::SockservKilled
            | Fault::SpoolingKilled
            | Fault::SockservStopped
            | Fault::SockservEnded
            | Fault::SockservRestarted => Target::Sockserv,
            Fault::ServsockKilled
            | Fault::ServsockStopped
            | Fault::ServsockEnded
            | Fault::ServsockRestarted
            | Fault::AllOfServsockKilled => Target::Servsock,
            Fault::WorkerKilled | Fault::WorkerStopped => Target::Worker,
            Fault::DatabaseKilled
            | Fault::DatabaseCrashed
            | Fault::DatabaseEnded
            | Fault::DatabaseStopped
            | Fault::SessionsKilled
            | Fault::DatabaseLocked
            | Fault::DatabaseDiskFull
            | Fault::SwapDiskFull => Target::Database,
            Fault::LineCut
            | Fault::LineCutInFrame
            | Fault::LineDelayed
            | Fault::LineHalfOpen
            | Fault::LineDead
            | Fault::OnlyUp
            | Fault::OnlyDown
            | Fault::DeliveredLate => Target::Line,
            Fault::SpoolDiskFull => Target::Spool,
            Fault::ClockSetBack => Target::Clock,
            Fault::FifoAbused => Target::Fifo,
        }
    }

    /// The one database on which it is possible.
    pub(crate) fn needs_database(self) -> Option<Kind> {
        match self {
            Fault::DatabaseKilled
            | Fault::DatabaseCrashed
            | Fault::DatabaseEnded
            | Fault::DatabaseStopped
            | Fault::SessionsKilled
            | Fault::SwapDiskFull => Some(Kind::Postgres),
            Fault::DatabaseLocked => Some(Kind::Sqlite),
            _ => None,
        }
    }

    /// A small file system has to be mounted for it.
    pub(crate) fn needs_root(self) -> bool {
        matches!(
            self,
            Fault::DatabaseDiskFull | Fault::SwapDiskFull | Fault::SpoolDiskFull
        )
    }

    /// It takes so long that it is left to few rounds.
    pub(crate) fn is_slow(self) -> bool {
        self == Fault::LineDead
    }
}

impl Occurrence {
    pub(crate) fn begin(&self, site: &mut Site) {
        let mut dice = Dice::new(self.seed);
        match self.fault {
            Fault::SockservKilled | Fault::SpoolingKilled => site.sensor(self.sensor).kill(),
            Fault::SockservStopped => site.sensor(self.sensor).signal(Signal::SIGSTOP),
            Fault::SockservEnded => site.sensor(self.sensor).signal(Signal::SIGTERM),
            Fault::SockservRestarted => site.sensor(self.sensor).signal(Signal::SIGHUP),
            Fault::ServsockKilled => site.kill_servsock(),
            Fault::ServsockStopped => site.signal_all_of_servsock(Signal::SIGSTOP),
            Fault::ServsockEnded => site.signal_servsock(Signal::SIGTERM),
            Fault::ServsockRestarted => site.signal_servsock(Signal::SIGHUP),
            Fault::AllOfServsockKilled => {
                site.signal_all_of_servsock(Signal::SIGKILL);
                site.kill_servsock();
            }
            Fault::WorkerKilled => site.signal_worker(&mut dice, Signal::SIGKILL),
            Fault::WorkerStopped => {
                site.signal_worker(&mut dice, Signal::SIGSTOP);
                site.sensors.iter().for_each(|sensor| sensor.line.cut());
            }
            Fault::DatabaseKilled => site.stop_server(Stop::Kill),
            Fault::DatabaseCrashed => site.stop_server(Stop::Immediate),
            Fault::DatabaseEnded => site.stop_server(Stop::Fast),
            Fault::DatabaseStopped => site.signal_sessions(Signal::SIGSTOP),
            Fault::SessionsKilled => site.signal_sessions(Signal::SIGTERM),
            Fault::DatabaseLocked => site.lock_database(),
            Fault::DatabaseDiskFull => site.fill_database_disk(),
            Fault::SwapDiskFull => {
                site.fill_swap_disk();
                site.stop_server(Stop::Fast);
            }
            Fault::SpoolDiskFull => site.fill_spool_disk(),
            Fault::ClockSetBack => site.set_clock_back(Duration::from_secs(3_600)),
            Fault::FifoAbused => fifo::abuse(site, &mut dice),
            _ => self.begin_on_line(site, &mut dice),
        }
    }

    fn begin_on_line(&self, site: &mut Site, dice: &mut Dice) {
        let line = &site.sensor(self.sensor).line;
        match self.fault {
            Fault::LineCutInFrame => {
                line.cut_at(Cut {
                    way: dice.one_of(&[Way::Up, Way::Down]),
                    frames: dice.within(0..=4),
                    bytes: dice.one_of(&[0, 5, 8, 15, 20, 200, usize::MAX]),
                });
                // Now and then the frames are those of a handshake.
                if dice.one_in(2) {
                    line.cut();
                }
            }
            Fault::LineDelayed => line.delay(dice.millis(5..=60)),
            Fault::LineHalfOpen | Fault::LineDead => line.hold(true, true),
            Fault::OnlyUp => line.hold(false, true),
            Fault::OnlyDown => line.hold(true, false),
            Fault::DeliveredLate => line.part(),
            _ => line.cut_on_the_way(),
        }
    }

    /// Takes the fault away, and starts what has ended.
    pub(crate) fn end(&self, site: &mut Site) -> Progress {
        match self.fault {
            Fault::SockservStopped => site.sensor(self.sensor).signal(Signal::SIGCONT),
            Fault::SockservKilled | Fault::SpoolingKilled | Fault::SockservEnded => {
                return site.start_sensor(self.sensor);
            }
            Fault::ServsockStopped => site.signal_all_of_servsock(Signal::SIGCONT),
            Fault::ServsockKilled | Fault::ServsockEnded | Fault::AllOfServsockKilled => {
                return site.start_servsock();
            }
            Fault::WorkerStopped => site.wake_workers(),
            Fault::DatabaseKilled | Fault::DatabaseCrashed | Fault::DatabaseEnded => {
                site.start_server();
            }
            Fault::DatabaseStopped => site.wake_sessions(),
            Fault::DatabaseLocked => site.unlock_database(),
            Fault::DatabaseDiskFull => site.empty_database_disk(),
            Fault::SpoolDiskFull => site.empty_spool_disk(),
            Fault::SwapDiskFull => {
                site.empty_swap_disk();
                site.start_server();
            }
            Fault::LineCutInFrame | Fault::LineDelayed => site.sensor(self.sensor).line.heal(),
            Fault::LineCut => site.sensor(self.sensor).line.cut_on_the_way(),
            Fault::LineHalfOpen | Fault::OnlyUp | Fault::OnlyDown => {
                let line = &site.sensor(self.sensor).line;
                line.cut();
                line.heal();
            }
            Fault::LineDead => return site.sensor(self.sensor).gives_line_up(),
            Fault::DeliveredLate => site.sensor(self.sensor).line.deliver_late(),
            Fault::SockservRestarted
            | Fault::ServsockRestarted
            | Fault::WorkerKilled
            | Fault::SessionsKilled
            | Fault::ClockSetBack
            | Fault::FifoAbused => {}
        }
        Progress::Done
    }
}
