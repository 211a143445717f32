//! One request over the wire: what certainly never left, what may have happened, and an answer
//! that is read only as far as it can be of use.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::render::Rendered;
use crate::engine::call::{Reason, Why};
use crate::provider::spec::judge::Answered;
use crate::provider::transport::Unanswered;

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

impl From<Unanswered> for Broken {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent(reason) => Self::Before(reason.into()),
            Unanswered::Lost(reason) => Self::After(reason.into()),
        }
    }
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
    let mut response = request.send().await.map_err(|error| Unanswered::from(&error))?;
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
