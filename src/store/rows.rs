//! An alert -> the rows it becomes, the same for each database.
//!
//! Addresses, protocol, ports and ICMP type come from `Alert::flow`, which is what the IDS said; the other header
//! fields come from the packet, where it has a header of the same kind. What is not known is NULL, with one
//! exception: `tcphdr.tcp_flags` is NOT NULL in the classic schema and 0 when the flags are not known.
//!
//! Every byte of a packet may be hostile: nothing here indexes, all is read with `get`.

#![forbid(unsafe_code)]

use super::{Encoding, Settings, capture, extensions};
use crate::alert::{Alert, Flow, Packet, Transport};
use crate::calendar;
use crate::wire::{Loss, StreamId};
use std::borrow::Cow;
use std::net::IpAddr;

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

/// A table that batches are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Event,
    Ip4,
    Ip6,
    Tcp,
    Udp,
    Icmp,
    Option,
    Data,
    FlopEvent,
    Loss,
}

impl Table {
    /// In the order in which they are written.
    pub(super) const ALL: [Table; 10] = [
        Table::Event,
        Table::Ip4,
        Table::Ip6,
        Table::Tcp,
        Table::Udp,
        Table::Icmp,
        Table::Option,
        Table::Data,
        Table::FlopEvent,
        Table::Loss,
    ];

    /// Tables with rows of single alerts, whose cids must not be given again.
    pub(super) fn with_cid() -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| *table != Table::Loss)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Event => "event",
            Table::Ip4 => "iphdr",
            Table::Ip6 => "flop_ip6hdr",
            Table::Tcp => "tcphdr",
            Table::Udp => "udphdr",
            Table::Icmp => "icmphdr",
            Table::Option => "opt",
            Table::Data => "data",
            Table::FlopEvent => "flop_event",
            Table::Loss => "flop_loss",
        }
    }

    /// The columns, in the order of the values of a row.
    pub(super) fn columns(self, settings: &Settings) -> Vec<&'static str> {
        let mut columns = self.classic_columns().to_vec();
        columns.extend(extensions::names(settings, self.name()));
        columns
    }

    #[rustfmt::skip]
    fn classic_columns(self) -> &'static [&'static str] {
        match self {
            Table::Event => &["sid", "cid", "signature", "timestamp"],
            Table::Ip4 => &[
                "sid", "cid", "ip_src", "ip_dst", "ip_ver", "ip_hlen", "ip_tos", "ip_len", "ip_id", "ip_flags",
                "ip_off", "ip_ttl", "ip_proto", "ip_csum",
            ],
            Table::Ip6 => &[
                "sid", "cid", "src", "dst", "traffic_class", "flow_label", "length", "next_header", "hop_limit",
                "proto",
            ],
            Table::Tcp => &[
                "sid", "cid", "tcp_sport", "tcp_dport", "tcp_seq", "tcp_ack", "tcp_off", "tcp_res", "tcp_flags",
                "tcp_win", "tcp_csum", "tcp_urp",
            ],
            Table::Udp => &["sid", "cid", "udp_sport", "udp_dport", "udp_len", "udp_csum"],
            Table::Icmp => &[
                "sid", "cid", "icmp_type", "icmp_code", "icmp_csum", "icmp_id", "icmp_seq",
            ],
            Table::Option => &[
                "sid", "cid", "optid", "opt_proto", "opt_code", "opt_len", "opt_data",
            ],
            Table::Data => &["sid", "cid", "data_payload"],
            Table::FlopEvent => &[
                "sid", "cid", "ids", "event_id", "event_reference", "class_id", "action", "interface", "app_proto",
                "packet_time", "payload_len", "sport", "dport", "icmp_type", "icmp_code", "record",
            ],
            Table::Loss => &["sid", "stream", "seq", "from_time", "to_time", "reason", "count"],
        }
    }
}

/// The rows of a batch, by table.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    settings: &'a Settings,
    encoding: Encoding,
    /// By `Table as usize`; the values of all rows, one row after the other.
    values: [Vec<Value<'a>>; Table::ALL.len()],
}

/// What the database has given to an alert.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) sid: i64,
    pub(super) cid: i64,
    /// Its row in `signature`.
    pub(super) signature: i64,
    /// The cid of the alert that it refers to.
    pub(super) reference: Option<i64>,
}

impl<'a> Rows<'a> {
    /// `encoding` is the one in the sensor's row.
    pub(super) fn new(settings: &'a Settings, encoding: Encoding) -> Self {
        Rows {
            settings,
            encoding,
            values: Default::default(),
        }
    }

    /// The columns of a table, in the order of the values of a row.
    pub(super) fn columns(&self, table: Table) -> Vec<&'static str> {
        table.columns(self.settings)
    }

    /// The rows of one table.
    pub(super) fn of(&self, table: Table) -> impl ExactSizeIterator<Item = &[Value<'a>]> {
        let columns = self.columns(table).len();
        self.values[table as usize].chunks_exact(columns)
    }

    /// Adds what an alert becomes.
    pub(super) fn put_alert(&mut self, given: Given, alert: &'a Alert<'_>) {
        let row = Key(Value::Int(given.sid), Value::Int(given.cid));
        let flow = alert.flow;
        let headers = Headers::of(alert.packet.as_ref(), flow.as_ref());
        self.put_event(&row, given, alert);
        self.put_flop_event(&row, alert, flow.as_ref());
        if let Some(flow) = &flow {
            self.put_ip(&row, flow, &headers);
            self.put_transport(&row, flow, &headers);
        }
        self.put_options(&row, &headers);
        self.put_data(row, alert);
    }

    /// Adds a loss, the item `seq` of its stream.
    pub(super) fn put_loss(&mut self, sid: i64, stream: StreamId, seq: u64, loss: &'a Loss<'_>) {
        self.put(
            Table::Loss,
            [
                Value::Int(sid),
                Value::Text(stream.to_string().into()),
                Value::Int(clamp(seq)),
                time(loss.from_us),
                time(loss.to_us),
                Value::Text(text(&loss.reason)),
                Value::Int(clamp(loss.count)),
            ],
        );
    }

    fn put<const N: usize>(&mut self, table: Table, row: [Value<'a>; N]) {
        debug_assert_eq!(N, table.classic_columns().len(), "{}", table.name());
        self.values[table as usize].extend(row);
    }

    /// Adds the values of columns that a setting added, behind the classic ones of the row that was put last.
    fn put_more<const N: usize>(&mut self, table: Table, values: [Value<'a>; N]) {
        debug_assert_eq!(
            N,
            extensions::names(self.settings, table.name()).len(),
            "{}",
            table.name()
        );
        self.values[table as usize].extend(values);
    }

    fn put_event(&mut self, row: &Key<'a>, given: Given, alert: &Alert<'_>) {
        let zone = &self.settings.time_zone;
        let timestamp = match (time(alert.time_us), zone.is_utc()) {
            (Value::Time(us), false) => Value::Local(us, zone.seconds_east(us)),
            (utc, _) => utc,
        };
        let signature = Value::Int(given.signature);
        self.put(
            Table::Event,
            [row.0.clone(), row.1.clone(), signature, timestamp],
        );
        if self.settings.reference {
            self.put_more(Table::Event, [Value::or_null(given.reference)]);
        }
    }

    /// The payload; with `full_payload` what is around it as well, and then a row for each packet.
    fn put_data(&mut self, row: Key<'a>, alert: &'a Alert<'_>) {
        let payload = alert.payload().unwrap_or(&[]);
        let packet = alert.packet.as_ref().filter(|_| self.settings.full_payload);
        if payload.is_empty() && packet.is_none() {
            return;
        }
        // An empty text, for other programs may have made the column NOT NULL; the view shows NULL.
        let payload = Value::Bytes(self.encoding, payload.into());
        self.put(Table::Data, [row.0, row.1, payload]);
        if self.settings.full_payload {
            let text = |bytes| Value::Bytes(self.encoding.lossless(), bytes);
            let headers = packet.map_or([Value::Null, Value::Null], |packet| {
                [
                    text(capture::data_header(packet, alert, self.encoding).into()),
                    text(capture::pcap_header(packet).into()),
                ]
            });
            self.put_more(Table::Data, headers);
        }
    }

    fn put_flop_event(&mut self, row: &Key<'a>, alert: &'a Alert<'_>, flow: Option<&Flow>) {
        let (mut sport, mut dport, mut kind, mut code) =
            (Value::Null, Value::Null, Value::Null, Value::Null);
        match flow.map(|flow| (flow.transport, flow.proto)) {
            Some((
                Transport::Ports {
                    source,
                    destination,
                },
                proto,
            )) if !matches!(proto, TCP | UDP) => {
                (sport, dport) = (Value::Int(source.into()), Value::Int(destination.into()));
            }
            Some((Transport::Icmp { kind: k, code: c }, proto))
                if !matches!(proto, ICMP | ICMP6) =>
            {
                (kind, code) = (Value::Int(k.into()), Value::Int(c.into()));
            }
            _ => {}
        }
        self.put(
            Table::FlopEvent,
            [
                row.0.clone(),
                row.1.clone(),
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
                alert
                    .payload()
                    .map_or(Value::Null, |bytes| Value::Int(bytes.len() as i64)),
                sport,
                dport,
                kind,
                code,
                record(alert.record),
            ],
        );
        if self.settings.full_payload {
            let link = alert.packet.map(|packet| packet.link);
            self.put_more(Table::FlopEvent, [Value::or_null(link)]);
        }
    }

    fn put_ip(&mut self, row: &Key<'a>, flow: &Flow, headers: &Headers<'_>) {
        let ip = headers.ip;
        match (flow.src, flow.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let fragment = be16(ip, 6);
                self.put(
                    Table::Ip4,
                    [
                        row.0.clone(),
                        row.1.clone(),
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
                    ],
                );
            }
            (src, dst) => {
                let first = be32(ip, 0);
                self.put(
                    Table::Ip6,
                    [
                        row.0.clone(),
                        row.1.clone(),
                        Value::Text(src.to_string().into()),
                        Value::Text(dst.to_string().into()),
                        Value::or_null(first.map(|first| (first >> 20) & 0xff)),
                        Value::or_null(first.map(|first| first & 0xf_ffff)),
                        Value::or_null(be16(ip, 4)),
                        Value::or_null(byte(ip, 6)),
                        Value::or_null(byte(ip, 7)),
                        Value::Int(flow.proto.into()),
                    ],
                );
            }
        }
    }

    fn put_transport(&mut self, row: &Key<'a>, flow: &Flow, headers: &Headers<'_>) {
        let (sid, cid, header) = (row.0.clone(), row.1.clone(), headers.transport);
        match (flow.proto, flow.transport) {
            (
                TCP,
                Transport::Ports {
                    source,
                    destination,
                },
            ) => self.put(
                Table::Tcp,
                [
                    sid,
                    cid,
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
                ],
            ),
            (
                UDP,
                Transport::Ports {
                    source,
                    destination,
                },
            ) => self.put(
                Table::Udp,
                [
                    sid,
                    cid,
                    Value::Int(source.into()),
                    Value::Int(destination.into()),
                    Value::or_null(be16(header, 4)),
                    Value::or_null(be16(header, 6)),
                ],
            ),
            // ICMPv6 as well: its fields are the same, and a reader tells it by the missing row in `iphdr`.
            // barnyard2 stores id and sequence number of every type.
            (ICMP | ICMP6, Transport::Icmp { kind, code }) => self.put(
                Table::Icmp,
                [
                    sid,
                    cid,
                    Value::Int(kind.into()),
                    Value::Int(code.into()),
                    Value::or_null(be16(header, 2)),
                    Value::or_null(be16(header, 4)),
                    Value::or_null(be16(header, 6)),
                ],
            ),
            _ => {}
        }
    }

    /// One row per option of the IPv4 and of the TCP header. `optid` counts on from the one to the other, for it is
    /// part of the key; `opt_proto` is 0 for IP and 6 for TCP; `opt_len` is the length of `opt_data`.
    fn put_options(&mut self, row: &Key<'a>, headers: &Headers<'a>) {
        let ip = options(headers.ip4_options()).map(|option| (0, option));
        let tcp = options(headers.tcp_options()).map(|option| (i64::from(TCP), option));
        for (id, (proto, (code, data))) in (0_i64..).zip(ip.chain(tcp)) {
            let value = if data.is_empty() {
                Value::Null
            } else {
                Value::Bytes(self.encoding.lossless(), data.into())
            };
            self.put(
                Table::Option,
                [
                    row.0.clone(),
                    row.1.clone(),
                    Value::Int(id),
                    Value::Int(proto),
                    Value::Int(code.into()),
                    Value::Int(data.len() as i64),
                    value,
                ],
            );
        }
    }
}

/// `sid` and `cid`.
struct Key<'a>(Value<'a>, Value<'a>);

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
    fn of(packet: Option<&Packet<'a>>, flow: Option<&Flow>) -> Self {
        let mut headers = Headers {
            ip: &[],
            transport: &[],
            proto: flow.map_or(0, |flow| flow.proto),
        };
        let (Some(packet), Some(flow)) = (packet, flow) else {
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
