//! The rules of sequence numbers, without I/O: what a worker expects next, and what it does with what came.
//!
//! A stream's items are numbered 1, 2, 3 ... A number, once sent, belongs to its item for ever. The worker takes each
//! number once and in order: what it has already is skipped, and a jump ends the connection, for the sensor sends
//! again, from the number that is durable on, after the next handshake.

#![forbid(unsafe_code)]

use super::{DecodeError, error};

/// The worker's place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    next: u64,
}

impl Expected {
    /// After a handshake that said `stored` is durable.
    pub fn after(stored: u64) -> Expected {
        Expected { next: stored + 1 }
    }

    /// The last number that was taken.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Items `first .. first + count` have come: how many of them, from the front, are to be skipped because they
    /// came before. The others are taken.
    ///
    /// # Errors
    ///
    /// The numbers jump: items in between are missing.
    pub fn take(&mut self, first: u64, count: u32) -> Result<usize, DecodeError> {
        if first > self.next {
            return error(format!(
                "sequence number {first} where {} was next",
                self.next
            ));
        }
        let end = first + u64::from(count);
        let skip = (self.next - first).min(u64::from(count));
        self.next = self.next.max(end);
        Ok(usize::try_from(skip).expect("at most count, a u32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_in_order_are_all_taken() {
        let mut expected = Expected::after(0);
        assert_eq!(expected.take(1, 10), Ok(0));
        assert_eq!(expected.take(11, 1), Ok(0));
        assert_eq!(expected.last(), 11);
    }

    #[test]
    fn what_came_before_is_skipped_and_the_rest_taken() {
        let mut expected = Expected::after(10);
        assert_eq!(expected.take(5, 6), Ok(6), "5 to 10: all known");
        assert_eq!(expected.take(1, 3), Ok(3), "it went back");
        assert_eq!(expected.take(9, 4), Ok(2), "9 and 10 known, 11 and 12 new");
        assert_eq!(expected.last(), 12);
    }

    #[test]
    fn a_jump_is_an_error_and_changes_nothing() {
        let mut expected = Expected::after(10);
        assert_eq!(
            expected.take(12, 1).unwrap_err().0,
            "sequence number 12 where 11 was next"
        );
        assert_eq!(expected, Expected::after(10));
    }
}
