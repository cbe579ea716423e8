//! The tables that batches are written to, and their columns.

#![forbid(unsafe_code)]

use super::super::{Settings, extensions};

/// A table that batches are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Table {
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
    pub(in crate::store) const ALL: [Table; 10] = [
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
    pub(in crate::store) fn with_cid() -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| *table != Table::Loss)
    }

    pub(in crate::store) fn name(self) -> &'static str {
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
    pub(in crate::store) fn columns(self, settings: &Settings) -> Vec<&'static str> {
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
