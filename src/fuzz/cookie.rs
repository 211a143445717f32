//! `|NAME@DOMAIN/PATH|new value|the file`, whatever the first byte is.

use super::tokens::assert_one_string_changed;
use super::{fields, place};
use crate::inventory::Part;

/// What a browser kept: one cookie's value changes, and every byte around it stays.
pub fn cookie(data: &[u8]) {
    let Some([name, new, content]) = fields(data) else { return };
    let name = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    let (Some(name), false) = (name, new.is_empty()) else { return };
    let to = place::at("file", None, Some(Part::Cookie(name)));
    let Some(now) = place::put(content, &to, new) else { return };
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if text.trim_ascii_start().starts_with(b"{") || text.trim_ascii_start().starts_with(b"[") {
        assert_one_string_changed(content, &now);
    } else {
        assert_one_field_changed(content, &now, new);
    }
}

/// Holds that one row ends in the new value where it ended in the old one, line end and all.
fn assert_one_field_changed(before: &[u8], after: &[u8], new: &[u8]) {
    let lines = |text| <[u8]>::split_inclusive(text, |byte| *byte == b'\n').collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    assert_eq!(before.len(), after.len(), "a line came or went");
    let mut changed = before.iter().zip(&after).filter(|(a, b)| a != b);
    let (was, is) = changed.next().unwrap();
    assert!(changed.next().is_none(), "two lines have changed");
    let value = was.iter().rposition(|byte| *byte == b'\t').unwrap() + 1;
    let end = was.len() - was.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
    assert_eq!(**is, [&was[..value], new, &was[end..]].concat());
}
