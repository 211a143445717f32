//! Cookies that are shown and cookies that are handed to us: RFC 6265, as far as a session needs.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{DATE, HeaderValue, SET_COOKIE};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::engine::call::Reason;
use crate::secret::Secret;

/// What one visitor shows: cookies by name. Domain and path do not matter, for everything goes to
/// the one site.
#[derive(Default)]
pub(super) struct Jar(BTreeMap<String, Secret>);

impl Jar {
    /// A visitor with one cookie.
    pub(super) fn of(name: &str, value: &Secret) -> Self {
        let mut jar = Self::default();
        jar.put(name, value.duplicate());
        jar
    }

    /// Adds a cookie, or replaces the one of that name.
    pub(super) fn put(&mut self, name: &str, value: Secret) {
        self.0.insert(name.to_owned(), value);
    }

    /// The cookie of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// The `Cookie` header; none without cookies.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] for a value that would end its pair or the header.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, Reason> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut written = Zeroizing::new(Vec::with_capacity(4096));
        for (name, value) in &self.0 {
            let value = value.expose();
            if !value.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b';') {
                return Err(Reason::Unsupported);
            }
            if !written.is_empty() {
                written.extend_from_slice(b"; ");
            }
            written.extend_from_slice(name.as_bytes());
            written.push(b'=');
            written.extend_from_slice(value);
        }
        let mut header = HeaderValue::from_bytes(&written).map_err(|_| Reason::Unsupported)?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// Takes what an answer sets and drops what it ends.
    pub(super) fn take(&mut self, headers: &HeaderMap) {
        for (name, value) in set(headers) {
            match value {
                Some(value) => self.put(&name, value),
                None => drop(self.0.remove(&name)),
            }
        }
    }
}

/// What an answer hands us under a name: a value that is not `shown`.
pub(super) fn handed(headers: &HeaderMap, name: &str, shown: Option<&Secret>) -> Vec<Secret> {
    let ours = set(headers).into_iter().filter(|(set, _)| set == name);
    ours.filter_map(|(_, value)| value)
        .filter(|value| shown.is_none_or(|shown| !shown.same(value)))
        .collect()
}

/// Every cookie of an answer: none for one that it ends.
fn set(headers: &HeaderMap) -> Vec<(String, Option<Secret>)> {
    let now = headers.get(DATE).and_then(|date| moment(date.to_str().ok()?));
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| one(line, now)).collect()
}

fn one(line: &str, now: Option<Timestamp>) -> Option<(String, Option<Secret>)> {
    let mut pieces = line.split(';');
    let (name, value) = pieces.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim().trim_matches('"'));
    let mut age = None;
    let mut expired = false;
    for (key, attribute) in pieces.filter_map(|piece| piece.split_once('=')) {
        match key.trim().to_ascii_lowercase().as_str() {
            "max-age" => age = attribute.trim().parse::<i64>().ok(),
            "expires" => {
                // The year of the epoch is what is written by those that write no real date.
                let past = moment(attribute.trim()).zip(now).is_some_and(|(end, now)| end <= now);
                expired = past || attribute.contains("1970");
            }
            _ => {}
        }
    }
    // `Max-Age` stands above `Expires` (RFC 6265 section 5.3).
    let ended = value.is_empty() || age.map_or(expired, |age| age <= 0);
    (!name.is_empty()).then(|| (name.to_owned(), (!ended).then(|| Secret::from(value.to_owned()))))
}

fn moment(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// Shorter texts stand in a random cookie by chance, and tell nobody a session.
const PIECE_MIN: usize = 12;

/// Whether a text that is about to be written down shows a cookie, as it is or decoded, or is a
/// piece of it: the id without its signature.
pub(super) fn shows(text: &str, cookie: &Secret) -> bool {
    let decoded = Zeroizing::new(percent_decode(cookie.expose()).collect::<Vec<u8>>());
    let text = text.as_bytes();
    [cookie.expose(), &decoded]
        .iter()
        .any(|cookie| contains(text, cookie) || (text.len() >= PIECE_MIN && contains(cookie, text)))
}

fn contains(bytes: &[u8], piece: &[u8]) -> bool {
    !piece.is_empty() && bytes.windows(piece.len()).any(|window| window == piece)
}

/// Names a cookie without holding it.
pub(super) fn print(cookie: &Secret) -> [u8; 32] {
    Sha256::digest(cookie.expose()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Sun, 22 Nov 2026 04:25:40 GMT"));
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    fn shown(jar: &Jar) -> Option<String> {
        jar.header().unwrap().map(|header| header.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_jar_keeps_what_is_set_and_drops_what_is_ended() {
        let mut jar = Jar::default();
        assert_eq!(shown(&jar), None);
        jar.take(&answer(&["a=1; Path=/", " b=\"2\"; HttpOnly", "c=3"]));
        assert_eq!(shown(&jar).as_deref(), Some("a=1; b=2; c=3"));
        jar.take(&answer(&[
            "a=; Path=/",
            "b=gone; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
            "c=old; Expires=Sun, 22 Nov 2026 04:25:39 GMT",
            "d=4; Expires=Sun, 06 Dec 2026 04:25:40 GMT",
        ]));
        assert_eq!(shown(&jar).as_deref(), Some("d=4"));
    }

    #[test]
    fn what_would_end_its_pair_is_not_shown() {
        for bad in ["a; b=1", "a\r\nx: 1", "a b", ""] {
            let jar = Jar::of("session", &Secret::from(bad.to_owned()));
            assert_eq!(jar.header().is_err(), !bad.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn a_text_that_shows_a_cookie_is_known_for_it() {
        let cookie = Secret::from("s%3A0123456789abcdef.def".to_owned());
        assert!(shows("user of s%3A0123456789abcdef.def", &cookie));
        assert!(shows("s:0123456789abcdef.def", &cookie) && shows("0123456789abcdef", &cookie));
        assert!(!shows("abcdef", &cookie) && !shows("mail", &cookie));
        assert!(!shows("", &cookie) && !shows("mail", &Secret::from(String::new())));
    }

    #[test]
    fn only_another_value_is_handed_to_us() {
        let mine = Secret::from("mine".to_owned());
        let headers = answer(&["sid=mine; Path=/", "sid=other", "theme=dark", "sid=; Max-Age=0"]);
        let handed = handed(&headers, "sid", Some(&mine));
        assert!(matches!(&handed[..], [one] if one.same(&Secret::from("other".to_owned()))));
    }
}
