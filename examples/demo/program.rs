//! A program that the demo runs, and what it says.

use super::{FOLDER, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that does not do its work within this is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// The folder of the built programs: this one lies in `examples` below it.
fn programs() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder.ok_or("this program has no folder")?.to_owned())
}

/// A running program. It is killed when this is dropped before it was stopped.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Bytes of its log that another one has written.
    of_others: usize,
}

impl Program {
    pub(super) fn start(name: &'static str, args: &[&str]) -> Result<Program> {
        let (path, log) = (
            programs()?.join(name),
            Path::new(FOLDER).join(format!("{name}.log")),
        );
        let file = File::options().create(true).append(true).open(&log)?;
        let of_others = usize::try_from(file.metadata()?.len())?;
        let child = Command::new(&path)
            .args(args)
            .current_dir(FOLDER)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| {
                format!(
                    "cannot start {}: {error}; `make demo` builds it",
                    path.display()
                )
            })?;
        Ok(Program {
            name,
            child,
            log,
            of_others,
        })
    }

    /// Waits until its log says this; returns the line.
    pub(super) fn says(&mut self, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(&self.log)?;
            let said = log.get(self.of_others..).unwrap_or_default();
            if let Some(line) = said.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if ended.is_some() || start.elapsed() > DEADLINE {
                return Err(format!("{} does not say {text:?} but:\n{log}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL: nothing is left to it but what is on the disk.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it, as an operator does, until the answer has this number.
    pub(super) fn reports(&self, field: &str, number: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let control = format!("{}.ctrl", self.name);
            let answer = Command::new(programs()?.join(self.name))
                .args(["--status", "--json", "--control", &control])
                .current_dir(FOLDER)
                .output()?;
            let report: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
            let sensor = &report["sensors"][0];
            if sensor[field] == number {
                return Ok(());
            }
            if start.elapsed() > DEADLINE {
                let name = self.name;
                return Err(format!("{name}'s {field} is not {number}: {sensor}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and waits for its end.
    pub(super) fn stop(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM)?;
        let status: ExitStatus = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}", self.name).into()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors: it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGKILL for a worker: servsock tells its number.
pub(super) fn kill_worker(came: &str) -> Result<()> {
    let (_, worker) = came.rsplit_once("worker ").ok_or("no worker was told")?;
    kill(Pid::from_raw(worker.trim().parse()?), Signal::SIGKILL)?;
    Ok(())
}
