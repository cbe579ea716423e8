//! The writer while the database is away and there is a swap (`-W`): what comes goes there and is acknowledged; once the
//! database answers, the swap is emptied, and what comes meanwhile queues up behind it.

#![forbid(unsafe_code)]

use super::swap::{Place, Swap};
use super::writer::{
    BATCH_BYTES_ENOUGH, BATCH_ITEMS_ENOUGH, Event, Halt, RETRY_FIRST, RETRY_LONGEST, Writer,
};
use crate::buffer::{Chunk, Taken};
use crate::clock::now_us;
use crate::error::Error;
use crate::spool::{News, Trouble};
use crate::store::{CheckError, OpenStream};
use std::time::{Duration, Instant};

/// A swap in use.
pub(super) struct Swapping {
    swap: Swap,
    /// What the database had when it was left; `None`: it has not been asked yet.
    database: Option<OpenStream>,
    retry: Duration,
    retry_at: Instant,
}

impl Swapping {
    fn new(swap: Swap, database: Option<OpenStream>, first_try: Duration) -> Swapping {
        Swapping {
            swap,
            database,
            retry: RETRY_FIRST,
            retry_at: Instant::now() + first_try,
        }
    }

    /// When the database is tried again.
    pub(super) fn due(&self) -> Instant {
        self.retry_at
    }

    fn try_later(&mut self) {
        self.retry_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY_LONGEST);
    }

    /// Closes it; what is in it stays for the next worker, or for the one that empties what others left.
    pub(super) fn close(self) {
        self.swap.close();
    }
}

impl Writer {
    /// The stream, opened in the database; or, where that is away, as far as the swap and the sensor know it.
    pub(super) fn first_stream(&mut self) -> Result<OpenStream, Halt> {
        let Some(place) = self.place.clone() else {
            return self.open(None);
        };
        let forgotten = self.forgotten;
        let mut swap = self.open_swap(&place)?;
        if swap.waiting() == 0 {
            match self.open(None) {
                Ok(stream) => {
                    swap.close();
                    return Ok(stream);
                }
                Err(Halt::Away) => {}
                Err(halt) => return Err(halt),
            }
            self.disk(swap.is_stored(self.forgotten));
        } else {
            self.begin_behind(&swap);
        }
        let stream = OpenStream {
            sid: 0, // Not known.
            id: self.stream,
            epoch: 0,
            last_seq: swap.last().max(forgotten),
        };
        self.begin_swapping(Swapping::new(swap, None, Duration::ZERO));
        Ok(stream)
    }

    /// What the sensor no longer has may be in the swap and nowhere else.
    fn begin_behind(&mut self, swap: &Swap) {
        self.forgotten = swap.stored();
    }

    /// The database has gone away in the middle of the stream.
    pub(super) fn leave_database(&mut self, stream: &OpenStream) -> Result<(), Halt> {
        let Some(place) = self.place.clone() else {
            return Err(Halt::Away);
        };
        let mut swap = self.open_swap(&place)?;
        self.disk(swap.is_stored(stream.last_seq));
        self.begin_swapping(Swapping::new(swap, Some(*stream), RETRY_FIRST));
        Ok(())
    }

    /// However long it takes: another process may be emptying it.
    fn open_swap(&mut self, place: &Place) -> Result<Swap, Halt> {
        let mut retry = RETRY_FIRST;
        loop {
            match Swap::open(place, &self.sensor, self.stream) {
                Ok(swap) => return Ok(swap),
                Err(error) => self.tell_disk(&error),
            }
            self.pause(retry)?;
            retry = (retry * 2).min(RETRY_LONGEST);
        }
    }

    fn begin_swapping(&mut self, swapping: Swapping) {
        crate::notice!(
            "sensor \"{}\": alerts wait on disk, in {}, until the database takes them",
            self.sensor.name,
            swapping.swap.path().display()
        );
        self.swapping = Some(swapping);
    }

    /// Puts chunks into the swap, however long the disk takes, and acknowledges them.
    /// `after` is the number before the first of them.
    pub(super) fn swap_chunks(
        &mut self,
        stream: &mut OpenStream,
        after: u64,
        chunks: &[Chunk],
    ) -> Result<(), Halt> {
        let mut retry = RETRY_FIRST;
        let last = loop {
            let Some(swapping) = &mut self.swapping else {
                return Ok(());
            };
            let put = swapping.swap.put(after, chunks);
            let last = swapping.swap.last();
            match put {
                Ok(()) => break last,
                Err(_) => self.tell_news(),
            }
            self.pause(retry)?;
            retry = (retry * 2).min(RETRY_LONGEST);
        };
        self.tell_news();
        stream.last_seq = last;
        self.tell_swapped(last);
        Ok(())
    }

    fn tell_swapped(&self, last_seq: u64) {
        let waiting = self
            .swapping
            .as_ref()
            .map_or(0, |swapping| swapping.swap.waiting());
        self.tell(Event::Swapped { last_seq, waiting });
    }

    /// Tries the database, when it is time to; if it answers, empties the swap into it.
    pub(super) fn try_database(&mut self, stream: &mut OpenStream) -> Result<(), Halt> {
        let Some(swapping) = self
            .swapping
            .as_ref()
            .filter(|swapping| swapping.due() <= Instant::now())
        else {
            return Ok(());
        };
        let known = swapping.database;
        let emptied = match self.open(known.as_ref()) {
            Ok(database) => self.empty(database, stream),
            Err(halt) => Err(halt),
        };
        match emptied {
            Err(Halt::Away) => {
                if let Some(swapping) = &mut self.swapping {
                    swapping.try_later();
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Swap -> database, to the end. What comes meanwhile goes behind it.
    fn empty(&mut self, mut database: OpenStream, stream: &mut OpenStream) -> Result<(), Halt> {
        if let Some(swapping) = &mut self.swapping {
            let stored = swapping.swap.is_stored(database.last_seq);
            swapping.swap.start_again();
            self.disk(stored);
        }
        while let Some(chunks) = self.next_of_swap(database.last_seq)? {
            self.check_orders()?;
            let stored = self.store_chunks(&mut database, &chunks);
            if let Some(swapping) = &mut self.swapping {
                swapping.database = Some(database);
                let noted = swapping.swap.is_stored(database.last_seq);
                self.disk(noted);
            }
            stored?;
            self.swap_arrivals(stream)?;
            self.tell_swapped(stream.last_seq);
        }
        self.tell_back();
        *stream = database;
        if let Some(swapping) = self.swapping.take() {
            swapping.close();
            crate::notice!(
                "sensor \"{}\": what waited on disk is in the database",
                self.sensor.name
            );
        }
        self.tell_swapped(stream.last_seq);
        Ok(())
    }

    /// The next batch behind `last`, the last number that the database has.
    fn next_of_swap(&mut self, last: u64) -> Result<Option<Vec<Chunk>>, Halt> {
        let (mut chunks, mut items, mut bytes) = (Vec::new(), 0, 0);
        while items < BATCH_ITEMS_ENOUGH && bytes < BATCH_BYTES_ENOUGH {
            let Some(swapping) = &mut self.swapping else {
                return Ok(None);
            };
            match swapping.swap.next(now_us()) {
                Ok(Some((first, chunk))) => {
                    let expected = last + 1 + u64::from(items);
                    if first != expected {
                        return Err(self.fenced(format!(
                            "the swap goes on with number {first} of this stream where {expected} was expected"
                        )));
                    }
                    items += chunk.len();
                    bytes += chunk.bytes().len();
                    chunks.push(chunk);
                }
                Ok(None) => break,
                Err(_) => {
                    self.tell_news();
                    if chunks.is_empty() {
                        return Err(Halt::Away); // Tried again later: the disk may come back.
                    }
                    break;
                }
            }
        }
        Ok((!chunks.is_empty()).then_some(chunks))
    }

    /// What is in the buffer by now, so that the sensor is acknowledged while the swap is emptied.
    fn swap_arrivals(&mut self, stream: &mut OpenStream) -> Result<(), Halt> {
        while let Taken::Chunk(chunk) = self.ends.outlet.take() {
            let chunks = [chunk];
            self.swap_chunks(stream, stream.last_seq, &chunks)?;
            self.release(chunks.into());
        }
        Ok(())
    }

    /// Empties what a worker left, and nobody else has open. The database is waited for before the swap is opened, so that
    /// a sensor which comes back meanwhile finds it free.
    pub(super) fn empty_leftover(&mut self) -> Result<(), Halt> {
        let Some(place) = self.place.clone() else {
            return Ok(());
        };
        loop {
            self.wait_for_database()?;
            // An error: its sensor is back, and its worker empties it.
            let Ok(swap) = Swap::open(&place, &self.sensor, self.stream) else {
                return Ok(());
            };
            if swap.waiting() == 0 {
                swap.close();
                return Ok(());
            }
            self.begin_behind(&swap);
            let mut stream = OpenStream {
                sid: 0,
                id: self.stream,
                epoch: 0,
                last_seq: swap.last(),
            };
            self.swapping = Some(Swapping::new(swap, None, Duration::ZERO));
            self.try_database(&mut stream)?;
            match self.swapping.take() {
                None => return Ok(()),
                Some(swapping) => swapping.close(),
            }
        }
    }

    fn wait_for_database(&mut self) -> Result<(), Halt> {
        let mut retry = RETRY_FIRST;
        loop {
            match self.store.check() {
                Ok(()) => return Ok(()),
                Err(CheckError::Away(text) | CheckError::Final(text)) => {
                    self.tell_away(&text, Instant::now());
                }
            }
            self.pause(retry)?;
            retry = (retry * 2).min(RETRY_LONGEST);
        }
    }

    /// An error while something is removed is told, and changes nothing: it is tried again.
    fn disk(&mut self, result: Result<(), Trouble>) {
        if result.is_err() {
            self.tell_news();
        }
    }

    fn tell_news(&mut self) {
        let news = self
            .swapping
            .as_mut()
            .map(|swapping| swapping.swap.take_news());
        for news in news.into_iter().flatten() {
            match news {
                News::Fails(text) => crate::err!(
                    "sensor \"{}\": {text}; until then the sensor keeps its alerts",
                    self.sensor.name
                ),
                News::Back => {
                    crate::notice!("sensor \"{}\": the swap works again", self.sensor.name)
                }
            }
        }
    }

    fn tell_disk(&mut self, error: &Error) {
        if let Some(count) = self.bad.told(Instant::now()) {
            crate::err!(
                "{error}; trying again, the sensor keeps its alerts ({count} since the last such line)"
            );
        }
    }
}
