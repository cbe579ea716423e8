//! Values -> PostgreSQL's binary format, in COPY and in parameters. A COPY has:
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

use super::super::rows::Value;
use super::catalogue::Kind;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use bytes::BytesMut;
use std::error::Error;

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
const LENGTH_BYTES: usize = 4;
const EPOCH_US: i64 = 946_684_800_000_000;

/// What comes before the rows.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(HEADER);
}

/// What comes behind them.
pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&END);
}

/// Appends a row.
///
/// # Errors
///
/// The column that cannot hold its value.
pub(super) fn put_row(row: &[Value<'_>], kinds: &[Kind], out: &mut Vec<u8>) -> Result<(), usize> {
    assert_eq!(row.len(), kinds.len(), "a row has a value for each column");
    let columns = i16::try_from(kinds.len()).expect("a table has some 16 columns");
    out.extend_from_slice(&columns.to_be_bytes());
    for (column, (value, kind)) in row.iter().zip(kinds).enumerate() {
        put(value, *kind, out).ok_or(column)?;
    }
    Ok(())
}

/// A value as a statement's parameter: as in COPY, its length in front.
#[derive(Debug)]
pub(super) struct Field(Vec<u8>);

/// The fields of a row.
///
/// # Errors
///
/// The column that cannot hold its value.
pub(super) fn fields(row: &[Value<'_>], kinds: &[Kind]) -> Result<Vec<Field>, usize> {
    assert_eq!(row.len(), kinds.len(), "a row has a value for each column");
    let field = |(column, (value, kind)): (usize, (&Value<'_>, &Kind))| {
        let mut out = Vec::new();
        put(value, *kind, &mut out).ok_or(column)?;
        Ok(Field(out))
    };
    row.iter().zip(kinds).enumerate().map(field).collect()
}

impl ToSql for Field {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if self.0 == NULL {
            return Ok(IsNull::Yes);
        }
        out.extend_from_slice(self.0.get(LENGTH_BYTES..).unwrap_or_default());
        Ok(IsNull::No)
    }

    /// The server has said what the column is; its `Kind` knows it.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

const NULL: [u8; LENGTH_BYTES] = (-1_i32).to_be_bytes();

fn put(value: &Value<'_>, kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    match (value, kind) {
        (Value::Null, _) => out.extend_from_slice(&NULL),
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
            let length = i32::try_from(out.len() - start - LENGTH_BYTES).ok()?;
            out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn fixed<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&bytes);
}
