//! What a round will do: all of it follows from its seed.

use crate::database::Kind;
use crate::dice::Dice;
use crate::faults::{Fault, Occurrence};
use crate::sender::Burst;
use crate::serial::Form;

/// Faults begin while alerts are sent.
const FAULT_AT_MS: std::ops::RangeInclusive<u64> = 20..=900;
const FAULT_LASTS_MS: std::ops::RangeInclusive<u64> = 20..=900;

/// A round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) database: Kind,
    /// servsock has `-W`.
    pub(crate) swap: bool,
    pub(crate) sensors: Vec<SensorPlan>,
    pub(crate) faults: Vec<Occurrence>,
}

/// One sensor of it.
#[derive(Clone, Debug)]
pub(crate) struct SensorPlan {
    pub(crate) form: Form,
    pub(crate) bursts: Vec<Burst>,
    pub(crate) spool: Spool,
    /// sockserv has `--compress`.
    pub(crate) compress: bool,
    /// HighWater, where it is so low that alerts are dropped.
    pub(crate) high_water: Option<u64>,
}

/// Whether a sockserv has a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spool {
    No,
    /// `--spool-sync group`
    Group,
    /// `--spool-sync off`
    Off,
}

impl Plan {
    /// Of these faults, the first is the seed's: consecutive seeds go through all of them.
    pub(crate) fn new(seed: u64, faults: &[Fault]) -> Plan {
        let mut dice = Dice::new(seed);
        let first = faults[usize::try_from(seed % faults.len() as u64).expect("a small number")];
        let kinds = [Kind::Sqlite, Kind::Postgres];
        let database = first
            .needs_database()
            .unwrap_or_else(|| dice.one_of(&kinds));
        let count = dice.within(1..=3);
        let mut sensors: Vec<SensorPlan> = (0..count).map(|_| SensorPlan::new(&mut dice)).collect();
        let chosen = choose(&mut dice, first, faults, database);
        let swap = chosen.contains(&Fault::SwapDiskFull) || dice.one_in(2);
        let occur = |fault| Occurrence {
            fault,
            at: dice.millis(FAULT_AT_MS),
            lasts: dice.millis(FAULT_LASTS_MS),
            sensor: dice.index(sensors.len()),
            seed: dice.number(),
        };
        let faults: Vec<Occurrence> = chosen.into_iter().map(occur).collect();
        fit_spools(&mut sensors, &faults);
        // Last, so that all else of a seed stays what it was before there was this option.
        sensors
            .iter_mut()
            .for_each(|sensor| sensor.compress = dice.one_in(2));
        Plan {
            seed,
            database,
            swap,
            faults,
            sensors,
        }
    }

    /// Whether HighWater may force something out of this sensor: a spool that works takes all of it.
    pub(crate) fn may_drop(&self, sensor: &SensorPlan) -> bool {
        let is_spooled = sensor.spool != Spool::No && !self.has(Fault::SpoolDiskFull);
        sensor.high_water.is_some() && !is_spooled
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults
            .iter()
            .any(|occurrence| occurrence.fault == fault)
    }
}

impl SensorPlan {
    fn new(dice: &mut Dice) -> SensorPlan {
        let form = dice.one_of(&[Form::Snort, Form::Eve, Form::Eve]);
        let (bursts, alerts) = match form {
            Form::Snort => (5..=20, 1..=30),
            Form::Eve => (10..=60, 1..=100),
        };
        let burst = |dice: &mut Dice| Burst {
            alerts: dice.within(alerts.clone()),
            pause: dice.millis(0..=40),
        };
        SensorPlan {
            form,
            bursts: (0..dice.within(bursts)).map(|_| burst(dice)).collect(),
            spool: dice.one_of(&[Spool::No, Spool::No, Spool::Group, Spool::Off]),
            high_water: dice.one_in(6).then(|| dice.within(20..=200)),
            compress: false,
        }
    }
}

/// Gives spools to the sensors whose faults are about them, and none to the one that is killed without.
fn fit_spools(sensors: &mut [SensorPlan], faults: &[Occurrence]) {
    for occurrence in faults {
        let spool = &mut sensors[occurrence.sensor].spool;
        let is_about_it = matches!(
            occurrence.fault,
            Fault::SpoolingKilled | Fault::SpoolDiskFull
        );
        if is_about_it && *spool == Spool::No {
            *spool = Spool::Group;
        }
    }
    for occurrence in faults {
        if occurrence.fault == Fault::SockservKilled {
            sensors[occurrence.sensor].spool = Spool::No;
        }
    }
}

/// The first fault and up to two others, none of which is done to the same thing.
fn choose(dice: &mut Dice, first: Fault, faults: &[Fault], database: Kind) -> Vec<Fault> {
    let mut chosen = vec![first];
    let wanted = dice.one_of(&[1, 1, 1, 2, 2, 3]);
    for _ in 0..2 * wanted {
        let fault = dice.one_of(faults);
        let is_possible = fault.needs_database().is_none_or(|needs| needs == database);
        let is_other = chosen.iter().all(|other| other.target() != fault.target());
        if chosen.len() < wanted && is_possible && is_other && !fault.is_slow() {
            chosen.push(fault);
        }
    }
    chosen
}
