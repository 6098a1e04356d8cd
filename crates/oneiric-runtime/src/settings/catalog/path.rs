//! Keys as people write them: `admin.tcp.listen`, `selections."adapter/cache"`, `candidates[0].slot`.

use std::fmt;

/// One step into a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::settings) enum Step {
    Name(String),
    Index(usize),
}

/// Reads a whole key. Names with dots or brackets in them stand between quotes; a slot needs none.
///
/// # Errors
/// What is wrong with it.
pub(in crate::settings) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = name(rest)?;
        steps.push(Step::Name(name));
        rest = after;
        while let Some(bracket) = rest.strip_prefix('[') {
            let (index, after) = bracket
                .split_once(']')
                .ok_or_else(|| format!("a bracket is not closed in {text:?}"))?;
            let index = index
                .trim()
                .parse()
                .map_err(|_| format!("{index:?} is no number of an entry in {text:?}"))?;
            steps.push(Step::Index(index));
            rest = after;
        }
        if rest.is_empty() {
            return Ok(steps);
        }
        rest = rest
            .strip_prefix('.')
            .ok_or_else(|| format!("a dot is missing in {text:?} before {rest:?}"))?;
    }
}

fn name(rest: &str) -> Result<(String, &str), String> {
    let quote = rest
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''));
    if let Some(quote) = quote {
        let (name, after) = rest
            .get(1..)
            .and_then(|inner| inner.split_once(quote))
            .ok_or_else(|| format!("a quote is not closed in {rest:?}"))?;
        return Ok((name.to_owned(), after));
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.trim().is_empty() {
        return Err("a name in the key is empty".to_owned());
    }
    Ok((name.trim().to_owned(), after))
}

/// A name within a key, as it is written in TOML.
pub(in crate::settings) fn quoted(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// The key of `name` in a section.
pub(in crate::settings) fn joined(section: &str, name: &str) -> String {
    if section.is_empty() {
        quoted(name)
    } else {
        format!("{section}.{}", quoted(name))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&quoted(name)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        let names = |text: &str| -> Vec<String> {
            steps(text).unwrap().iter().map(Step::to_string).collect()
        };
        assert_eq!(names("a.b_c.d"), ["a", "b_c", "d"]);
        assert_eq!(
            names("selections.\"adapter/cache\""),
            names("selections.adapter/cache")
        );
        assert_eq!(names("candidates[12].slot"), ["candidates", "[12]", "slot"]);
        assert_eq!(
            names("providers.'a.b/c'.x"),
            ["providers", "\"a.b/c\"", "x"]
        );
        for wrong in ["", "a..b", "a[x]", "a[1", "\"a", "\"a\"b", "."] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
