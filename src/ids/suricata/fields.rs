//! The values of an EVE record that an alert needs, out of its JSON in one pass.
//!
//! One visitor goes through objects and lists; which key it stands at decides what becomes of a value. What is not
//! wanted is skipped, but its depth is counted. A record whose `event_type` is neither `alert` nor `stats` is only
//! checked for being JSON from there on.

#![forbid(unsafe_code)]

use crate::ids::Refusal;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use std::borrow::Cow;
use std::fmt;

/// EVE's own records go five or six levels deep. Below the 128 at which `serde_json` gives up.
const DEPTH_MAX: u8 = 100;

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

    fn of_record(name: &str) -> Option<Key> {
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

#[derive(Debug, Default)]
enum Value<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Number(u64),
    Object,
    /// A list, a truth value, null, a number below zero or with a fraction.
    Other,
}

/// What a record is.
pub(super) enum Record<'a> {
    Alert(Fields<'a>),
    Stats(Fields<'a>),
    Other,
}

/// The wanted values of a record. Of a key that stands twice, the last one holds.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    values: [Value<'a>; Key::COUNT],
}

impl<'a> Fields<'a> {
    /// Reads a whole record.
    pub(super) fn read(record: &'a str) -> Result<Record<'a>, Refusal> {
        let mut fields = Fields::default();
        let mut json = serde_json::Deserializer::from_str(record);
        Walk::over(&mut fields)
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| refusal(&error, record.len()))?;
        match fields.text(Key::EventType)?.as_deref() {
            Some("alert") => Ok(Record::Alert(fields)),
            Some("stats") => Ok(Record::Stats(fields)),
            Some(_) => Ok(Record::Other),
            None => Err(Refusal::Missing(Key::EventType.name())),
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

/// The visitor below has one error of its own: depth.
fn refusal(error: &serde_json::Error, bytes: usize) -> Refusal {
    match error.classify() {
        Category::Data => Refusal::TooDeep,
        Category::Eof => Refusal::Unfinished(bytes),
        Category::Syntax | Category::Io => Refusal::NotJson(error.column()),
    }
}

/// Where a value stands.
struct Walk<'f, 'a> {
    fields: &'f mut Fields<'a>,
    /// The wanted key in front of it.
    key: Option<Key>,
    /// What the keys are if it is an object.
    keys: fn(&str) -> Option<Key>,
    depth: u8,
}

fn no_key(_: &str) -> Option<Key> {
    None
}

impl<'f, 'a> Walk<'f, 'a> {
    fn over(fields: &'f mut Fields<'a>) -> Walk<'f, 'a> {
        Walk {
            fields,
            key: None,
            keys: Key::of_record,
            depth: 0,
        }
    }

    fn inside<E: Error>(&mut self, key: Option<Key>) -> Result<Walk<'_, 'a>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("nested too deep"));
        }
        Ok(Walk {
            key,
            keys: match key {
                Some(Key::Alert) => Key::of_alert,
                Some(Key::PacketInfo) => Key::of_packet_info,
                Some(Key::Stats) => Key::of_stats,
                Some(Key::Detect) => Key::of_detect,
                Some(Key::Engines) => Key::of_engine,
                _ => no_key,
            },
            depth: self.depth + 1,
            fields: self.fields,
        })
    }

    fn set<E>(self, value: Value<'a>) -> Result<(), E> {
        if let Some(key) = self.key {
            self.fields.values[key as usize] = value;
        }
        Ok(())
    }

    fn is_other_record(&self) -> bool {
        match &self.fields.values[Key::EventType as usize] {
            Value::Text(kind) => !matches!(kind.as_ref(), "alert" | "stats"),
            _ => false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.set(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.key {
            Some(_) => self.set(Value::Text(Cow::Owned(text.to_owned()))),
            None => Ok(()),
        }
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.set(Value::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        // The engines are the one list whose objects have something that is wanted.
        let key = self.key.filter(|key| *key == Key::Engines);
        while list.next_element_seed(self.inside(key)?)?.is_some() {}
        self.set(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key_seed(Name(self.keys))? {
            match name {
                Named::Wanted(key) => object.next_value_seed(self.inside(Some(key))?)?,
                Named::Text => drop(object.next_value::<IgnoredAny>()?),
                Named::Unwanted => object.next_value_seed(self.inside(None)?)?,
            }
            if self.depth == 0 && self.is_other_record() {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        self.set(Value::Object)
    }
}

/// What a key's name means where it stands.
enum Named {
    Wanted(Key),
    /// Long, full of escapes, and the same as `payload`: not worth unescaping.
    Text,
    Unwanted,
}

struct Name(fn(&str) -> Option<Key>);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        Ok(match (self.0)(name) {
            Some(key) => Named::Wanted(key),
            None if name == "payload_printable" => Named::Text,
            None => Named::Unwanted,
        })
    }
}
