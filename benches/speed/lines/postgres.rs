//! servsock -> PostgreSQL, from full sensors, against COPY-1000.

use super::full_sensors::store;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::copy_1000::{self, Rows};
use crate::load::Mix;
use crate::paired::Pairs;
use crate::table::{Line, Target};

const COPY_1000: &str = "COPY-1000: a plain COPY of the same alerts' rows, made beforehand, into the classic tables with \
                         their indexes, 1,000 alerts a transaction, one connection, the server's own compression (pglz; \
                         servsock's session asks for lz4)";

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server) = (bench.plan, bench.server);
    let count = plan.to_postgres;
    let rows = bench.usual_rows(copy_1000::CLASSIC, count, copy_1000::BATCH)?;
    let reference = || rows.copy_to(&server.stock()?);
    let to_stock = || store(&server.stock()?, Mix::Usual, 1, count);
    let to_own = || store(&server.empty()?, Mix::Usual, 1, count);
    let of_four = || store(&server.stock()?, Mix::Usual, 4, count);
    Ok(vec![
        Line::paired(
            "servsock to PostgreSQL, stock schema, from a full sensor",
            ALERTS_S,
            Pairs::measure(plan.pairs, to_stock, reference)?,
        )
        .against(COPY_1000)
        .must_reach(Target::ratio_at_least(0.85, 1.05)),
        Line::paired(
            "the same into a database that servsock created",
            ALERTS_S,
            Pairs::measure(plan.pairs, to_own, reference)?,
        )
        .against("COPY-1000 into the stock schema")
        .must_reach(Target::ratio_at_least(1.25, 1.45)),
        Line::paired(
            "4 full sensors at once, stock schema",
            ALERTS_S,
            Pairs::measure(plan.pairs, of_four, reference)?,
        )
        .against("COPY-1000 on its one connection")
        .must_reach(Target::ratio_at_least(1.4, 1.7)),
    ])
}

/// The other mixes.
pub(super) fn mixes(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server, count) = (bench.plan, bench.server, bench.plan.of_other_mixes);
    let mixes = [
        (Mix::OneSignature, "a flood of one signature"),
        (Mix::Ip6, "IPv6"),
        (Mix::Small, "payloads of 16 to 64 bytes"),
        (Mix::Eve, "EVE records"),
    ];
    let line = |(mix, name)| {
        let rows = rows_of(bench, mix, count)?;
        let pairs = Pairs::measure(
            plan.pairs,
            || store(&server.stock()?, mix, 1, count),
            || rows.copy_to(&server.stock()?),
        )?;
        Ok(
            Line::paired(format!("servsock to PostgreSQL: {name}"), ALERTS_S, pairs)
                .against("COPY-1000 of these alerts"),
        )
    };
    mixes.into_iter().map(line).collect()
}

/// What the batch size and our own table change for a plain COPY: what servsock could reach at most.
pub(super) fn limits(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server, count) = (bench.plan, bench.server, bench.plan.to_postgres);
    let classic = bench.usual_rows(copy_1000::CLASSIC, count, copy_1000::BATCH)?;
    let variants = [
        (
            "COPY-4000, the batch of servsock",
            copy_1000::CLASSIC,
            4_000,
        ),
        (
            "COPY-4000 with the rows of flop_event",
            copy_1000::ALL,
            4_000,
        ),
    ];
    let line = |(what, tables, batch)| {
        let rows = bench.usual_rows(tables, count, batch)?;
        let pairs = Pairs::measure(
            plan.pairs,
            || rows.copy_to(&server.stock()?),
            || classic.copy_to(&server.stock()?),
        )?;
        Ok(Line::paired(what, ALERTS_S, pairs)
            .against("COPY-1000; no program of ours is in this line"))
    };
    let mut lines: Vec<Line> = variants.into_iter().map(line).collect::<Result<_>>()?;
    let with_lz4 = Pairs::measure(
        plan.pairs,
        || classic.copy_with(copy_1000::LZ4, &server.stock()?),
        || classic.copy_to(&server.stock()?),
    )?;
    lines.push(
        Line::paired(
            "COPY-1000 with lz4, as servsock asks for it",
            ALERTS_S,
            with_lz4,
        )
        .against("COPY-1000; no program of ours is in this line"),
    );
    Ok(lines)
}

/// The rows of another mix, as servsock stores them.
fn rows_of(bench: &Bench<'_>, mix: Mix, count: usize) -> Result<Rows> {
    let database = bench.server.stock()?;
    store(&database, mix, 1, count)?;
    Rows::read(&database, copy_1000::CLASSIC, count, copy_1000::BATCH)
}
