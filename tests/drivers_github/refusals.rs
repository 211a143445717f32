//! What is no answer, and what the description does not know.

use rotate::engine::call::{Answer, Fault, Liveness, Reason, Verb};
use serde_json::{Value, json};

use crate::bench::{ALONE, Bench, DEAD, acting, alive, at, named, refused};
use crate::lab::{Manners, Prefix};

#[tokio::test]
async fn fake_limits_outages_and_strangers_are_no_verdict() {
    let bench = Bench::start().await;
    let old = bench.fake.token(Prefix::Ghp, 1);
    let reason = async |manners: Manners| {
        bench.fake.behave();
        bench.fake.misbehave("GET /user", manners);
        match bench.probe("classic-token", &old).await {
            Liveness::Unclear(why) => why.reason,
            other => panic!("clear: {other:?}"),
        }
    };
    assert_eq!(reason(Manners::ServerError).await, Reason::Unexpected);
    assert_eq!(reason(Manners::BlockPage).await, Reason::NoClass);
    assert_eq!(reason(Manners::NotJson).await, Reason::NoClass);
    assert_eq!(reason(Manners::Echo).await, Reason::NoClass);
    assert_eq!(reason(Manners::Huge).await, Reason::TooLong);
    let elsewhere = Manners::Redirect(format!("{}/elsewhere", bench.fake.base()));
    assert_eq!(reason(elsewhere).await, Reason::Redirect);
    bench.fake.behave();
    let seen = bench.fake.seen();
    assert!(seen.iter().all(|seen| seen.request == "GET /user"), "no redirect was followed");
    assert_eq!(seen.len(), 6, "nothing was asked twice");
    bench.fake.misbehave("GET /user", Manners::Throttled { retry_after: Some(7) });
    let parties = named([("it", acting("classic-token", &old))]);
    let answer = bench.call(at("classic-token", Verb::Probe, 0), json!({}), parties).await;
    assert_eq!(answer, Answer::Fault(Fault::Throttled(Some(7_000))));
    bench.fake.behave();
    assert_eq!(bench.probe("classic-token", &old).await, alive(1));
    bench.fake.revoke(&old);
    assert_eq!(bench.probe("classic-token", &old).await, DEAD);
}

#[tokio::test]
async fn fake_a_revocation_without_an_answer_may_have_happened() {
    let bench = Bench::start().await;
    let old = bench.fake.token(Prefix::Ghp, 1);
    bench.fake.misbehave("POST /credentials", Manners::ServerError);
    let answer = bench.revoke("classic-token", ALONE, &old).await;
    assert!(matches!(answer, Answer::Fault(Fault::Unknown(_))), "{answer:?}");
    bench.fake.behave();
    bench.fake.misbehave("POST /credentials", Manners::NotJson);
    let answer = bench.revoke("classic-token", ALONE, &old).await;
    assert_eq!(refused(&answer), (Reason::Refused, Some(200)), "not what GitHub says for yes");
    assert!(bench.fake.is_alive(&old));
}

#[tokio::test]
async fn nobody_there_means_that_nothing_was_sent() {
    let mut bench = Bench::start().await;
    bench.bases.insert("api".into(), "http://127.0.0.1:1".parse().unwrap());
    let answer = bench.revoke("classic-token", ALONE, "ghp_x").await;
    assert_eq!(answer, Answer::Fault(Fault::NotSent(Reason::Connect.into())));
}

#[tokio::test]
async fn fake_a_value_that_no_header_can_hold_is_not_sent() {
    let bench = Bench::start().await;
    for value in ["", "ghp_a\nb", "ghp_\u{e9}"] {
        assert_eq!(
            bench.probe("classic-token", value).await,
            Liveness::Unclear(Reason::Unexpected.into())
        );
        let answer = bench.revoke("classic-token", ALONE, value).await;
        assert_eq!(refused(&answer), (Reason::Unexpected, None));
    }
    assert_eq!(bench.fake.seen(), []);
}

#[tokio::test]
async fn fake_missing_parties_and_unknown_kinds_are_refused() {
    let bench = Bench::start().await;
    let call = async |kind: &str, verb, way| {
        refused(&bench.call(at(kind, verb, way), json!({}), named([])).await)
    };
    let missing = (Reason::MissingValue, None);
    assert_eq!(call("classic-token", Verb::Revoke, 0).await, missing);
    assert_eq!(call("oauth-token", Verb::Revoke, 0).await, missing);
    assert_eq!(call("deploy-key", Verb::Find, 0).await, missing);
    assert_eq!(call("classic-token", Verb::Issue, 0).await, (Reason::Unsupported, None));
    assert_eq!(call("made-up", Verb::Revoke, 0).await, (Reason::Unsupported, None));
}

/// What GitHub's description refuses, the fake refuses.
#[tokio::test]
async fn fake_the_description_is_held_against_every_request() {
    let bench = Bench::start().await;
    let http = rotate::provider::Clients::new().unwrap().calls().clone();
    let post = async |path: &str, body: Value| {
        let url = format!("{}{path}", bench.fake.base());
        http.post(url).json(&body).send().await.unwrap().status().as_u16()
    };
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    assert_eq!(post("/credentials/revoke", json!({ "credentials": ["x"] })).await, 202);
    for wrong in [
        json!({ "credentials": [] }),
        json!({ "credentials": "x" }),
        json!({ "credentials": [1] }),
        json!({ "credentials": many }),
        json!({ "creds": ["x"] }),
        json!({}),
    ] {
        assert_eq!(post("/credentials/revoke", wrong.clone()).await, 422, "{wrong}");
    }
    assert_eq!(post("/applications/c/token", json!({ "token": "x" })).await, 422);
    assert_eq!(post("/applications/c/token", json!({ "access_token": "x" })).await, 401);
    assert_eq!(post("/credentials", json!({})).await, 422, "no such operation");
}
