//! One process at a time: an flock(2) on a file with the owner's PID, so that the second can be told who is first.

#![forbid(unsafe_code)]

use super::directory::Directory;
use crate::error::Error;
use crate::process::who_is;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

/// A PID has fewer.
const PID_BYTES_MAX: u64 = 32;

/// The lock, while it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// Locks the directory. `None`: its owner has removed it meanwhile, and let it go; nobody else would see this lock.
pub(super) fn take(directory: &Directory, path: &std::path::Path) -> Result<Option<Lock>, Error> {
    let refused = |answer: String, advice: &str| {
        let tried = format!("cannot use spool directory {}", path.display());
        Error::start(tried, answer, advice)
    };
    let failed = |error: std::io::Error| refused(format!("its lock file: {error}"), "");
    let file = directory.lock_file().map_err(failed)?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) if lock.metadata().map_err(failed)?.nlink() == 0 => return Ok(None),
        Ok(lock) => lock,
        Err((file, Errno::EAGAIN)) => {
            return Err(refused(
                format!("{} uses it", owner(file)),
                "stop that one first, or name another directory",
            ));
        }
        Err((_, errno)) => return Err(refused(format!("its lock file: {}", errno.desc()), "")),
    };
    // Only for messages: a full disk is no reason not to start.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(Some(Lock(lock)))
}

/// The living owner, as a part of a sentence; `None` where nobody has the directory open.
pub(super) fn find_owner(directory: &Directory) -> Option<String> {
    let file = directory.existing_lock_file().ok()?;
    // A shared lock: two who only look do not see each other as owner.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Err((file, Errno::EAGAIN)) => Some(owner(file)),
        _ => None,
    }
}

fn owner(file: File) -> String {
    let mut text = String::new();
    // Without its number the answer is a little shorter.
    let _ = file.take(PID_BYTES_MAX).read_to_string(&mut text);
    match text.trim().parse() {
        Ok(pid) => who_is(pid),
        Err(_) => "another process".to_owned(),
    }
}
