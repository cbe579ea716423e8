//! A small disk that can be filled: a tmpfs of its own. Only root may mount one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when this is dropped.
pub(crate) struct Disk {
    path: PathBuf,
}

/// Whether disks can be mounted at all.
pub(crate) fn may_mount() -> bool {
    let Ok(folder) = tempfile::tempdir() else {
        return false;
    };
    nix::unistd::geteuid().is_root() && mount(folder.path(), 1) && umount(folder.path())
}

impl Disk {
    /// A disk of so many megabytes, mounted at a new folder.
    pub(crate) fn new(path: PathBuf, megabytes: u64) -> Disk {
        fs::create_dir(&path).expect("a new folder");
        assert!(mount(&path, megabytes), "tmpfs at {}", path.display());
        Disk { path }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file that takes the room");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
        }
    }

    pub(crate) fn empty(&self) {
        // An error: it was not filled.
        let _ = fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount(&self.path);
    }
}

fn mount(at: &Path, megabytes: u64) -> bool {
    let size = format!("size={megabytes}M");
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &size, "flop-torture"]);
    succeeds(command.arg(at))
}

fn umount(at: &Path) -> bool {
    succeeds(Command::new("umount").arg("--lazy").arg(at))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
