//! Text from documents that people read, on a terminal or in a browser.

use std::fmt::Write as _;

/// Text without what moves a cursor or turns the direction of writing. The renderer has escaped control characters, but
/// documents may come from elsewhere; direction marks are valid text there, and deceive only eyes.
pub(super) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            // Writing to a String cannot fail.
            let _ = write!(harmless, "\\u{{{:x}}}", u32::from(character));
        } else {
            harmless.push(character);
        }
    }
    harmless
}
