//! `::cookie.NAME@DOMAIN`: one cookie's value in what a browser kept, found and replaced where it
//! stands.
//!
//! Which format it is, the content says: a JSON object with `cookies` (the `storageState` of
//! Playwright), a JSON array of cookies (what browser extensions and Puppeteer write), or lines of
//! seven fields with tabs between them (the Netscape format of curl, wget and yt-dlp, with or
//! without its heading, `#HttpOnly_` before a domain being part of it). A cookie is never added,
//! for its life and its flags would be a guess; those of one that is there stay.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::content::replaced;
use super::{because, json};
use crate::engine::call::{Reason, Why};
use crate::inventory::CookieName;
use crate::secret::Secret;

/// The value of a cookie; none where there is no such cookie.
///
/// # Errors
/// [`Reason::Unreadable`], with a word: `no-cookie-file`, `several-cookies` where more than one
/// fits and a path would tell them apart (`::cookie.NAME@DOMAIN/PATH`), and what JSON says.
pub(super) fn get(content: &[u8], name: &CookieName) -> Result<Option<Secret>, Why> {
    match find(content, name)? {
        Some(Place::Json(pointer)) => json::get(content, &pointer),
        Some(Place::Field(span)) => Ok(Some(Secret::new(content[span].to_vec()))),
        None => Ok(None),
    }
}

/// The content with another value for a cookie that is there.
///
/// # Errors
/// As [`get`]; [`Reason::Unwritable`] with `no-such-cookie`, or with `not-a-cookie` for a value
/// that ends a cookie or a field.
pub(super) fn set(
    content: &[u8],
    name: &CookieName,
    new: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Why> {
    // RFC 6265 has more that a server should not send; these no reader of the file survives.
    if new.iter().any(|byte| byte.is_ascii_control() || *byte == b';') {
        return Err(because(Reason::Unwritable, "not-a-cookie"));
    }
    match find(content, name)? {
        Some(Place::Json(pointer)) => json::set(content, &pointer, new),
        Some(Place::Field(span)) => Ok(replaced(content, span, new)),
        None => Err(because(Reason::Unwritable, "no-such-cookie")),
    }
}

/// Where a value stands.
enum Place {
    /// At this pointer of a JSON text.
    Json(String),
    /// In this field of a line.
    Field(Range<usize>),
}

/// A cookie of the file, and where its value is.
struct Found<'a> {
    domain: Cow<'a, str>,
    place: Place,
}

fn find(content: &[u8], name: &CookieName) -> Result<Option<Place>, Why> {
    let text = std::str::from_utf8(content).map_err(|_| no_cookie_file())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = content.len() - text.len();
    let mut found = match text.trim_start().starts_with(['{', '[']) {
        true => in_json(text, name)?,
        false => in_lines(text, start, name)?,
    };
    // Most servers set a cookie with one of the two spellings, and people write the other. Where
    // both are there they are two cookies, and the spelling tells them apart.
    if found.len() > 1 {
        found.retain(|it| it.domain.eq_ignore_ascii_case(&name.domain));
        if found.is_empty() {
            return Err(several());
        }
    }
    let first = found.pop();
    if found.is_empty() { Ok(first.map(|it| it.place)) } else { Err(several()) }
}

fn is_meant(name: &CookieName, its: &str, domain: &str, path: &str) -> bool {
    let plain = |domain: &str| domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    its == name.name
        && plain(domain) == plain(&name.domain)
        && name.path.as_ref().is_none_or(|wanted| wanted == path)
}

fn no_cookie_file() -> Why {
    because(Reason::Unreadable, "no-cookie-file")
}

fn several() -> Why {
    because(Reason::Unreadable, "several-cookies")
}

/// A cookie as JSON has it. Its value is not read here: it would leave copies behind.
#[derive(Deserialize)]
struct JsonCookie<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    domain: Cow<'a, str>,
    #[serde(borrow, default = "slash")]
    path: Cow<'a, str>,
}

fn slash() -> Cow<'static, str> {
    Cow::Borrowed("/")
}

#[derive(Deserialize)]
struct StorageState<'a> {
    #[serde(borrow)]
    cookies: Vec<JsonCookie<'a>>,
}

fn in_json<'a>(text: &'a str, name: &CookieName) -> Result<Vec<Found<'a>>, Why> {
    let (cookies, before) = match text.trim_start().starts_with('{') {
        true => (serde_json::from_str::<StorageState<'a>>(text).map(|it| it.cookies), "/cookies"),
        false => (serde_json::from_str(text), ""),
    };
    let cookies: Vec<JsonCookie<'a>> = cookies.map_err(|_| no_cookie_file())?;
    let meant = |(index, it): (usize, JsonCookie<'a>)| {
        let place = Place::Json(format!("{before}/{index}/value"));
        is_meant(name, &it.name, &it.domain, &it.path).then_some(Found { domain: it.domain, place })
    };
    Ok(cookies.into_iter().enumerate().filter_map(meant).collect())
}

/// `start` is where the text begins in the content.
fn in_lines<'a>(text: &'a str, start: usize, name: &CookieName) -> Result<Vec<Found<'a>>, Why> {
    let mut found = Vec::new();
    let mut at = start;
    let mut known = is_headed(text);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        if let Some(row) = Row::of(line) {
            known = true;
            if is_meant(name, row.name, row.domain, row.path) {
                let span = at + row.value.start..at + row.value.end;
                found.push(Found { domain: Cow::Borrowed(row.domain), place: Place::Field(span) });
            }
        }
        at = next;
    }
    if known { Ok(found) } else { Err(no_cookie_file()) }
}

/// The two headings that readers of the format ask for.
fn is_headed(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("# Netscape HTTP Cookie File") || first.starts_with("# HTTP Cookie File")
}

/// One line of the Netscape format.
struct Row<'a> {
    domain: &'a str,
    path: &'a str,
    name: &'a str,
    /// In the line.
    value: Range<usize>,
}

impl<'a> Row<'a> {
    /// Domain, whether it holds for names below, path, whether it needs TLS, expiry, name, value.
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim_end_matches(['\r', '\n']);
        let cookie = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let fields: Vec<&str> = cookie.split('\t').collect();
        let &[domain, below, path, tls, expiry, name, value] = fields.as_slice() else {
            return None;
        };
        let flag = |text: &str| matches!(text, "TRUE" | "FALSE");
        // A comment has no seven fields; a line that only looks like a row is none.
        let is_row = !domain.is_empty()
            && !domain.starts_with('#')
            && flag(below)
            && flag(tls)
            && expiry.parse::<f64>().is_ok();
        let value = line.len() - value.len()..line.len();
        is_row.then_some(Self { domain, path, name, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cookie(text: &str) -> CookieName {
        text.parse().unwrap()
    }

    fn read(content: &str, name: &str) -> Result<Option<String>, String> {
        match get(content.as_bytes(), &cookie(name)) {
            Ok(value) => Ok(value.map(|v| String::from_utf8(v.expose().to_vec()).unwrap())),
            Err(why) => Err(why.word.unwrap()),
        }
    }

    fn written(content: &str, name: &str, new: &str) -> Result<String, String> {
        match set(content.as_bytes(), &cookie(name), new.as_bytes()) {
            Ok(all) => Ok(String::from_utf8(all.to_vec()).unwrap()),
            Err(why) => Err(why.word.unwrap()),
        }
    }

    const STATE: &str = r#"{
  "cookies": [
    { "name": "sid", "value": "s%3Aa", "domain": ".example.com", "path": "/", "expires": -1 },
    { "value": "b", "name": "sid", "domain": "other.example", "path": "/", "expires": 1.5e9 },
    { "name": "sid", "value": "c", "domain": "other.example", "path": "/admin" }
  ],
  "origins": [{ "origin": "https://example.com", "localStorage": [{"name":"sid","value":"x"}] }]
}
"#;

    const JAR: &str = "# Netscape HTTP Cookie File\r\n\
        # a comment\twith\ttabs\r\n\r\n\
        #HttpOnly_.example.com\tTRUE\t/\tTRUE\t1790000000\tsid\ts%3Aa\r\n\
        other.example\tFALSE\t/\tFALSE\t0\tsid\tb\r\n\
        other.example\tFALSE\t/admin\tFALSE\t0\tsid\tc\r\n\
        other.example\tFALSE\t/\tFALSE\t0\tempty\t\r\n";

    #[test]
    fn a_cookie_is_found_by_name_and_domain_and_twins_by_their_path() {
        for content in [STATE, JAR] {
            assert_eq!(read(content, "sid@.example.com"), Ok(Some("s%3Aa".into())));
            assert_eq!(read(content, "sid@Example.com"), Ok(Some("s%3Aa".into())));
            assert_eq!(read(content, "sid@other.example"), Err("several-cookies".into()));
            assert_eq!(read(content, "sid@other.example/"), Ok(Some("b".into())));
            assert_eq!(read(content, "sid@other.example/admin"), Ok(Some("c".into())));
            for nothing in ["sid@other.example/adm", "SID@example.com", "sid@example.org", "s@x"] {
                assert_eq!(read(content, nothing), Ok(None), "{nothing}");
            }
        }
        assert_eq!(read(JAR, "empty@other.example"), Ok(Some(String::new())));
    }

    #[test]
    fn the_spelling_tells_a_domain_from_the_names_below_it() {
        let both = "a.example\tFALSE\t/\tFALSE\t0\ts\t1\n.a.example\tTRUE\t/\tFALSE\t0\ts\t2\n";
        assert_eq!(read(both, "s@a.example"), Ok(Some("1".into())));
        assert_eq!(read(both, "s@.a.example"), Ok(Some("2".into())));
        let same = "a.example\tFALSE\t/\tFALSE\t0\ts\t1\na.example\tFALSE\t/\tFALSE\t0\ts\t1\n";
        assert_eq!(read(same, "s@a.example/"), Err("several-cookies".into()));
    }

    #[test]
    fn only_the_value_changes() {
        let after = STATE.replace("s%3Aa", "n%3A9");
        assert_eq!(written(STATE, "sid@example.com", "n%3A9"), Ok(after));
        let after = JAR.replace("s%3Aa", "n%3A9");
        assert_eq!(written(JAR, "sid@example.com", "n%3A9"), Ok(after));
        let after = JAR.replace("empty\t", "empty\tnew");
        assert_eq!(written(JAR, "empty@other.example", "new"), Ok(after));
        assert_eq!(
            written("[{\"name\":\"a\",\"domain\":\"b\",\"value\":\"1\"}]", "a@b/", "2"),
            Ok("[{\"name\":\"a\",\"domain\":\"b\",\"value\":\"2\"}]".into())
        );
    }

    #[test]
    fn what_is_no_cookie_file_or_would_be_none_is_refused() {
        for content in ["", "sid=1; other=2", "{\"a\": 1}", "[1]", "{", "a\tb\tc\td\te\tf\tg\n"] {
            assert_eq!(read(content, "a@b"), Err("no-cookie-file".into()), "{content}");
        }
        assert_eq!(read("# Netscape HTTP Cookie File\n", "a@b"), Ok(None));
        assert_eq!(read("{\"cookies\": []}", "a@b"), Ok(None));
        assert_eq!(written(STATE, "x@example.com", "v"), Err("no-such-cookie".into()));
        for value in ["a\tb", "a\nb", "a;b", "a\u{0}"] {
            assert_eq!(written(JAR, "sid@example.com", value), Err("not-a-cookie".into()));
            assert_eq!(written(STATE, "sid@example.com", value), Err("not-a-cookie".into()));
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_no_cookie() {
        let twice = r#"{"cookies":[{"name":"a","name":"b","domain":"d","value":"1"}]}"#;
        assert_eq!(read(twice, "a@d"), Err("no-cookie-file".into()));
        let twice = r#"{"cookies":[{"name":"a","domain":"d","value":"1","value":"2"}]}"#;
        assert_eq!(read(twice, "a@d"), Err("duplicate-key".into()));
        let number = r#"{"cookies":[{"name":"a","domain":"d","value":1}]}"#;
        assert_eq!(read(number, "a@d"), Err("not-a-string".into()));
    }

    fn other_lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just(String::new()),
            "# [ -~]{0,12}",
            "(#HttpOnly_)?\\.?[a-z]{1,6}\tTRUE\t/[a-z]{0,3}\tFALSE\t[0-9]{1,9}\tk\t[!-:<-~]{0,9}",
            "[a-z\t ]{0,9}",
        ];
        prop::collection::vec(line, 0..5)
            .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 1000,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn a_jar_gives_back_what_was_put_in_and_keeps_all_else(
            before in other_lines(),
            open in "(#HttpOnly_)?\\.?mine\\.example\tTRUE\t/[a-z]{0,3}\tTRUE\t[0-9]{1,9}\tsid\t",
            old in "[ -:<-~]{0,12}",
            end in "\r?\n",
            after in other_lines(),
            new in "[!-:<-~é]{1,40}",
        ) {
            let content = format!("{before}{open}{old}{end}{after}");
            let name = cookie("sid@mine.example");
            let now = set(content.as_bytes(), &name, new.as_bytes()).unwrap();
            let expected = format!("{before}{open}{new}{end}{after}");
            prop_assert_eq!(&**now, expected.as_bytes());
            let value = get(&now, &name).unwrap().unwrap();
            prop_assert_eq!(value.expose(), new.as_bytes());
        }

        #[test]
        fn a_storage_state_gives_back_what_was_put_in_and_keeps_all_else(
            indent in "[ \t\r\n]{0,3}",
            others in prop::collection::vec("[a-z]{1,5}", 0..3),
            new in "[!-:<-~é\\\\\"]{1,40}",
        ) {
            let other = |name: &String| format!(
                "{{\"name\":\"{name}\",\"domain\":\"o.example\",\"value\":\"x\"}},{indent}"
            );
            let others: String = others.iter().map(other).collect();
            let before = format!(
                "{{{indent}\"origins\":[],\"cookies\":[{others}{{\"expires\":1.50,\"value\":{indent}"
            );
            let after = format!(
                "{indent},\"domain\":\".mine.example\",\"path\":\"/\",\"name\":\"sid\"}}]}}\n"
            );
            let content = format!("{before}\"old\"{after}");
            let name = cookie("sid@mine.example");
            let now = set(content.as_bytes(), &name, new.as_bytes()).unwrap();
            prop_assert!(now.starts_with(before.as_bytes()) && now.ends_with(after.as_bytes()));
            let value = get(&now, &name).unwrap().unwrap();
            prop_assert_eq!(value.expose(), new.as_bytes());
        }

        #[test]
        fn no_content_makes_an_edit_panic_or_give_back_anything_else(
            content in prop_oneof![
                "[{}\\[\\]\"a-c:,\t\n#TRUE0/]{0,40}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            new in "[ -:<-~]{1,9}",
        ) {
            let name = cookie("a@b");
            if let Ok(now) = set(&content, &name, new.as_bytes()) {
                let value = get(&now, &name).unwrap().unwrap();
                prop_assert_eq!(value.expose(), new.as_bytes());
            }
        }
    }
}
