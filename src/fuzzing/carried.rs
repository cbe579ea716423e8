//! What a restart carries over to the next program: a newer or older one, so it is read as if it were foreign.

#![forbid(unsafe_code)]

use super::texts::check_digest;
use super::{Input, check_sentence};
use crate::mail::Carried as MailCarried;
use crate::mail::batch::{Batch, Saved};
use crate::process::Carrier;
use crate::process::handover::Handover;
use crate::sensor::Carried;
use std::io::Write;

/// Which of the three, then its bytes.
pub fn carried(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 4 {
        0 => check_sensors(input.0),
        1 => check_handover(input.0),
        2 => check_mailers(input.0),
        _ => check_saved(input.0),
    }
}

fn carrier(bytes: &[u8]) -> Carrier {
    let mut carrier = Carrier::new().expect("memory");
    carrier.write_all(bytes).expect("memory");
    carrier.rewind().expect("a file");
    carrier
}

fn check_sensors(bytes: &[u8]) {
    match Carried::read(&mut carrier(bytes)) {
        Ok(mut carried) => {
            let mut again = Vec::new();
            carried.write(&mut again).expect("memory");
            let mut read_again = Carried::read(&mut carrier(&again)).expect("it was just written");
            assert_eq!(read_again, carried);
            // Dropped with them, it would tell of a loss.
            drop((carried.take_chunks(), read_again.take_chunks()));
        }
        Err(error) => check_sentence(&error.0),
    }
}

fn check_handover(bytes: &[u8]) {
    match Handover::read(&mut carrier(bytes)) {
        Ok(handover) => {
            let mut again = Carrier::new().expect("memory");
            handover.write(&mut again).expect("memory");
            again.rewind().expect("a file");
            assert_eq!(Handover::read(&mut again).as_ref(), Ok(&handover));
            assert_eq!(again.left(), 0);
        }
        Err(error) => check_sentence(&error.0),
    }
}

fn check_mailers(bytes: &[u8]) {
    if let Ok(carried) = serde_json::from_slice::<MailCarried>(bytes) {
        let json = serde_json::to_vec(&carried).expect("names and numbers become JSON");
        let again: MailCarried = serde_json::from_slice(&json).expect("it was just written");
        assert_eq!(again, carried);
    }
}

/// What waits, within limits of its own.
fn check_saved(bytes: &[u8]) {
    let Ok(saved) = serde_json::from_slice::<Saved>(bytes) else {
        return;
    };
    let batch = Batch::restore(2, saved);
    assert!(batch.records().len() <= 2);
    check_digest(&batch);
    let alerts = batch.alerts();
    assert_eq!(Batch::restore(2, batch.save()).alerts(), alerts);
}
