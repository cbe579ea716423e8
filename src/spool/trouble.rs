//! What the disk refuses while the spool is in use: told at its edges, never an end.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why something was not written, read or removed. Each is retried by calling again.
#[derive(Debug)]
pub enum Trouble {
    /// No more is allowed: something has to be acknowledged first.
    Full {
        /// The directory.
        dir: PathBuf,
        /// What is allowed.
        max_bytes: u64,
    },
    /// The system refuses it.
    Io {
        /// What was tried: "write", "read", "remove".
        tried: &'static str,
        /// On which file.
        file: PathBuf,
        /// What it answered.
        answer: io::Error,
    },
}

impl Trouble {
    pub(super) fn io(tried: &'static str, file: &Path, answer: io::Error) -> Trouble {
        Trouble::Io {
            tried,
            file: file.to_owned(),
            answer,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Full { dir, max_bytes } => write!(
                f,
                "spool directory {} has its {max_bytes} bytes, the most that is allowed",
                dir.display()
            ),
            Trouble::Io {
                tried,
                file,
                answer,
            } => {
                write!(f, "cannot {tried} spool file {}: {answer}", file.display())?;
                match answer.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str("; make room on that file system")
                    }
                    _ => f.write_str("; look at the kernel's log for the disk"),
                }
            }
        }
    }
}

/// What is to be told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// From here on it fails, or fails for another reason; the sentence says what.
    Fails(String),
    /// It works again.
    Back,
}

/// Sees the edges between what works and what does not.
#[derive(Debug, Default)]
pub(super) struct Health {
    told: Option<String>,
    news: Option<News>,
}

impl Health {
    pub(super) fn fails(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.told.as_ref() != Some(&text) {
            self.news = Some(News::Fails(text.clone()));
            self.told = Some(text);
        }
    }

    pub(super) fn works(&mut self) {
        if self.told.take().is_some() {
            // A fault that was never told need not be told to be over.
            self.news = match self.news.take() {
                Some(_) => None,
                None => Some(News::Back),
            };
        }
    }

    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(max_bytes: u64) -> Trouble {
        Trouble::Full {
            dir: "spool".into(),
            max_bytes,
        }
    }

    #[test]
    fn each_edge_is_news_once() {
        let mut health = Health::default();
        health.works();
        assert_eq!(health.take_news(), None);
        for _ in 0..3 {
            health.fails(&full(1));
        }
        assert_eq!(health.take_news(), Some(News::Fails(full(1).to_string())));
        health.fails(&full(1));
        assert_eq!(health.take_news(), None);
        health.fails(&full(2));
        assert_eq!(health.take_news(), Some(News::Fails(full(2).to_string())));
        health.works();
        health.works();
        assert_eq!(health.take_news(), Some(News::Back));
        assert_eq!(health.take_news(), None);
    }

    #[test]
    fn it_says_what_was_tried_on_what_and_what_to_do() {
        let answer = io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let trouble = Trouble::io("write", Path::new("/s/1.spool"), answer);
        assert_eq!(
            trouble.to_string(),
            "cannot write spool file /s/1.spool: No space left on device (os error 28); make room on that file system"
        );
    }
}
