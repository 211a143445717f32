//! What an application or an installation signs.

use rotate::engine::call::{Answer, Identity, Liveness, Reason};
use serde_json::json;

use crate::bench::{
    Bench, DEAD, GRANT, TOKEN, accepted, acting, alive, at, client, named, refused,
};
use crate::lab::Prefix;
use rotate::engine::call::Verb;

#[tokio::test]
async fn fake_a_grant_ends_with_every_token_the_application_has_of_that_person() {
    let bench = Bench::start().await;
    let (app, other) = (bench.fake.client(), bench.fake.client());
    let old = bench.fake.granted(Prefix::Gho, 1, &app.0);
    let second = bench.fake.granted(Prefix::Gho, 1, &app.0);
    let somebody = bench.fake.granted(Prefix::Gho, 2, &app.0);
    let elsewhere = bench.fake.granted(Prefix::Gho, 1, &other.0);
    let parties = || named([("old", acting("oauth-token", &old)), ("client", client(&app))]);
    let answer = bench.revoke_with("oauth-token", GRANT, json!({}), parties()).await;
    assert_eq!(answer, Answer::Done);
    assert_eq!(bench.probe("oauth-token", &old).await, DEAD);
    assert_eq!(bench.probe("oauth-token", &second).await, DEAD);
    assert_eq!(bench.probe("oauth-token", &somebody).await, alive(2));
    assert_eq!(bench.probe("oauth-token", &elsewhere).await, alive(1));
    let again = bench.revoke_with("oauth-token", GRANT, json!({}), parties()).await;
    assert_eq!(refused(&again), (Reason::Refused, Some(404)), "and the next way settles it");
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_one_token_of_a_grant_ends_alone() {
    let bench = Bench::start().await;
    let app = bench.fake.client();
    let old = bench.fake.granted(Prefix::Ghu, 1, &app.0);
    let second = bench.fake.granted(Prefix::Ghu, 1, &app.0);
    let parties = named([("old", acting("app-user-token", &old)), ("client", client(&app))]);
    let answer = bench.revoke_with("app-user-token", TOKEN, json!({}), parties).await;
    assert_eq!(answer, Answer::Done);
    assert!(!bench.fake.is_alive(&old) && bench.fake.is_alive(&second));
}

#[tokio::test]
async fn fake_a_refused_application_says_nothing_of_the_token() {
    let bench = Bench::start().await;
    let app = bench.fake.client();
    let old = bench.fake.granted(Prefix::Gho, 1, &app.0);
    let wrong = client(&(app.0.clone(), "0".repeat(40)));
    let parties = named([("old", acting("oauth-token", &old)), ("client", wrong)]);
    let answer = bench.revoke_with("oauth-token", GRANT, json!({}), parties).await;
    assert_eq!(refused(&answer), (Reason::ActorRefused, Some(401)));
    assert!(bench.fake.is_alive(&old));
}

#[tokio::test]
async fn fake_an_application_is_known_by_what_it_may_ask() {
    let bench = Bench::start().await;
    let app = bench.fake.client();
    let sees = async |secret: &str| {
        let it = client(&(app.0.clone(), secret.to_owned()));
        let answer = bench.call(at("oauth-client", Verb::Probe, 0), json!({}), named([("it", it)]));
        match answer.await {
            Answer::Saw(liveness, _) => liveness,
            other => panic!("no sight: {other:?}"),
        }
    };
    assert_eq!(sees(&app.1).await, accepted());
    assert_eq!(sees(&"0".repeat(40)).await, DEAD);
    assert_eq!(bench.fake.malformed(), Vec::<String>::new(), "nobody's token is one by its sum");
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_an_installation_ends_its_own_token() {
    let bench = Bench::start().await;
    let old = bench.fake.token(Prefix::Ghs, 3);
    assert_eq!(bench.probe("installation-token", &old).await, accepted());
    let as_a_user = bench.probe("classic-token", &old).await;
    assert_eq!(as_a_user, Liveness::Restricted(Identity::default()), "accepted, without the right");
    assert_eq!(bench.revoke("installation-token", 0, &old).await, Answer::Done);
    assert_eq!(bench.probe("installation-token", &old).await, DEAD);
    assert_eq!(bench.revoke("installation-token", 0, &old).await, Answer::Gone);
    assert_eq!(bench.outside(), Vec::<String>::new());
}
