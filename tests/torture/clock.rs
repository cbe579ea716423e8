//! A clock that can be set back without setting the machine's: a library in front of the programs' own clock (`clock.c`).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The clock of one site.
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    pub(crate) fn new(folder: &Path) -> Clock {
        let clock = Clock {
            file: folder.join("clock"),
        };
        fs::write(&clock.file, 0i64.to_ne_bytes()).expect("a new file");
        clock
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).expect("an hour");
        // Not cut off first: programs look into it all the time.
        let file = File::options().write(true).open(&self.file);
        let mut file = file.expect("the file is there");
        file.write_all(&seconds.to_ne_bytes())
            .expect("the same eight bytes");
    }

    /// What a program's environment has to say.
    pub(crate) fn environment(&self) -> [String; 2] {
        [
            format!("LD_PRELOAD={}", library().display()),
            format!("TORTURE_CLOCK={}", self.file.display()),
        ]
    }
}

/// Compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/clock.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture-clock.so");
        let made = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .status()
            .expect("cc can be run");
        assert!(made.success(), "cc {source}: {made}");
        library
    })
}
