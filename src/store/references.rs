//! Which alert an event reference means: the IDS's number of an event -> the cid it was stored with.
//!
//! Snort gives the packets that a rule tags a reference to the event which began the tag. Every other alert refers to
//! itself, or to nothing.
//!
//! Invariants:
//! - What is remembered was committed; it is forgotten when the stream is opened again.
//! - At most `2 * GENERATION_ENTRIES` answers are remembered.
//! - At most one query a batch, over at most `LOOK_BACK_ALERTS` rows: what is not found is remembered as well.

#![forbid(unsafe_code)]

use super::Batch;
use crate::alert::Alert;
use std::collections::{HashMap, HashSet};

/// How many cids back a query looks: the numbers of an IDS begin anew after 65,535 events.
pub(super) const LOOK_BACK_ALERTS: i64 = 65_536;
const GENERATION_ENTRIES: usize = 32_768;

/// An event: the IDS that counts it (`flop_event.ids`), and its number.
pub(super) type Event = (i64, i64);

/// Event -> cid, or `None` where the database has none. Two generations, as in the cache of signatures.
#[derive(Debug, Default)]
pub(super) struct References {
    young: HashMap<Event, Option<i64>>,
    old: HashMap<Event, Option<i64>>,
}

/// What the events of a batch become.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// For each alert the cid it refers to.
    pub(super) cids: Vec<Option<i64>>,
    /// To be remembered once the batch is committed.
    learned: HashMap<Event, Option<i64>>,
}

impl References {
    /// The events that alerts of the batch refer to and only the database may know.
    pub(super) fn unknown(&self, batch: &Batch<'_>) -> HashSet<Event> {
        let mut in_batch = HashSet::new();
        let mut unknown = HashSet::new();
        for alert in batch.alerts() {
            let wanted =
                meant(alert).filter(|event| !in_batch.contains(event) && self.get(event).is_none());
            unknown.extend(wanted);
            in_batch.extend(own(alert));
        }
        unknown
    }

    /// `found` is what the database said of `asked`.
    pub(super) fn resolve(
        &self,
        batch: &Batch<'_>,
        first_cid: i64,
        asked: HashSet<Event>,
        found: impl IntoIterator<Item = (Event, i64)>,
    ) -> Resolved {
        let mut learned: HashMap<Event, Option<i64>> =
            asked.into_iter().map(|event| (event, None)).collect();
        learned.extend(found.into_iter().map(|(event, cid)| (event, Some(cid))));
        let mut cids = Vec::with_capacity(batch.items.len());
        for (cid, alert) in (first_cid..).zip(batch.alerts()) {
            let known = |event| learned.get(&event).copied().or_else(|| self.get(&event));
            cids.push(meant(alert).and_then(known).flatten().filter(fits));
            learned.extend(own(alert).map(|event| (event, Some(cid))));
        }
        Resolved { cids, learned }
    }

    /// After the commit.
    pub(super) fn remember(&mut self, resolved: Resolved) {
        for (event, cid) in resolved.learned {
            if self.young.len() >= GENERATION_ENTRIES {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(event, cid);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = References::default();
    }

    fn get(&self, event: &Event) -> Option<Option<i64>> {
        let cid = self.young.get(event).or_else(|| self.old.get(event));
        cid.copied()
    }
}

impl Resolved {
    /// The cids that are referred to, each once.
    pub(super) fn begun(&self) -> Vec<i64> {
        let begun: HashSet<i64> = self.cids.iter().flatten().copied().collect();
        begun.into_iter().collect()
    }
}

/// FLoP's column is an INT4; a cid beyond is not worth the loss of the alert.
fn fits(cid: &i64) -> bool {
    i32::try_from(*cid).is_ok()
}

fn own(alert: &Alert<'_>) -> Option<Event> {
    alert.event_id.map(|id| (alert.ids as i64, i64::from(id)))
}

/// The event that an alert refers to, if that is another one; no event has the number 0.
fn meant(alert: &Alert<'_>) -> Option<Event> {
    let reference = alert.event_reference.filter(|reference| *reference != 0)?;
    let is_other = alert.event_id != Some(reference);
    is_other.then_some((alert.ids as i64, i64::from(reference)))
}
