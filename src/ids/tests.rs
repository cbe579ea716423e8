//! Real datagrams against their tables, then what no IDS should send.

#[path = "../../tests/fixtures/mod.rs"]
pub(crate) mod fixtures;

#[path = "../../tests/fixtures/expect.rs"]
mod expect;
mod hostile;
mod real;

use super::*;
use crate::alert::Alert;

fn decoded<'a>(datagram: &'a [u8], scratch: &'a mut Scratch) -> Alert<'a> {
    linked(datagram, LinkType::Auto, scratch)
}

fn linked<'a>(datagram: &'a [u8], link: LinkType, scratch: &'a mut Scratch) -> Alert<'a> {
    match decode(datagram, link, scratch) {
        Ok(Decoded::Alert(alert)) => alert,
        other => panic!("no alert but {other:?}"),
    }
}

fn refused(datagram: &[u8]) -> Refusal {
    match decode(datagram, LinkType::Auto, &mut Scratch::default()) {
        Err(refusal) => refusal,
        Ok(taken) => panic!("not refused: {taken:?}"),
    }
}
