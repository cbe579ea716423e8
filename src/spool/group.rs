//! What is written and not on the disk yet: brought there by a thread that may wait for it, while the appender's goes
//! on writing.

#![forbid(unsafe_code)]

use super::index::Index;
use super::trouble::Trouble;
use std::fs::File;
use std::sync::Arc;

/// A segment that this process began.
#[derive(Clone)]
pub(super) struct Begun {
    pub(super) first: u64,
    pub(super) file: Arc<File>,
    /// Its header and its name are.
    pub(super) is_on_disk: bool,
}

/// All that `Appender::group` found not to be durable.
pub struct Group {
    pub(super) index: Arc<Index>,
    /// In order. Empty where nobody waits for the disk.
    pub(super) segments: Vec<Begun>,
    /// The last number.
    pub(super) last: u64,
    /// The newest segment, and its length.
    pub(super) end: (u64, u64),
    pub(super) failures: u64,
}

/// What became of a group.
pub struct Synced {
    pub(super) last: u64,
    pub(super) end: (u64, u64),
    pub(super) failures: u64,
    pub(super) result: Result<(), Trouble>,
}

impl Group {
    /// fdatasync(2), and waits for it.
    pub fn sync(self) -> Synced {
        Synced {
            result: self.bring_to_disk(),
            last: self.last,
            end: self.end,
            failures: self.failures,
        }
    }

    fn bring_to_disk(&self) -> Result<(), Trouble> {
        let directory = &self.index.directory;
        for Begun { first, file, .. } in &self.segments {
            let synced = file.sync_data();
            synced.map_err(|answer| Trouble::io("write", &directory.path_of(*first), answer))?;
        }
        match self.segments.iter().all(|begun| begun.is_on_disk) {
            true => Ok(()),
            false => directory
                .sync()
                .map_err(|answer| Trouble::io("write", directory.path(), answer)),
        }
    }
}
