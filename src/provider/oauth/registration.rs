//! Clients that register themselves, RFC 7591, and end themselves, RFC 7592.

use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

use super::client::{Client, NOBODYS, Token};
use super::discovery::{Endpoint, Issuer, lies_on_a_base};
use super::grant::{bearer, client_liveness};
use super::wire::{Failure, exchange};
use crate::engine::call::{Answer, Holding, Identity, Liveness, Reason, Values};
use crate::provider::{Acting, Reply};
use crate::secret::{Parts, Secret};

const SECRET_PARTS: [&str; 2] = ["client_secret", "registration_access_token"];
const PUBLIC_PARTS: [&str; 2] = ["client_id", "registration_client_uri"];

/// Looks at a client by letting it ask about a token that nobody issued: an accepted one hears
/// that it is not active. Nothing is minted. Where the issuer cannot be asked about tokens, the
/// client offers a code that nobody issued.
///
/// # Errors
/// Everything that is no verdict.
pub(super) async fn probe(client: &Client<'_>) -> Result<Liveness, Failure> {
    if !client.confidential() {
        return Err(Reason::MissingValue.into());
    }
    let heard = if client.issuer.offers(Endpoint::Introspection) {
        client.introspect(NOBODYS, Token::Access).await.map(drop)
    } else {
        client.offer_no_code().await
    };
    match heard {
        Ok(()) => Ok(Liveness::Alive(Identity(client.id.to_owned()))),
        Err(Failure::Refused(why)) => client_liveness(client, why),
        Err(failure) => Err(failure),
    }
}

/// Registers a client with the admin's initial access token.
pub(super) async fn register(issuer: &Issuer<'_>, admin: &Acting, values: &Values) -> Reply {
    let request = match registration(issuer, admin, values) {
        Ok(request) => request,
        Err(failure) => return Answer::Fault(failure.before()).into(),
    };
    let answered = match exchange(issuer.http, request).await {
        Ok(answered) => answered,
        Err(failure) => return Answer::Fault(failure.of_making()).into(),
    };
    if answered.status >= 300 {
        return Answer::Fault(answered.refusal().fault()).into();
    }
    registered(answered.json(), answered.status)
}

/// Deletes a client with its own registration access token.
pub(super) async fn delete(issuer: &Issuer<'_>, old: &Acting) -> Answer {
    let request = match deletion(issuer, old) {
        Ok(request) => request,
        Err(failure) => return Answer::Fault(failure.before()),
    };
    let answered = match exchange(issuer.http, request).await {
        Ok(answered) => answered,
        Err(failure) => return Answer::Fault(failure.fault()),
    };
    match answered.status {
        200..=299 => Answer::Done,
        404 => Answer::Gone,
        // RFC 7592 section 2.3 says 401 of a client that is not there, and every server says it
        // of a token that it does not take. The client itself tells which.
        401 if gone(issuer, old).await => Answer::Gone,
        _ => Answer::Fault(answered.refusal().fault()),
    }
}

async fn gone(issuer: &Issuer<'_>, old: &Acting) -> bool {
    let Ok(client) = Client::new(issuer, old) else { return false };
    matches!(probe(&client).await, Ok(Liveness::Dead { .. }))
}

fn registration(
    issuer: &Issuer<'_>,
    admin: &Acting,
    values: &Values,
) -> Result<reqwest::Request, Failure> {
    let url = issuer.endpoint(Endpoint::Registration)?.clone();
    let token = admin.parts.secret.get("secret").ok_or(Reason::MissingValue)?;
    let body =
        serde_json::to_vec(&wanted(values)).map_err(|_| Failure::from(Reason::Unexpected))?;
    let mut request = reqwest::Request::new(Method::POST, url);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
    request.headers_mut().insert(ACCEPT, json.clone());
    request.headers_mut().insert(CONTENT_TYPE, json);
    *request.body_mut() = Some(body.into());
    Ok(request)
}

/// The metadata of the new client: what the inventory says, under our label.
fn wanted(values: &Values) -> Value {
    let mut client = Map::new();
    let label = values.get("label").and_then(Value::as_str);
    let name = match (values.get("client_name").and_then(Value::as_str), label) {
        (Some(name), Some(label)) => Some(format!("{name} ({label})")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    };
    client.extend(name.map(|name| ("client_name".to_owned(), name.into())));
    for key in ["redirect_uris", "grant_types"] {
        client.extend(values.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if let Some(grants) = values.get("grant_types").and_then(Value::as_array)
        && !grants.iter().any(|grant| grant == "authorization_code")
    {
        // The default is `["code"]`, which a client without that grant may not have.
        client.insert("response_types".into(), Value::Array(Vec::new()));
    }
    if let Some(scopes) = values.get("scopes").and_then(Value::as_array) {
        let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
        client.insert("scope".into(), scopes.join(" ").into());
    }
    let method = values.get("client_auth").and_then(Value::as_str);
    let method = method.unwrap_or("client_secret_basic");
    client.insert("token_endpoint_auth_method".into(), method.into());
    client.into()
}

/// What came back. A client without a secret, or without the means to end it, is brought all the
/// same: it exists.
fn registered(mut answer: Value, status: u16) -> Reply {
    let mut take = |name: &str| match answer.get_mut(name).map(Value::take) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let mut parts = Parts::default();
    for name in SECRET_PARTS {
        parts.secret.extend(take(name).map(|text| (name.to_owned(), Secret::from(text))));
    }
    for name in PUBLIC_PARTS {
        parts.public.extend(take(name).map(|text| (name.to_owned(), text.into())));
    }
    let Some(handle) = parts.public.get("client_id").cloned() else {
        return Answer::Fault(Failure::Odd(status).fault()).into();
    };
    let mut public = parts.public.clone();
    public.insert("handle".into(), handle);
    let holding = Holding { fingerprint: String::new(), public };
    Reply { answer: Answer::Issued(holding), brought: Some(parts) }
}

fn deletion(issuer: &Issuer<'_>, old: &Acting) -> Result<reqwest::Request, Failure> {
    let uri = old.parts.public.get("registration_client_uri").and_then(Value::as_str);
    let uri: Url =
        uri.ok_or(Reason::MissingValue)?.parse().map_err(|_| Failure::from(Reason::Unexpected))?;
    if !lies_on_a_base(&uri, issuer.bases) {
        return Err(Reason::LeftBase.into());
    }
    let token = old.parts.secret.get("registration_access_token").ok_or(Reason::MissingValue)?;
    let mut request = reqwest::Request::new(Method::DELETE, uri);
    request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::call::Fault;

    fn values(text: Value) -> Values {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_registration_bears_the_label() {
        let both = wanted(&values(json!({ "client_name": "mail", "label": "rotate-a-b-1" })));
        assert_eq!(both["client_name"], "mail (rotate-a-b-1)");
        assert_eq!(
            wanted(&values(json!({ "label": "rotate-a-b-1" })))["client_name"],
            "rotate-a-b-1"
        );
        assert_eq!(wanted(&values(json!({}))).get("client_name"), None);
    }

    #[test]
    fn a_client_without_codes_asks_for_no_response_type() {
        let machine = json!({ "grant_types": ["client_credentials"], "redirect_uris": [] });
        assert_eq!(wanted(&values(machine))["response_types"], json!([]));
        let person = json!({ "grant_types": ["authorization_code"], "redirect_uris": ["x:y"] });
        assert_eq!(wanted(&values(person)).get("response_types"), None);
    }

    #[test]
    fn a_client_without_a_secret_is_brought_all_the_same() {
        let reply = registered(json!({ "client_id": "c1" }), 201);
        let Answer::Issued(holding) = reply.answer else { panic!("not issued") };
        assert_eq!(holding.public["handle"], "c1");
        assert!(reply.brought.unwrap().secret.is_empty());
        let nothing = registered(json!({ "client_secret": "s" }), 201);
        assert!(matches!(nothing.answer, Answer::Fault(Fault::Unknown(_))));
        assert!(nothing.brought.is_none());
    }
}
