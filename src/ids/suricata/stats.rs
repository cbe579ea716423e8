//! What a stats record of Suricata says about its alerts. A record that does not say it is left out, as any other that is
//! no alert.

#![forbid(unsafe_code)]

use super::fields::{Fields, Key};
use super::time;

/// Suricata's own account of its alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// When it last loaded its rules, microseconds since 1970: with that it tells one process from another.
    pub loaded_us: i64,
    /// Seconds since it started, give or take one.
    pub uptime_secs: u64,
    /// Alerts that it has raised since then, as far as its threads have reported them: up to 3 s ago.
    pub raised: u64,
}

impl Stats {
    /// `None`: the record lacks something, or has it in another form.
    pub(super) fn of(mut fields: Fields<'_>) -> Option<Stats> {
        let loaded = fields.text(Key::LastReload).ok()??;
        Some(Stats {
            loaded_us: time(loaded.as_bytes())?,
            uptime_secs: fields.number(Key::Uptime).ok()??,
            raised: fields.number(Key::Raised).ok()??,
        })
    }
}
