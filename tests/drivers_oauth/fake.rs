//! What no well-behaved server does, done by fakes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Form;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use rotate::engine::call::{Answer, Fault, Identity, Liveness, Reason, Values, Verb, Why};
use rotate::provider::oauth::{Ask, Consent, Shown};
use rotate::provider::{Driver, Secrets, spec};
use rotate::secret::Secret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::bench::*;

/// What a fake has been sent: path, form, and who authenticated.
type Seen = Arc<Mutex<Vec<(&'static str, BTreeMap<String, String>, HeaderMap)>>>;

/// A fake issuer with these routes; `metadata` is made from its own address.
async fn fake(metadata: impl FnOnce(&str) -> Value, routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = metadata(&issuer).to_string();
    let json = [("content-type", "application/json")];
    let routes = routes.route(
        "/.well-known/oauth-authorization-server",
        get(move || async move { (json, document).into_response() }),
    );
    tokio::spawn(async move { axum::serve(listener, routes).await });
    issuer
}

fn ordinary(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "introspection_endpoint": format!("{issuer}/introspect"),
    })
}

/// Writes down what comes to `path` and answers it.
fn answering(
    seen: &Seen,
    path: &'static str,
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &str,
) -> Router {
    let (seen, body) = (Arc::clone(seen), body.to_owned());
    let extra: Vec<_> = headers.iter().map(|(name, value)| (*name, *value)).collect();
    Router::new().route(
        path,
        post(move |sent: HeaderMap, Form(form): Form<BTreeMap<String, String>>| async move {
            seen.lock().unwrap().push((path, form, sent));
            let mut answer = (StatusCode::from_u16(status).unwrap(), body).into_response();
            answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
            for (name, value) in extra {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            answer
        }),
    )
}

/// Which token was sent where.
fn tokens(seen: &Seen) -> Vec<(&'static str, String)> {
    let seen = seen.lock().unwrap();
    let token = |form: &BTreeMap<String, String>| {
        form.get("refresh_token").or_else(|| form.get("token")).cloned().unwrap_or_default()
    };
    seen.iter().map(|(path, form, _)| (*path, token(form))).collect()
}

fn sent<const N: usize>(tokens: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    tokens.map(|(path, token)| (path, token.to_owned())).into()
}

#[tokio::test]
async fn fake_without_tls_got_nothing() {
    let issuer = fake(ordinary, Router::new()).await;
    let bench = Bench::at(&issuer.replace("http://", "https://"));
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Tls.into()));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
}

#[tokio::test]
async fn fake_that_asks_to_wait_is_throttling() {
    let seen = Seen::default();
    for (status, headers, wait) in [
        (503, &[("retry-after", "7")][..], Some(7_000)),
        (503, &[], None),
        (429, &[("retry-after", "1")], Some(1_000)),
    ] {
        let routes = answering(&seen, "/revoke", status, headers, "").merge(answering(
            &seen,
            "/introspect",
            status,
            headers,
            "",
        ));
        let bench = Bench::at(&fake(ordinary, routes).await);
        let throttled = Answer::Fault(Fault::Throttled(wait));
        assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, throttled);
        assert_eq!(bench.probe("client-token", secret(GARBAGE)).await, throttled);
    }
}

#[tokio::test]
async fn fake_sees_the_form_of_rfc_7009_with_its_hint() {
    let seen = Seen::default();
    let bench = Bench::at(&fake(ordinary, answering(&seen, "/revoke", 204, &[], "")).await);
    let mut parts = secret("the refresh+token/of=1");
    parts.secret.insert("access".into(), Secret::from("the-access-token".to_owned()));
    assert_eq!(bench.revoke("grant", 0, parts.duplicate()).await, Answer::Done);
    assert_eq!(bench.revoke("grant", 1, parts).await, Answer::Done);
    // No access token at rest: nothing to end, and nothing is sent.
    assert_eq!(bench.revoke("grant", 1, secret(GARBAGE)).await, Answer::Done);

    let seen = seen.lock().unwrap();
    let forms: Vec<_> = seen.iter().map(|(_, form, _)| form.clone()).collect();
    let form = |token: &str, hint: &str| {
        BTreeMap::from(
            [("token", token), ("token_type_hint", hint)].map(|(k, v)| (k.into(), v.into())),
        )
    };
    let refresh = form("the refresh+token/of=1", "refresh_token");
    assert_eq!(forms, [refresh, form("the-access-token", "access_token")]);
    for (_, _, headers) in seen.iter() {
        assert!(headers["authorization"].to_str().unwrap().starts_with("Basic "));
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    }
}

#[tokio::test]
async fn fake_that_cannot_revoke_this_type_is_a_refusal() {
    let seen = Seen::default();
    let body = r#"{"error":"unsupported_token_type"}"#;
    let bench = Bench::at(&fake(ordinary, answering(&seen, "/revoke", 400, &[], body)).await);
    let why = Why {
        reason: Reason::Refused,
        status: Some(400),
        word: Some("unsupported_token_type".into()),
    };
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(ended, Answer::Fault(Fault::Refused(why)));
}

#[tokio::test]
async fn fake_that_breaks_down_may_have_done_it() {
    let seen = Seen::default();
    let routes = answering(&seen, "/revoke", 500, &[], "").merge(answering(
        &seen,
        "/introspect",
        502,
        &[],
        "",
    ));
    let bench = Bench::at(&fake(ordinary, routes).await);
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    let why = Why { reason: Reason::Unexpected, status: Some(500), word: None };
    assert_eq!(ended, Answer::Fault(Fault::Unknown(why)));
    assert_eq!(unclear(bench.probe("client-token", secret(GARBAGE)).await), Reason::Unexpected);
}

#[tokio::test]
async fn fake_that_redirects_is_not_followed() {
    let seen = Seen::default();
    let headers = [("location", "https://evil.example/collect")];
    let bench = Bench::at(&fake(ordinary, answering(&seen, "/revoke", 307, &headers, "")).await);
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::Redirect);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn fake_whose_answer_never_ends_is_cut_off() {
    let seen = Seen::default();
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(1 << 20));
    let bench = Bench::at(&fake(ordinary, answering(&seen, "/introspect", 200, &[], &long)).await);
    let sight = bench.probe("client-token", secret(GARBAGE)).await;
    assert_eq!(unclear(sight), Reason::TooLong);
}

#[tokio::test]
async fn fake_that_answers_with_anything_else_is_never_a_verdict() {
    for body in ["", "active", "<html>sign in</html>", "[]", "{}", r#"{"active":"no"}"#] {
        let seen = Seen::default();
        let routes = answering(&seen, "/introspect", 200, &[], body);
        let bench = Bench::at(&fake(ordinary, routes).await);
        let sight = bench.probe("client-token", secret(GARBAGE)).await;
        assert_eq!(unclear(sight), Reason::Unexpected, "{body}");
    }
}

#[tokio::test]
async fn fake_that_repeats_the_token_is_not_written_down() {
    let seen = Seen::default();
    let body = json!({ "active": true, "sub": GARBAGE }).to_string();
    let bench = Bench::at(&fake(ordinary, answering(&seen, "/introspect", 200, &[], &body)).await);
    let sight = bench.probe("client-token", secret(GARBAGE)).await;
    assert_eq!(unclear(sight), Reason::Echo);
}

#[tokio::test]
async fn fake_with_an_endpoint_elsewhere_never_gets_the_token_there() {
    let seen = Seen::default();
    let elsewhere = fake(ordinary, answering(&seen, "/revoke", 200, &[], "")).await;
    let stolen = format!("{elsewhere}/revoke");
    let metadata = |issuer: &str| {
        let mut metadata = ordinary(issuer);
        metadata["revocation_endpoint"] = stolen.clone().into();
        metadata
    };
    let mut bench = Bench::at(&fake(metadata, Router::new()).await);
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::LeftBase);
    assert!(seen.lock().unwrap().is_empty());
    let reply = bench.call(at("client-token", Verb::Learn), json!({}), Secrets::new()).await;
    let Answer::Took(facts) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(facts["unnamed_hosts"], json!([elsewhere]));
    assert!(!facts.contains_key("revocation_endpoint"));

    // Named in the inventory, it is a base like any other.
    bench.bases.insert("revocation".into(), elsewhere.parse().unwrap());
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, Answer::Done);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn fake_that_speaks_for_another_issuer_is_refused() {
    let metadata = |issuer: &str| {
        let mut metadata = ordinary(issuer);
        metadata["issuer"] = "https://id.example".into();
        metadata
    };
    let bench = Bench::at(&fake(metadata, Router::new()).await);
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::SomebodyElse);
    let sight = bench.probe("client-token", secret(GARBAGE)).await;
    assert_eq!(unclear(sight), Reason::SomebodyElse);
}

#[tokio::test]
async fn fake_without_metadata_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    let ended = Bench::at(&issuer).revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::Unsupported);
}

#[tokio::test]
async fn fake_with_a_path_is_found_by_either_well_known_address() {
    let seen = Seen::default();
    for place in [
        "/.well-known/oauth-authorization-server/realms/a",
        "/realms/a/.well-known/openid-configuration",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realms/a", listener.local_addr().unwrap());
        let document = ordinary(&issuer).to_string();
        let routes = Router::new().route(place, get(|| async move { document })).merge(answering(
            &seen,
            "/realms/a/revoke",
            200,
            &[],
            "",
        ));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let ended = Bench::at(&issuer).revoke("client-token", 0, secret(GARBAGE)).await;
        assert_eq!(ended, Answer::Done, "{place}");
    }
}

/// The access token that it gave is not ended: that ends the old one too at some issuers, and the
/// old one is still the role's. The refusal says that it lives.
#[tokio::test]
async fn fake_that_does_not_rotate_cannot_roll_and_loses_nothing() {
    let alone = json!({ "access_token": "a-new-access-token", "token_type": "bearer" });
    let same = json!({ "access_token": "a-new-access-token", "refresh_token": GARBAGE });
    for body in [&alone, &same] {
        let seen = Seen::default();
        let routes = answering(&seen, "/token", 200, &[], &body.to_string()).merge(answering(
            &seen,
            "/revoke",
            200,
            &[],
            "",
        ));
        let bench = Bench::at(&fake(ordinary, routes).await);
        let secrets =
            named([("old", acting("rotating-grant", secret(GARBAGE))), ("client", client(CLIENT))]);
        let reply = bench.call(at("rotating-grant", Verb::Roll), json!({}), secrets).await;
        assert!(reply.brought.is_none());
        assert_says_what_lives(reply.answer);
        assert_eq!(tokens(&seen), sent([("/token", GARBAGE)]));
    }
}

fn assert_says_what_lives(answer: Answer) {
    let Answer::Fault(Fault::Refused(why)) = answer else { panic!("{answer:?}") };
    assert_eq!(why.reason, Reason::Unsupported);
    let word = why.word.unwrap_or_default();
    assert!(word.contains("nobody holds, and it lives until it expires"), "{word}");
}

#[tokio::test]
async fn fake_that_loses_its_answer_may_have_issued() {
    let seen = Seen::default();
    let routes = answering(&seen, "/token", 200, &[], r#"{"access_token":"#);
    let bench = Bench::at(&fake(ordinary, routes).await);
    let secrets = named([("client", client(CLIENT))]);
    let reply = bench.call(at("client-token", Verb::Issue), json!({}), secrets).await;
    assert!(matches!(reply.answer, Answer::Fault(Fault::Unknown(_))), "{:?}", reply.answer);
}

#[tokio::test]
async fn fake_that_says_slow_down_is_asked_less_often() {
    let seen = Seen::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let mut metadata = ordinary(&issuer);
    metadata["device_authorization_endpoint"] = format!("{issuer}/device").into();
    let code = json!({
        "device_code": "the-device-code", "user_code": "WDJB-MJHT", "expires_in": 30,
        "verification_uri": format!("{issuer}/page"), "interval": 2,
    });
    let (metadata, slow) = (metadata.to_string(), r#"{"error":"slow_down"}"#);
    let routes = Router::new()
        .route("/.well-known/oauth-authorization-server", get(|| async move { metadata }))
        .merge(answering(&seen, "/device", 200, &[], &code.to_string()))
        .merge(answering(&seen, "/token", 400, &[], slow));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let person = Somebody::absent();
    let bench = Bench::with(&issuer, Some(person.clone()));
    let values = json!({ "scopes": ["mail.read", "mail.send"], "audience": "mail" });
    let secrets = named([("client", client(CLIENT))]);
    let reply = bench.call(at("grant", Verb::Issue), values, secrets).await;
    assert_eq!(refused(reply.answer), Reason::Refused);
    let seconds: Vec<u64> = person.waited.lock().unwrap().iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [7, 12, 17]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].1["scope"], "mail.read mail.send");
    assert_eq!(seen[0].1["audience"], "mail");
    assert_eq!(seen[1].1["device_code"], "the-device-code");
}

/// The client may not have codes for devices, says the issuer: a redirect is asked for instead, and
/// a person who never comes back has granted nothing.
#[tokio::test]
async fn fake_that_refuses_a_device_code_is_asked_by_redirect() {
    let seen = Seen::default();
    let metadata = |issuer: &str| {
        let mut metadata = ordinary(issuer);
        metadata["device_authorization_endpoint"] = format!("{issuer}/device").into();
        metadata["authorization_endpoint"] = "https://pages.example/authorize".into();
        metadata
    };
    let no = r#"{"error":"unauthorized_client"}"#;
    let routes = answering(&seen, "/device", 400, &[], no);
    let person = Somebody::absent();
    let bench = Bench::with(&fake(metadata, routes).await, Some(person.clone()));
    let secrets = named([("client", client(CLIENT))]);
    let values = json!({ "scopes": ["mail.read"], "consent_query": "prompt=consent" });
    let reply = bench.call(at("grant", Verb::Issue), values, secrets).await;
    assert_eq!(refused(reply.answer), Reason::Timeout);
    let page: Url = person.asked.lock().unwrap()[0].0.parse().unwrap();
    assert_eq!(page.host_str(), Some("pages.example"));
    let query: BTreeMap<String, String> = page.query_pairs().into_owned().collect();
    let of = |name: &str| query[name].as_str();
    assert_eq!((of("response_type"), of("client_id"), of("scope")), ("code", CLIENT, "mail.read"));
    assert_eq!((of("code_challenge_method"), of("prompt")), ("S256", "consent"));
    // 43 characters hold a SHA-256, 22 hold 128 bits.
    assert_eq!((of("code_challenge").len(), of("state").len()), (43, 22));
    let back: Url = of("redirect_uri").parse().unwrap();
    assert_eq!((back.host_str(), back.path()), (Some("127.0.0.1"), "/callback"));
    assert_eq!(seen.lock().unwrap().len(), 1, "nothing was redeemed");
}

/// A person whose browser comes back at once with a code, and who is waited for without end.
struct Returning;

#[async_trait]
impl Consent for Returning {
    async fn show(&self, ask: &Ask) -> Shown {
        let query: BTreeMap<String, String> = ask.page.query_pairs().into_owned().collect();
        let back = format!("{}?code=the-code&state={}", query["redirect_uri"], query["state"]);
        // What TLS needs may be chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody listens before the question was shown.
        tokio::spawn(async move { reqwest::get(back).await });
        Box::new(())
    }

    async fn pause(&self, _: Duration) {
        std::future::pending().await
    }
}

/// Answers the requests to `path` one after the other.
fn one_after_the_other<const N: usize>(
    seen: &Seen,
    path: &'static str,
    answers: [(u16, &'static str); N],
) -> Router {
    let (seen, next) = (Arc::clone(seen), Arc::new(Mutex::new(answers.into_iter())));
    let answer = move |sent: HeaderMap, Form(form): Form<BTreeMap<String, String>>| async move {
        seen.lock().unwrap().push((path, form, sent));
        let (status, body) = next.lock().unwrap().next().unwrap();
        let json = [("content-type", "application/json")];
        (StatusCode::from_u16(status).unwrap(), json, body).into_response()
    };
    Router::new().route(path, post(answer))
}

/// The answer to a code went missing: the code is shown once more. Either it is redeemed now, or
/// the issuer has ended what it gave for it, and what was perhaps granted is named as lost.
#[tokio::test]
async fn fake_that_loses_its_answer_is_shown_the_code_once_more() {
    let cut = (200, r#"{"access_token":"#);
    let pair = (200, r#"{"access_token":"at","refresh_token":"rt","token_type":"bearer"}"#);
    let spent = (400, r#"{"error":"invalid_grant"}"#);
    for (second, redeemed) in [(pair, true), (spent, false)] {
        let seen = Seen::default();
        let metadata = |issuer: &str| {
            let mut metadata = ordinary(issuer);
            metadata["authorization_endpoint"] = format!("{issuer}/authorize").into();
            metadata
        };
        let routes = one_after_the_other(&seen, "/token", [cut, second]);
        let bench = Bench::with(&fake(metadata, routes).await, Some(Arc::new(Returning)));
        let secrets = named([("client", client(CLIENT))]);
        let reply = bench.call(at("grant", Verb::Issue), json!({}), secrets).await;
        match redeemed {
            true => {
                assert!(matches!(reply.answer, Answer::Issued(_)), "{:?}", reply.answer);
                assert_eq!(text(&reply.brought.unwrap(), "secret"), "rt");
            }
            false => {
                assert!(matches!(reply.answer, Answer::Fault(Fault::Unknown(_))));
            }
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        for (_, form, _) in seen.iter() {
            assert_eq!(form["code"], "the-code");
            assert_eq!(form["code_verifier"].len(), 43);
            assert!(form["redirect_uri"].starts_with("http://127.0.0.1:"));
        }
    }
}

#[tokio::test]
async fn what_is_ours_to_ask_with_cannot_be_named_by_the_inventory() {
    let metadata = |issuer: &str| {
        let mut metadata = ordinary(issuer);
        metadata["authorization_endpoint"] = format!("{issuer}/authorize").into();
        metadata
    };
    let person = Somebody::absent();
    let bench = Bench::with(&fake(metadata, Router::new()).await, Some(person.clone()));
    for values in [
        json!({ "consent_query": "redirect_uri=https%3A%2F%2Fevil.example" }),
        json!({ "redirect_uri": "https://evil.example:443/callback" }),
        json!({ "redirect_uri": "http://10.0.0.1:80/callback" }),
    ] {
        let secrets = named([("client", client(CLIENT))]);
        let reply = bench.call(at("grant", Verb::Issue), values, secrets).await;
        assert!(matches!(reply.answer, Answer::Fault(Fault::Refused(_))), "{:?}", reply.answer);
    }
    assert!(person.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn fake_that_would_write_on_the_terminal_is_not_shown() {
    for (user_code, page) in [
        ("AB\u{1b}[2JCD", "https://issuer.example/page"),
        ("WDJB-MJHT", "http://issuer.example/page"),
    ] {
        let seen = Seen::default();
        let code = json!({
            "device_code": "the-device-code", "user_code": user_code, "expires_in": 30,
            "verification_uri": page, "interval": 2,
        });
        let metadata = |issuer: &str| {
            let mut metadata = ordinary(issuer);
            metadata["device_authorization_endpoint"] = format!("{issuer}/device").into();
            metadata
        };
        let routes = answering(&seen, "/device", 200, &[], &code.to_string());
        let person = Somebody::absent();
        let bench = Bench::with(&fake(metadata, routes).await, Some(person.clone()));
        let secrets = named([("client", client(CLIENT))]);
        let reply = bench.call(at("grant", Verb::Issue), json!({}), secrets).await;
        assert!(matches!(reply.answer, Answer::Fault(Fault::Refused(_))), "{:?}", reply.answer);
        assert!(person.asked.lock().unwrap().is_empty());
    }
}

/// The end of what it gave could be the end of the role's old grant, which a rehearsal keeps.
#[tokio::test]
async fn fake_without_refresh_tokens_is_refused_and_loses_nothing() {
    let seen = Seen::default();
    let code = json!({
        "device_code": "the-device-code", "user_code": "WDJB-MJHT", "expires_in": 30,
        "verification_uri": "https://issuer.example/page",
    });
    let token = r#"{"access_token":"only-an-access-token","token_type":"bearer"}"#;
    let metadata = |issuer: &str| {
        let mut metadata = ordinary(issuer);
        metadata["device_authorization_endpoint"] = format!("{issuer}/device").into();
        metadata
    };
    let routes = answering(&seen, "/device", 200, &[], &code.to_string())
        .merge(answering(&seen, "/token", 200, &[], token))
        .merge(answering(&seen, "/revoke", 200, &[], ""));
    let bench = Bench::with(&fake(metadata, routes).await, Some(Somebody::absent()));
    let secrets = named([("client", client(CLIENT))]);
    let reply = bench.call(at("grant", Verb::Issue), json!({}), secrets).await;
    assert!(reply.brought.is_none());
    assert_says_what_lives(reply.answer);
    assert!(!seen.lock().unwrap().iter().any(|(path, ..)| *path == "/revoke"));
}

/// A file says which token is which part. What no part takes is kept under seal by its own name:
/// revoking it could end the whole grant, and with it the new one.
#[tokio::test]
async fn fake_fills_the_parts_that_a_file_names() {
    let code = json!({
        "device_code": "the-device-code", "user_code": "WDJB-MJHT", "expires_in": 30,
        "verification_uri": "https://issuer.example/page",
    });
    let (at_, rt) = ("/access_token", "/refresh_token");
    for (take, expected) in [
        (json!({ "secret": rt, "access": at_ }), json!({ "secret": "rt", "access": "at" })),
        (json!({ "secret": at_, "refresh": rt }), json!({ "secret": "at", "refresh": "rt" })),
        (
            json!({ "secret": at_, "copy": at_ }),
            json!({ "secret": "at", "copy": "at", "refresh_token": "rt" }),
        ),
        (json!({ "secret": rt }), json!({ "secret": "rt", "access_token": "at" })),
    ] {
        let seen = Seen::default();
        let pair = r#"{"access_token":"at","refresh_token":"rt","token_type":"bearer"}"#;
        let routes = answering(&seen, "/device", 200, &[], &code.to_string()).merge(answering(
            &seen,
            "/token",
            200,
            &[],
            pair,
        ));
        let bench = Bench::with(&fake(ordinary, routes).await, Some(Somebody::absent()));
        let file = spec::Consent {
            device: Some("/device".into()),
            token: Some("/token".into()),
            take: serde_json::from_value(take).unwrap(),
            ..spec::Consent::default()
        };
        let secrets = named([("client", client(CLIENT))]);
        let (at, values) = (at("a-kind-of-the-file", Verb::Issue), Values::new());
        let reply = bench.driver.consented(&file, &bench.bases, &at, &values, &secrets).await;
        assert!(matches!(reply.answer, Answer::Issued(_)), "{:?}", reply.answer);
        let brought = reply.brought.unwrap();
        let names = brought.secret.keys();
        let parts: BTreeMap<&str, &str> =
            names.map(|name| (name.as_str(), text(&brought, name))).collect();
        assert_eq!(json!(parts), expected);
        assert_eq!(seen.lock().unwrap().len(), 2, "a code, and the tokens");
    }
}

#[tokio::test]
async fn fake_without_introspection_is_asked_by_use_of_the_access_token_alone() {
    let answers = [
        (200, r#"{"sub":"ana"}"#, Some(alive("ana"))),
        (401, r#"{"error":"invalid_token"}"#, Some(DEAD)),
        (403, r#"{"error":"insufficient_scope"}"#, Some(Liveness::Restricted(Identity::default()))),
        (401, "", None),
        (200, "<html>", None),
    ];
    for (status, body, expected) in answers {
        let metadata = |issuer: &str| {
            json!({
                "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
                "userinfo_endpoint": format!("{issuer}/me"),
            })
        };
        let answer = (StatusCode::from_u16(status).unwrap(), body);
        let routes = Router::new().route("/me", get(move || async move { answer }));
        let bench = Bench::at(&fake(metadata, routes).await);
        let mut parts = secret(GARBAGE);
        parts.secret.insert("access".into(), Secret::from("the-access-token".to_owned()));
        let seen = liveness(bench.probe_layer("grant", 1, parts.duplicate()).await);
        match expected {
            Some(expected) => assert_eq!(seen, expected),
            None => assert!(matches!(seen, Liveness::Unclear(_)), "{seen:?}"),
        }
        // A refresh token is not shown to find out.
        assert_eq!(unclear(bench.probe("grant", parts).await), Reason::Unsupported);
    }
}

#[tokio::test]
async fn fake_without_introspection_tells_a_client_by_a_code_that_nobody_issued() {
    let answers = [
        (400, "invalid_grant", Some(alive(CLIENT))),
        (400, "unauthorized_client", Some(Liveness::Restricted(Identity(CLIENT.into())))),
        (401, "invalid_client", Some(DEAD)),
        (401, "unauthorized_client", Some(DEAD)),
        (400, "invalid_request", None),
    ];
    for (status, error, expected) in answers {
        let seen = Seen::default();
        let body = json!({ "error": error }).to_string();
        let metadata = |issuer: &str| {
            json!({
                "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            })
        };
        let routes = answering(&seen, "/token", status, &[], &body);
        let bench = Bench::at(&fake(metadata, routes).await);
        let sight = liveness(bench.probe("client", client(CLIENT).parts).await);
        match expected {
            Some(expected) => assert_eq!(sight, expected, "{status} {error}"),
            None => assert!(matches!(sight, Liveness::Unclear(_)), "{sight:?}"),
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].1["grant_type"], "authorization_code");
        assert_eq!(seen[0].1["client_secret"], secret_of(CLIENT));
        assert!(!seen[0].2.contains_key("authorization"));
    }
}

#[tokio::test]
async fn fake_registration_leads_no_secret_off_the_base() {
    let bench = Bench::at(&fake(ordinary, Router::new()).await);
    let mut parts = client(CLIENT).parts;
    let uri = "https://evil.example/reg/1";
    parts.public.insert("registration_client_uri".into(), uri.into());
    let token = Secret::from(GARBAGE.to_owned());
    parts.secret.insert("registration_access_token".into(), token);
    let secrets = named([("old", acting("registered-client", parts))]);
    let reply = bench.call(at("registered-client", Verb::Revoke), json!({}), secrets).await;
    assert_eq!(refused(reply.answer), Reason::LeftBase);
}

/// A fake at which the old one can be shown; the revocation begins there.
async fn showing<const N: usize, const M: usize>(
    seen: &Seen,
    token: [(u16, &'static str); N],
    revoke: [(u16, &'static str); M],
) -> Bench {
    let routes = one_after_the_other(seen, "/token", token)
        .merge(one_after_the_other(seen, "/revoke", revoke));
    let bench = Bench::at(&fake(ordinary, routes).await);
    // It has no access token at rest: nothing is sent.
    assert_eq!(bench.revoke("grant", 1, secret(GARBAGE)).await, Answer::Done);
    bench
}

const PAIR: (u16, &str) =
    (200, r#"{"access_token":"at","refresh_token":"rt","token_type":"bearer"}"#);
const CUT: (u16, &str) = (200, r#"{"access_token":"#);
const SPENT: (u16, &str) = (400, r#"{"error":"invalid_grant"}"#);

#[tokio::test]
async fn fake_that_refuses_the_spent_one_has_ended_it() {
    let seen = Seen::default();
    let bench = showing(&seen, [SPENT], []).await;
    assert_eq!(bench.revoke("grant", 2, secret(GARBAGE)).await, Answer::Done);
    assert_eq!(tokens(&seen), sent([("/token", GARBAGE)]));
}

/// What the showing brought lives until its end is answered: the old one is not shown again for it.
#[tokio::test]
async fn fake_that_ends_later_what_a_showing_brought_is_asked_again_for_that_alone() {
    let seen = Seen::default();
    let bench = showing(&seen, [PAIR, SPENT], [(429, ""), (500, ""), (200, ""), (200, "")]).await;
    let throttled = bench.revoke("grant", 2, secret(GARBAGE)).await;
    assert_eq!(throttled, Answer::Fault(Fault::Throttled(None)));
    assert_eq!(bench.revoke("grant", 2, secret(GARBAGE)).await, Answer::Done);
    let (rt, at) = (("/revoke", "rt"), ("/revoke", "at"));
    assert_eq!(tokens(&seen), sent([("/token", GARBAGE), rt, at, rt, at]));
}

/// It says no to the end of one: the other is ended, and a person is told.
#[tokio::test]
async fn fake_that_does_not_end_what_a_showing_brought_leaves_that_to_a_person() {
    let seen = Seen::default();
    let no = (400, r#"{"error":"unsupported_token_type"}"#);
    let bench = showing(&seen, [PAIR], [no, (200, "")]).await;
    assert_eq!(refused(bench.revoke("grant", 2, secret(GARBAGE)).await), Reason::Refused);
    assert_eq!(tokens(&seen).len(), 3);
}

/// The answer to a showing went missing, and what it brought with it. Shown once more, an issuer
/// that detects reuse ends that too; another says nothing of it, so a person is told.
#[tokio::test]
async fn fake_that_loses_what_a_showing_brought_leaves_that_to_a_person() {
    for (second, sends) in [(SPENT, 2), (CUT, 2), ((503, ""), 2), (PAIR, 4)] {
        let seen = Seen::default();
        let bench = showing(&seen, [CUT, second], [(200, ""), (200, "")]).await;
        let lost = bench.revoke("grant", 2, secret(GARBAGE)).await;
        assert!(matches!(lost, Answer::Fault(Fault::Unknown(_))), "{lost:?}");
        let left = bench.revoke("grant", 2, secret(GARBAGE)).await;
        assert_eq!(refused(left), Reason::Unexpected, "{second:?}");
        assert_eq!(tokens(&seen).len(), sends, "{second:?}");
    }
}

/// It never answers, and the run gives the call up: that is a loss like any other.
#[tokio::test]
async fn fake_that_is_silent_is_shown_the_spent_one_twice() {
    let seen = Seen::default();
    let silent = Arc::clone(&seen);
    let never = move |sent: HeaderMap, Form(form): Form<BTreeMap<String, String>>| async move {
        silent.lock().unwrap().push(("/token", form, sent));
        std::future::pending::<()>().await
    };
    let bench = Bench::at(&fake(ordinary, Router::new().route("/token", post(never))).await);
    assert_eq!(bench.revoke("grant", 1, secret(GARBAGE)).await, Answer::Done);
    for showings in 1..=2 {
        let arrived = async {
            while seen.lock().unwrap().len() < showings {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = bench.revoke("grant", 2, secret(GARBAGE)) => panic!("{answer:?}"),
            () = arrived => {}
        }
    }
    assert_eq!(refused(bench.revoke("grant", 2, secret(GARBAGE)).await), Reason::Timeout);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

/// A run that was taken up after a crash does not know what was shown before it.
#[tokio::test]
async fn fake_that_was_shown_the_spent_one_before_a_crash_leaves_that_to_a_person() {
    for (answer, sends) in [(SPENT, 1), (PAIR, 3)] {
        let seen = Seen::default();
        let mut bench = showing(&seen, [answer], [(200, ""), (200, "")]).await;
        bench.driver = Bench::at("http://127.0.0.1:9").driver;
        let left = bench.revoke("grant", 2, secret(GARBAGE)).await;
        assert_eq!(refused(left), Reason::Crashed);
        assert_eq!(tokens(&seen).len(), sends);
    }
}
