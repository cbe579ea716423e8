//! A small file system of a test's own, to be filled.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until this is dropped.
pub(super) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// An empty one at `path`, owned as `like` is. `None`, which is said, where this user may not mount.
    pub(super) fn new(path: &Path, mebibytes: u32, like: &Path) -> Option<SmallDisk> {
        fs::create_dir(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => {}
            other => {
                eprintln!(
                    "SKIPPED: a full disk needs a file system of its own, and root to mount it: {other:?}"
                );
                return None;
            }
        }
        let owner = fs::metadata(like).expect("a folder");
        chown(path, Some(owner.uid()), Some(owner.gid())).expect("chown of a new folder");
        fs::set_permissions(path, Permissions::from_mode(0o700)).expect("chmod of a new folder");
        Some(SmallDisk {
            path: path.to_owned(),
        })
    }

    /// Takes all the room that is left, until the ballast is dropped.
    pub(super) fn is_filled(&self) -> Ballast {
        let path = self.path.join("ballast");
        let mut file = fs::File::create(&path).expect("a file");
        for bytes in [&[0; 64 << 10][..], &[0; 512][..]] {
            while file.write_all(bytes).is_ok() {}
        }
        Ballast(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the programs on it may be ending yet.
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// What fills a disk.
pub(super) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
