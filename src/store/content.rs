//! One value within the content of a file: read, or put in with all else kept byte for byte.

use zeroize::Zeroizing;

use super::{Edit, because, dotenv, json, part, whole};
use crate::engine::call::{Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// The value that a reference means; none where there is none.
///
/// # Errors
/// [`Reason::Unreadable`], with a word: `bad-reference`, `malformed`, `duplicate-key`,
/// `not-a-string`.
pub(super) fn get(content: &[u8], at: &SecretRef) -> Result<Option<Secret>, Why> {
    let whole = match (at.scheme.as_str(), &at.fragment) {
        ("file", None) => Some(Secret::new(content[..body(content)].to_vec())),
        ("dotenv", Some(key)) => dotenv::get(content, key)?,
        ("json", Some(pointer)) => json::get(content, pointer)?,
        _ => return Err(because(Reason::Unreadable, "bad-reference")),
    };
    match (&at.part, whole) {
        (Some(part), Some(whole)) => part::get(&whole, part),
        (_, whole) => Ok(whole),
    }
}

/// The content with the value put in.
///
/// # Errors
/// [`Reason::Unwritable`] if the format has no room for it, and what [`get`] says.
pub(super) fn set(content: &[u8], at: &SecretRef, new: &Secret) -> Result<Zeroizing<Vec<u8>>, Why> {
    let within;
    let new = match &at.part {
        None => new,
        Some(part) => {
            let old = get(content, &whole(at))?.filter(|old| !old.is_empty());
            let old = old.ok_or_else(|| because(Reason::Unwritable, "no-such-key"))?;
            within = part::set(&old, part, new)?;
            &within
        }
    };
    match (at.scheme.as_str(), &at.fragment) {
        ("file", None) => Ok(replaced(content, 0..body(content), new.expose())),
        ("dotenv", Some(key)) => dotenv::set(content, key, new.expose()),
        ("json", Some(pointer)) => json::set(content, pointer, new.expose()),
        ("line", _) => Err(because(Reason::Unsupported, "read-only-store")),
        _ => Err(because(Reason::Unreadable, "bad-reference")),
    }
}

/// The content with all edits made, or with none; none as well where it holds all of them already.
///
/// # Errors
/// [`Reason::PlaceChanged`] if a place holds neither what it should nor the new one;
/// [`Reason::Unwritable`] with `not-representable` if reading would give something else back.
pub(super) fn edited(content: &[u8], edits: &[Edit]) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
    let mut edited: Option<Zeroizing<Vec<u8>>> = None;
    for edit in edits {
        let content = edited.as_ref().map_or(content, |edited| edited.as_slice());
        let now = get(content, &edit.to)?.filter(|now| !now.is_empty());
        if let Some(now) = now {
            if now.same(&edit.new) {
                continue;
            }
            if edit.old.as_ref().is_some_and(|old| !now.same(old)) {
                return Err(Reason::PlaceChanged.into());
            }
        }
        edited = Some(set(content, &edit.to, &edit.new)?);
    }
    if let Some(edited) = &edited
        && !holds(edited, edits)
    {
        return Err(because(Reason::Unwritable, "not-representable"));
    }
    Ok(edited)
}

/// Whether every place holds its new value.
pub(super) fn holds(content: &[u8], edits: &[Edit]) -> bool {
    edits.iter().all(|edit| matches!(get(content, &edit.to), Ok(Some(now)) if now.same(&edit.new)))
}

/// A new buffer of the right size from the start: one that grows leaves copies behind.
pub(super) fn replaced(
    content: &[u8],
    span: std::ops::Range<usize>,
    with: &[u8],
) -> Zeroizing<Vec<u8>> {
    let (before, after) = (&content[..span.start], &content[span.end..]);
    let mut all = Zeroizing::new(Vec::with_capacity(before.len() + with.len() + after.len()));
    all.extend_from_slice(before);
    all.extend_from_slice(with);
    all.extend_from_slice(after);
    all
}

/// Where the value of a `file:` ends: one line end behind it is the editor's, not the secret's.
fn body(content: &[u8]) -> usize {
    let content = content
        .strip_suffix(b"\n")
        .map_or(content, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    content.len()
}
