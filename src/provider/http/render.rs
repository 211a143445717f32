//! Markers into bytes: the request exactly as the file writes it, or none at all.

use base64::Engine as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::address::place;
use super::scene::{Found, Scene};
use crate::engine::call::{Reason, Verb, Why};
use crate::provider::spec::call::{Body, CallSpec};
use crate::provider::spec::kind::Auth;
use crate::provider::spec::marker::{Json, Text};

/// RFC 3986 unreserved characters stay as they are.
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request, ready to be sent.
pub(crate) struct Rendered {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The address it was rendered for: what later pages must lie on.
    pub(crate) base: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
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
