//! How outcomes are shown: a table on a terminal, a table in Markdown, or JSON.

use serde::Serialize;

use crate::machine::Machine;
use crate::outcome::{Line, Outcome};

/// Everything one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Only ever grows within one number.
    pub(crate) schema: &'static str,
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) rows: Vec<Outcome>,
}

pub(crate) const SCHEMA: &str = "oneiric.bench/1";

const HEADINGS: [&str; 10] = [
    "contestant",
    "threads",
    "median",
    "p10–p90",
    "to peer",
    "to control",
    "scaling",
    "growth",
    "samples",
    "goal",
];

/// A row for a terminal, in columns.
pub(crate) fn plain(outcome: &Outcome) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    lines.extend(outcome.lines.iter().map(|line| cells(line, outcome.unit)));
    let wide = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let used: Vec<(usize, usize)> = used(&lines)
        .map(|column| (column, wide(column).unwrap_or_default()))
        .collect();
    let mut text = format!("{}: {}\n", outcome.name, outcome.title);
    for line in &lines {
        let columns = used
            .iter()
            .map(|&(column, width)| format!("{:width$}", line[column]));
        let columns: Vec<String> = columns.collect();
        text.push_str("  ");
        text.push_str(columns.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// All of it for the reference page.
pub(crate) fn markdown(report: &Report) -> String {
    let Machine {
        date,
        cpu,
        processors,
        system,
        rustc,
    } = &report.machine;
    let mut text = format!(
        "Taken on {date} with `cargo xtask bench --write`: {cpu}; {processors} processors; {system}; {rustc}.\n"
    );
    for outcome in &report.rows {
        let Outcome {
            name, title, note, ..
        } = outcome;
        text.push_str(&format!("\n### {title} (`{name}`)\n\n{note}\n\n"));
        let mut lines: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
        lines.extend(outcome.lines.iter().map(|line| cells(line, outcome.unit)));
        let used: Vec<usize> = used(&lines).collect();
        for (number, line) in lines.iter().enumerate() {
            let columns: Vec<&str> = used.iter().map(|&column| line[column].as_str()).collect();
            text.push_str(&format!("| {} |\n", columns.join(" | ")));
            if number == 0 {
                text.push_str(&format!("|{}\n", "---|".repeat(used.len())));
            }
        }
    }
    text
}

/// The columns in which anything stands.
fn used(lines: &[Vec<String>]) -> impl Iterator<Item = usize> {
    (0..HEADINGS.len()).filter(|&column| lines.iter().skip(1).any(|line| !line[column].is_empty()))
}

fn cells(line: &Line, unit: &str) -> Vec<String> {
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x"));
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.2}"));
    let goals = line.goals.iter().map(|verdict| {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        format!("{}: {met}", verdict.goal)
    });
    let range = line.p10.zip(line.p90);
    vec![
        line.contestant.to_owned(),
        line.threads.to_string(),
        line.median.map_or_else(
            || "too noisy".to_owned(),
            |median| format!("{} {unit}", figure(median)),
        ),
        range.map_or(String::new(), |(low, high)| {
            format!("{}–{}", figure(low), figure(high))
        }),
        ratio(line.to_peer),
        ratio(line.to_control),
        share(line.scaling),
        ratio(line.growth),
        format!("{} of {}", line.accepted, line.accepted + line.rejected),
        goals.collect::<Vec<_>>().join("; "),
    ]
}

/// Three digits or so, whatever the size.
fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;

    fn outcome() -> Outcome {
        let line = |contestant, median| Line {
            contestant,
            threads: 1,
            p10: median,
            median,
            p90: median,
            to_peer: median.map(|_| 0.5),
            to_control: None,
            scaling: None,
            growth: None,
            accepted: 3,
            rejected: 1,
            goals: vec![Verdict {
                goal: "≤ 0.4x".to_owned(),
                met: median.map(|_| false),
            }],
        };
        Outcome {
            name: "lease",
            title: "Lease",
            note: "One slot.",
            unit: "ns",
            lines: vec![line("ours", Some(12.34)), line("noisy", None)],
        }
    }

    #[test]
    fn a_row_is_a_table_without_empty_columns() {
        let expected = "\
lease: Lease
  contestant  threads  median     p10–p90    to peer  samples  goal
  ours        1        12.3 ns    12.3–12.3  0.50x    3 of 4   ≤ 0.4x: MISSED
  noisy       1        too noisy                      3 of 4   ≤ 0.4x: not measured
";
        assert_eq!(plain(&outcome()), expected);
    }

    #[test]
    fn the_page_says_where_figures_come_from() {
        let machine = Machine {
            date: "2026-01-02".to_owned(),
            cpu: "A CPU".to_owned(),
            processors: 2,
            system: "linux x86_64".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
        };
        let report = Report {
            schema: SCHEMA,
            machine,
            quick: false,
            rows: vec![outcome()],
        };
        let text = markdown(&report);
        assert!(text.starts_with("Taken on 2026-01-02 with `cargo xtask bench --write`: A CPU;"));
        assert!(text.contains("\n### Lease (`lease`)\n"));
        assert!(text.contains("| ours | 1 | 12.3 ns |"), "{text}");
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.123, 9.87, 12.34, 1234.5].map(figure);
        assert_eq!(shown, ["0.12", "9.87", "12.3", "1234"]);
    }
}
