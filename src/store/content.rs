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
pub(crate) fn get(content: &[u8], at: &SecretRef) -> Result<Option<Secret>, Why> {
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
        _ => Err(because(Reason::Unreadable, "bad-reference")),
    }
}

/// The content with all edits made, or with none; none as well where it holds all of them already.
///
/// # Errors
/// [`Reason::PlaceChanged`] if a place holds neither what it should nor the new one;
/// [`Reason::Unwritable`] with `not-representable` if reading would give something else back.
pub(crate) fn edited(content: &[u8], edits: &[Edit]) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(scheme: &str, fragment: Option<&str>) -> SecretRef {
        let fragment = fragment.map(str::to_owned);
        SecretRef { scheme: scheme.into(), path: "/any".into(), fragment, part: None }
    }

    fn edit(to: &SecretRef, old: Option<&str>, new: &[u8]) -> Edit {
        let old = old.map(|old| Secret::from(old.to_owned()));
        Edit { to: to.clone(), old, new: Secret::new(new.to_vec()) }
    }

    /// Lines of an environment file that set anything but `K`.
    fn other_lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just(String::new()),
            "# [ -~]{0,12}",
            "(export )?[A-JL-Z][A-Z_]{0,5} ?= ?[a-z0-9=#/]{0,9}( # [a-z'\"]{0,4})?",
            "[A-JL-Z]=\"[a-z $#'K=]{0,9}(\\\\n)?\" ?(#x)?",
            "[A-JL-Z]='[a-z $#\"K=\\\\]{0,9}'",
            "[A-JL-Z]=\"[a-z]{0,4}\nK=[a-z]{0,4}\"",
            "[a-z ]{0,9}",
        ];
        (prop::collection::vec(line, 0..5), prop::bool::ANY).prop_map(|(lines, crlf)| {
            let end = if crlf { "\r\n" } else { "\n" };
            lines.iter().map(|line| format!("{line}{end}")).collect()
        })
    }

    fn any_secret() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[!-~]{1,40}".prop_map(String::into_bytes),
            "[ '\"\\\\\n\r\t#$`=x]{1,12}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..40),
        ]
    }

    /// How `K` may be set to `old`: before and behind it, and the same without its quotes.
    fn frame() -> impl Strategy<Value = [&'static str; 4]> {
        prop_oneof![
            Just(["K=", "", "K=", ""]),
            Just(["export K = '", "' # c", "export K = ", " # c"]),
            Just(["K=\"", "\"", "K=", ""]),
            Just([" K=", "  # c", " K=", "  # c"]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn an_environment_file_gives_back_what_was_put_in_and_keeps_all_else(
            before in other_lines(),
            [open, close, start, end] in frame(),
            after in other_lines(),
            new in any_secret(),
        ) {
            prop_assume!(new != b"old");
            let to = at("dotenv", Some("K"));
            let content = format!("{before}{open}old{close}\n{after}");
            let now = edited(content.as_bytes(), &[edit(&to, Some("old"), &new)]).unwrap().unwrap();
            let value = get(&now, &to).unwrap().unwrap();
            prop_assert_eq!(value.expose(), &new);
            prop_assert!(now.starts_with(format!("{before}{start}").as_bytes()), "{:?}", now);
            prop_assert!(now.ends_with(format!("{end}\n{after}").as_bytes()), "{:?}", now);
        }

        #[test]
        fn a_key_added_to_an_environment_file_leaves_all_before_it(
            before in other_lines(),
            new in any_secret(),
        ) {
            let to = at("dotenv", Some("K"));
            let now = edited(before.as_bytes(), &[edit(&to, Some(""), &new)]).unwrap().unwrap();
            let value = get(&now, &to).unwrap().unwrap();
            prop_assert_eq!(value.expose(), &new);
            prop_assert!(now.starts_with(before.as_bytes()));
        }

        #[test]
        fn a_json_text_gives_back_what_was_put_in_and_keeps_all_else(
            indent in "[ \t\r\n]{0,3}",
            key in "[ -~é]{1,8}",
            other in "[ -~é]{0,8}",
            new in "\\PC{1,40}|[\u{0}-\u{1f}\"\\\\]{1,9}",
        ) {
            let other = format!("-{other}");
            prop_assume!(key != "-" && key != other && new != "old");
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let (key_token, other) = (quoted(&key), quoted(&other));
            let before = format!("{{{indent}{other}:[1.0,{{}}],{indent}{key_token}:{indent}");
            let after = format!("{indent},\"-\":{{\"a\" : null}} }}\n");
            let to = at("json", Some(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))));
            let content = format!("{before}\"old\"{after}");
            let edit = edit(&to, Some("old"), new.as_bytes());
            let now = edited(content.as_bytes(), &[edit]).unwrap().unwrap();
            prop_assert!(now.starts_with(before.as_bytes()) && now.ends_with(after.as_bytes()));
            let parsed: serde_json::Value = serde_json::from_slice(&now).unwrap();
            prop_assert_eq!(parsed[&key].as_str().unwrap(), new);
        }

        #[test]
        fn what_is_read_as_json_is_what_serde_reads(text in "[\\[{}\\]\"k:,0-9ntrue\\\\ -]{0,24}") {
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            let read = get(text.as_bytes(), &at("json", Some("")));
            if let Ok(serde_json::Value::String(value)) = parsed {
                let read = read.unwrap().unwrap();
                prop_assert_eq!(read.expose(), value.as_bytes());
            } else {
                prop_assert!(!matches!(read, Ok(Some(_))), "{}", text);
            }
        }

        #[test]
        fn no_content_makes_an_edit_panic_or_give_back_anything_else(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[K=\"'` #\\\\\r\n{}:,x]{0,40}".prop_map(String::into_bytes),
            ],
            new in any_secret(),
        ) {
            for to in [at("dotenv", Some("K")), at("json", Some("/K")), at("file", None)] {
                if let Ok(Some(now)) = edited(&content, &[edit(&to, None, &new)]) {
                    let value = get(&now, &to).unwrap().unwrap();
                    prop_assert_eq!(value.expose(), &new);
                }
            }
        }
    }
}
