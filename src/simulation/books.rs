//! What became of each alert, and the invariants.

#![forbid(unsafe_code)]

use super::database::{Committed, What};
use crate::wire::{Item, StreamId, item};
use std::collections::HashMap;

/// Of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is on its way.
    Waits,
    /// It is in the database.
    Stored,
    /// The sensor dropped it.
    Dropped,
    /// servsock dropped it, or its database refused it: a loss in its place.
    Lost,
    /// The sensor was killed before it was written.
    Gone,
}

/// All of them, by number of ours, from 1 on.
#[derive(Default)]
pub(super) struct Books {
    fates: Vec<Fate>,
    /// Alerts that wait.
    waiting: usize,
    /// Alerts that the sensor dropped, and those of them that the database knows of.
    dropped: u64,
    losses_stored: u64,
    /// What each number went out as.
    sent: HashMap<(StreamId, u64), Vec<u8>>,
    /// The highest alert in the database.
    last_stored: usize,
    /// The last number that was acknowledged, and its stream.
    acknowledged: Option<(StreamId, u64)>,
}

impl Books {
    /// The number of ours of the next alert.
    pub(super) fn next_alert(&mut self) -> u32 {
        self.fates.push(Fate::Waits);
        self.waiting += 1;
        u32::try_from(self.fates.len()).expect("a run is short")
    }

    fn becomes(&mut self, alert: u32, fate: Fate) -> Result<(), String> {
        let known = self.fates.get_mut(alert as usize - 1);
        let known = known.ok_or_else(|| format!("alert {alert} was never pushed"))?;
        if *known != Fate::Waits {
            return Err(format!("alert {alert} becomes {fate:?}, and was {known:?}"));
        }
        *known = fate;
        self.waiting -= 1;
        Ok(())
    }

    /// An alert came, and HighWater forced these out: the newest.
    pub(super) fn drops<'a>(
        &mut self,
        newest: u32,
        items: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), String> {
        let dropped = items.map(number_of).collect::<Result<Vec<u32>, String>>()?;
        let oldest = dropped.first().copied().unwrap_or(newest + 1);
        let waits = |alert: &u32| self.fates[*alert as usize - 1] == Fate::Waits;
        if !(oldest..=newest).filter(waits).eq(dropped.iter().copied()) {
            return Err(format!(
                "{dropped:?} are dropped, and {newest} is the newest"
            ));
        }
        self.dropped += dropped.len() as u64;
        let mut dropped = dropped.into_iter();
        dropped.try_for_each(|alert| self.becomes(alert, Fate::Dropped))
    }

    /// A kill took an item that was in memory only.
    pub(super) fn is_gone(&mut self, item: &[u8]) -> Result<(), String> {
        match item::decode(item) {
            Ok(Item::Loss(loss)) => {
                self.dropped -= loss.count;
                Ok(())
            }
            _ => self.becomes(number_of(item)?, Fate::Gone),
        }
    }

    /// A sensor that was killed need not remember what was acknowledged.
    pub(super) fn is_killed(&mut self) {
        self.acknowledged = None;
    }

    /// A number, once sent, belongs to its item for ever.
    pub(super) fn sends(
        &mut self,
        stream: StreamId,
        number: u64,
        item: Vec<u8>,
    ) -> Result<(), String> {
        let before = self
            .sent
            .entry((stream, number))
            .or_insert_with(|| item.clone());
        match *before == item {
            true => Ok(()),
            false => Err(format!("number {number} of {stream} has two items")),
        }
    }

    /// What the database took is what the sensor sent under this number, once, and in order.
    pub(super) fn commits(&mut self, committed: &Committed) -> Result<(), String> {
        let Committed {
            stream,
            number,
            what,
        } = committed;
        match *what {
            What::Gap { numbers, lost } => {
                let numbers = *number..number + numbers;
                let sum = numbers
                    .map(|number| self.is_lost(*stream, number))
                    .sum::<Result<u64, String>>()?;
                same("alerts in a gap", lost, sum)
            }
            What::Loss(count) => same("alerts in a loss", count, self.is_lost(*stream, *number)?),
            What::Alert(alert) => {
                let sent = self.sent_as(*stream, *number)?;
                same("alert", alert.into(), number_of(&sent)?.into())?;
                self.comes_in_order(alert)?;
                self.becomes(alert, Fate::Stored)
            }
        }
    }

    fn sent_as(&self, stream: StreamId, number: u64) -> Result<Vec<u8>, String> {
        let sent = self.sent.get(&(stream, number));
        sent.cloned()
            .ok_or_else(|| format!("number {number} of {stream} is stored, and was never sent"))
    }

    fn comes_in_order(&mut self, alert: u32) -> Result<(), String> {
        let alert = alert as usize;
        if alert < self.last_stored {
            return Err(format!(
                "alert {alert} is stored behind {}",
                self.last_stored
            ));
        }
        self.last_stored = alert;
        Ok(())
    }

    /// There is a loss in place of this number: of how many alerts.
    fn is_lost(&mut self, stream: StreamId, number: u64) -> Result<u64, String> {
        let sent = self.sent_as(stream, number)?;
        match item::decode(&sent) {
            Ok(Item::Loss(loss)) => {
                self.losses_stored += loss.count;
                Ok(loss.count)
            }
            _ => {
                self.becomes(number_of(&sent)?, Fate::Lost)?;
                Ok(1)
            }
        }
    }

    /// What is acknowledged is durable; and a sensor does not forget what it has heard.
    pub(super) fn acknowledges(
        &mut self,
        stream: StreamId,
        number: u64,
        durable: u64,
    ) -> Result<(), String> {
        if number > durable {
            return Err(format!(
                "number {number} of {stream} is acknowledged, {durable} is durable"
            ));
        }
        match self.acknowledged.replace((stream, number)) {
            Some((before, last)) if before == stream && last > number => Err(format!(
                "number {last} of {stream} was acknowledged, and then {number}"
            )),
            _ => Ok(()),
        }
    }

    /// Nothing is told to be lost that was not.
    pub(super) fn check(&self, held: u64) -> Result<(), String> {
        if self.losses_stored > self.dropped {
            return Err(format!(
                "{} losses are stored, {} were dropped",
                self.losses_stored, self.dropped
            ));
        }
        match self.waiting as u64 > held {
            true => Err(format!(
                "{} alerts are not stored, the sensor has only {held}",
                self.waiting
            )),
            false => Ok(()),
        }
    }

    /// Whether each alert is in the database, or in a loss there.
    pub(super) fn is_complete(&self) -> bool {
        self.waiting == 0 && self.losses_stored == self.dropped
    }

    /// What is missing, for a message.
    pub(super) fn missing(&self) -> String {
        format!(
            "{} of {} alerts wait; {} of {} dropped ones are in losses",
            self.waiting,
            self.fates.len(),
            self.losses_stored,
            self.dropped
        )
    }
}

fn same(what: &str, stored: u64, sent: u64) -> Result<(), String> {
    match stored == sent {
        true => Ok(()),
        false => Err(format!("{what}: {stored} stored, {sent} sent")),
    }
}

/// The number of ours in an alert.
pub(super) fn number_of(item: &[u8]) -> Result<u32, String> {
    match item::decode(item) {
        Ok(Item::Alert(alert)) => Ok(alert.event_id.unwrap_or_default()),
        other => Err(format!("an alert was expected, not {other:?}")),
    }
}
