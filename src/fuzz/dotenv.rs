//! `|KEY|new value|the file`, whatever the first byte is.

use std::ops::Range;

use super::{fields, place};
use crate::store::keys;

/// An environment file: one value changes, and every byte around it stays.
pub fn dotenv(data: &[u8]) {
    let Some([key, new, content]) = fields(data) else { return };
    let Ok(key) = std::str::from_utf8(key) else { return };
    if new.is_empty() {
        return;
    }
    let before = keys(content);
    assert!(before.iter().all(|(_, span)| content.get(span.clone()).is_some()));
    let to = place::at("dotenv", Some(key), None);
    let Some(now) = place::put(content, &to, new) else { return };
    let after = keys(&now);
    let names = |keys: &[(String, Range<usize>)]| -> Vec<String> {
        keys.iter().map(|(name, _)| name.clone()).collect()
    };
    let mut wanted = names(&before);
    if !wanted.iter().any(|name| name == key) {
        wanted.push(key.to_owned());
        assert!(now.starts_with(content), "what stands before an added line has changed");
    } else {
        let frames = (around(content, &before, key), around(&now, &after, key));
        assert_eq!(frames.0, frames.1, "what stands around the value has changed");
    }
    assert_eq!(names(&after), wanted, "another line is read as a key, or is no longer");
}

/// The file in pieces, without what stands behind the `=` of one key.
fn around<'a>(content: &'a [u8], keys: &[(String, Range<usize>)], key: &str) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (_, span) in keys.iter().filter(|(name, _)| name == key) {
        pieces.push(&content[from..span.start]);
        from = span.end;
    }
    pieces.push(&content[from..]);
    pieces
}
