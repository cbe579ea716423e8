//! What the fuzzers of `fuzz/` run, and `cargo test` over `tests/corpus`: one function for each kind of bytes that come
//! from outside. None may panic or take memory for a length that is only claimed; beyond that each asserts what its
//! decoder promises. README.debug says how to run them.
//!
//! - What is decoded becomes bytes again that say the same.
//! - What is refused is refused with a sentence: some text, of bounded length, without control characters.
//! - How bytes are cut on their way makes no difference.
//!
//! Where a layout is long and mostly zeros, or has checksums, the input is a short form of it: no fuzzer guesses 64 KiB
//! of zeros, or a CRC.

#![forbid(unsafe_code)]

mod carried;
mod datagrams;
mod disk;
mod operator;
mod stream;
mod texts;

pub use carried::carried;
pub use datagrams::{eve, ids};
pub use disk::spool;
pub use operator::{config, control};
pub use stream::wire;
pub use texts::texts;

/// Its name in `fuzz/` and `tests/corpus`, and what runs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("ids", ids),
    ("eve", eve),
    ("wire", wire),
    ("control", control),
    ("config", config),
    ("carried", carried),
    ("texts", texts),
    ("spool", spool),
];

/// What is refused may be repeated, but only a part of it.
const SENTENCE_BYTES_MAX: usize = 4096;

/// Bytes from the front; zeros behind the end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u64 {
        u64::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }
}

fn check_sentence(text: &str) {
    assert!(
        !text.is_empty() && text.len() <= SENTENCE_BYTES_MAX,
        "{text}"
    );
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// All targets together: a corpus that grows unseen makes each checkout and each test run longer.
    const CORPUS_BYTES_MAX: u64 = 200 << 10;

    #[test]
    fn what_is_in_the_corpus_breaks_no_promise() {
        let mut bytes = 0;
        for (name, run) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
            let files = fs::read_dir(folder.join(name)).expect("each target has a folder");
            for file in files {
                let path = file.expect("a file").path();
                println!("{}", path.display()); // Shown if it fails.
                let content = fs::read(&path).expect("a file that can be read");
                bytes += content.len() as u64;
                run(&content);
            }
        }
        assert!((1..=CORPUS_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    }
}
