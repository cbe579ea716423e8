//! Databases which other programs have made and filled.

#![forbid(unsafe_code)]

use super::*;

/// The tables as barnyard2's `create_postgresql` has them, as far as they matter here; and in types which old
/// installations have: `int4` numbers, `varchar`, times without time zone. SQLite takes the same statements.
pub(super) fn classic_tables(site: &Site, number: &str, message: &str, timestamp: &str) {
    let serial = if site.is_sqlite() {
        "INTEGER"
    } else {
        "SERIAL"
    };
    site.execute(&format!(
        "CREATE TABLE schema (vseq INT NOT NULL, ctime {timestamp} NOT NULL, PRIMARY KEY (vseq));
         CREATE TABLE sensor (sid {serial} NOT NULL, hostname TEXT, interface TEXT, filter TEXT, detail SMALLINT,
             encoding SMALLINT, last_cid {number} NOT NULL, PRIMARY KEY (sid));
         CREATE TABLE event (sid INT NOT NULL, cid {number} NOT NULL, signature INT NOT NULL,
             timestamp {timestamp} NOT NULL, PRIMARY KEY (sid, cid));
         CREATE TABLE signature (sig_id {serial} NOT NULL, sig_name {message} NOT NULL, sig_class_id INT,
             sig_priority INT, sig_rev {number}, sig_sid {number}, sig_gid {number}, PRIMARY KEY (sig_id));
         CREATE TABLE sig_class (sig_class_id {serial} NOT NULL, sig_class_name TEXT NOT NULL,
             PRIMARY KEY (sig_class_id));
         CREATE TABLE iphdr (sid INT NOT NULL, cid {number} NOT NULL, ip_src BIGINT NOT NULL,
             ip_dst BIGINT NOT NULL, ip_ver INT, ip_hlen INT, ip_tos INT, ip_len INT, ip_id INT, ip_flags INT,
             ip_off INT, ip_ttl INT, ip_proto INT NOT NULL, ip_csum INT, PRIMARY KEY (sid, cid));
         CREATE TABLE tcphdr (sid INT NOT NULL, cid {number} NOT NULL, tcp_sport INT NOT NULL, tcp_dport INT NOT NULL,
             tcp_seq BIGINT, tcp_ack BIGINT, tcp_off INT, tcp_res INT, tcp_flags INT NOT NULL, tcp_win INT,
             tcp_csum INT, tcp_urp INT, PRIMARY KEY (sid, cid));
         CREATE TABLE data (sid INT NOT NULL, cid {number} NOT NULL, data_payload TEXT, data_header TEXT,
             PRIMARY KEY (sid, cid));
         INSERT INTO schema VALUES (107, '2009-01-01 00:00:00');
         INSERT INTO sensor VALUES (1, 'south', 'eth0', NULL, 1, 0, 9), (2, 'north', 'eth0', NULL, 1, 1, 70),
             (3, 'north', 'eth0', NULL, 1, 0, 40);
         INSERT INTO sig_class VALUES (1, 'attempted-recon');
         INSERT INTO signature VALUES (1, 'ET TEST rule', 1, 2, 3, 2000001, 1), (2, 'ET TEST rule', 1, 2, 3, 2000001, 1),
             (3, 'old rule', 1, 1, NULL, 77, NULL);
         INSERT INTO event VALUES (3, 40, 1, '2009-07-01 12:00:00'), (3, 41, 3, '2009-07-01 12:00:01');
         INSERT INTO iphdr VALUES (3, 41, 3221225985, 4294967295, 4, 5, 0, 40, 1, 0, 0, 64, 6, 0);
         INSERT INTO tcphdr VALUES (3, 41, 99, 100, 1, 2, 5, 0, 24, 1, 2, 3);
         INSERT INTO data (sid, cid, data_payload) VALUES (3, 41, '4142');",
    ));
    if !site.is_sqlite() {
        site.execute(
            "SELECT setval('sensor_sid_seq', 3), setval('signature_sig_id_seq', 3), setval('sig_class_sig_class_id_seq', 1)",
        );
    }
}

fn is_taken_over(site: &Site) {
    let mut store = site.store();
    store.check().unwrap();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    assert_eq!(stream.sid, 3);
    let items = [
        Item::Alert(Alert {
            flow: flow(SRC, DST, 6, ports(1, 2)),
            ..alert()
        }),
        Item::Alert(Alert {
            gid: 1,
            sid: 77,
            rev: 0,
            priority: 1,
            message: b"old rule".as_slice().into(),
            ..alert()
        }),
        Item::Alert(Alert {
            class_name: "attempted-recon".into(),
            ..alert()
        }),
        Item::Alert(Alert {
            class_name: "new class".into(),
            ..alert()
        }),
        Item::Alert(Alert {
            sid: 78,
            message: b"a rule with a message of more than forty bytes"
                .as_slice()
                .into(),
            ..alert()
        }),
        Item::Alert(Alert {
            sid: 78,
            message: b"a rule with a message of more than forty bytes"
                .as_slice()
                .into(),
            ..alert()
        }),
    ];
    let stored = write(&mut *store, &stream, 0, &items).unwrap();
    assert_eq!(
        stored,
        Stored {
            first_cid: 42,
            last_cid: 47
        }
    );
    assert_eq!(
        site.rows("SELECT signature FROM event WHERE cid >= 42 ORDER BY cid")
            .join(" "),
        "1 3 1 4 5 5"
    );
    assert_eq!(
        site.rows("SELECT sig_class_name FROM sig_class ORDER BY 1"),
        ["attempted-recon", "new class"]
    );
    assert_eq!(
        site.rows(
            "SELECT cid, sensor, interface, gid, sig_sid, rev, class_id, priority, message, ip_version, src, dst,
                    proto, sport, dport, icmp_type, payload_len, payload FROM alerts WHERE cid < 43 ORDER BY cid"
        ),
        [
            "40|north|eth0|1|2000001|3|-|2|ET TEST rule|-|-|-|-|-|-|-|-|-",
            "41|north|eth0|1|77|0|-|1|old rule|4|192.0.2.1|255.255.255.255|6|99|100|-|2|4142",
            "42|north|eth0|1|2000001|3|7|2|ET TEST rule|4|192.0.2.1|198.51.100.255|6|1|2|-|-|-"
        ]
    );
    let time = site.instant("timestamp");
    assert_eq!(
        site.row(&format!("SELECT {time} FROM alerts WHERE cid = 42")),
        "2026-11-21T03:22:52.123456Z"
    );
    assert_eq!(site.rows("SELECT vseq FROM schema"), ["107"]);
    assert_eq!(site.row("SELECT count(*) FROM sensor"), "3");
}

#[test]
fn a_database_of_barnyard2_is_taken_over_in_sqlite() {
    let site = Site::sqlite();
    classic_tables(&site, "BIGINT", "TEXT", "DATETIME");
    is_taken_over(&site);
}

#[test]
fn a_database_of_barnyard2_is_taken_over_in_postgresql() {
    let site = Site::postgres();
    classic_tables(&site, "INT8", "TEXT", "TIMESTAMP WITH TIME ZONE");
    is_taken_over(&site);
}

#[test]
fn an_old_database_with_short_types_is_taken_over_in_postgresql() {
    let site = Site::postgres();
    classic_tables(&site, "INT4", "VARCHAR(40)", "TIMESTAMP WITHOUT TIME ZONE");
    is_taken_over(&site);
    assert_eq!(
        site.row("SELECT sig_name FROM signature WHERE sig_sid = 78"),
        "a rule with a message of more than forty"
    );
    assert_eq!(
        site.row("SELECT pg_typeof(timestamp)::text FROM alerts LIMIT 1"),
        "timestamp with time zone"
    );
    assert_eq!(
        site.row("SELECT timestamp FROM event WHERE cid = 42"),
        "2026-11-21 03:22:52.123456"
    );
    // 4294967295 does not fit into int4: this one only.
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let big = Item::Alert(Alert {
        sid: u32::MAX,
        ..alert()
    });
    let error = write(&mut *store, &stream, 6, &[big]).unwrap_err();
    assert!(matches!(error, StoreError::Content(_)), "{error:?}");
    write(&mut *store, &stream, 6, &[Item::Alert(alert())]).unwrap();
}

#[test]
fn a_column_of_a_type_that_cannot_be_written_is_refused_at_the_start() {
    let site = Site::postgres();
    site.execute("CREATE TABLE iphdr (sid INT4, cid INT8, ip_src INET)");
    let error = site.store().check().unwrap_err();
    assert!(
        matches!(&error, CheckError::Final(text) if text.contains("iphdr.ip_src") && text.contains("inet")),
        "{error:?}"
    );
    let site = Site::postgres();
    site.execute("CREATE TABLE data (sid INT4, cid INT8)");
    let error = site.store().check().unwrap_err();
    assert!(
        matches!(&error, CheckError::Final(text) if text.contains("data_payload")),
        "{error:?}"
    );
}

#[test]
fn a_latin1_database_gets_question_marks_instead_of_errors() {
    let site = Site::postgres();
    let server = site.url.to_string();
    site.execute("CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0");
    let place = server.split_once('?').unwrap().1;
    let url = Url::parse(&format!("postgresql://postgres@/latin1?{place}")).unwrap();
    let site = Site { url, ..site };
    store_one(
        &site,
        Alert {
            message: b"caf\xc3\xa9 \xff".as_slice().into(),
            action: "\u{fffd}".into(),
            ..alert()
        },
    );
    assert_eq!(site.row("SELECT message FROM alerts"), "caf? ?");
}

#[test]
fn new_tables_in_postgresql_store_payloads_cheaply() {
    let site = Site::postgres();
    site.store().check().unwrap();
    let how = site.row(
        "SELECT attstorage::text || attcompression::text FROM pg_attribute
         WHERE attrelid = 'data'::regclass AND attname = 'data_payload'",
    );
    assert!(how == "xl" || how.starts_with('e'), "{how}");
}
