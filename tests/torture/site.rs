//! `Site`: the real programs of one round, their database, the lines between them.

use crate::clock::Clock;
use crate::database::{Database, Kind};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::faults::{Fault, Progress};
use crate::plan::Plan;
use crate::postgres_server::{Cluster, Stop};
use crate::program::{Program, ends, is_alive, within};
use crate::round::HANGS_AFTER;
use crate::running::{signal_to, start, words};
use crate::sender::Ids;
use crate::sensor::Sensor;
use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A disk that has room for what a round sends.
const DISK_MEGABYTES: u64 = 40;
/// A transaction is short.
const LOCK_WITHIN: Duration = Duration::from_millis(200);

/// Where a round takes place.
pub(crate) struct Site<'c> {
    // Dropped in this order: programs before what they use.
    pub(crate) sensors: Vec<Sensor>,
    servsock: Option<Program>,
    /// Workers of a servsock that was killed.
    orphans: Vec<u32>,
    stopped: Vec<u32>,
    lock: Option<rusqlite::Connection>,
    pub(crate) database: Database,
    cluster: &'c mut Cluster,
    server_is_stopped: bool,
    clock: Option<Clock>,
    database_disk: Option<Disk>,
    swap_disk: Option<Disk>,
    spool_disk: Option<Disk>,
    has_swap: bool,
    port: u16,
    /// Bound, but not listening: nobody else gets the port while servsock is down.
    _reserved: Socket,
    folder: PathBuf,
}

impl<'c> Site<'c> {
    /// A site as the plan says, with nothing in its folder; and its IDS programs.
    pub(crate) fn new(
        plan: &Plan,
        cluster: &'c mut Cluster,
        folder: &Path,
    ) -> (Site<'c>, Vec<Ids>) {
        let folder = folder.to_owned();
        let (reserved, port) = reserve_port();
        let clock = plan.has(Fault::ClockSetBack).then(|| Clock::new(&folder));
        let disk = |name: &str, fault| {
            let disk = || Disk::new(folder.join(name), DISK_MEGABYTES);
            plan.has(fault).then(disk)
        };
        let database_disk = disk("disk", Fault::DatabaseDiskFull);
        let swap_disk = disk("swap", Fault::SwapDiskFull);
        let spool_disk = disk("spool", Fault::SpoolDiskFull);
        for (name, disk) in [("swap", &swap_disk), ("spool", &spool_disk)] {
            if disk.is_none() {
                fs::create_dir(folder.join(name)).expect("a new folder");
            }
        }
        let database = match (plan.database, &database_disk) {
            (Kind::Sqlite, None) => Database::Sqlite(folder.join("alerts.db")),
            (Kind::Sqlite, Some(_)) => Database::Sqlite(folder.join("disk/alerts.db")),
            (Kind::Postgres, None) => Database::Postgres(cluster.create_database()),
            (Kind::Postgres, Some(_)) => {
                Database::Postgres(cluster.create_database_at(&folder.join("disk")))
            }
        };
        let mut site = Site {
            sensors: Vec::new(),
            servsock: None,
            orphans: Vec::new(),
            stopped: Vec::new(),
            lock: None,
            database,
            cluster,
            server_is_stopped: false,
            clock,
            database_disk,
            swap_disk,
            spool_disk,
            has_swap: plan.swap,
            port,
            _reserved: reserved,
            folder,
        };
        let ids = site.add_sensors(plan);
        (site, ids)
    }

    fn add_sensors(&mut self, plan: &Plan) -> Vec<Ids> {
        let mut all = Vec::new();
        for (number, plan) in (1..).zip(&plan.sensors) {
            let name = format!("sensor{number}");
            let environment = self.environment();
            let (sensor, ids) = Sensor::new(name, plan, self.port, &self.folder, environment);
            self.sensors.push(sensor);
            all.push(ids);
        }
        all
    }

    fn environment(&self) -> Vec<String> {
        let clock = self.clock.as_ref().map(Clock::environment);
        clock.into_iter().flatten().collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts everything, and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.start_servsock();
        self.servsock().says("servsock: ready");
        for sensor in &mut self.sensors {
            sensor.start();
        }
        for sensor in &mut self.sensors {
            sensor.program().says("sockserv: ready");
        }
    }

    pub(crate) fn sensor(&mut self, number: usize) -> &mut Sensor {
        &mut self.sensors[number]
    }

    /// Starts a sockserv once the one before it has ended.
    pub(crate) fn start_sensor(&mut self, number: usize) -> Progress {
        let sensor = &mut self.sensors[number];
        if sensor.program().is_running() {
            return Progress::Later;
        }
        sensor.start();
        Progress::Done
    }

    /// The same of servsock.
    pub(crate) fn start_servsock(&mut self) -> Progress {
        if self.servsock.as_mut().is_some_and(Program::is_running) {
            return Progress::Later;
        }
        let (port, db) = (self.port.to_string(), self.database.url());
        let mut args = words(&["-p", &port, "--db", &db, "--control", "servsock.ctrl"]);
        if self.has_swap {
            args.extend(words(&["-W", "swap"]));
        }
        let environment = self.environment();
        self.servsock = Some(start(
            "servsock",
            &environment,
            &args,
            &self.folder,
            "servsock",
        ));
        Progress::Done
    }

    fn servsock(&mut self) -> &mut Program {
        self.servsock.as_mut().expect("it was started")
    }

    pub(crate) fn kill_servsock(&mut self) {
        let workers = self.servsock().children();
        self.orphans.extend(workers);
        self.servsock().kill();
    }

    pub(crate) fn signal_servsock(&mut self, signal: Signal) {
        signal_to(self.servsock().pid(), signal);
    }

    pub(crate) fn signal_all_of_servsock(&mut self, signal: Signal) {
        let workers = self.servsock().children();
        self.signal_servsock(signal);
        for worker in workers {
            signal_to(worker, signal);
        }
    }

    /// One of the workers, if there are any.
    pub(crate) fn signal_worker(&mut self, dice: &mut Dice, signal: Signal) {
        let workers = self.servsock().children();
        if !workers.is_empty() {
            let worker = dice.one_of(&workers);
            signal_to(worker, signal);
            self.stopped.push(worker);
        }
    }

    pub(crate) fn wake_workers(&mut self) {
        for worker in self.stopped.drain(..) {
            signal_to(worker, Signal::SIGCONT);
        }
    }

    pub(crate) fn stop_server(&mut self, how: Stop) {
        self.cluster.stop(how);
        self.server_is_stopped = true;
    }

    pub(crate) fn start_server(&mut self) {
        if self.server_is_stopped {
            self.cluster.start_again();
            self.server_is_stopped = false;
        }
    }

    /// The processes of PostgreSQL that serve this round's workers.
    pub(crate) fn signal_sessions(&mut self, signal: Signal) {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for row in self.database.query(sql) {
            let pid = row[0].as_deref().and_then(|pid| pid.parse().ok());
            let pid = pid.expect("a process id");
            signal_to(pid, signal);
            self.stopped.push(pid);
        }
    }

    pub(crate) fn wake_sessions(&mut self) {
        self.wake_workers();
    }

    /// Nobody else can write to the SQLite database. Where a worker is stopped in the middle of a transaction, its lock is
    /// as good.
    pub(crate) fn lock_database(&mut self) {
        let Database::Sqlite(path) = &self.database else {
            return;
        };
        let lock = rusqlite::Connection::open(path).and_then(|lock| {
            lock.busy_timeout(LOCK_WITHIN)?;
            lock.execute_batch("BEGIN IMMEDIATE")?;
            Ok(lock)
        });
        self.lock = lock.ok();
    }

    pub(crate) fn unlock_database(&mut self) {
        self.lock = None;
    }

    pub(crate) fn fill_database_disk(&mut self) {
        self.database_disk.iter().for_each(Disk::fill);
    }

    pub(crate) fn fill_swap_disk(&mut self) {
        self.swap_disk.iter().for_each(Disk::fill);
    }

    pub(crate) fn fill_spool_disk(&mut self) {
        self.spool_disk.iter().for_each(Disk::fill);
    }

    pub(crate) fn empty_database_disk(&mut self) {
        self.database_disk.iter().for_each(Disk::empty);
    }

    pub(crate) fn empty_swap_disk(&mut self) {
        self.swap_disk.iter().for_each(Disk::empty);
    }

    pub(crate) fn empty_spool_disk(&mut self) {
        self.spool_disk.iter().for_each(Disk::empty);
    }

    pub(crate) fn set_clock_back(&mut self, by: Duration) {
        if let Some(clock) = &self.clock {
            clock.set_back(by);
        }
    }

    /// Waits until nothing waits on servsock's disk.
    pub(crate) fn swap_gets_empty(&self) {
        if !self.has_swap {
            return;
        }
        within(HANGS_AFTER, "the swap is empty", || {
            let entries = fs::read_dir(self.path("swap")).expect("the folder");
            let names = entries.flatten().map(|entry| entry.file_name());
            match names.collect::<Vec<_>>().as_slice() {
                [] => Ok(()),
                names => Err(format!("{names:?} are there")),
            }
        });
    }

    /// Stops everything as an operator does.
    pub(crate) fn stop(&mut self) {
        for sensor in &mut self.sensors {
            sensor.program().signal(Signal::SIGTERM);
        }
        for sensor in &mut self.sensors {
            let status = sensor.program().exits_within(HANGS_AFTER);
            assert!(status.success(), "{} ended with {status}", sensor.name);
        }
        self.swap_gets_empty();
        for orphan in std::mem::take(&mut self.orphans) {
            ends(orphan);
        }
        self.signal_servsock(Signal::SIGTERM);
        let status = self.servsock().exits_within(HANGS_AFTER);
        assert!(status.success(), "servsock ended with {status}");
    }
}

impl Drop for Site<'_> {
    /// The server is there for the next round, whatever happened in this one.
    fn drop(&mut self) {
        self.wake_workers();
        self.sensors.clear();
        self.servsock = None;
        for orphan in self.orphans.iter().filter(|orphan| is_alive(**orphan)) {
            signal_to(*orphan, Signal::SIGKILL);
        }
        self.start_server();
        if let Database::Postgres(url) = &self.database {
            self.cluster.drop_database(url);
        }
    }
}

fn reserve_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .set_reuse_address(true)
        .expect("as servsock sets it, so that both may bind");
    let any = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    socket.bind(&any).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let port = address.as_socket().expect("IPv4").port();
    (socket, port)
}
