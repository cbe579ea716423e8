//! A file by which others find something of ours: a socket, a FIFO, a PID file. It is removed when dropped, and only while
//! it is the one that we made: what somebody else put in its place stays.

#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Device and inode. While we have the file open, the kernel gives them to no other one.
pub type FileId = (u64, u64);

/// See the module.
#[derive(Debug)]
pub struct OwnFile {
    path: PathBuf,
    id: FileId,
}

impl OwnFile {
    /// The file that we have just made at `path`.
    ///
    /// # Errors
    ///
    /// It is not there any more.
    pub fn made(path: &Path) -> io::Result<OwnFile> {
        let id = id(&fs::symlink_metadata(path)?);
        Ok(OwnFile::new(path.to_owned(), id))
    }

    /// The file of this id, which we made at `path`; it may be gone by now, or be another's.
    pub fn new(path: PathBuf, id: FileId) -> OwnFile {
        OwnFile { path, id }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same place by another name.
    pub fn set_path(&mut self, path: &Path) {
        path.clone_into(&mut self.path);
    }

    /// Its device and inode.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Whether it is where it was.
    pub fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| id(&there) == self.id)
    }

    /// Removes it, if it is there.
    pub fn remove(&self) {
        if self.is_there() {
            // At the end; nobody is left who could do something about an error.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The id of a file.
pub fn id(file: &Metadata) -> FileId {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_we_made_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "ours").unwrap();
        let own = OwnFile::made(&path).unwrap();
        assert!(own.is_there());
        // Both at once, so that they have different inodes.
        let other = folder.path().join("y");
        fs::write(&other, "somebody else's").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!own.is_there());
        drop(own);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
        drop(OwnFile::made(&path).unwrap());
        assert!(!path.exists());
    }
}
