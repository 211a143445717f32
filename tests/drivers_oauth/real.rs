//! Against the real server, asked directly before and after.

use std::sync::Arc;
use std::time::Duration;

use rotate::engine::call::{Answer, Fault, Liveness, Reason, Verb, Why};
use rotate::engine::capability::Actor;
use rotate::provider::oauth::Oauth;
use rotate::provider::{Clients, Driver, Secrets};
use rotate::secret::{Parts, Secret};
use serde_json::json;

use crate::bench::*;
use crate::port::free_port;

#[tokio::test]
async fn learn_tells_what_the_issuer_offers() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    let reply = bench.call(at("client-token", Verb::Learn), json!({}), Secrets::new()).await;
    let Answer::Took(facts) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(facts["revocation_endpoint"], format!("{}/token/revocation", oidc.issuer));
    assert_eq!(facts["introspection_endpoint"], format!("{}/token/introspection", oidc.issuer));
    assert!(!facts.contains_key("unnamed_hosts"));
}

#[tokio::test]
async fn a_client_token_dies_by_revocation_and_its_successor_lives() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);

    let old = bench.issue_client_token().await;
    assert!(oidc.active(text(&old, "secret")).await);
    let Answer::Saw(seen, facts) = bench.probe("client-token", old.duplicate()).await else {
        panic!("no sight")
    };
    assert_eq!(seen, alive(CLIENT));
    assert!(facts["expires"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(liveness(bench.probe("client-token", secret(GARBAGE)).await), DEAD);

    assert_eq!(bench.revoke("client-token", 0, old.duplicate()).await, Answer::Done);
    assert!(!oidc.active(text(&old, "secret")).await);
    assert_eq!(liveness(bench.probe("client-token", old).await), DEAD);

    let new = bench.issue_client_token().await;
    assert!(oidc.active(text(&new, "secret")).await);
    assert_eq!(liveness(bench.probe("client-token", new).await), alive(CLIENT));
}

#[tokio::test]
async fn revoking_nonsense_is_accepted_and_so_proves_nothing() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, Answer::Done);
}

#[tokio::test]
async fn a_refused_client_says_nothing_of_the_token() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    let old = bench.issue_client_token().await;
    let burned = || {
        let mut client = client(CLIENT);
        client.parts.secret.insert("secret".into(), Secret::from("no-longer-this".to_owned()));
        client
    };

    let secrets = named([("it", acting("client-token", old.duplicate())), ("client", burned())]);
    let seen = bench.call(at("client-token", Verb::Probe), json!({}), secrets).await.answer;
    assert_eq!(unclear(seen), Reason::ActorRefused);

    let secrets = named([("old", acting("client-token", old.duplicate())), ("client", burned())]);
    let ended = bench.call(at("client-token", Verb::Revoke), json!({}), secrets).await.answer;
    let why = Why {
        reason: Reason::ActorRefused,
        status: Some(401),
        word: Some("invalid_client".into()),
    };
    assert_eq!(ended, Answer::Fault(Fault::Refused(why)));
    assert!(oidc.active(text(&old, "secret")).await);
}

#[tokio::test]
async fn a_client_is_seen_without_minting_anything() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    assert_eq!(liveness(bench.probe("client", client(CLIENT).parts).await), alive(CLIENT));
    let mut wrong = client(CLIENT).parts;
    wrong.absorb(secret(GARBAGE));
    assert_eq!(liveness(bench.probe("client", wrong).await), DEAD);
    // A public client has no secret that could be dead.
    let mut public = Parts::default();
    public.public.insert("client_id".into(), CLIENT.into());
    assert_eq!(unclear(bench.probe("client", public).await), Reason::MissingValue);
}

#[tokio::test]
async fn a_registered_client_ends_itself_and_its_tokens_live_on() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    let values = json!({
        "label": "rotate-test-1", "grant_types": ["client_credentials"], "redirect_uris": [],
    });
    let register = async || {
        let admin = acting("initial-access-token", secret(INITIAL_ACCESS_TOKEN));
        let reply = bench
            .call(at("registered-client", Verb::Issue), values.clone(), named([("admin", admin)]))
            .await;
        let Answer::Issued(holding) = reply.answer else { panic!("{:?}", reply.answer) };
        let parts = reply.brought.unwrap();
        assert_eq!(holding.public["handle"], parts.public["client_id"]);
        assert!(holding.fingerprint.is_empty());
        parts
    };

    let old = register().await;
    let id = old.public["client_id"].as_str().unwrap().to_owned();
    assert_eq!(liveness(bench.probe("registered-client", old.duplicate()).await), alive(&id));
    let pair = (id.as_str(), text(&old, "client_secret"));
    let form = [("grant_type", "client_credentials")];
    let (status, token) = oidc.token(pair, &form).await;
    assert_eq!(status, 200);

    let secrets = || named([("old", acting("registered-client", old.duplicate()))]);
    let delete = at("registered-client", Verb::Revoke);
    assert_eq!(bench.call(delete.clone(), json!({}), secrets()).await.answer, Answer::Done);
    let (status, refusal) = oidc.token(pair, &form).await;
    assert_eq!((status, &refusal["error"]), (401, &json!("invalid_client")));
    assert_eq!(liveness(bench.probe("registered-client", old.duplicate()).await), DEAD);
    // As `minted` in the provider file says: the client's tokens are not ended with it.
    assert!(oidc.active(token["access_token"].as_str().unwrap()).await);
    // Asked again after a lost answer, it is gone.
    assert_eq!(bench.call(delete, json!({}), secrets()).await.answer, Answer::Gone);

    let new = register().await;
    assert_ne!(new.public["client_id"], old.public["client_id"]);
    assert!(matches!(liveness(bench.probe("registered-client", new).await), Liveness::Alive(_)));
}

#[tokio::test]
async fn a_live_client_whose_registration_token_is_wrong_is_refused_and_not_gone() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    let mut parts = client(CLIENT).parts;
    let uri = format!("{}/reg/{CLIENT}", oidc.issuer);
    parts.public.insert("registration_client_uri".into(), uri.into());
    let token = Secret::from(GARBAGE.to_owned());
    parts.secret.insert("registration_access_token".into(), token);
    let secrets = named([("old", acting("registered-client", parts))]);
    let reply = bench.call(at("registered-client", Verb::Revoke), json!({}), secrets).await;
    assert_eq!(refused(reply.answer), Reason::ActorRefused);
    assert_eq!(liveness(bench.probe("client", client(CLIENT).parts).await), alive(CLIENT));
}

#[tokio::test]
async fn a_wrong_initial_access_token_registers_nothing() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    let admin = named([("admin", acting("initial-access-token", secret(GARBAGE)))]);
    let reply = bench.call(at("registered-client", Verb::Issue), json!({}), admin).await;
    assert_eq!(refused(reply.answer), Reason::ActorRefused);
}

async fn consent(bench: &Bench) -> Parts {
    let values = json!({ "label": "rotate-test-1", "scopes": ["openid", "offline_access"] });
    let secrets = named([("client", client(CLIENT))]);
    let reply = bench.call(at("grant", Verb::Issue), values, secrets).await;
    let Answer::Issued(holding) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(holding.public["scopes"], "openid offline_access");
    reply.brought.unwrap()
}

#[tokio::test]
async fn a_person_consents_and_the_grant_dies_whole() {
    let Some(oidc) = oidc() else { return };
    let person = Somebody::consenting();
    let bench = Bench::with(&oidc.issuer, Some(person.clone()));

    let old = consent(&bench).await;
    let asked = person.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1.as_deref(), Some("rotate-test-1"));
    for (layer, name) in [(0, "secret"), (1, "access")] {
        assert!(oidc.active(text(&old, name)).await, "{name}");
        let seen = bench.probe_layer("grant", layer, old.duplicate()).await;
        assert_eq!(liveness(seen), alive("ana via mail-agent"));
    }

    assert_eq!(bench.revoke("grant", 0, old.duplicate()).await, Answer::Done);
    assert_eq!(bench.revoke("grant", 1, old.duplicate()).await, Answer::Done);
    let new = consent(&bench).await;
    for (layer, name) in [(0, "secret"), (1, "access")] {
        assert!(!oidc.active(text(&old, name)).await, "{name}");
        let seen = bench.probe_layer("grant", layer, old.duplicate()).await;
        assert_eq!(liveness(seen), DEAD);
        assert!(oidc.active(text(&new, name)).await, "{name}");
        let seen = bench.probe_layer("grant", layer, new.duplicate()).await;
        assert_eq!(liveness(seen), alive("ana via mail-agent"));
    }
}

#[tokio::test]
async fn a_person_who_never_answers_is_waited_for_until_the_code_runs_out() {
    let Some(oidc) = oidc() else { return };
    let person = Somebody::absent();
    let bench = Bench::with(&oidc.issuer, Some(person.clone()));
    let secrets = named([("client", client(CLIENT))]);
    let reply =
        bench.call(at("grant", Verb::Issue), json!({ "scopes": ["openid"] }), secrets).await;
    let why =
        Why { reason: Reason::Refused, status: Some(400), word: Some("expired_token".into()) };
    assert_eq!(reply.answer, Answer::Fault(Fault::Refused(why)));
    let waited = person.waited.lock().unwrap();
    // The server's codes live for ten minutes, and it names no interval: RFC 8628 takes 5 s.
    assert!(waited.iter().all(|wait| *wait == Duration::from_secs(5)));
    assert_eq!(waited.iter().sum::<Duration>(), Duration::from_secs(605));
}

#[tokio::test]
async fn without_anybody_to_ask_a_grant_is_issued_by_hand() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::at(&oidc.issuer);
    assert!(!bench.driver.ways("grant").contains_key(&Verb::Issue));
    let secrets = named([("client", client(CLIENT))]);
    let reply = bench.call(at("grant", Verb::Issue), json!({}), secrets).await;
    assert_eq!(refused(reply.answer), Reason::Unsupported);
}

#[tokio::test]
async fn a_roll_spends_the_old_refresh_token_and_nothing_of_ours_shows_it_again() {
    let Some(oidc) = oidc() else { return };
    let bench = Bench::with(&oidc.issuer, Some(Somebody::consenting()));
    let old = consent(&bench).await;
    let roll = async |parts: Parts| {
        let secrets = named([("old", acting("rotating-grant", parts)), ("client", client(CLIENT))]);
        bench.call(at("rotating-grant", Verb::Roll), json!({}), secrets).await
    };

    let reply = roll(old.duplicate()).await;
    assert!(matches!(reply.answer, Answer::Issued(_)), "{:?}", reply.answer);
    let new = reply.brought.unwrap();
    assert!(!new.secret["secret"].same(&old.secret["secret"]));

    // Looking at the old one, however often, leaves the new one alive: it is never shown as one.
    for _ in 0..3 {
        let seen = bench.probe("rotating-grant", old.duplicate()).await;
        assert_eq!(liveness(seen), DEAD);
        let seen = bench.probe("rotating-grant", new.duplicate()).await;
        assert_eq!(liveness(seen), alive("ana via mail-agent"));
    }
    assert!(oidc.active(text(&new, "secret")).await);
    // As `minted` in the provider file says.
    assert!(oidc.active(text(&old, "access")).await);

    // Whoever else shows the old one again ends the family: this is what probing by use would do.
    let shown = [("grant_type", "refresh_token"), ("refresh_token", text(&old, "secret"))];
    let (status, refusal) = oidc.token((CLIENT, &secret_of(CLIENT)), &shown).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("invalid_grant")));
    assert_eq!(liveness(bench.probe("rotating-grant", new.duplicate()).await), DEAD);
    // And a roll from a dead one is news, not a failure.
    assert_eq!(roll(new).await.answer, Answer::Gone);
}

#[tokio::test]
async fn the_plan_knows_who_acts() {
    let bench = Bench::with("http://127.0.0.1:9", Some(Somebody::absent()));
    let actor = |kind: &str, verb| {
        let ways = bench.driver.ways(kind);
        ways[&verb].iter().map(|way| way.steps[0].actor.clone()).collect::<Vec<_>>()
    };
    assert_eq!(actor("grant", Verb::Probe), [Actor::Client, Actor::Client]);
    assert_eq!(actor("rotating-grant", Verb::Roll), [Actor::Old]);
    assert_eq!(actor("registered-client", Verb::Revoke), [Actor::Old]);
    assert_eq!(actor("registered-client", Verb::Issue), [Actor::Admin(None)]);
    assert!(!bench.driver.ways("rotating-grant").contains_key(&Verb::Issue));
    assert!(bench.driver.ways("no-such-kind").is_empty());
    // What spends or makes something is not sent again after a lost answer.
    for (kind, verb) in [
        ("grant", Verb::Issue),
        ("rotating-grant", Verb::Roll),
        ("client-token", Verb::Issue),
        ("registered-client", Verb::Issue),
    ] {
        assert!(!bench.driver.ways(kind)[&verb][0].steps[0].again, "{kind}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_got_nothing() {
    let bench = Bench::at(&format!("http://127.0.0.1:{}", free_port()));
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Connect.into()));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
    let seen = bench.probe("client-token", secret(GARBAGE)).await;
    assert_eq!(unclear(seen), Reason::Connect);
}

/// A resolver that knows no name.
struct Nameless;

impl reqwest::dns::Resolve for Nameless {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_got_nothing() {
    let mut bench = Bench::at("https://issuer.invalid");
    let clients = Clients::from_recipe(|http| http.dns_resolver(Arc::new(Nameless))).unwrap();
    bench.driver = Oauth::new(Arc::new(clients), None);
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Dns.into()));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
    // A label longer than 63 octets (RFC 1035) is no name at all.
    let bench = Bench::at(&format!("https://{}.invalid", "a".repeat(64)));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
}

#[tokio::test]
async fn plain_http_beyond_loopback_is_refused_before_anything_is_sent() {
    let bench = Bench::at("http://issuer.invalid");
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::LeftBase);
}
