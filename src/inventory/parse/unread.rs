//! What is shown of a line in which the parser itself found fault.

use std::ops::Range;

use super::{TABLES, credential, provider, role};
use crate::inventory::position::{LineIndex, floor};

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
