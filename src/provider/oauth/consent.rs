//! A person's consent: what is asked, who shows it, and which of the two ways it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::client::{Client, Granted};
use super::discovery::{Endpoint, is_private};
use super::wire::Failure;
use super::{device, loopback};
use crate::engine::call::{At, Reason, Values};

/// How long a person is waited for at most, however long a code lives. The engine gives the call an
/// hour (`Call::PERSON_MS`); five minutes less, so that it is here that the waiting ends and the
/// answer says that nothing was granted.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(55 * 60);

/// What the page is asked with, and no file or inventory may change.
const OURS: [&str; 7] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

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
    /// The account that is to consent, where the inventory names it.
    pub subject: Option<String>,
    /// The page to open.
    pub page: Url,
    /// How the person's answer comes back.
    pub means: Means,
    /// How long there is to answer.
    pub expires_in: Duration,
}

/// How a person's answer comes back.
pub enum Means {
    /// RFC 8628: any browser anywhere; the code is typed there.
    Code {
        /// Printable ASCII.
        code: String,
        /// The page with the code in it, where the issuer offers that.
        complete: Option<Url>,
    },
    /// RFC 8252 section 7.3: the browser comes back to this port of this host's loopback.
    Redirect {
        /// The port that is listened on meanwhile.
        port: u16,
    },
}

/// Stands for a question that was shown; dropped when it is over, whatever came of it.
pub type Shown = Box<dyn Send + Sync>;

/// Somebody who can show a question to a person, and wait.
#[async_trait]
pub trait Consent: Send + Sync {
    /// Shows it, and returns once it is shown.
    async fn show(&self, ask: &Ask) -> Shown;

    /// Waits; whoever shows the question also has the clock.
    async fn pause(&self, wait: Duration);
}

/// One consent that is wanted.
pub(super) struct Wanted<'a> {
    /// The client that asks.
    pub(super) client: &'a Client<'a>,
    /// Whom it asks.
    pub(super) person: &'a dyn Consent,
    /// For which call.
    pub(super) at: &'a At,
    /// With what: `scopes`, `resource`, `audience`, `subject`, `consent`, `redirect_uri`.
    pub(super) values: &'a Values,
    /// What else the page is asked with.
    pub(super) query: BTreeMap<String, String>,
}

impl Wanted<'_> {
    /// Asks: by a code that is typed anywhere where the issuer offers that, else by a redirect
    /// back to this host. The inventory's `consent` chooses.
    ///
    /// # Errors
    /// In `Err`, what failed before anything was shown, when nothing can have been granted; in
    /// `Ok(Err)`, what failed afterwards.
    pub(super) async fn obtain(&self) -> Result<Result<Granted, Failure>, Failure> {
        let issuer = self.client.issuer;
        match self.text("consent") {
            Some("device") => return device::consent(self).await,
            None if issuer.offers(Endpoint::DeviceAuthorization) => {}
            _ => return loopback::consent(self).await,
        }
        match device::consent(self).await {
            // Not for this client, or not for these scopes, says the issuer.
            Err(Failure::Refused(why))
                if why.status.is_some() && issuer.offers(Endpoint::Authorization) =>
            {
                loopback::consent(self).await
            }
            asked => asked,
        }
    }

    /// The question as a person is shown it.
    ///
    /// # Errors
    /// [`Reason::Untrusted`] for a page that others can listen to.
    pub(super) fn ask(
        &self,
        page: Url,
        means: Means,
        expires_in: Duration,
    ) -> Result<Ask, Failure> {
        Ok(Ask {
            provider: self.at.provider.clone(),
            kind: self.at.kind.clone(),
            client: self.client.id.to_owned(),
            label: self.text("label").map(str::to_owned),
            subject: self.text("subject").map(str::to_owned),
            page: private(page)?,
            means,
            expires_in,
        })
    }

    /// A value of the call that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }
}

/// A page that a person may be sent to. It may lie on any host, for no secret goes there; but
/// nobody signs in over plain http.
///
/// # Errors
/// [`Reason::Untrusted`].
pub(super) fn private(page: Url) -> Result<Url, Failure> {
    if is_private(&page) { Ok(page) } else { Err(Reason::Untrusted.into()) }
}

/// The inventory's `consent_query`: `name=value&name=value`, over what the file says.
///
/// # Errors
/// [`Reason::Unsupported`] where it names a parameter that is ours to choose.
pub(super) fn query(
    file: &BTreeMap<String, String>,
    values: &Values,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut query = file.clone();
    let said = values.get("consent_query").and_then(Value::as_str).unwrap_or_default();
    for (name, value) in form_urlencoded::parse(said.as_bytes()) {
        query.insert(name.into_owned(), value.into_owned());
    }
    match query.keys().any(|name| OURS.contains(&name.as_str())) {
        true => Err(Reason::Unsupported.into()),
        false => Ok(query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_a_page_without_tls() {
        let page = |text: &str| private(text.parse().unwrap());
        assert!(page("https://accounts.example/device").is_ok());
        assert!(page("http://127.0.0.1:8080/device").is_ok());
        assert!(page("http://accounts.example/device").is_err());
        assert!(page("file:///device").is_err());
    }

    #[test]
    fn what_the_page_is_asked_with_is_said_by_file_and_inventory_but_not_whose_answer_it_is() {
        let file = BTreeMap::from([("prompt".to_owned(), "consent".to_owned())]);
        let said = |text: &str| Values::from([("consent_query".to_owned(), text.into())]);
        let both = query(&file, &said("access_type=offline&hd=a%20b")).ok().unwrap();
        assert_eq!(both["prompt"], "consent");
        assert_eq!((both["access_type"].as_str(), both["hd"].as_str()), ("offline", "a b"));
        for name in OURS {
            assert!(query(&file, &said(&format!("{name}=x"))).is_err(), "{name}");
        }
    }
}
