//! The directory and its files. All goes over the directory's descriptor, so that a daemon may change its own
//! directory, and never through a link.

#![forbid(unsafe_code)]

use super::format::{COPIES, COPY_BYTES, HEADER_BYTES, Header, Unfit};
use super::index::Segment;
use crate::error::Error;
use crate::wire::frame::SEQUENCE_MAX;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
/// A segment whose header is not on the disk yet.
const NEW: &str = "new";
const SUFFIX: &str = ".spool";
const DIGITS: usize = 20;

const FILE_MODE: Mode = Mode::from_bits_truncate(0o600);
/// Others may not write into the directory.
const OTHERS_WRITE: u32 = 0o022;

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: File,
}

impl Directory {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn create(path: &Path) -> Result<Directory, Error> {
        let tried = || format!("cannot use spool directory {}", path.display());
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_parent(path).map_err(|answer| Error::start(tried(), answer, ""))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::start(tried(), error, "")),
        }
        let directory = Directory::open(path)?;
        let stat = fstat(&directory.fd).map_err(|errno| Error::start(tried(), errno.desc(), ""))?;
        if stat.st_uid != Uid::effective().as_raw() || stat.st_mode & OTHERS_WRITE != 0 {
            return Err(Error::start(
                tried(),
                format!(
                    "it belongs to user {} and has mode {:o}, so that others could change it",
                    stat.st_uid,
                    stat.st_mode & 0o7777
                ),
                "give it to the user who runs this program, with mode 700",
            ));
        }
        Ok(directory)
    }

    /// Opens a directory that is there, for reading.
    pub(super) fn open(path: &Path) -> Result<Directory, Error> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| {
            let tried = format!("cannot open spool directory {}", path.display());
            Error::start(tried, errno.desc(), "it must be a directory, and no link")
        })?;
        Ok(Directory {
            path: path.to_owned(),
            fd: fd.into(),
        })
    }

    /// Its path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The segments, in the order of their numbers.
    pub(super) fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for entry in Dir::openat(
            &self.fd,
            ".",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?
        .iter()
        {
            let entry = entry?;
            let Some(first) = entry.file_name().to_str().ok().and_then(first_of) else {
                continue;
            };
            // An error: it was removed since, which only happens where another process owns the spool.
            if let Ok(stat) = fstatat(&self.fd, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW)
                && SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
            {
                segments.push(Segment::of(first, u64::try_from(stat.st_size).unwrap_or(0)));
            }
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        Ok(segments)
    }

    /// Path of a segment, for messages.
    pub(super) fn path_of(&self, first: u64) -> PathBuf {
        self.path.join(name_of(first))
    }

    /// The header of a segment: of two copies the one that can be read. Without one it is damaged.
    pub(super) fn header(&self, first: u64) -> Result<Header, Unfit> {
        let file = self.read(first).map_err(|_| Unfit::Damaged)?;
        let mut pages = vec![0; HEADER_BYTES as usize];
        for at in COPIES {
            // An error leaves what is no copy.
            let _ = file.read_exact_at(&mut pages[at..at + COPY_BYTES], at as u64);
        }
        Header::decode(&pages, first)
    }

    /// Opens a segment for reading.
    pub(super) fn read(&self, first: u64) -> io::Result<File> {
        self.open_file(&name_of(first), OFlag::O_RDONLY | OFlag::O_NONBLOCK)
    }

    /// Opens the lock file, which is made if it is not there.
    pub(super) fn lock_file(&self) -> io::Result<File> {
        self.open_file(LOCK, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NONBLOCK)
    }

    /// The lock file, if it is there, for reading.
    pub(super) fn existing_lock_file(&self) -> io::Result<File> {
        self.open_file(LOCK, OFlag::O_RDONLY | OFlag::O_NONBLOCK)
    }

    /// Begins a segment: after this its header is on the disk under its name, and in the place of a file that had
    /// the same name. `synced`: whether a power loss counts.
    pub(super) fn begin_segment(&self, header: &Header, synced: bool) -> io::Result<File> {
        self.unlink(NEW)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = self.open_file(NEW, flags)?;
        let written = file
            .write_all_at(&header.encode(), 0)
            .and_then(|()| if synced { file.sync_data() } else { Ok(()) })
            .and_then(|()| {
                Ok(renameat(
                    &self.fd,
                    NEW,
                    &self.fd,
                    name_of(header.first).as_str(),
                )?)
            });
        if let Err(error) = written {
            // What it takes on a full disk is needed; if it stays, the next begin removes it.
            let _ = self.unlink(NEW);
            return Err(error);
        }
        if synced {
            self.sync()?;
        }
        Ok(file)
    }

    /// Removes a segment; one that is gone is removed.
    pub(super) fn remove(&self, first: u64) -> io::Result<()> {
        self.unlink(&name_of(first))
    }

    /// Makes what was begun and removed survive a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.fd.sync_all()
    }

    fn open_file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(self.fd.as_fd(), name, flags, FILE_MODE)?.into())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn name_of(first: u64) -> String {
    format!("{first:0DIGITS$}{SUFFIX}")
}

/// The number in a segment's name; `None` for the name of another file.
fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = is_number.then(|| digits.parse().ok()).flatten()?;
    (1..=SEQUENCE_MAX).contains(&first).then_some(first)
}

/// A directory that was just made is to be there after a power loss.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn names_are_numbers_of_twenty_digits() {
        assert_eq!(name_of(7), "00000000000000000007.spool");
        assert_eq!(first_of(&name_of(SEQUENCE_MAX)), Some(SEQUENCE_MAX));
        for other in [
            "7.spool",
            "00000000000000000000.spool",
            "0000000000000000007.spool",
            "+0000000000000000007.spool",
            "00000000000000000007",
            "99999999999999999999.spool",
            "04611686018427387905.spool",
            "lock",
            "new",
        ] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }

    #[test]
    fn it_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let directory = Directory::create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        directory.lock_file().unwrap();
        assert_eq!(mode(&path.join("lock")), 0o600);
    }

    #[test]
    fn where_others_may_write_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        let answer = Directory::create(&path).unwrap_err().to_string();
        assert!(answer.contains("mode 770, so that others"), "{answer}");
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let link = folder.path().join("link");
        symlink(&elsewhere, &link).unwrap();
        let answer = Directory::create(&link).unwrap_err().to_string();
        assert!(answer.contains("no link"), "{answer}");

        let path = folder.path().join("spool");
        let directory = Directory::create(&path).unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        for name in ["lock", "new", &name_of(1)] {
            symlink(&precious, path.join(name)).unwrap();
        }
        assert_eq!(directory.segments().unwrap().len(), 0);
        assert!(directory.lock_file().is_err());
        assert!(directory.read(1).is_err());
        let header = Header {
            stream: crate::spool::Stream {
                id: crate::wire::StreamId([1; 16]),
                base: 0,
            },
            first: 1,
            acknowledged: 0,
            inherited: 0,
        };
        directory.begin_segment(&header, true).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(directory.header(1), Ok(header), "in the place of the link");
    }
}
