//! OAuth 2.0 at any issuer, found by its metadata: the native driver `oauth`.
//!
//! `oauth2` builds every request of RFC 6749, 7009, 7662 and 8628 and reads every answer; the
//! requests of RFC 8414, 7591, 7592 and of the userinfo endpoint, which it does not know, are made
//! here. The kinds and what is said of them stand in `providers/oauth.toml`.
//!
//! Two facts of real servers shape it. A server that rotates refresh tokens ends the whole family
//! when an old one is shown again, so tokens are looked at by introspection and never by use. And
//! revoking any token of a grant may end all of it, so what was rolled is never also revoked.
//!
//! A grant is a person's to give: the person is asked by a code (RFC 8628) or by a redirect back to
//! this host (RFC 8252, PKCE). A file of another provider may name the endpoints of such a consent
//! and keep every other verb to itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use self::client::{Client, Token};
use self::consent::Wanted;
use self::discovery::{Discoveries, Endpoint, Issuer, Metadata};
use self::spent::Showings;
use self::wire::Failure;
use crate::engine::call::{Answer, At, Fault, Reason, Values, Verb};
use crate::engine::capability::{Actor, Seen, StepCapability, Way};
use crate::provider::{Acting, Bases, Driver, Reply, Secrets, SharedClients, spec};
use crate::secret::Secret;

mod client;
mod consent;
mod device;
mod discovery;
mod echo;
mod grant;
mod loopback;
mod registration;
mod spent;
mod wire;

pub use consent::{Ask, Consent, Means, Shown};

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
    shown: Showings,
}

impl Oauth {
    /// A driver over the shared clients. Without somebody who can show a code to a person, no
    /// grant is issued here, and the by-hand page stands.
    pub fn new(clients: SharedClients, consent: Option<Arc<dyn Consent>>) -> Self {
        let shown = Showings::default();
        Self { clients, consent, discoveries: Discoveries::default(), shown }
    }

    async fn look(
        &self,
        bases: &Bases,
        at: &At,
        kind: Kind,
        (values, secrets): (&Values, &Secrets),
    ) -> Answer {
        let seen = match self.discoveries.issuer(&self.clients.probes, bases, values).await {
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
                let file = spec::Consent::default();
                self.consented(issuer, &file, &grant::pair(), at, (values, secrets)).await
            }
            (Verb::Issue, Kind::ClientToken) => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                Ok(client.own_token(values).await.map_or_else(
                    |failure| Answer::Fault(failure.of_making()).into(),
                    grant::own_token,
                ))
            }
            (Verb::Issue, Kind::RegisteredClient) => {
                Ok(registration::register(issuer, party(secrets, "admin")?, values).await)
            }
            (Verb::Roll, Kind::RotatingGrant) => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                Ok(grant::roll(&client, part(party(secrets, "old")?, "secret")?).await)
            }
            (Verb::Finish, Kind::RotatingGrant) => {
                let Ok(access) = part(party(secrets, "new")?, "access") else {
                    return Ok(Answer::Done.into());
                };
                if !issuer.offers(Endpoint::Userinfo) {
                    return Ok(Answer::Done.into());
                }
                let used = grant::use_once(issuer, access).await;
                Ok(used.map_or_else(faulty, |()| Answer::Done.into()))
            }
            (Verb::Revoke, Kind::Grant | Kind::RotatingGrant) if at.step == 1 => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                let old = party(secrets, "old")?;
                if let Ok(token) = part(old, "secret") {
                    self.shown.begin(token);
                }
                match part(old, "access") {
                    Ok(token) => Ok(grant::revoke(&client, token, Token::Access).await.into()),
                    // It has no access token at rest; there is nothing to end.
                    Err(_) => Ok(Answer::Done.into()),
                }
            }
            (Verb::Revoke, Kind::Grant | Kind::RotatingGrant) if at.step == 2 => {
                let client = Client::new(issuer, party(secrets, "client")?)?;
                let old = part(party(secrets, "old")?, "secret")?;
                Ok(spent::show(&client, old, &self.shown).await.into())
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

    /// Obtains a grant with a person, by what file and inventory say of it.
    async fn consented(
        &self,
        issuer: &Issuer<'_>,
        file: &spec::Consent,
        keeps: &BTreeMap<String, Token>,
        at: &At,
        (values, secrets): (&Values, &Secrets),
    ) -> Result<Reply, Failure> {
        let person = self.consent.as_deref().ok_or(Reason::Unsupported)?;
        let client = Client::new(issuer, party(secrets, "client")?)?;
        let query = consent::query(&file.query, values)?;
        let wanted = Wanted { client: &client, person, at, values, query };
        Ok(match wanted.obtain().await? {
            Ok(granted) => grant::consented(granted, keeps),
            Err(failure) => faulty(failure),
        })
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
            self.look(bases, at, kind, (values, secrets)).await.into()
        } else {
            match self.discoveries.issuer(&self.clients.calls, bases, values).await {
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

    fn consent(&self, file: &spec::Consent) -> Option<Way> {
        self.consent.as_ref()?;
        let mut takes: Vec<&str> = file.take.keys().map(String::as_str).collect();
        takes.extend(["lives", "scopes"]);
        Some(asks(&takes))
    }

    async fn consented(
        &self,
        file: &spec::Consent,
        bases: &Bases,
        at: &At,
        values: &Values,
        secrets: &Secrets,
    ) -> Reply {
        let reply = match (Metadata::of_file(file, bases), keeps(file)) {
            (Ok(metadata), Ok(keeps)) => {
                let http = &self.clients.calls;
                let issuer = Issuer { http, bases, metadata: Arc::new(metadata) };
                self.consented(&issuer, file, &keeps, at, (values, secrets)).await
            }
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        let reply = reply.unwrap_or_else(|failure| Answer::Fault(failure.before()).into());
        echo::removed(reply, secrets)
    }
}

/// Which token of the answer is which part of the new one.
fn keeps(file: &spec::Consent) -> Result<BTreeMap<String, Token>, Failure> {
    let token = |pointer: &str| match pointer {
        "/refresh_token" => Ok(Token::Refresh),
        "/access_token" => Ok(Token::Access),
        _ => Err(Failure::from(Reason::Unsupported)),
    };
    file.take.iter().map(|(name, pointer)| Ok((name.clone(), token(pointer)?))).collect()
}

async fn look(
    issuer: &Issuer<'_>,
    at: &At,
    kind: Kind,
    secrets: &Secrets,
) -> Result<Answer, Failure> {
    let it = party(secrets, "it")?;
    // What is asked about where refresh tokens are strangers to introspection.
    let by_access = it.vars.get("introspected").and_then(Value::as_str) == Some("access");
    let (name, which) = match (kind, at.way) {
        (Kind::Client | Kind::RegisteredClient, _) => {
            let saw = registration::probe(&Client::new(issuer, it)?).await?;
            return Ok(Answer::Saw(saw, Values::new()));
        }
        (Kind::ClientToken, _) => ("secret", Token::Access),
        (Kind::Grant, 1) => ("access", Token::Access),
        (Kind::RotatingGrant, _) if by_access => ("access", Token::Access),
        (Kind::Grant | Kind::RotatingGrant, _) => ("secret", Token::Refresh),
    };
    // Every grant has its refresh token; an access token need not lie anywhere.
    let lacks = if name == "access" { Reason::NoSuchPart } else { Reason::MissingValue };
    let token = it.parts.secret.get(name).ok_or(lacks)?;
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
            // The refresh token first: a server that cascades then ends the access token too. Then
            // it is shown as if it were live: whoever took its place in the family loses that.
            add(Verb::Revoke, vec![way([ends(), ends(), ends()])]);
            if person {
                add(Verb::Issue, vec![asks(&["secret", "access", "lives", "scopes"])]);
            }
        }
        Kind::RotatingGrant => {
            add(Verb::Probe, vec![way([layer(true)])]);
            add(Verb::Revoke, vec![way([ends(), ends(), ends()])]);
            let takes = ["secret", "access", "lives", "scopes"];
            add(Verb::Roll, vec![way([step(Actor::Old, &["old", "client"], &takes, false)])]);
            add(Verb::Finish, vec![way([step(Actor::New, &["new"], &[], true)])]);
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

/// A new grant from a person.
fn asks(takes: &[&str]) -> Way {
    Way { person: true, ..way([step(Actor::Client, &["client"], takes, false)]) }
}

fn learn() -> Way {
    let takes: Vec<&str> = Endpoint::ALL.into_iter().map(Endpoint::key).collect();
    way([step(Actor::None, &[], &takes, true)])
}

fn way<const N: usize>(steps: [StepCapability; N]) -> Way {
    Way::new(steps.into(), Seen::Run)
}

fn step(actor: Actor, parties: &[&str], takes: &[&str], again: bool) -> StepCapability {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    StepCapability {
        parties: owned(parties),
        takes: owned(takes),
        again,
        ..StepCapability::new(actor)
    }
}
