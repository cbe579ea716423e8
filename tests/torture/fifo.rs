//! What a control FIFO gets from somebody who does not know, or does not mean, what he writes. Nothing of it loses an
//! alert.

use crate::dice::Dice;
use crate::site::Site;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// More than a line may have.
const LONG: usize = 5_000;
const LINES: u64 = 30;

/// Writes into the FIFO of servsock and of each sockserv.
pub(crate) fn abuse(site: &mut Site, dice: &mut Dice) {
    let mut fifos = vec![site.path("servsock.ctrl")];
    fifos.extend(site.sensors.iter().map(|sensor| sensor.fifo()));
    for fifo in fifos {
        write(&fifo, dice);
    }
}

fn write(fifo: &Path, dice: &mut Dice) {
    let file = File::options()
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(fifo);
    // Nobody reads it: the program has just ended.
    let Ok(mut file) = file else { return };
    for _ in 0..LINES {
        // A full FIFO is an abuse, too.
        let _ = file.write_all(&line(dice));
    }
    let _ = file.write_all(b"\n");
}

fn line(dice: &mut Dice) -> Vec<u8> {
    let noise = |length: usize, dice: &mut Dice| -> Vec<u8> {
        let byte = |_| u8::try_from(dice.within(0..=255)).expect("a byte");
        (0..length).map(byte).collect()
    };
    match dice.within(0..=9) {
        0 => noise(50, dice),
        1 => noise(LONG, dice),
        2 => vec![b'x'; LONG],
        3 => b"\n\n\r\n \n".to_vec(),
        4 => b"reconnect\n".to_vec(),
        5 => b"disconnect sensor1\n".to_vec(),
        6 => b"high 0\nlow 99999999999999999999\n".to_vec(),
        7 => b"debug all 9\ndebug all 0\n".to_vec(),
        8 => b"stats > ../../stats\nstats > stats\nstatus\nconfig\n".to_vec(),
        _ => b"sta".to_vec(), // And another command behind it.
    }
}
