//! Rows -> PostgreSQL's binary COPY format.
//!
//! | size | field    | meaning                                                    |
//! |-----:|----------|------------------------------------------------------------|
//! |   11 | magic    | `PGCOPY\n`, 255, CR LF, NUL                                |
//! |    8 |          | flags and length of the header's extension, both 0         |
//! |      | rows     | i16 number of columns, then for each i32 length (-1: NULL) and the value |
//! |    2 | end      | -1                                                         |
//!
//! All big-endian; an instant is an i64, microseconds since 2000-01-01 00:00:00 UTC.

#![forbid(unsafe_code)]

use super::super::rows::{Rows, Table, Value};
use super::catalogue::Kind;

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
const EPOCH_US: i64 = 946_684_800_000_000;

/// The statement for the bytes that `render` makes.
pub(super) fn statement(table: Table, columns: &[&str]) -> String {
    format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        table.name(),
        columns.join(", ")
    )
}

/// Replaces what is in `out`. `kinds` are those of the table's columns.
///
/// # Errors
///
/// Names the value that the column cannot hold.
pub(super) fn render(
    table: Table,
    kinds: &[Kind],
    rows: &Rows<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    out.clear();
    out.extend_from_slice(HEADER);
    let columns = i16::try_from(kinds.len()).expect("a table has some 16 columns");
    for row in rows.of(table) {
        out.extend_from_slice(&columns.to_be_bytes());
        for (index, (value, kind)) in row.iter().zip(kinds).enumerate() {
            if put(value, *kind, out).is_none() {
                let (table, column) = (table.name(), rows.columns(table)[index]);
                return Err(format!(
                    "{value:?} does not fit into {table}.{column} ({kind:?})"
                ));
            }
        }
    }
    out.extend_from_slice(&END);
    Ok(())
}

fn put(value: &Value<'_>, kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    match (value, kind) {
        (Value::Null, _) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        (Value::Int(number), Kind::Int2) => {
            fixed(out, i16::try_from(*number).ok()?.to_be_bytes());
        }
        (Value::Int(number), Kind::Int4) => {
            fixed(out, i32::try_from(*number).ok()?.to_be_bytes());
        }
        (Value::Int(number), Kind::Int8) => fixed(out, number.to_be_bytes()),
        (Value::Time(us), Kind::Time | Kind::LocalTime) | (Value::Local(us, _), Kind::Time) => {
            fixed(out, us.checked_sub(EPOCH_US)?.to_be_bytes());
        }
        (Value::Local(us, seconds_east), Kind::LocalTime) => {
            let east = i64::from(*seconds_east) * 1_000_000;
            fixed(out, us.checked_sub(EPOCH_US - east)?.to_be_bytes());
        }
        (Value::Text(text), Kind::Text(limits)) => {
            let text = limits.fit(text.as_ref().into());
            out.extend_from_slice(&i32::try_from(text.len()).ok()?.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        (Value::Bytes(encoding, bytes), Kind::Text(_)) => {
            let start = out.len();
            fixed(out, []);
            encoding.push(out, bytes);
            let length = i32::try_from(out.len() - start - 4).ok()?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn fixed<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&bytes);
}
