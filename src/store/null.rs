//! No database: what arrives counts as stored, and is gone. For the benchmark of all that is not the database.
//!
//! Only with the feature `null-store`, which no build for use has: there `null:` is not the address of a database.

#![forbid(unsafe_code)]

use super::{Batch, CheckError, OpenStream, Opening, Store, StoreError, Stored, rows::clamp};
use crate::wire::Item;

/// The address that stands for it.
pub(super) const URL: &str = "null:";

pub(super) struct Null;

impl Store for Null {
    fn check(&mut self) -> Result<(), CheckError> {
        Ok(())
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        Ok(OpenStream {
            sid: 1,
            id: opening.stream,
            epoch: 1,
            last_seq: opening.forgotten,
        })
    }

    fn write(&mut self, _: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let alerts = clamp(batch.alerts().count() as u64);
        Ok(Stored::up_to(clamp(batch.last_seq()), alerts))
    }

    fn try_out(&mut self, _: &OpenStream, _: &Item<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
