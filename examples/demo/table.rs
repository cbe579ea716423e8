//! Ten of the stored alerts, for the terminal.

use super::Result;
use flop::alert::Ids;

const MESSAGE_CHARS_SHOWN: usize = 40;

/// An alert as it is shown.
struct Alert {
    ids: &'static str,
    ip_version: Option<u8>,
    proto: Option<u8>,
    message: String,
    cells: [String; 6],
}

/// What the ten alerts should be: of each IDS, old and new IP, with and without ports.
const WISHES: [(&str, u8, u8); 10] = [
    ("Snort 2.9", 4, 6),
    ("Snort 2.9", 4, 1),
    ("Snort 3", 4, 17),
    ("Snort 3", 6, 6),
    ("Snort 3", 6, 58),
    ("barnyard2", 4, 6),
    ("barnyard2", 4, 17),
    ("Suricata", 4, 6),
    ("Suricata", 4, 17),
    ("Suricata", 6, 58),
];

pub(super) fn show_alerts(database: &rusqlite::Connection) -> Result<()> {
    let alerts = read_alerts(database)?;
    let mut shown: Vec<&Alert> = Vec::new();
    for wish in WISHES {
        let is_new = |alert: &&Alert| shown.iter().all(|other| other.message != alert.message);
        let fulfils = |alert: &&Alert| {
            (alert.ids, alert.ip_version, alert.proto) == (wish.0, Some(wish.1), Some(wish.2))
        };
        shown.extend(alerts.iter().filter(fulfils).find(is_new));
    }
    let head = ["time", "IDS", "rule", "protocol", "from and to", "message"].map(String::from);
    let lines: Vec<&[String; 6]> = std::iter::once(&head)
        .chain(shown.iter().map(|alert| &alert.cells))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
    Ok(())
}

fn read_alerts(database: &rusqlite::Connection) -> Result<Vec<Alert>> {
    let mut statement = database.prepare(
        "SELECT x.ids, a.ip_version, a.proto, a.message, a.timestamp, a.gid, a.sig_sid, a.rev, \
         a.src, a.sport, a.dst, a.dport \
         FROM alerts a JOIN flop_event x ON x.sid = a.sid AND x.cid = a.cid ORDER BY a.cid",
    )?;
    let alerts = statement.query_map([], |row| {
        let ids = Ids::from_number(row.get(0)?).map_or("?", Ids::name);
        let (proto, message): (Option<u8>, String) = (row.get(2)?, row.get(3)?);
        let timestamp: String = row.get(4)?;
        let [gid, sid, rev]: [u32; 3] = [row.get(5)?, row.get(6)?, row.get(7)?];
        let ends = [
            end(row.get(8)?, row.get(9)?),
            end(row.get(10)?, row.get(11)?),
        ];
        Ok(Alert {
            ids,
            ip_version: row.get(1)?,
            proto,
            cells: [
                timestamp.chars().take(19).collect(),
                ids.to_owned(),
                format!("{gid}:{sid}:{rev}"),
                proto.map_or(String::new(), protocol),
                ends.join(" -> "),
                message.chars().take(MESSAGE_CHARS_SHOWN).collect(),
            ],
            message,
        })
    })?;
    Ok(alerts.collect::<rusqlite::Result<_>>()?)
}

fn end(address: Option<String>, port: Option<u16>) -> String {
    match (address, port) {
        (None, _) => String::from("?"),
        (Some(address), None) => address,
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 => String::from("ICMP"),
        6 => String::from("TCP"),
        17 => String::from("UDP"),
        58 => String::from("ICMPv6"),
        other => other.to_string(),
    }
}
