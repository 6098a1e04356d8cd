//! Letters that change how others are shown. Words of operators and components are repeated to other people, who must
//! see what was said and nothing that only looks like it: a forged line, a text turned round.

/// Tells whether a letter steers a display instead of being shown: control characters, line and paragraph separators,
/// and what turns the direction of a text or hides in it (the `Bidi_Control` characters of Unicode's UAX #9, and those
/// without width; joiners are parts of words in many scripts and stay).
#[must_use]
pub fn steers_display(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_display_is_told_from_what_is_shown() {
        for letter in
            "\0\t\r\n\u{1b}\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{e0041}".chars()
        {
            assert!(steers_display(letter), "{letter:?}");
        }
        // A joiner in an emoji and in Persian, a combining accent, a space without a break.
        for letter in "a ß\u{301}\u{200c}\u{200d}\u{a0}漢字🦀".chars() {
            assert!(!steers_display(letter), "{letter:?}");
        }
    }
}
