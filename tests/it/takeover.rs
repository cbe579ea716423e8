//! A database as barnyard2 and BASE made and filled it: servsock takes it over, and they find everything again.

use crate::database::{BOTH, Database, Kind};
use crate::serial;
use crate::site::Site;

/// As in barnyard2's `create_postgresql` and BASE's `create_base_tbls_pgsql.sql`. SQLite takes the same statements.
const TABLES: &str = "
    CREATE TABLE schema (vseq INT4 NOT NULL, ctime {timestamp} NOT NULL, PRIMARY KEY (vseq));
    CREATE TABLE signature (sig_id {serial} NOT NULL, sig_name TEXT NOT NULL, sig_class_id INT8, sig_priority INT8,
        sig_rev INT8, sig_sid INT8, sig_gid INT8, PRIMARY KEY (sig_id));
    CREATE INDEX sig_name_idx ON signature (sig_name);
    CREATE INDEX sig_class_idx ON signature (sig_class_id);
    CREATE TABLE sig_reference (sig_id INT4 NOT NULL, ref_seq INT4 NOT NULL, ref_id INT4 NOT NULL,
        PRIMARY KEY (sig_id, ref_seq));
    CREATE TABLE reference (ref_id {serial} NOT NULL, ref_system_id INT4 NOT NULL, ref_tag TEXT NOT NULL,
        PRIMARY KEY (ref_id));
    CREATE TABLE reference_system (ref_system_id {serial} NOT NULL, ref_system_name TEXT, PRIMARY KEY (ref_system_id));
    CREATE TABLE sig_class (sig_class_id {serial} NOT NULL, sig_class_name TEXT NOT NULL, PRIMARY KEY (sig_class_id));
    CREATE INDEX sig_class_name_idx ON sig_class (sig_class_name);
    CREATE TABLE event (sid INT4 NOT NULL, cid INT8 NOT NULL, signature INT4 NOT NULL, timestamp {timestamp} NOT NULL,
        PRIMARY KEY (sid, cid));
    CREATE INDEX signature_idx ON event (signature);
    CREATE INDEX timestamp_idx ON event (timestamp);
    CREATE TABLE sensor (sid {serial} NOT NULL, hostname TEXT, interface TEXT, filter TEXT, detail INT2, encoding INT2,
        last_cid INT8 NOT NULL, PRIMARY KEY (sid));
    CREATE TABLE iphdr (sid INT4 NOT NULL, cid INT8 NOT NULL, ip_src INT8 NOT NULL, ip_dst INT8 NOT NULL, ip_ver INT2,
        ip_hlen INT2, ip_tos INT2, ip_len INT4, ip_id INT4, ip_flags INT2, ip_off INT4, ip_ttl INT2,
        ip_proto INT2 NOT NULL, ip_csum INT4, PRIMARY KEY (sid, cid));
    CREATE TABLE tcphdr (sid INT4 NOT NULL, cid INT8 NOT NULL, tcp_sport INT4 NOT NULL, tcp_dport INT4 NOT NULL,
        tcp_seq INT8, tcp_ack INT8, tcp_off INT2, tcp_res INT2, tcp_flags INT2 NOT NULL, tcp_win INT4, tcp_csum INT4,
        tcp_urp INT4, PRIMARY KEY (sid, cid));
    CREATE TABLE udphdr (sid INT4 NOT NULL, cid INT8 NOT NULL, udp_sport INT4 NOT NULL, udp_dport INT4 NOT NULL,
        udp_len INT4, udp_csum INT4, PRIMARY KEY (sid, cid));
    CREATE TABLE icmphdr (sid INT4 NOT NULL, cid INT8 NOT NULL, icmp_type INT2 NOT NULL, icmp_code INT2 NOT NULL,
        icmp_csum INT4, icmp_id INT4, icmp_seq INT4, PRIMARY KEY (sid, cid));
    CREATE TABLE opt (sid INT4 NOT NULL, cid INT8 NOT NULL, optid INT2 NOT NULL, opt_proto INT2 NOT NULL,
        opt_code INT2 NOT NULL, opt_len INT4, opt_data TEXT, PRIMARY KEY (sid, cid, optid));
    CREATE TABLE data (sid INT4 NOT NULL, cid INT8 NOT NULL, data_payload TEXT, PRIMARY KEY (sid, cid));
    CREATE TABLE encoding (encoding_type INT2 NOT NULL, encoding_text TEXT NOT NULL, PRIMARY KEY (encoding_type));
    CREATE TABLE detail (detail_type INT2 NOT NULL, detail_text TEXT NOT NULL, PRIMARY KEY (detail_type));
    CREATE TABLE acid_event (sid INT4 NOT NULL, cid INT8 NOT NULL, signature INT4 NOT NULL, sig_name TEXT,
        sig_class_id INT8, sig_priority INT8, timestamp {timestamp} NOT NULL, ip_src INT8, ip_dst INT8, ip_proto INT4,
        layer4_sport INT4, layer4_dport INT4, PRIMARY KEY (sid, cid));
    CREATE TABLE acid_ag (ag_id {serial} NOT NULL, ag_name TEXT, ag_desc TEXT, ag_ctime {timestamp},
        ag_ltime {timestamp}, PRIMARY KEY (ag_id));
    CREATE TABLE acid_ag_alert (ag_id INT4 NOT NULL, ag_sid INT4 NOT NULL, ag_cid INT8 NOT NULL,
        PRIMARY KEY (ag_id, ag_sid, ag_cid));
    CREATE TABLE acid_ip_cache (ipc_ip INT8 NOT NULL, ipc_fqdn TEXT, ipc_dns_timestamp {timestamp}, ipc_whois TEXT,
        ipc_whois_timestamp {timestamp}, PRIMARY KEY (ipc_ip));
    CREATE TABLE base_roles (role_id INT4 NOT NULL, role_name VARCHAR(20) NOT NULL, role_desc VARCHAR(75) NOT NULL,
        PRIMARY KEY (role_id));
    CREATE TABLE base_users (usr_id INT4 NOT NULL, usr_login VARCHAR(25) NOT NULL, usr_pwd VARCHAR(32) NOT NULL,
        usr_name VARCHAR(75) NOT NULL, role_id INT4 NOT NULL, usr_enabled INT4 NOT NULL, PRIMARY KEY (usr_id));
";

/// Two sensors, and of the second four events: TCP with an option, UDP, ICMP, and one without a packet. barnyard2 was
/// killed before it wrote the last cid down.
const ROWS: &str = "
    INSERT INTO schema VALUES (107, '2009-01-01 00:00:00');
    INSERT INTO encoding VALUES (0, 'hex'), (1, 'base64'), (2, 'ascii');
    INSERT INTO detail VALUES (0, 'fast'), (1, 'full');
    INSERT INTO sensor VALUES (1, 'south', 'eth0', NULL, 1, 0, 9), (2, 'sensor', 'eth1', NULL, 1, 0, 40);
    INSERT INTO sig_class VALUES (1, 'attempted-recon'), (2, 'misc-activity');
    INSERT INTO signature VALUES (1, 'ICMP PING', 2, 3, 5, 384, 1), (2, 'serial', 2, 3, 1, 1000001, 1),
        (3, 'old rule', 1, 1, NULL, 77, NULL);
    INSERT INTO reference_system VALUES (1, 'cve'), (2, 'url');
    INSERT INTO reference VALUES (1, 1, '2009-0001'), (2, 2, 'www.example.com');
    INSERT INTO sig_reference VALUES (3, 1, 1), (3, 2, 2);
    INSERT INTO event VALUES (1, 9, 3, '2009-07-01 11:00:00'), (2, 40, 3, '2009-07-01 12:00:00'),
        (2, 41, 3, '2009-07-01 12:00:01'), (2, 42, 1, '2009-07-01 12:00:02'), (2, 43, 2, '2009-07-01 12:00:03');
    INSERT INTO iphdr VALUES (2, 40, 3221225985, 4294967295, 4, 5, 0, 40, 1, 0, 0, 64, 6, 0),
        (2, 41, 3221225985, 3325256705, 4, 5, 0, 40, 1, 0, 0, 64, 17, 0),
        (2, 42, 3221225985, 3325256705, 4, 5, 0, 40, 1, 0, 0, 64, 1, 0);
    INSERT INTO tcphdr VALUES (2, 40, 99, 100, 1, 2, 6, 0, 24, 1, 2, 3);
    INSERT INTO opt VALUES (2, 40, 0, 6, 2, 2, '05B4');
    INSERT INTO udphdr VALUES (2, 41, 53, 1024, 20, 7);
    INSERT INTO icmphdr VALUES (2, 42, 8, 0, 1, 2, 3);
    INSERT INTO data VALUES (2, 40, '4142'), (2, 41, '');
    INSERT INTO acid_event VALUES (1, 9, 3, 'old rule', 1, 1, '2009-07-01 11:00:00', NULL, NULL, NULL, NULL, NULL),
        (2, 40, 3, 'old rule', 1, 1, '2009-07-01 12:00:00', 3221225985, 4294967295, 6, 99, 100);
    INSERT INTO acid_ag VALUES (1, 'case 1', 'to be looked at', '2009-07-02 00:00:00', '2009-07-02 00:00:00');
    INSERT INTO acid_ag_alert VALUES (1, 2, 40);
    INSERT INTO acid_ip_cache VALUES (3221225985, 'host.example.com', '2009-07-02 00:00:00', NULL, NULL);
    INSERT INTO base_roles VALUES (1, 'Admin', 'Administrator'), (10, 'User', 'Standard user');
    INSERT INTO base_users VALUES (1, 'admin', '21232f297a57a5a743894a0e4a801fc3', 'The administrator', 1, 1);
";

/// All rows of which none may change or go. Of ours, `event` and the headers get more, and `sensor` a new last cid.
const KEPT: [&str; 24] = [
    "SELECT vseq, ctime FROM schema",
    "SELECT * FROM encoding ORDER BY 1",
    "SELECT * FROM detail ORDER BY 1",
    "SELECT * FROM sensor WHERE sid = 1",
    "SELECT sid, hostname, interface, filter, detail, encoding FROM sensor ORDER BY 1",
    "SELECT * FROM signature WHERE sig_id <= 3 ORDER BY 1",
    "SELECT * FROM sig_class ORDER BY 1",
    "SELECT * FROM reference_system ORDER BY 1",
    "SELECT * FROM reference ORDER BY 1",
    "SELECT * FROM sig_reference ORDER BY 1, 2",
    "SELECT * FROM event WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM iphdr WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM tcphdr WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM udphdr WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM icmphdr WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM opt WHERE cid <= 43 ORDER BY 1, 2, 3",
    "SELECT * FROM data WHERE cid <= 43 ORDER BY 1, 2",
    "SELECT * FROM acid_event ORDER BY 1, 2",
    "SELECT * FROM acid_ag ORDER BY 1",
    "SELECT * FROM acid_ag_alert ORDER BY 1, 2, 3",
    "SELECT * FROM acid_ip_cache ORDER BY 1",
    "SELECT * FROM base_roles ORDER BY 1",
    "SELECT * FROM base_users ORDER BY 1",
    "SELECT count(*) FROM sensor",
];

fn fill(database: &Database, kind: Kind) {
    let (serial, timestamp) = match kind {
        Kind::Sqlite => ("INTEGER", "DATETIME"),
        Kind::Postgres => ("SERIAL", "TIMESTAMP WITH TIME ZONE"),
    };
    let tables = TABLES
        .replace("{serial}", serial)
        .replace("{timestamp}", timestamp);
    database.execute(&tables);
    database.execute(ROWS);
    if kind == Kind::Postgres {
        database.execute(
            "SELECT setval('sensor_sid_seq', 2), setval('signature_sig_id_seq', 3),
                 setval('sig_class_sig_class_id_seq', 2), setval('reference_ref_id_seq', 2),
                 setval('reference_system_ref_system_id_seq', 2), setval('acid_ag_ag_id_seq', 1)",
        );
    }
}

fn kept(database: &Database) -> Vec<Vec<String>> {
    KEPT.map(|sql| database.lines(sql)).to_vec()
}

/// The serial alert, of another rule that has a class.
fn of_a_class(serial: u32) -> Vec<u8> {
    let alert = String::from_utf8(serial::alert(serial)).expect("ASCII");
    let rule = "\"signature\":\"a new rule\",\"category\":\"attempted-recon\"";
    alert.replace("\"signature\":\"serial\"", rule).into_bytes()
}

#[test]
fn a_database_of_barnyard2_and_base_is_taken_over() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        fill(&site.database, kind);
        let before = kept(&site.database);
        site.start_servsock();
        site.start_sockserv_with(&["-I", "eth1"]);
        site.ids_sends(serial::alerts(1..=2));
        site.ids_sends([of_a_class(3)]);
        site.sockserv()
            .says("the first alert is in the database: sid 2, cid 44");
        site.database.has_alerts(8);
        site.stop();
        site.start_servsock();
        site.start_sockserv_with(&["-I", "eth1"]);
        site.ids_sends(serial::alerts(4..=4));
        site.database.has_alerts(9);
        site.stop();
        for (number, sql) in KEPT.into_iter().enumerate() {
            assert_eq!(site.database.lines(sql), before[number], "{kind:?}: {sql}");
        }
        assert_eq!(
            site.database
                .lines("SELECT sid, cid, signature FROM event WHERE cid > 43 ORDER BY sid, cid"),
            ["2|44|2", "2|45|2", "2|46|4", "2|47|2"],
            "cids go on, signatures are found again"
        );
        assert_eq!(
            site.database
                .lines("SELECT sig_name, sig_class_id FROM signature WHERE sig_id > 3"),
            ["a new rule|1"]
        );
        let last = "SELECT last_cid FROM sensor WHERE sid = 2";
        assert_eq!(site.database.number(last), 47);
        let instant = site.database.instant("timestamp");
        assert_eq!(
            site.database.lines(
                "SELECT cid, sensor, interface, gid, sig_sid, rev, priority, message, src, dst, proto, sport, dport,
                 icmp_type, icmp_code, payload_len, payload FROM alerts WHERE cid <> 45 ORDER BY sid, cid"
            ),
            [
                "9|south|eth0|1|77|0|1|old rule|-|-|-|-|-|-|-|-|-",
                "40|sensor|eth1|1|77|0|1|old rule|192.0.2.1|255.255.255.255|6|99|100|-|-|2|4142",
                "41|sensor|eth1|1|77|0|1|old rule|192.0.2.1|198.51.100.1|17|53|1024|-|-|0|",
                "42|sensor|eth1|1|384|5|3|ICMP PING|192.0.2.1|198.51.100.1|1|-|-|8|0|-|-",
                "43|sensor|eth1|1|1000001|1|3|serial|-|-|-|-|-|-|-|-|-",
                "44|sensor|eth1|1|1000001|1|3|serial|10.0.0.1|192.0.2.1|6|1024|80|-|-|-|-",
                "46|sensor|eth1|1|1000001|1|3|a new rule|10.0.0.3|192.0.2.1|6|1024|80|-|-|-|-",
                "47|sensor|eth1|1|1000001|1|3|serial|10.0.0.4|192.0.2.1|6|1024|80|-|-|-|-",
            ]
        );
        let new = format!("SELECT {instant} FROM alerts WHERE cid = 44");
        assert_eq!(site.database.lines(&new), ["2026-11-21T03:22:52.000000Z"]);
    }
}
