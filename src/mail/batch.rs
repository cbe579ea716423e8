//! The records that wait to be told: singly up to a limit, and counted by rule beyond it.
//!
//! Invariants, checked by `debug_assert!` after each change:
//! - `records.len() <= singles_max`, and their bytes stay below `BYTES_MAX`: memory has a ceiling.
//! - each alert is in exactly one tally; tallies and summaries are bounded, and the last of them takes what is left.

#![forbid(unsafe_code)]

use crate::dropped::{Record, Summary, Told};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Memory of the single records.
const BYTES_MAX: usize = 16 << 20;
/// Rules that are told apart.
const RULES_MAX: usize = 1000;
/// Sources of a rule, and sensors, that are told apart.
const NAMES_MAX: usize = 16;
/// Summaries that are told apart.
const SUMMARIES_MAX: usize = 100;

/// What makes a rule: generator, number, revision, text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Rule {
    /// Generator.
    pub gid: Option<u32>,
    /// Number.
    pub sid: Option<u32>,
    /// Revision.
    pub rev: Option<u32>,
    /// Text; `None` with all else `None` is "other rules".
    pub message: Option<String>,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How many of them are kept singly.
    pub single: u64,
    /// The most important one's; 0 where none has one.
    pub priority: u32,
    /// Microseconds since 1970.
    pub first_us: Option<i64>,
    /// Microseconds since 1970.
    pub last_us: Option<i64>,
    /// Source addresses.
    pub sources: Names,
    /// Sensors and their interfaces.
    pub sensors: Names,
}

/// Counted names, the first `NAMES_MAX` of them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Names {
    /// Name and count, in the order of their coming.
    pub named: Vec<(String, u64)>,
    /// Alerts of further names.
    pub others: u64,
}

/// What waits.
#[derive(Clone, Debug)]
pub struct Batch {
    singles_max: usize,
    records: Vec<Record>,
    bytes: usize,
    rules: HashMap<Rule, Tally>,
    summaries: Vec<Summary>,
    alerts: u64,
}

/// A batch without its limits, to be carried over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Saved {
    records: Vec<Record>,
    rules: Vec<(Rule, Tally)>,
    summaries: Vec<Summary>,
}

impl Batch {
    /// An empty one, which keeps so many records singly.
    pub fn new(singles_max: usize) -> Batch {
        Batch {
            singles_max,
            records: Vec::new(),
            bytes: 0,
            rules: HashMap::new(),
            summaries: Vec::new(),
            alerts: 0,
        }
    }

    /// Alerts in it, singly or counted; without those of summaries.
    pub fn alerts(&self) -> u64 {
        self.alerts
    }

    /// Alerts that a summary counts.
    pub fn summed(&self) -> u64 {
        sum(self.summaries.iter().map(|summary| summary.dropped))
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.alerts == 0 && self.summaries.is_empty()
    }

    /// The single records, in the order of their coming.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The summaries, one for each sensor and reason.
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// The rules, the most important first, of equal ones the most frequent.
    pub fn rules(&self) -> Vec<(&Rule, &Tally)> {
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by(|(a, x), (b, y)| {
            let important = importance(x.priority).cmp(&importance(y.priority));
            important.then(y.count.cmp(&x.count)).then(a.cmp(b))
        });
        rules
    }

    /// Adds a record.
    pub fn add(&mut self, told: Told) {
        match told {
            Told::Alert(record) => self.add_alert(*record),
            Told::Summary(summary) => self.add_summary(summary),
        }
        debug_assert!(self.records.len() <= self.singles_max);
        debug_assert_eq!(
            sum(self.rules.values().map(|tally| tally.count)),
            self.alerts
        );
    }

    /// Adds what came later.
    pub fn absorb(&mut self, later: Batch) {
        for (rule, mut tally) in later.rules {
            tally.single = 0;
            self.alerts = self.alerts.saturating_add(tally.count);
            self.tally(rule).merge(tally);
        }
        for record in later.records {
            self.keep(record);
        }
        for summary in later.summaries {
            self.add_summary(summary);
        }
    }

    /// All that is in it.
    pub fn save(self) -> Saved {
        Saved {
            records: self.records,
            rules: self.rules.into_iter().collect(),
            summaries: self.summaries,
        }
    }

    /// What was saved, within limits that may be others now.
    pub fn restore(singles_max: usize, saved: Saved) -> Batch {
        let mut batch = Batch::new(singles_max);
        batch.absorb(Batch {
            records: saved.records,
            rules: saved.rules.into_iter().collect(),
            summaries: saved.summaries,
            ..Batch::new(singles_max)
        });
        batch
    }

    fn add_alert(&mut self, record: Record) {
        self.alerts = self.alerts.saturating_add(1);
        self.tally(Rule::of(&record)).merge(Tally::of(&record));
        self.keep(record);
    }

    /// Keeps a record singly, if there is room.
    fn keep(&mut self, record: Record) {
        let bytes = record.bytes();
        if self.records.len() < self.singles_max && self.bytes + bytes <= BYTES_MAX {
            let tally = self.tally(Rule::of(&record));
            tally.single = tally.single.saturating_add(1);
            self.bytes += bytes;
            self.records.push(record);
        }
    }

    fn tally(&mut self, rule: Rule) -> &mut Tally {
        let rule = match self.rules.len() < RULES_MAX || self.rules.contains_key(&rule) {
            true => rule,
            false => Rule::default(),
        };
        self.rules.entry(rule).or_default()
    }

    fn add_summary(&mut self, mut summary: Summary) {
        let same = |a: &Summary, b: &Summary| {
            (&a.sensor, &a.interface, &a.reason) == (&b.sensor, &b.interface, &b.reason)
        };
        if self.summaries.len() >= SUMMARIES_MAX
            && !self.summaries.iter().any(|known| same(known, &summary))
        {
            summary = Summary {
                dropped: summary.dropped,
                sensor: None,
                interface: None,
                reason: None,
            };
        }
        match self
            .summaries
            .iter_mut()
            .find(|known| same(known, &summary))
        {
            Some(known) => known.dropped = known.dropped.saturating_add(summary.dropped),
            None => self.summaries.push(summary),
        }
    }
}

/// Counts may come from a restart, that is, from another version: a sum ends at the greatest number.
pub(super) fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// For sorting: 1 is the most important, 0 is no priority at all.
fn importance(priority: u32) -> u32 {
    priority.wrapping_sub(1)
}

impl Rule {
    fn of(record: &Record) -> Rule {
        Rule {
            gid: record.gid,
            sid: record.sid,
            rev: record.rev,
            message: record.message.clone(),
        }
    }
}

impl Tally {
    fn of(record: &Record) -> Tally {
        let sensor = match (&record.sensor, &record.interface) {
            (Some(sensor), Some(interface)) if !interface.is_empty() => {
                Some(format!("{sensor}/{interface}"))
            }
            (sensor, _) => sensor.clone(),
        };
        Tally {
            count: 1,
            single: 0,
            priority: record.priority.unwrap_or(0),
            first_us: record.time_us(),
            last_us: record.time_us(),
            sources: Names::of(record.src.clone()),
            sensors: Names::of(sensor),
        }
    }

    fn merge(&mut self, other: Tally) {
        if self.count == 0 || importance(other.priority) < importance(self.priority) {
            self.priority = other.priority;
        }
        self.count = self.count.saturating_add(other.count);
        self.single = self.single.saturating_add(other.single);
        self.first_us = self.first_us.into_iter().chain(other.first_us).min();
        self.last_us = self.last_us.into_iter().chain(other.last_us).max();
        self.sources.merge(other.sources);
        self.sensors.merge(other.sensors);
    }
}

impl Names {
    fn of(name: Option<String>) -> Names {
        Names {
            named: name.into_iter().map(|name| (name, 1)).collect(),
            others: 0,
        }
    }

    fn merge(&mut self, other: Names) {
        self.others = self.others.saturating_add(other.others);
        for (name, count) in other.named {
            let room = self.named.len() < NAMES_MAX;
            match self.named.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = known.saturating_add(count),
                None if room => self.named.push((name, count)),
                None => self.others = self.others.saturating_add(count),
            }
        }
    }

    /// The most frequent first.
    pub fn sorted(&self) -> Vec<&(String, u64)> {
        let mut names: Vec<_> = self.named.iter().collect();
        names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(sid: u32, priority: u32, src: &str) -> Told {
        Told::Alert(Box::new(Record {
            sid: Some(sid),
            priority: Some(priority),
            src: Some(src.into()),
            time: Some(format!("2025-10-09T08:53:{:02}Z", sid % 60)),
            ..Record::default()
        }))
    }

    #[test]
    fn beyond_the_limit_alerts_are_counted_by_rule() {
        let mut batch = Batch::new(3);
        (0..10).for_each(|_| batch.add(alert(7, 2, "192.0.2.1")));
        assert_eq!((batch.alerts(), batch.records().len()), (10, 3));
        let rules = batch.rules();
        assert_eq!((rules[0].1.count, rules[0].1.single), (10, 3));
    }

    #[test]
    fn the_most_important_rule_comes_first_and_priority_0_last() {
        let mut batch = Batch::new(100);
        for (sid, priority) in [(1, 0), (2, 3), (3, 1), (4, 1), (4, 1)] {
            batch.add(alert(sid, priority, "a"));
        }
        let order: Vec<_> = batch
            .rules()
            .iter()
            .map(|(rule, _)| rule.sid.unwrap())
            .collect();
        assert_eq!(order, [4, 3, 2, 1]);
    }

    #[test]
    fn rules_sources_and_summaries_are_bounded_and_still_counted() {
        let mut batch = Batch::new(0);
        (0..5000).for_each(|n| batch.add(alert(n, 1, &format!("a{n}"))));
        (0..1000).for_each(|n| batch.add(alert(1, 1, &format!("b{n}"))));
        for n in 0..500 {
            batch.add(Told::Summary(Summary {
                dropped: u64::MAX / 2,
                sensor: Some(format!("s{n}")),
                interface: None,
                reason: None,
            }));
        }
        assert_eq!((batch.alerts(), batch.summed()), (6000, u64::MAX));
        assert!(batch.rules.len() <= RULES_MAX + 1 && batch.summaries.len() <= SUMMARIES_MAX + 1);
        let of_rule = &batch.rules[&Rule {
            sid: Some(1),
            ..Rule::default()
        }];
        assert_eq!(of_rule.sources.named.len(), NAMES_MAX);
        assert_eq!(of_rule.sources.others, 1001 - NAMES_MAX as u64);
    }

    #[test]
    fn absorbing_is_the_same_as_adding_all() {
        let mut whole = Batch::new(5);
        let (mut first, mut later) = (Batch::new(5), Batch::new(5));
        for n in 0..12 {
            whole.add(alert(n % 3, n % 2, "a"));
            let part = if n < 4 { &mut first } else { &mut later };
            part.add(alert(n % 3, n % 2, "a"));
        }
        first.absorb(later);
        assert_eq!(first.records(), whole.records());
        assert_eq!(first.rules(), whole.rules());
        assert_eq!(first.alerts(), 12);
    }

    #[test]
    fn what_is_saved_is_restored_within_the_limits() {
        let mut batch = Batch::new(5);
        (0..12).for_each(|n| batch.add(alert(n % 3, n % 2, "a")));
        batch.add(Told::Summary(Summary {
            dropped: u64::MAX,
            sensor: None,
            interface: Some("eth0".into()),
            reason: None,
        }));
        let json = serde_json::to_vec(&batch.clone().save()).unwrap();
        let saved: Saved = serde_json::from_slice(&json).unwrap();
        let restored = Batch::restore(5, saved.clone());
        assert_eq!(restored.records(), batch.records());
        assert_eq!(restored.rules(), batch.rules());
        assert_eq!(restored.summaries(), batch.summaries());
        assert_eq!(restored.alerts(), 12);
        let fewer = Batch::restore(2, saved);
        assert_eq!((fewer.alerts(), fewer.records().len()), (12, 2));
    }

    #[test]
    fn records_have_a_limit_of_bytes_as_well() {
        let mut batch = Batch::new(usize::MAX);
        let long = Record {
            sid: Some(1),
            reason: Some("x".repeat(1 << 20)),
            ..Record::default()
        };
        (0..20).for_each(|_| batch.add(Told::Alert(Box::new(long.clone()))));
        assert_eq!((batch.alerts(), batch.records().len()), (20, 15));
    }
}
