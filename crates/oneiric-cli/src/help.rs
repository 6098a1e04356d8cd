//! The end of `oneiric --help`: exit codes and variables, made from the tables the program itself
//! goes by, so that the help cannot say anything else.

use crate::args::EXAMPLES;
use crate::env_vars;
use crate::exit::Exit;

/// Where the texts beside the names begin, and where lines end.
const WIDTH: usize = 96;

/// Examples, exit codes and variables.
pub(crate) fn long() -> String {
    let mut text = format!("{EXAMPLES}\n\nExit codes:\n");
    for (exit, meaning) in Exit::ALL {
        text.push_str(&entry(&exit.number().to_string(), 2, meaning));
    }
    text.push_str("\nEnvironment:\n");
    let longest = env_vars::ALL
        .iter()
        .map(|variable| variable.name.len())
        .max()
        .unwrap_or(0);
    for variable in env_vars::ALL {
        text.push_str(&entry(variable.name, longest, variable.doc));
    }
    text.truncate(text.trim_end().len());
    text
}

/// A name and its text, the text's further lines below its first.
fn entry(name: &str, width: usize, text: &str) -> String {
    let mut lines = vec![format!("  {name:<width$}  ")];
    let indent = width + 4;
    for word in text.split_whitespace() {
        let fits = lines
            .last()
            .is_some_and(|line| line.len() + word.len() < WIDTH);
        if !fits {
            lines.push(" ".repeat(indent));
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_and_variable_is_in_the_help() {
        let help = long();
        for (exit, meaning) in Exit::ALL {
            assert!(
                help.contains(&format!("  {:<2}  {meaning}\n", exit.number())),
                "{exit:?}"
            );
        }
        for variable in env_vars::ALL {
            assert!(
                help.contains(&format!("  {}", variable.name)),
                "{}",
                variable.name
            );
        }
    }

    #[test]
    fn long_texts_go_on_below_themselves() {
        let text = entry("NAME", 6, &"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.starts_with("  NAME    word word"), "{text}");
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with("          word")),
            "{text}"
        );
    }
}
