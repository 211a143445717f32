//! Consent by a person, RFC 8628: the one way to a new grant that needs no browser here.

use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::client::{Client, Granted};
use super::discovery::is_private;
use super::wire::Failure;
use crate::engine::call::{At, Reason, Values};

/// How long a person is waited for at most, however long the code lives: who has not answered
/// within the hour is not at the keyboard. Large issuers give 15 to 30 minutes.
const PATIENCE_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest interval between polls that is believed. RFC 8628 takes 5 s where nothing is said;
/// with more than 5 min a person would think that nothing happens.
const INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);

/// What a person needs in order to consent.
///
/// It is not printable by accident: whoever sees the code can be talked into consenting for
/// somebody else, so it goes to the responder and never through the agent that is being contained.
pub struct Ask {
    /// The provider's id in this run.
    pub provider: String,
    /// The kind of credential.
    pub kind: String,
    /// The `client_id` that asks for the grant.
    pub client: String,
    /// The label of what is issued, where the run has one.
    pub label: Option<String>,
    /// The page to open.
    pub verification_uri: Url,
    /// The same page with the code in it, where the issuer offers that.
    pub verification_uri_complete: Option<Url>,
    /// The code to type there. Printable ASCII.
    pub user_code: String,
    /// How long there is to answer.
    pub expires_in: Duration,
}

/// Somebody who can show a code to a person, and wait.
#[async_trait]
pub trait Consent: Send + Sync {
    /// Shows it, and returns once it is shown.
    async fn show(&self, ask: &Ask);

    /// Waits between two polls; whoever shows the code also has the clock.
    async fn pause(&self, wait: Duration);
}

/// Asks for a grant, shows the code, and polls until the person has answered.
///
/// # Errors
/// In `Err`, what failed before the code was shown, when nothing can have been granted; in
/// `Ok(Err)`, what failed afterwards.
pub(super) async fn consent(
    client: &Client<'_>,
    person: &dyn Consent,
    at: &At,
    values: &Values,
) -> Result<Result<Granted, Failure>, Failure> {
    let details = client.ask_for_consent(values).await?;
    if details.interval() > INTERVAL_MAX {
        return Err(Reason::Unexpected.into());
    }
    let patience = details.expires_in().min(PATIENCE_MAX);
    let complete = details.verification_uri_complete();
    let ask = Ask {
        provider: at.provider.clone(),
        kind: at.kind.clone(),
        client: client.id.to_owned(),
        label: values.get("label").and_then(|it| it.as_str()).map(str::to_owned),
        verification_uri: page(details.verification_uri())?,
        verification_uri_complete: complete.map(|uri| page(uri.secret())).transpose()?,
        user_code: code(details.user_code().secret())?,
        expires_in: patience,
    };
    person.show(&ask).await;
    Ok(client.await_consent(&details, person, patience).await)
}

/// A page that a person may be sent to. It may lie on any host, for no secret goes there; but
/// nobody signs in over plain http.
fn page(uri: &str) -> Result<Url, Failure> {
    let url = Url::parse(uri).map_err(|_| Failure::from(Reason::Unexpected))?;
    if is_private(&url) { Ok(url) } else { Err(Reason::Untrusted.into()) }
}

/// A code as it may stand on a terminal: no control characters, no lookalikes.
fn code(said: &str) -> Result<String, Failure> {
    // RFC 8628 section 6.1 speaks of 8 or 9 characters; four times that is no longer typed.
    let fits = (1..=36).contains(&said.len())
        && said.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if fits { Ok(said.to_owned()) } else { Err(Reason::Unexpected.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_a_person_can_type() {
        assert!(code("WDJB-MJHT").is_ok());
        assert!(code("123 456 789").is_ok());
        for bad in ["", "AB\u{1b}[2JCD", "ВДЖБ", &"A".repeat(37)] {
            assert!(code(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_is_sent_to_a_page_without_tls() {
        assert!(page("https://www.example.com/device").is_ok());
        assert!(page("http://127.0.0.1:8080/device").is_ok());
        for bad in ["http://www.example.com/device", "javascript:alert(1)", "file:///etc", "x"] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }
}
