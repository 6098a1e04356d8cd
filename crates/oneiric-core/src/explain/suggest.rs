//! Guesses which provider a mistyped selection meant.

use crate::name::Provider;

/// Returns the provider nearest to `wanted`, when it is near enough to be a slip of the hand.
pub(super) fn nearest(wanted: &Provider, known: &[&Provider]) -> Option<Provider> {
    let allowed = (wanted.as_str().len() / 3).clamp(1, 3);
    let distances = known
        .iter()
        .map(|name| (distance(wanted.as_str(), name.as_str()), *name));
    let (best, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (best <= allowed).then(|| name.clone())
}

/// Counts the single-character insertions, removals and replacements between two names (ASCII, so bytes do), whatever
/// their case.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let names = ["redis", "memory", "file"].map(|name| Provider::new(name).unwrap());
        let known: Vec<&Provider> = names.iter().collect();
        let guess = |text: &str| nearest(&Provider::new(text).unwrap(), &known);
        assert_eq!(guess("redus").as_ref(), Some(&names[0]));
        assert_eq!(guess("REDIS").as_ref(), Some(&names[0]));
        assert_eq!(guess("memroy").as_ref(), Some(&names[1]));
        assert_eq!(guess("postgres"), None);
        assert_eq!(nearest(&names[0], &[]), None);
    }
}
