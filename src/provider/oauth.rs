//! OAuth 2.0 at any issuer, found by its metadata: the native driver `oauth`.
//!
//! `oauth2` builds every request of RFC 6749, 7009, 7662 and 8628 and reads every answer; the
//! requests of RFC 8414, 7591, 7592 and of the userinfo endpoint, which it does not know, are made
//! here. The kinds and what is said of them stand in `providers/oauth.toml`.
//!
//! Two facts of real servers shape it. A server that rotates refresh tokens ends the whole family
//! when an old one is shown again, so tokens are looked at by introspection and never by use. And
//! revoking any token of a grant may end all of it, so what was rolled is never also revoked.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::client::{Client, Token};
use self::discovery::{Discoveries, Endpoint, Issuer};
use self::wire::Failure;
use crate::engine::call::{Answer, At, Fault, Reason, Values, Verb};
use crate::engine::capability::{Actor, Seen, StepCapability, Way};
use crate::provider::{Acting, Bases, Driver, Reply, Secrets, SharedClients};
use crate::secret::Secret;

mod client;
mod device;
mod discovery;
mod echo;
mod grant;
mod registration;
mod wire;

pub use device::{Ask, Consent};

/// The kinds of `providers/oauth.toml` that this driver answers for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A refresh token, replaced by a person's consent.
    Grant,
    /// A refresh token, replaced by spending it.
    RotatingGrant,
    /// An access token that a client has for itself.
    ClientToken,
    /// A client that an administrator made.
    Client,
    /// A client that registered itself.
    RegisteredClient,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "grant" => Self::Grant,
            "rotating-grant" => Self::RotatingGrant,
            "client-token" => Self::ClientToken,
            "client" => Self::Client,
            "registered-client" => Self::RegisteredClient,
            _ => return None,
        })
    }
}

/// The driver. What an issuer says of itself is asked once and kept for as long as this lives.
pub struct Oauth {
    clients: SharedClients,
    consent: Option<Arc<dyn Consent>>,
    discoveries: Discoveries,
}

impl Oauth {
    /// A driver over the shared clients. Without somebody who can show a code to a person, no
    /// grant is issued here, and the by-hand page stands.
    pub fn new(clients: SharedClients, consent: Option<Arc<dyn Consent>>) -> Self {
        Self { clients, consent, discoveries: Discoveries::default() }
    }

    async fn look(&self, bases: &Bases, at: &At, kind: Kind, secrets: &Secrets) -> Answer {
        let seen = match self.discoveries.issuer(&self.clients.probes, bases).await {
            Ok(issuer) => look(&issuer, at, kind, secrets).await,
            Err(failure) => Err(failure),
        };
        seen.unwrap_or_else(Failure::sight)
    }

    async fn change(
        &self,
        issuer: &Issuer<'_>,
        at: &At,
        kind: Kind,
        values: &Values,
        secrets: &Secrets,
    ) -> Result<Reply, Failure> {
        match (at.verb, kind) {
            (Verb::Issue, Kind::Grant) => {
                let person = self.consent.as_deref().ok_or(Reason::Unsupported)?;
                let client = Client::new(issuer, party(secrets, "client")?)?;
                let granted = device::consent(&client, person, at, values).await?;
                Ok(match granted {
                    Ok(granted) => grant::consented(&client, granted).await,
                    Err(failure) => faulty(failure),
                })
            }
            (Verb::Issue, Kind::ClientToken) => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                Ok(client.own_token(values).await.map_or_else(faulty, grant::own_token))
            }
            (Verb::Issue, Kind::RegisteredClient) => {
                Ok(registration::register(issuer, party(secrets, "admin")?, values).await)
            }
            (Verb::Roll, Kind::RotatingGrant) => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                Ok(grant::roll(&client, part(party(secrets, "old")?, "secret")?).await)
            }
            (Verb::Revoke, Kind::Grant | Kind::RotatingGrant) if at.step == 1 => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                match part(party(secrets, "old")?, "access") {
                    Ok(token) => Ok(grant::revoke(&client, token, Token::Access).await.into()),
                    // It has no access token at rest; there is nothing to end.
                    Err(_) => Ok(Answer::Done.into()),
                }
            }
            (Verb::Revoke, Kind::Grant | Kind::RotatingGrant | Kind::ClientToken) => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                let token = part(party(secrets, "old")?, "secret")?;
                let which = if kind == Kind::ClientToken { Token::Access } else { Token::Refresh };
                Ok(grant::revoke(&client, token, which).await.into())
            }
            (Verb::Revoke, Kind::RegisteredClient) => {
                Ok(registration::delete(issuer, party(secrets, "old")?).await.into())
            }
            _ => Err(Reason::Unsupported.into()),
        }
    }
}

#[async_trait]
impl Driver for Oauth {
    fn ways(&self, kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        Kind::named(kind).map(|kind| ways(kind, self.consent.is_some())).unwrap_or_default()
    }

    fn tells_identity(&self, kind: &str) -> bool {
        Kind::named(kind).is_some()
    }

    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        let Some(kind) = Kind::named(&at.kind) else {
            return Answer::Fault(Fault::Refused(Reason::Unsupported.into())).into();
        };
        let reply = if at.verb == Verb::Probe {
            self.look(bases, at, kind, secrets).await.into()
        } else {
            match self.discoveries.issuer(&self.clients.calls, bases).await {
                Ok(issuer) if at.verb == Verb::Learn => Answer::Took(issuer.facts()).into(),
                Ok(issuer) => self
                    .change(&issuer, at, kind, values, secrets)
                    .await
                    .unwrap_or_else(|failure| Answer::Fault(failure.before()).into()),
                Err(failure) => Answer::Fault(failure.before()).into(),
            }
        };
        echo::removed(reply, secrets)
    }
}

async fn look(
    issuer: &Issuer<'_>,
    at: &At,
    kind: Kind,
    secrets: &Secrets,
) -> Result<Answer, Failure> {
    let it = party(secrets, "it")?;
    let (name, which) = match (kind, at.way) {
        (Kind::Client | Kind::RegisteredClient, _) => {
            let saw = registration::probe(&Client::new(issuer, it)?).await?;
            return Ok(Answer::Saw(saw, Values::new()));
        }
        (Kind::ClientToken, _) => ("secret", Token::Access),
        (Kind::Grant, 1) => ("access", Token::Access),
        (Kind::Grant | Kind::RotatingGrant, _) => ("secret", Token::Refresh),
    };
    let token = part(it, name)?;
    // A client's own token is nobody's: the userinfo endpoint refuses it while it lives.
    let usable = kind == Kind::Grant && which == Token::Access;
    if usable && !issuer.offers(Endpoint::Introspection) {
        return grant::probe_by_use(issuer, token).await;
    }
    grant::probe(&Client::new(issuer, party(secrets, "client")?)?, token, which).await
}

fn faulty(failure: Failure) -> Reply {
    Answer::Fault(failure.fault()).into()
}

fn party<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a Acting, Failure> {
    secrets.get(name).ok_or_else(|| Reason::MissingValue.into())
}

fn part<'a>(acting: &'a Acting, name: &str) -> Result<&'a Secret, Failure> {
    acting.parts.secret.get(name).ok_or_else(|| Reason::MissingValue.into())
}

/// What each kind can do. All of it ran against a real server.
fn ways(kind: Kind, person: bool) -> BTreeMap<Verb, Vec<Way>> {
    let layer = |again| step(Actor::Client, &["it", "client"], &["expires", "scopes"], again);
    let ends = || step(Actor::Client, &["old", "client"], &[], true);
    let mut verbs = BTreeMap::from([(Verb::Learn, vec![learn()])]);
    let mut add = |verb, ways: Vec<Way>| verbs.insert(verb, ways);
    match kind {
        Kind::Grant => {
            add(Verb::Probe, vec![way([layer(true)]), way([layer(true)])]);
            // The refresh token first: a server that cascades then ends the access token too.
            add(Verb::Revoke, vec![way([ends(), ends()])]);
            if person {
                let takes = ["secret", "access", "lives", "scopes"];
                let asks = way([step(Actor::Client, &["client"], &takes, false)]);
                add(Verb::Issue, vec![Way { person: true, ..asks }]);
            }
        }
        Kind::RotatingGrant => {
            add(Verb::Probe, vec![way([layer(true)])]);
            add(Verb::Revoke, vec![way([ends(), ends()])]);
            let takes = ["secret", "access", "lives", "scopes"];
            add(Verb::Roll, vec![way([step(Actor::Old, &["old", "client"], &takes, false)])]);
        }
        Kind::ClientToken => {
            add(Verb::Probe, vec![way([layer(true)])]);
            add(Verb::Revoke, vec![way([ends()])]);
            let takes = ["secret", "lives", "scopes"];
            add(Verb::Issue, vec![way([step(Actor::Client, &["client"], &takes, false)])]);
        }
        Kind::Client => {
            add(Verb::Probe, vec![way([step(Actor::It, &["it"], &[], true)])]);
        }
        Kind::RegisteredClient => {
            add(Verb::Probe, vec![way([step(Actor::It, &["it"], &[], true)])]);
            add(Verb::Revoke, vec![way([step(Actor::Old, &["old"], &[], true)])]);
            let admin = Actor::Admin(None);
            let takes = [
                "client_id",
                "client_secret",
                "registration_access_token",
                "registration_client_uri",
                "handle",
            ];
            add(Verb::Issue, vec![way([step(admin, &["admin"], &takes, false)])]);
        }
    }
    verbs
}

fn learn() -> Way {
    let takes: Vec<&str> = Endpoint::ALL.into_iter().map(Endpoint::key).collect();
    way([step(Actor::None, &[], &takes, true)])
}

fn way<const N: usize>(steps: [StepCapability; N]) -> Way {
    Way {
        steps: steps.into(),
        seen: Seen::Run,
        privilege: None,
        blast: None,
        person: false,
        batch: false,
    }
}

fn step(actor: Actor, parties: &[&str], takes: &[&str], again: bool) -> StepCapability {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    StepCapability {
        actor,
        parties: owned(parties),
        needs: Vec::new(),
        takes: owned(takes),
        again,
        secret_in_url: false,
    }
}
