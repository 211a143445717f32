//! One request over the wire: what certainly never left, what may have happened, and an answer
//! that is read only as far as it can be of use.

use std::collections::BTreeMap;
use std::error::Error as _;

use zeroize::Zeroizing;

use super::render::Rendered;
use crate::engine::call::{Reason, Why};
use crate::provider::spec::judge::Answered;

/// The longest answer that is read: a page of a thousand keys, a kilobyte each, four times over.
/// Counted after decompression, chunk by chunk, so that a small body cannot become a large one.
pub(crate) const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;

/// A request without an answer.
pub(crate) enum Broken {
    /// It certainly never reached the other side.
    Before(Why),
    /// It may have.
    After(Why),
}

pub(crate) async fn send(
    client: &reqwest::Client,
    rendered: &Rendered,
) -> Result<Answered, Broken> {
    let mut request = client
        .request(rendered.method.clone(), rendered.url.clone())
        .headers(rendered.headers.clone());
    if let Some(body) = &rendered.body {
        request = request.body(body.to_vec());
    }
    let mut response = request.send().await.map_err(|error| broken(&error))?;
    let status = response.status().as_u16();
    let after = |reason| Broken::After(Why { reason, status: Some(status), word: None });
    let announced = response.content_length().unwrap_or(0);
    if announced > ANSWER_MAX_BYTES as u64 {
        return Err(after(Reason::TooLong));
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in response.headers() {
        let Ok(value) = value.to_str() else { continue };
        let held = headers.entry(name.as_str().to_owned()).or_default();
        if !held.is_empty() {
            held.push_str(", ");
        }
        held.push_str(value);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(usize::try_from(announced).unwrap_or(0)));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(Answered::new(status, headers, body)),
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_MAX_BYTES => {
                return Err(after(Reason::TooLong));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) if error.is_timeout() => return Err(after(Reason::Timeout)),
            Err(error) if error.is_decode() => return Err(after(Reason::Unexpected)),
            Err(_) => return Err(after(Reason::Reset)),
        }
    }
}

fn broken(error: &reqwest::Error) -> Broken {
    if error.is_builder() {
        return Broken::Before(Reason::Unsupported.into());
    }
    if error.is_connect() {
        let reason = match () {
            () if error.is_dns() || said(error, "dns error") => Reason::Dns,
            () if tls(error) => Reason::Tls,
            () if error.is_timeout() => Reason::Timeout,
            () => Reason::Connect,
        };
        return Broken::Before(reason.into());
    }
    Broken::After(if error.is_timeout() { Reason::Timeout } else { Reason::Reset }.into())
}

/// Whether an error on the way down begins with these words. They are compared, never shown.
fn said(error: &reqwest::Error, words: &str) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().starts_with(words) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() || wraps_tls(error.downcast_ref()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What an I/O error wraps is not its source: that is the source of what it wraps.
fn wraps_tls(error: Option<&std::io::Error>) -> bool {
    let Some(inner) = error.and_then(std::io::Error::get_ref) else { return false };
    inner.is::<rustls::Error>() || wraps_tls(inner.downcast_ref())
}
