//! The writer while the database is away and there is a swap (`-W`): what comes goes there and is acknowledged; once the
//! database answers, the swap is emptied, and what comes meanwhile queues up behind it.

#![forbid(unsafe_code)]

use super::batch;
use super::swap::{NoSwap, Swap};
use super::writer::{
    BATCH_BYTES_ENOUGH, BATCH_ITEMS_ENOUGH, Event, Halt, RETRY_FIRST, Writer, longer,
};
use crate::buffer::{Chunk, Taken};
use crate::clock::now_us;
use crate::spool::{News, Trouble};
use crate::store::{CheckError, OpenStream};
use std::time::{Duration, Instant};

/// After so many tries, what cannot be read is damage: with the longest pause, a minute or so.
const UNREAD_MAX: u32 = 15;

/// A swap in use.
pub(super) struct Swapping {
    swap: Swap,
    /// What the database had when it was left; `None`: it has not been asked yet.
    database: Option<OpenStream>,
    /// What the disk did not take yet, and the number before it: nothing that comes later may overtake it.
    pending: Option<(u64, Vec<Chunk>)>,
    /// Tries to read it that failed.
    unread: u32,
    retry: Duration,
    retry_at: Instant,
}

impl Swapping {
    fn new(swap: Swap, database: Option<OpenStream>, first_try: Duration) -> Swapping {
        Swapping {
            swap,
            database,
            pending: None,
            unread: 0,
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
        self.retry = longer(self.retry);
    }

    /// Closes it; what is in it stays for the next worker, or for the one that empties what others left.
    pub(super) fn close(self) {
        self.swap.close();
    }
}

impl Writer {
    /// The stream, opened in the database; or, where that is away, as far as the swap and the sensor know it.
    pub(super) fn first_stream(&mut self) -> Result<OpenStream, Halt> {
        let Some(mut swap) = self.open_swap()? else {
            return self.open(None);
        };
        let forgotten = self.forgotten;
        if swap.waiting() == 0 {
            match self.open(None) {
                Ok(stream) => {
                    swap.close();
                    return Ok(stream);
                }
                Err(Halt::Away) => {}
                Err(halt) => return Err(halt),
            }
            self.disk(swap.is_stored(forgotten));
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
        let Some(mut swap) = self.open_swap()? else {
            // The next worker does without.
            return Err(
                self.fenced("the database is away, and alerts cannot wait on disk".to_owned())
            );
        };
        self.disk(swap.is_stored(stream.last_seq));
        self.begin_swapping(Swapping::new(swap, Some(*stream), RETRY_FIRST));
        Ok(())
    }

    /// Waits while another process empties it. `None`: there is none, or it cannot be used, which is told; a database that
    /// is there is not to suffer for it.
    fn open_swap(&mut self) -> Result<Option<Swap>, Halt> {
        let mut retry = RETRY_FIRST;
        while let Some(place) = &self.place {
            match Swap::open(place, &self.sensor, self.stream) {
                Ok(swap) => return Ok(Some(swap)),
                Err(NoSwap::InUse) => {}
                Err(NoSwap::Unusable(error)) => {
                    crate::err!("{error}; the sensor keeps them");
                    self.place = None;
                    break;
                }
            }
            self.back_off(&mut retry)?;
        }
        Ok(None)
    }

    fn begin_swapping(&mut self, swapping: Swapping) {
        crate::notice!(
            "sensor \"{}\": alerts wait on disk, in {}, until the database takes them",
            self.sensor.name,
            swapping.swap.path().display()
        );
        self.swapping = Some(swapping);
    }

    /// Puts chunks into the swap and acknowledges them, however long the disk takes; or the database is back first, and
    /// has them. `after` is the number before the first of them.
    pub(super) fn swap_chunks(
        &mut self,
        stream: &mut OpenStream,
        after: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), Halt> {
        let mut retry = RETRY_FIRST;
        self.hold(after, chunks);
        while !self.put_pending(stream) {
            self.back_off(&mut retry)?;
            self.try_database(stream)?;
        }
        Ok(())
    }

    fn hold(&mut self, after: u64, chunks: Vec<Chunk>) {
        if let Some(swapping) = &mut self.swapping {
            swapping.pending = Some((after, chunks));
        }
    }

    /// Whether nothing is pending any more.
    fn put_pending(&mut self, stream: &mut OpenStream) -> bool {
        let Some(swapping) = &mut self.swapping else {
            return true;
        };
        let Some((after, chunks)) = &swapping.pending else {
            return true;
        };
        let put = swapping.swap.put(*after, chunks);
        if put.is_ok() {
            let chunks = swapping.pending.take().map(|(_, chunks)| chunks);
            stream.last_seq = swapping.swap.last();
            self.release(chunks.unwrap_or_default());
            self.tell_swapped(stream.last_seq);
        }
        self.tell_news();
        put.is_ok()
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
        let now = Instant::now();
        let Some(swapping) = self
            .swapping
            .as_ref()
            .filter(|swapping| swapping.due() <= now)
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
            swapping.swap.start_again(); // An earlier try may have read on.
        }
        self.tell_unsure(&database, stream)?;
        self.note_stored(database);
        if let Some(swapping) = &mut self.swapping {
            swapping.swap.start_again();
        }
        loop {
            while let Some(chunks) = self.next_of_swap(database.last_seq)? {
                self.check_orders()?;
                let stored = self.store_chunks(&mut database, &chunks);
                self.note_stored(database);
                stored?;
                self.swap_arrivals(stream);
                self.tell_swapped(stream.last_seq);
            }
            // What did not find room may find some now.
            if self.put_pending(stream) && stream.last_seq == database.last_seq {
                break;
            }
            self.store_pending(&mut database, stream)?;
        }
        self.leave_swap(database, stream);
        Ok(())
    }

    /// A COMMIT whose answer was lost may have taken place: then its alerts are stored, and passed over here.
    fn tell_unsure(&mut self, database: &OpenStream, stream: &OpenStream) -> Result<(), Halt> {
        let Some(after) = self
            .unsure
            .take()
            .filter(|after| database.last_seq > *after)
        else {
            return Ok(());
        };
        let mut last = after;
        while last < database.last_seq
            && let Some(chunks) = self.next_of_swap(last)?
        {
            let items = batch::decode(&chunks, |_| {});
            let stored = items.len().min((database.last_seq - last) as usize);
            let stored = &items[..stored];
            last += stored.len() as u64;
            self.tell_committed(last.min(stream.last_seq), 1, 0, stored);
            self.alarm.tell(database.sid, None, stored);
        }
        Ok(())
    }

    fn note_stored(&mut self, database: OpenStream) {
        if let Some(swapping) = &mut self.swapping {
            swapping.database = Some(database);
            let noted = swapping.swap.is_stored(database.last_seq);
            self.disk(noted);
        }
    }

    /// The swap is empty: what the disk does not take goes to the database itself.
    fn store_pending(
        &mut self,
        database: &mut OpenStream,
        stream: &mut OpenStream,
    ) -> Result<(), Halt> {
        let pending = self
            .swapping
            .as_mut()
            .and_then(|swapping| swapping.pending.take());
        let Some((after, chunks)) = pending else {
            let waiting = self
                .swapping
                .as_ref()
                .map_or(0, |swapping| swapping.swap.waiting());
            return match stream.last_seq < database.last_seq {
                // The database has more than has come here: the sensor sends it again, and it is not to be taken for new.
                true => {
                    self.tell_back();
                    Err(Halt::Away)
                }
                false if waiting > 0 => Ok(()), // Something has come meanwhile.
                // It was restored from a backup. The sensor connects again, and what is missing becomes a loss.
                false => Err(self.fenced(format!(
                    "the database has number {} of this stream where {} was expected",
                    database.last_seq, stream.last_seq
                ))),
            };
        };
        let stored = match after == database.last_seq {
            true => self.store_chunks(database, &chunks),
            false => Err(Halt::Away), // A part is in the database; the disk will have room for all of it again.
        };
        self.note_stored(*database);
        if stored.is_err() {
            self.hold(after, chunks);
            return stored;
        }
        stream.last_seq = database.last_seq;
        self.release(chunks);
        Ok(())
    }

    fn leave_swap(&mut self, database: OpenStream, stream: &mut OpenStream) {
        debug_assert_eq!(
            stream.last_seq, database.last_seq,
            "the same is next for both"
        );
        self.tell_back();
        self.tell(Event::Back);
        *stream = database;
        if let Some(swapping) = self.swapping.take() {
            swapping.close();
            crate::notice!(
                "sensor \"{}\": what waited on disk is in the database",
                self.sensor.name
            );
        }
        self.tell_swapped(stream.last_seq);
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
                    swapping.unread += 1;
                    if swapping.unread > UNREAD_MAX {
                        swapping.unread = 0;
                        swapping.swap.pass_over();
                    }
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
    fn swap_arrivals(&mut self, stream: &mut OpenStream) {
        while self.put_pending(stream) {
            let Taken::Chunk(chunk) = self.take() else {
                return;
            };
            self.hold(stream.last_seq, vec![chunk]);
        }
    }

    /// Empties what a worker left, and nobody else has open. The database is waited for before the swap is opened, so
    /// that a sensor which comes back meanwhile finds it free.
    pub(super) fn empty_leftover(&mut self) -> Result<(), Halt> {
        let mut retry = RETRY_FIRST;
        while let Some(place) = self.place.clone() {
            self.wait_for_database()?;
            let swap = match Swap::open(&place, &self.sensor, self.stream) {
                Ok(swap) => swap,
                // Its sensor is back, and its worker empties it.
                Err(NoSwap::InUse) => return Ok(()),
                Err(NoSwap::Unusable(error)) => {
                    crate::err!("what waits on disk cannot be stored: {error}");
                    return Ok(());
                }
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
            self.back_off(&mut retry)?;
        }
        Ok(())
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
            self.back_off(&mut retry)?;
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
                    "sensor \"{}\": {text}; the sensor keeps its alerts until that is over (--swap-max allows a bigger swap)",
                    self.sensor.name
                ),
                News::Back => {
                    crate::notice!("sensor \"{}\": the swap works again", self.sensor.name)
                }
            }
        }
    }
}
