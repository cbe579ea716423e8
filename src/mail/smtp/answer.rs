//! A mail server's answer: bytes of a line -> code and text. Pure; what comes is an enemy's until it is read.

#![forbid(unsafe_code)]

/// Of one line with its end, which RFC 5321 allows 512; servers with long words exist.
pub(crate) const LINE_BYTES_MAX: usize = 1000;
/// Of one answer. EHLO's is the longest, and has a line for each extension.
pub(crate) const LINES_MAX: usize = 100;

/// What the server said to one command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of three digits; the first says whether it went well.
    pub(crate) code: u16,
    /// Without codes and ends of line; at least one.
    pub(crate) texts: Vec<String>,
}

/// One line of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    code: u16,
    text: String,
    /// More lines follow.
    goes_on: bool,
}

impl Line {
    /// Reads a line with or without its end; `None` when that is no SMTP.
    pub(crate) fn read(bytes: &[u8]) -> Option<Line> {
        let (digits, rest) = bytes.trim_ascii_end().split_at_checked(3)?;
        if !matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        let (goes_on, text) = match rest.split_first() {
            None => (false, rest),
            Some((b' ', text)) => (false, text),
            Some((b'-', text)) => (true, text),
            Some(_) => return None,
        };
        Some(Line {
            code: digits.parse().ok()?,
            text: String::from_utf8_lossy(text).into_owned(),
            goes_on,
        })
    }
}

impl Answer {
    /// An answer is as long as its lines say that they go on. `next` gives the next one.
    ///
    /// # Errors
    ///
    /// Those of `next`; the lines do not belong together, or are too many.
    pub(crate) fn read<E: From<String>>(
        mut next: impl FnMut() -> Result<Line, E>,
    ) -> Result<Answer, E> {
        let first = next()?;
        let (code, mut goes_on) = (first.code, first.goes_on);
        let mut texts = vec![first.text];
        while goes_on {
            if texts.len() >= LINES_MAX {
                return Err(format!("its answer has more than {LINES_MAX} lines").into());
            }
            let line = next()?;
            if line.code != code {
                let other = line.code;
                return Err(
                    format!("its answer has codes {code} and {other}, which is no SMTP").into(),
                );
            }
            goes_on = line.goes_on;
            texts.push(line.text);
        }
        Ok(Answer { code, texts })
    }

    /// 2 done, 3 go on, 4 not now, 5 never.
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }

    /// As it is told.
    pub(crate) fn text(&self) -> String {
        format!("answered {} {}", self.code, self.texts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&str]) -> Result<Answer, String> {
        let mut lines = lines.iter();
        Answer::read(|| {
            let line = lines.next().ok_or_else(|| "closed".to_owned())?;
            Line::read(line.as_bytes()).ok_or_else(|| format!("no SMTP: {line}"))
        })
    }

    #[test]
    fn an_answer_has_one_line_or_more() {
        let one = answer(&["250 OK\r\n", "250 next\r\n"]).unwrap();
        assert_eq!((one.code, one.text().as_str()), (250, "answered 250 OK"));
        let more = answer(&["250-a\r\n", "250-SIZE 1\n", "250\r\n"]).unwrap();
        assert_eq!(more.texts, ["a", "SIZE 1", ""]);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for line in [
            "",
            "\r\n",
            "25",
            "25 ",
            "2x0 OK",
            "150 OK",
            "600 OK",
            "250OK",
            "+OK",
            "-25 x",
            "\u{661}\u{662}",
        ] {
            assert_eq!(Line::read(line.as_bytes()), None, "{line}");
        }
        let mixed = answer(&["250-a", "550 b"]).unwrap_err();
        assert!(mixed.contains("codes 250 and 550"), "{mixed}");
        assert_eq!(answer(&["250-a"]).unwrap_err(), "closed");
        assert_eq!(Line::read(b"250 \xff").unwrap().text, "\u{fffd}");
    }

    #[test]
    fn an_answer_has_a_limit_of_lines() {
        let mut lines = vec!["250-x"; LINES_MAX - 1];
        lines.push("250 x");
        assert!(answer(&lines).is_ok());
        lines.insert(0, "250-x");
        assert!(answer(&lines).unwrap_err().contains("more than 100 lines"));
    }
}
