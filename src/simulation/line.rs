//! A connection: bytes on their way in two directions. They arrive late, in pieces, or not at all; what arrives is in
//! order and as it was sent, as TCP has it.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

/// One direction.
#[derive(Default)]
pub(super) struct Pipe {
    /// On their way.
    way: VecDeque<u8>,
    /// It breaks when so many more have arrived.
    breaks_after: Option<usize>,
    /// Nothing arrives any more, and nobody is told.
    is_dead: bool,
    /// Its sender has closed it: the end comes behind what is on its way.
    is_closed: bool,
    /// What was on its way is lost, and its receiver sees an end.
    is_broken: bool,
}

impl Pipe {
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if !self.is_dead && !self.is_broken && !self.is_closed {
            self.way.extend(bytes);
        }
    }

    /// Bytes on their way: a sender does not queue for ever.
    pub(super) fn len(&self) -> usize {
        self.way.len()
    }

    /// The next bytes that arrive, at most so many.
    pub(super) fn deliver(&mut self, most: usize) -> Vec<u8> {
        let limit = self.breaks_after.unwrap_or(usize::MAX).min(most);
        let count = limit.min(self.way.len());
        let arrived = self.way.make_contiguous()[..count].to_vec();
        self.way.drain(..count);
        if let Some(left) = &mut self.breaks_after {
            *left -= arrived.len();
            if *left == 0 {
                self.break_now();
            }
        }
        arrived
    }

    /// Whether its receiver sees the end.
    pub(super) fn has_ended(&self) -> bool {
        self.is_broken || (self.is_closed && self.way.is_empty() && !self.is_dead)
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    fn break_now(&mut self) {
        self.is_broken = true;
        self.way.clear();
    }
}

/// Both directions.
#[derive(Default)]
pub(super) struct Line {
    /// Sensor to worker.
    pub(super) up: Pipe,
    /// Worker to sensor.
    pub(super) down: Pipe,
}

impl Line {
    /// It is cut when so many more bytes have arrived in each direction.
    pub(super) fn cut(&mut self, up: usize, down: usize) {
        for (pipe, after) in [(&mut self.up, up), (&mut self.down, down)] {
            pipe.breaks_after = Some(after);
            if after == 0 {
                pipe.break_now();
            }
        }
    }

    /// One direction carries nothing any more, and nobody is told: what is on its way there is lost.
    pub(super) fn kill_direction(&mut self, up: bool) {
        let pipe = if up { &mut self.up } else { &mut self.down };
        pipe.is_dead = true;
        pipe.way.clear();
    }

    /// Whether somebody is not told of what happened: only silence tells.
    pub(super) fn is_faulty(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .any(|pipe| pipe.is_dead || pipe.is_broken || pipe.breaks_after.is_some())
    }
}
