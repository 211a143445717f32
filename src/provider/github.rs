//! GitHub's tokens, grants and deploy keys: the native driver `github`.
//!
//! octocrab carries every call. The kinds, and what is said of them, stand in
//! `providers/github.toml`; what a verb asks for, and what an answer means, stands here.
//!
//! Two facts shape it. GitHub ends a token for whoever shows it, without asking who that is, up to
//! a thousand in one request and sixty requests an hour: so the calls of one batch are gathered
//! into one request. And its answer to that is a promise (202), given for tokens that never
//! existed as well: only the token's own refusal says that it is dead.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::answer::Failure;
use self::gather::Gatherings;
use self::operation::Operation;
use self::session::{Answered, Session, Shows};
use super::{Acting, Bases, Driver, Reply, Secrets, SharedClients};
use crate::engine::batch::Batch;
use crate::engine::call::{Answer, At, Fault, Identity, Liveness, Reason, Values, Verb};
use crate::engine::capability::Way;
use crate::secret::Secret;

mod answer;
mod gather;
mod operation;
mod repository;
mod session;

/// What GitHub takes in one request to end credentials by their value.
const MOST_VALUES: usize = 1_000;

/// A token of the right shape and checksum that GitHub never gave to anybody: a client that asks
/// about it learns nothing but whether it is itself known.
const NOBODYS_TOKEN: &str = "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";

/// The driver `github`.
pub struct Github {
    clients: SharedClients,
    gatherings: Gatherings,
}

impl Github {
    /// A driver over the shared clients.
    pub fn new(clients: SharedClients) -> Self {
        Self { clients, gatherings: Gatherings::default() }
    }

    async fn make(
        &self,
        bases: &Bases,
        at: &At,
        values: &Values,
        secrets: &Secrets,
    ) -> Result<Answer, Failure> {
        let operation = Operation::at(at).ok_or_else(|| Failure::refused(Reason::Unsupported))?;
        if operation == Operation::EndTogether
            && let Some(batch) = Batch::of(values)
        {
            return self.end_together(bases, batch, old(secrets)?).await;
        }
        // The probe has a pool of its own: what was opened for another credential must not carry
        // this one.
        let client = match at.verb {
            Verb::Probe => &self.clients.probes,
            _ => &self.clients.calls,
        };
        let open = |shows| Session::open(client, bases, shows);
        match operation {
            Operation::ProbeUser => probe_user(&open(token(secrets, "it")?)?).await,
            Operation::ProbeInstallation => probe_installation(&open(token(secrets, "it")?)?).await,
            Operation::ProbeClient => probe_client(client, bases, party(secrets, "it")?).await,
            Operation::ListKeys => {
                let session = open(token(secrets, "admin")?)?;
                repository::list(&session, named_repository(values)?, secrets).await
            }
            Operation::DeleteKey => {
                let session = open(token(secrets, "admin")?)?;
                repository::delete(&session, named_repository(values)?, handle(values)?).await
            }
            Operation::EndGrant | Operation::EndToken => {
                let what = if operation == Operation::EndGrant { "grant" } else { "token" };
                end_by_client(client, bases, party(secrets, "client")?, what, old(secrets)?).await
            }
            Operation::EndTogether | Operation::EndAlone => {
                Ok(end_values(&open(Shows::Nothing)?, &[old(secrets)?]).await)
            }
            Operation::EndAsItself => {
                Ok(end_values(&open(token(secrets, "old")?)?, &[old(secrets)?]).await)
            }
            Operation::EndInstallation => end_installation(&open(token(secrets, "old")?)?).await,
        }
    }

    /// Whoever comes first sends the request for all that share it.
    async fn end_together(
        &self,
        bases: &Bases,
        batch: Batch,
        value: &Secret,
    ) -> Result<Answer, Failure> {
        let address = bases.get("api").ok_or_else(|| Failure::refused(Reason::MissingValue))?;
        let (answer, lead) = self.gatherings.join(address, batch, value.duplicate());
        if let Some(lead) = lead {
            let seats = lead.gathered().await;
            let session = Session::open(&self.clients.calls, bases, Shows::Nothing);
            for few in seats.chunks(MOST_VALUES) {
                let values: Vec<&Secret> = few.iter().map(|seat| &seat.value).collect();
                let said = match &session {
                    Ok(session) => end_values(session, &values).await,
                    Err(failure) => Answer::Fault(failure.clone().fault()),
                };
                few.iter().for_each(|seat| seat.tell(said.clone()));
            }
        }
        // Whoever sent it for us went away, and nobody knows how far it came.
        answer.await.map_err(|_| Failure::Lost(Reason::Crashed.into()))
    }
}

#[async_trait]
impl Driver for Github {
    fn ways(&self, kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        operation::ways(kind)
    }

    fn tells_identity(&self, kind: &str) -> bool {
        operation::tells_identity(kind)
    }

    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        match self.make(bases, at, values, secrets).await {
            Ok(answer) => answer.into(),
            Err(failure) if at.verb == Verb::Probe => failure.of_probe().into(),
            Err(failure) => Answer::Fault(failure.fault()).into(),
        }
    }
}

/// Whose token it is. What it may do there does not matter: a refusal for want of a right is an
/// acceptance.
async fn probe_user(session: &Session) -> Result<Answer, Failure> {
    let answered = session.send(Method::GET, "/user", None).await?;
    let who = answered.json().pointer("/id").and_then(Value::as_u64);
    match (answered.status, who) {
        (200, Some(id)) => Ok(saw(Liveness::Alive(Identity(id.to_string())))),
        _ => Ok(saw(answered.refused_or_restricted())),
    }
}

async fn probe_installation(session: &Session) -> Result<Answer, Failure> {
    let answered = session.send(Method::GET, "/installation/repositories?per_page=1", None).await?;
    let counted = answered.json().pointer("/total_count").is_some_and(Value::is_u64);
    match answered.status {
        200 if counted => Ok(saw(Liveness::Alive(Identity::default()))),
        _ => Ok(saw(answered.refused_or_restricted())),
    }
}

/// A client that may ask about tokens is told that nobody's is not there; one that may not is
/// refused itself.
async fn probe_client(
    client: &reqwest::Client,
    bases: &Bases,
    it: &Acting,
) -> Result<Answer, Failure> {
    let (session, path) = as_client(client, bases, it, "token")?;
    let body = Zeroizing::new(json!({ "access_token": NOBODYS_TOKEN }).to_string().into_bytes());
    let answered = session.send(Method::POST, &path, Some(body)).await?;
    match answered.status {
        200 | 404 => Ok(saw(Liveness::Alive(Identity::default()))),
        _ => Ok(saw(answered.refused_or_restricted())),
    }
}

/// Ends the grant that a token belongs to, or the token alone, as the application it was given to.
async fn end_by_client(
    client: &reqwest::Client,
    bases: &Bases,
    application: &Acting,
    what: &str,
    value: &Secret,
) -> Result<Answer, Failure> {
    let (session, path) = as_client(client, bases, application, what)?;
    let body = body("{\"access_token\":", &[value], "}")?;
    let answered = session.send(Method::DELETE, &path, Some(body)).await?;
    match answered.status {
        204 => Ok(Answer::Done),
        // GitHub says 404 both for a token that is gone and for a client it does not know: what
        // is next in line settles it.
        _ => Err(answered.refusal()),
    }
}

/// 202 says that the values were taken, and nothing of whether they ever lived.
async fn end_values(session: &Session, values: &[&Secret]) -> Answer {
    let sent = async {
        let body = body("{\"credentials\":[", values, "]}")?;
        let answered = session.send(Method::POST, "/credentials/revoke", Some(body)).await?;
        match answered.status {
            202 => Ok(Answer::Done),
            _ => Err(answered.refusal()),
        }
    };
    sent.await.unwrap_or_else(|failure: Failure| Answer::Fault(failure.fault()))
}

async fn end_installation(session: &Session) -> Result<Answer, Failure> {
    let answered = session.send(Method::DELETE, "/installation/token", None).await?;
    match answered.status {
        204 => Ok(Answer::Done),
        // It could not sign its own end.
        401 if answered.names_bad_credentials() => Ok(Answer::Gone),
        _ => Err(answered.refusal()),
    }
}

fn as_client(
    client: &reqwest::Client,
    bases: &Bases,
    application: &Acting,
    what: &str,
) -> Result<(Session, String), Failure> {
    let id = application.parts.public.get("client_id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Failure::refused(Reason::MissingValue))?;
    let path = format!("/applications/{}/{what}", session::segment(id));
    let shows = Shows::Client { id, secret: secret(application)? };
    Ok((Session::open(client, bases, shows)?, path))
}

/// A body around values, as JSON strings with commas between them.
fn body(head: &str, values: &[&Secret], tail: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let texts: Option<Vec<&str>> = values.iter().map(|value| session::text(value)).collect();
    let texts = texts.ok_or_else(|| Failure::refused(Reason::Unexpected))?;
    // Twice the length and two quotes and a comma: no visible character is escaped to more, and a
    // buffer that grew would leave an unzeroed copy behind.
    let room: usize = texts.iter().map(|text| 2 * text.len() + 3).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(head.len() + room + tail.len()));
    body.extend_from_slice(head.as_bytes());
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut *body, text)
            .map_err(|_| Failure::refused(Reason::Unexpected))?;
    }
    body.extend_from_slice(tail.as_bytes());
    Ok(body)
}

fn saw(liveness: Liveness) -> Answer {
    Answer::Saw(liveness, Values::new())
}

fn party<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a Acting, Failure> {
    secrets.get(name).ok_or_else(|| Failure::refused(Reason::MissingValue))
}

fn secret(acting: &Acting) -> Result<&Secret, Failure> {
    acting.parts.secret.get("secret").ok_or_else(|| Failure::refused(Reason::MissingValue))
}

fn token<'a>(secrets: &'a Secrets, name: &str) -> Result<Shows<'a>, Failure> {
    Ok(Shows::Token(secret(party(secrets, name)?)?))
}

fn old(secrets: &Secrets) -> Result<&Secret, Failure> {
    secret(party(secrets, "old")?)
}

fn named_repository(values: &Values) -> Result<&str, Failure> {
    let named = values.get("repository").and_then(Value::as_str);
    named.ok_or_else(|| Failure::refused(Reason::MissingValue))
}

fn handle(values: &Values) -> Result<&str, Failure> {
    let named = values.get("handle").and_then(Value::as_str);
    named.ok_or_else(|| Failure::refused(Reason::MissingValue))
}

impl Answered {
    /// What an answer that is no acceptance tells of the credential that was shown.
    fn refused_or_restricted(&self) -> Liveness {
        let message = self.message();
        let restricted = self.headers.contains_key("x-github-sso")
            || message.starts_with("Resource not accessible");
        match self.status {
            401 if self.names_bad_credentials() => Liveness::Dead { by_name: true },
            403 if restricted => Liveness::Restricted(Identity::default()),
            _ => Liveness::Unclear(self.why(Reason::NoClass)),
        }
    }

    fn names_bad_credentials(&self) -> bool {
        self.message() == "Bad credentials"
    }

    /// What it was refused for: a 401 speaks of whoever signed, not of the subject.
    fn refusal(&self) -> Failure {
        let actor = self.status == 401;
        Failure::Refused(self.why(if actor { Reason::ActorRefused } else { Reason::Refused }))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        failure.fault()
    }
}
