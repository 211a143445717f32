//! Everything that markers of one call can mean.

use std::sync::Arc;

use base64::Engine as _;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Live;
use super::address::{base, whole_path};
use super::login::Token;
use super::render::UNRESERVED;
use crate::engine::call::{Reason, Values, Verb, Why};
use crate::provider::spec::judge::as_text;
use crate::provider::spec::kind::{Auth, Kind};
use crate::provider::spec::marker::{Marker, Named, Party, Piece, Text, TimeForm, Unit, subject};
use crate::provider::spec::shape::choose;
use crate::provider::{Acting, Secrets};

/// What a path segment may hold as it is, besides.
const SEGMENT: &AsciiSet = &UNRESERVED
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// A made-up secret that is sent once and kept nowhere: 40 of 62 letters are 238 bits.
const RANDOM_LENGTH: usize = 40;

/// Everything that markers of one call can mean.
pub(crate) struct Scene<'s> {
    pub(crate) live: &'s Live,
    pub(crate) kind: &'s Kind,
    pub(crate) verb: Verb,
    pub(crate) values: &'s Values,
    pub(crate) secrets: &'s Secrets,
    pub(crate) now_ms: i64,
    pub(crate) actor: Option<&'s Acting>,
    /// The provider that the actor belongs to.
    pub(crate) actor_home: Option<&'s Live>,
    pub(crate) auth: Option<&'s Auth>,
    pub(crate) token: Option<Arc<Token>>,
}

/// What a marker came to.
pub(crate) enum Found {
    Public(Value),
    Secret(Zeroizing<Vec<u8>>),
}

impl Found {
    pub(crate) fn bytes(self) -> Result<Zeroizing<Vec<u8>>, Why> {
        match self {
            Self::Secret(bytes) => Ok(bytes),
            Self::Public(Value::Array(list)) => {
                // Lists in a form or a query are written as OAuth writes scopes.
                let words: Vec<String> = list.iter().filter_map(as_text).collect();
                Ok(Zeroizing::new(words.join(" ").into_bytes()))
            }
            Self::Public(value) => as_text(&value)
                .map(|text| Zeroizing::new(text.into_bytes()))
                .ok_or_else(|| Reason::MissingValue.into()),
        }
    }
}

impl<'s> Scene<'s> {
    pub(crate) fn new(
        live: &'s Live,
        kind: &'s Kind,
        verb: Verb,
        values: &'s Values,
        secrets: &'s Secrets,
        now_ms: i64,
    ) -> Self {
        Self {
            live,
            kind,
            verb,
            values,
            secrets,
            now_ms,
            actor: None,
            actor_home: None,
            auth: None,
            token: None,
        }
    }

    pub(crate) fn party(&self, key: &str) -> Option<&'s Acting> {
        self.secrets.get(key)
    }

    /// A var of the role's credential, as predicates and addresses name it.
    pub(crate) fn var(&self, name: &str) -> Option<Value> {
        var(self.live, self.values, name)
    }

    fn of(&self, party: &Party) -> Option<&'s Acting> {
        match party {
            Party::Acting if self.actor.is_some() => self.actor,
            Party::Subject | Party::Acting => self.party(subject(self.verb)),
            other => self.party(&other.key()?),
        }
    }

    fn find(&self, value: &Named) -> Result<Option<Found>, Why> {
        let public = |value: Option<Value>| Ok(value.filter(|v| !v.is_null()).map(Found::Public));
        match value {
            Named::Part { of, name, .. } => Ok(self.part(of, name)),
            Named::Var { of: Party::Subject, name } => public(self.var(name)),
            Named::Var { of, name } => public(match (self.of(of), self.actor_home) {
                (Some(acting), Some(home)) => var(home, &acting.vars, name),
                (Some(acting), None) => var(self.live, &acting.vars, name),
                (None, _) => self.var(name),
            }),
            Named::Taken(name) => public(self.values.get(name).cloned()),
            Named::Token(name) => {
                let token = self.token.as_ref().and_then(|token| token.values.get(name));
                Ok(token.map(|token| Found::Secret(Zeroizing::new(token.expose().to_vec()))))
            }
            Named::Claim { of, name } => public(self.of(of).and_then(|acting| claim(acting, name))),
            Named::Handle => public(self.handle()),
            Named::Label => public(self.values.get("label").cloned()),
            Named::Who => public(self.values.get("who").cloned()),
            Named::Scopes => {
                let scopes = self.values.get("scopes").cloned();
                public(Some(scopes.unwrap_or_else(|| Value::Array(Vec::new()))))
            }
            Named::Base => {
                let base = base(self.live, "api", self.values)?;
                public(Some(base.as_str().trim_end_matches('/').into()))
            }
            Named::Expires(form) => {
                public(self.length("ttl").and_then(|ttl| {
                    time(self.now_ms.checked_add(i64::try_from(ttl).ok()?)?, *form)
                }))
            }
            // Never nothing: providers read a life of zero as a life without end.
            Named::Ttl(unit) => {
                public(self.length("ttl").map(|ms| (ms / unit_ms(*unit)).max(1).into()))
            }
            Named::Grace(unit) => {
                let grace = self.length("grace").unwrap_or(0);
                public(Some(grace.div_ceil(unit_ms(*unit)).into()))
            }
            Named::Random => {
                let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
                let value = choose(RANDOM_LENGTH, alphabet, &mut rand::rng());
                Ok(Some(Found::Secret(Zeroizing::new(value.as_bytes().to_vec()))))
            }
        }
    }

    fn part(&self, of: &Party, name: &str) -> Option<Found> {
        let acting = self.of(of);
        if let Some(secret) = acting.and_then(|acting| acting.parts.secret.get(name)) {
            return Some(Found::Secret(Zeroizing::new(secret.expose().to_vec())));
        }
        let own = self.values.get(name).filter(|_| *of == Party::Subject);
        if let Some(value) = own {
            return Some(Found::Public(value.clone()));
        }
        let acting = acting?;
        let public = acting.parts.public.get(name).or_else(|| acting.vars.get(name));
        public.cloned().map(Found::Public)
    }

    fn handle(&self) -> Option<Value> {
        let named = self.values.get("handle").filter(|value| !value.is_null());
        let part = || {
            let name = self.kind.head.handle_part()?;
            let held = self.of(&Party::Subject).and_then(|acting| acting.parts.public.get(name));
            self.values.get(name).or(held)
        };
        named.or_else(part).cloned()
    }

    fn length(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// The value, `None` where an optional marker has none.
    pub(crate) fn marker(&self, marker: &Marker) -> Result<Option<Found>, Why> {
        match self.find(&marker.value)? {
            None if marker.optional => Ok(None),
            None if self.need_not_have(&marker.value) => Err(Reason::NoSuchPart.into()),
            None => Err(Reason::MissingValue.into()),
            found => Ok(found),
        }
    }

    /// Whether it is a part that the credential which is used may lack. What an admin or a client
    /// lacks says nothing of that one.
    fn need_not_have(&self, value: &Named) -> bool {
        let Named::Part { of, name, .. } = value else { return false };
        let used = self.party(subject(self.verb));
        let own = self.of(of).zip(used).is_some_and(|(of, used)| std::ptr::eq(of, used));
        own && self.kind.head.parts.get(name).is_some_and(|part| part.part.optional)
    }

    /// A text for a header: bytes of any value, `None` where an optional marker has none.
    pub(crate) fn header(&self, text: &Text) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
        let mut out = Zeroizing::new(Vec::with_capacity(512));
        for piece in &text.0 {
            match piece {
                Piece::Plain(plain) => out.extend_from_slice(plain.as_bytes()),
                Piece::Marker(marker) => match self.marker(marker)? {
                    Some(found) => out.extend_from_slice(&found.bytes()?),
                    None => return Ok(None),
                },
            }
        }
        if out.iter().any(u8::is_ascii_control) {
            return Err(Reason::Unsupported.into());
        }
        Ok(Some(out))
    }

    /// A text for a form, a query or a JSON string: a whole marker may be any value; inside a
    /// longer one only plain public words may stand.
    pub(crate) fn field(&self, text: &Text) -> Result<Option<Found>, Why> {
        if let Some(marker) = text.whole() {
            return self.marker(marker);
        }
        let mut out = String::new();
        for piece in &text.0 {
            match piece {
                Piece::Plain(plain) => out.push_str(plain),
                Piece::Marker(marker) => match self.marker(marker)? {
                    Some(Found::Public(value)) => {
                        let word = as_text(&value).ok_or(Reason::MissingValue)?;
                        if !plain_word(&word) {
                            return Err(Reason::Unsupported.into());
                        }
                        out.push_str(&word);
                    }
                    Some(Found::Secret(_)) => return Err(Reason::Unsupported.into()),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(Found::Public(out.into())))
    }

    /// A path: each marker stays inside its segment, whatever it holds.
    pub(crate) fn path(&self, text: &Text) -> Result<Zeroizing<String>, Why> {
        let mut out = Zeroizing::new(String::with_capacity(512));
        for piece in &text.0 {
            match piece {
                Piece::Plain(plain) => out.push_str(plain),
                Piece::Marker(marker) => {
                    let found = self.marker(marker)?.ok_or(Reason::MissingValue)?;
                    let bytes = found.bytes()?;
                    let value = std::str::from_utf8(&bytes).map_err(|_| Reason::LeftBase)?;
                    let leaves = |c: char| c.is_control() || "/%?#\\".contains(c);
                    if value.is_empty() || value.contains(leaves) {
                        return Err(Reason::LeftBase.into());
                    }
                    out.extend(utf8_percent_encode(value, SEGMENT));
                }
            }
        }
        whole_path(&out)?;
        Ok(out)
    }
}

fn plain_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_.@:+-".contains(c))
}

pub(crate) fn var(live: &Live, values: &Values, name: &str) -> Option<Value> {
    let given = values.get(name).filter(|value| !value.is_null()).cloned();
    given.or_else(|| live.spec.vars.get(name)?.default.clone())
}

/// A claim of the first part that is a JWT; its payload is read, its signature is not our matter.
fn claim(acting: &Acting, name: &str) -> Option<Value> {
    let first = acting.parts.secret.get("secret").into_iter();
    first.chain(acting.parts.secret.values()).find_map(|secret| {
        let payload = std::str::from_utf8(secret.expose()).ok()?.split('.').nth(1)?;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let payload = Zeroizing::new(engine.decode(payload.trim_end_matches('=')).ok()?);
        let payload: Value = serde_json::from_slice(&payload).ok()?;
        payload.get(name).cloned()
    })
}

fn time(at_ms: i64, form: TimeForm) -> Option<Value> {
    let seconds = at_ms.div_euclid(1000);
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(match form {
        TimeForm::Rfc3339 => at.to_string().into(),
        TimeForm::Date => at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string().into(),
        TimeForm::Unix => seconds.into(),
        TimeForm::Ms => at_ms.into(),
    })
}

fn unit_ms(unit: Unit) -> u64 {
    match unit {
        Unit::Seconds => 1_000,
        Unit::Hours => 3_600_000,
        Unit::Days => 86_400_000,
    }
}
