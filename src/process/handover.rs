//! What a daemon hands to the program that follows it in the same process: bytes in an anonymous file (`Carrier`), whose
//! number goes over in the environment as `PID:FD`. The PID tells it from what a child of ours might inherit.
//!
//! | size | field    | meaning                                                                 |
//! |-----:|----------|-------------------------------------------------------------------------|
//! |    8 | magic    | `FLoPHAND`                                                              |
//! |    4 | version  | 1                                                                       |
//! |    4 | size     | of the fields up to the payload, at most 64 KiB                         |
//! |      | syslog   | u16 length and path of the socket in use; empty: the terminal           |
//! |      | PID file | u16 length and path; empty: none                                        |
//! |      | control  | descriptor of the FIFO (0: none), then as `LeftOpen`                    |
//! |      | payload  | what the program itself has to say: in sockserv, `sensor/carried.rs`    |

#![forbid(unsafe_code)]

use super::{inherited, keep_on_exec};
use crate::wire::{DecodeError, Fields, error, put_text};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"FLoPHAND";
const VERSION: u32 = 1;
/// Three paths are far less.
const FIELDS_BYTES_MAX: u32 = 64 << 10;
/// Less is not worth a call to give its memory back.
const FREED_BYTES_MIN: u64 = 16 << 10;

/// An anonymous file: written by one program, read from front to back by the next.
#[derive(Debug)]
pub struct Carrier {
    file: File,
    /// What has been read.
    read: u64,
    bytes: u64,
}

impl Carrier {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// As memfd_create(2).
    pub fn new() -> io::Result<Carrier> {
        let file = memfd_create(c"flop-carried", MFdFlags::MFD_CLOEXEC)?;
        Ok(Carrier {
            file: File::from(file),
            read: 0,
            bytes: 0,
        })
    }

    /// The one that the program before this one in the same process left.
    pub(super) fn take_over(descriptor: RawFd) -> io::Result<Carrier> {
        let name = std::fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        if !name.to_string_lossy().starts_with("/memfd:flop-carried") {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut carrier = Carrier {
            file: File::from(inherited(descriptor)?),
            read: 0,
            bytes: 0,
        };
        carrier.rewind()?;
        Ok(carrier)
    }

    /// Leaves it to the program that follows.
    pub(super) fn leave(&self) -> io::Result<RawFd> {
        keep_on_exec(&self.file)?;
        Ok(self.file.as_raw_fd())
    }

    /// To be read from the front.
    ///
    /// # Errors
    ///
    /// As lseek(2).
    pub fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.read = 0;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }

    /// How many bytes are not read yet.
    pub fn left(&self) -> u64 {
        self.bytes - self.read
    }

    /// Takes the next `count` bytes. What is taken is in memory once, not twice: the file gives its pages back.
    ///
    /// # Errors
    ///
    /// So many are not left.
    pub fn take(&mut self, what: &str, count: usize) -> Result<Vec<u8>, DecodeError> {
        if count as u64 > self.left() {
            let left = self.left();
            return error(format!("{what} needs {count} bytes, {left} are left"));
        }
        let mut bytes = vec![0; count];
        if let Err(failed) = self.file.read_exact(&mut bytes) {
            return error(format!("{what} cannot be read: {failed}"));
        }
        self.read += count as u64;
        if count as u64 >= FREED_BYTES_MIN {
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let end = self.read.cast_signed();
            // An error: more memory is used for a moment.
            let _ = fallocate(&self.file, hole, 0, end);
        }
        Ok(bytes)
    }
}

impl Write for Carrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A descriptor that stays open across an exec, and the file by which others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    /// Its number.
    pub descriptor: RawFd,
    /// Device and inode of the file. While the descriptor is open, no other file gets them.
    pub file: (u64, u64),
    /// The file's place, absolute: the program that follows may work in another directory.
    pub path: PathBuf,
}

impl LeftOpen {
    /// Appends descriptor, device and inode, and path with its u16 length.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.descriptor.to_le_bytes());
        out.extend_from_slice(&self.file.0.to_le_bytes());
        out.extend_from_slice(&self.file.1.to_le_bytes());
        put_text(out, self.path.as_os_str().as_bytes());
    }

    /// Reads what `put` wrote.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<LeftOpen, DecodeError> {
        Ok(LeftOpen {
            descriptor: fields.u32("a descriptor")?.cast_signed(),
            file: (fields.u64("a device")?, fields.u64("an inode")?),
            path: path(fields)?,
        })
    }
}

/// A path that is the same in every directory; where there is none (the directory was removed), the path itself.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What every daemon hands over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(super) syslog: Option<PathBuf>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) control: Option<LeftOpen>,
}

impl Handover {
    pub(crate) fn write(&self, carrier: &mut Carrier) -> io::Result<()> {
        let mut fields = Vec::new();
        put_path(&mut fields, self.syslog.as_deref());
        put_path(&mut fields, self.pid_file.as_deref());
        match &self.control {
            Some(control) => control.put(&mut fields),
            None => fields.extend_from_slice(&[0; 4]),
        }
        let size = u32::try_from(fields.len()).expect("three paths");
        carrier.write_all(MAGIC)?;
        carrier.write_all(&VERSION.to_le_bytes())?;
        carrier.write_all(&size.to_le_bytes())?;
        carrier.write_all(&fields)
    }

    pub(crate) fn read(carrier: &mut Carrier) -> Result<Handover, DecodeError> {
        let head = carrier.take("the head", MAGIC.len() + 8)?;
        let mut fields = Fields::new(&head);
        if fields.bytes("the magic word", MAGIC.len())? != MAGIC {
            return error("nothing that this program left");
        }
        let version = fields.u32("the version")?;
        if version != VERSION {
            return error(format!(
                "version {version}, version {VERSION} is known here"
            ));
        }
        let size = fields.u32("the size")?;
        if size > FIELDS_BYTES_MAX {
            return error(format!(
                "fields of {size} bytes, at most {FIELDS_BYTES_MAX} allowed"
            ));
        }
        let fields = carrier.take("the fields", size as usize)?;
        let mut fields = Fields::new(&fields);
        let handover = Handover {
            syslog: some(path(&mut fields)?),
            pid_file: some(path(&mut fields)?),
            control: match fields.rest() {
                [0, 0, 0, 0] => {
                    fields.u32("no descriptor")?;
                    None
                }
                _ => Some(LeftOpen::read(&mut fields)?),
            },
        };
        fields.end("what was left")?;
        Ok(handover)
    }
}

fn put_path(out: &mut Vec<u8>, path: Option<&Path>) {
    put_text(out, path.map_or(b"", |path| path.as_os_str().as_bytes()));
}

fn path(fields: &mut Fields<'_>) -> Result<PathBuf, DecodeError> {
    let length = usize::from(fields.u16("the length of a path")?);
    let bytes = fields.bytes("a path", length)?;
    Ok(OsString::from_vec(bytes.to_vec()).into())
}

fn some(path: PathBuf) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn read_back(bytes: &[u8]) -> Result<Handover, DecodeError> {
        let mut carrier = Carrier::new().unwrap();
        carrier.write_all(bytes).unwrap();
        carrier.rewind().unwrap();
        Handover::read(&mut carrier)
    }

    #[test]
    fn all_of_it_survives_and_a_part_of_it_is_refused() {
        let some = Handover {
            syslog: Some("/dev/log".into()),
            pid_file: Some(OsString::from_vec(b"/run/\xff.pid".to_vec()).into()),
            control: Some(LeftOpen {
                descriptor: 7,
                file: (1, 2),
                path: "/run/x.ctrl".into(),
            }),
        };
        for handover in [some, Handover::default()] {
            let mut carrier = Carrier::new().unwrap();
            handover.write(&mut carrier).unwrap();
            carrier.rewind().unwrap();
            let count = usize::try_from(carrier.left()).unwrap();
            let bytes = carrier.take("all", count).unwrap();
            assert_eq!(read_back(&bytes).as_ref(), Ok(&handover));
            for end in 0..bytes.len() {
                assert!(read_back(&bytes[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_memory_is_taken() {
        let mut carrier = Carrier::new().unwrap();
        carrier.write_all(b"four").unwrap();
        carrier.rewind().unwrap();
        let refused = carrier.take("a chunk", usize::MAX).unwrap_err();
        assert!(refused.0.contains("4 are left"), "{refused}");
    }

    #[test]
    fn what_has_been_read_takes_no_memory_in_the_file_any_more() {
        let mut carrier = Carrier::new().unwrap();
        carrier.write_all(&[1; 1 << 20]).unwrap();
        carrier.rewind().unwrap();
        let pages = |carrier: &Carrier| carrier.file.metadata().unwrap().blocks();
        let before = pages(&carrier);
        carrier.take("a half", 1 << 19).unwrap();
        assert!(pages(&carrier) <= before / 2, "{}", pages(&carrier));
        assert_eq!(carrier.take("a half", 1 << 19).unwrap(), [1; 1 << 19]);
    }
}
