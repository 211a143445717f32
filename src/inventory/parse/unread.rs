//! What is shown of a line in which the parser itself found fault.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{TABLES, credential, provider, role};
use crate::inventory::Problem;
use crate::inventory::position::{LineIndex, floor, locate};

/// A file that is no text.
pub(crate) struct NoText {
    /// Where the first byte stands that is no UTF-8.
    pub(crate) problem: Problem,
    /// What stands before it, which is all that an excerpt can show.
    pub(crate) before: Zeroizing<String>,
}

/// The bytes of an inventory or of a provider file as text.
///
/// # Errors
/// [`NoText`] if they are no UTF-8; no byte of them is repeated: it may be one of a secret.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<Zeroizing<String>, Box<NoText>> {
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let bytes = Zeroizing::new(error.into_bytes());
        let before = bytes.get(..end).and_then(|before| std::str::from_utf8(before).ok());
        let before = Zeroizing::new(before.unwrap_or_default().to_owned());
        let lines = LineIndex::new(&before);
        let problem = Problem::at(end..end, format!("byte {} is no UTF-8", end + 1))
            .hint("save the file as UTF-8: until then nothing in it can be used".to_owned())
            .masking(hidden(&before, &lines, end));
        let mut problems = [problem];
        locate(&mut problems, &before, &lines);
        let [problem] = problems;
        Box::new(NoText { problem, before })
    })
}

/// What of the line that an offset stands in is shown as dots: all behind a header, or behind a key
/// of the format. Where the parser lost its way a value may begin and end anywhere, and any other
/// word may be part of one: what looks like `key =` may be the end of something in base64.
pub(super) fn hidden(text: &str, lines: &LineIndex, offset: usize) -> Range<usize> {
    let line = lines.line(floor(text, offset));
    let start = lines.start(line);
    let end = Some(lines.start(line + 1)).filter(|next| *next > start).unwrap_or(text.len());
    start + shown(text.get(start..end).unwrap_or_default())..end
}

/// How much of a line is no value, whatever stands around it.
fn shown(line: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let rest = line.trim_start_matches([' ', '\t']);
    let inner = rest.trim_start_matches('[');
    let (word, behind) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
    let behind = match rest.len() > inner.len() {
        true if TABLES.contains(&word) => {
            behind.trim_start_matches(|c| is_name(c) || c == '.').trim_start_matches(']')
        }
        false if is_key(word) => behind.trim_start_matches([' ', '\t', '=']),
        _ => inner,
    };
    line.len() - behind.len()
}

fn is_key(word: &str) -> bool {
    let mut known = TABLES.iter().chain(&role::OF_ROLE).chain(&credential::OF_ROLE);
    known.any(|key| *key == word) || provider::OF_PROVIDER.contains(&word)
}
