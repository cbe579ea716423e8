//! `check` and `export`.

use super::*;
use crate::alert::{Alert, Flow, Ids, LINK_RAW, Packet, Payload, Transport};
use crate::wire::item::{Loss, put_alert, put_loss};
use serde_json::Value;
use std::os::unix::fs::FileExt;

/// An IPv4 UDP packet without link header: 20 + 8 + 3 bytes.
const PACKET: [u8; 31] = [
    0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IP
    0, 53, 4, 0, 0, 11, 0, 0, // UDP
    b'a', b'b', b'c',
];

fn alert(sid: u32) -> Alert<'static> {
    Alert {
        ids: Ids::Snort3,
        time_us: 1_760_000_000_000_000 + i64::from(sid),
        gid: 1,
        sid,
        rev: 2,
        class_id: Some(4),
        class_name: "".into(),
        priority: 3,
        event_id: Some(9),
        event_reference: None,
        message: b"message \xff".as_slice().into(),
        interface: "eth0".into(),
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
        packet: Some(Packet {
            time_us: 1_760_000_000_000_000,
            wire_bytes: 31,
            link: LINK_RAW,
            bytes: &PACKET,
            ip: Some(0),
            transport: Some(20),
        }),
        payload: Payload::InPacket {
            offset: 28,
            bytes: 3,
        },
        record: b"",
    }
}

/// Three alerts and a loss, of which the second alert is damaged.
fn spool() -> (TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&dir, &SMALL);
    let mut bytes = Vec::new();
    put_alert(&mut bytes, &alert(1));
    let second = bytes.len() as u64;
    put_alert(&mut bytes, &alert(2));
    let loss = Loss {
        count: 5,
        from_us: 0,
        to_us: 1,
        reason: "HighWater".into(),
    };
    put_loss(&mut bytes, &loss);
    put_alert(&mut bytes, &alert(3));
    spool.appender.append(1, &Chunk::of(bytes)).unwrap();
    spool.appender.sync().unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&spool.files()[0])
        .unwrap();
    file.write_all_at(b"damage", HEADER_BYTES + 2 * 16 + second + 50)
        .unwrap();
    (dir, spool)
}

#[test]
fn check_tells_what_is_there_also_of_a_spool_in_use_and_changes_nothing() {
    let (dir, spool) = spool();
    let path = dir.path().join("spool");
    let before = fs::read(&spool.files()[0]).unwrap();
    let found = check(&path).unwrap();
    assert!(
        found
            .owner
            .as_ref()
            .unwrap()
            .contains(&format!("process {}", std::process::id()))
    );
    assert_eq!(
        (found.alerts, found.loss_records, found.lost, found.unknown),
        (2, 1, 1, 0)
    );
    assert_eq!(found.oldest_us, Some(1_760_000_000_000_001));
    assert_eq!(found.newest_us, Some(1_760_000_000_000_003));
    assert_eq!((found.damage[0].first, found.damage[0].count), (2, 1));
    assert_eq!(found.torn, None);
    assert_eq!(fs::read(&spool.files()[0]).unwrap(), before);

    let file = spool.files()[0].clone();
    drop(spool);
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(before.len() as u64 - 1)
        .unwrap();
    let found = check(&path).unwrap();
    assert_eq!(
        (found.owner.as_ref(), found.alerts, found.lost),
        (None, 1, 1)
    );
    let text = found.to_string();
    assert!(
        text.contains("alerts:       1\n") && text.contains("  1 from number 2 on: "),
        "{text}"
    );
    assert!(text.contains("torn tail:    "), "{text}");
    assert!(check(dir.path().join("elsewhere").as_path()).is_err());
}

#[test]
fn export_writes_a_line_for_each_item() {
    let (dir, _spool) = spool();
    let mut out = Vec::new();
    let exported = export(&dir.path().join("spool"), &mut out).unwrap();
    assert_eq!(
        exported,
        Exported {
            alerts: 2,
            others: 2
        }
    );
    let lines: Vec<Value> = out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    let first = &lines[0];
    assert_eq!(
        (&first["number"], &first["sid"], &first["message"]),
        (&1.into(), &1.into(), &"message \u{fffd}".into())
    );
    assert_eq!(
        (&first["src"], &first["dport"], &first["icmp_type"]),
        (&"192.0.2.1".into(), &1024.into(), &Value::Null)
    );
    assert_eq!(
        (&first["payload"], &first["packet"]["wire_bytes"]),
        (&"YWJj".into(), &31.into())
    );
    assert_eq!(
        (&lines[1]["number"], &lines[1]["lost"], &lines[1]["reason"]),
        (&2.into(), &1.into(), &"damaged on disk".into())
    );
    assert_eq!(
        (&lines[2]["lost"], &lines[2]["reason"]),
        (&5.into(), &"HighWater".into())
    );
    assert_eq!(lines[3]["number"], 4);
}

#[test]
fn an_exported_alert_is_a_record_that_drop_reads() {
    let (dir, _spool) = spool();
    let mut out = Vec::new();
    export(&dir.path().join("spool"), &mut out).unwrap();
    let line = out.split(|byte| *byte == b'\n').next().unwrap();
    let crate::dropped::Told::Alert(record) = crate::dropped::read(line).unwrap() else {
        panic!("an alert");
    };
    assert_eq!(
        (record.sid, record.sport, record.proto),
        (Some(1), Some(53), Some(17))
    );
    assert_eq!(record.time_us(), Some(1_760_000_000_000_001));
}
