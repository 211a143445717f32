//! `|/pointer|new value|the text`, whatever the first byte is.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::tokens::assert_one_string_changed;
use super::{fields, place};
use crate::store::get;

/// A JSON text: one string changes, and every byte around it stays. What is read is what
/// `serde_json` reads, and nothing is read of what it takes for no JSON.
pub fn json(data: &[u8]) {
    let Some([pointer, new, content]) = fields(data) else { return };
    let Ok(pointer) = std::str::from_utf8(pointer) else { return };
    if new.is_empty() {
        return;
    }
    let to = place::at("json", Some(pointer), None);
    let read = get(content, &to);
    if let Ok(found) = &read {
        let other = value(content);
        assert!(is_json(content), "what is no JSON was read");
        let there = other.as_ref().and_then(|other| other.pointer(pointer));
        if let (Some(found), Some(_)) = (found, &other) {
            let text = there.and_then(Value::as_str).map(str::as_bytes);
            assert_eq!(Some(found.expose()), text, "two readers read it otherwise");
        }
        if found.is_none() {
            assert!(there.is_none_or(Value::is_null), "something is there, and was not found");
        }
    }
    let Some(now) = place::put(content, &to, new) else { return };
    assert!(is_json(&now), "what was written is no JSON");
    assert_one_string_changed(content, &now);
    if let (Some(mut before), Some(after)) = (value(content), value(&now)) {
        blank(&mut before, pointer);
        let mut same = after;
        blank(&mut same, pointer);
        assert_eq!(before, same, "another value has changed");
    }
}

fn plain(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(plain(text)).is_ok()
}

/// None where `serde_json` holds less than JSON can say: a number out of range, half a character.
fn value(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(plain(text)).ok()
}

/// Takes out what the pointer means.
fn blank(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        *value = Value::Null;
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.shift_remove(&name)),
        Some(Value::Array(list)) => {
            if let Some(slot) = name.parse().ok().and_then(|at: usize| list.get_mut(at)) {
                *slot = Value::Null;
            }
        }
        _ => {}
    }
}
