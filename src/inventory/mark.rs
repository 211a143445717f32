//! Edits of the text: a role marked as contained or disabled, and released. All else stays byte
//! for byte, comments and formatting included: the change is spliced in at the place the parser
//! names, nothing is written anew.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Mark;

/// Why a mark cannot be written into an inventory; a person has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotMark {
    /// Nothing in it can be placed.
    #[error("the inventory is no TOML")]
    NotToml,
    /// It has no such role.
    #[error("the inventory has no such role")]
    UnknownRole,
    /// It is valid, but nothing can be added to or taken from it as it is written.
    #[error("the role is written in a form that takes no mark (inline, or with dotted keys)")]
    Form,
}

/// The text with `contained = { since, because, run }` in the role; an earlier one is replaced.
///
/// # Errors
/// [`CannotMark`]; then the mark is a todo for a person.
pub(crate) fn contained(text: &str, role: &str, mark: &Mark) -> Result<String, CannotMark> {
    put(text, role, "contained", mark)
}

/// The text without either mark; the same text where there is none.
///
/// # Errors
/// As [`contained`].
pub(crate) fn released(text: &str, role: &str) -> Result<String, CannotMark> {
    let text = take(text, role, "contained")?;
    take(&text, role, "disabled")
}

fn put(text: &str, role: &str, key: &str, mark: &Mark) -> Result<String, CannotMark> {
    let value = inline(mark);
    let edited = match Place::of(text, role, key)? {
        Place { value: Some(span), .. } => splice(text, span, &value),
        Place { header, .. } if text.get(header.clone()).is_some_and(|it| it.starts_with('[')) => {
            let line = line_end(text, header.end);
            let end = newline(text);
            match text.get(line..).filter(|rest| !rest.is_empty()) {
                Some(_) => splice(text, line..line, &format!("{key} = {value}{end}")),
                None if text.ends_with('\n') => format!("{text}{key} = {value}{end}"),
                None => format!("{text}{end}{key} = {value}"),
            }
        }
        // Only `[[role.R.credential]]` is there: the role's own table may follow it.
        _ => {
            let end = newline(text);
            let gap = if text.ends_with('\n') { "" } else { end };
            format!("{text}{gap}{end}[role.{}]{end}{key} = {value}{end}", quoted(role)?)
        }
    };
    // Whatever form the text has: an edit counts only if it is read back.
    match Place::of(&edited, role, key) {
        Ok(Place { value: Some(_), .. }) => Ok(edited),
        _ => Err(CannotMark::Form),
    }
}

fn take(text: &str, role: &str, key: &str) -> Result<String, CannotMark> {
    let Place { key: Some(key_at), value: Some(value), .. } = Place::of(text, role, key)? else {
        return Ok(text.to_owned());
    };
    let line =
        text.get(..key_at.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let alone = text.get(line..key_at.start).is_some_and(|before| before.trim().is_empty());
    if !alone || !text.get(value.clone()).is_some_and(|it| it.starts_with('{')) {
        return Err(CannotMark::Form);
    }
    let end = line_end(text, value.end);
    // The last line of a text that ends without a break was put there behind one.
    let last = end == text.len() && !text.ends_with('\n');
    let before = text.get(..line).unwrap_or_default();
    let line = if last { before.trim_end_matches(['\r', '\n']).len() } else { line };
    let edited = splice(text, line..end, "");
    match Place::of(&edited, role, key) {
        Ok(Place { value: None, .. }) => Ok(edited),
        _ => Err(CannotMark::Form),
    }
}

/// Where a role, and a key of it, stand.
struct Place {
    header: Range<usize>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Place {
    fn of(text: &str, role: &str, key: &str) -> Result<Self, CannotMark> {
        let document = DeTable::parse(text).map_err(|_| CannotMark::NotToml)?;
        let roles = document.get_ref().get("role").and_then(|roles| roles.get_ref().as_table());
        let field = roles.and_then(|roles| roles.get(role)).ok_or(CannotMark::UnknownRole)?;
        let DeValue::Table(table) = field.get_ref() else { return Err(CannotMark::Form) };
        let found = table.get_key_value(key);
        Ok(Self {
            header: field.span(),
            key: found.map(|(key, _)| key.span()),
            value: found.map(|(_, value)| value.span()),
        })
    }
}

fn inline(mark: &Mark) -> String {
    let fields = [("since", &mark.since), ("because", &mark.because), ("run", &mark.run)];
    let given = fields.iter().filter_map(|(key, value)| {
        let plain = value.as_ref()?.replace(char::is_control, " ");
        Some(format!("{key} = {}", toml::Value::String(plain)))
    });
    let given = given.collect::<Vec<_>>().join(", ");
    if given.is_empty() { "{}".to_owned() } else { format!("{{ {given} }}") }
}

fn quoted(role: &str) -> Result<String, CannotMark> {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if role.bytes().all(bare) {
        return Ok(role.to_owned());
    }
    let quotable = role.bytes().all(|b| bare(b) || b == b'.');
    if quotable { Ok(format!("\"{role}\"")) } else { Err(CannotMark::Form) }
}

fn splice(text: &str, span: Range<usize>, with: &str) -> String {
    let (before, behind) = (text.get(..span.start), text.get(span.end..));
    [before.unwrap_or_default(), with, behind.unwrap_or_default()].concat()
}

/// Behind the line break that ends the line of an offset.
fn line_end(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.find('\n').map_or(rest.len(), |at| at + 1)
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;

    fn mark() -> Mark {
        Mark {
            since: Some("2026-11-21T09:14:03.000Z".into()),
            because: Some("sent \"odd\" mail\n# at night".into()),
            run: Some("r1".into()),
        }
    }

    const TEXT: &str = "# mine\n[role.mail]   # the desk\n  purpose = 'é'\n\n[[role.mail.credential]]\nname = 'a'\n\
        provider = 'acme'\nsecret = 'env:A'\n# tail";

    #[test]
    fn one_line_is_added_and_taken_away() {
        let edited = contained(TEXT, "mail", &mark()).unwrap();
        let line = "contained = { since = \"2026-11-21T09:14:03.000Z\", \
                    because = 'sent \"odd\" mail # at night', run = \"r1\" }\n";
        assert_eq!(edited, TEXT.replace("desk\n", &format!("desk\n{line}")));
        let inventory = Inventory::parse(&edited).unwrap();
        assert_eq!(inventory.problems, []);
        assert_eq!(inventory.roles["mail"].contained.as_ref().unwrap().run.as_deref(), Some("r1"));
        assert_eq!(released(&edited, "mail").unwrap(), TEXT);
    }

    #[test]
    fn an_earlier_mark_is_replaced_and_both_are_released() {
        let once = contained(TEXT, "mail", &mark()).unwrap();
        let again = Mark { run: Some("r2".into()), ..Mark::default() };
        let twice = contained(&once, "mail", &again).unwrap();
        assert!(twice.contains("\ncontained = { run = \"r2\" }\n") && !twice.contains("r1"));
        let both = put(&twice, "mail", "disabled", &mark()).unwrap();
        assert!(Inventory::parse(&both).unwrap().roles["mail"].disabled.is_some());
        assert_eq!(released(&both, "mail").unwrap(), TEXT);
    }

    #[test]
    fn every_ending_comes_back_byte_for_byte() {
        for text in [
            TEXT.replace('\n', "\r\n"),
            "\u{feff}[role.mail]\npurpose = 'x'\n".to_owned(),
            "[role.mail]".to_owned(),
            "[role.mail]\n".to_owned(),
            "[role.mail] # é".to_owned(),
            "[role.'mail']\n[role.mail.vendor]\nname = 'x'\n".to_owned(),
            include_str!("../../inventory.example.toml").replace("mail-agent]", "mail]"),
        ] {
            let edited = contained(&text, "mail", &mark()).unwrap();
            assert_ne!(edited, text);
            assert_eq!(released(&edited, "mail").unwrap(), text);
        }
    }

    #[test]
    fn a_role_without_a_table_of_its_own_gets_one() {
        let text = "[[role.'a.b'.credential]]\nname = 'x'\n";
        let edited = contained(text, "a.b", &Mark::default()).unwrap();
        assert_eq!(edited, format!("{text}\n[role.\"a.b\"]\ncontained = {{}}\n"));
        assert!(Inventory::parse(&edited).unwrap().roles["a.b"].contained.is_some());
    }

    #[test]
    fn what_cannot_be_marked_is_said() {
        let mark = |text| contained(text, "mail", &Mark::default());
        assert_eq!(mark("[role.mail"), Err(CannotMark::NotToml));
        assert_eq!(mark("[role.other]"), Err(CannotMark::UnknownRole));
        assert_eq!(mark("role = { mail = { purpose = 'x' } }"), Err(CannotMark::Form));
        assert_eq!(mark("[role]\nmail.purpose = 'x'\n"), Err(CannotMark::Form));
        assert_eq!(mark("[role]\nmail = 1\n"), Err(CannotMark::Form));
        let dotted = "[role.mail]\ncontained.since = 'x'\n";
        assert_eq!(released(dotted, "mail"), Err(CannotMark::Form));
        assert_eq!(released(TEXT, "mail").unwrap(), TEXT);
    }
}
