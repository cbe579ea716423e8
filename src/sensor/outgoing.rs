//! Items on their way to servsock: their numbers, and what of them is acknowledged. Where they wait meanwhile differs:
//! in memory (`from_buffer`), or in a spool on the disk (`from_spool`).

#![forbid(unsafe_code)]

use super::carried::CarriedChunk;
use crate::buffer::Chunk;
use crate::wire::StreamId;

/// What the sender sends from. Numbers are sequence numbers of the stream.
pub(super) trait Outgoing: Send {
    /// The stream.
    fn stream(&self) -> StreamId;

    /// Begins a stream of this name: what is not acknowledged goes out again, numbered from 1 on.
    ///
    /// # Errors
    ///
    /// A sentence; the old stream goes on then.
    fn begin_stream(&mut self, id: StreamId) -> Result<(), String>;

    /// On a new connection everything that is not acknowledged goes out again.
    fn start_again(&mut self);

    /// The last acknowledged number.
    fn acknowledged(&self) -> u64;

    /// Looks for something to send, while there is no connection.
    fn peek(&mut self) -> Peek;

    /// Whether a disk knows of the stream.
    fn is_on_disk(&self) -> bool;

    /// The last number that may have gone out, on any connection.
    fn most_sent(&self) -> u64;

    /// The next items that did not go out on this connection. `None`: there are none, and the waker will tell.
    fn next_piece(&mut self) -> Option<Piece<'_>>;

    /// Whether `next_piece` would have something.
    fn has_unsent(&self) -> bool;

    /// Whether something went out, on any connection, and is not acknowledged.
    fn is_any_sent(&self) -> bool;

    /// servsock says in its WELCOME what it has.
    ///
    /// # Errors
    ///
    /// A sentence: this stream cannot go on, for it has more than was ever sent.
    fn welcome(&mut self, stored: u64) -> Result<(), String>;

    /// Everything up to `stored` is durable. Numbers that were acknowledged before change nothing.
    ///
    /// # Errors
    ///
    /// A sentence: it was never sent.
    fn acknowledge(&mut self, stored: u64) -> Result<(), String>;

    /// Nothing comes any more, and all that came, or was lost, is acknowledged.
    fn is_finished(&self) -> bool;

    /// What is in memory only and not acknowledged, for the program that follows this one. Nothing comes any more.
    fn carry(&mut self) -> Vec<CarriedChunk>;

    /// What is in memory only and not acknowledged, for a stop: nobody will send it. Nothing comes any more.
    fn leave(&mut self) -> Left;

    /// The end of the spool that this one read.
    fn into_reader(self: Box<Self>) -> Option<crate::spool::Reader>;
}

/// What `Outgoing::peek` found.
pub(super) enum Peek {
    /// There is something to send.
    Something,
    /// There is not; the waker will tell.
    Nothing,
    /// There is not, and nothing will come.
    End,
}

/// Items to send.
pub(super) struct Piece<'a> {
    /// Number of the first.
    pub(super) first: u64,
    /// The items.
    pub(super) chunk: &'a Chunk,
}

/// What nobody will send any more.
#[derive(Default)]
pub(super) struct Left {
    /// Alerts that were sent and are not acknowledged: they may be in the database.
    pub(super) sent: Vec<Chunk>,
    /// Alerts that were never sent.
    pub(super) unsent: Vec<Chunk>,
    /// Whether loss records are among it.
    pub(super) has_losses: bool,
}

/// A number was acknowledged that was never sent.
pub(super) fn never_sent(stored: u64, last: u64) -> String {
    format!("it acknowledged number {stored}, but {last} was the last one sent")
}
