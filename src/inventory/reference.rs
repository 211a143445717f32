//! Secret references: where a secret lives. Parsed once, never holding a secret.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::leak;
use super::similarity::nearest;

/// `SCHEME:REST`, and at most one part of the stored value behind `::`.
///
/// `env:NAME`, `file:PATH`, `dotenv:PATH#KEY`, `json:PATH#/pointer`, `line:PATH#N`, `cmd:NAME`, and
/// what other stores bring. `::url.password`, `::url.user`, `::json/POINTER` and
/// `::cookie.NAME@DOMAIN` (`/PATH` behind it tells twins apart) mean a part of the stored value;
/// the rest is kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretRef {
    /// The store.
    pub scheme: String,
    /// Path or name, without the fragment.
    pub path: String,
    /// Behind `#`.
    pub fragment: Option<String>,
    /// Behind `::`.
    pub part: Option<Part>,
}

/// A part of a stored value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `url.password`.
    UrlPassword,
    /// `url.user`.
    UrlUser,
    /// `json/POINTER`, the pointer with its first slash.
    Json(String),
    /// `cookie.NAME@DOMAIN` or `cookie.NAME@DOMAIN/PATH`.
    Cookie(CookieName),
}

/// What tells a cookie from the others of a browser.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName {
    /// Its name.
    pub name: String,
    /// Its domain, with or without the dot before it.
    pub domain: String,
    /// Its path, which begins with a slash; none where no other cookie has its name and domain.
    pub path: Option<String>,
}

/// A reference that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadReference {
    /// Lower-case fragment; never repeats the text, which may be a secret put there by mistake.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UrlPassword => f.write_str("url.password"),
            Self::UrlUser => f.write_str("url.user"),
            Self::Json(pointer) => write!(f, "json{pointer}"),
            Self::Cookie(cookie) => write!(f, "cookie.{cookie}"),
        }
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, domain, path } = self;
        write!(f, "{name}@{domain}{}", path.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.path)?;
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        if let Some(part) = &self.part {
            write!(f, "::{part}")?;
        }
        Ok(())
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for SecretRef {
    type Error = BadReference;

    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl FromStr for SecretRef {
    type Err = BadReference;

    /// The grammar alone: `SCHEME:PATH`, then `#FRAGMENT` from the first `#`, then `::PART` from
    /// the first `::`. What a scheme asks of its path and fragment is [`SecretRef::vet`]'s.
    fn from_str(text: &str) -> Result<Self, BadReference> {
        if text.chars().any(char::is_control) {
            return Err(bad("a reference cannot hold line breaks or control characters", FORM));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(|| no_reference(text))?;
        if !is_scheme(scheme) {
            return Err(no_reference(text));
        }
        if rest.starts_with("//") {
            let hint = "write where this address is kept, with ::url.password for a part of it";
            return Err(bad("an address stands where a reference belongs", hint));
        }
        if !leak::scan(rest).is_empty() {
            return Err(no_reference(rest));
        }
        let (place, part) = match rest.split_once("::") {
            Some((place, part)) => (place, Some(part.parse()?)),
            None => (rest, None),
        };
        let (path, fragment) = match place.split_once('#') {
            Some((_, "")) => return Err(bad("nothing stands behind the `#`", FORM)),
            Some((path, fragment)) => (path, Some(fragment.to_owned())),
            None => (place, None),
        };
        if path.is_empty() {
            return Err(bad("the reference names no path", FORM));
        }
        Ok(Self { scheme: scheme.to_owned(), path: path.to_owned(), fragment, part })
    }
}

impl FromStr for Part {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        match text {
            "url.password" => return Ok(Self::UrlPassword),
            "url.user" => return Ok(Self::UrlUser),
            _ => {}
        }
        if let Some(pointer) = text.strip_prefix("json")
            && is_pointer(pointer)
        {
            return Ok(Self::Json(pointer.to_owned()));
        }
        if let Some(cookie) = text.strip_prefix("cookie.") {
            return cookie.parse().map(Self::Cookie);
        }
        let hint = "use ::url.password, ::url.user, ::json/POINTER or ::cookie.NAME@DOMAIN";
        Err(bad("what stands behind `::` is no part of a value", hint))
    }
}

impl FromStr for CookieName {
    type Err = BadReference;

    /// `NAME@DOMAIN`, and `/PATH` behind it where the path tells two cookies apart.
    fn from_str(text: &str) -> Result<Self, BadReference> {
        let (name, rest) = text.split_once('@').unwrap_or_default();
        let slash = rest.find('/').unwrap_or(rest.len());
        let (domain, path) = rest.split_at(slash);
        if name.is_empty() || domain.is_empty() {
            let hint = "write ::cookie.NAME@DOMAIN, or ::cookie.NAME@DOMAIN/PATH";
            return Err(bad("what stands behind `::` is no part of a value", hint));
        }
        let path = (!path.is_empty()).then(|| path.to_owned());
        Ok(Self { name: name.to_owned(), domain: domain.to_owned(), path })
    }
}

impl SecretRef {
    /// Whether the text begins like a reference to a store that rotate knows: what decides if a
    /// var is meant literally.
    pub fn is_meant(text: &str) -> bool {
        text.split_once(':').is_some_and(|(scheme, _)| rule(scheme).is_some())
    }

    /// A secret that stands in the inventory itself, by the byte range of its TOML string: read by
    /// [`super::literal`], written by nothing.
    pub fn in_inventory(span: &Range<usize>) -> Self {
        Self {
            scheme: "inventory".to_owned(),
            path: format!("{}-{}", span.start, span.end),
            fragment: None,
            part: None,
        }
    }

    pub(super) fn reserved() -> BadReference {
        bad("`inventory:` is for what rotate itself finds in the inventory", FORM)
    }

    /// Whether a new value can be written there.
    pub fn is_writable(&self) -> bool {
        !matches!(self.scheme.as_str(), "env" | "line" | "inventory")
    }

    /// Holds the reference against what its store asks.
    ///
    /// # Errors
    /// [`BadReference`] for an unknown scheme, a relative path, and a fragment that is missing,
    /// ill-formed or out of place.
    pub fn vet(&self) -> Result<(), BadReference> {
        let Some(rule) = rule(&self.scheme) else {
            let known = SCHEMES.iter().map(|(scheme, _)| *scheme);
            let hint = match nearest(&self.scheme, known.clone()) {
                Some(near) => format!("did you mean `{near}:`?"),
                None => format!("use one of: {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(bad("the reference names a store that rotate does not know", &hint));
        };
        match rule {
            Rule::Variable if !is_variable(&self.path) => {
                Err(bad("`env:` takes the name of a variable", "write env:NAME"))
            }
            Rule::Variable | Rule::Name => self.without_fragment(),
            Rule::Any => Ok(()),
            Rule::File => self.absolute().and_then(|()| self.without_fragment()),
            Rule::Key => self.absolute().and_then(|()| self.fragment(is_variable, "KEY")),
            Rule::Pointer => self.absolute().and_then(|()| self.fragment(is_pointer, "/pointer")),
            Rule::Line => self.absolute().and_then(|()| self.fragment(is_line, "N")),
        }
    }

    fn absolute(&self) -> Result<(), BadReference> {
        let path = self.path.as_bytes();
        let drive =
            matches!(path, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
        if path.starts_with(b"/") || drive {
            return Ok(());
        }
        Err(bad(
            "the path of the reference is relative",
            "write the whole path: a run may start in any directory",
        ))
    }

    fn without_fragment(&self) -> Result<(), BadReference> {
        if self.fragment.is_none() {
            return Ok(());
        }
        let message = format!("`{}:` takes no `#`", self.scheme);
        Err(bad(&message, "leave out what stands behind the `#`"))
    }

    fn fragment(&self, is_right: fn(&str) -> bool, form: &str) -> Result<(), BadReference> {
        if self.fragment.as_deref().is_some_and(is_right) {
            return Ok(());
        }
        let message = format!("`{}:` needs `#{form}` behind its path", self.scheme);
        Err(bad(&message, &format!("write {}:PATH#{form}", self.scheme)))
    }
}

/// What a scheme asks of what stands behind it.
#[derive(Clone, Copy)]
enum Rule {
    /// The name of an environment variable.
    Variable,
    /// A name of its own.
    Name,
    /// Whatever its store understands.
    Any,
    /// An absolute path.
    File,
    /// An absolute path and `#KEY`.
    Key,
    /// An absolute path and `#/pointer`.
    Pointer,
    /// An absolute path and `#N`, lines from 1.
    Line,
}

/// A closed list, so that a slip in a scheme, or a secret with a colon in it, is told at once.
const SCHEMES: [(&str, Rule); 11] = [
    ("env", Rule::Variable),
    ("file", Rule::File),
    ("dotenv", Rule::Key),
    ("json", Rule::Pointer),
    ("line", Rule::Line),
    ("cmd", Rule::Name),
    ("keyring", Rule::Any),
    ("vault", Rule::Any),
    ("aws-sm", Rule::Any),
    ("github-actions", Rule::Any),
    ("inventory", Rule::Name),
];

const FORM: &str = "write SCHEME:PATH, such as dotenv:/srv/agent/.env#API_KEY";

fn rule(scheme: &str) -> Option<Rule> {
    let known = SCHEMES.iter().find(|(known, _)| *known == scheme).map(|(_, rule)| *rule);
    // A program that brings a store of its own names it so, and no slip in another looks like it.
    let own = || scheme.strip_prefix("x-").filter(|name| !name.is_empty()).map(|_| Rule::Any);
    known.or_else(own)
}

fn no_reference(text: &str) -> BadReference {
    if leak::is_bare(text) {
        let hint = "keep the secret in a store and write its reference; this one is burned";
        return bad("a secret stands where a reference to one belongs", hint);
    }
    bad("this is no reference to a secret", FORM)
}

fn bad(message: &str, hint: &str) -> BadReference {
    BadReference { message: message.to_owned(), hint: hint.to_owned() }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The names that shells and `.env` files take; a dot and a hyphen occur in the latter.
fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// RFC 6901, and never the whole document: a slash comes first, `~` only before 0 or 1.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

fn is_line(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|line| line > 0) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<SecretRef, BadReference> {
        let reference: SecretRef = text.parse()?;
        reference.vet()?;
        Ok(reference)
    }

    #[test]
    fn every_piece_finds_its_place() {
        let parse = |text: &str| {
            let it = read(text).unwrap();
            (it.scheme, it.path, it.fragment, it.part)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse("env:KEY"), ("env".into(), "KEY".into(), None, None));
        assert_eq!(
            parse("dotenv:/srv/.env#AMQP_URL::url.password"),
            ("dotenv".into(), "/srv/.env".into(), some("AMQP_URL"), Some(Part::UrlPassword))
        );
        assert_eq!(
            parse("json:/srv/t.json#/a#b/c::json/x::y"),
            ("json".into(), "/srv/t.json".into(), some("/a#b/c"), Some(Part::Json("/x::y".into())))
        );
        let cookie = |path: Option<&str>| {
            let (name, domain) = ("sid".into(), ".example.com".into());
            Some(Part::Cookie(CookieName { name, domain, path: path.map(str::to_owned) }))
        };
        assert_eq!(parse("file:/jar::cookie.sid@.example.com").3, cookie(None));
        assert_eq!(parse("file:/jar::cookie.sid@.example.com/").3, cookie(Some("/")));
        assert_eq!(parse("file:/jar::cookie.sid@.example.com/a/b").3, cookie(Some("/a/b")));
        assert_eq!(parse("line:/var/log/agent.log#17").2, some("17"));
        assert_eq!(parse("file:C:\\agent\\key").1, "C:\\agent\\key");
        assert_eq!(parse("vault:secret/mail-agent#openai").2, some("openai"));
    }

    #[test]
    fn what_is_no_reference_is_refused_and_never_repeated() {
        for (text, message) in [
            ("", "this is no reference to a secret"),
            ("hunter2", "this is no reference to a secret"),
            ("Hunter2:x", "this is no reference to a secret"),
            ("sk-proj-abcDEF123456ghiJKL7890", "a secret stands where a reference to one belongs"),
            (
                "env:ghp_0123456789abcdefghijABCDEFGHIJ012345",
                "a secret stands where a reference to one belongs",
            ),
            ("AKIAIOSFODNN7EXAMPLE", "a secret stands where a reference to one belongs"),
            (
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "a secret stands where a reference to one belongs",
            ),
            ("postgres://a:b@host/db", "an address stands where a reference belongs"),
            ("env:", "the reference names no path"),
            ("env:#K", "the reference names no path"),
            ("env:::url.user", "the reference names no path"),
            ("dotenv:/a#", "nothing stands behind the `#`"),
            ("file:/a::url.pasword", "what stands behind `::` is no part of a value"),
            ("file:/a::json", "what stands behind `::` is no part of a value"),
            ("file:/a::json/~2", "what stands behind `::` is no part of a value"),
            ("file:/a::cookie.a@/b", "what stands behind `::` is no part of a value"),
            ("file:/a::cookie.@b", "what stands behind `::` is no part of a value"),
            ("file:/a\n", "a reference cannot hold line breaks or control characters"),
            ("dotnev:/a#B", "the reference names a store that rotate does not know"),
            ("file:secrets/key", "the path of the reference is relative"),
            ("file:~/key", "the path of the reference is relative"),
            ("file:/a#b", "`file:` takes no `#`"),
            ("dotenv:/a", "`dotenv:` needs `#KEY` behind its path"),
            ("dotenv:/a#B C", "`dotenv:` needs `#KEY` behind its path"),
            ("json:/a#b", "`json:` needs `#/pointer` behind its path"),
            ("line:/a#0", "`line:` needs `#N` behind its path"),
            ("line:/a#+1", "`line:` needs `#N` behind its path"),
            ("env:a b", "`env:` takes the name of a variable"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.message, message, "{text:?}");
            let said = format!("{error} {}", error.hint);
            assert!(text.len() < 9 || !said.contains(text), "{said}");
        }
        assert_eq!(read("dotnev:/a#B").unwrap_err().hint, "did you mean `dotenv:`?");
    }

    prop_compose! {
        fn part()(
            which in 0..4, pointer in "(/[a-z~:#@]{0,6}){1,3}",
            name in "[a-z:#]{1,6}", domain in "[a-z.:@]{1,8}",
            path in proptest::option::of("/[a-z/@:#]{0,6}"),
        ) -> Part {
            match which {
                0 => Part::UrlPassword,
                1 => Part::UrlUser,
                2 => Part::Json(pointer.replace('~', "~0")),
                _ => Part::Cookie(CookieName { name, domain, path }),
            }
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again_it_is_the_same(
            scheme in "[a-z][a-z0-9-]{0,8}",
            path in "/?[a-zA-Z0-9_. é-][a-zA-Z0-9/_. é-]{0,20}",
            fragment in proptest::option::of("[a-z/#~@. -]{1,12}"),
            part in proptest::option::of(part()),
        ) {
            let reference = SecretRef { scheme, path, fragment, part };
            // A pointer can look like an address with a password in it, which is refused.
            prop_assume!(leak::scan(&reference.to_string()).is_empty());
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }

        #[test]
        fn what_is_read_is_written_alike(text in "\\PC{0,40}|[a-z]{1,4}:[:#/a-z.]{0,24}") {
            if let Ok(reference) = text.parse::<SecretRef>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
