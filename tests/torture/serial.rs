//! Alerts with a serial number, which is their source address: 10.0.0.0 plus the number. Their times go to and fro, for
//! nothing may depend on them.

#[path = "../fixtures/mod.rs"]
mod fixtures;

use std::sync::OnceLock;

/// 10.0.0.0 as a number.
pub(crate) const FIRST_ADDRESS: i64 = 10 << 24;
/// In Snort's datagram: the packet, behind an Ethernet header the source address, and the event's time.
const SNORT_SOURCE: usize = 292 + 14 + 12;
const SNORT_SECONDS: usize = 65_856;
/// Some second in 2026.
const SECONDS: u32 = 1_795_000_000;

/// Which IDS it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 65,864 bytes.
    Snort,
    /// Suricata: some hundred bytes.
    Eve,
}

pub(crate) fn datagram(form: Form, serial: u32) -> Vec<u8> {
    let [_, a, b, c] = serial.to_be_bytes();
    let to_and_fro = serial.wrapping_mul(7_919) % 3_600;
    match form {
        Form::Snort => {
            let mut datagram = snort().to_vec();
            datagram[SNORT_SOURCE..SNORT_SOURCE + 4].copy_from_slice(&[10, a, b, c]);
            let seconds = (SECONDS + to_and_fro).to_ne_bytes();
            datagram[SNORT_SECONDS..SNORT_SECONDS + 4].copy_from_slice(&seconds);
            datagram
        }
        Form::Eve => format!(
            "{{\"timestamp\":\"2026-11-21T03:{:02}:{:02}.000000+0000\",\"event_type\":\"alert\",\
             \"src_ip\":\"10.{a}.{b}.{c}\",\"src_port\":1024,\"dest_ip\":\"192.0.2.1\",\"dest_port\":80,\"proto\":\"TCP\",\
             \"alert\":{{\"gid\":1,\"signature_id\":1000001,\"rev\":1,\"signature\":\"serial\",\"severity\":3,\
             \"action\":\"allowed\"}}}}\n",
            to_and_fro / 60,
            to_and_fro % 60
        )
        .into_bytes(),
    }
}

/// A real alert of Snort 2.9, about a TCP packet over IPv4 and Ethernet.
fn snort() -> &'static [u8] {
    static FIRST: OnceLock<Vec<u8>> = OnceLock::new();
    FIRST.get_or_init(|| {
        let first = fixtures::datagrams("snort29-unixsock-own").swap_remove(0);
        let source = &first[SNORT_SOURCE..SNORT_SOURCE + 4];
        assert_eq!(source, [192, 0, 2, 10], "the address is where it was");
        first
    })
}
