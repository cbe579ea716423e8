//! Tables of plain text. Names come from outside: they are escaped and cut, so that a table stays a table.

#![forbid(unsafe_code)]

use crate::log::escaped;
use std::time::Duration;

/// Of a name or an address; longer ones end with `~`.
const CELL_CHARS_MAX: usize = 32;
/// Of a reason within a sentence.
const SENTENCE_CHARS_MAX: usize = 300;

/// Rows below the names of their columns.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(names: [&str; N]) -> Table<N> {
        Table {
            rows: vec![names.map(str::to_owned)],
        }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// One line for each row, without newline behind the last.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            line.join("  ").trim_end().to_owned()
        };
        let lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.join("\n")
    }
}

/// A name from outside, as a cell.
pub(super) fn shown(name: &str) -> String {
    match name.trim() {
        "" => "-".to_owned(),
        name => cut(name, CELL_CHARS_MAX),
    }
}

/// A reason from outside, within a sentence.
pub(super) fn sentence(reason: &str) -> String {
    cut(reason, SENTENCE_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    let text = escaped(text);
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => text.chars().take(chars_max - 1).chain(['~']).collect(),
    }
}

/// A length of time as a person says it: one number, one unit.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        0 => format!("{} ms", age.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
