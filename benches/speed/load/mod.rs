//! The load generator: alerts of one mix after another, the same for the same seed.

mod eve;
mod http;
mod packet;
mod snort;

use crate::Result;
use flop::ids::{Decoded, LinkType, Scratch};
use flop::wire::item;
use std::ops::RangeInclusive;

/// When the first alert happened; the next ones follow a tenth of a millisecond apart.
const FIRST_TIME_US: u64 = 1_795_000_000_000_000;
const TIME_STEP_US: u64 = 100;

/// What kind of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// 50 signatures; of ten alerts seven are TCP, two UDP, one ICMP; payloads of 100 to 1,400 bytes.
    Usual,
    /// The same, all of one signature.
    OneSignature,
    /// The same over IPv6.
    Ip6,
    /// The same with payloads of 16 to 64 bytes.
    Small,
    /// The same with payloads that make alerts of 800 encoded bytes in the mean.
    Encoded800,
    /// EVE records of Suricata with payloads of 100 to 1,400 bytes in base64.
    Eve,
    /// EVE records of some 700 bytes.
    Eve700,
    /// 50 signatures over TCP; payloads are HTTP requests of attacks, with random tokens in them.
    Http,
}

/// An alert before it has a form.
struct Draft {
    number: u64,
    signature: u32,
    proto: Proto,
    is_ip6: bool,
    /// Low bits of both addresses.
    hosts: (u16, u16),
    ports: (u16, u16),
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proto {
    Tcp,
    Udp,
    Icmp,
}

/// Endless alerts, as datagrams.
pub(crate) struct Load {
    mix: Mix,
    random: Random,
    draft: Draft,
}

impl Load {
    pub(crate) fn new(mix: Mix, seed: u64) -> Load {
        Load {
            mix,
            random: Random(seed.wrapping_mul(2).wrapping_add(1)),
            draft: Draft {
                number: 0,
                signature: 0,
                proto: Proto::Tcp,
                is_ip6: mix == Mix::Ip6,
                hosts: (0, 0),
                ports: (0, 0),
                payload: Vec::new(),
            },
        }
    }

    /// Puts the next alert into `datagram`, which the former one may be in.
    pub(crate) fn next(&mut self, datagram: &mut Vec<u8>) {
        self.draft();
        match self.mix {
            Mix::Eve | Mix::Eve700 => eve::put(datagram, &self.draft),
            _ => snort::put(datagram, &self.draft),
        }
    }

    fn draft(&mut self) {
        let signatures = if self.mix == Mix::OneSignature { 1 } else { 50 };
        let (random, draft) = (&mut self.random, &mut self.draft);
        draft.number += 1;
        draft.signature = random.below(signatures) as u32;
        draft.proto = match random.below(10) {
            0..7 => Proto::Tcp,
            7..9 => Proto::Udp,
            _ => Proto::Icmp,
        };
        draft.hosts = (random.next() as u16, random.next() as u16);
        draft.ports = (
            1024 + random.below(60_000) as u16,
            random.below(1024) as u16,
        );
        if self.mix == Mix::Http {
            (draft.proto, draft.ports.1) = (Proto::Tcp, 80);
            return http::put(&mut draft.payload, random);
        }
        let sizes = payload_bytes(self.mix);
        let spread = (sizes.end() - sizes.start() + 1) as u64;
        let bytes = sizes.start() + random.below(spread) as usize;
        random.fill(&mut draft.payload, bytes);
    }
}

impl Draft {
    fn time_us(&self) -> u64 {
        FIRST_TIME_US + self.number * TIME_STEP_US
    }

    fn sid(&self) -> u32 {
        1_000_000 + self.signature
    }

    /// 1 to 3.
    fn priority(&self) -> u32 {
        1 + self.signature % 3
    }

    fn message(&self) -> String {
        format!(
            "LOAD attempt number {:02} to reach a server",
            self.signature
        )
    }
}

fn payload_bytes(mix: Mix) -> RangeInclusive<usize> {
    match mix {
        Mix::Usual | Mix::OneSignature | Mix::Ip6 | Mix::Eve | Mix::Http => 100..=1_400,
        Mix::Small => 16..=64,
        Mix::Encoded800 => 100..=1_096,
        Mix::Eve700 => 80..=120,
    }
}

/// The alerts of a mix as sockserv encodes them.
pub(crate) struct Encoded {
    /// One item after another.
    pub(crate) bytes: Vec<u8>,
    /// Their lengths.
    pub(crate) lengths: Vec<usize>,
}

/// Encodes the first `count` alerts of a load.
pub(crate) fn encoded(mix: Mix, seed: u64, count: usize) -> Result<Encoded> {
    let (mut load, mut datagram, mut scratch) =
        (Load::new(mix, seed), Vec::new(), Scratch::default());
    let mut encoded = Encoded {
        bytes: Vec::new(),
        lengths: Vec::with_capacity(count),
    };
    for _ in 0..count {
        load.next(&mut datagram);
        let before = encoded.bytes.len();
        match flop::ids::decode(&datagram, LinkType::Auto, &mut scratch)? {
            Decoded::Alert(alert) => item::put_alert(&mut encoded.bytes, &alert),
            Decoded::Stats(_) | Decoded::OtherRecord => {
                return Err("the load generator made a record that is no alert".into());
            }
        }
        encoded.lengths.push(encoded.bytes.len() - before);
    }
    Ok(encoded)
}

/// A generator of numbers (splitmix64): fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) {
        out.clear();
        while out.len() < bytes {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(bytes);
    }
}
