//! The JSON record of a dropped alert: sockserv writes it, `drop` reads it, and so may any other program.

#![forbid(unsafe_code)]

use crate::alert::SensorName;
use crate::alert::{Alert, Transport};
use crate::calendar::iso8601;
use serde::Serialize;
use std::borrow::Cow;

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
    }
}
