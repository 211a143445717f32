//! One credential at GitHub, made for one call and dropped with it: octocrab over our client.
//!
//! octocrab is built without its retries, redirects and tracing. The strings that it and the HTTP
//! stack make of a token are not zeroed; every buffer that is ours is.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, USER_AGENT};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use jiff::fmt::rfc2822;
use octocrab::Octocrab;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::Value;
use zeroize::Zeroizing;

use super::answer::Failure;
use crate::engine::call::{Reason, Why};
use crate::provider::Bases;
use crate::secret::Secret;

/// The longest body that is read, in bytes: a page of a hundred deploy keys, ten kilobytes each.
const BODY_MAX: usize = 1024 * 1024;

/// The version of the API that its description is held against, and that GitHub Enterprise Server
/// knows too.
const VERSION: &str = "2022-11-28";

/// How a call authenticates.
pub(super) enum Shows<'a> {
    /// Not at all.
    Nothing,
    /// By a token.
    Token(&'a Secret),
    /// As an application.
    Client {
        /// Its public id.
        id: &'a str,
        /// Its secret.
        secret: &'a Secret,
    },
}

/// A client of the API that shows itself in one way.
pub(super) struct Session {
    github: Octocrab,
    /// The path of the base: `/api/v3` at GitHub Enterprise Server, else nothing.
    root: String,
}

/// An answer that is neither a redirect nor a plea to wait nor a breakdown.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Session {
    pub(super) fn open(
        client: &reqwest::Client,
        bases: &Bases,
        shows: Shows<'_>,
    ) -> Result<Self, Failure> {
        let base = bases.get("api").ok_or(Reason::MissingValue)?;
        let agent = concat!("rotate/", env!("CARGO_PKG_VERSION")).to_owned();
        let builder = Octocrab::builder()
            .base_uri(base.origin().ascii_serialization())?
            .add_header(USER_AGENT, agent);
        let builder = match shows {
            Shows::Nothing => builder,
            Shows::Token(token) => {
                let token = text(token).ok_or(Reason::Unexpected)?;
                builder.personal_token(SecretString::from(token))
            }
            Shows::Client { id, secret } => {
                let secret = text(secret).ok_or(Reason::Unexpected)?;
                builder.basic_auth(id.to_owned(), secret.to_owned())
            }
        };
        let github = builder.build_with_reqwest(client.clone())?;
        Ok(Self { github, root: base.path().trim_end_matches('/').to_owned() })
    }

    /// Sends one request, a JSON body with it, and reads the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Answered, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.root))
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", VERSION);
        let request = match body {
            Some(body) => {
                request.header(CONTENT_TYPE, "application/json").body(Bytes::from_owner(body))
            }
            None => request.body(Bytes::new()),
        };
        let request = request.map_err(|_| Reason::LeftBase)?;
        let response = self.github.execute(request).await?;
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        let lost = |reason| Failure::Lost(Why { reason, status: Some(status), word: None });
        // As large as it may become, so that growing leaves no unzeroed copy behind.
        let mut read = Zeroizing::new(Vec::with_capacity(BODY_MAX));
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame.map_err(|_| lost(Reason::Reset))?.into_data() else { continue };
            if read.len() + frame.len() > BODY_MAX {
                return Err(lost(Reason::TooLong));
            }
            read.extend_from_slice(&frame);
        }
        let answered = Answered { status, headers: head.headers, body: read };
        match status {
            _ if answered.is_limited() => Err(Failure::Throttled(answered.wait())),
            300..=399 => Err(Failure::Refused(answered.why(Reason::Redirect))),
            500.. => Err(lost(Reason::Unexpected)),
            _ => Ok(answered),
        }
    }
}

impl Answered {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// GitHub's own words, for comparing and never for showing.
    pub(super) fn message(&self) -> String {
        let json = self.json();
        json.pointer("/message").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(super) fn why(&self, reason: Reason) -> Why {
        Why { reason, status: Some(self.status), word: None }
    }

    /// A 403 is a limit, a missing right or a refusal: only the first is no verdict, and says so.
    fn is_limited(&self) -> bool {
        let spent = self.header("x-ratelimit-remaining") == Some("0");
        let told = || {
            let message = self.message();
            message.contains("secondary rate limit") || message.starts_with("API rate limit")
        };
        match self.status {
            429 | 503 => true,
            403 => spent || self.headers.contains_key(RETRY_AFTER) || told(),
            _ => false,
        }
    }

    /// How long, milliseconds: as told, or until the hour's requests are counted anew, held
    /// against the server's own clock so that ours does not matter.
    fn wait(&self) -> Option<u64> {
        if let Some(seconds) = self.header(RETRY_AFTER.as_str()) {
            return seconds.trim().parse::<u64>().ok().map(|it| it.saturating_mul(1_000));
        }
        if self.header("x-ratelimit-remaining") != Some("0") {
            return None;
        }
        let reset = self.header("x-ratelimit-reset")?.trim().parse::<i64>().ok()?;
        let now = rfc2822::DateTimeParser::new().parse_timestamp(self.header(DATE.as_str())?);
        let wait = reset.saturating_sub(now.ok()?.as_second());
        u64::try_from(wait).ok().map(|seconds| seconds.saturating_mul(1_000))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A secret as it may stand in a header: visible ASCII and nothing else.
pub(super) fn text(secret: &Secret) -> Option<&str> {
    let text = std::str::from_utf8(secret.expose()).ok()?;
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(text)
}

/// What may stand in a path as it is: the names of owners, repositories and clients.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// One segment of a path; what would lead out of it is escaped.
pub(super) fn segment(text: &str) -> String {
    match text {
        "." | ".." => text.replace('.', "%2E"),
        _ => utf8_percent_encode(text, PLAIN).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answered {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Answered { status, headers: map, body }
    }

    #[test]
    fn a_limit_is_told_from_a_refusal() {
        let limited = |status, headers: &[_], body| answered(status, headers, body).is_limited();
        assert!(limited(429, &[], ""));
        assert!(limited(403, &[("x-ratelimit-remaining", "0")], ""));
        assert!(limited(403, &[("retry-after", "60")], ""));
        let said = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert!(limited(403, &[], said));
        assert!(!limited(403, &[("x-ratelimit-remaining", "59")], ""));
        assert!(!limited(401, &[("x-ratelimit-remaining", "0")], ""));
        assert!(!limited(403, &[], r#"{"message":"Resource not accessible by integration"}"#));
    }

    #[test]
    fn the_wait_is_told_or_lasts_until_the_count_begins_anew() {
        let wait = |headers: &[_]| answered(403, headers, "").wait();
        let spent = ("x-ratelimit-remaining", "0");
        let noon = ("date", "Sun, 06 Nov 1994 12:00:00 GMT");
        assert_eq!(wait(&[("retry-after", "7")]), Some(7_000));
        assert_eq!(wait(&[spent, ("x-ratelimit-reset", "784123290"), noon]), Some(90_000));
        assert_eq!(wait(&[spent, ("x-ratelimit-reset", "784123290")]), None, "whose clock?");
        assert_eq!(wait(&[spent, ("x-ratelimit-reset", "1"), noon]), None);
        assert_eq!(wait(&[noon]), None);
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_not_sent() {
        let fits = |it: &str| text(&Secret::from(it.to_owned())).is_some();
        assert!(fits("ghp_abc"));
        for bad in ["", "a b", "a\nb", "\u{e9}", "a\u{7f}"] {
            assert!(!fits(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("Iv1.8a61f9b3a7aba766"), "Iv1.8a61f9b3a7aba766");
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
