-- The Snort database schema, version 107, as BASE, Snorby and barnyard2 know it, and our tables beside it.
--
-- Each part makes one table with its indexes and fixed rows, and is run only when the table is missing. Names and
-- types of the classic tables are those which other programs rely on: never change them. What settings add is in
-- `extensions.rs`. Instants are ISO 8601 texts in UTC: `2026-11-21T03:22:52.000000Z`.

-- table schema
CREATE TABLE schema (
    vseq INTEGER NOT NULL PRIMARY KEY,
    ctime TEXT NOT NULL
);
INSERT INTO schema (vseq, ctime) VALUES (107, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

-- table sensor
CREATE TABLE sensor (
    sid INTEGER PRIMARY KEY,
    hostname TEXT,
    interface TEXT,
    filter TEXT,
    detail INTEGER,
    encoding INTEGER,
    last_cid INTEGER NOT NULL
);

-- table event
CREATE TABLE event (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    signature INTEGER NOT NULL,
    timestamp TEXT NOT NULL,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX signature_idx ON event (signature);
CREATE INDEX timestamp_idx ON event (timestamp);

-- table signature
CREATE TABLE signature (
    sig_id INTEGER PRIMARY KEY,
    sig_name TEXT NOT NULL,
    sig_class_id INTEGER,
    sig_priority INTEGER,
    sig_rev INTEGER,
    sig_sid INTEGER,
    sig_gid INTEGER
);
CREATE INDEX sig_name_idx ON signature (sig_name);
CREATE INDEX sig_class_idx ON signature (sig_class_id);

-- table sig_class
CREATE TABLE sig_class (
    sig_class_id INTEGER PRIMARY KEY,
    sig_class_name TEXT NOT NULL
);
CREATE INDEX sig_class_name_idx ON sig_class (sig_class_name);

-- table sig_reference
CREATE TABLE sig_reference (
    sig_id INTEGER NOT NULL,
    ref_seq INTEGER NOT NULL,
    ref_id INTEGER NOT NULL,
    PRIMARY KEY (sig_id, ref_seq)
);

-- table reference
CREATE TABLE reference (
    ref_id INTEGER PRIMARY KEY,
    ref_system_id INTEGER NOT NULL,
    ref_tag TEXT NOT NULL
);

-- table reference_system
CREATE TABLE reference_system (
    ref_system_id INTEGER PRIMARY KEY,
    ref_system_name TEXT
);
CREATE INDEX ref_system_name_idx ON reference_system (ref_system_name);

-- table iphdr
CREATE TABLE iphdr (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    ip_src INTEGER NOT NULL,
    ip_dst INTEGER NOT NULL,
    ip_ver INTEGER,
    ip_hlen INTEGER,
    ip_tos INTEGER,
    ip_len INTEGER,
    ip_id INTEGER,
    ip_flags INTEGER,
    ip_off INTEGER,
    ip_ttl INTEGER,
    ip_proto INTEGER NOT NULL,
    ip_csum INTEGER,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX ip_src_idx ON iphdr (ip_src);
CREATE INDEX ip_dst_idx ON iphdr (ip_dst);

-- table tcphdr
CREATE TABLE tcphdr (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    tcp_sport INTEGER NOT NULL,
    tcp_dport INTEGER NOT NULL,
    tcp_seq INTEGER,
    tcp_ack INTEGER,
    tcp_off INTEGER,
    tcp_res INTEGER,
    tcp_flags INTEGER NOT NULL,
    tcp_win INTEGER,
    tcp_csum INTEGER,
    tcp_urp INTEGER,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX tcp_sport_idx ON tcphdr (tcp_sport);
CREATE INDEX tcp_dport_idx ON tcphdr (tcp_dport);
CREATE INDEX tcp_flags_idx ON tcphdr (tcp_flags);

-- table udphdr
CREATE TABLE udphdr (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    udp_sport INTEGER NOT NULL,
    udp_dport INTEGER NOT NULL,
    udp_len INTEGER,
    udp_csum INTEGER,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX udp_sport_idx ON udphdr (udp_sport);
CREATE INDEX udp_dport_idx ON udphdr (udp_dport);

-- table icmphdr
CREATE TABLE icmphdr (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    icmp_type INTEGER NOT NULL,
    icmp_code INTEGER NOT NULL,
    icmp_csum INTEGER,
    icmp_id INTEGER,
    icmp_seq INTEGER,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX icmp_type_idx ON icmphdr (icmp_type);

-- table opt
CREATE TABLE opt (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    optid INTEGER NOT NULL,
    opt_proto INTEGER NOT NULL,
    opt_code INTEGER NOT NULL,
    opt_len INTEGER,
    opt_data TEXT,
    PRIMARY KEY (sid, cid, optid)
);

-- table data
CREATE TABLE data (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    data_payload TEXT,
    PRIMARY KEY (sid, cid)
);

-- table encoding
CREATE TABLE encoding (
    encoding_type INTEGER NOT NULL PRIMARY KEY,
    encoding_text TEXT NOT NULL
);
INSERT INTO encoding (encoding_type, encoding_text) VALUES (0, 'hex'), (1, 'base64'), (2, 'ascii');

-- table detail
CREATE TABLE detail (
    detail_type INTEGER NOT NULL PRIMARY KEY,
    detail_text TEXT NOT NULL
);
INSERT INTO detail (detail_type, detail_text) VALUES (0, 'fast'), (1, 'full');

-- How far each sensor's stream of alerts is stored. `changed` is when the last batch came.
-- table flop_stream
CREATE TABLE flop_stream (
    sid INTEGER NOT NULL,
    stream TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    changed TEXT NOT NULL,
    PRIMARY KEY (sid, stream)
);

-- Alerts that were dropped: `count` of them, between two instants, for a reason. `seq` is the item's number in its
-- stream.
-- table flop_loss
CREATE TABLE flop_loss (
    sid INTEGER NOT NULL,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    from_time TEXT NOT NULL,
    to_time TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (sid, stream, seq)
);

-- The IPv6 header, which `iphdr` cannot hold. `proto` is the protocol behind the extension headers.
-- table flop_ip6hdr
CREATE TABLE flop_ip6hdr (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    src TEXT NOT NULL,
    dst TEXT NOT NULL,
    traffic_class INTEGER,
    flow_label INTEGER,
    length INTEGER,
    next_header INTEGER,
    hop_limit INTEGER,
    proto INTEGER NOT NULL,
    PRIMARY KEY (sid, cid)
);

-- What an IDS says beyond the classic columns. `ids`: 1 Snort 2.9, 2 Snort 3, 3 barnyard2, 4 Suricata. Ports and
-- ICMP type are here only for protocols without a classic table.
-- table flop_event
CREATE TABLE flop_event (
    sid INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    ids INTEGER NOT NULL,
    event_id INTEGER,
    event_reference INTEGER,
    class_id INTEGER,
    action TEXT,
    interface TEXT,
    app_proto TEXT,
    packet_time TEXT,
    payload_len INTEGER,
    sport INTEGER,
    dport INTEGER,
    icmp_type INTEGER,
    icmp_code INTEGER,
    record TEXT,
    PRIMARY KEY (sid, cid)
);
