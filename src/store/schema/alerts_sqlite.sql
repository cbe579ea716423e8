CREATE VIEW alerts AS -- by flop: one readable row per alert
SELECT
    e.sid AS sid,
    e.cid AS cid,
    n.hostname AS sensor,
    coalesce(x.interface, nullif(n.interface, '')) AS interface,
    {timestamp} AS timestamp,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_gid, 1) END AS gid,
    s.sig_sid AS sig_sid,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_rev, 0) END AS rev,
    x.class_id AS class_id,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_priority, 0) END AS priority,
    s.sig_name AS message,
    CASE WHEN v4.cid IS NOT NULL THEN 4 WHEN v6.cid IS NOT NULL THEN 6 END AS ip_version,
    CASE WHEN v4.cid IS NOT NULL
        THEN ((v4.ip_src >> 24) & 255) || '.' || ((v4.ip_src >> 16) & 255) || '.'
            || ((v4.ip_src >> 8) & 255) || '.' || (v4.ip_src & 255)
        ELSE v6.src END AS src,
    CASE WHEN v4.cid IS NOT NULL
        THEN ((v4.ip_dst >> 24) & 255) || '.' || ((v4.ip_dst >> 16) & 255) || '.'
            || ((v4.ip_dst >> 8) & 255) || '.' || (v4.ip_dst & 255)
        ELSE v6.dst END AS dst,
    coalesce(v4.ip_proto, v6.proto) AS proto,
    coalesce(t.tcp_sport, u.udp_sport, x.sport) AS sport,
    coalesce(t.tcp_dport, u.udp_dport, x.dport) AS dport,
    coalesce(i.icmp_type, x.icmp_type) AS icmp_type,
    coalesce(i.icmp_code, x.icmp_code) AS icmp_code,
    CASE WHEN x.cid IS NOT NULL THEN x.payload_len
        WHEN coalesce(n.encoding, 0) = 0 THEN length(d.data_payload) / 2 END AS payload_len,
    CASE WHEN x.cid IS NOT NULL THEN nullif(d.data_payload, '') ELSE d.data_payload END AS payload
FROM event e
LEFT JOIN sensor n ON n.sid = e.sid
LEFT JOIN signature s ON s.sig_id = e.signature
LEFT JOIN flop_event x ON x.sid = e.sid AND x.cid = e.cid
LEFT JOIN iphdr v4 ON v4.sid = e.sid AND v4.cid = e.cid
LEFT JOIN flop_ip6hdr v6 ON v6.sid = e.sid AND v6.cid = e.cid
LEFT JOIN tcphdr t ON t.sid = e.sid AND t.cid = e.cid
LEFT JOIN udphdr u ON u.sid = e.sid AND u.cid = e.cid
LEFT JOIN icmphdr i ON i.sid = e.sid AND i.cid = e.cid
LEFT JOIN data d ON d.sid = e.sid AND d.cid = e.cid
