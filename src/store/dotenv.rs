//! `dotenv:PATH#KEY`: a line editor for environment files.
//!
//! The dialects agree on little, so the reading is the common one: `export`, spaces around `=`,
//! unquoted values up to ` #`, single quotes and backticks literally, double quotes with escapes,
//! both over several lines, the last of several lines for one key. `${NAME}` stays as it stands.
//! What is written is what every dialect reads alike, as long as the value allows.

use std::ops::Range;

use zeroize::Zeroizing;

use super::because;
use super::content::replaced;
use crate::engine::call::{Reason, Why};
use crate::secret::Secret;

/// The value of the last line for a key; none where there is no line.
///
/// # Errors
/// [`Reason::Unreadable`]: `malformed` if its quotes do not close, `bad-reference` if no line could
/// have such a key.
pub(super) fn get(content: &[u8], key: &str) -> Result<Option<Secret>, Why> {
    check(key)?;
    match entries(content).filter(|entry| entry.is_for(content, key)).last() {
        None => Ok(None),
        Some(entry) => entry.value(content).map(Some),
    }
}

/// The content with a new value for a key: in the last line that has the key, and in every earlier
/// one that holds the same value; in a line of its own at the end where none has it.
///
/// # Errors
/// As [`get`]; [`Reason::Unwritable`] with `not-representable` where another line, or this one,
/// would be read otherwise: a quote that nobody closed may find its end in a new value, or lose it
/// with an old.
pub(super) fn set(content: &[u8], key: &str, new: &[u8]) -> Result<Zeroizing<Vec<u8>>, Why> {
    let now = get(content, key)?;
    let is_old = |entry: &Entry| {
        let value = entry.is_for(content, key).then(|| entry.value(content).ok()).flatten();
        value.zip(now.as_ref()).is_some_and(|(value, now)| value.same(now))
    };
    let mut all = Zeroizing::new(content.to_vec());
    let lines: Vec<Entry> = entries(content).filter(is_old).collect();
    // From the end, so that the earlier spans stay right.
    for entry in lines.iter().rev() {
        let lines = content[entry.raw.clone()].contains(&b'\n');
        all = replaced(&all, entry.raw.clone(), &encoded(new, entry.quote, lines));
    }
    if now.is_none() {
        all = appended(content, key, new);
    }
    let new = Secret::new(new.to_vec());
    let as_meant = {
        let holds_it = |entry: &Entry| {
            entry.is_for(&all, key) && entry.value(&all).is_ok_and(|value| value.same(&new))
        };
        let mut after = entries(&all);
        let others = entries(content).all(|before| {
            after.next().is_some_and(|after| match is_old(&before) {
                true => holds_it(&after),
                false => {
                    content[before.key] == all[after.key] && content[before.raw] == all[after.raw]
                }
            })
        });
        let added = now.is_some() || after.next().is_some_and(|added| holds_it(&added));
        others && added && after.next().is_none()
    };
    match as_meant {
        true => Ok(all),
        false => Err(because(Reason::Unwritable, "not-representable")),
    }
}

/// Every key, and where its value stands.
pub(crate) fn keys(content: &[u8]) -> Vec<(String, Range<usize>)> {
    let name = |key: Range<usize>| String::from_utf8_lossy(&content[key]).into_owned();
    entries(content).map(|entry| (name(entry.key), entry.raw)).collect()
}

fn appended(content: &[u8], key: &str, new: &[u8]) -> Zeroizing<Vec<u8>> {
    let end: &[u8] = match content.iter().position(|byte| *byte == b'\n') {
        Some(at) if content[..at].ends_with(b"\r") => b"\r\n",
        _ => b"\n",
    };
    let value = encoded(new, None, false);
    let room = key.len() + value.len() + 2 * end.len() + 1;
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    if !content.is_empty() && !content.ends_with(b"\n") {
        line.extend_from_slice(end);
    }
    line.extend_from_slice(key.as_bytes());
    line.push(b'=');
    line.extend_from_slice(&value);
    line.extend_from_slice(end);
    replaced(content, content.len()..content.len(), &line)
}

fn check(key: &str) -> Result<(), Why> {
    if !key.is_empty() && key.bytes().all(names) {
        Ok(())
    } else {
        Err(because(Reason::Unreadable, "bad-reference"))
    }
}

fn names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `KEY=VALUE`, wherever in its line.
struct Entry {
    key: Range<usize>,
    /// The value as it stands, quotes included, comment and blanks around it not.
    raw: Range<usize>,
    quote: Option<u8>,
    /// Its quote does not close, or something stands behind it.
    malformed: bool,
}

impl Entry {
    fn is_for(&self, content: &[u8], key: &str) -> bool {
        &content[self.key.clone()] == key.as_bytes()
    }

    fn value(&self, content: &[u8]) -> Result<Secret, Why> {
        if self.malformed {
            return Err(because(Reason::Unreadable, "malformed"));
        }
        let raw = &content[self.raw.clone()];
        Ok(match self.quote {
            None => Secret::new(raw.to_vec()),
            Some(b'"') => unescaped(&raw[1..raw.len() - 1]),
            Some(_) => Secret::new(raw[1..raw.len() - 1].to_vec()),
        })
    }
}

fn entries(content: &[u8]) -> impl Iterator<Item = Entry> {
    let mut at = if content.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    std::iter::from_fn(move || {
        while at < content.len() {
            let (entry, next) = line(content, at);
            at = next;
            if entry.is_some() {
                return entry;
            }
        }
        None
    })
}

/// Reads the line that begins at `start`: what it sets, if anything, and where the next begins.
fn line(content: &[u8], start: usize) -> (Option<Entry>, usize) {
    let end = content[start..].iter().position(|byte| *byte == b'\n');
    let (end, next) = end.map_or((content.len(), content.len()), |n| (start + n, start + n + 1));
    let end = if content[start..end].ends_with(b"\r") { end - 1 } else { end };
    let mut at = skip(content, start, end, blank);
    if content[at..end].starts_with(b"export") && content.get(at + 6).copied().is_some_and(blank) {
        at = skip(content, at + 6, end, blank);
    }
    let key = at..skip(content, at, end, names);
    let equals = skip(content, key.end, end, blank);
    if key.is_empty() || equals == end || content[equals] != b'=' {
        return (None, next);
    }
    let value = skip(content, equals + 1, end, blank);
    let quote = content[value..end].first().copied().filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote
        && let Some((raw, next)) = quoted(content, value, quote)
    {
        return (Some(Entry { key, raw, quote: Some(quote), malformed: false }), next);
    }
    let raw = unquoted(content, equals + 1, value, end);
    (Some(Entry { key, raw, quote: None, malformed: quote.is_some() }), next)
}

fn skip(content: &[u8], from: usize, end: usize, what: impl Fn(u8) -> bool) -> usize {
    content[from..end].iter().position(|byte| !what(*byte)).map_or(end, |n| from + n)
}

/// A quoted value and the beginning of the line behind it; none if the quote does not close, or if
/// anything but a comment stands behind it.
fn quoted(content: &[u8], start: usize, quote: u8) -> Option<(Range<usize>, usize)> {
    let mut at = start + 1;
    loop {
        match content.get(at)? {
            byte if *byte == quote => break,
            b'\\' if quote == b'"' => at += 2,
            _ => at += 1,
        }
    }
    let rest = &content[at + 1..];
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let behind = rest[..line].trim_ascii();
    (behind.is_empty() || behind.starts_with(b"#"))
        .then(|| (start..at + 1, content.len().min(at + 1 + line + 1)))
}

/// An unquoted value ends before ` #`, and before the blanks at the end of its line.
fn unquoted(content: &[u8], after_equals: usize, start: usize, end: usize) -> Range<usize> {
    let text = &content[after_equals..end];
    let comment = text.windows(2).position(|pair| blank(pair[0]) && pair[1] == b'#');
    let text = &text[..comment.unwrap_or(text.len())];
    let length = text.trim_ascii_end().len();
    match after_equals + length {
        // Right behind `=`, so that what is put there does not run into a comment.
        stop if stop <= start => after_equals..after_equals,
        stop => start..stop,
    }
}

fn unescaped(raw: &[u8]) -> Secret {
    let mut value = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => value.push(b'\n'),
            Some(b'r') => value.push(b'\r'),
            Some(b't') => value.push(b'\t'),
            Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => value.push(escaped),
            Some(other) => value.extend_from_slice(&[b'\\', other]),
            None => value.push(b'\\'),
        }
    }
    Secret::new(std::mem::take(&mut *value))
}

/// As it stands where no dialect sees anything special in it, in the quotes that were there before;
/// else in single quotes, which hold everything but themselves; else escaped. Line ends stay as
/// they are only where they did before (`lines`): not every reader goes on over them.
fn encoded(value: &[u8], was: Option<u8>, lines: bool) -> Zeroizing<Vec<u8>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.,/:=+@%^".contains(byte);
    let plain = !value.is_empty() && value.iter().all(plain);
    // Some dialects do take backslashes in single quotes.
    let single = !value.iter().any(|byte| b"'\\\r\n".contains(byte));
    let quote = match was {
        None if plain => return Zeroizing::new(value.to_vec()),
        Some(quote @ (b'"' | b'`')) if plain => quote,
        _ if single => b'\'',
        _ => b'"',
    };
    let mut all = Zeroizing::new(Vec::with_capacity(2 * value.len() + 2));
    all.push(quote);
    for byte in value {
        match byte {
            b'\n' if quote == b'"' && !lines => all.extend_from_slice(b"\\n"),
            b'\r' if quote == b'"' => all.extend_from_slice(b"\\r"),
            b'"' | b'\\' | b'$' | b'`' if quote == b'"' => all.extend_from_slice(&[b'\\', *byte]),
            _ => all.push(*byte),
        }
    }
    all.push(quote);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str, key: &str) -> Result<Option<String>, String> {
        match get(content.as_bytes(), key) {
            Ok(value) => Ok(value.map(|v| String::from_utf8_lossy(v.expose()).into_owned())),
            Err(why) => Err(why.word.unwrap()),
        }
    }

    fn written(content: &str, key: &str, new: &str) -> String {
        let all = set(content.as_bytes(), key, new.as_bytes()).unwrap();
        String::from_utf8(all.to_vec()).unwrap()
    }

    #[test]
    fn reads_what_the_dialects_agree_on() {
        for (line, value) in [
            ("K=abc", "abc"),
            ("K=abc\r\n", "abc"),
            ("  export \t K = abc  # why", "abc"),
            ("K=abc#def", "abc#def"),
            ("K=#abc", "#abc"),
            ("K=a b  c", "a b  c"),
            ("K='a # b' # c", "a # b"),
            ("K='a\\nb'", "a\\nb"),
            (r#"K="a\n\"b\" \$c \x""#, "a\n\"b\" $c \\x"),
            ("K=\"one\ntwo\nK=three\"", "one\ntwo\nK=three"),
            ("K=`a\"b'c`", "a\"b'c"),
            ("\u{feff}K=abc", "abc"),
            ("K=", ""),
            ("K= # nothing", ""),
            ("K=''", ""),
            ("K=one\nK=two", "two"),
            ("# K=no\nKK=no\nK=yes\n#K=no", "yes"),
            ("A=\"open\nK=abc", "abc"),
            ("A='it''s'\nK=abc", "abc"),
        ] {
            assert_eq!(read(line, "K"), Ok(Some(value.to_owned())), "{line:?}");
        }
        assert_eq!(read("exportK=1\nexport_K=2\nJUNK", "K"), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_refused() {
        assert_eq!(read("K=\"abc", "K"), Err("malformed".into()));
        assert_eq!(read("K=\"abc\"def", "K"), Err("malformed".into()));
        assert_eq!(read("K=abc", "K=abc"), Err("bad-reference".into()));
        assert_eq!(read("K=abc", ""), Err("bad-reference".into()));
        assert!(set(b"K='abc", "K", b"new").is_err());
    }

    #[test]
    fn all_around_the_value_stays() {
        for (before, after) in [
            (
                "# c\r\nA=1\r\nexport K = old  # why\r\nB=2",
                "# c\r\nA=1\r\nexport K = new  # why\r\nB=2",
            ),
            ("K=\"old\" # why\n", "K=\"new\" # why\n"),
            ("K='old'\n\n\n", "K='new'\n\n\n"),
            ("K=\nB=2\n", "K=new\nB=2\n"),
            ("K= # why\n", "K=new # why\n"),
            ("K=\"a\nb\"\nB=2\n", "K=\"new\"\nB=2\n"),
        ] {
            assert_eq!(written(before, "K", "new"), after);
        }
    }

    #[test]
    fn every_line_with_the_same_old_value_is_changed_and_no_other() {
        assert_eq!(written("K=other\nK=old\nK='old'\n", "K", "new"), "K=other\nK=new\nK='new'\n");
    }

    #[test]
    fn a_new_key_gets_a_line_of_its_own_with_the_line_ends_of_the_file() {
        assert_eq!(written("", "K", "new"), "K=new\n");
        assert_eq!(written("A=1", "K", "new"), "A=1\nK=new\n");
        assert_eq!(written("A=1\r\n", "K", "new"), "A=1\r\nK=new\r\n");
    }

    #[test]
    fn a_value_that_would_end_or_open_a_quote_of_another_line_is_refused() {
        let content = b"K=old'x'\nB='a\nK=old'x'\nB='";
        assert_eq!(set(content, "K", b"new").unwrap_err().word.unwrap(), "not-representable");
        let content = b"A=\"open\nK=old\n";
        assert_eq!(set(content, "K", b"a\"#").unwrap_err().word.unwrap(), "not-representable");
        assert_eq!(written("A=\"open\nK=old\n", "K", "new"), "A=\"open\nK=new\n");
    }

    #[test]
    fn quotes_are_as_few_as_the_value_allows() {
        assert_eq!(written("K=old", "K", "sk-1/+=_."), "K=sk-1/+=_.");
        assert_eq!(written("K=old", "K", "a b#c$d"), "K='a b#c$d'");
        assert_eq!(written("K=old", "K", "it's $5"), "K=\"it's \\$5\"");
        assert_eq!(written("K=old", "K", "a\nb"), "K=\"a\\nb\"");
        assert_eq!(written("K=\"a\nb\"", "K", "c\nd"), "K=\"c\nd\"");
        assert_eq!(written("K=\"old\"", "K", "a$b"), "K='a$b'");
    }
}
