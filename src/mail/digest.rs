//! A batch of alerts -> subject and text of one mail. Nothing in here trusts a record: what cannot be seen, or turns
//! the direction of writing, is shown as an escape, and each text is cut.

#![forbid(unsafe_code)]

use super::batch::{Batch, Names, Rule, Tally, sum};
use crate::calendar::iso8601;
use crate::dropped::{Record, Summary};
use std::fmt::Write;

/// Letters of a rule's text in the subject; a mail program shows fewer still.
const SUBJECT_MESSAGE_CHARS_MAX: usize = 100;
/// Letters of a rule's text in the body.
const MESSAGE_CHARS_MAX: usize = 160;
/// Letters of a name or an address.
const NAME_CHARS_MAX: usize = 64;
/// Rules in the table; a mail with more is not read.
const RULES_SHOWN_MAX: usize = 100;
/// Sources and sensors shown with a rule.
const NAMES_SHOWN_MAX: usize = 5;

/// One mail, before it has addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// A line without control characters.
    pub subject: String,
    /// Lines that end with `\n`.
    pub body: String,
}

/// Writes the digest. `program` and `host` say who tells it; at most `singles_max` alerts are shown one by one; `name`
/// gives the name to show for a sensor.
pub fn write(
    batch: &Batch,
    program: &str,
    host: &str,
    singles_max: usize,
    name: &mut dyn FnMut(&str) -> String,
) -> Digest {
    let rules = batch.rules();
    let mut body = headline(batch, &rules, program, host);
    write_rules(&mut body, &rules, name);
    write_summaries(&mut body, batch.summaries(), name);
    write_singles(&mut body, batch, singles_max, name);
    Digest {
        subject: subject(batch, &rules, program),
        body,
    }
}

fn subject(batch: &Batch, rules: &[(&Rule, &Tally)], program: &str) -> String {
    let count = plural(batch.alerts().saturating_add(batch.summed()), "alert");
    match rules.first() {
        Some((rule, tally)) => {
            let message = clean(
                rule.message.as_deref().unwrap_or(""),
                SUBJECT_MESSAGE_CHARS_MAX,
            );
            let priority = match tally.priority {
                0 => String::new(),
                priority => format!(" priority {priority}:"),
            };
            format!("{program}: {count},{priority} {} {message}", id(rule))
                .trim_end()
                .to_owned()
        }
        None => format!("{program}: {count}, none told one by one"),
    }
}

fn headline(batch: &Batch, rules: &[(&Rule, &Tally)], program: &str, host: &str) -> String {
    let mut line = format!(
        "{} of {}",
        plural(batch.alerts(), "alert"),
        plural(rules.len() as u64, "rule")
    );
    let first = rules.iter().filter_map(|(_, tally)| tally.first_us).min();
    let last = rules.iter().filter_map(|(_, tally)| tally.last_us).max();
    if let (Some(first), Some(last)) = (first, last) {
        let _ = write!(line, ", from {} to {} (UTC)", second(first), second(last));
    }
    if batch.summed() > 0 {
        let _ = write!(line, "; {} more were only counted", batch.summed());
    }
    format!(
        "{line}.\nTold by {program} on {}.\n",
        clean(host, NAME_CHARS_MAX)
    )
}

fn write_rules(body: &mut String, rules: &[(&Rule, &Tally)], name: &mut dyn FnMut(&str) -> String) {
    if rules.is_empty() {
        return;
    }
    let _ = writeln!(
        body,
        "\n{:>8} {:>4}  {:<20} {:<20}  rule\n{}",
        "count",
        "prio",
        "first",
        "last",
        "-".repeat(78)
    );
    for (rule, tally) in rules.iter().take(RULES_SHOWN_MAX) {
        let _ = writeln!(
            body,
            "{:>8} {:>4}  {:<20} {:<20}  {} {}",
            tally.count,
            tally.priority,
            tally.first_us.map_or("-".into(), second),
            tally.last_us.map_or("-".into(), second),
            id(rule),
            clean(rule.message.as_deref().unwrap_or(""), MESSAGE_CHARS_MAX),
        );
        write_names(body, "from", &tally.sources, &mut |source| {
            source.to_owned()
        });
        write_names(
            body,
            "seen by",
            &tally.sensors,
            &mut |place| match place.split_once('/') {
                Some((sensor, interface)) => format!("{}/{interface}", name(sensor)),
                None => name(place),
            },
        );
    }
    let left = &rules[rules.len().min(RULES_SHOWN_MAX)..];
    if !left.is_empty() {
        let alerts = sum(left.iter().map(|(_, tally)| tally.count));
        let rules = plural(left.len() as u64, "rule");
        let _ = writeln!(body, "{alerts:>8}       of {rules} more");
    }
}

fn write_names(body: &mut String, what: &str, names: &Names, show: &mut dyn FnMut(&str) -> String) {
    let sorted = names.sorted();
    if sorted.is_empty() {
        return;
    }
    let shown: Vec<String> = sorted
        .iter()
        .take(NAMES_SHOWN_MAX)
        .map(|(name, count)| format!("{} ({count})", clean(&show(name), NAME_CHARS_MAX)))
        .collect();
    let rest = sorted.iter().skip(NAMES_SHOWN_MAX).map(|(_, count)| count);
    let rest = sum(rest.copied().chain([names.others]));
    let others = match rest {
        0 => String::new(),
        rest => format!(", others ({rest})"),
    };
    let _ = writeln!(body, "{:15}{what} {}{others}", "", shown.join(", "));
}

fn write_summaries(body: &mut String, summaries: &[Summary], name: &mut dyn FnMut(&str) -> String) {
    if !summaries.is_empty() {
        body.push_str("\nOnly counted, not told one by one:\n");
    }
    for summary in summaries {
        let sensor = place(&summary.sensor, &summary.interface, name);
        let reason = clean(summary.reason.as_deref().unwrap_or("-"), NAME_CHARS_MAX);
        let _ = writeln!(body, "{:>8}  {sensor}, reason: {reason}", summary.dropped);
    }
}

fn write_singles(
    body: &mut String,
    batch: &Batch,
    singles_max: usize,
    name: &mut dyn FnMut(&str) -> String,
) {
    let shown = batch.records().len().min(singles_max);
    if shown > 0 {
        body.push_str("\nOne by one, in the order of their coming (times in UTC):\n");
    }
    for record in &batch.records()[..shown] {
        let _ = writeln!(body, "{}", single(record, name));
    }
    let left = batch.alerts().saturating_sub(shown as u64);
    if left > 0 {
        let _ = writeln!(
            body,
            "({} more in the table above only)",
            plural(left, "alert")
        );
    }
}

fn single(record: &Record, name: &mut dyn FnMut(&str) -> String) -> String {
    let time = match record.time_us() {
        Some(time_us) => iso8601(time_us),
        None => clean(record.time.as_deref().unwrap_or("-"), NAME_CHARS_MAX),
    };
    let rule = Rule {
        gid: record.gid,
        sid: record.sid,
        rev: record.rev,
        message: None,
    };
    let mut line = format!(
        "{time} {} {} {}\n    {} -> {} proto {}, priority {}",
        place(&record.sensor, &record.interface, name),
        id(&rule),
        clean(record.message.as_deref().unwrap_or(""), MESSAGE_CHARS_MAX),
        end(&record.src, record.sport),
        end(&record.dst, record.dport),
        number(record.proto),
        number(record.priority),
    );
    if let Some(reason) = &record.reason {
        let _ = write!(line, ", {}", clean(reason, NAME_CHARS_MAX));
    }
    if let (Some(sid), Some(cid)) = (record.sensor_sid, record.cid) {
        let _ = write!(line, ", in the database: sid {sid} cid {cid}");
    }
    line
}

fn place(
    sensor: &Option<String>,
    interface: &Option<String>,
    name: &mut dyn FnMut(&str) -> String,
) -> String {
    let sensor = sensor.as_deref().map_or("-".to_owned(), name);
    match interface.as_deref() {
        None | Some("") => clean(&sensor, NAME_CHARS_MAX),
        Some(interface) => clean(&format!("{sensor}/{interface}"), 2 * NAME_CHARS_MAX),
    }
}

fn end(address: &Option<String>, port: Option<u16>) -> String {
    let address = clean(address.as_deref().unwrap_or("?"), NAME_CHARS_MAX);
    match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address,
    }
}

/// Snort's way to name a rule; "other rules" where the batch stopped telling them apart.
fn id(rule: &Rule) -> String {
    match (rule.gid, rule.sid, rule.rev) {
        (None, None, None) if rule.message.is_none() => "(other rules)".to_owned(),
        (gid, sid, rev) => format!("[{}:{}:{}]", number(gid), number(sid), number(rev)),
    }
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

pub(super) fn plural(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn second(time_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(time_us) {
        Ok(time) => format!("{time:.0}"),
        Err(_) => format!("{time_us} us"),
    }
}

/// A text that is safe in a line: control characters, characters that cannot be seen and those that turn the direction
/// of writing become escapes; what is too long is cut.
pub fn clean(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (n, char) in text.chars().enumerate() {
        if n >= chars_max {
            shown.push_str("...");
            break;
        }
        match is_harmless(char) {
            true => shown.push(char),
            false => shown.extend(char.escape_default()),
        }
    }
    shown
}

fn is_harmless(char: char) -> bool {
    !char.is_control()
        && !matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropped::{self, Told};
    use proptest::prelude::*;

    fn plain(sensor: &str) -> String {
        sensor.to_owned()
    }

    fn digest(batch: &Batch, singles_max: usize) -> Digest {
        write(batch, "drop", "host", singles_max, &mut plain)
    }

    fn batch(records: &[&str]) -> Batch {
        let mut batch = Batch::new(1000);
        for record in records {
            batch.add(dropped::read(record.as_bytes()).unwrap());
        }
        batch
    }

    #[test]
    fn a_digest_reads_like_this() {
        let one = r#"{"sensor":"s1","interface":"eth0","time":"2025-10-09T08:53:20.100003Z","gid":1,"sid":10,"rev":2,"priority":2,"message":"Scan","src":"192.0.2.1","sport":53,"dst":"2001:db8::1","dport":80,"proto":6,"reason":"HighWater"}"#;
        let two = r#"{"sensor":"s1","time":"2025-10-09T09:00:00Z","gid":1,"sid":11,"rev":1,"priority":1,"message":"Trojan","src":"192.0.2.9","dst":"192.0.2.1","proto":1,"sensor_sid":3,"cid":99}"#;
        let many = r#"{"dropped":7,"sensor":"s1","interface":"eth0","reason":"HighWater"}"#;
        let digest = digest(&batch(&[one, one, two, many]), 2);
        assert_eq!(
            digest.subject,
            "drop: 10 alerts, priority 1: [1:11:1] Trojan"
        );
        assert_eq!(
            digest.body,
            "3 alerts of 2 rules, from 2025-10-09T08:53:20Z to 2025-10-09T09:00:00Z (UTC); 7 more were only counted.
Told by drop on host.

   count prio  first                last                  rule
------------------------------------------------------------------------------
       1    1  2025-10-09T09:00:00Z 2025-10-09T09:00:00Z  [1:11:1] Trojan
               from 192.0.2.9 (1)
               seen by s1 (1)
       2    2  2025-10-09T08:53:20Z 2025-10-09T08:53:20Z  [1:10:2] Scan
               from 192.0.2.1 (2)
               seen by s1/eth0 (2)

Only counted, not told one by one:
       7  s1/eth0, reason: HighWater

One by one, in the order of their coming (times in UTC):
2025-10-09T08:53:20.100003Z s1/eth0 [1:10:2] Scan
    192.0.2.1:53 -> [2001:db8::1]:80 proto 6, priority 2, HighWater
2025-10-09T08:53:20.100003Z s1/eth0 [1:10:2] Scan
    192.0.2.1:53 -> [2001:db8::1]:80 proto 6, priority 2, HighWater
(1 alert more in the table above only)
"
        );
    }

    #[test]
    fn a_hostile_message_stays_one_line() {
        let message = "x\\r\\nBcc: all@example.org\\r\\n\\r\\n.\\r\\n\\u0000\\u202e\\u200bend";
        let digest = digest(
            &batch(&[&format!(r#"{{"sid":1,"message":"{message}"}}"#)]),
            10,
        );
        let shown = r"x\r\nBcc: all@example.org\r\n\r\n.\r\n\u{0}\u{202e}\u{200b}end";
        assert!(digest.subject.ends_with(shown), "{}", digest.subject);
        assert!(
            digest
                .body
                .lines()
                .all(|line| !line.starts_with("Bcc") && line != ".")
        );
    }

    #[test]
    fn a_mail_has_a_size_whatever_comes() {
        let mut batch = Batch::new(1000);
        for sid in 0..3000_u32 {
            let record = Record {
                sid: Some(sid),
                message: Some("\u{202e}".repeat(340)),
                sensor: Some("s".repeat(256)),
                src: Some(format!("{sid}{}", "\n".repeat(200))),
                ..Record::default()
            };
            batch.add(Told::Alert(Box::new(record)));
        }
        let digest = digest(&batch, 100);
        assert!(digest.subject.len() < 2000, "{}", digest.subject.len());
        assert!(digest.body.len() < 1 << 20, "{}", digest.body.len());
        assert!(digest.body.contains("of 901 rules more"), "{}", digest.body);
        assert!(digest.body.contains("(2900 alerts more"));
    }

    proptest! {
        #[test]
        fn whatever_a_record_holds_no_line_of_the_mail_breaks(text in any::<String>(), name in any::<String>()) {
            let record = Record {
                message: Some(text.clone()),
                sensor: Some(name.clone()),
                interface: Some(text.clone()),
                src: Some(name.clone()),
                reason: Some(text),
                time: Some(name),
                ..Record::default()
            };
            let mut batch = Batch::new(10);
            batch.add(Told::Alert(Box::new(record)));
            let digest = digest(&batch, 10);
            prop_assert!(digest.subject.chars().all(is_harmless));
            let breaks = digest.body.matches('\n').count();
            prop_assert_eq!(breaks, 12);
            prop_assert!(digest.body.chars().all(|char| char == '\n' || is_harmless(char)));
        }
    }
}
