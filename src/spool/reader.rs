//! The end that reads what is durable, in order, and forgets what is acknowledged.

#![forbid(unsafe_code)]

use super::Stream;
use super::index::{Counts, Index, View};
use super::scan::Scanner;
use super::trouble::{Health, News, Trouble};
use crate::buffer::{CHUNK_BYTES, Chunk};
use crate::wire::item::{Loss, put_loss};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Numbers in one `Lost`: so that its loss records fit a chunk.
const LOST_MAX: u64 = 256;

/// What `Reader::read` found.
#[derive(Debug, PartialEq, Eq)]
pub enum Run {
    /// Items.
    Items {
        /// Number of the first.
        first: u64,
        /// The items: about `CHUNK_BYTES`, or one that is longer.
        chunk: Chunk,
    },
    /// Items that cannot be read.
    Lost(Lost),
}

/// Numbers whose items cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first number.
    pub first: u64,
    /// How many; for longer runs there is more than one `Lost`.
    pub count: u64,
    /// Where they should be.
    pub file: PathBuf,
    /// Where the damage begins; `None` where nothing is there at all.
    pub offset: Option<u64>,
}

impl Lost {
    /// A loss record for each number, to be sent in its place: a number must not be left out. Nobody knows when these
    /// were lost: `at_us` is when it was found.
    pub fn chunk(&self, at_us: i64) -> Chunk {
        let mut bytes = Vec::new();
        for _ in 0..self.count {
            let loss = Loss {
                count: 1,
                from_us: at_us,
                to_us: at_us,
                reason: Cow::Borrowed("damaged on disk before it was stored"),
            };
            put_loss(&mut bytes, &loss);
        }
        Chunk::of(bytes)
    }
}

/// Reads the spool.
pub struct Reader {
    index: Arc<Index>,
    scanner: Option<Scanner>,
    /// The number that comes next.
    next: u64,
    /// The segment that cannot even be opened is lost from now on.
    passed_over: Option<u64>,
    reading: Health,
    removing: Health,
}

/// Looks at a spool.
#[derive(Clone)]
pub struct Gauge(Arc<Index>);

impl Gauge {
    /// Numbers of this moment.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }
}

impl Reader {
    pub(super) fn new(index: Arc<Index>) -> Reader {
        let next = index.counts().acknowledged + 1;
        Reader {
            index,
            scanner: None,
            next,
            passed_over: None,
            reading: Health::default(),
            removing: Health::default(),
        }
    }

    /// The stream that items belong to.
    pub fn stream(&self) -> Stream {
        self.index.stream()
    }

    /// Numbers of this moment.
    pub fn counts(&self) -> Counts {
        self.index.counts()
    }

    /// Looks at the numbers from another thread.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.index))
    }

    /// What is to be told of reading since this was asked last.
    pub fn take_news(&mut self) -> Option<News> {
        self.reading.take_news()
    }

    /// The same of the removal of what is acknowledged.
    pub fn take_removal_news(&mut self) -> Option<News> {
        self.removing.take_news()
    }

    /// The number that `read` goes on with.
    pub fn next(&self) -> u64 {
        self.next.max(self.counts().acknowledged + 1)
    }

    /// Goes on with this number, which is not below `next`: what is before it is somewhere else.
    pub fn skip_to(&mut self, number: u64) {
        debug_assert!(number >= self.next());
        self.next = number;
    }

    /// The next items, or what there is in their place. `None`: no more is durable.
    ///
    /// # Errors
    ///
    /// A file cannot be read. To be called again later, for a disk may come back; or, if it does not, behind
    /// `pass_over`.
    pub fn read(&mut self) -> Result<Option<Run>, Trouble> {
        let run = self.next_run();
        match &run {
            Ok(Some(_)) => self.reading.works(),
            Ok(None) => {}
            Err(trouble) => self.reading.fails(trouble),
        }
        run
    }

    /// After an error of `read`: what cannot be read, a page of it, is damage from now on; of a file that cannot even be
    /// opened, all.
    pub fn pass_over(&mut self) {
        match &mut self.scanner {
            Some(scanner) => scanner.pass_over(),
            None => self.passed_over = Some(self.next),
        }
    }

    /// Goes on behind what is acknowledged: after a reconnect all of it is sent again.
    pub fn start_again(&mut self) {
        self.next = 0;
        self.scanner = None;
    }

    /// All up to this number is durable at servsock: segments that have nothing else are removed.
    ///
    /// # Errors
    ///
    /// A file cannot be removed; the next call tries it again.
    pub fn acknowledge(&mut self, number: u64) -> Result<(), Trouble> {
        self.index.acknowledge(number);
        let removed = self.index.remove_acknowledged();
        match &removed {
            Ok(()) => self.removing.works(),
            Err(trouble) => self.removing.fails(trouble),
        }
        removed
    }

    fn next_run(&mut self) -> Result<Option<Run>, Trouble> {
        self.next = self.next.max(self.index.counts().acknowledged + 1);
        let (first, end, limit) = match self.index.view(self.next) {
            View::Nothing => return Ok(None),
            View::Missing { until } => return Ok(Some(self.lost(self.next, until))),
            View::Segment { first, end, limit } => (first, end, limit),
        };
        let failed =
            |index: &Index, answer| Trouble::io("read", &index.directory.path_of(first), answer);
        match self.enter(first) {
            Ok(()) => {}
            // Somebody took it away: what was in it is lost, and what follows is not.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || self
                        .passed_over
                        .is_some_and(|number| first <= number && number < limit) =>
            {
                return Ok(Some(self.lost(first, limit)));
            }
            Err(answer) => return Err(failed(&self.index, answer)),
        }
        self.read_segment(end, limit)
            .map(Some)
            .map_err(|answer| failed(&self.index, answer))
    }

    /// Opens a segment, unless it is open already.
    fn enter(&mut self, first: u64) -> io::Result<()> {
        if self
            .scanner
            .as_ref()
            .is_none_or(|scanner| scanner.first() != first)
        {
            self.scanner = None;
            let stream = self.index.stream().id;
            self.scanner = Some(Scanner::open(&self.index.directory, first, stream)?);
        }
        Ok(())
    }

    /// Items up to the length of a chunk, or up to a gap.
    fn read_segment(&mut self, end: u64, limit: u64) -> io::Result<Run> {
        let scanner = self.scanner.as_mut().expect("it was entered");
        scanner.set_end(end);
        let first = self.next;
        let mut bytes = Vec::new();
        let gap_until = loop {
            match scanner.next(self.next, limit) {
                Ok(None) => break limit,
                Ok(Some((number, item))) if number == self.next => {
                    if !bytes.is_empty() && bytes.len() + item.len() > CHUNK_BYTES {
                        scanner.put_back();
                        break number;
                    }
                    bytes.extend_from_slice(item);
                    self.next += 1;
                }
                Ok(Some((number, _))) => {
                    scanner.put_back();
                    break number;
                }
                Err(_) if !bytes.is_empty() => break limit,
                Err(error) => return Err(error),
            }
        };
        if bytes.is_empty() {
            let segment = scanner.first();
            return Ok(self.lost(segment, gap_until));
        }
        let chunk = Chunk::of(bytes);
        debug_assert_eq!(first + u64::from(chunk.len()), self.next);
        Ok(Run::Items { first, chunk })
    }

    /// The numbers up to `until`, or as many as go together.
    fn lost(&mut self, segment: u64, until: u64) -> Run {
        let first = self.next;
        let count = (until - first).min(LOST_MAX);
        self.next = first + count;
        let scanner = self
            .scanner
            .as_mut()
            .filter(|scanner| scanner.first() == segment);
        let offset = scanner.and_then(|scanner| match self.next == until {
            true => scanner.take_damage(),
            false => scanner.damage(),
        });
        Run::Lost(Lost {
            first,
            count,
            file: self.index.directory.path_of(segment),
            offset,
        })
    }
}

#[cfg(test)]
impl Reader {
    pub(super) fn directory_path(&self) -> &std::path::Path {
        self.index.directory.path()
    }

    pub(super) fn enter_first(&mut self) {
        self.enter(1).unwrap();
    }

    pub(super) fn scanner_mut(&mut self) -> &mut Scanner {
        self.scanner.as_mut().unwrap()
    }
}
