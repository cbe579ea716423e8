//! A folder with the real programs in it.

use crate::Result;
use crate::process;
use flop::status::SensorState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that does not do its work within this is given up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);
const LISTENING: &str = "listening for sensors on ";

/// A folder; gone, with all in it, when this is dropped.
pub(crate) struct Site(tempfile::TempDir);

impl Site {
    pub(crate) fn new() -> Result<Site> {
        Ok(Site(
            tempfile::Builder::new().prefix("flop-bench").tempdir()?,
        ))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// servsock on a port of its own; returns once it listens.
    pub(crate) fn servsock(&self, db: &str, more: &[&str]) -> Result<Servsock> {
        let mut args = vec!["-p", "0", "--db", db, "--control", "servsock.ctrl"];
        args.extend(more);
        let mut program = self.start("servsock", "servsock", &args)?;
        program.says("servsock: ready")?;
        let line = program.says(LISTENING)?;
        let (_, address) = line.rsplit_once(LISTENING).ok_or("no address was told")?;
        Ok(Servsock {
            address: address.trim().parse()?,
            program,
        })
    }

    /// sockserv as the sensor of this name, whose socket has it too; returns once it takes alerts.
    pub(crate) fn sockserv(
        &self,
        sensor: &str,
        server: SocketAddr,
        more: &[&str],
    ) -> Result<Sockserv> {
        let port = server.port().to_string();
        let mut args = vec!["-s", sensor, "-N", sensor, "-p", &port];
        args.extend(more);
        let mut program = self.start("sockserv", sensor, &args)?;
        program.says("sockserv: ready")?;
        Ok(Sockserv {
            socket: self.path(sensor),
            program,
        })
    }

    fn start(&self, program: &str, name: &str, args: &[&str]) -> Result<Program> {
        let log = self.path(&format!("{name}.log"));
        let file = File::create(&log)?;
        let child = Command::new(built(program))
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Program {
            name: program.to_owned(),
            child,
            log,
        })
    }
}

fn built(program: &str) -> &'static str {
    match program {
        "sockserv" => env!("CARGO_BIN_EXE_sockserv"),
        _ => env!("CARGO_BIN_EXE_servsock"),
    }
}

/// An address of this machine where nobody listens as long as this is kept.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    /// Bound, but not listening.
    _reserved: socket2::Socket,
}

impl Nobody {
    pub(crate) fn new() -> Result<Nobody> {
        let reserved = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = reserved.local_addr()?.as_socket().ok_or("no address")?;
        Ok(Nobody {
            address,
            _reserved: reserved,
        })
    }
}

/// A listener on a port of its own.
pub(crate) fn listener() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

pub(crate) struct Servsock {
    pub(crate) address: SocketAddr,
    pub(crate) program: Program,
}

pub(crate) struct Sockserv {
    pub(crate) socket: PathBuf,
    pub(crate) program: Program,
}

impl Sockserv {
    /// Waits until it says that so many alerts came in, and that none was dropped.
    pub(crate) fn has_received(&self, count: usize) -> Result<()> {
        self.says(&format!("sockserv has received {count} alerts"), |state| {
            state.received == count as u64
        })
    }

    /// Waits until it says that so many alerts are in its spool.
    pub(crate) fn has_spooled(&self, count: usize) -> Result<()> {
        self.says(
            &format!("sockserv has {count} alerts in its spool"),
            |state| state.spooled == count as u64,
        )
    }

    /// Waits until all that it received is stored.
    pub(crate) fn is_empty(&self) -> Result<()> {
        self.says("all alerts of sockserv are stored", |state| {
            state.buffered == 0 && state.spooled == 0
        })
    }

    fn says(&self, what: &str, wanted: impl Fn(&SensorState) -> bool) -> Result<()> {
        let control = PathBuf::from(format!("{}.ctrl", self.socket.display()));
        eventually(what, || {
            let report = flop::ctrl::ask(&control)?;
            let state = report.sensors.first().ok_or("a sockserv is a sensor")?;
            match state.dropped {
                0 => Ok(wanted(state)),
                dropped => Err(format!("sockserv dropped {dropped} alerts").into()),
            }
        })
    }

    /// Waits until servsock has welcomed it.
    pub(crate) fn is_connected(&mut self) -> Result<()> {
        self.program.says("connected to ").map(drop)
    }
}

/// A program of ours; killed with all that it started when this is dropped. It is in our process group, so an interrupt
/// from the terminal reaches it as well.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its log says this; returns the line.
    pub(crate) fn says(&mut self, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(&self.log)?;
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if ended.is_some() || start.elapsed() > DEADLINE {
                return Err(format!("{} does not say {text:?} but:\n{log}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// To it and all processes that it started.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        for pid in process::family(self.pid())? {
            // Errors: a worker may have ended meanwhile.
            let _ = kill(process_id(pid)?, signal);
        }
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(process_id(self.pid())?, Signal::SIGTERM)?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}", self.name).into()),
        }
    }
}

fn process_id(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(pid)?))
}

impl Drop for Program {
    fn drop(&mut self) {
        let family = process::family(self.pid()).unwrap_or_default();
        // Errors: it has ended, as it should have, and so have its workers.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in family.into_iter().skip(1) {
            let _ = process_id(pid).map(|pid| kill(pid, Signal::SIGKILL));
        }
    }
}

/// Waits until this is so.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > DEADLINE {
            return Err(format!("{what}: not within {DEADLINE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}
