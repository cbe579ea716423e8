//! The text of the configuration in force: what `-d` printed at the start, with what commands changed since.

#![forbid(unsafe_code)]

use crate::log::{self, Area};

/// See the module.
#[derive(Clone, Debug)]
pub struct Configuration {
    lines: Vec<String>,
}

impl Configuration {
    /// Begins with a dump of the options.
    pub fn new(dump: &str) -> Configuration {
        Configuration {
            lines: dump.lines().map(str::to_owned).collect(),
        }
    }

    /// A keyword has these values from now on; none: it is not set.
    pub fn set(&mut self, keyword: &str, values: &[String]) {
        let is_its = |line: &String| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.strip_prefix(keyword)
                .is_some_and(|rest| rest.starts_with(':'))
        };
        let at = self.lines.iter().position(is_its);
        let at = at.unwrap_or(self.lines.len());
        self.lines.retain(|line| !is_its(line));
        let lines: Vec<String> = match values {
            [] => vec![format!("# {keyword}:")],
            values => values
                .iter()
                .map(|value| format!("{keyword}: {}", crate::config::quoted(value)))
                .collect(),
        };
        self.lines.splice(at..at, lines);
    }

    /// The text, with the debug levels of this moment.
    pub fn text(&mut self) -> String {
        let levels = Area::ALL.iter().zip(log::debug_levels());
        let set: Vec<String> = levels
            .filter(|(_, level)| *level > 0)
            .map(|(area, level)| format!("{},{level}", area.name()))
            .collect();
        self.set("Debug", &set);
        self.lines.join("\n")
    }
}

/// `yes` or `no`, as a file has it.
pub fn flag(is_on: bool) -> String {
    ["no", "yes"][usize::from(is_on)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_value_stands_where_the_old_one_stood() {
        let mut configuration = Configuration::new("A: 1\n# AB:\nC: x\nC: y\nD: 4");
        configuration.set("AB", &["/run/a b#".to_owned()]);
        configuration.set("C", &[]);
        configuration.set("A", &["2".to_owned()]);
        assert_eq!(
            configuration.lines,
            ["A: 2", "AB: /run/a b\\#", "# C:", "D: 4"]
        );
        configuration.set("C", &["1".to_owned(), "2".to_owned()]);
        assert_eq!(configuration.lines[2..], ["C: 1", "C: 2", "D: 4"]);
    }
}
