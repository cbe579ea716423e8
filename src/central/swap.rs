//! FLoP's swap (`-W`): what arrives while the database is away waits on the server's disk, acknowledged, and is stored
//! later, in order, before anything newer.
//!
//! A stream has a spool of its own, in `DIR/servsock_swap_SENSOR/STREAM`: the name and the interface of the sensor, and
//! the stream's id. A number of that spool is a sequence number of the stream. The database decides what is stored:
//! what it has already, for the answer of a COMMIT was lost, is passed over when the swap is emptied.

#![forbid(unsafe_code)]

use crate::alert::SensorName;
use crate::buffer::{CHUNK_BYTES, Chunk};
use crate::error::Error;
use crate::spool::{self, Appender, News, Reader, Run, Stream, Trouble};
use crate::wire::{Gap, Item, Loss, StreamId, item};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::mem;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// In front of each sensor's directory.
const PREFIX: &str = "servsock_swap_";
/// A file's name has at most 255 bytes.
const NAME_BYTES_MAX: usize = 255 - PREFIX.len();

/// Where swaps are, and how big one may become.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Place {
    /// The directory of all swaps.
    pub(super) dir: OsString,
    /// Bytes on disk for each stream.
    pub(super) max_bytes: u64,
}

/// Why there is no swap.
#[derive(Debug)]
pub(super) enum NoSwap {
    /// Another process has it open, and will let it go.
    InUse,
    /// Somebody has to see to it.
    Unusable(Error),
}

/// The swap of one stream. While it is open, no other process can open it.
pub(super) struct Swap {
    appender: Appender,
    reader: Reader,
    path: PathBuf,
}

impl Swap {
    /// Opens the swap of a stream.
    ///
    /// # Errors
    ///
    /// Another process has it; or the directory cannot be used, or the sensor's name is too long for a file's.
    pub(super) fn open(
        place: &Place,
        sensor: &SensorName,
        stream: StreamId,
    ) -> Result<Swap, NoSwap> {
        let refused = |answer: String| {
            let tried = format!("alerts of sensor {} cannot wait on disk", sensor.name);
            NoSwap::Unusable(Error::start(tried, answer, ""))
        };
        let name = directory_name(sensor)
            .ok_or_else(|| refused("its name is too long for a file's".to_owned()))?;
        let directory = Path::new(&place.dir).join(name);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(refused(format!("{}: {error}", directory.display())));
            }
            _ => {}
        }
        let path = directory.join(stream.to_string());
        let options = spool::Options {
            max_bytes: place.max_bytes,
            ..spool::Options::default()
        };
        let (appender, reader, _) = spool::open(&path, &options, stream).map_err(|error| {
            match spool::is_in_use(&path) {
                true => NoSwap::InUse,
                false => NoSwap::Unusable(error),
            }
        })?;
        let numbered = Stream {
            id: stream,
            base: 0,
        };
        if appender.stream() != numbered {
            let answer = format!("{} is damaged beyond reading; move it away", path.display());
            return Err(refused(answer));
        }
        Ok(Swap {
            appender,
            reader,
            path,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Items that are not in the database yet, as far as it is known here.
    pub(super) fn waiting(&self) -> u64 {
        self.reader.counts().waiting()
    }

    /// The last number that is known to be in the database.
    pub(super) fn stored(&self) -> u64 {
        self.reader.counts().acknowledged
    }

    /// The last sequence number that came here; 0 for none.
    pub(super) fn last(&self) -> u64 {
        self.appender.next() - 1
    }

    /// The database has all up to this number.
    ///
    /// # Errors
    ///
    /// A file cannot be removed; that is tried again at the next call.
    pub(super) fn is_stored(&mut self, sequence: u64) -> Result<(), Trouble> {
        self.reader.acknowledge(sequence)
    }

    /// Puts the items behind number `after` on the disk.
    ///
    /// # Errors
    ///
    /// The disk is full or fails. Some of them may be there; to be called again with the same.
    pub(super) fn put(&mut self, after: u64, chunks: &[Chunk]) -> Result<(), Trouble> {
        let mut first = after + 1;
        let appended = chunks.iter().try_for_each(|chunk| {
            first = self.append_each(first, chunk)?;
            Ok(())
        });
        // Also what went in before it was full.
        self.appender.sync()?;
        appended
    }

    /// Appends a chunk whose first number is `first`; the number behind it. On the disk each item has one number: a gap
    /// becomes a loss for each of its numbers, a chunk at a time, for a gap may be long.
    fn append_each(&mut self, mut first: u64, chunk: &Chunk) -> Result<u64, Trouble> {
        if !chunk.items().any(item::is_gap) {
            self.append(first, chunk)?;
            return Ok(first + u64::from(chunk.len()));
        }
        let mut part = Vec::new();
        for bytes in chunk.items() {
            let Ok(Item::Gap(gap)) = item::decode(bytes) else {
                part.extend_from_slice(bytes);
                continue;
            };
            for number in 0..gap.numbers {
                item::put_loss(&mut part, &loss_of(&gap, number));
                if part.len() >= CHUNK_BYTES {
                    let full = Chunk::of(mem::take(&mut part));
                    self.append(first, &full)?;
                    first += u64::from(full.len());
                }
            }
        }
        let rest = Chunk::of(part);
        if !rest.is_empty() {
            self.append(first, &rest)?;
        }
        Ok(first + u64::from(rest.len()))
    }

    /// Appends what is not there yet.
    fn append(&mut self, first: u64, chunk: &Chunk) -> Result<(), Trouble> {
        let known = self.appender.next().saturating_sub(first);
        if known == 0 {
            return self.appender.append(first, chunk);
        }
        if known >= u64::from(chunk.len()) {
            return Ok(());
        }
        let mut rest = Chunk::of(chunk.bytes().to_vec());
        rest.skip(usize::try_from(known).unwrap_or(usize::MAX));
        self.appender.append(first + known, &rest)
    }

    /// The next items that the database may not have, and the number of the first. `None`: there are no more.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(super) fn next(&mut self, now_us: i64) -> Result<Option<(u64, Chunk)>, Trouble> {
        Ok(self.reader.read()?.map(|run| match run {
            Run::Items { first, chunk } => (first, chunk),
            Run::Lost(lost) => {
                crate::err!(
                    "{} alerts that waited in {} cannot be read any more, from number {} on, and are recorded as lost",
                    lost.count,
                    lost.file.display(),
                    lost.first
                );
                (lost.first, lost.chunk(now_us))
            }
        }))
    }

    /// What could not be read is damage from now on.
    pub(super) fn pass_over(&mut self) {
        self.reader.pass_over();
    }

    /// Begins anew with what the database has not.
    pub(super) fn start_again(&mut self) {
        self.reader.start_again();
    }

    /// What is to be told of the disk since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        let news = [
            self.appender.take_news(),
            self.reader.take_news(),
            self.reader.take_removal_news(),
        ];
        news.into_iter().flatten().collect()
    }

    /// Closes it in order, and removes it when the database has everything.
    pub(super) fn close(mut self) {
        match self.waiting() {
            // Before the lock is let go: afterwards it may be somebody else's.
            0 => remove(&self.path),
            // An error: it is examined when it is opened again.
            _ => drop(self.appender.close()),
        }
    }
}

/// Each number of a gap has lost one alert at least; its first says what there is beyond.
fn loss_of<'a>(gap: &Gap<'a>, number: u64) -> Loss<'a> {
    let beyond = match number {
        0 => gap.loss.count.saturating_sub(gap.numbers),
        _ => 0,
    };
    Loss {
        count: 1 + beyond,
        ..gap.loss.clone()
    }
}

/// Removes an empty swap.
fn remove(path: &Path) {
    for file in fs::read_dir(path).into_iter().flatten().flatten() {
        let _ = fs::remove_file(file.path());
    }
    let _ = fs::remove_dir(path);
    if let Some(sensor) = path.parent() {
        let _ = fs::remove_dir(sensor); // Not before its last stream is gone.
    }
}

/// A swap that a worker left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) sensor: SensorName,
    pub(super) stream: StreamId,
}

/// The swaps in a directory, whoever uses them.
pub(super) fn leftovers(dir: &Path) -> Vec<Leftover> {
    let mut found = Vec::new();
    for directory in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = directory.file_name();
        let Some(sensor) = name.to_str().and_then(sensor_of) else {
            continue;
        };
        for stream in fs::read_dir(directory.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let stream = stream.file_name();
            if let Some(stream) = stream.to_str().and_then(StreamId::parse) {
                let sensor = sensor.clone();
                found.push(Leftover { sensor, stream });
            }
        }
    }
    found
}

/// The name of a sensor's directory, from which its name can be told again.
fn directory_name(sensor: &SensorName) -> Option<String> {
    let name = escaped(&sensor.name);
    let name = match sensor.interface.as_str() {
        "" => name,
        interface => format!("{name}@{}", escaped(interface)),
    };
    (name.len() <= NAME_BYTES_MAX).then(|| format!("{PREFIX}{name}"))
}

fn sensor_of(directory: &str) -> Option<SensorName> {
    let name = directory.strip_prefix(PREFIX)?;
    let (name, interface) = name.split_once('@').unwrap_or((name, ""));
    Some(SensorName {
        name: unescaped(name)?,
        interface: unescaped(interface)?,
    })
}

/// Letters, digits, `.`, `-` and `_` as they are, all other bytes as `%XX`: no name leads out of the directory.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const STREAM: StreamId = StreamId([7; 16]);

    fn place(dir: &tempfile::TempDir) -> Place {
        Place {
            dir: dir.path().into(),
            max_bytes: spool::MAX_BYTES_DEFAULT,
        }
    }

    fn sensor(name: &str, interface: &str) -> SensorName {
        SensorName {
            name: name.to_owned(),
            interface: interface.to_owned(),
        }
    }

    /// A chunk of loss records that count from `first` on: small items, each of which can be told from the others.
    fn chunk(counts: std::ops::RangeInclusive<u64>) -> Chunk {
        let mut bytes = Vec::new();
        for count in counts {
            let loss = Loss {
                count,
                from_us: 1,
                to_us: 2,
                reason: "test".into(),
            };
            item::put_loss(&mut bytes, &loss);
        }
        Chunk::of(bytes)
    }

    /// All that waits, with its numbers.
    fn waiting(swap: &mut Swap) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((first, chunk)) = swap.next(0).expect("it can be read") {
            let items = chunk.items().map(<[u8]>::to_vec);
            all.extend((first..).zip(items.collect::<Vec<_>>()));
        }
        all
    }

    fn numbered(counts: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
        let one = |count| (count, chunk(count..=count).bytes().to_vec());
        counts.map(one).collect()
    }

    #[test]
    fn what_was_put_comes_out_with_its_sequence_numbers_also_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let sensor = sensor("web1", "eth0");
        let mut swap = Swap::open(&place(&dir), &sensor, STREAM).unwrap();
        // The database has 99 already.
        swap.is_stored(99).unwrap();
        swap.put(99, &[chunk(100..=120), chunk(121..=130)]).unwrap();
        assert_eq!((swap.waiting(), swap.last()), (31, 130));
        drop(swap);
        let mut swap = Swap::open(&place(&dir), &sensor, STREAM).unwrap();
        // What came before comes again, and a little more: a retry.
        swap.put(119, &[chunk(120..=125), chunk(126..=140)])
            .unwrap();
        assert_eq!(waiting(&mut swap), numbered(100..=140));
        swap.is_stored(110).unwrap();
        swap.start_again();
        assert_eq!(waiting(&mut swap), numbered(111..=140));
        swap.is_stored(140).unwrap();
        assert_eq!(swap.waiting(), 0);
        swap.close();
        assert!(
            fs::read_dir(dir.path()).unwrap().next().is_none(),
            "removed when it is empty"
        );
    }

    #[test]
    fn a_swap_is_its_owners_alone_and_for_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let sensor = sensor("web1", "");
        let mut swap = Swap::open(&place(&dir), &sensor, STREAM).unwrap();
        swap.put(0, &[chunk(1..=3)]).unwrap();
        let directory = dir.path().join("servsock_swap_web1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join(STREAM.to_string())), 0o700);
        assert!(Swap::open(&place(&dir), &sensor, STREAM).is_err());
        swap.close();
        assert_eq!(
            leftovers(dir.path()),
            [Leftover {
                sensor,
                stream: STREAM
            }]
        );
    }

    #[test]
    fn no_name_leads_out_of_the_directory_and_each_can_be_told_again() {
        for (name, interface, directory) in [
            ("web1", "", "servsock_swap_web1"),
            ("web1", "eth0", "servsock_swap_web1@eth0"),
            ("../../etc/x", "", "servsock_swap_..%2F..%2Fetc%2Fx"),
            ("a@b%2F", "\u{e9}", "servsock_swap_a%40b%252F@%C3%A9"),
        ] {
            let sensor = sensor(name, interface);
            assert_eq!(directory_name(&sensor).as_deref(), Some(directory));
            assert_eq!(sensor_of(directory), Some(sensor));
        }
        assert_eq!(directory_name(&sensor(&"/".repeat(100), "")), None);
        for other in [
            "servsock_swap_%",
            "servsock_swap_%4",
            "servsock_swap_%zz",
            "x",
            "servsock_swap_%FF",
        ] {
            assert_eq!(sensor_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_gap_becomes_a_loss_for_each_of_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let mut swap = Swap::open(&place(&dir), &sensor("s", ""), STREAM).unwrap();
        let mut bytes = chunk(1..=1).bytes().to_vec();
        let gap = Gap {
            numbers: 3000,
            loss: Loss {
                count: 3005,
                from_us: 1,
                to_us: 2,
                reason: "HighWater".into(),
            },
        };
        item::put_gap(&mut bytes, &gap);
        bytes.extend_from_slice(chunk(7..=7).bytes());
        swap.put(0, &[Chunk::of(bytes)]).unwrap();
        assert_eq!(swap.last(), 3002);
        let counts: Vec<u64> = waiting(&mut swap)
            .iter()
            .map(|(_, bytes)| match item::decode(bytes) {
                Ok(Item::Loss(loss)) => loss.count,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts.iter().sum::<u64>(), 1 + 3005 + 7);
        assert_eq!(
            (counts[0], counts[1], counts[2], counts[3001]),
            (1, 6, 1, 7)
        );
    }
}
