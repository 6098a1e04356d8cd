//! Finds any of many texts in a text, in one pass whatever their number.
//!
//! An automaton over whole secrets would take some fifty bytes for each byte of each form of each secret, and as long to
//! build. So it looks for a few bytes of each form only, the *window*, and where one turns up the rest of the form is
//! compared. A window is taken from a place that no other form has the same in, if there is one: the beginnings of keys
//! and tokens are much alike.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::forms::Forms;

/// The length of a window, in bytes; that of a shorter form is the form.
const WINDOW: usize = 8;
/// Where in a form a window is looked for, in eighths of what is before the last one: from the middle outwards.
const PLACES: [usize; 9] = [4, 3, 5, 2, 6, 1, 7, 0, 8];

/// Knows what is searched for.
pub(super) enum Search {
    For(Windows),
    /// The automaton could not be built; nothing may pass then.
    Impossible,
}

pub(super) struct Windows {
    automaton: AhoCorasick,
    /// By the automaton's numbers: the forms that have this window.
    behind: Vec<Range<usize>>,
    forms: Vec<Form>,
    /// Those with a line end in them, which a writer that goes by lines must not tear apart.
    of_lines: Vec<usize>,
    /// The length of the longest form.
    longest: usize,
}

struct Form {
    of: Arc<Forms>,
    number: usize,
    /// Where its window is.
    window: usize,
}

impl Form {
    fn text(&self) -> &str {
        self.of.all().get(self.number).map_or("", |form| form)
    }

    fn window(&self) -> &[u8] {
        window_at(self.text().as_bytes(), self.window)
    }
}

impl Search {
    /// A search for every form of `secrets`; `None` where there is none. Takes its time.
    pub(super) fn of(secrets: &[Arc<Forms>]) -> Option<Self> {
        let mut forms = distinct(secrets);
        if forms.is_empty() {
            return None;
        }
        forms.sort_by(|left, right| left.window().cmp(right.window()));
        let mut behind: Vec<Range<usize>> = Vec::new();
        for at in 0..forms.len() {
            match behind.last_mut() {
                Some(same) if forms[same.start].window() == forms[at].window() => same.end = at + 1,
                _ => behind.push(at..at + 1),
            }
        }
        let windows = behind.iter().map(|same| forms[same.start].window());
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(windows);
        let Ok(automaton) = automaton else {
            return Some(Self::Impossible);
        };
        let longest = forms.iter().map(|form| form.text().len()).max();
        let of_lines = 0..forms.len();
        Some(Self::For(Windows {
            automaton,
            behind,
            of_lines: of_lines
                .filter(|at| forms[*at].text().contains('\n'))
                .collect(),
            longest: longest.unwrap_or(0),
            forms,
        }))
    }

    /// Where secrets stand, in order, overlaps joined; `None` when that cannot be told.
    pub(super) fn spans(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let Self::For(windows) = self else {
            return None;
        };
        let mut found = windows.all_in(text)?;
        found.sort_unstable_by_key(|span| span.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for span in found {
            match joined.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        Some(joined)
    }

    /// How much of `text`, which ends with a line end, may be passed on before what follows is known.
    pub(super) fn passable_lines(&self, text: &str) -> usize {
        let Self::For(windows) = self else {
            return text.len();
        };
        let of_lines = windows.of_lines.iter().map(|at| windows.forms[*at].text());
        let unfinished = of_lines.map(|form| longest_overlap(text, form)).max();
        match unfinished {
            Some(unfinished) => self.cut(text, text.len() - unfinished),
            None => text.len(),
        }
    }

    /// How much of `text`, a line without an end, may be passed on before what follows is known.
    pub(super) fn passable_part(&self, text: &str) -> usize {
        match self {
            Self::For(windows) => self.cut(text, text.len().saturating_sub(windows.longest)),
            Self::Impossible => text.len(),
        }
    }

    /// The last place up to `wanted` at which `text` may be cut without tearing a secret in two.
    fn cut(&self, text: &str, wanted: usize) -> usize {
        let spans = self.spans(text).unwrap_or_default();
        let torn = spans
            .iter()
            .find(|span| span.start < wanted && wanted < span.end);
        text.floor_char_boundary(torn.map_or(wanted, |span| span.start))
    }

    /// How many forms are searched for, and the bytes that the automaton was built from.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let Self::For(windows) = self else {
            return (0, 0);
        };
        let first = windows.behind.iter().map(|same| &windows.forms[same.start]);
        let bytes = first.map(|form| form.window().len()).sum();
        (windows.forms.len(), bytes)
    }
}

impl Windows {
    fn all_in(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut found = Vec::new();
        for hit in self.automaton.try_find_overlapping_iter(text).ok()? {
            for form in &self.forms[self.behind[hit.pattern()].clone()] {
                let Some(start) = hit.start().checked_sub(form.window) else {
                    continue;
                };
                let whole = start..start + form.text().len();
                // As bytes: where it is another text, it may begin or end within a character.
                if text.as_bytes().get(whole.clone()) == Some(form.text().as_bytes()) {
                    found.push(whole);
                }
            }
        }
        Some(found)
    }
}

/// Every form, each once, with its window.
fn distinct(secrets: &[Arc<Forms>]) -> Vec<Form> {
    let (mut seen, mut taken) = (HashSet::new(), HashMap::new());
    let mut forms = Vec::new();
    for of in secrets {
        for (number, form) in of.all().iter().enumerate() {
            if !seen.insert(form.as_str()) {
                continue;
            }
            let window = place(form.as_bytes(), &taken);
            *taken.entry(window_at(form.as_bytes(), window)).or_default() += 1;
            forms.push(Form {
                of: Arc::clone(of),
                number,
                window,
            });
        }
    }
    forms
}

/// Where the window of `form` is, given how many have which already: at a place that tells it from others.
fn place(form: &[u8], taken: &HashMap<&[u8], u32>) -> usize {
    let last = form.len().saturating_sub(WINDOW);
    let places = PLACES.map(|eighth| last * eighth / 8);
    let crowd = |place: &usize| {
        let window = window_at(form, *place);
        let mut bytes = window.to_vec();
        bytes.sort_unstable();
        bytes.dedup();
        // Much the same byte turns up in texts that have nothing to do with it.
        (bytes.len() < 4, taken.get(window).copied().unwrap_or(0))
    };
    places.into_iter().min_by_key(crowd).unwrap_or(0)
}

fn window_at(form: &[u8], place: usize) -> &[u8] {
    let rest = form.get(place..).unwrap_or_default();
    rest.get(..WINDOW).unwrap_or(rest)
}

/// How many bytes at the end of `text` are the beginning of `pattern`, but not all of it.
fn longest_overlap(text: &str, pattern: &str) -> usize {
    let longest = pattern.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| {
            pattern.is_char_boundary(*length)
                && text.as_bytes().ends_with(&pattern.as_bytes()[..*length])
        })
        .unwrap_or(0)
}
