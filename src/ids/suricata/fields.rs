//! The values of an EVE record that an alert needs. Where they stand in its JSON, and which of them holds, is said here;
//! two readers go through it in one pass: `quick` reads what Suricata writes, `walk` reads all JSON and says what is wrong
//! with the rest.

#![forbid(unsafe_code)]

use super::{quick, walk};
use crate::ids::Refusal;
use std::borrow::Cow;

/// What a key's name means, where it stands.
pub(super) type Keys = fn(&str) -> Option<Key>;

/// A wanted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Timestamp,
    EventType,
    InIface,
    SrcIp,
    SrcPort,
    DestIp,
    DestPort,
    Proto,
    IcmpType,
    IcmpCode,
    AppProto,
    Payload,
    Stream,
    Packet,
    PacketInfo,
    LinkType,
    Alert,
    Action,
    Gid,
    SignatureId,
    Rev,
    Signature,
    Category,
    Severity,
    Stats,
    Uptime,
    Detect,
    Raised,
    Engines,
    LastReload,
}

impl Key {
    const COUNT: usize = 30;

    /// The key as an operator finds it in the record.
    pub(super) fn name(self) -> &'static str {
        match self {
            Key::Timestamp => "timestamp",
            Key::EventType => "event_type",
            Key::InIface => "in_iface",
            Key::SrcIp => "src_ip",
            Key::SrcPort => "src_port",
            Key::DestIp => "dest_ip",
            Key::DestPort => "dest_port",
            Key::Proto => "proto",
            Key::IcmpType => "icmp_type",
            Key::IcmpCode => "icmp_code",
            Key::AppProto => "app_proto",
            Key::Payload => "payload",
            Key::Stream => "stream",
            Key::Packet => "packet",
            Key::PacketInfo => "packet_info",
            Key::LinkType => "packet_info.linktype",
            Key::Alert => "alert",
            Key::Action => "alert.action",
            Key::Gid => "alert.gid",
            Key::SignatureId => "alert.signature_id",
            Key::Rev => "alert.rev",
            Key::Signature => "alert.signature",
            Key::Category => "alert.category",
            Key::Severity => "alert.severity",
            Key::Stats => "stats",
            Key::Uptime => "stats.uptime",
            Key::Detect => "stats.detect",
            Key::Raised => "stats.detect.alert",
            Key::Engines => "stats.detect.engines",
            Key::LastReload => "stats.detect.engines.last_reload",
        }
    }

    /// What keys mean in the object or the list behind this one. Of the lists only the engines have something wanted.
    pub(super) fn inside(key: Option<Key>) -> Keys {
        match key {
            Some(Key::Alert) => Key::of_alert,
            Some(Key::PacketInfo) => Key::of_packet_info,
            Some(Key::Stats) => Key::of_stats,
            Some(Key::Detect) => Key::of_detect,
            Some(Key::Engines) => Key::of_engine,
            _ => Key::none,
        }
    }

    /// What the elements of the list behind this one are.
    pub(super) fn of_elements(key: Option<Key>) -> Option<Key> {
        key.filter(|key| *key == Key::Engines)
    }

    /// Where nothing is wanted.
    pub(super) fn none(_: &str) -> Option<Key> {
        None
    }

    /// In the record itself.
    pub(super) fn of_record(name: &str) -> Option<Key> {
        Some(match name {
            "timestamp" => Key::Timestamp,
            "event_type" => Key::EventType,
            "in_iface" => Key::InIface,
            "src_ip" => Key::SrcIp,
            "src_port" => Key::SrcPort,
            "dest_ip" => Key::DestIp,
            "dest_port" => Key::DestPort,
            "proto" => Key::Proto,
            "icmp_type" => Key::IcmpType,
            "icmp_code" => Key::IcmpCode,
            "app_proto" => Key::AppProto,
            "payload" => Key::Payload,
            "stream" => Key::Stream,
            "packet" => Key::Packet,
            "packet_info" => Key::PacketInfo,
            "alert" => Key::Alert,
            "stats" => Key::Stats,
            _ => return None,
        })
    }

    fn of_alert(name: &str) -> Option<Key> {
        Some(match name {
            "action" => Key::Action,
            "gid" => Key::Gid,
            "signature_id" => Key::SignatureId,
            "rev" => Key::Rev,
            "signature" => Key::Signature,
            "category" => Key::Category,
            "severity" => Key::Severity,
            _ => return None,
        })
    }

    fn of_packet_info(name: &str) -> Option<Key> {
        (name == "linktype").then_some(Key::LinkType)
    }

    fn of_stats(name: &str) -> Option<Key> {
        Some(match name {
            "uptime" => Key::Uptime,
            "detect" => Key::Detect,
            _ => return None,
        })
    }

    fn of_detect(name: &str) -> Option<Key> {
        Some(match name {
            "alert" => Key::Raised,
            "engines" => Key::Engines,
            _ => return None,
        })
    }

    fn of_engine(name: &str) -> Option<Key> {
        (name == "last_reload").then_some(Key::LastReload)
    }
}

/// What stands behind a wanted key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Value<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    /// Neither below zero nor with a fraction.
    Number(u64),
    Object,
    /// A list, a truth value, null, a number below zero or with a fraction.
    Other,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Alert,
    Stats,
    Other,
}

/// The wanted values of a record. Of a key that stands twice, the last one holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    values: [Value<'a>; Key::COUNT],
}

impl<'a> Fields<'a> {
    /// Reads a whole record. It stays where it is, for it is large.
    pub(super) fn read(&mut self, record: &'a str) -> Result<Kind, Refusal> {
        *self = Fields::default();
        if quick::read(record, self).is_none() {
            *self = walk::read(record)?;
        }
        match self.text(Key::EventType)?.as_deref() {
            Some("alert") => Ok(Kind::Alert),
            Some("stats") => Ok(Kind::Stats),
            Some(_) => Ok(Kind::Other),
            None => Err(Refusal::Missing(Key::EventType.name())),
        }
    }

    /// Sets the value of a key, if it is a wanted one.
    pub(super) fn set(&mut self, key: Option<Key>, value: Value<'a>) {
        if let Some(key) = key {
            self.values[key as usize] = value;
        }
    }

    /// Whether it is known already that nothing of this record is wanted: all that follows is only to be JSON.
    pub(super) fn is_other_record(&self) -> bool {
        match &self.values[Key::EventType as usize] {
            Value::Text(kind) => !matches!(kind.as_ref(), "alert" | "stats"),
            _ => false,
        }
    }

    /// The text of a key, if it is there; it is taken out.
    pub(super) fn text(&mut self, key: Key) -> Result<Option<Cow<'a, str>>, Refusal> {
        match std::mem::take(&mut self.values[key as usize]) {
            Value::Absent => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(Refusal::Wrong(key.name())),
        }
    }

    /// The number of a key, if it is there; refused if it does not fit.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: Key) -> Result<Option<T>, Refusal> {
        match self.values[key as usize] {
            Value::Absent => Ok(None),
            Value::Number(number) => match T::try_from(number) {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Refusal::Wrong(key.name())),
            },
            _ => Err(Refusal::Wrong(key.name())),
        }
    }

    /// Checks that a key is there and is an object.
    pub(super) fn object(&self, key: Key) -> Result<(), Refusal> {
        match self.values[key as usize] {
            Value::Object => Ok(()),
            Value::Absent => Err(Refusal::Missing(key.name())),
            _ => Err(Refusal::Wrong(key.name())),
        }
    }
}
