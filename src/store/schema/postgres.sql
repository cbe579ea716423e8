-- The Snort database schema, version 107, as BASE, Snorby and barnyard2 know it, and our tables beside it.
--
-- Each part makes one table with its indexes and fixed rows, and is run only when the table is missing. Names and
-- types of the classic tables are those which other programs rely on: never change them. What settings add is in
-- `extensions.rs`.

-- table schema
CREATE TABLE schema (
    vseq INT4 NOT NULL PRIMARY KEY,
    ctime TIMESTAMP WITH TIME ZONE NOT NULL
);
INSERT INTO schema (vseq, ctime) VALUES (107, now());

-- table sensor
CREATE TABLE sensor (
    sid SERIAL PRIMARY KEY,
    hostname TEXT,
    interface TEXT,
    filter TEXT,
    detail INT2,
    encoding INT2,
    last_cid INT8 NOT NULL
);

-- table event
CREATE TABLE event (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    signature INT4 NOT NULL,
    timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX signature_idx ON event (signature);
CREATE INDEX timestamp_idx ON event (timestamp);

-- table signature
CREATE TABLE signature (
    sig_id SERIAL PRIMARY KEY,
    sig_name TEXT NOT NULL,
    sig_class_id INT8,
    sig_priority INT8,
    sig_rev INT8,
    sig_sid INT8,
    sig_gid INT8
);
CREATE INDEX sig_name_idx ON signature (sig_name);
CREATE INDEX sig_class_idx ON signature (sig_class_id);

-- table sig_class
CREATE TABLE sig_class (
    sig_class_id SERIAL PRIMARY KEY,
    sig_class_name TEXT NOT NULL
);
CREATE INDEX sig_class_name_idx ON sig_class (sig_class_name);

-- table sig_reference
CREATE TABLE sig_reference (
    sig_id INT4 NOT NULL,
    ref_seq INT4 NOT NULL,
    ref_id INT4 NOT NULL,
    PRIMARY KEY (sig_id, ref_seq)
);

-- table reference
CREATE TABLE reference (
    ref_id SERIAL PRIMARY KEY,
    ref_system_id INT4 NOT NULL,
    ref_tag TEXT NOT NULL
);

-- table reference_system
CREATE TABLE reference_system (
    ref_system_id SERIAL PRIMARY KEY,
    ref_system_name TEXT
);
CREATE INDEX ref_system_name_idx ON reference_system (ref_system_name);

-- table iphdr
CREATE TABLE iphdr (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    ip_src INT8 NOT NULL,
    ip_dst INT8 NOT NULL,
    ip_ver INT2,
    ip_hlen INT2,
    ip_tos INT2,
    ip_len INT4,
    ip_id INT4,
    ip_flags INT2,
    ip_off INT4,
    ip_ttl INT2,
    ip_proto INT2 NOT NULL,
    ip_csum INT4,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX ip_src_idx ON iphdr (ip_src);
CREATE INDEX ip_dst_idx ON iphdr (ip_dst);

-- table tcphdr
CREATE TABLE tcphdr (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    tcp_sport INT4 NOT NULL,
    tcp_dport INT4 NOT NULL,
    tcp_seq INT8,
    tcp_ack INT8,
    tcp_off INT2,
    tcp_res INT2,
    tcp_flags INT2 NOT NULL,
    tcp_win INT4,
    tcp_csum INT4,
    tcp_urp INT4,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX tcp_sport_idx ON tcphdr (tcp_sport);
CREATE INDEX tcp_dport_idx ON tcphdr (tcp_dport);
CREATE INDEX tcp_flags_idx ON tcphdr (tcp_flags);

-- table udphdr
CREATE TABLE udphdr (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    udp_sport INT4 NOT NULL,
    udp_dport INT4 NOT NULL,
    udp_len INT4,
    udp_csum INT4,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX udp_sport_idx ON udphdr (udp_sport);
CREATE INDEX udp_dport_idx ON udphdr (udp_dport);

-- table icmphdr
CREATE TABLE icmphdr (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    icmp_type INT2 NOT NULL,
    icmp_code INT2 NOT NULL,
    icmp_csum INT4,
    icmp_id INT4,
    icmp_seq INT4,
    PRIMARY KEY (sid, cid)
);
CREATE INDEX icmp_type_idx ON icmphdr (icmp_type);

-- table opt
CREATE TABLE opt (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    optid INT2 NOT NULL,
    opt_proto INT2 NOT NULL,
    opt_code INT2 NOT NULL,
    opt_len INT4,
    opt_data TEXT,
    PRIMARY KEY (sid, cid, optid)
);

-- table data
CREATE TABLE data (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    data_payload TEXT,
    PRIMARY KEY (sid, cid)
);

-- table encoding
CREATE TABLE encoding (
    encoding_type INT2 NOT NULL PRIMARY KEY,
    encoding_text TEXT NOT NULL
);
INSERT INTO encoding (encoding_type, encoding_text) VALUES (0, 'hex'), (1, 'base64'), (2, 'ascii');

-- table detail
CREATE TABLE detail (
    detail_type INT2 NOT NULL PRIMARY KEY,
    detail_text TEXT NOT NULL
);
INSERT INTO detail (detail_type, detail_text) VALUES (0, 'fast'), (1, 'full');

-- How far each sensor's stream of alerts is stored. `changed` is when the last batch came.
-- table flop_stream
CREATE TABLE flop_stream (
    sid INT4 NOT NULL,
    stream TEXT NOT NULL,
    last_seq INT8 NOT NULL,
    epoch INT8 NOT NULL,
    changed TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (sid, stream)
);

-- Alerts that were dropped: `count` of them, between two instants, for a reason. `seq` is the item's number in its
-- stream.
-- table flop_loss
CREATE TABLE flop_loss (
    sid INT4 NOT NULL,
    stream TEXT NOT NULL,
    seq INT8 NOT NULL,
    from_time TIMESTAMP WITH TIME ZONE NOT NULL,
    to_time TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT NOT NULL,
    count INT8 NOT NULL,
    PRIMARY KEY (sid, stream, seq)
);

-- The IPv6 header, which `iphdr` cannot hold. `proto` is the protocol behind the extension headers.
-- table flop_ip6hdr
CREATE TABLE flop_ip6hdr (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    src TEXT NOT NULL,
    dst TEXT NOT NULL,
    traffic_class INT2,
    flow_label INT4,
    length INT4,
    next_header INT2,
    hop_limit INT2,
    proto INT2 NOT NULL,
    PRIMARY KEY (sid, cid)
);

-- What an IDS says beyond the classic columns. `ids`: 1 Snort 2.9, 2 Snort 3, 3 barnyard2, 4 Suricata. Ports and
-- ICMP type are here only for protocols without a classic table.
-- table flop_event
CREATE TABLE flop_event (
    sid INT4 NOT NULL,
    cid INT8 NOT NULL,
    ids INT2 NOT NULL,
    event_id INT8,
    event_reference INT8,
    class_id INT8,
    action TEXT,
    interface TEXT,
    app_proto TEXT,
    packet_time TIMESTAMP WITH TIME ZONE,
    payload_len INT4,
    sport INT4,
    dport INT4,
    icmp_type INT2,
    icmp_code INT2,
    record TEXT,
    PRIMARY KEY (sid, cid)
);
