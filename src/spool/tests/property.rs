//! Appends, acknowledgements, restarts and damage in any order, against a model which knows where each item lies.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;

#[derive(Clone, Debug)]
enum Step {
    /// Items of so many bytes; durable or not.
    Append(Vec<usize>, bool),
    /// This share of what is durable and not acknowledged.
    Acknowledge(u8),
    Restart,
    /// An orderly end, and a start.
    Close,
    NewStream,
    /// A bit of one of the files, and a restart.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    /// One of the files loses its end, before a restart.
    Cut(prop::sample::Index, prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let any_place = || (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    prop_oneof![
        8 => (prop::collection::vec(32..1500usize, 1..8), any::<bool>())
            .prop_map(|(sizes, durable)| Step::Append(sizes, durable)),
        3 => any::<u8>().prop_map(Step::Acknowledge),
        2 => Just(Step::Restart),
        1 => Just(Step::Close),
        1 => Just(Step::NewStream),
        3 => (any_place(), 0..8u8).prop_map(|((file, at), bit)| Step::Flip(file, at, bit)),
        2 => any_place().prop_map(|(file, at)| Step::Cut(file, at)),
    ]
}

/// Where an item lies.
#[derive(Debug)]
struct Place {
    bytes: Vec<u8>,
    file: PathBuf,
    range: Range<u64>,
}

struct Model {
    dir: TempDir,
    spool: Option<Spool>,
    /// Each item that a number ever had.
    history: HashMap<u64, HashSet<Vec<u8>>>,
    /// Appended, and not durable yet.
    pending: BTreeMap<u64, Place>,
    /// Durable and undamaged: has to be read, unless it is acknowledged.
    intact: BTreeMap<u64, Place>,
    /// Bad copies of headers.
    bad_copies: HashSet<(PathBuf, u64)>,
    acknowledged: u64,
    /// Makes each item and each fresh stream another one.
    count: u64,
}

impl Model {
    fn new() -> Model {
        let mut model = Model {
            dir: tempfile::tempdir().unwrap(),
            spool: None,
            history: HashMap::new(),
            pending: BTreeMap::new(),
            intact: BTreeMap::new(),
            bad_copies: HashSet::new(),
            acknowledged: 0,
            count: 0,
        };
        model.start();
        model
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn fresh(&mut self) -> StreamId {
        self.count += 1;
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&self.count.to_le_bytes());
        StreamId(id)
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(sizes, durable) => self.append(&sizes, durable),
            Step::Acknowledge(share) => {
                let counts = self.spool().reader.counts();
                let number = counts.acknowledged + counts.waiting() * u64::from(share) / 255;
                self.acknowledged = self.acknowledged.max(number);
                self.spool().reader.acknowledge(number).unwrap();
            }
            Step::NewStream => {
                let id = self.fresh();
                self.spool().appender.begin_stream(id).unwrap();
                self.pending_is_durable();
                self.file_begins();
            }
            Step::Restart => self.restart(|_| {}),
            Step::Close => {
                self.pending_is_durable();
                let mut spool = self.spool.take().unwrap();
                spool.appender.close().unwrap();
                drop(spool);
                self.file_begins();
                self.start();
            }
            Step::Flip(file, at, bit) => self.restart(|model| model.flip(&file, &at, bit)),
            Step::Cut(file, at) => self.restart(|model| model.cut(&file, &at)),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("spool"))
    }

    fn append(&mut self, sizes: &[usize], durable: bool) {
        for size in sizes {
            self.count += 1;
            let item = item(self.count, *size);
            let number = self.spool().appender.next();
            let chunk = Chunk::of(item.clone());
            self.spool().appender.append(number, &chunk).unwrap();
            let file = self.files().pop().unwrap();
            let end = fs::metadata(&file).unwrap().len();
            let range = end - (format::FRONT_BYTES + item.len()) as u64..end;
            if range.start == HEADER_BYTES {
                // It may have taken the place of a damaged one.
                self.bad_copies.retain(|(bad, _)| *bad != file);
            }
            self.history.entry(number).or_default().insert(item.clone());
            self.pending.insert(
                number,
                Place {
                    bytes: item,
                    file,
                    range,
                },
            );
        }
        if durable {
            self.spool().appender.sync().unwrap();
            self.pending_is_durable();
        }
    }

    /// A segment may have been begun in the place of a damaged one.
    fn file_begins(&mut self) {
        if let Some(file) = self.files().pop() {
            self.bad_copies.retain(|(bad, _)| *bad != file);
        }
    }

    fn pending_is_durable(&mut self) {
        self.intact.append(&mut self.pending);
    }

    fn restart(&mut self, between: impl FnOnce(&mut Model)) {
        self.spool = None;
        self.pending.clear();
        between(self);
        self.start();
    }

    fn flip(&mut self, file: &prop::sample::Index, at: &prop::sample::Index, bit: u8) {
        let files = self.files();
        let Some(path) = (!files.is_empty()).then(|| file.get(&files)) else {
            return;
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let bytes = file.metadata().unwrap().len();
        if bytes == 0 {
            return;
        }
        let at = at.index(usize::try_from(bytes).unwrap()) as u64;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
        if at < HEADER_BYTES {
            self.bad_copies
                .insert((path.clone(), at / format::PAGE_BYTES));
        }
        let headless = (0..2).all(|copy| self.bad_copies.contains(&(path.clone(), copy)));
        self.intact
            .retain(|_, place| place.file != *path || !(headless || place.range.contains(&at)));
    }

    fn cut(&mut self, file: &prop::sample::Index, at: &prop::sample::Index) {
        let files = self.files();
        let Some(path) = (!files.is_empty()).then(|| file.get(&files)) else {
            return;
        };
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        let bytes = at.index(usize::try_from(bytes).unwrap() + 1) as u64;
        file.set_len(bytes).unwrap();
        self.intact
            .retain(|_, place| place.file != *path || place.range.end <= bytes);
    }

    fn start(&mut self) {
        let fresh = self.fresh();
        let path = self.dir.path().join("spool");
        let (appender, reader, recovered) = open(&path, &SMALL, fresh).unwrap();
        if recovered.stream.id == fresh {
            // No header was left: nothing of what was there can be told from what was not.
            self.intact.clear();
            self.acknowledged = recovered.acknowledged;
        }
        // What is told to be acknowledged was; what the disk lost of it is numbered anew.
        assert!(recovered.acknowledged <= self.acknowledged);
        self.acknowledged = self.acknowledged.min(recovered.last);
        self.spool = Some(Spool {
            appender,
            reader,
            recovered,
        });
        self.check();
    }

    /// Reads all, and compares it.
    fn check(&mut self) {
        let spool = self.spool.as_mut().unwrap();
        spool.reader.start_again();
        let counts = spool.reader.counts();
        let mut next = counts.acknowledged + 1;
        while let Some(run) = spool.reader.read().unwrap() {
            match run {
                Run::Items { first, chunk } => {
                    assert_eq!(first, next);
                    for item in chunk.items() {
                        assert!(
                            self.history[&next].contains(item),
                            "{next} was never written so"
                        );
                        if let Some(place) = self.intact.get(&next) {
                            assert_eq!(place.bytes, item, "{next}");
                        }
                        next += 1;
                    }
                }
                Run::Lost(lost) => {
                    assert_eq!(lost.first, next);
                    next += lost.count;
                    let found = self.intact.range(lost.first..next).next();
                    assert!(found.is_none(), "{lost:?}, but {found:?}");
                }
            }
        }
        assert_eq!(next, counts.durable + 1, "each number is accounted for");
        let behind = self.intact.range(next..).next();
        assert!(behind.is_none(), "cut off: {behind:?}");
        let files = self.files();
        let on_disk = files.iter().map(|file| fs::metadata(file).unwrap().len());
        assert_eq!(on_disk.sum::<u64>(), counts.bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn nothing_is_made_up_nothing_intact_is_lost_and_each_number_is_accounted_for(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
            model.check();
        }
    }
}
