//! One request to the site and its answer. Redirects are answers, bodies are bounded, and what
//! went wrong is told in closed words.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::engine::call::{Answer, Fault, Liveness, Reason, Values, Why};
use crate::provider::transport::Unanswered;

/// The longest page that is read, in bytes: a heavy page of a web application is a megabyte.
const PAGE_MAX: usize = 4 * 1024 * 1024;

/// Why an exchange brought nothing.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// It certainly never left.
    NotSent(Why),
    /// It left, and no whole answer came back, or one that tells nothing.
    Lost(Why),
    /// The other side asked to wait; milliseconds where it said how long.
    Throttled(Option<u64>),
    /// It did so by 503, which whoever stands before it may say of a request that it did.
    Unavailable(u64),
    /// The other side, or a rule of ours, said no.
    Refused(Why),
}

impl Failure {
    /// As the answer to a request that changes something: what is not known may have happened.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::NotSent(why) => Fault::NotSent(why),
            Self::Lost(why) => Fault::Unknown(why),
            Self::Throttled(wait) => Fault::Throttled(wait),
            Self::Unavailable(wait) => Fault::Throttled(Some(wait)),
            Self::Refused(why) => Fault::Refused(why),
        }
    }

    /// As the answer to a request that makes something: one that may have been done is not sent
    /// again before somebody has looked.
    pub(super) fn of_making(self) -> Fault {
        match self {
            Self::Unavailable(_) => {
                Fault::Unknown(Why { reason: Reason::Unexpected, status: Some(503), word: None })
            }
            other => other.fault(),
        }
    }

    /// As the failure of what only prepares a change: the change itself was never sent.
    pub(super) fn before(self) -> Self {
        match self {
            Self::Lost(why) => Self::NotSent(why),
            Self::Unavailable(wait) => Self::Throttled(Some(wait)),
            other => other,
        }
    }

    /// As the answer to a probe: never a verdict.
    pub(super) fn sight(self) -> Answer {
        match self {
            Self::Throttled(wait) => Answer::Fault(Fault::Throttled(wait)),
            Self::Unavailable(wait) => Answer::Fault(Fault::Throttled(Some(wait))),
            Self::NotSent(why) | Self::Lost(why) | Self::Refused(why) => {
                Answer::Saw(Liveness::Unclear(why), Values::new())
            }
        }
    }
}

impl From<Reason> for Failure {
    /// A rule of ours said no before anything was sent.
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotSent(why) => Self::NotSent(why),
            Fault::Unknown(why) => Self::Lost(why),
            Fault::Throttled(wait) => Self::Throttled(wait),
            Fault::Refused(why) => Self::Refused(why),
        }
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent(reason) => Self::NotSent(reason.into()),
            Unanswered::Lost(reason) => Self::Lost(reason.into()),
        }
    }
}

/// A refusal with a word of ours for it.
pub(super) fn refused(reason: Reason, word: &str) -> Failure {
    Failure::Refused(Why { reason, status: None, word: Some(word.to_owned()) })
}

/// An answer below 500 that is no plea to wait.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Answered {
    /// The page as text; what is no UTF-8 in it is replaced.
    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(String::from_utf8_lossy(&self.body).into_owned())
    }

    /// The page as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // A page that is not JSON need not be parsed to be known for it.
        if said.is_some_and(|said| said.contains("html")) {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Where it leads, without the query: that may repeat what was asked.
    pub(super) fn leads_to(&self) -> Option<&str> {
        let to = self.headers.get(LOCATION)?.to_str().ok()?;
        to.split(['?', '#']).next()
    }

    /// Its status as a refusal.
    pub(super) fn refusal(&self, reason: Reason) -> Failure {
        Failure::Refused(Why { reason, status: Some(self.status), word: None })
    }
}

/// Sends a request and reads its answer.
///
/// # Errors
/// Everything that is not a whole answer below 500 other than 429.
pub(super) async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Answered, Failure> {
    let mut response = http.execute(request).await.map_err(|error| Unanswered::from(&error))?;
    let status = response.status().as_u16();
    let lost = |reason| Failure::Lost(Why { reason, status: Some(status), word: None });
    let wait = seconds(response.headers());
    match status {
        429 => return Err(Failure::Throttled(wait)),
        503 if let Some(wait) = wait => return Err(Failure::Unavailable(wait)),
        500.. => return Err(lost(Reason::Unexpected)),
        _ => {}
    }
    let mut body = Zeroizing::new(Vec::with_capacity(64 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(|_| lost(Reason::Reset))? {
        if body.len() + chunk.len() > PAGE_MAX {
            return Err(lost(Reason::TooLong));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers: std::mem::take(response.headers_mut()), body })
}

/// `Retry-After` in milliseconds, where it is given in seconds.
fn seconds(headers: &HeaderMap) -> Option<u64> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
    Some(said.saturating_mul(1000))
}
