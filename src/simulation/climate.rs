//! What can go wrong in a run, and how often: each run has some faults only, so that rare ones meet each other alone as
//! well as all at once.

#![forbid(unsafe_code)]

use super::Way;
use super::random::Random;
use crate::buffer::Water;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The IDS has alerts.
    Alerts,
    /// The sensor connects, or reads and sends.
    Sensor,
    /// Bytes arrive at a worker, or at the sensor.
    Arrive,
    /// A worker reads and answers.
    Worker,
    /// A worker's writer goes on to its next call of the database, or behind it.
    Writer,
    /// A line is cut behind some more bytes.
    Cut,
    /// One direction of a line is dead.
    HalfOpen,
    /// The sensor gives its connection up: silence, or a command.
    GiveUp,
    /// A worker is killed.
    Kill,
    /// The master tells a worker that its sensor has connected again.
    Supersede,
    /// The database goes away, or comes back.
    Database,
    /// The sensor restarts.
    Restart,
    /// The sensor is killed, and starts again. Only with a spool: without one, a kill takes what is in memory.
    Crash,
    /// The threads at the sensor's disk do something.
    Disk,
    /// The sensor turns to another servsock of the same database.
    Move,
    /// Somebody else writes under the stream's name.
    Stranger,
}

/// The rates of a run.
pub(super) struct Climate {
    pub(super) steps: Vec<(usize, Step)>,
    /// Answers of the database that are lost, in a hundred.
    pub(super) answers_lost: usize,
    /// Alerts that the database refuses, in a hundred.
    pub(super) bad_alerts: usize,
    /// Alerts of which two fill a chunk, in a hundred.
    pub(super) big_alerts: usize,
    /// The sensor's marks.
    pub(super) water: Water,
    /// A worker's, and whether it drops there.
    pub(super) worker_water: Water,
    pub(super) worker_drops: bool,
}

const FAULTS: [(usize, Step); 8] = [
    (3, Step::Cut),
    (1, Step::HalfOpen),
    (2, Step::GiveUp),
    (2, Step::Kill),
    (2, Step::Database),
    (2, Step::Restart),
    (1, Step::Move),
    (1, Step::Stranger),
];

impl Climate {
    pub(super) fn new(random: &mut Random, way: Way) -> Climate {
        let mut steps = vec![
            (60, Step::Alerts),
            (120, Step::Sensor),
            (240, Step::Arrive),
            (200, Step::Worker),
            (300, Step::Writer),
            (5, Step::Supersede),
        ];
        // Most runs are to get something done.
        let rough = [1, 1, 3, 8][random.below(4)];
        let faults = FAULTS.into_iter().filter(|_| random.percent(50));
        steps.extend(faults.map(|(weight, step)| (weight * rough, step)));
        if way == Way::Spool {
            // A servsock that has more than a spool has means that the disk lost something: no stranger is thought of.
            steps.retain(|(_, step)| *step != Step::Stranger);
            steps.push((200, Step::Disk));
            steps.push((random.below(3) * rough, Step::Crash));
        }
        Climate {
            steps,
            answers_lost: [0, 0, 5, 40][random.below(4)],
            bad_alerts: [0, 0, 2, 20][random.below(4)],
            big_alerts: if random.percent(6) { 15 } else { 0 },
            water: water(random, 4, 60),
            worker_water: water(random, 2, 40),
            worker_drops: random.percent(40),
        }
    }
}

fn water(random: &mut Random, least: usize, most: usize) -> Water {
    let high = least + random.below(most - least);
    let low = 1 + random.below(high - 1);
    Water::new(high as u64, low as u64).expect("1 <= low < high")
}
