//! `|password|new value|scheme://user:password@host/...`; anything else than `password` first
//! means the user.

use url::Url;

use super::{fields, place};
use crate::inventory::Part;
use crate::store::get;

/// User or password of an address: it changes, and the rest stays, for `url` as well.
pub fn address(data: &[u8]) {
    let Some([which, new, content]) = fields(data) else { return };
    if new.is_empty() {
        return;
    }
    let (part, other) = match which {
        b"password" => (Part::UrlPassword, Part::UrlUser),
        _ => (Part::UrlUser, Part::UrlPassword),
    };
    let to = place::at("file", None, Some(part.clone()));
    let Some(now) = place::put(content, &to, new) else { return };
    let other = place::at("file", None, Some(other));
    let read = |text: &[u8]| get(text, &other).unwrap().filter(|value| !value.is_empty());
    let (before, after) = (read(content), read(&now));
    let same = match (&before, &after) {
        (Some(before), Some(after)) => before.same(after),
        (None, None) => true,
        _ => false,
    };
    assert!(same, "the other part has changed");
    let kept = content.iter().zip(now.iter()).take_while(|(a, b)| a == b).count();
    let behind = content.iter().rev().zip(now.iter().rev()).take_while(|(a, b)| a == b).count();
    let behind = behind.min(content.len() - kept).min(now.len() - kept);
    let written = &now[kept..now.len() - behind];
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:@".contains(byte);
    assert!(written.iter().all(allowed), "what was written ends the user or the password");
    assert_host_stays(content, &now);
}

/// For addresses that both readers take for the same thing: `url` drops blanks and turns
/// backslashes round, as browsers do.
fn assert_host_stays(before: &[u8], after: &[u8]) {
    let plain = |text: &[u8]| text.iter().all(|b| b.is_ascii_graphic() && *b != b'\\');
    let scheme = before.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_scheme = !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphabetic);
    let authority = before.get(scheme.len()..).is_some_and(|rest| rest.starts_with(b"://"));
    let hostless = before.get(scheme.len() + 3..).is_none_or(|rest| rest.starts_with(b"/"));
    if !plain(before) || !is_scheme || !authority || hostless {
        return;
    }
    let url = |text| Url::parse(std::str::from_utf8(text).ok()?).ok();
    let (Some(before), Some(after)) = (url(before), url(after)) else { return };
    let rest = |url: &Url| {
        let (host, query) = (url.host_str().map(str::to_owned), url.query().map(str::to_owned));
        let fragment = url.fragment().map(str::to_owned);
        (url.scheme().to_owned(), host, url.port(), url.path().to_owned(), query, fragment)
    };
    assert_eq!(rest(&before), rest(&after), "another place is reached");
}
