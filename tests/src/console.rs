//! Reads a Markdown page as a program: commands with the output they must have, and files.
//!
//! Readers want to see real output, and durations and process ids are never the same twice. So those
//! are not compared, nor how many spaces align a column; `[..]` in an expected line stands for any text
//! within that line, and a line `...` for any number of lines.
//!
//! | block | means |
//! |---|---|
//! | ```` ```console ```` | each line after `$ ` is typed (it goes on after a `\` at its end); `^C` is Ctrl-C |
//! | ```` ```toml title="a.toml" ```` | the file `a.toml` has this content now |
//! | ```` ```toml append="a.toml" ```` | this stands at the end of the file `a.toml` now |
//! | ```` ```console not-run="reason" ```` | commands that no test can run, and why |

/// A command, and what must be printed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line in the page, from 1.
    pub line: usize,
    /// What is typed, after `$ `; `^C` stands for Ctrl-C.
    pub command: String,
    /// What is printed.
    pub expected: Vec<String>,
}

/// Something that a page does, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command is typed.
    Typed(Step),
    /// A file is written.
    File {
        /// Its name.
        name: String,
        /// What is in it.
        text: String,
        /// That it goes to the end of what is there.
        append: bool,
    },
    /// A block that is not run.
    NotRun {
        /// The line in the page, from 1.
        line: usize,
        /// Why not.
        reason: String,
    },
}

/// Every command of every block, in order.
pub fn steps(page: &str) -> Vec<Step> {
    let steps = events(page).into_iter().filter_map(|event| match event {
        Event::Typed(step) => Some(step),
        Event::File { .. } | Event::NotRun { .. } => None,
    });
    steps.collect()
}

/// Everything that a page does, in order.
pub fn events(page: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let inside = lines.by_ref().take_while(|(_, line)| *line != "```");
        let block: Vec<(usize, &str)> = inside.collect();
        if info == "console" {
            events.extend(typed(&block).into_iter().map(Event::Typed));
        } else if let Some(reason) = attribute(info, "not-run") {
            let (line, reason) = (index + 1, reason.to_owned());
            events.push(Event::NotRun { line, reason });
        } else if let Some((name, append)) = attribute(info, "title")
            .map(|name| (name, false))
            .or(attribute(info, "append").map(|name| (name, true)))
        {
            events.push(Event::File {
                name: name.to_owned(),
                text: block.iter().map(|(_, line)| format!("{line}\n")).collect(),
                append,
            });
        }
    }
    events
}

/// The value of `name="value"` in the line that opens a block.
fn attribute<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = info.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn typed(block: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &(index, line) in block {
        let typed = line.strip_prefix("$ ").or((line == "^C").then_some(line));
        if let Some(command) = typed {
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                expected: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            let goes_on = step.expected.is_empty() && step.command.ends_with('\\');
            if goes_on {
                step.command.push('\n');
                step.command.push_str(line);
            } else {
                step.expected.push(line.to_owned());
            }
        }
    }
    // An empty line before the next command is for the reader's eye.
    for step in &mut steps {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    steps
}

/// Whether `line` is what `expected` says.
pub fn matches(expected: &str, line: &str) -> bool {
    let (expected, line) = (comparable(expected), comparable(line));
    let mut pieces: Vec<&str> = expected.split("[..]").collect();
    let last = pieces.pop().unwrap_or_default();
    if pieces.is_empty() {
        return line == last;
    }
    let mut rest = line.as_str();
    for (index, piece) in pieces.into_iter().enumerate() {
        let after = if index == 0 {
            rest.strip_prefix(piece)
        } else {
            rest.split_once(piece).map(|(_, after)| after)
        };
        let Some(after) = after else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// The words of a line without what is never the same twice: `(12 ms)` is `(TIME)`, `pid 7` is
/// `pid NUMBER`.
fn comparable(line: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let before = words.last().cloned().unwrap_or_default();
        let number = before.trim_start_matches('(');
        let unit = word.trim_end_matches([',', ')']);
        if is_number(number) && ["us", "ms", "s", "min", "h", "days"].contains(&unit) {
            words.pop();
            words.push(format!(
                "{}{}",
                before.replace(number, "TIME"),
                word.replace(unit, "")
            ));
        } else if before == "pid" && is_number(unit) {
            words.push(word.replace(unit, "NUMBER"));
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// Says how `printed` differs from what the step expects; `None` when it does not.
pub fn difference(step: &Step, printed: &str) -> Option<String> {
    let printed: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
    let expected: Vec<&str> = step.expected.iter().map(|line| line.trim_end()).collect();
    (!all_match(&expected, &printed)).then(|| {
        format!(
            "line {}: `{}`\n--- the page says\n{}\n--- it printed\n{}\n",
            step.line,
            step.command,
            expected.join("\n"),
            printed.join("\n")
        )
    })
}

/// Whether the lines are those expected, one by one, where `...` stands for any number of them.
fn all_match(expected: &[&str], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], printed) => printed.is_empty(),
        (["...", rest @ ..], printed) => {
            (0..=printed.len()).any(|from| all_match(rest, printed.get(from..).unwrap_or_default()))
        }
        ([first, expected @ ..], [line, printed @ ..]) => {
            matches(first, line) && all_match(expected, printed)
        }
        (_, []) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_commands_and_their_output() {
        let page = "text\n```console\n$ a b\nout\n\n  more\n\n$ c\n```\n$ not this\n```console\n^C\nbye\n```\n";
        let steps: Vec<_> = steps(page)
            .into_iter()
            .map(|step| (step.line, step.command, step.expected))
            .collect();
        let expected = [
            (
                3,
                "a b".to_owned(),
                vec!["out".to_owned(), String::new(), "  more".to_owned()],
            ),
            (8, "c".to_owned(), vec![]),
            (12, "^C".to_owned(), vec!["bye".to_owned()]),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn files_and_blocks_that_are_not_run_are_read_too() {
        let page = "```toml title=\"a.toml\"\nx = 1\n\ny = 2\n```\n```toml\nz = 3\n```\n\
            ```console not-run=\"needs root\"\n$ rm\n```\n```console\n$ a \\\n    b\nout\n```\n";
        let step = Step {
            line: 13,
            command: "a \\\n    b".into(),
            expected: vec!["out".into()],
        };
        let file = Event::File {
            name: "a.toml".into(),
            text: "x = 1\n\ny = 2\n".into(),
            append: false,
        };
        let not_run = Event::NotRun {
            line: 9,
            reason: "needs root".into(),
        };
        assert_eq!(events(page), [file, not_run, Event::Typed(step)]);
    }

    #[test]
    fn three_dots_stand_for_any_number_of_lines() {
        for (expected, printed, same) in [
            (&["a", "...", "d"][..], &["a", "b", "c", "d"][..], true),
            (&["a", "...", "d"], &["a", "d"], true),
            (&["a", "...", "d"], &["a", "b"], false),
            (&["...", "d"], &["a", "d"], true),
            (&["a", "..."], &["a"], true),
            (&["a", "..."], &["b", "a"], false),
        ] {
            assert_eq!(
                all_match(expected, printed),
                same,
                "{expected:?} {printed:?}"
            );
        }
    }

    #[test]
    fn a_wildcard_stands_for_text_within_its_line() {
        for (expected, line, same) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a[..]c", "abbc", true),
            ("a[..]c", "ac", true),
            ("a[..]c", "abd", false),
            ("[..] kB, [..] calls", "12 kB, 3 calls", true),
            ("[..] kB, [..] calls", "12 MB, 3 calls", false),
            ("x[..]", "x", true),
            ("[..]", "", true),
            ("ab[..]b", "ab", false),
            ("swapped (12 ms), at 3 s", "swapped (9 us), at 2 min", true),
            ("swapped (12 ms), at 3 s", "swapped (9 us) at 2 min", false),
            ("12 slots", "13 slots", false),
            ("pid 4711, up", "pid 3, up", true),
            ("slot   state", "slot state", true),
        ] {
            assert_eq!(matches(expected, line), same, "{expected} / {line}");
        }
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let step = Step {
            line: 3,
            command: "a".into(),
            expected: vec!["one".into()],
        };
        assert_eq!(difference(&step, "one\n"), None);
        let shown = difference(&step, "two\n").expect("they differ");
        assert!(shown.contains("line 3") && shown.contains("one") && shown.contains("two"));
        assert!(difference(&step, "one\ntwo\n").is_some());
    }
}
