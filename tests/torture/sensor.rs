//! One sensor of a site: its sockserv, its IDS, its line.

use crate::faults::Progress;
use crate::plan::{SensorPlan, Spool};
use crate::program::Program;
use crate::proxy::Proxy;
use crate::running::{signal_to, start, words};
use crate::sender::{Ids, Watch};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// More than any fault lasts: a sockserv that is stopped in order delivers everything.
const DRAIN_SECS: &str = "50";
/// More than any round sends.
const HIGH_WATER: u64 = 1_000_000;

/// See the module. Its files are named as it.
pub(crate) struct Sensor {
    pub(crate) name: String,
    pub(crate) line: Proxy,
    pub(crate) ids: Watch,
    sockserv: Option<Program>,
    args: Vec<String>,
    environment: Vec<String>,
    folder: PathBuf,
}

impl Sensor {
    /// Nothing of it runs yet. The IDS is the caller's.
    pub(crate) fn new(
        name: String,
        plan: &SensorPlan,
        servsock: u16,
        folder: &Path,
        environment: Vec<String>,
    ) -> (Sensor, Ids) {
        let ids = Ids::new(folder.join(&name), plan.form);
        let line = Proxy::start(servsock);
        let port = line.port().to_string();
        let mut args = words(&["-s", &name, "-p", &port, "-N", &name, "-W", "1", "-q"]);
        args.extend(words(&["--drain", DRAIN_SECS]));
        args.extend(spool_args(plan.spool, &name));
        args.extend(plan.compress.then(|| "--compress".to_owned()));
        let high = plan.high_water.unwrap_or(HIGH_WATER);
        let (high, low) = (high.to_string(), (high / 2).to_string());
        args.extend(words(&["-H", &high, "-L", &low]));
        let sensor = Sensor {
            name,
            line,
            ids: ids.watch(),
            sockserv: None,
            args,
            environment,
            folder: folder.to_owned(),
        };
        (sensor, ids)
    }

    pub(crate) fn fifo(&self) -> PathBuf {
        self.folder.join(format!("{}.ctrl", self.name))
    }

    pub(crate) fn start(&mut self) {
        self.sockserv = Some(start(
            "sockserv",
            &self.environment,
            &self.args,
            &self.folder,
            &self.name,
        ));
    }

    pub(crate) fn program(&mut self) -> &mut Program {
        self.sockserv.as_mut().expect("it was started")
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        signal_to(self.program().pid(), signal);
    }

    pub(crate) fn kill(&mut self) {
        let now = Instant::now();
        self.program().kill();
        self.ids.was_killed(now);
    }

    /// A line that is dead is left as it is until the sensor has noticed.
    pub(crate) fn gives_line_up(&mut self) -> Progress {
        if self.program().lines_with("nothing was heard of it") == 0 {
            return Progress::Later;
        }
        self.line.cut();
        self.line.heal();
        Progress::Done
    }
}

fn spool_args(spool: Spool, name: &str) -> Vec<String> {
    let when = match spool {
        Spool::No => return Vec::new(),
        Spool::Group => "group",
        Spool::Off => "off",
    };
    let dir = format!("spool/{name}");
    words(&["--spool", &dir, "--spool-sync", when])
}
