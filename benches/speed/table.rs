//! The table: as Markdown, which can be read as it is and pasted into a document, and as JSON.

use crate::paired::{Pairs, Ratio, median};
use serde::Serialize;

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// Of the measured values.
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) pairs: Pairs,
    /// Ours divided by the reference's.
    pub(crate) ratio: Option<Ratio>,
    /// What the reference is; what is to be known of the measurement where there is none.
    pub(crate) reference_is: String,
    pub(crate) target: Option<Target>,
}

/// What a line is to reach.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Target {
    of: Of,
    better: Better,
    floor: f64,
    goal: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Ratio,
    Value,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    More,
    Less,
}

impl Target {
    pub(crate) fn ratio_at_least(floor: f64, goal: f64) -> Target {
        Target {
            of: Of::Ratio,
            better: Better::More,
            floor,
            goal,
        }
    }

    pub(crate) fn ratio_at_most(floor: f64, goal: f64) -> Target {
        Target {
            of: Of::Ratio,
            better: Better::Less,
            floor,
            goal,
        }
    }

    pub(crate) fn value_at_least(floor: f64, goal: f64) -> Target {
        Target {
            of: Of::Value,
            better: Better::More,
            floor,
            goal,
        }
    }

    pub(crate) fn value_at_most(floor: f64, goal: f64) -> Target {
        Target {
            of: Of::Value,
            better: Better::Less,
            floor,
            goal,
        }
    }

    fn reached(&self, value: f64) -> &'static str {
        let reaches = |mark: f64| match self.better {
            Better::More => value >= mark,
            Better::Less => value <= mark,
        };
        match (reaches(self.goal), reaches(self.floor)) {
            (true, _) => "goal",
            (false, true) => "floor",
            (false, false) => "**missed**",
        }
    }
}

impl Line {
    /// A line with a reference, judged by the ratio.
    pub(crate) fn paired(what: impl Into<String>, unit: &'static str, pairs: Pairs) -> Line {
        Line {
            what: what.into(),
            unit,
            ratio: pairs.ratio(),
            pairs,
            reference_is: String::new(),
            target: None,
        }
    }

    /// A line of values that stand for themselves.
    pub(crate) fn of(what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Line {
        Line::paired(
            what,
            unit,
            Pairs {
                ours: values,
                reference: Vec::new(),
            },
        )
    }

    /// What the reference is.
    pub(crate) fn against(mut self, reference: impl Into<String>) -> Line {
        self.reference_is = reference.into();
        self
    }

    pub(crate) fn must_reach(mut self, target: Target) -> Line {
        self.target = Some(target);
        self
    }

    fn judged(&self) -> Option<f64> {
        match self.target?.of {
            Of::Ratio => self.ratio.map(|ratio| ratio.median),
            Of::Value => median(&self.pairs.ours),
        }
    }

    fn cells(&self) -> [String; 7] {
        let value = |values: &[f64]| median(values).map_or(String::new(), rounded);
        let ratio = self
            .ratio
            .map_or(String::new(), |ratio| match self.pairs.ours.len() {
                1 => format!("{:.2}", ratio.median),
                _ => format!(
                    "{:.2} ({:.2} - {:.2})",
                    ratio.median, ratio.least, ratio.most
                ),
            });
        let (target, reached) = match self.target.zip(self.judged()) {
            Some((target, judged)) => (
                format!("{}, {}", rounded(target.floor), rounded(target.goal)),
                target.reached(judged).to_owned(),
            ),
            None => Default::default(),
        };
        [
            format!("{}, {}", self.what, self.unit),
            value(&self.pairs.ours),
            value(&self.pairs.reference),
            ratio,
            target,
            reached,
            self.reference_is.clone(),
        ]
    }
}

/// All that is written of a run.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a crate::machine::Machine,
    pub(crate) lines: &'a [Line],
    /// Lines that could not be measured, and why.
    pub(crate) failed: &'a [String],
}

const NAMES: [&str; 7] = [
    "what",
    "ours",
    "reference",
    "ratio (least - most)",
    "floor, goal",
    "reached",
    "the reference",
];

/// The table as Markdown.
pub(crate) fn markdown(lines: &[Line]) -> String {
    let mut rows = vec![NAMES.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; NAMES.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if number == 0 {
            text += &format!(
                "|{}\n",
                widths.map(|width| "-".repeat(width + 2) + "|").concat()
            );
        }
    }
    text
}

/// Three digits that count; thousands with commas.
fn rounded(value: f64) -> String {
    if value.abs() < 100.0 {
        let digits = match value.abs() {
            small if small < 1.0 => 3,
            small if small < 10.0 => 2,
            _ => 1,
        };
        let text = format!("{value:.digits$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
