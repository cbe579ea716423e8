//! The classic tables, as BASE and Snorby read them.

use crate::database::{BOTH, Database};
use crate::expect::{self, Sender};
use crate::fixtures::{Row, datagrams, expected};
use crate::site::Site;
use std::net::IpAddr;

/// How many rows each table has of a sensor, from the columns of its capture's table.
pub(crate) fn rows_are_as_many_as_alerts_need(database: &Database, name: &str) {
    let sender = Sender::of(name);
    let rows = expected(name);
    let alerts: Vec<&Row> = rows
        .iter()
        .filter(|row| expect::is_alert(sender, row))
        .collect();
    let count = |is: &dyn Fn(&Row) -> bool| alerts.iter().filter(|row| is(row)).count();
    assert_rows(database, name, "event", alerts.len());
    assert_rows(database, name, "flop_event", alerts.len());
    if matches!(sender, Sender::Barnyard2 | Sender::Barnyard2Snort3) {
        return; // unified2 does not say which IP header there is, nor how much is left behind it.
    }
    let keys = Keys::of(sender);
    let is_version = |row: &Row, version| keys.version(row) == Some(version);
    let has_ports_of = |row: &Row, proto| keys.proto(row) == proto && keys.has_ports(row);
    assert_rows(database, name, "iphdr", count(&|row| is_version(row, 4)));
    assert_rows(
        database,
        name,
        "flop_ip6hdr",
        count(&|row| is_version(row, 6)),
    );
    assert_rows(database, name, "tcphdr", count(&|row| has_ports_of(row, 6)));
    assert_rows(
        database,
        name,
        "udphdr",
        count(&|row| has_ports_of(row, 17)),
    );
    assert_rows(database, name, "icmphdr", count(&|row| keys.has_icmp(row)));
    let has_payload = |row: &Row| expect::payload(sender, row).is_some_and(|(bytes, _)| bytes > 0);
    assert_rows(database, name, "data", count(&has_payload));
}

fn assert_rows(database: &Database, sensor: &str, table: &str, expected: usize) {
    let sql = format!(
        "SELECT count(*) FROM {table} t JOIN sensor n ON n.sid = t.sid WHERE n.hostname = '{sensor}'"
    );
    let expected = i64::try_from(expected).expect("a small number");
    assert_eq!(database.number(&sql), expected, "{table} of {sensor}");
}

/// The names of the columns that say the same in the tables of Snort and of Suricata.
struct Keys {
    src: &'static str,
    sport: &'static str,
}

impl Keys {
    fn of(sender: Sender) -> Keys {
        let (src, sport) = match sender {
            Sender::Suricata => ("src_ip", "src_port"),
            _ => ("src", "sport"),
        };
        Keys { src, sport }
    }

    fn version(&self, row: &Row) -> Option<u8> {
        let src: Option<IpAddr> = row.value(self.src);
        src.map(|src| if src.is_ipv4() { 4 } else { 6 })
    }

    /// 0 for what has no table.
    fn proto(&self, row: &Row) -> u8 {
        match row.text("proto").as_str() {
            "TCP" | "6" => 6,
            "UDP" | "17" => 17,
            _ => 0,
        }
    }

    fn has_ports(&self, row: &Row) -> bool {
        row.value::<u16>(self.sport).is_some()
    }

    fn has_icmp(&self, row: &Row) -> bool {
        row.value::<u8>("icmp_type").is_some()
    }
}

/// Rows of single alerts. The values were read by eye from the packets' bytes.
#[test]
fn header_fields_and_options_are_in_their_columns() {
    const ROWS: [(&str, &str, &[&str]); 13] = [
        (
            "FLOPT tcp syn with options",
            "SELECT ip_src, ip_dst, ip_ver, ip_hlen, ip_tos, ip_len, ip_id, ip_flags, ip_off, ip_ttl, ip_proto, ip_csum \
             FROM iphdr",
            &["3221225994|3325256724|4|5|0|60|1|0|0|63|6|36713"],
        ),
        (
            "FLOPT tcp syn with options",
            "SELECT tcp_sport, tcp_dport, tcp_seq, tcp_ack, tcp_off, tcp_res, tcp_flags, tcp_win, tcp_csum, tcp_urp \
             FROM tcphdr",
            &["40001|7001|1|0|10|0|2|8192|41424|0"],
        ),
        (
            "FLOPT tcp syn with options",
            "SELECT optid, opt_proto, opt_code, opt_len, opt_data FROM opt",
            &[
                "0|6|2|2|05B4",
                "1|6|4|0|",
                "2|6|8|8|0001E24000000000",
                "3|6|1|0|",
                "4|6|3|1|07",
            ],
        ),
        (
            "FLOPT tcp syn with options",
            "SELECT data_payload FROM data",
            &[],
        ),
        (
            "FLOPT dns query",
            "SELECT udp_sport, udp_dport, udp_len, udp_csum FROM udphdr",
            &["50053|53|41|62591"],
        ),
        (
            "FLOPT dns query",
            "SELECT data_payload FROM data",
            &["10920100000100000000000003777777076578616D706C6503636F6D0000010001"],
        ),
        (
            "FLOPT icmp echo",
            "SELECT icmp_type, icmp_code, icmp_csum, icmp_id, icmp_seq FROM icmphdr",
            &["8|0|19726|77|1"],
        ),
        (
            "FLOPT ip option record route",
            "SELECT ip_hlen, ip_len, ip_proto FROM iphdr",
            &["8|42|1"],
        ),
        (
            "FLOPT ip option record route",
            "SELECT optid, opt_proto, opt_code, opt_len, opt_data FROM opt",
            &["0|0|7|9|04C000020100000000"],
        ),
        (
            "FLOPT icmp6 echo",
            "SELECT src, dst, traffic_class, flow_label, length, next_header, hop_limit, proto FROM flop_ip6hdr",
            &["2001:db8:1::10|2001:db8:2::20|0|0|16|58|64|58"],
        ),
        (
            "FLOPT icmp6 echo",
            "SELECT icmp_type, icmp_code, icmp_csum, icmp_id, icmp_seq FROM icmphdr",
            &["128|0|47947|7|1"],
        ),
        ("FLOPT icmp6 echo", "SELECT ip_src FROM iphdr", &[]),
        (
            "FLOPT icmp6 echo",
            "SELECT data_payload FROM data",
            &["70696E6720736978"],
        ),
    ];
    for kind in BOTH {
        let site = Site::new(kind);
        let name = "snort3-unixsock-own";
        site.ids_sends(datagrams(name));
        site.database.has_alerts(expected(name).len());
        for (message, select, rows) in ROWS {
            assert_eq!(
                rows_of(&site.database, message, select),
                rows,
                "{message}: {select}"
            );
        }
        let signature = "SELECT sig_gid, sig_sid, sig_rev, sig_priority FROM signature \
                         WHERE sig_name = 'FLOPT tcp syn with options'";
        assert_eq!(lines(&site.database, signature), ["1|1000001|1|2"]);
        let sensor = "SELECT hostname, interface, last_cid FROM sensor";
        assert_eq!(lines(&site.database, sensor), ["sensor||183"]);
        assert_eq!(lines(&site.database, "SELECT vseq FROM schema"), ["107"]);
    }
}

/// The class's name is known where the IDS tells it: Suricata.
#[test]
fn categories_of_suricata_become_classes() {
    for kind in BOTH {
        let site = Site::new(kind);
        let name = "suricata7-eve-dgram-own";
        let rows = expected(name);
        let alerts: Vec<&Row> = rows
            .iter()
            .filter(|row| expect::is_alert(Sender::Suricata, row))
            .collect();
        site.ids_sends(datagrams(name));
        site.database.has_alerts(alerts.len());
        let mut classes: Vec<String> = alerts.iter().map(|row| row.text("category")).collect();
        classes.sort();
        classes.dedup();
        classes.retain(|class| !class.is_empty());
        let mut stored = lines(&site.database, "SELECT sig_class_name FROM sig_class");
        stored.sort();
        assert_eq!(stored, classes);
    }
}

/// The rows of the first alert with this message.
fn rows_of(database: &Database, message: &str, select: &str) -> Vec<String> {
    let order = match select.contains("optid") {
        true => " ORDER BY optid",
        false => "",
    };
    lines(
        database,
        &format!(
            "{select} WHERE cid = (SELECT min(e.cid) FROM event e JOIN signature s ON s.sig_id = e.signature \
             WHERE s.sig_name = '{message}'){order}"
        ),
    )
}

/// The columns of each row with `|` between them; NULL is empty.
fn lines(database: &Database, sql: &str) -> Vec<String> {
    let rows = database.query(sql);
    let line = |row: &Vec<Option<String>>| {
        let cells: Vec<&str> = row
            .iter()
            .map(|cell| cell.as_deref().unwrap_or(""))
            .collect();
        cells.join("|")
    };
    rows.iter().map(line).collect()
}
