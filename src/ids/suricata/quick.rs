//! Reads the wanted values of JSON as Suricata writes it: no blanks, numbers without sign or fraction, few levels. Of
//! anything else, and of what is no JSON, it says nothing at all; then `walk` begins anew, and its word counts.
//!
//! Beside `walk` it is there for speed alone: reading JSON is most of what the receiver does in a flood of EVE records, and
//! this does it in little more than half the instructions (ARCHITECTURE.md has the figures).
//!
//! Invariant, tried against `walk` with records of all kinds: what it reads, `walk` reads as well, and the same.

#![forbid(unsafe_code)]

use super::fields::{Fields, Key, Keys, Value};
use std::borrow::Cow;

/// EVE's own records go five or six levels deep; this bounds the recursion.
const DEPTH_MAX: u8 = 16;
/// So many digits fit a u64, whichever they are.
const DIGITS_MAX: usize = 19;

/// Reads a whole record into `fields`, which are of no use where it returns `None`.
pub(super) fn read<'a>(record: &'a str, fields: &mut Fields<'a>) -> Option<()> {
    let mut reader = Reader {
        record,
        at: 0,
        fields,
    };
    reader.expect(b'{')?;
    reader.members(Key::of_record, 0)?;
    (reader.at == record.len()).then_some(())
}

/// Each method leaves it behind what it has read; where it returns `None`, nobody asks it any more.
struct Reader<'f, 'a> {
    record: &'a str,
    at: usize,
    fields: &'f mut Fields<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn rest(&self) -> &'a [u8] {
        &self.record.as_bytes()[self.at..]
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.record.as_bytes().get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.record.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// What is behind the `{` of an object.
    fn members(&mut self, mut keys: Keys, depth: u8) -> Option<()> {
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            self.expect(b'"')?;
            let key = keys(self.plain_text()?);
            self.expect(b':')?;
            self.value(key, depth + 1)?;
            if key == Some(Key::EventType) && self.fields.is_other_record() {
                keys = Key::none;
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// What is behind the `[` of a list.
    fn elements(&mut self, key: Option<Key>, depth: u8) -> Option<()> {
        if self.takes(b']') {
            return Some(());
        }
        loop {
            self.value(key, depth + 1)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn value(&mut self, key: Option<Key>, depth: u8) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let value = match self.next()? {
            b'"' => self.text(key)?,
            b'{' => {
                self.members(Key::inside(key), depth)?;
                Value::Object
            }
            b'[' => {
                self.elements(Key::of_elements(key), depth)?;
                Value::Other
            }
            digit @ b'0'..=b'9' => self.number(digit)?,
            b't' => self.word("rue")?,
            b'f' => self.word("alse")?,
            b'n' => self.word("ull")?,
            _ => return None,
        };
        self.fields.set(key, value);
        Some(())
    }

    fn word(&mut self, rest: &str) -> Option<Value<'a>> {
        let is_there = self.rest().starts_with(rest.as_bytes());
        self.at += rest.len();
        is_there.then_some(Value::Other)
    }

    /// A number; a sign, a point or an exponent is none of those that may follow it.
    fn number(&mut self, first: u8) -> Option<Value<'a>> {
        let start = self.at;
        let mut number = u64::from(first - b'0');
        while let Some(digit) = self
            .record
            .as_bytes()
            .get(self.at)
            .filter(|byte| byte.is_ascii_digit())
        {
            number = number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let more = self.at - start;
        (more < DIGITS_MAX && (first != b'0' || more == 0)).then_some(Value::Number(number))
    }

    /// A text without escapes, behind its first quote.
    fn plain_text(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.at += plain_bytes(self.rest());
        let text = &self.record[start..self.at];
        self.expect(b'"')?;
        Some(text)
    }

    /// A text, behind its first quote.
    fn text(&mut self, key: Option<Key>) -> Option<Value<'a>> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at += plain_bytes(self.rest());
            match self.next()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
            has_escapes = true;
        }
        let text = &self.record[start..self.at - 1];
        Some(match (key, has_escapes) {
            (_, false) => Value::Text(Cow::Borrowed(text)),
            (Some(_), true) => {
                let quoted = &self.record[start - 1..self.at];
                Value::Text(Cow::Owned(serde_json::from_str(quoted).ok()?))
            }
            (None, true) => Value::Other,
        })
    }

    /// What is behind the backslash of an escape. Halves of a surrogate pair are left to `walk`.
    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.rest().first_chunk::<4>()?;
                self.at += digits.len();
                let is_half = matches!(
                    digits,
                    [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]
                );
                (digits.iter().all(u8::is_ascii_hexdigit) && !is_half).then_some(())
            }
            _ => None,
        }
    }
}

/// How many bytes stand in front of the next quote, backslash or control character, eight at a time.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return number * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    words.len() * 8 + in_rest.unwrap_or(rest.len())
}

/// The highest bit of each byte that is a quote, a backslash or a control character; right up to the lowest of them, for a
/// borrow goes upwards only.
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let is_below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| is_below(word ^ (ONES * u64::from(byte)), 1);
    (is(b'"') | is(b'\\') | is_below(word, 0x20)) & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::super::{utf8, walk, without_newline};
    use super::*;
    use crate::ids::tests::fixtures::datagrams;
    use proptest::prelude::*;

    const CAPTURES: [&str; 6] = ["own", "linkraw", "linksll", "linknull", "time0", "time2038"];

    fn captured() -> Vec<String> {
        let datagrams = CAPTURES.map(|name| datagrams(&format!("suricata7-eve-dgram-{name}")));
        let text = |datagram: Vec<u8>| {
            let mut copy = String::new();
            utf8(without_newline(&datagram), &mut copy)
                .unwrap()
                .to_owned()
        };
        datagrams.into_iter().flatten().map(text).collect()
    }

    fn read(record: &str) -> Option<Fields<'_>> {
        let mut fields = Fields::default();
        super::read(record, &mut fields).map(|()| fields)
    }

    /// Whether it was read; then as `walk` reads it.
    fn is_read_alike(record: &str) -> bool {
        let Some(fields) = read(record) else {
            return false;
        };
        assert_eq!(walk::read(record), Ok(fields), "{record}");
        true
    }

    #[test]
    fn all_that_a_real_suricata_wrote_is_read() {
        let records = captured();
        assert!(records.len() > 100, "{} records", records.len());
        for record in records {
            assert!(is_read_alike(&record), "{record}");
        }
    }

    #[test]
    fn what_is_rare_is_left_to_the_other_reader() {
        for rare in [
            r#"{"gid" :1}"#,
            r#"{"gid":-1}"#,
            r#"{"gid":1.0}"#,
            r#"{"gid":1e0}"#,
            r#"{"gid":10000000000000000000}"#,
            r#"{"\u0067id":1}"#,
            r#"{"gid":"\ud83d\ude00"}"#,
        ] {
            assert_eq!(read(rare), None, "{rare}");
            assert!(walk::read(rare).is_ok(), "{rare}");
        }
    }

    #[test]
    fn levels_are_read_up_to_their_limit() {
        for (lists, is_read) in [(16, true), (17, false), (100_000, false)] {
            let record = format!(r#"{{"a":{}{}}}"#, "[".repeat(lists), "]".repeat(lists));
            assert_eq!(is_read_alike(&record), is_read, "{lists} lists");
        }
    }

    #[test]
    fn a_text_ends_at_its_quote_wherever_that_stands() {
        for before in 0..20 {
            for behind in 0..10 {
                let (plain, blanks) = ("ü~".repeat(before), "x".repeat(behind));
                for mark in ['"', '\\', '\0', '\x1f'] {
                    let text = format!("{plain}{mark}{blanks}\"\\");
                    assert_eq!(plain_bytes(text.as_bytes()), plain.len(), "{text:?}");
                }
                assert_eq!(plain_bytes(plain.as_bytes()), plain.len());
            }
        }
    }

    const NAMES: [&str; 14] = [
        r#""event_type""#,
        r#""alert""#,
        r#""gid""#,
        r#""stats""#,
        r#""detect""#,
        r#""engines""#,
        r#""last_reload""#,
        r#""packet_info""#,
        r#""linktype""#,
        r#""payload""#,
        r#""payload_printable""#,
        r#""p\u0061yload""#,
        r#""""#,
        "payload",
    ];

    const LEAVES: [&str; 34] = [
        r#""alert""#,
        r#""alert""#,
        r#""stats""#,
        r#""flow""#,
        r#""""#,
        r#""http:\/\/example.org\/""#,
        r#""\"\\\b\f\n\r\t""#,
        r#""\u00e9\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\ud800""#,
        r#""\uD9""#,
        r#""\u+123""#,
        r#""\x""#,
        "\"a\tb\"",
        "\"\u{7f}ü\"",
        "\"open",
        "\"open\\",
        "0",
        "00",
        "01",
        "7",
        "-0",
        "-7",
        "1.5",
        "1e3",
        "1e999",
        "9999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "true",
        "false",
        "null",
        "nul",
        "",
    ];

    /// JSON, or nearly.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            8 => prop::sample::select(&LEAVES[..]).prop_map(str::to_owned),
            1 => "\"[a-z\"\\\\\t ü]{0,24}\"",
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                3 => members(inner.clone()),
                1 => prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            ]
        })
    }

    fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let member = (prop::sample::select(&NAMES[..]), value);
        prop::collection::vec(member, 0..6).prop_map(|members| {
            let members = members
                .iter()
                .map(|(name, value)| format!("{name}:{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    }

    fn changed(record: &str, at: prop::sample::Index, to: char) -> String {
        let mut characters: Vec<char> = record.chars().collect();
        let at = at.index(characters.len());
        characters[at] = to;
        characters.into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn any_json_is_read_alike_or_not_at_all(record in members(value())) {
            is_read_alike(&record);
        }

        #[test]
        fn what_is_changed_or_cut_is_read_alike_or_not_at_all(
            record in prop::sample::select(captured()),
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\PC\t\n{}\\[\\]:,\"\\\\0-9 ]"), 1..3),
            end in any::<prop::sample::Index>(),
        ) {
            let changed = changes.iter().fold(record.clone(), |record, (at, to)| {
                changed(&record, *at, to.chars().next().unwrap())
            });
            is_read_alike(&changed);
            let cut = record.floor_char_boundary(end.index(record.len()));
            prop_assert!(!is_read_alike(&record[..cut]));
        }
    }
}
