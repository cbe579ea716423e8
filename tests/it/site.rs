//! `Site`: a folder with sockserv, servsock and a database in it, and an IDS that is the test itself.

use crate::database::{Database, Kind};
use crate::program::{Program, built, eventually};
use crate::serial;
use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Lines of each log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;

/// Where a test takes place. Programs that still run are killed at its end.
pub(crate) struct Site {
    // Dropped in this order: programs before their folder.
    pub(crate) sockserv: Option<Program>,
    pub(crate) servsock: Option<Program>,
    pub(crate) database: Database,
    port: u16,
    /// Bound, but not listening: nobody else gets the port, also while servsock is down.
    _reserved: Socket,
    folder: tempfile::TempDir,
}

impl Site {
    /// Both programs, and a database of this kind.
    pub(crate) fn new(kind: Kind) -> Site {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv();
        site
    }

    /// sockserv alone; servsock is not there yet.
    pub(crate) fn without_servsock(kind: Kind) -> Site {
        let mut site = Site::empty(kind);
        site.start_sockserv();
        site
    }

    /// No program yet.
    pub(crate) fn empty(kind: Kind) -> Site {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (reserved, port) = reserve_port();
        Site {
            sockserv: None,
            servsock: None,
            database: Database::new(kind, folder.path()),
            port,
            _reserved: reserved,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where servsock listens, when it does.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn start_servsock(&mut self) {
        self.start_servsock_with(&[]);
    }

    /// Returns once it listens.
    pub(crate) fn start_servsock_with(&mut self, more: &[&str]) {
        let (port, db) = (self.port.to_string(), self.database.url());
        let mut args = vec!["-p", &port, "--db", &db, "--control", "servsock.ctrl"];
        args.extend(more);
        let before = count_lines(&self.path("servsock.log"), "servsock: ready");
        let mut servsock = self.run("servsock", "servsock", &args);
        wait_until_ready(&mut servsock, before);
        self.servsock = Some(servsock);
    }

    pub(crate) fn start_sockserv(&mut self) {
        self.start_sockserv_with(&[]);
    }

    /// Returns once its socket is there.
    pub(crate) fn start_sockserv_with(&mut self, more: &[&str]) {
        let before = count_lines(&self.path("sockserv.log"), "sockserv: ready");
        let mut sockserv = self.sockserv_named("sensor", "sockserv", more);
        wait_until_ready(&mut sockserv, before);
        self.sockserv = Some(sockserv);
    }

    /// The same, of a copy of the program.
    pub(crate) fn start_sockserv_of(&mut self, program: &Path) {
        let port = self.port.to_string();
        let args = ["-s", "sockserv", "-p", &port, "-N", "sensor"].map(str::to_owned);
        let log = self.path("sockserv.log");
        let mut sockserv = Program::start_file(program, &args, self.folder(), &log);
        wait_until_ready(&mut sockserv, 0);
        self.sockserv = Some(sockserv);
    }

    /// One more sockserv, as another sensor: its socket, FIFO and log are named as the sensor.
    pub(crate) fn another_sockserv(&self, sensor: &str, more: &[&str]) -> Program {
        let mut sockserv = self.sockserv_named(sensor, sensor, more);
        sockserv.says("sockserv: ready");
        sockserv
    }

    fn sockserv_named(&self, sensor: &str, file: &str, more: &[&str]) -> Program {
        let port = self.port.to_string();
        let mut args = vec!["-s", file, "-p", &port, "-N", sensor];
        args.extend(more);
        self.run("sockserv", file, &args)
    }

    /// Starts a program in this folder with exactly these options, its log named `file`.
    pub(crate) fn run(&self, program: &str, file: &str, args: &[&str]) -> Program {
        let args: Vec<String> = args.iter().map(|arg| String::from(*arg)).collect();
        let log = self.path(&format!("{file}.log"));
        Program::start(program, &args, self.folder(), &log)
    }

    /// As `run`, of servsock, by a root who has to obey the modes of files as anybody else.
    pub(crate) fn run_obeying_modes(&self, file: &str, args: &[&str]) -> Program {
        if !nix::unistd::geteuid().is_root() {
            return self.run("servsock", file, args);
        }
        let without = "--bounding-set=-dac_override,-dac_read_search";
        let args = [&[without, built("servsock")], args].concat();
        let args: Vec<String> = args.into_iter().map(String::from).collect();
        let log = self.path(&format!("{file}.log"));
        Program::start_file(Path::new("setpriv"), &args, self.folder(), &log)
    }

    /// The IDS sends datagrams to sockserv's first socket, each as soon as the kernel takes it.
    pub(crate) fn ids_sends<D: AsRef<[u8]>>(&self, datagrams: impl IntoIterator<Item = D>) {
        self.ids_sends_to("sockserv", datagrams);
    }

    /// The same, to another socket.
    pub(crate) fn ids_sends_to<D: AsRef<[u8]>>(
        &self,
        socket: &str,
        datagrams: impl IntoIterator<Item = D>,
    ) {
        let ids = ids_socket();
        let path = self.path(socket);
        for datagram in datagrams {
            ids.send_to(datagram.as_ref(), &path)
                .expect("sockserv takes each datagram");
        }
    }

    /// The IDS sends alerts with these serial numbers.
    pub(crate) fn ids_sends_alerts(&self, serials: RangeInclusive<u32>) {
        self.ids_sends(serial::alerts(serials));
    }

    /// Waits until these alerts, and no others, are in the database: in order, each once.
    pub(crate) fn database_gets(&self, serials: RangeInclusive<u32>) {
        self.database.has_alerts(serials.clone().count());
        serial::are_stored(&self.database, "sensor", serials);
    }

    pub(crate) fn sockserv(&mut self) -> &mut Program {
        self.sockserv.as_mut().expect("sockserv was started")
    }

    pub(crate) fn servsock(&mut self) -> &mut Program {
        self.servsock.as_mut().expect("servsock was started")
    }

    /// Stops both programs as an operator does; each ends with exit code 0.
    pub(crate) fn stop(&mut self) {
        for program in [&mut self.sockserv, &mut self.servsock]
            .into_iter()
            .flatten()
        {
            program.signal(Signal::SIGTERM);
            let status = program.exits();
            assert_eq!(status.code(), Some(0), "{}", program.log());
        }
    }

    /// Writes a line into a control FIFO.
    pub(crate) fn commands(&self, fifo: &str, line: &str) {
        let mut fifo = File::options()
            .write(true)
            .open(self.path(fifo))
            .expect("the program reads its FIFO");
        writeln!(fifo, "{line}").expect("the program reads its FIFO");
    }

    /// Asks `program` ("sockserv" or "servsock") for statistics until they contain `text`; returns that line.
    pub(crate) fn statistics_say(&self, program: &str, text: &str) -> String {
        let log = self.path(&format!("{program}.log"));
        let mut asked = 0;
        eventually(&format!("statistics of {program} say {text:?}"), || {
            let lines = statistics(&log);
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            if lines.len() >= asked {
                self.commands(&format!("{program}.ctrl"), "stats");
                asked = lines.len() + 1;
            }
            Err(format!("the last is {:?}", lines.last()))
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.folder());
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

/// Big enough for the longest datagrams of the tests.
fn ids_socket() -> UnixDatagram {
    let socket = UnixDatagram::unbound().expect("a socket");
    socket2::SockRef::from(&socket)
        .set_send_buffer_size(4 << 20)
        .expect("a send buffer");
    socket
}

fn wait_until_ready(program: &mut Program, before: usize) {
    eventually("the program is ready", || {
        let is_running = program.is_running();
        match program.lines_with(": ready") > before {
            true => Ok(()),
            false => {
                assert!(is_running, "it ended:\n{}", program.log());
                Err(String::from("it is not"))
            }
        }
    });
}

fn count_lines(log: &Path, text: &str) -> usize {
    let log = fs::read_to_string(log).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).count()
}

fn statistics(log: &Path) -> Vec<String> {
    let log = fs::read_to_string(log).unwrap_or_default();
    // Behind servsock's line come those of single sensors.
    let lines = log.lines().filter(|line| {
        let behind = line.split_once(": ").map(|(_, behind)| behind);
        behind.is_some_and(|behind| behind.starts_with("received "))
    });
    lines.map(str::to_owned).collect()
}

fn show_logs(folder: &Path) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    for path in logs {
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!("--- {}, the last lines:", path.display());
        shown.iter().for_each(|line| eprintln!("{line}"));
    }
}
