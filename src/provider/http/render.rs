//! Markers into bytes: the request exactly as the file writes it, or none at all.

use std::sync::Arc;

use base64::Engine as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::Live;
use super::login::Token;
use crate::engine::call::{Reason, Values, Verb, Why};
use crate::provider::catalog::safe_scheme;
use crate::provider::spec::Base;
use crate::provider::spec::judge::as_text;
use crate::provider::spec::kind::{Auth, Kind};
use crate::provider::spec::marker::{
    Json, Marker, Named, Party, Piece, Text, TimeForm, Unit, subject,
};
use crate::provider::spec::shape::{Shape, choose};
use crate::provider::spec::verb::{Body, CallSpec, Target};
use crate::provider::{Acting, Bases, Secrets};

/// RFC 3986 unreserved characters stay as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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

/// A request, ready to be sent.
pub(crate) struct Rendered {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The address it was rendered for: what later pages must lie on.
    pub(crate) base: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
}

/// What a marker came to.
pub(crate) enum Found {
    Public(Value),
    Secret(Zeroizing<Vec<u8>>),
}

impl Found {
    fn bytes(self) -> Result<Zeroizing<Vec<u8>>, Why> {
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
        if *of == Party::Subject {
            if let Some(value) = self.values.get(name) {
                return Some(Found::Public(value.clone()));
            }
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
    fn marker(&self, marker: &Marker) -> Result<Option<Found>, Why> {
        match self.find(&marker.value)? {
            None if !marker.optional => Err(Reason::MissingValue.into()),
            found => Ok(found),
        }
    }

    /// A text for a header: bytes of any value, `None` where an optional marker has none.
    fn header(&self, text: &Text) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
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
    fn field(&self, text: &Text) -> Result<Option<Found>, Why> {
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
    fn path(&self, text: &Text) -> Result<Zeroizing<String>, Why> {
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

/// One slash, then segments that stay where they are.
fn whole_path(path: &str) -> Result<(), Why> {
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    if !path.starts_with('/') || path.starts_with("//") || dots {
        return Err(Reason::LeftBase.into());
    }
    Ok(())
}

fn var(live: &Live, values: &Values, name: &str) -> Option<Value> {
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

/// The address of one base, its vars in place.
pub(crate) fn base(live: &Live, name: &str, vars: &Values) -> Result<Url, Why> {
    if let Some(url) = live.bases.get(name) {
        return Ok(url.clone());
    }
    let Base::Fixed(named) = &live.spec.base else { return Err(Reason::MissingValue.into()) };
    let text = named.get(name).ok_or(Reason::MissingValue)?;
    let mut written = String::new();
    for piece in &text.0 {
        match piece {
            Piece::Plain(plain) => written.push_str(plain),
            Piece::Marker(marker) => {
                let Named::Var { name, .. } = &marker.value else {
                    return Err(Reason::LeftBase.into());
                };
                let value = var(live, vars, name).as_ref().and_then(as_text);
                let value = value.ok_or(Reason::MissingValue)?;
                if !host_label(live, name, &value) {
                    return Err(Reason::LeftBase.into());
                }
                written.push_str(&value);
            }
        }
    }
    Url::parse(&written).map_err(|_| Reason::LeftBase.into())
}

/// Whether a var may stand in a host: what its own rule allows, and nothing that ends a host.
fn host_label(live: &Live, name: &str, value: &str) -> bool {
    let Some(rule) = live.spec.vars.get(name) else { return false };
    let listed = rule.one_of.is_empty() || rule.one_of.iter().any(|one| one == value);
    let like = rule
        .like
        .as_ref()
        .is_none_or(|like| Shape::whole(like).is_ok_and(|shape| shape.matches(value)));
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    let dots = value.starts_with('.') || value.ends_with('.') || value.contains("..");
    listed && like && !dots && !value.is_empty() && value.chars().all(letters)
}

/// Every base, for native code.
pub(crate) fn bases(live: &Live, values: &Values) -> Result<Bases, Why> {
    let mut bases: Bases = live.bases.clone();
    if let Base::Fixed(named) = &live.spec.base {
        for name in named.keys() {
            bases.insert(name.clone(), base(live, name, values)?);
        }
    }
    Ok(bases)
}

/// Whether a URL goes to the very server that a base names.
pub(crate) fn lies_on(url: &Url, base: &Url) -> bool {
    safe_scheme(url)
        && url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
}

fn place(scene: &Scene<'_>, target: &Target) -> Result<(Url, Url), Why> {
    let join = |base: Url, path: &str| {
        let written = Zeroizing::new(format!("{}{path}", base.as_str().trim_end_matches('/')));
        let url = Url::parse(&written).map_err(|_| Reason::LeftBase)?;
        let below = url.path().starts_with(base.path().trim_end_matches('/'));
        if lies_on(&url, &base) && below { Ok((url, base)) } else { Err(Reason::LeftBase.into()) }
    };
    match target {
        Target::Path { base: name, path } => {
            join(base(scene.live, name, scene.values)?, &scene.path(path)?)
        }
        Target::Whole(marker) => {
            let Some(Found::Public(value)) = scene.marker(marker)? else {
                return Err(Reason::MissingValue.into());
            };
            let written = as_text(&value).ok_or(Reason::MissingValue)?;
            if written.starts_with('/') {
                if written.contains(['?', '#', '\\', '%']) || written.contains(char::is_control) {
                    return Err(Reason::LeftBase.into());
                }
                whole_path(&written)?;
                return join(base(scene.live, "api", scene.values)?, &written);
            }
            let url = Url::parse(&written).map_err(|_| Reason::LeftBase)?;
            let bases = bases(scene.live, scene.values)?;
            let base = bases.into_values().find(|base| lies_on(&url, base));
            base.map(|base| (url, base)).ok_or_else(|| Reason::LeftBase.into())
        }
    }
}

/// The request of a call.
///
/// # Errors
/// [`Reason::MissingValue`], [`Reason::LeftBase`], or [`Reason::Unsupported`] for a value that
/// cannot stand where its marker stands. Nothing was sent then.
pub(crate) fn request(scene: &Scene<'_>, call: &CallSpec) -> Result<Rendered, Why> {
    let (mut url, base) = place(scene, &call.target)?;
    let mut headers = HeaderMap::new();
    for (name, text) in scene.live.spec.headers.iter().chain(&call.headers) {
        put(&mut headers, name, scene.header(text)?)?;
    }
    if scene.verb == Verb::Probe && !headers.contains_key(CACHE_CONTROL) {
        // An answer kept from before the revocation would prove nothing.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let mut query = Zeroizing::new(url.query().unwrap_or_default().to_owned());
    pairs(scene, &call.query, &mut query)?;
    if let Some(auth) = scene.auth {
        show(scene, auth, &mut headers, &mut query)?;
    }
    url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    let body = body(scene, &call.body, &mut headers)?;
    Ok(Rendered { method: call.method.clone(), url, base, headers, body })
}

fn put(headers: &mut HeaderMap, name: &str, value: Option<Zeroizing<Vec<u8>>>) -> Result<(), Why> {
    let Some(value) = value else { return Ok(()) };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::Unsupported)?;
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| Reason::Unsupported)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn show(
    scene: &Scene<'_>,
    auth: &Auth,
    headers: &mut HeaderMap,
    query: &mut Zeroizing<String>,
) -> Result<(), Why> {
    let word = |text: &Text| scene.header(text)?.ok_or_else(|| Why::from(Reason::MissingValue));
    match auth {
        Auth::Bearer(text) => {
            let mut value = Zeroizing::new(b"Bearer ".to_vec());
            value.extend_from_slice(&word(text)?);
            put(headers, AUTHORIZATION.as_str(), Some(value))
        }
        Auth::Basic(user, password) => {
            let mut pair = word(user)?;
            if pair.contains(&b':') {
                return Err(Reason::Unsupported.into());
            }
            pair.push(b':');
            pair.extend_from_slice(&word(password)?);
            let coded = base64::engine::general_purpose::STANDARD.encode(pair.as_slice());
            let coded = Zeroizing::new(coded);
            let value = Zeroizing::new([b"Basic ", coded.as_bytes()].concat());
            put(headers, AUTHORIZATION.as_str(), Some(value))
        }
        Auth::Headers(list) => {
            list.iter().try_for_each(|(name, text)| put(headers, name, scene.header(text)?))
        }
        Auth::Cookies(list) => {
            let mut value = Zeroizing::new(Vec::with_capacity(1024));
            for (name, text) in list {
                let word = word(text)?;
                // RFC 6265: what would end the value, or the pair.
                if word.iter().any(|byte| b"\",;\\ ".contains(byte)) {
                    return Err(Reason::Unsupported.into());
                }
                if !value.is_empty() {
                    value.extend_from_slice(b"; ");
                }
                value.extend_from_slice(name.as_bytes());
                value.push(b'=');
                value.extend_from_slice(&word);
            }
            put(headers, COOKIE.as_str(), Some(value))
        }
        Auth::Query(list) => {
            for (name, text) in list {
                pair(query, name, &word(text)?)?;
            }
            Ok(())
        }
    }
}

fn pairs(
    scene: &Scene<'_>,
    list: &[(String, Json)],
    out: &mut Zeroizing<String>,
) -> Result<(), Why> {
    for (name, json) in list {
        let found = match json {
            Json::Text(text) => scene.field(text)?,
            Json::Fixed(value) => Some(Found::Public(value.clone())),
            Json::List(_) | Json::Object(_) => return Err(Reason::Unsupported.into()),
        };
        if let Some(found) = found {
            pair(out, name, &found.bytes()?)?;
        }
    }
    Ok(())
}

fn pair(out: &mut Zeroizing<String>, name: &str, value: &[u8]) -> Result<(), Why> {
    let value = std::str::from_utf8(value).map_err(|_| Reason::Unsupported)?;
    if !out.is_empty() {
        out.push('&');
    }
    out.extend(utf8_percent_encode(name, UNRESERVED));
    out.push('=');
    out.extend(utf8_percent_encode(value, UNRESERVED));
    Ok(())
}

fn body(
    scene: &Scene<'_>,
    body: &Body,
    headers: &mut HeaderMap,
) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
    let (kind, bytes) = match body {
        Body::Empty => return Ok(None),
        Body::Json(json) => {
            // Room enough that growing leaves no copy of a secret behind.
            let mut out = Zeroizing::new(Vec::with_capacity(16 * 1024));
            if !write(scene, json, &mut out)? {
                return Err(Reason::MissingValue.into());
            }
            ("application/json", out)
        }
        Body::Form(fields) => {
            let mut out = Zeroizing::new(String::with_capacity(16 * 1024));
            pairs(scene, fields, &mut out)?;
            ("application/x-www-form-urlencoded", Zeroizing::new(out.as_bytes().to_vec()))
        }
    };
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    Ok(Some(bytes))
}

/// Writes JSON value by value, so that nothing can break out of its string; `false` where an
/// optional marker has no value and the key is to be left out.
fn write(scene: &Scene<'_>, json: &Json, out: &mut Zeroizing<Vec<u8>>) -> Result<bool, Why> {
    match json {
        Json::Fixed(value) => plain(value, out)?,
        Json::Text(text) => match scene.field(text)? {
            None => return Ok(false),
            Some(Found::Public(value)) => plain(&value, out)?,
            Some(Found::Secret(bytes)) => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Reason::Unsupported)?;
                serde_json::to_writer(&mut **out, text).map_err(|_| Reason::Unsupported)?;
            }
        },
        Json::List(list) => {
            out.push(b'[');
            for item in list {
                entry(scene, item, b'[', None, out)?;
            }
            out.push(b']');
        }
        Json::Object(entries) => {
            out.push(b'{');
            for (key, item) in entries {
                entry(scene, item, b'{', Some(key), out)?;
            }
            out.push(b'}');
        }
    }
    Ok(true)
}

/// Writes one element behind `open` or a comma, or takes back what it began.
fn entry(
    scene: &Scene<'_>,
    item: &Json,
    open: u8,
    key: Option<&str>,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Why> {
    let before = out.len();
    if out.last() != Some(&open) {
        out.push(b',');
    }
    if let Some(key) = key {
        plain(&Value::from(key), out)?;
        out.push(b':');
    }
    if !write(scene, item, out)? {
        out.truncate(before);
    }
    Ok(())
}

fn plain(value: &Value, out: &mut Zeroizing<Vec<u8>>) -> Result<(), Why> {
    serde_json::to_writer(&mut **out, value).map_err(|_| Reason::Unsupported.into())
}
