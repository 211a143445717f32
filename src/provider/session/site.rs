//! The site: requests as the recorded client sends them, to its address and nowhere else.

use http::Method;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, ORIGIN, REFERER,
    USER_AGENT,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::cookie::Jar;
use super::page::{Reception, Signs, token};
use super::wire::{Answered, Failure, exchange};
use crate::engine::call::{Reason, Values};
use crate::provider::Bases;
use crate::provider::catalog::safe_scheme;
use crate::secret::Secret;

/// RFC 3986 unreserved characters stay as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a browser accepts for a page; a site that tells JSON from it by this header sends the page.
const ANY_PAGE: &str = "text/html,application/json;q=0.9,*/*;q=0.8";

/// The site, as the role's client knows it.
pub(super) struct Site<'a> {
    http: &'a reqwest::Client,
    base: &'a Url,
    values: &'a Values,
}

/// Fields of a form. Their values are zeroed when dropped.
pub(super) type Form = Vec<(String, Zeroizing<String>)>;

impl<'a> Site<'a> {
    /// # Errors
    /// [`Reason::MissingValue`] without an address, [`Reason::LeftBase`] for one that cookies must
    /// not travel to.
    pub(super) fn new(
        http: &'a reqwest::Client,
        bases: &'a Bases,
        values: &'a Values,
    ) -> Result<Self, Failure> {
        let base = bases.get("api").ok_or(Reason::MissingValue)?;
        if !safe_scheme(base) {
            return Err(Reason::LeftBase.into());
        }
        Ok(Self { http, base, values })
    }

    /// A var, where it says something.
    pub(super) fn word(&self, name: &str) -> Option<&'a str> {
        word(self.values, name)
    }

    /// A var that this call cannot do without.
    pub(super) fn demand(&self, name: &str) -> Result<&'a str, Failure> {
        self.word(name).ok_or_else(|| Reason::MissingValue.into())
    }

    /// How the page that tells the user receives a visitor.
    pub(super) async fn receives(&self, jar: &Jar) -> Result<(Reception, Answered), Failure> {
        let signs = Signs::of(self.values)?;
        let answered = self.get(self.demand("page")?, jar).await?;
        Ok((signs.read(&answered), answered))
    }

    /// Reads a page.
    pub(super) async fn get(&self, path: &str, jar: &Jar) -> Result<Answered, Failure> {
        exchange(self.http, self.request(Method::GET, path, jar)?).await
    }

    /// Sends a form, with its CSRF token in the header that the site reads it from.
    pub(super) async fn submit(
        &self,
        method: Method,
        path: &str,
        jar: &Jar,
        (form, token): (&Form, Option<&Secret>),
    ) -> Result<Answered, Failure> {
        let reads = method == Method::GET;
        let mut request = self.request(method, path, jar)?;
        let origin = self.base.origin().ascii_serialization();
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Reason::Unsupported);
        let headers = request.headers_mut();
        // What a browser says of where a form came from; frameworks refuse one without.
        headers.insert(ORIGIN, header(&origin)?);
        headers.insert(REFERER, header(self.base.as_str())?);
        if let (Some(name), Some(token)) = (self.word("csrf_header"), token) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::Unsupported)?;
            let mut value = HeaderValue::from_bytes(token.expose())
                .map_err(|_| Failure::from(Reason::Unsupported))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if !reads {
            let as_json = self.word("send_as") == Some("json");
            let kind = if as_json { "application/json" } else { FORM };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            let body = if as_json { json(form)? } else { encoded(form) };
            *request.body_mut() = Some(bytes::Bytes::from_owner(body).into());
        }
        exchange(self.http, request).await
    }

    /// Fetches the CSRF token where the site has one: from the page that shows it, or from the
    /// cookie that the same page sets. The visitor keeps what else was set.
    pub(super) async fn fetch_token(
        &self,
        page: &str,
        jar: &mut Jar,
    ) -> Result<(Option<Secret>, Answered), Failure> {
        let answered = self.get(page, jar).await?;
        jar.take(&answered.headers);
        let shown = self.word("csrf_field").and_then(|name| token(&answered.text(), name));
        let in_cookie = || self.word("csrf_cookie").and_then(|name| jar.get(name));
        Ok((shown.or_else(|| in_cookie().map(Secret::duplicate)), answered))
    }

    fn request(&self, method: Method, path: &str, jar: &Jar) -> Result<reqwest::Request, Failure> {
        let mut request = reqwest::Request::new(method, self.address(path)?);
        let headers = request.headers_mut();
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Reason::Unsupported);
        headers.insert(ACCEPT, HeaderValue::from_static(ANY_PAGE));
        for recorded in self.recorded() {
            let (name, value) = recorded.split_once(':').ok_or(Reason::Unsupported)?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::Unsupported)?;
            headers.insert(name, header(value.trim())?);
        }
        if let Some(agent) = self.word("user_agent") {
            headers.insert(USER_AGENT, header(agent)?);
        }
        // An answer kept from before the revocation would prove nothing.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.remove(COOKIE);
        if let Some(cookies) = jar.header()? {
            headers.insert(COOKIE, cookies);
        }
        Ok(request)
    }

    fn recorded(&self) -> impl Iterator<Item = &'a str> {
        let list = self.values.get("headers").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// A path below the site's address; one that would lead elsewhere is refused.
    fn address(&self, path: &str) -> Result<Url, Failure> {
        let written = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&written).map_err(|_| Reason::LeftBase)?;
        let stays = url.origin() == self.base.origin()
            && url.path().starts_with(self.base.path().trim_end_matches('/'))
            && url.username().is_empty()
            && url.password().is_none();
        if stays && path.starts_with('/') { Ok(url) } else { Err(Reason::LeftBase.into()) }
    }
}

/// A var, where it says something.
pub(super) fn word<'v>(values: &'v Values, name: &str) -> Option<&'v str> {
    values.get(name).and_then(Value::as_str).filter(|it| !it.is_empty())
}

const FORM: &str = "application/x-www-form-urlencoded";

fn encoded(form: &Form) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(String::with_capacity(4096));
    for (name, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend(utf8_percent_encode(name, UNRESERVED));
        out.push('=');
        out.extend(utf8_percent_encode(value, UNRESERVED));
    }
    Zeroizing::new(out.as_bytes().to_vec())
}

fn json(form: &Form) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut out = Zeroizing::new(Vec::with_capacity(4096));
    for (name, value) in form {
        let before = if out.is_empty() { b'{' } else { b',' };
        out.push(before);
        let written = serde_json::to_writer(&mut *out, name);
        written.map_err(|_| Failure::from(Reason::Unsupported))?;
        out.push(b':');
        let written = serde_json::to_writer(&mut *out, value.as_str());
        written.map_err(|_| Failure::from(Reason::Unsupported))?;
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(out)
}
