//! One request and its answer: what `oauth2` built, sent over the shared client.
//!
//! Redirects are answers, bodies are bounded, and what went wrong is told in closed words. The
//! strings inside `oauth2` and the buffers of the HTTP stack are not zeroed; every buffer that is
//! ours is.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE, HeaderMap, RETRY_AFTER};
use jiff::fmt::rfc2822;
use oauth2::{
    AsyncHttpClient, ErrorResponseType, HttpRequest, HttpResponse, RequestTokenError,
    StandardErrorResponse,
};
use serde_json::Value;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

use crate::engine::call::{Answer, Fault, Liveness, Reason, Values, Why};
use crate::provider::transport::Unanswered;

/// The longest body that is read, in bytes. The metadata of large issuers stays below 10 KiB, a
/// token answer with three JWTs below 20 KiB; more than 64 KiB is no OAuth answer.
const BODY_MAX: usize = 64 * 1024;

/// How long one answer may take. The engine gives most calls 20 s; the call that waits for a person
/// has an hour, and no single exchange in it may eat that.
const ANSWER: Duration = Duration::from_secs(30);

/// Why an exchange brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It certainly never left.
    #[error("the request was not sent")]
    NotSent(Reason),
    /// It left, and no whole answer came back.
    #[error("the answer was lost")]
    Lost(Reason),
    /// 429; milliseconds where the other side said how long.
    #[error("the other side asked to wait")]
    Throttled(Option<u64>),
    /// 503, likewise. Whoever stands before the other side may say so of a request that it did.
    #[error("the other side is not at hand")]
    Unavailable(Option<u64>),
    /// Another 5xx: it may have happened.
    #[error("the other side failed with status {0}")]
    Broken(u16),
    /// The other side, or a rule of ours, said no.
    #[error("the request was refused")]
    Refused(Why),
    /// A status that means yes around a body that is not OAuth's.
    #[error("status {0} came with a body that is not described")]
    Odd(u16),
}

impl Failure {
    /// As the answer to a request that changes something: what is not known may have happened.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::NotSent(reason) => Fault::NotSent(reason.into()),
            Self::Throttled(wait) | Self::Unavailable(wait) => Fault::Throttled(wait),
            Self::Refused(why) => Fault::Refused(why),
            Self::Lost(_) | Self::Broken(_) | Self::Odd(_) => Fault::Unknown(self.why()),
        }
    }

    /// As the answer to a request that makes something: one that may have been done is not sent
    /// again before somebody has looked.
    pub(super) fn of_making(self) -> Fault {
        match self {
            Self::Unavailable(_) => Fault::Unknown(self.why()),
            other => other.fault(),
        }
    }

    /// As the answer to a change whose *preparation* failed: the change itself was never sent.
    pub(super) fn before(self) -> Fault {
        match self {
            Self::Lost(_) | Self::Broken(_) => Fault::NotSent(self.why()),
            Self::Odd(_) => Fault::Refused(self.why()),
            other => other.fault(),
        }
    }

    /// As the answer to a probe: never a verdict.
    pub(super) fn sight(self) -> Answer {
        match self {
            Self::Throttled(wait) | Self::Unavailable(wait) => {
                Answer::Fault(Fault::Throttled(wait))
            }
            other => Answer::Saw(Liveness::Unclear(other.why()), Values::new()),
        }
    }

    fn why(self) -> Why {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) => reason.into(),
            Self::Throttled(_) => Reason::Refused.into(),
            Self::Unavailable(_) => {
                Why { reason: Reason::Unexpected, status: Some(503), word: None }
            }
            Self::Broken(status) | Self::Odd(status) => {
                Why { reason: Reason::Unexpected, status: Some(status), word: None }
            }
            Self::Refused(why) => why,
        }
    }
}

impl From<Reason> for Failure {
    /// A rule of ours said no before anything was sent.
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent(reason) => Self::NotSent(reason),
            Unanswered::Lost(reason) => Self::Lost(reason),
        }
    }
}

/// An answer that is neither a redirect nor a plea to wait nor a breakdown.
pub(super) struct Answered {
    /// Its status: 2xx or 4xx.
    pub(super) status: u16,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body, zeroed when dropped.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answered {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The refusal that a 4xx is, with the error word of RFC 6749 section 5.2.
    pub(super) fn refusal(&self) -> Failure {
        refused(self.status, self.json().get("error").and_then(Value::as_str))
    }
}

/// Carries requests to one endpoint, which discovery has held against the bases.
///
/// The address in the request that `oauth2` built is not looked at: it can never lead elsewhere.
pub(super) struct Wire {
    http: reqwest::Client,
    to: Url,
    status: AtomicU16,
    lost: AtomicBool,
}

impl Wire {
    /// A wire to an endpoint.
    pub(super) fn new(http: &reqwest::Client, to: &Url) -> Self {
        Self {
            http: http.clone(),
            to: to.clone(),
            status: AtomicU16::new(0),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether the answer to any request went missing.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What an error of `oauth2` means, with the status that it does not keep.
    pub(super) fn failure<T>(
        &self,
        error: RequestTokenError<Failure, StandardErrorResponse<T>>,
    ) -> Failure
    where
        T: ErrorResponseType + AsRef<str> + Display + 'static,
    {
        match error {
            RequestTokenError::Request(failure) => failure,
            RequestTokenError::ServerResponse(said) => {
                refused(self.status.load(Ordering::Relaxed), Some(said.error().as_ref()))
            }
            RequestTokenError::Parse(_, mut body) => {
                body.zeroize();
                self.undescribed()
            }
            RequestTokenError::Other(_) => self.undescribed(),
        }
    }

    fn undescribed(&self) -> Failure {
        match self.status.load(Ordering::Relaxed) {
            0 => Reason::Unexpected.into(),
            status @ 200..=299 => Failure::Odd(status),
            status => refused(status, None),
        }
    }

    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let (head, body) = request.into_parts();
        let mut onward = reqwest::Request::new(head.method, self.to.clone());
        *onward.headers_mut() = head.headers;
        *onward.timeout_mut() = Some(ANSWER);
        if let Some(value) = onward.headers_mut().get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        *onward.body_mut() = Some(Bytes::from_owner(Zeroizing::new(body)).into());
        let mut answered = exchange(&self.http, onward).await.inspect_err(|failure| {
            if matches!(failure, Failure::Lost(_) | Failure::Broken(_)) {
                self.lost.store(true, Ordering::Relaxed);
            }
        })?;
        self.status.store(answered.status, Ordering::Relaxed);
        let mut response = HttpResponse::new(std::mem::take(&mut *answered.body));
        *response.headers_mut() = std::mem::take(&mut answered.headers);
        // `oauth2` takes 200 alone for a yes; servers answer revocations with 204 as well.
        let status = if (200..300).contains(&answered.status) { 200 } else { answered.status };
        *response.status_mut() =
            http::StatusCode::from_u16(status).map_err(|_| Failure::Odd(status))?;
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Wire {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.carry(request))
    }
}

/// Sends a request and reads its answer.
///
/// # Errors
/// Everything that is not a whole 2xx or 4xx other than 429.
pub(super) async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Answered, Failure> {
    let mut response = http.execute(request).await.map_err(|error| Unanswered::from(&error))?;
    let status = response.status().as_u16();
    match status {
        429 => return Err(Failure::Throttled(wait(response.headers()))),
        503 => return Err(Failure::Unavailable(wait(response.headers()))),
        300..=399 => {
            let why = Why { reason: Reason::Redirect, status: Some(status), word: None };
            return Err(Failure::Refused(why));
        }
        200..=299 | 400..=499 => {}
        _ => return Err(Failure::Broken(status)),
    }
    // As large as it may become, so that growing leaves no unzeroed copy behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_MAX));
    while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Lost(Reason::Reset))? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(Failure::Lost(Reason::TooLong));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers: std::mem::take(response.headers_mut()), body })
}

/// The other side's refusal. A 401, or `invalid_client` whatever the status, refuses whoever
/// authenticated the request and says nothing of its subject.
fn refused(status: u16, said: Option<&str>) -> Failure {
    let actor = status == 401 || said == Some("invalid_client");
    let reason = if actor { Reason::ActorRefused } else { Reason::Refused };
    Failure::Refused(Why { reason, status: Some(status), word: said.and_then(word) })
}

/// The other side's error word, where it is one.
pub(super) fn word(said: &str) -> Option<String> {
    let fits = (1..=64).contains(&said.len())
        && said.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
    fits.then(|| said.to_owned())
}

/// `Retry-After` in milliseconds: seconds, or a date held against the server's own `Date`, so
/// that neither side's clock matters.
fn wait(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let parser = rfc2822::DateTimeParser::new();
    let until = parser.parse_timestamp(text).ok()?;
    let now = parser.parse_timestamp(headers.get(DATE)?.to_str().ok()?).ok()?;
    u64::try_from(until.as_millisecond().saturating_sub(now.as_millisecond())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str, date: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(RETRY_AFTER, retry_after.parse().unwrap());
        map.insert(DATE, date.parse().unwrap());
        map
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_own_clock() {
        let noon = "Sun, 06 Nov 1994 12:00:00 GMT";
        assert_eq!(wait(&headers("7", noon)), Some(7_000));
        assert_eq!(wait(&headers("Sun, 06 Nov 1994 12:01:30 GMT", noon)), Some(90_000));
        assert_eq!(wait(&headers("Sun, 06 Nov 1994 11:00:00 GMT", noon)), None);
        assert_eq!(wait(&headers("soon", noon)), None);
        assert_eq!(wait(&headers("99999999999999999999", noon)), None);
        assert_eq!(wait(&HeaderMap::new()), None);
    }

    #[test]
    fn only_a_word_is_repeated() {
        assert_eq!(word("invalid_grant").as_deref(), Some("invalid_grant"));
        assert_eq!(word("no such token"), None);
        assert_eq!(word("\u{1b}[2J"), None);
        assert_eq!(word(""), None);
        assert_eq!(word(&"a".repeat(65)), None);
    }

    #[test]
    fn a_refused_client_says_nothing_of_the_token() {
        let reason = |status, said| match refused(status, said) {
            Failure::Refused(why) => why.reason,
            other => panic!("{other}"),
        };
        assert_eq!(reason(400, Some("invalid_client")), Reason::ActorRefused);
        assert_eq!(reason(401, None), Reason::ActorRefused);
        assert_eq!(reason(401, Some("invalid_token")), Reason::ActorRefused);
        assert_eq!(reason(400, Some("invalid_grant")), Reason::Refused);
        assert_eq!(reason(403, None), Reason::Refused);
    }

    #[test]
    fn what_is_not_known_may_have_happened_only_once_it_was_sent() {
        assert!(matches!(Failure::Lost(Reason::Reset).fault(), Fault::Unknown(_)));
        assert!(matches!(Failure::Lost(Reason::Reset).before(), Fault::NotSent(_)));
        assert!(matches!(Failure::Broken(500).fault(), Fault::Unknown(_)));
        assert!(matches!(Failure::Broken(500).before(), Fault::NotSent(_)));
        assert!(matches!(Failure::NotSent(Reason::Dns).fault(), Fault::NotSent(_)));
        assert_eq!(Failure::Unavailable(None).fault(), Fault::Throttled(None));
        assert!(matches!(Failure::Unavailable(Some(7)).of_making(), Fault::Unknown(_)));
        assert_eq!(Failure::Throttled(Some(7)).of_making(), Fault::Throttled(Some(7)));
        assert!(matches!(
            Failure::Broken(500).sight(),
            Answer::Saw(Liveness::Unclear(Why { status: Some(500), .. }), _)
        ));
    }
}
