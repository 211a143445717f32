//! What a failure below HTTP means: whatever happened before the connection stood sent nothing.

use std::error::Error;
use std::io;

use crate::engine::call::Reason;

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It certainly never reached the other side.
    NotSent(Reason),
    /// It may have.
    Lost(Reason),
}

impl From<&reqwest::Error> for Unanswered {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::NotSent(Reason::Unsupported);
        }
        if !error.is_connect() {
            return Self::Lost(if error.is_timeout() { Reason::Timeout } else { Reason::Reset });
        }
        let reason = if error.is_dns() || chain(error).any(is_dns) {
            Reason::Dns
        } else if chain(error).any(is_tls) {
            Reason::Tls
        } else if error.is_timeout() {
            Reason::Timeout
        } else {
            Reason::Connect
        };
        Self::NotSent(reason)
    }
}

/// An error and what caused it, on the way down.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The connector's own error type is private; its words are all it tells. They are compared, never
/// shown.
fn is_dns(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::pki_types::InvalidDnsNameError>()
        || error.to_string().starts_with("dns error")
}

/// What an I/O error wraps is not its source: that is the source of what it wraps. Some wrap
/// another.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = || error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || inner().is_some_and(|inner| is_tls(inner))
}
