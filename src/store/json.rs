//! `json:PATH#/pointer`: one string token of a JSON text, found and replaced where it stands.
//!
//! Strict RFC 8259 text and RFC 6901 pointers. A text with comments is refused: what cannot be
//! read for certain is not written either.

use std::ops::Range;

use zeroize::Zeroizing;

use super::because;
use super::content::replaced;
use crate::engine::call::{Reason, Why};
use crate::secret::Secret;

/// Deeper texts are refused, so that a hostile one cannot exhaust the stack. `serde_json` draws
/// the same line.
const DEPTH_MAX: usize = 128;

/// The string that a pointer means; none where there is nothing, or `null`.
///
/// # Errors
/// [`Reason::Unreadable`], with a word: `malformed`, `duplicate-key`, `not-a-string`,
/// `bad-reference`.
pub(super) fn get(text: &[u8], pointer: &str) -> Result<Option<Secret>, Why> {
    match find(text, pointer)? {
        Some(Found::String(token)) => Ok(Some(Secret::new(unescaped(&text[token])?))),
        Some(Found::Null(_)) | Some(Found::Room { .. }) | None => Ok(None),
        Some(Found::Other) => Err(because(Reason::Unreadable, "not-a-string")),
    }
}

/// The text with another string there. Where the pointer's last name is new to an object that is
/// there, it is put behind the object's last member and spaced like it.
///
/// # Errors
/// As [`get`]; [`Reason::Unwritable`] with `no-such-key`, or with `not-text` if the value is not
/// UTF-8, which JSON cannot hold.
pub(super) fn set(text: &[u8], pointer: &str, new: &[u8]) -> Result<Zeroizing<Vec<u8>>, Why> {
    let new = std::str::from_utf8(new).map_err(|_| because(Reason::Unwritable, "not-text"))?;
    match find(text, pointer)? {
        Some(Found::String(token)) => {
            // What cannot be read for certain is not written over.
            drop(Zeroizing::new(unescaped(&text[token.clone()])?));
            Ok(replaced(text, token, &token_of(new)))
        }
        Some(Found::Null(token)) => Ok(replaced(text, token, &token_of(new))),
        Some(Found::Room { at, before_key, name, colon }) => {
            let (name, value) = (token_of(&name), token_of(new));
            let colon = colon.map_or(b": ".as_slice(), |colon| &text[colon]);
            let before = before_key.map_or(&[][..], |space| &text[space]);
            let comma: &[u8] = if text[..at].ends_with(b"{") { b"" } else { b"," };
            let member = Zeroizing::new([comma, before, &name, colon, &value].concat());
            Ok(replaced(text, at..at, &member))
        }
        Some(Found::Other) => Err(because(Reason::Unreadable, "not-a-string")),
        None => Err(because(Reason::Unwritable, "no-such-key")),
    }
}

/// What stands where a pointer points.
enum Found {
    /// A string token, quotes included.
    String(Range<usize>),
    /// The token `null`.
    Null(Range<usize>),
    /// Anything else.
    Other,
    /// Nothing, but its object is there.
    Room {
        /// Where the new member goes.
        at: usize,
        /// The space before the last member's key.
        before_key: Option<Range<usize>>,
        /// The new member's name.
        name: String,
        /// From the last member's key to its value.
        colon: Option<Range<usize>>,
    },
}

fn find(text: &[u8], pointer: &str) -> Result<Option<Found>, Why> {
    std::str::from_utf8(text).map_err(|_| malformed())?;
    let wanted = names(pointer)?;
    let start = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut scan = Scan { text, at: start, depth: 0, found: None };
    scan.value(Some(&wanted))?;
    scan.space();
    if scan.at == text.len() { Ok(scan.found) } else { Err(malformed()) }
}

/// The names of a pointer, unescaped.
fn names(pointer: &str) -> Result<Vec<String>, Why> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let names = pointer
        .strip_prefix('/')
        .ok_or_else(|| because(Reason::Unreadable, "bad-reference"))?
        .split('/');
    Ok(names.map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
}

fn malformed() -> Why {
    because(Reason::Unreadable, "malformed")
}

/// One walk over the whole text. `wanted` is what is left of the pointer where the walk is on its
/// way, and none beside it.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    found: Option<Found>,
}

impl Scan<'_> {
    fn value(&mut self, wanted: Option<&[String]>) -> Result<(), Why> {
        self.space();
        let start = self.at;
        let here = wanted.is_some_and(<[String]>::is_empty);
        let found = match self.peek() {
            Some(b'"') => {
                self.string()?;
                Found::String(start..self.at)
            }
            Some(b'{') => {
                self.deeper(|scan| scan.object(wanted))?;
                Found::Other
            }
            Some(b'[') => {
                self.deeper(|scan| scan.array(wanted))?;
                Found::Other
            }
            Some(b'n') => {
                self.literal(b"null")?;
                Found::Null(start..self.at)
            }
            Some(b't') => {
                self.literal(b"true")?;
                Found::Other
            }
            Some(b'f') => {
                self.literal(b"false")?;
                Found::Other
            }
            _ => {
                self.number()?;
                Found::Other
            }
        };
        if here {
            self.found = Some(found);
        }
        Ok(())
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self) -> Result<(), Why>) -> Result<(), Why> {
        if self.depth == DEPTH_MAX {
            return Err(malformed());
        }
        self.depth += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, wanted: Option<&[String]>) -> Result<(), Why> {
        self.literal(b"{")?;
        let next = wanted.and_then(<[String]>::split_first);
        let mut seen = false;
        let mut room = (self.at, None, None);
        self.space();
        if self.peek() != Some(b'}') {
            let mut gap = room.0;
            loop {
                self.space();
                let key = self.at;
                self.string()?;
                let colon = self.at;
                let name = Zeroizing::new(unescaped(&self.text[key..colon])?);
                self.space();
                self.literal(b":")?;
                self.space();
                let value = self.at;
                let on_way = next.filter(|(first, _)| first.as_bytes() == name.as_slice());
                if on_way.is_some() && std::mem::replace(&mut seen, true) {
                    return Err(because(Reason::Unreadable, "duplicate-key"));
                }
                self.value(on_way.map(|(_, rest)| rest))?;
                room = (self.at, Some(gap..key), Some(colon..value));
                self.space();
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
                gap = self.at;
            }
        }
        self.literal(b"}")?;
        if let Some((name, [])) = next
            && !seen
        {
            let (at, before_key, colon) = room;
            self.found = Some(Found::Room { at, before_key, name: name.clone(), colon });
        }
        Ok(())
    }

    fn array(&mut self, wanted: Option<&[String]>) -> Result<(), Why> {
        self.literal(b"[")?;
        let next = wanted.and_then(<[String]>::split_first);
        self.space();
        if self.peek() != Some(b']') {
            for index in 0_usize.. {
                let on_way = next.filter(|(first, _)| **first == index.to_string());
                self.value(on_way.map(|(_, rest)| rest))?;
                self.space();
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.literal(b"]")
    }

    fn string(&mut self) -> Result<(), Why> {
        self.literal(b"\"")?;
        loop {
            match self.peek().ok_or_else(malformed)? {
                b'"' => break self.at += 1,
                b'\\' => {
                    let escape = self.text.get(self.at + 1).ok_or_else(malformed)?;
                    if !b"\"\\/bfnrtu".contains(escape) {
                        return Err(malformed());
                    }
                    self.at += 2;
                    // Half a character is of no harm in a string that nobody reads.
                    if *escape == b'u' {
                        let digits = self.text.get(self.at..self.at + 4).ok_or_else(malformed)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return Err(malformed());
                        }
                    }
                }
                0..0x20 => return Err(malformed()),
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Why> {
        self.skip(b"-");
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Why> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(malformed()) }
    }

    /// Whether one of these stood here.
    fn skip(&mut self, any: &[u8]) -> bool {
        let is_here = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(is_here);
        is_here
    }

    fn literal(&mut self, what: &[u8]) -> Result<(), Why> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(what)) {
            self.at += what.len();
            return Ok(());
        }
        Err(malformed())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

/// The bytes of a string token.
fn unescaped(token: &[u8]) -> Result<Vec<u8>, Why> {
    let raw = token.get(1..token.len().saturating_sub(1)).ok_or_else(malformed)?;
    let mut value = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            value.push(*byte);
            at += 1;
            continue;
        }
        let escape = raw.get(at + 1).ok_or_else(malformed)?;
        at += 2;
        value.push(match escape {
            b'"' | b'\\' | b'/' => *escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, length) = unicode(&raw[at..]).ok_or_else(malformed)?;
                at += length;
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(malformed()),
        });
    }
    Ok(std::mem::take(&mut *value))
}

/// The character behind `\u`, a surrogate pair being one, and how many bytes it took.
fn unicode(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |raw: &[u8]| {
        let digits = std::str::from_utf8(raw.get(..4)?).ok()?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(raw)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, 4));
    }
    let second = unit(raw.get(4..)?.strip_prefix(b"\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, 10))
}

/// The string token of a text; only what must be escaped is.
fn token_of(text: &str) -> Zeroizing<Vec<u8>> {
    // Six bytes for a control character are the longest escape.
    let mut token = Zeroizing::new(Vec::with_capacity(6 * text.len() + 2));
    token.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => token.extend_from_slice(&[b'\\', byte]),
            b'\n' => token.extend_from_slice(b"\\n"),
            b'\r' => token.extend_from_slice(b"\\r"),
            b'\t' => token.extend_from_slice(b"\\t"),
            0..0x20 => token.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => token.push(byte),
        }
    }
    token.push(b'"');
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, pointer: &str) -> Result<Option<String>, String> {
        match get(text.as_bytes(), pointer) {
            Ok(value) => Ok(value.map(|v| String::from_utf8(v.expose().to_vec()).unwrap())),
            Err(why) => Err(why.word.unwrap()),
        }
    }

    fn written(text: &str, pointer: &str, new: &str) -> Result<String, String> {
        match set(text.as_bytes(), pointer, new.as_bytes()) {
            Ok(all) => Ok(String::from_utf8(all.to_vec()).unwrap()),
            Err(why) => Err(why.word.unwrap()),
        }
    }

    #[test]
    fn reads_the_string_that_a_pointer_means() {
        let text = r#"{"a/b": {"~": ["x", {"k": "\u00e9\ud83d\ude00\n\/"}]}, "n": null, "": "e",
            "numbers": [0, -0, -1.50, 10e2, 1E+9, 0.1e-9]}"#;
        assert_eq!(read(text, "/a~1b/~0/1/k"), Ok(Some("é😀\n/".into())));
        assert_eq!(read(text, "/a~1b/~0/0"), Ok(Some("x".into())));
        assert_eq!(read(text, "/"), Ok(Some("e".into())));
        assert_eq!(read(r#" "all" "#, ""), Ok(Some("all".into())));
        for nothing in ["/n", "/x", "/x/y", "/a~1b/~0/2", "/a~1b/~0/01", "/a~1b/~0/-"] {
            assert_eq!(read(text, nothing), Ok(None), "{nothing}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_refused_wherever_it_stands() {
        for text in [
            "",
            "{",
            "{\"k\": \"v\"",
            "{\"k\": \"v\",}",
            "{\"k\": \"v\"} x",
            "{k: \"v\"}",
            "// c\n{\"k\": \"v\"}",
            "{\"k\": \"v\", \"b\": [1,]}",
            "{\"k\": \"\\x\"}",
            "{\"k\": \"a\nb\"}",
            "{\"k\": \"\\ud800\"}",
            "{\"k\": \"v\", \"b\": tru}",
            "{\"k\": \"v\", \"b\": \"\\ud,00\"}",
            "{\"k\": \"v\", \"b\": \"\\u00\"}",
            "{\"k\": \"v\", \"b\": 1-2}",
            "{\"k\": \"v\", \"b\": +1}",
            "{\"k\": \"v\", \"b\": 01}",
            "{\"k\": \"v\", \"b\": 1.}",
            "{\"k\": \"v\", \"b\": .5}",
            "{\"k\": \"v\", \"b\": 1e}",
            "{\"k\": \"v\", \"b\": -}",
        ] {
            assert_eq!(read(text, "/k"), Err("malformed".into()), "{text}");
            assert!(written(text, "/k", "new").is_err());
        }
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert_eq!(read(&deep, "/k"), Err("malformed".into()));
        assert_eq!(read("{}", "k"), Err("bad-reference".into()));
        assert_eq!(read(r#"{"k": 1}"#, "/k"), Err("not-a-string".into()));
        assert_eq!(written(r#"{"k": {}}"#, "/k", "new"), Err("not-a-string".into()));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_only_on_the_way() {
        assert_eq!(read(r#"{"k": "a", "\u006b": "b"}"#, "/k"), Err("duplicate-key".into()));
        assert_eq!(read(r#"{"k": "a", "x": 1, "x": 2}"#, "/k"), Ok(Some("a".into())));
    }

    #[test]
    fn only_the_token_changes() {
        let text = "{\r\n\t\"z\" :1.50,\"k\":  \"old\" ,\"a\":[ ]}\n\n";
        let after = "{\r\n\t\"z\" :1.50,\"k\":  \"n\\\"e\\\\w\\u0001é\" ,\"a\":[ ]}\n\n";
        assert_eq!(written(text, "/k", "n\"e\\w\u{1}é").unwrap(), after);
        assert_eq!(written(r#"{"k": null}"#, "/k", "new").unwrap(), r#"{"k": "new"}"#);
        assert_eq!(set(b"{\"k\": null}", "/k", b"\xff").unwrap_err().word.unwrap(), "not-text");
    }

    #[test]
    fn a_new_name_is_spaced_like_its_neighbour() {
        assert_eq!(
            written("{\n  \"a\": 1,\n  \"b\": {}\n}\n", "/k", "new").unwrap(),
            "{\n  \"a\": 1,\n  \"b\": {},\n  \"k\": \"new\"\n}\n"
        );
        assert_eq!(written("{\"a\":1}", "/k", "new").unwrap(), "{\"a\":1,\"k\":\"new\"}");
        assert_eq!(written("{}", "/k~1", "new").unwrap(), "{\"k/\": \"new\"}");
        assert_eq!(written("{\"a\": {}}", "/a/k", "new").unwrap(), "{\"a\": {\"k\": \"new\"}}");
        assert_eq!(written("{}", "/a/k", "new"), Err("no-such-key".into()));
        assert_eq!(written("[]", "/0", "new"), Err("no-such-key".into()));
    }
}
