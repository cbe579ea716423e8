//! FLoP's configuration files: `keyword: value` or `keyword = value`, a line each. What a keyword means is the
//! program's: here it only becomes a command-line option, so that both are checked by the same code.
//!
//! | what                    | rule                                                          |
//! |-------------------------|---------------------------------------------------------------|
//! | keyword                 | letters, digits and `_`, in any case                          |
//! | `#`                     | begins a comment; `\#` is a plain `#`                         |
//! | value                   | to the end of the line, without blanks around it              |
//! | NUL                     | nowhere: no argument of a command line can have one           |
//! | `'value'`, `"value"`    | the quotes are stripped: for empty values, and blanks at ends |

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A configuration file is some kilobytes; more is a mistake (`-c /dev/zero`).
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// One setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The line it stands in, from 1 on.
    pub line: usize,
    /// As it was written.
    pub keyword: String,
    /// Without quotes and comment.
    pub value: String,
}

/// What is wrong with a line. `Display` leaves the file's name to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it; shows no value, for it may be a password.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.reason)
    }
}

/// Reads a file, at most `FILE_BYTES_MAX` of it.
///
/// # Errors
///
/// As open(2) and read(2); `InvalidData` for a file that is too long or not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(FILE_BYTES_MAX + 1);
    file.read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {FILE_BYTES_MAX} bytes"),
        )),
        false => Ok(text),
    }
}

/// The settings of a file's text, in their order.
///
/// # Errors
///
/// The first line that is no setting.
pub fn parse(text: &str) -> Result<Vec<Setting>, BadLine> {
    let lines = text.lines().enumerate();
    let settings = lines.filter_map(|(number, line)| {
        let line = (number + 1, without_comment(line));
        match line.1.trim() {
            "" => None,
            setting => Some(parse_line(line.0, setting)),
        }
    });
    settings.collect()
}

/// Cuts a comment off and makes `\#` a plain `#`. Quotes do not protect a `#`, as in FLoP.
fn without_comment(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '#' => break,
            '\\' if chars.peek() == Some(&'#') => kept.extend(chars.next()),
            other => kept.push(other),
        }
    }
    kept
}

fn parse_line(line: usize, setting: &str) -> Result<Setting, BadLine> {
    let bad = |reason: &str| BadLine {
        line,
        reason: reason.to_owned(),
    };
    if setting.contains('\0') {
        return Err(bad("it has a NUL, which no option can have"));
    }
    let (keyword, value) = setting
        .split_once([':', '='])
        .ok_or_else(|| bad("a setting is `keyword: value` or `keyword = value`"))?;
    let keyword = keyword.trim();
    if keyword.is_empty()
        || !keyword
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
    {
        return Err(bad(
            "a keyword in front of the : or = consists of letters and digits",
        ));
    }
    Ok(Setting {
        line,
        keyword: keyword.to_owned(),
        value: unquoted(value.trim())
            .ok_or_else(|| bad("a quote is opened and not closed"))?
            .to_owned(),
    })
}

/// `None` when the quote at the front has no partner at the end.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote);
        }
    }
    Some(value)
}

/// The known keyword that was probably meant: at most two letters away, whatever their case.
pub fn nearest<'a>(keyword: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let keyword = keyword.to_ascii_lowercase();
    known
        .map(|known| (distance(&keyword, &known.to_ascii_lowercase()), known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Letters to be added, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(usize, String, String)> {
        let settings = parse(text).unwrap().into_iter();
        settings
            .map(|setting| (setting.line, setting.keyword, setting.value))
            .collect()
    }

    fn one(line: &str) -> String {
        values(line).remove(0).2
    }

    #[test]
    fn a_line_is_a_keyword_and_a_value_with_colon_or_equals_sign() {
        let text = "# servsock.conf\n\nHighWater: 5000\n  lowwater =4000  # less\nDBuser=snort\n";
        let expected = [
            (3, "HighWater", "5000"),
            (4, "lowwater", "4000"),
            (5, "DBuser", "snort"),
        ];
        assert_eq!(
            values(text),
            expected.map(|(n, k, v)| (n, k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn quotes_are_stripped_and_keep_blanks_and_nothing() {
        assert_eq!(one("DBpassword: \"\""), "");
        assert_eq!(one("DBpassword: ' a b '"), " a b ");
        assert_eq!(one("DBpassword: it's"), "it's");
        assert_eq!(one("x: \"a'b\""), "a'b");
        assert_eq!(one("x: a:b=c"), "a:b=c");
    }

    #[test]
    fn a_backslash_makes_a_plain_number_sign() {
        assert_eq!(one(r"DBpassword: a\#b # comment"), "a#b");
        assert_eq!(one(r"DBpassword: a\b"), r"a\b");
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_line_and_never_repeated() {
        for (text, line) in [
            ("a: b\nsecret words", 2),
            ("pass word: x", 1),
            (": x", 1),
            ("x: \"secret", 1),
            ("x: secret\0", 1),
        ] {
            let bad = parse(text).unwrap_err();
            assert_eq!(bad.line, line);
            assert!(!bad.reason.contains("secret"), "{bad}");
        }
    }

    #[test]
    fn a_near_miss_is_recognised() {
        let known = ["HighWater", "LowWater", "Port"];
        let nearest = |keyword| super::nearest(keyword, known.into_iter());
        assert_eq!(nearest("Highwatre"), Some("HighWater"));
        assert_eq!(nearest("lowater"), Some("LowWater"));
        assert_eq!(nearest("HIGHWATER"), Some("HighWater"));
        assert_eq!(nearest("Something"), None);
    }
}
