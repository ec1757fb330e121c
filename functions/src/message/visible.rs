//! Whether a text has anything visible.

/// Whether any character is visible. `web/src/model/visible.ts` has the same rule.
pub fn is_visible(text: &str) -> bool {
    text.chars()
        .any(|c| !c.is_whitespace() && !c.is_control() && !shows_nothing(c))
}

/// Characters that Unicode leaves invisible (property `Default_Ignorable_Code_Point`: zero-width
/// characters, fillers, direction marks), and two that fonts leave empty: annotation marks and the
/// blank of Braille.
fn shows_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_control_characters_and_fillers_show_nothing() {
        for text in [
            "",
            " \n\t\u{a0}\u{3000}",
            "\u{7}\u{1b}\u{85}",
            "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}",
            "\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}",
            "\u{3164}\u{115f}\u{ffa0}\u{2800}\u{fff9}",
            "\u{fe0f}\u{e0041}\u{34f}",
        ] {
            assert!(!is_visible(text), "{text:?}");
        }
    }

    #[test]
    fn whatever_one_sees_is_visible_also_among_what_one_does_not() {
        for text in [
            "x",
            "\u{200b}.",
            "👍🏽",
            "👩‍💻",
            "可",
            "\u{202e}א",
            "´",
            "\u{e000}",
        ] {
            assert!(is_visible(text), "{text:?}");
        }
    }
}
