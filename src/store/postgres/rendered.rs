//! The bytes that a batch becomes, and no server: for the benchmark of rendering, as `null` only with its feature.

#![forbid(unsafe_code)]

use super::super::references::Resolved;
use super::super::rows::{Rows, Table, Value};
use super::super::signatures::Limits;
use super::super::{Batch, Encoding, Given, OpenStream, Settings, rows_of};
use super::catalogue::Kind;
use super::copy;

/// Makes the rows of a batch and all that COPY would send for them; returns how many bytes those are.
///
/// # Errors
///
/// Names a value that its column cannot hold.
pub fn render(
    settings: &Settings,
    stream: &OpenStream,
    batch: &Batch<'_>,
    out: &mut Vec<u8>,
) -> Result<usize, String> {
    let given = Given {
        first_cid: 1,
        encoding: Encoding::default(),
        signatures: vec![1; batch.alerts().count()],
        references: Resolved::default(),
    };
    let rows = rows_of(settings, stream, batch, &given);
    let mut bytes = 0;
    for table in Table::ALL {
        copy::render(table, &kinds(&rows, table), &rows, out)?;
        bytes += out.len();
    }
    Ok(bytes)
}

/// Columns that hold what is in them: which integer it is makes no difference in time.
fn kinds(rows: &Rows<'_>, table: Table) -> Vec<Kind> {
    let kind = |column: usize| {
        let mut values = rows.of(table).map(|row| &row[column]);
        match values.find(|value| !matches!(value, Value::Null)) {
            Some(Value::Time(_) | Value::Local(..)) => Kind::Time,
            Some(Value::Text(_) | Value::Bytes(..)) => Kind::Text(Limits::default()),
            Some(Value::Int(_) | Value::Null) | None => Kind::Int8,
        }
    };
    (0..rows.columns(table).len()).map(kind).collect()
}
