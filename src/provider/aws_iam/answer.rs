//! What an error of the AWS SDK means.

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http_body_util::LengthLimitError;

use crate::engine::call::{Answer, Fault, Liveness, Reason, Why};

/// AWS error codes that mean "later". The SDK's own list, as far as IAM and STS use it.
const LATER: [&str; 5] = [
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "ConcurrentModification",
];

/// AWS error codes that refuse the credential that signed, whatever was asked.
const SIGNER: [&str; 8] = [
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "AuthFailure",
];

/// A call that was not done, or not known to be.
pub(super) struct Failure {
    fault: Fault,
    status: Option<u16>,
    code: Option<String>,
    /// Stays in here: it may quote what was sent.
    message: String,
}

impl Failure {
    /// Nothing was sent, and nothing will be.
    pub(super) fn refused(reason: Reason) -> Self {
        Self::of(Fault::Refused(reason.into()))
    }

    /// Nothing was sent; later it may be.
    pub(super) fn not_sent(reason: Reason) -> Self {
        Self::of(Fault::NotSent(reason.into()))
    }

    /// It was answered, and the answer does not say what was done.
    pub(super) fn unknown(reason: Reason) -> Self {
        Self::of(Fault::Unknown(reason.into()))
    }

    fn of(fault: Fault) -> Self {
        Self { fault, status: None, code: None, message: String::new() }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The access key is not there. The same code says that the user is not, which would be a
    /// mistake of the inventory and no news of the key.
    pub(super) fn key_is_gone(&self) -> bool {
        self.is("NoSuchEntity") && self.message.contains("Access Key")
    }

    /// A server error without AWS's own word for "later" leaves open what was done: harmless where
    /// the call may be sent again, an orphan where it made something.
    pub(super) fn of_making(self) -> Fault {
        let later = self.code.as_deref().is_some_and(|code| LATER.contains(&code))
            || self.status == Some(429);
        match self.fault {
            Fault::Throttled(_) if !later => {
                Fault::Unknown(why(Reason::Unexpected, self.status, self.code.as_deref()))
            }
            fault => fault,
        }
    }

    /// The answer of a probe. A refusal that does not name the key is no class.
    pub(super) fn of_probe(self) -> Answer {
        let saw = |liveness| Answer::Saw(liveness, super::Values::new());
        match (self.fault, self.code.as_deref()) {
            // Deleted or inactive: no other refusal reads so.
            (Fault::Refused(_), Some("InvalidClientTokenId")) => {
                saw(Liveness::Dead { by_name: true })
            }
            // The key is there and the secret is another: what a made-up secret gets. The same
            // code is said to a clock that is wrong, and that tells nothing of the key.
            (Fault::Refused(_), Some("SignatureDoesNotMatch"))
                if !self.message.starts_with(CLOCK) =>
            {
                saw(Liveness::Dead { by_name: false })
            }
            (Fault::Refused(_), Some("ExpiredToken" | "ExpiredTokenException")) => {
                saw(Liveness::Dead { by_name: true })
            }
            (Fault::Refused(refused), _) if refused.status.is_some() => {
                saw(Liveness::Unclear(Why { reason: Reason::NoClass, ..refused }))
            }
            // Nothing was asked.
            (Fault::Refused(refused), _) => saw(Liveness::Unclear(refused)),
            (fault, _) => Answer::Fault(fault),
        }
    }
}

/// How AWS begins its words on a request from another time: "Signature expired", "Signature not
/// yet current".
const CLOCK: &str = "Signature ";

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        failure.fault
    }
}

impl<E: ProvideErrorMetadata + Error + 'static> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ServiceError(said) => {
                let status = said.raw().status().as_u16();
                let later = said.raw().headers().get("retry-after").and_then(milliseconds);
                let meta = said.err().meta();
                let (code, message) = match meta.code() {
                    Some(code) => (Some(code), meta.message()),
                    None => unusual(said.raw()),
                };
                Self {
                    fault: refusal(status, code, later),
                    status: Some(status),
                    code: code.map(str::to_owned),
                    message: message.unwrap_or_default().to_owned(),
                }
            }
            SdkError::DispatchFailure(failed) => {
                let timeout = failed.is_timeout();
                Self::of(match failed.as_connector_error() {
                    Some(error) => transport(error, timeout),
                    None => Fault::NotSent(Reason::Unexpected.into()),
                })
            }
            SdkError::ResponseError(_) => {
                let status = error.raw_response().map(|raw| raw.status().as_u16());
                Self::of(Fault::Unknown(why(unreadable(&error), status, None)))
            }
            SdkError::TimeoutError(_) => Self::of(Fault::Unknown(Reason::Timeout.into())),
            // Nothing was sent: the request could not even be built.
            _ => Self::of(Fault::Refused(Reason::MissingValue.into())),
        }
    }
}

/// Code and message as EC2 and some servers that speak IAM write them, in one element more than
/// the SDK reads: `<Errors><Error><Code>`.
fn unusual(raw: &HttpResponse) -> (Option<&str>, Option<&str>) {
    let text = raw.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let error = text.and_then(|text| between(text, "<Errors><Error>", "</Error>"));
    let part = |open, close| error.and_then(|error| between(error, open, close));
    (part("<Code>", "</Code>"), part("<Message>", "</Message>"))
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.split_once(open)?.1.split_once(close)?.0)
}

fn refusal(status: u16, code: Option<&str>, later: Option<u64>) -> Fault {
    match code {
        Some(word) if LATER.contains(&word) => Fault::Throttled(later),
        _ if status == 429 || status >= 500 => Fault::Throttled(later),
        Some(word) if SIGNER.contains(&word) => {
            Fault::Refused(why(Reason::ActorRefused, Some(status), code))
        }
        _ if (300..400).contains(&status) => {
            Fault::Refused(why(Reason::Redirect, Some(status), None))
        }
        // A yes that cannot be read: it may be done.
        None if status < 300 => Fault::Unknown(why(Reason::Unexpected, Some(status), None)),
        // Refused, but not in AWS's words: something else answers at this address.
        None => Fault::Refused(why(Reason::Unexpected, Some(status), None)),
        Some(_) => Fault::Refused(why(Reason::Refused, Some(status), code)),
    }
}

fn why(reason: Reason, status: Option<u16>, code: Option<&str>) -> Why {
    let word = code.filter(|word| {
        (1..=64).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
    });
    Why { reason, status, word: word.map(str::to_owned) }
}

/// `Retry-After` in seconds. AWS sends no dates there.
fn milliseconds(header: &str) -> Option<u64> {
    header.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000))
}

/// What the transport's error means: before the connection stood, nothing can have been sent.
fn transport(error: &(dyn Error + 'static), timeout: bool) -> Fault {
    let connecting = chain(error)
        .any(|e| e.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect));
    let building = chain(error)
        .any(|e| e.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_builder));
    if building {
        return Fault::Refused(Reason::Unexpected.into());
    }
    if !connecting {
        let reason = if timeout { Reason::Timeout } else { Reason::Reset };
        return Fault::Unknown(reason.into());
    }
    let reason = if chain(error).any(|e| e.to_string() == "dns error") {
        Reason::Dns
    } else if chain(error).any(is_tls) {
        Reason::Tls
    } else if timeout {
        Reason::Timeout
    } else {
        Reason::Connect
    };
    Fault::NotSent(reason.into())
}

/// Why the body of an answer could not be used.
fn unreadable(error: &(dyn Error + 'static)) -> Reason {
    for cause in chain(error) {
        if cause.is::<LengthLimitError>() {
            return Reason::TooLong;
        }
        if let Some(broken) = cause.downcast_ref::<reqwest::Error>() {
            return if broken.is_timeout() { Reason::Timeout } else { Reason::Reset };
        }
    }
    Reason::Unexpected
}

/// An `io::Error` hides what it wraps from `source`, and some wrap another.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = || error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || inner().is_some_and(|inner| is_tls(inner))
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
