//! An alert -> the rows it becomes, the same for each database.
//!
//! Addresses, protocol, ports and ICMP type come from `Alert::flow`, which is what the IDS said; the other header
//! fields come from the packet, where it has a header of the same kind. What is not known is NULL, with one
//! exception: `tcphdr.tcp_flags` is NOT NULL in the classic schema and 0 when the flags are not known.
//!
//! A batch is written table by table, and its rows are made one by one on the way: none is kept, so that the memory
//! they take stays in the processor's cache, and the database has the first while the last are made.
//!
//! Every byte of a packet may be hostile: nothing here indexes, all is read with `get`.

#![forbid(unsafe_code)]

mod table;

use super::{Batch, Encoding, Given, OpenStream, Settings, capture};
use crate::alert::{Alert, Flow, Transport};
use crate::calendar;
use crate::wire::{Gap, Item, Loss};
use std::borrow::Cow;
use std::net::IpAddr;
pub(super) use table::Table;

/// A column's value, before a database's own encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Not known.
    Null,
    /// Any number.
    Int(i64),
    /// Text without NUL.
    Text(Cow<'a, str>),
    /// Bytes that are stored as text in this encoding.
    Bytes(Encoding, Cow<'a, [u8]>),
    /// Microseconds since 1970, within the years 0 to 9999.
    Time(i64),
    /// The same, and the seconds by which the clocks it is shown by are ahead of UTC.
    Local(i64, i32),
}

impl Value<'_> {
    fn or_null<N: Into<i64>>(number: Option<N>) -> Self {
        number.map_or(Value::Null, |number| Value::Int(number.into()))
    }
}

/// The rows of a batch, made when they are asked for.
pub(super) struct Rows<'r> {
    pub(super) settings: &'r Settings,
    pub(super) stream: &'r OpenStream,
    pub(super) batch: &'r Batch<'r>,
    pub(super) given: &'r Given,
}

/// Columns that begin the row of an alert in each table: `sid` and `cid`.
const KEY: usize = 2;

/// The values of a row, in the order of `Table::columns`.
type Row<'r> = Vec<Value<'r>>;

impl<'r> Rows<'r> {
    /// Gives each row of a table to `put`, until it fails.
    pub(super) fn each<E>(
        &self,
        table: Table,
        mut put: impl FnMut(&[Value<'r>]) -> Result<(), E>,
    ) -> Result<(), E> {
        if table == Table::Loss {
            return self
                .losses()
                .try_for_each(|(seq, loss)| put(&self.loss(seq, loss)));
        }
        let mut row = Row::new();
        for (n, alert) in self.batch.alerts().enumerate() {
            let cid = self.given.first_cid.saturating_add(n as i64);
            row.clear();
            row.extend([Value::Int(self.stream.sid), Value::Int(cid)]);
            match table {
                Table::Event => self.put_event(&mut row, n, alert),
                Table::Data => self.put_data(&mut row, alert),
                Table::FlopEvent => self.put_flop_event(&mut row, alert),
                Table::Option => {
                    self.each_option(&mut row, alert, &mut put)?;
                    continue;
                }
                Table::Ip4 | Table::Ip6 | Table::Tcp | Table::Udp | Table::Icmp => {
                    put_header(table, &mut row, alert);
                }
                Table::Loss => {}
            }
            if row.len() > KEY {
                put(&row)?;
            }
        }
        Ok(())
    }

    /// The losses, each with its number in the stream.
    fn losses(&self) -> impl Iterator<Item = (u64, &'r Loss<'r>)> {
        let first = self.batch.after_seq.saturating_add(1);
        let numbered = self.batch.items.iter().scan(first, |next, item| {
            let seq = *next;
            *next = seq.saturating_add(item.numbers());
            Some((seq, item))
        });
        numbered.filter_map(|(seq, item)| match item {
            Item::Loss(loss) | Item::Gap(Gap { loss, .. }) => Some((seq, loss)),
            Item::Alert(_) => None,
        })
    }

    fn loss(&self, seq: u64, loss: &'r Loss<'_>) -> [Value<'r>; 7] {
        [
            Value::Int(self.stream.sid),
            Value::Text(self.stream.id.to_string().into()),
            Value::Int(clamp(seq)),
            time(loss.from_us),
            time(loss.to_us),
            Value::Text(text(&loss.reason)),
            Value::Int(clamp(loss.count)),
        ]
    }

    fn put_event(&self, row: &mut Row<'r>, n: usize, alert: &Alert<'_>) {
        let zone = &self.settings.time_zone;
        let timestamp = match (time(alert.time_us), zone.is_utc()) {
            (Value::Time(us), false) => Value::Local(us, zone.seconds_east(us)),
            (utc, _) => utc,
        };
        let signature = self.given.signatures.get(n).copied();
        row.extend([Value::or_null(signature), timestamp]);
        if self.settings.reference {
            let reference = self.given.references.cids.get(n).copied().flatten();
            row.push(Value::or_null(reference));
        }
    }

    /// The payload; with `full_payload` what is around it as well, and then a row for each packet.
    fn put_data(&self, row: &mut Row<'r>, alert: &'r Alert<'_>) {
        let encoding = self.given.encoding;
        let payload = alert.payload().unwrap_or(&[]);
        let packet = alert.packet.as_ref().filter(|_| self.settings.full_payload);
        if payload.is_empty() && packet.is_none() {
            return;
        }
        // An empty text, for other programs may have made the column NOT NULL; the view shows NULL.
        row.push(Value::Bytes(encoding, payload.into()));
        if self.settings.full_payload {
            let text = |bytes| Value::Bytes(encoding.lossless(), bytes);
            let headers = packet.map_or([Value::Null, Value::Null], |packet| {
                [
                    text(capture::data_header(packet, alert, encoding).into()),
                    text(capture::pcap_header(packet).into()),
                ]
            });
            row.extend(headers);
        }
    }

    fn put_flop_event(&self, row: &mut Row<'r>, alert: &'r Alert<'_>) {
        let payload_bytes = alert.payload().map(|bytes| bytes.len() as i64);
        row.extend([
            Value::Int(i64::from(alert.ids as u8)),
            Value::or_null(alert.event_id),
            Value::or_null(alert.event_reference),
            Value::or_null(alert.class_id),
            text_or_null(&alert.action),
            text_or_null(&alert.interface),
            text_or_null(&alert.app_proto),
            alert
                .packet
                .map_or(Value::Null, |packet| time(packet.time_us)),
            Value::or_null(payload_bytes),
        ]);
        row.extend(transport_elsewhere(alert.flow.as_ref()));
        row.push(record(alert.record));
        if self.settings.full_payload {
            row.push(Value::or_null(alert.packet.map(|packet| packet.link)));
        }
    }

    /// One row per option of the IPv4 and of the TCP header. `optid` counts on from the one to the other, for it is
    /// part of the key; `opt_proto` is 0 for IP and 6 for TCP; `opt_len` is the length of `opt_data`.
    fn each_option<E>(
        &self,
        row: &mut Row<'r>,
        alert: &'r Alert<'_>,
        put: &mut impl FnMut(&[Value<'r>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let headers = Headers::of(alert);
        let ip = options(headers.ip4_options()).map(|option| (0, option));
        let tcp = options(headers.tcp_options()).map(|option| (i64::from(TCP), option));
        for (id, (proto, (code, data))) in (0_i64..).zip(ip.chain(tcp)) {
            let value = if data.is_empty() {
                Value::Null
            } else {
                Value::Bytes(self.given.encoding.lossless(), data.into())
            };
            row.truncate(KEY);
            row.extend([
                Value::Int(id),
                Value::Int(proto),
                Value::Int(code.into()),
                Value::Int(data.len() as i64),
                value,
            ]);
            put(row)?;
        }
        Ok(())
    }
}

/// Ports, ICMP type and code of a transport that has no table of its own.
fn transport_elsewhere<'r>(flow: Option<&Flow>) -> [Value<'r>; 4] {
    let none = || Value::Null;
    match flow.map(|flow| (flow.transport, flow.proto)) {
        Some((
            Transport::Ports {
                source,
                destination,
            },
            proto,
        )) if !matches!(proto, TCP | UDP) => [
            Value::Int(source.into()),
            Value::Int(destination.into()),
            none(),
            none(),
        ],
        Some((Transport::Icmp { kind, code }, proto)) if !matches!(proto, ICMP | ICMP6) => [
            none(),
            none(),
            Value::Int(kind.into()),
            Value::Int(code.into()),
        ],
        _ => [none(), none(), none(), none()],
    }
}

/// The row of a table of headers, if the alert has one there.
fn put_header<'r>(table: Table, row: &mut Row<'r>, alert: &Alert<'_>) {
    let Some(flow) = &alert.flow else {
        return;
    };
    // The packet is looked at only by those who have a row to make of it.
    let header = || Headers::of(alert).transport;
    match (table, flow.proto, flow.transport) {
        (Table::Ip4, ..) => put_ip4(row, flow, alert),
        (Table::Ip6, ..) => put_ip6(row, flow, alert),
        (
            Table::Tcp,
            TCP,
            Transport::Ports {
                source,
                destination,
            },
        ) => put_tcp(row, source, destination, header()),
        (
            Table::Udp,
            UDP,
            Transport::Ports {
                source,
                destination,
            },
        ) => {
            let header = header();
            row.extend([
                Value::Int(source.into()),
                Value::Int(destination.into()),
                Value::or_null(be16(header, 4)),
                Value::or_null(be16(header, 6)),
            ]);
        }
        // ICMPv6 as well: its fields are the same, and a reader tells it by the missing row in `iphdr`.
        // barnyard2 stores id and sequence number of every type.
        (Table::Icmp, ICMP | ICMP6, Transport::Icmp { kind, code }) => {
            let header = header();
            row.extend([
                Value::Int(kind.into()),
                Value::Int(code.into()),
                Value::or_null(be16(header, 2)),
                Value::or_null(be16(header, 4)),
                Value::or_null(be16(header, 6)),
            ]);
        }
        _ => {}
    }
}

fn put_tcp(row: &mut Row<'_>, source: u16, destination: u16, header: &[u8]) {
    row.extend([
        Value::Int(source.into()),
        Value::Int(destination.into()),
        Value::or_null(be32(header, 4)),
        Value::or_null(be32(header, 8)),
        Value::or_null(byte(header, 12).map(|byte| byte >> 4)),
        Value::or_null(byte(header, 12).map(|byte| byte & 15)),
        Value::Int(byte(header, 13).unwrap_or(0).into()),
        Value::or_null(be16(header, 14)),
        Value::or_null(be16(header, 16)),
        Value::or_null(be16(header, 18)),
    ]);
}

fn put_ip4(row: &mut Row<'_>, flow: &Flow, alert: &Alert<'_>) {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (flow.src, flow.dst) else {
        return;
    };
    let ip = Headers::of(alert).ip;
    let fragment = be16(ip, 6);
    row.extend([
        Value::Int(u32::from(src).into()),
        Value::Int(u32::from(dst).into()),
        Value::Int(4),
        Value::or_null(byte(ip, 0).map(|byte| byte & 15)),
        Value::or_null(byte(ip, 1)),
        Value::or_null(be16(ip, 2)),
        Value::or_null(be16(ip, 4)),
        Value::or_null(fragment.map(|fragment| fragment >> 13)),
        Value::or_null(fragment.map(|fragment| fragment & 0x1fff)),
        Value::or_null(byte(ip, 8)),
        Value::Int(flow.proto.into()),
        Value::or_null(be16(ip, 10)),
    ]);
}

/// What the classic `iphdr` cannot hold: one of the addresses is not of IPv4.
fn put_ip6(row: &mut Row<'_>, flow: &Flow, alert: &Alert<'_>) {
    if flow.src.is_ipv4() && flow.dst.is_ipv4() {
        return;
    }
    let ip = Headers::of(alert).ip;
    let first = be32(ip, 0);
    row.extend([
        Value::Text(flow.src.to_string().into()),
        Value::Text(flow.dst.to_string().into()),
        Value::or_null(first.map(|first| (first >> 20) & 0xff)),
        Value::or_null(first.map(|first| first & 0xf_ffff)),
        Value::or_null(be16(ip, 4)),
        Value::or_null(byte(ip, 6)),
        Value::or_null(byte(ip, 7)),
        Value::Int(flow.proto.into()),
    ]);
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// The parts of a packet that belong to the flow: from the header's first byte to the packet's last one, and empty
/// where the packet is of another IP version than the flow says. That the transport header is the flow's is the sensor's
/// word.
struct Headers<'a> {
    ip: &'a [u8],
    transport: &'a [u8],
    proto: u8,
}

impl<'a> Headers<'a> {
    fn of(alert: &Alert<'a>) -> Self {
        let flow = alert.flow.as_ref();
        let mut headers = Headers {
            ip: &[],
            transport: &[],
            proto: flow.map_or(0, |flow| flow.proto),
        };
        let (Some(packet), Some(flow)) = (&alert.packet, flow) else {
            return headers;
        };
        let from = |offset: Option<u32>| packet.bytes.get(offset? as usize..);
        let ip = from(packet.ip).unwrap_or_default();
        let version = if flow.src.is_ipv4() { 4 } else { 6 };
        if byte(ip, 0).map(|byte| byte >> 4) == Some(version) {
            headers.ip = ip;
            headers.transport = from(packet.transport).unwrap_or_default();
        }
        headers
    }

    fn ip4_options(&self) -> &'a [u8] {
        match self.ip.first() {
            Some(first) if first >> 4 == 4 => within(self.ip, 20, usize::from(first & 15) * 4),
            _ => &[],
        }
    }

    fn tcp_options(&self) -> &'a [u8] {
        match self.transport.get(12) {
            Some(offset) if self.proto == TCP => {
                within(self.transport, 20, usize::from(offset >> 4) * 4)
            }
            _ => &[],
        }
    }
}

/// Code and data of each option; ends at the end-of-list option, and where an option has no sensible length.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || match *bytes {
        [] | [0, ..] | [_] => None,
        [1, ref rest @ ..] => {
            bytes = rest;
            Some((1, &[][..]))
        }
        [code, length, ..] => {
            let data = bytes.get(2..usize::from(length))?;
            bytes = &bytes[usize::from(length)..];
            Some((code, data))
        }
    })
}

/// `bytes[from..to]`, as far as it is there.
fn within(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// A number which both databases hold as a signed one.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An instant which both databases can hold and each client can read.
fn time<'a>(us: i64) -> Value<'a> {
    Value::Time(calendar::clamp(us))
}

/// Text as a database takes it: PostgreSQL has no NUL in text.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

fn text_or_null(value: &str) -> Value<'_> {
    if value.is_empty() {
        Value::Null
    } else {
        Value::Text(text(value))
    }
}

fn record(bytes: &[u8]) -> Value<'_> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(borrowed) => text_or_null(borrowed),
        Cow::Owned(owned) => Value::Text(text(&owned).into_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_they_make_no_sense() {
        let all = |bytes: &'static [u8]| options(bytes).collect::<Vec<_>>();
        assert_eq!(all(&[1, 8, 3, 9, 0, 1]), [(1, &[][..]), (8, &[9][..])]);
        assert_eq!(all(&[2, 4, 5]), []);
        assert_eq!(all(&[2, 1, 5, 5]), []);
        assert_eq!(all(&[2, 0, 5, 5]), []);
        assert_eq!(all(&[2]), []);
        assert_eq!(all(&[4, 2]), [(4, &[][..])]);
    }
}
