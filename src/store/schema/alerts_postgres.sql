-- One readable row per alert, also for those which barnyard2 wrote. `{timestamp}` becomes the event's time as an instant.
CREATE VIEW alerts AS
SELECT
    e.sid::int8 AS sid,
    e.cid::int8 AS cid,
    n.hostname::text AS sensor,
    coalesce(x.interface, nullif(n.interface, ''))::text AS interface,
    {timestamp} AS timestamp,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_gid, 1) END::int8 AS gid,
    s.sig_sid::int8 AS sig_sid,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_rev, 0) END::int8 AS rev,
    x.class_id::int8 AS class_id,
    CASE WHEN s.sig_id IS NOT NULL THEN coalesce(s.sig_priority, 0) END::int8 AS priority,
    s.sig_name::text AS message,
    CASE WHEN v4.cid IS NOT NULL THEN 4 WHEN v6.cid IS NOT NULL THEN 6 END AS ip_version,
    CASE WHEN v4.cid IS NOT NULL
        THEN ((v4.ip_src >> 24) & 255) || '.' || ((v4.ip_src >> 16) & 255) || '.'
            || ((v4.ip_src >> 8) & 255) || '.' || (v4.ip_src & 255)
        ELSE v6.src END AS src,
    CASE WHEN v4.cid IS NOT NULL
        THEN ((v4.ip_dst >> 24) & 255) || '.' || ((v4.ip_dst >> 16) & 255) || '.'
            || ((v4.ip_dst >> 8) & 255) || '.' || (v4.ip_dst & 255)
        ELSE v6.dst END AS dst,
    coalesce(v4.ip_proto, v6.proto)::int4 AS proto,
    coalesce(t.tcp_sport, u.udp_sport, x.sport)::int4 AS sport,
    coalesce(t.tcp_dport, u.udp_dport, x.dport)::int4 AS dport,
    coalesce(i.icmp_type, x.icmp_type)::int4 AS icmp_type,
    coalesce(i.icmp_code, x.icmp_code)::int4 AS icmp_code,
    CASE WHEN x.cid IS NOT NULL THEN x.payload_len
        WHEN coalesce(n.encoding, 0) = 0 THEN length(d.data_payload) / 2 END::int4 AS payload_len,
    CASE WHEN x.cid IS NOT NULL THEN nullif(d.data_payload, '') ELSE d.data_payload END::text AS payload
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
