//! Lines and columns of bytes, for any number of them: a file is gone through once and then only looked up, so that
//! telling the place of every value of a file costs no more than reading it, whatever the length of its lines.

/// Bytes between two counts of characters.
const STRIDE: usize = 256;

/// Where lines begin, and how many characters come before every [`STRIDE`]th byte.
pub(super) struct Places<'t> {
    text: &'t [u8],
    lines: Vec<usize>,
    chars: Vec<usize>,
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.as_bytes();
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1));
        let chars = text.chunks(STRIDE).scan(0, |before, chunk| {
            let here = *before;
            *before += count(chunk);
            Some(here)
        });
        Self {
            text,
            lines: lines.collect(),
            chars: chars.collect(),
        }
    }

    /// Finds line and column of a byte, from 1; one beyond the end is at the end.
    pub(super) fn of(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        // The first line begins at 0, so there is always one.
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = self.chars_before(byte) - self.chars_before(start) + 1;
        (line, column)
    }

    fn chars_before(&self, byte: usize) -> usize {
        let Some(counted) = self.chars.get(byte / STRIDE) else {
            // The end of a text that fills its last stride, or of an empty one.
            let last = self.chars.len().saturating_sub(1);
            let rest = self.text.get(last * STRIDE..).unwrap_or_default();
            return self.chars.last().copied().unwrap_or_default() + count(rest);
        };
        let rest = self.text.get(byte / STRIDE * STRIDE..byte);
        counted + count(rest.unwrap_or_default())
    }
}

/// Counts characters by their first bytes.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xc0) != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let text = "a = 1\nä = 'ö' # x";
        let places = Places::new(text);
        assert_eq!(places.of(0), (1, 1));
        let sharp = text.find('#').unwrap();
        assert_eq!(places.of(sharp), (2, 9));
        assert_eq!(places.of(1_000), (2, 12));
    }

    #[test]
    fn places_far_into_a_text_are_those_that_counting_gives() {
        let full = "ä".repeat(STRIDE);
        let long = format!("{full}\n{}", "xö".repeat(1_000));
        for text in [&long, &full, "", "\n"] {
            let places = Places::new(text);
            let (mut line, mut column) = (1, 1);
            for (at, char) in text.char_indices() {
                assert_eq!(places.of(at), (line, column), "byte {at}");
                (line, column) = if char == '\n' {
                    (line + 1, 1)
                } else {
                    (line, column + 1)
                };
            }
            assert_eq!(places.of(text.len()), (line, column));
        }
    }
}
