//! An EVE record of Suricata, as it comes as a datagram.

use super::{Draft, Proto};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flop::calendar::iso8601;
use std::io::Write;

/// Replaces what is in `datagram`.
pub(super) fn put(datagram: &mut Vec<u8>, draft: &Draft) {
    datagram.clear();
    let time = iso8601(draft.time_us() as i64);
    let time = time.trim_end_matches('Z');
    let (source, destination) = draft.hosts;
    let (flow, payload) = (draft.number, STANDARD.encode(&draft.payload));
    write!(
        datagram,
        r#"{{"timestamp":"{time}+0000","flow_id":{flow},"in_iface":"eth0","event_type":"alert","src_ip":"10.1.{}.{}","#,
        source >> 8,
        source & 255,
    )
    .and_then(|()| put_transport(datagram, draft))
    .and_then(|()| {
        write!(
            datagram,
            r#""dest_ip":"172.16.{}.{}","pkt_src":"wire/pcap","alert":{{"action":"allowed","gid":1,"signature_id":{},"rev":1,"signature":"{}","category":"Attempted Information Leak","severity":{}}},"direction":"to_server","flow":{{"pkts_toserver":1,"pkts_toclient":0,"bytes_toserver":{},"bytes_toclient":0,"start":"{time}+0000"}},"payload":"{payload}","stream":0}}"#,
            destination >> 8,
            destination & 255,
            draft.sid(),
            draft.message(),
            draft.priority(),
            draft.packet_bytes(),
        )
    })
    .expect("memory takes all");
}

fn put_transport(datagram: &mut Vec<u8>, draft: &Draft) -> std::io::Result<()> {
    let (source, destination) = draft.ports;
    match draft.proto {
        Proto::Tcp => write!(
            datagram,
            r#""src_port":{source},"dest_port":{destination},"proto":"TCP","#
        ),
        Proto::Udp => write!(
            datagram,
            r#""src_port":{source},"dest_port":{destination},"proto":"UDP","#
        ),
        Proto::Icmp => write!(datagram, r#""icmp_type":8,"icmp_code":0,"proto":"ICMP","#),
    }
}
