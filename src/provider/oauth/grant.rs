//! What becomes of tokens: seen, spent, ended.

use std::collections::BTreeMap;

use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use oauth2::TokenIntrospectionResponse;
use oauth2::basic::{BasicErrorResponseType, BasicTokenIntrospectionResponse};
use serde_json::Value;
use zeroize::Zeroizing;

use super::client::{Client, Granted, Token, is, text};
use super::discovery::{Endpoint, Issuer};
use super::wire::{Answered, Failure, exchange};
use crate::engine::call::{Answer, Fault, Holding, Identity, Liveness, Reason, Values, Why};
use crate::provider::Reply;
use crate::secret::{Parts, Secret};

/// What a report says of an answer without a refresh token of its own.
const UNUSABLE: &str =
    "no new refresh token; an access token came that nobody holds, and it lives until it expires";

/// Looks at a token by introspection. A refresh token is never spent to see whether it lives: a
/// server that rotates would take that for theft and end the whole family, the new one included.
///
/// # Errors
/// Everything that is no verdict.
pub(super) async fn probe(
    client: &Client<'_>,
    token: &Secret,
    which: Token,
) -> Result<Answer, Failure> {
    let seen = client.introspect(text(token)?, which).await?;
    if !seen.active() {
        // No proxy and no login page answers this, so it is said by name. It is also said of a
        // token that the client may not see, which is why only an old one that was active before
        // can be proved dead by it.
        return Ok(Answer::Saw(Liveness::Dead { by_name: true }, Values::new()));
    }
    Ok(Answer::Saw(Liveness::Alive(principal(&seen)), facts(&seen)))
}

/// Looks at an access token by using it at the userinfo endpoint, for issuers that cannot be asked
/// about tokens.
///
/// # Errors
/// Everything that is no verdict.
pub(super) async fn probe_by_use(issuer: &Issuer<'_>, token: &Secret) -> Result<Answer, Failure> {
    let url = issuer.endpoint(Endpoint::Userinfo)?.clone();
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
    let answered = exchange(issuer.http, request).await?;
    let saw = match (answered.status, bearer_error(&answered).as_deref()) {
        (200, _) => match answered.json().get("sub").and_then(Value::as_str) {
            Some(subject) => Liveness::Alive(Identity(subject.to_owned())),
            None => return Err(Failure::Odd(200)),
        },
        (401, Some("invalid_token")) => Liveness::Dead { by_name: true },
        (403, Some("insufficient_scope")) => Liveness::Restricted(Identity::default()),
        _ => return Err(answered.refusal()),
    };
    Ok(Answer::Saw(saw, Values::new()))
}

/// Asks for the end of a token.
pub(super) async fn revoke(client: &Client<'_>, token: &Secret, which: Token) -> Answer {
    let revoked = match text(token) {
        Ok(token) => client.revoke(token, which).await,
        Err(failure) => Err(failure),
    };
    match revoked {
        Ok(()) => Answer::Done,
        Err(failure) => Answer::Fault(failure.fault()),
    }
}

/// Spends the old refresh token for a new pair.
pub(super) async fn roll(client: &Client<'_>, old: &Secret) -> Reply {
    let spent = match text(old) {
        Ok(token) => client.refresh(token).await,
        Err(failure) => Err(failure),
    };
    let mut granted = match spent {
        Ok(granted) => granted,
        // Somebody spent it before us, or it was revoked.
        Err(Failure::Refused(why))
            if is(why.word.as_deref(), &BasicErrorResponseType::InvalidGrant) =>
        {
            return Answer::Gone.into();
        }
        Err(failure) => return Answer::Fault(failure.of_making()).into(),
    };
    match granted.take_refresh() {
        Some(new) if !new.same(old) => brought(granted, Some(new), &pair()),
        // The server does not rotate: the old one lives on as if nothing had happened.
        _ => unusable(),
    }
}

/// The parts of the kinds that are a grant.
pub(super) fn pair() -> BTreeMap<String, Token> {
    let parts = [("secret", Token::Refresh), ("access", Token::Access)];
    parts.map(|(name, token)| (name.to_owned(), token)).into()
}

/// Uses the new access token once. Some servers take the old refresh token until then: a client
/// that never got the answer may ask again. What the answer says is for the probe to find out.
///
/// # Errors
/// It was not used.
pub(super) async fn use_once(issuer: &Issuer<'_>, access: &Secret) -> Result<(), Failure> {
    let url = issuer.endpoint(Endpoint::Userinfo)?.clone();
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert(AUTHORIZATION, bearer(access)?);
    match exchange(issuer.http, request).await {
        Ok(_) | Err(Failure::Refused(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// A grant that a person has just made. `keeps` says which token is which part.
pub(super) fn consented(mut granted: Granted, keeps: &BTreeMap<String, Token>) -> Reply {
    let refresh = granted.take_refresh();
    if refresh.is_none() && keeps.values().any(|token| *token == Token::Refresh) {
        // The issuer gives this client no refresh tokens, and a place that holds one needs one.
        return unusable();
    }
    brought(granted, refresh, keeps)
}

/// The token of a client for itself.
pub(super) fn own_token(mut granted: Granted) -> Reply {
    let refresh = granted.take_refresh();
    brought(granted, refresh, &BTreeMap::from([("secret".to_owned(), Token::Access)]))
}

/// What was given is of no use here, and yet is not ended: at some issuers the end of any token is
/// the end of all that the person granted the application, and the role's own grant may have to
/// live on. An access token without a refresh token ends by itself.
fn unusable() -> Reply {
    let word = Some(UNUSABLE.to_owned());
    Answer::Fault(Fault::Refused(Why { word, ..Reason::Unsupported.into() })).into()
}

/// Each part gets its token. One that no part takes is kept under seal by its own name: revoking
/// it may end the whole grant, and with it the new one.
fn brought(
    mut granted: Granted,
    refresh: Option<Secret>,
    keeps: &BTreeMap<String, Token>,
) -> Reply {
    let mut parts = Parts::default();
    for (which, came) in [(Token::Refresh, refresh), (Token::Access, granted.take_access())] {
        let Some(token) = came else { continue };
        let names = keeps.iter().filter(|(_, kept)| **kept == which).map(|(name, _)| name);
        parts.secret.extend(names.map(|name| (name.clone(), token.duplicate())));
        if !keeps.values().any(|kept| *kept == which) {
            parts.secret.entry(which.hint().to_owned()).or_insert(token);
        }
    }
    if parts.secret.is_empty() {
        return Answer::Fault(Failure::Odd(200).fault()).into();
    }
    let holding = Holding { fingerprint: String::new(), public: granted.facts() };
    Reply { answer: Answer::Issued(holding), brought: Some(parts) }
}

/// `Bearer` with a token, marked sensitive.
///
/// # Errors
/// [`Reason::Unreadable`] for what cannot stand in a header.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, Failure> {
    let value = Zeroizing::new(format!("Bearer {}", text(token)?));
    let mut header =
        HeaderValue::from_str(&value).map_err(|_| Failure::from(Reason::Unreadable))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The `error` of RFC 6750 section 3.1, from the header or, as some servers have it, the body.
fn bearer_error(answered: &Answered) -> Option<String> {
    let body = answered.json();
    let said = body.get("error").and_then(Value::as_str).map(str::to_owned);
    said.or_else(|| challenge_error(&answered.headers))
}

fn challenge_error(headers: &HeaderMap) -> Option<String> {
    let challenge = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    let (_, behind) = challenge.split_once("error=\"")?;
    behind.split_once('"').map(|(error, _)| error.to_owned())
}

/// Whom the token speaks for, and through which client. A client's own token names it once.
fn principal(seen: &BasicTokenIntrospectionResponse) -> Identity {
    let client = seen.client_id().map(|id| id.as_str());
    let person = seen.sub().or(seen.username());
    Identity(match (person, client) {
        (Some(person), Some(client)) if person != client => format!("{person} via {client}"),
        (Some(one), _) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    })
}

/// `expires` in seconds since the epoch, and `scopes`.
fn facts(seen: &BasicTokenIntrospectionResponse) -> Values {
    let expires = seen.exp().map(|it| ("expires".to_owned(), it.timestamp().into()));
    let scopes = seen.scopes().map(|all| {
        let all: Vec<&str> = all.iter().map(|scope| scope.as_str()).collect();
        ("scopes".to_owned(), all.join(" ").into())
    });
    expires.into_iter().chain(scopes).collect()
}

/// A word for what an actor's refusal means when the actor itself is being looked at.
///
/// `invalid_client` names the death of a client whatever the status. Keycloak says 401
/// `unauthorized_client` instead; with any other status that word means a client that was accepted
/// and may not do this.
pub(super) fn client_liveness(client: &Client<'_>, why: Why) -> Result<Liveness, Failure> {
    let word = why.word.as_deref();
    let accepted = || Identity(client.id.to_owned());
    if is(word, &BasicErrorResponseType::InvalidClient) {
        return Ok(Liveness::Dead { by_name: true });
    }
    if is(word, &BasicErrorResponseType::UnauthorizedClient) {
        return Ok(match why.status {
            Some(401) => Liveness::Dead { by_name: true },
            _ => Liveness::Restricted(accepted()),
        });
    }
    if is(word, &BasicErrorResponseType::InvalidGrant) {
        return Ok(Liveness::Alive(accepted()));
    }
    Err(Failure::Refused(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(text: &str) -> String {
        principal(&serde_json::from_str(text).unwrap()).0
    }

    #[test]
    fn a_principal_is_a_person_through_a_client_or_a_client() {
        assert_eq!(who(r#"{"active":true,"sub":"ana","client_id":"mail"}"#), "ana via mail");
        assert_eq!(who(r#"{"active":true,"username":"ana","client_id":"mail"}"#), "ana via mail");
        assert_eq!(who(r#"{"active":true,"sub":"mail","client_id":"mail"}"#), "mail");
        assert_eq!(who(r#"{"active":true,"client_id":"mail"}"#), "mail");
        assert_eq!(who(r#"{"active":true}"#), "");
    }

    #[test]
    fn a_challenge_names_its_error() {
        let mut headers = HeaderMap::new();
        assert_eq!(challenge_error(&headers), None);
        let challenge = r#"Bearer realm="x", error="invalid_token", error_description="y""#;
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        assert_eq!(challenge_error(&headers).as_deref(), Some("invalid_token"));
    }
}
