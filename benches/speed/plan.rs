//! How much of everything is measured: `make bench` and `make bench-quick` differ in nothing else.

/// Numbers of alerts, of pairs, and of other things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Groups of lines that are only measured when they are named.
    pub(crate) leaves_out: &'static [&'static str],
    /// Of each line that has a reference.
    pub(crate) pairs: usize,
    pub(crate) to_postgres: usize,
    /// Of each other mix.
    pub(crate) of_other_mixes: usize,
    pub(crate) to_sqlite: usize,
    pub(crate) snort_datagrams: usize,
    pub(crate) eve_datagrams: usize,
    pub(crate) to_null_store: usize,
    pub(crate) end_to_end: usize,
    pub(crate) single_alerts: usize,
    pub(crate) buffered: usize,
    /// Alerts that are in the database already.
    pub(crate) stored: usize,
    pub(crate) signatures: usize,
    pub(crate) spooled: usize,
    pub(crate) idle_sensors: u32,
    /// Each of these numbers of sensors at once.
    pub(crate) sensors: &'static [u32],
    /// Alerts of all of them together.
    pub(crate) of_sensors: usize,
}

impl Plan {
    /// Under 15 minutes on two cores.
    pub(crate) const FULL: Plan = Plan {
        name: "full",
        leaves_out: &[],
        pairs: 3,
        to_postgres: 100_000,
        of_other_mixes: 50_000,
        to_sqlite: 200_000,
        snort_datagrams: 200_000,
        eve_datagrams: 1_000_000,
        to_null_store: 500_000,
        end_to_end: 100_000,
        single_alerts: 300,
        buffered: 1_000_000,
        stored: 5_000_000,
        signatures: 1_000_000,
        spooled: 1_000_000,
        idle_sensors: 200,
        sensors: &[1, 10, 100, 200],
        of_sensors: 100_000,
    };

    /// Two minutes: nearly every line, with less behind it.
    pub(crate) const QUICK: Plan = Plan {
        name: "quick",
        leaves_out: &["mixes", "limits"],
        pairs: 3,
        to_postgres: 15_000,
        of_other_mixes: 5_000,
        to_sqlite: 20_000,
        snort_datagrams: 50_000,
        eve_datagrams: 200_000,
        to_null_store: 50_000,
        end_to_end: 15_000,
        single_alerts: 60,
        buffered: 200_000,
        stored: 100_000,
        signatures: 100_000,
        spooled: 100_000,
        idle_sensors: 200,
        sensors: &[1, 200],
        of_sensors: 10_000,
    };
}
