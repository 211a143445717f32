//! Consent by a code that a person types into any browser anywhere: RFC 8628.

use std::time::Duration;

use url::Url;

use super::client::Granted;
use super::consent::{Means, PATIENCE_MAX, Wanted, private};
use super::wire::Failure;
use crate::engine::call::Reason;

/// The longest interval between polls that is believed. RFC 8628 takes 5 s where nothing is said;
/// with more than 5 min a person would think that nothing happens.
const INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);

/// Asks for a grant, shows the code, and polls until the person has answered.
///
/// # Errors
/// As [`Wanted::obtain`].
pub(super) async fn consent(wanted: &Wanted<'_>) -> Result<Result<Granted, Failure>, Failure> {
    let Wanted { client, person, values, .. } = wanted;
    let details = client.ask_for_consent(values).await?;
    if details.interval() > INTERVAL_MAX {
        return Err(Reason::Unexpected.into());
    }
    let patience = details.expires_in().min(PATIENCE_MAX);
    let complete = details.verification_uri_complete();
    let means = Means::Code {
        code: code(details.user_code().secret())?,
        complete: complete.map(|uri| private(address(uri.secret())?)).transpose()?,
    };
    let ask = wanted.ask(address(details.verification_uri())?, means, patience)?;
    let _shown = person.show(&ask).await;
    Ok(client.await_consent(&details, *person, patience).await)
}

fn address(uri: &str) -> Result<Url, Failure> {
    Url::parse(uri).map_err(|_| Reason::Unexpected.into())
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
        for text in ["", "AB\u{1b}[2J", "WDJB\u{2011}MJHT", "ABCD\nEFGH", &"A".repeat(37)] {
            assert!(code(text).is_err(), "{text:?}");
        }
    }
}
