//! What a page says: whether somebody is signed in, and the CSRF token of its form.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use zeroize::Zeroizing;

use super::wire::Answered;
use crate::engine::call::{Identity, Reason, Values, Why};
use crate::secret::Secret;

/// How a page receives a visitor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reception {
    /// As the one that the marker or the pointer names.
    Known(Identity),
    /// As nobody: the status, and where it leads.
    Nobody(u16, Option<String>),
    /// With a status that does not say why: as nobody, if that is how it receives nobody.
    Refused(u16),
    /// It says neither.
    Unclear(Why),
}

/// How the page tells who is signed in.
pub(super) struct Signs<'a> {
    /// Text that stands there for this user and for nobody else.
    marker: Option<&'a str>,
    /// Where the page, as JSON, names the user.
    who: Option<&'a str>,
}

/// Where a page that wants a visitor to sign in leads, in lower case.
static SIGN_IN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("log-?_?in|sign-?_?in|/sso|/auth|authorize|sessions?/new|account/?$").ok()
});

/// What a 403 says to a visitor who is not signed in, in lower case.
static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("log ?in|sign ?in|signed out|not authenticated|authentication|unauthenticated").ok()
});

/// Inputs and meta elements: the places of a token.
static ELEMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?is)<(?:input|meta)\b[^>]*>").ok());

/// Attributes: a name, and a value with or without quotes.
static ATTRIBUTE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?is)([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"#).ok()
});

impl<'a> Signs<'a> {
    /// # Errors
    /// [`Reason::MissingValue`] without a marker and a pointer: a 200 alone says nothing.
    pub(super) fn of(values: &'a Values) -> Result<Self, Reason> {
        let word = |name| values.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
        let signs = Self { marker: word("marker"), who: word("who_at") };
        let any = signs.marker.is_some() || signs.who.is_some();
        any.then_some(signs).ok_or(Reason::MissingValue)
    }

    /// How the page received the visitor.
    pub(super) fn read(&self, answered: &Answered) -> Reception {
        let status = answered.status;
        let leads_to = answered.leads_to().map(str::to_owned);
        let unclear = |reason| Reception::Unclear(Why { reason, status: Some(status), word: None });
        match status {
            200..=299 => match self.user(answered) {
                Some(user) => Reception::Known(Identity(user)),
                // A page for everybody, or a form to sign in with: both are served as 200.
                None => Reception::Nobody(status, None),
            },
            401 => Reception::Nobody(status, None),
            403 if says(&HINT, &answered.text()) => Reception::Nobody(status, None),
            300..=399 => match leads_to {
                Some(to) if says(&SIGN_IN, &to) => Reception::Nobody(status, Some(to)),
                _ => unclear(Reason::Redirect),
            },
            // Too early, or a proxy's own: these are about the request.
            408 | 421 | 425 => unclear(Reason::NoClass),
            400..=499 => Reception::Refused(status),
            _ => unclear(Reason::NoClass),
        }
    }

    fn user(&self, answered: &Answered) -> Option<String> {
        if let Some(marker) = self.marker
            && !answered.text().contains(marker)
        {
            return None;
        }
        let Some(pointer) = self.who else { return self.marker.map(str::to_owned) };
        match answered.json().pointer(pointer)? {
            Value::String(user) if !user.is_empty() => Some(user.clone()),
            Value::Number(user) => Some(user.to_string()),
            _ => None,
        }
    }
}

fn says(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(&text.to_lowercase()))
}

/// The token that a page shows under a name: a hidden input, or a meta element.
pub(super) fn token(page: &str, name: &str) -> Option<Secret> {
    let (elements, attributes) = (ELEMENT.as_ref()?, ATTRIBUTE.as_ref()?);
    elements.find_iter(page).find_map(|element| {
        let (mut named, mut value) = (false, None);
        for attribute in attributes.captures_iter(element.as_str()) {
            let said = (2..=4).find_map(|group| attribute.get(group)).map_or("", |it| it.as_str());
            match attribute.get(1).map(|key| key.as_str().to_ascii_lowercase()).as_deref() {
                Some("name") => named = said == name,
                Some("value" | "content") => value = Some(said),
                _ => {}
            }
        }
        value.filter(|value| named && !value.is_empty()).map(|value| Secret::from(plain(value)))
    })
}

/// The character references that stand in attribute values.
fn plain(text: &str) -> String {
    let mut out = Zeroizing::new(text.to_owned());
    for (reference, character) in [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#43;", "+"),
        ("&#x2B;", "+"),
        ("&#61;", "="),
        ("&#x3D;", "="),
        ("&#x2F;", "/"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        if out.contains(reference) {
            out = Zeroizing::new(out.replace(reference, character));
        }
    }
    std::mem::take(&mut *out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, name: &str) -> Option<String> {
        token(page, name).map(|it| String::from_utf8(it.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_token_is_found_in_any_order_of_its_attributes() {
        let page = r#"<input name="user"><input value='t1' type=hidden name=csrf>
            <META content="a&#43;b&amp;c" name="csrf-token"><input name="empty" value="">"#;
        assert_eq!(found(page, "csrf").as_deref(), Some("t1"));
        assert_eq!(found(page, "csrf-token").as_deref(), Some("a+b&c"));
        assert_eq!(found(page, "empty"), None);
        assert_eq!(found(page, "user"), None);
        assert_eq!(found("<p name=csrf value=t>", "csrf"), None);
    }

    #[test]
    fn a_page_that_leads_to_its_sign_in_is_told_from_any_other() {
        for to in ["/accounts/login/", "/users/sign_in", "https://id.example/oauth2/authorize"] {
            assert!(says(&SIGN_IN, to), "{to}");
        }
        for to in ["/", "/dashboard", "/mailbox/2"] {
            assert!(!says(&SIGN_IN, to), "{to}");
        }
    }
}
