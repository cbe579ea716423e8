//! The JSON record of a dropped alert: sockserv writes it, `drop` reads it, and so may any other program. servsock
//! writes the same for an important alert, with the numbers it has in the database (`sensor_sid`, `cid`), for `alert`.

#![forbid(unsafe_code)]

use crate::alert::SensorName;
use crate::alert::{Alert, Transport};
use crate::calendar::iso8601;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A record is some hundred bytes; a longer one is refused.
pub const RECORD_BYTES_MAX: usize = 16 << 10;
/// Of a message is kept what a person reads; Snort's are at most 255 bytes, Suricata's may be longer.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Of names, addresses and reasons.
const NAME_BYTES_MAX: usize = 256;

/// One dropped alert. `null` where the alert does not tell.
#[derive(Debug, Serialize)]
pub struct Dropped<'a> {
    sensor: &'a str,
    interface: &'a str,
    time: String,
    gid: u32,
    sid: u32,
    rev: u32,
    priority: u32,
    message: Cow<'a, str>,
    src: Option<String>,
    sport: Option<u16>,
    dst: Option<String>,
    dport: Option<u16>,
    proto: Option<u8>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor_sid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<i64>,
}

impl<'a> Dropped<'a> {
    /// The record of `alert`, which `sensor` dropped for `reason`.
    pub fn new(alert: &'a Alert<'_>, sensor: &'a SensorName, reason: &'a str) -> Dropped<'a> {
        let ports = match alert.flow.map(|flow| flow.transport) {
            Some(Transport::Ports {
                source,
                destination,
            }) => Some((source, destination)),
            _ => None,
        };
        Dropped {
            sensor: &sensor.name,
            interface: match alert.interface.as_ref() {
                "" => &sensor.interface,
                interface => interface,
            },
            time: iso8601(alert.time_us),
            gid: alert.gid,
            sid: alert.sid,
            rev: alert.rev,
            priority: alert.priority,
            message: alert.message_text(),
            src: alert.flow.map(|flow| flow.src.to_string()),
            sport: ports.map(|(source, _)| source),
            dst: alert.flow.map(|flow| flow.dst.to_string()),
            dport: ports.map(|(_, destination)| destination),
            proto: alert.flow.map(|flow| flow.proto),
            reason,
            sensor_sid: None,
            cid: None,
        }
    }

    /// The same of an alert that was not dropped but stored, under these numbers as far as they are known.
    pub fn stored_as(self, sensor_sid: i64, cid: Option<i64>) -> Dropped<'a> {
        Dropped {
            sensor_sid: Some(sensor_sid),
            cid,
            ..self
        }
    }

    /// One line of JSON, without newline.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always become JSON")
    }
}

/// The record for alerts that could not be told one by one.
pub fn summary(count: u64, sensor: &SensorName, reason: &str) -> String {
    serde_json::json!({
        "dropped": count,
        "sensor": sensor.name,
        "interface": sensor.interface,
        "reason": reason,
    })
    .to_string()
}

/// A record as it was read: of an alert, or of many that could not be told one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// One alert.
    Alert(Box<Record>),
    /// A count.
    Summary(Summary),
}

/// One alert as it was read. `None` where the record does not tell; texts are cut to what a person reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Record {
    /// Name of the sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// Where its IDS sniffs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// ISO 8601, if the writer was ours.
    pub time: Option<String>,
    /// Generator.
    pub gid: Option<u32>,
    /// The rule's number.
    pub sid: Option<u32>,
    /// Revision.
    pub rev: Option<u32>,
    /// 1 is the most important; 0 is none.
    pub priority: Option<u32>,
    /// The rule's text.
    pub message: Option<String>,
    /// Source address.
    pub src: Option<String>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: Option<String>,
    /// Destination port.
    pub dport: Option<u16>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Why it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The sensor's number in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_sid: Option<u64>,
    /// The alert's number in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<u64>,
}

/// Alerts that could not be told one by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct Summary {
    /// How many.
    pub dropped: u64,
    /// Name of the sensor.
    #[serde(default)]
    pub sensor: Option<String>,
    /// Where its IDS sniffs.
    #[serde(default)]
    pub interface: Option<String>,
    /// Why they were dropped.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Why a datagram is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a record. Fields that are missing or `null` are not known, fields of other names are left out; a field of a
/// wrong type, or a number that does not fit it, refuses the record.
///
/// # Errors
///
/// It is too long, no JSON object, or says neither which rule nor how many.
pub fn read(datagram: &[u8]) -> Result<Told, Unreadable> {
    /// Only which of the two it is.
    #[derive(Deserialize)]
    struct Kind {
        dropped: Option<serde::de::IgnoredAny>,
    }
    let unreadable = |error: serde_json::Error| Unreadable(error.to_string());
    if datagram.len() > RECORD_BYTES_MAX {
        let bytes = datagram.len();
        let reason = format!("it has {bytes} bytes, a record has at most {RECORD_BYTES_MAX}");
        return Err(Unreadable(reason));
    }
    if datagram.trim_ascii_start().first() != Some(&b'{') {
        return Err(Unreadable("it is no JSON object".to_owned()));
    }
    let kind: Kind = serde_json::from_slice(datagram).map_err(unreadable)?;
    if kind.dropped.is_some() {
        let mut summary: Summary = serde_json::from_slice(datagram).map_err(unreadable)?;
        let names = [
            &mut summary.sensor,
            &mut summary.interface,
            &mut summary.reason,
        ];
        names.into_iter().for_each(|name| cut(name, NAME_BYTES_MAX));
        return Ok(Told::Summary(summary));
    }
    let mut record: Record = serde_json::from_slice(datagram).map_err(unreadable)?;
    if record.sid.is_none() && record.message.is_none() {
        return Err(Unreadable(
            "it has neither sid nor message nor dropped".to_owned(),
        ));
    }
    record.cut();
    Ok(Told::Alert(Box::new(record)))
}

impl Record {
    /// One line of JSON, without newline.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always become JSON")
    }

    /// Microseconds since 1970, where its time is one.
    pub fn time_us(&self) -> Option<i64> {
        let time: jiff::Timestamp = self.time.as_ref()?.parse().ok()?;
        Some(time.as_microsecond())
    }

    /// Memory it takes, at most.
    pub fn bytes(&self) -> usize {
        let texts = self
            .texts()
            .map(|text| text.as_ref().map_or(0, String::capacity));
        size_of::<Record>() + texts.iter().sum::<usize>()
    }

    fn texts(&self) -> [&Option<String>; 7] {
        let names = [&self.sensor, &self.interface, &self.time, &self.message];
        let [sensor, interface, time, message] = names;
        [
            sensor,
            interface,
            time,
            message,
            &self.src,
            &self.dst,
            &self.reason,
        ]
    }

    fn cut(&mut self) {
        cut(&mut self.message, MESSAGE_BYTES_MAX);
        let names = [&mut self.sensor, &mut self.interface, &mut self.time];
        names.into_iter().for_each(|name| cut(name, NAME_BYTES_MAX));
        let names = [&mut self.src, &mut self.dst, &mut self.reason];
        names.into_iter().for_each(|name| cut(name, NAME_BYTES_MAX));
    }
}

impl Summary {
    /// One line of JSON, without newline.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always become JSON")
    }
}

fn cut(text: &mut Option<String>, bytes_max: usize) {
    if let Some(text) = text {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Flow, Ids, Payload};

    #[test]
    fn a_record_has_these_fields() {
        let alert = Alert {
            ids: Ids::Snort3,
            time_us: 1_760_000_000_100_003,
            gid: 1,
            sid: 4_294_967_295,
            rev: 2,
            class_id: Some(1),
            class_name: "".into(),
            priority: 3,
            event_id: None,
            event_reference: None,
            message: Cow::Borrowed(b"a \"quote\"\xff"),
            interface: "".into(),
            action: "".into(),
            app_proto: "".into(),
            flow: Some(Flow {
                src: [192, 0, 2, 1].into(),
                dst: [192, 0, 2, 2].into(),
                proto: 17,
                transport: Transport::Ports {
                    source: 53,
                    destination: 1024,
                },
            }),
            packet: None,
            payload: Payload::None,
            record: b"",
        };
        let sensor = SensorName {
            name: "s1".into(),
            interface: "eth0".into(),
        };
        let json = Dropped::new(&alert, &sensor, "HighWater").json();
        assert_eq!(
            json,
            "{\"sensor\":\"s1\",\"interface\":\"eth0\",\"time\":\"2025-10-09T08:53:20.100003Z\",\"gid\":1,\
             \"sid\":4294967295,\"rev\":2,\"priority\":3,\"message\":\"a \\\"quote\\\"\u{fffd}\",\
             \"src\":\"192.0.2.1\",\"sport\":53,\"dst\":\"192.0.2.2\",\"dport\":1024,\"proto\":17,\
             \"reason\":\"HighWater\"}"
        );
        let stored = |cid| Dropped::new(&alert, &sensor, "x").stored_as(3, cid).json();
        assert!(stored(Some(9)).ends_with(r#","reason":"x","sensor_sid":3,"cid":9}"#));
        assert!(stored(None).ends_with(r#","reason":"x","sensor_sid":3}"#));
    }

    fn alert(json: &str) -> Record {
        match read(json.as_bytes()) {
            Ok(Told::Alert(record)) => *record,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let json = r#"{"sensor":"s1","interface":"eth0","time":"2025-10-09T08:53:20.100003Z","gid":1,"sid":4294967295,"rev":2,"priority":3,"message":"a","src":"192.0.2.1","sport":53,"dst":"192.0.2.2","dport":1024,"proto":17,"reason":"HighWater"}"#;
        assert_eq!(alert(json).json(), json);
        assert_eq!(alert(json).time_us(), Some(1_760_000_000_100_003));
        let sensor = SensorName {
            name: "s1".into(),
            interface: "eth0".into(),
        };
        let expected = Summary {
            dropped: 7,
            sensor: Some("s1".into()),
            interface: Some("eth0".into()),
            reason: Some("HighWater".into()),
        };
        let summary = summary(7, &sensor, "HighWater");
        assert_eq!(read(summary.as_bytes()), Ok(Told::Summary(expected)));
    }

    #[test]
    fn what_is_missing_null_or_unknown_does_no_harm() {
        let record = alert(
            r#" {"sid": 1, "src": null, "colour": {"red": [1]}, "sensor_sid": 3, "cid": 99} "#,
        );
        assert_eq!(
            (record.sid, record.sensor_sid, record.cid),
            (Some(1), Some(3), Some(99))
        );
        assert_eq!((record.time_us(), record.src), (None, None));
    }

    #[test]
    fn hostile_datagrams_are_refused() {
        let long = format!(
            r#"{{"sid":1,"message":"{}"}}"#,
            "x".repeat(RECORD_BYTES_MAX)
        );
        let deep = format!(r#"{{"sid":1,"x":{}"#, "[".repeat(8000));
        for datagram in [
            "",
            "{",
            "[]",
            "null",
            "7",
            "{}",
            r#"{"sid":"1"}"#,
            r#"{"sid":4294967296}"#,
            r#"{"sid":-1}"#,
            r#"{"sid":1e400}"#,
            r#"{"sid":1,"sid":2}"#,
            r#"{"sid":1,"sport":65536}"#,
            r#"{"sid":1} {"sid":2}"#,
            r#"{"dropped":-1}"#,
            r#"{"dropped":"many"}"#,
            r#"{"sid":1,"message":7}"#,
            &long,
            &deep,
        ] {
            assert!(read(datagram.as_bytes()).is_err(), "{:.40}", datagram);
        }
        assert!(read(b"{\"sid\":1,\"message\":\"\xff\"}").is_err());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let record = alert(&format!(r#"{{"message":"{}"}}"#, "\u{20ac}".repeat(1000)));
        assert_eq!(record.message.unwrap().len(), 1023);
    }
}
