//! The bytes that a batch becomes, and no server: for the benchmark of rendering, as `null` only with its feature.

#![forbid(unsafe_code)]

use super::super::references::Resolved;
use super::super::rows::{Rows, Table, Value};
use super::super::signatures::Limits;
use super::super::{Batch, Encoding, Given, OpenStream, Settings};
use super::binary;
use super::catalogue::Kind;

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
    let rows = Rows {
        settings,
        stream,
        batch,
        given: &given,
    };
    out.clear();
    for table in Table::ALL {
        rows.each(table, |row| {
            // Columns that hold what is in them: which integer it is makes no difference in time.
            let kinds: [Kind; 20] = std::array::from_fn(|column| kind(row.get(column)));
            let put = binary::put_row(row, &kinds[..row.len()], out);
            put.map_err(|column| format!("{:?} does not fit", row[column]))
        })?;
    }
    Ok(out.len())
}

fn kind(value: Option<&Value<'_>>) -> Kind {
    match value {
        Some(Value::Time(_) | Value::Local(..)) => Kind::Time,
        Some(Value::Text(_) | Value::Bytes(..)) => Kind::Text(Limits::default()),
        Some(Value::Int(_) | Value::Null) | None => Kind::Int8,
    }
}
