//! The native driver `oauth` against a real OpenID Connect server, asked directly before and after.
//!
//! What no well-behaved server does is done by `fake`s, at the end.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Form;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use regex::Regex;
use rotate::engine::call::{Answer, At, Fault, Identity, Liveness, Reason, Values, Verb, Why};
use rotate::engine::capability::Actor;
use rotate::provider::oauth::{Ask, Consent, Oauth};
use rotate::provider::{Acting, Bases, Clients, Driver, Reply, Secrets};
use rotate::secret::{Parts, Secret};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CLIENT: &str = "mail-agent";
const AUDITOR: &str = "auditor";
const INITIAL_ACCESS_TOKEN: &str = "made-up-initial-access-token";
const GARBAGE: &str = "Zm9yZ2VkLWJ5LW5vYm9keS1hdC1hbGwtMTIzNDU2Nzg";

/// node-oidc-provider on a port of its own; it ends when its standard input closes.
struct Oidc {
    issuer: String,
    child: Child,
}

impl Drop for Oidc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it, or says that it is not there; with `CI=true` that is a failure.
fn oidc() -> Option<Oidc> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = env::var_os("ROTATE_TEST_CACHE").map_or(root.join("tests/.cache"), Into::into);
    let packages = cache.join("npm/oidc/node_modules");
    if !packages.join("oidc-provider").is_dir() {
        assert!(env::var_os("CI").is_none_or(|it| it != "true"), "oidc-provider is missing");
        let _ = writeln!(std::io::stderr(), "skipped: oidc-provider is missing");
        return None;
    }
    let mut child = Command::new("node")
        .arg(root.join("tests/lab/oidc/server.mjs"))
        .arg(packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node starts");
    let output = BufReader::new(child.stdout.take().unwrap());
    let ready = output.lines().map_while(Result::ok).find(|line| line.starts_with("ready "));
    let issuer = ready.expect("the server is ready").split_off("ready ".len());
    Some(Oidc { issuer, child })
}

impl Oidc {
    /// Asks the server itself, as another client than the one that owns the token.
    async fn active(&self, token: &str) -> bool {
        let answer = reqwest::Client::new()
            .post(format!("{}/token/introspection", self.issuer))
            .basic_auth(AUDITOR, Some(secret_of(AUDITOR)))
            .form(&[("token", token)])
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["active"].as_bool().unwrap()
    }

    /// What the token endpoint says to these parameters, as this client.
    async fn token(&self, client: (&str, &str), form: &[(&str, &str)]) -> (u16, Value) {
        let answer = reqwest::Client::new()
            .post(format!("{}/token", self.issuer))
            .basic_auth(client.0, Some(client.1))
            .form(form)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn secret_of(client: &str) -> String {
    format!("{client}-made-up-secret-of-the-lab")
}

/// A driver and the issuer it is pointed at.
struct Bench {
    driver: Oauth,
    bases: Bases,
}

impl Bench {
    fn at(issuer: &str) -> Self {
        Self::with(issuer, None)
    }

    fn with(issuer: &str, consent: Option<Arc<dyn Consent>>) -> Self {
        let driver = Oauth::new(Arc::new(Clients::new().unwrap()), consent);
        Self { driver, bases: BTreeMap::from([("api".into(), issuer.parse().unwrap())]) }
    }

    async fn call(&self, at: At, values: Value, secrets: Secrets) -> Reply {
        let values: Values = serde_json::from_value(values).unwrap();
        self.driver.call(&self.bases, &at, &values, &secrets).await
    }

    async fn probe(&self, kind: &str, parts: Parts) -> Answer {
        self.probe_layer(kind, 0, parts).await
    }

    async fn probe_layer(&self, kind: &str, way: u16, parts: Parts) -> Answer {
        let at = At { way, ..at(kind, Verb::Probe) };
        let secrets = [("it", acting(kind, parts)), ("client", client(CLIENT))];
        self.call(at, json!({}), named(secrets)).await.answer
    }

    async fn revoke(&self, kind: &str, step: u16, parts: Parts) -> Answer {
        let at = At { step, ..at(kind, Verb::Revoke) };
        let secrets = [("old", acting(kind, parts)), ("client", client(CLIENT))];
        self.call(at, json!({}), named(secrets)).await.answer
    }

    async fn issue_client_token(&self) -> Parts {
        let secrets = named([("client", client(CLIENT))]);
        let reply = self.call(at("client-token", Verb::Issue), json!({}), secrets).await;
        assert!(matches!(reply.answer, Answer::Issued(_)), "{:?}", reply.answer);
        reply.brought.unwrap()
    }
}

fn at(kind: &str, verb: Verb) -> At {
    At { provider: "oauth".into(), kind: kind.into(), verb, way: 0, step: 0 }
}

fn acting(kind: &str, parts: Parts) -> Acting {
    Acting { provider: "oauth".into(), kind: kind.into(), vars: Values::new(), parts }
}

fn client(id: &str) -> Acting {
    let mut parts = secret(&secret_of(id));
    parts.public.insert("client_id".into(), id.into());
    acting("client", parts)
}

fn secret(text: &str) -> Parts {
    let mut parts = Parts::default();
    parts.secret.insert("secret".into(), Secret::from(text.to_owned()));
    parts
}

fn named<const N: usize>(parties: [(&str, Acting); N]) -> Secrets {
    parties.into_iter().map(|(name, acting)| (name.to_owned(), acting)).collect()
}

fn text<'a>(parts: &'a Parts, name: &str) -> &'a str {
    std::str::from_utf8(parts.secret[name].expose()).unwrap()
}

fn liveness(answer: Answer) -> Liveness {
    match answer {
        Answer::Saw(liveness, _) => liveness,
        other => panic!("no sight: {other:?}"),
    }
}

fn alive(who: &str) -> Liveness {
    Liveness::Alive(Identity(who.into()))
}

const DEAD: Liveness = Liveness::Dead { by_name: true };

fn unclear(answer: Answer) -> Reason {
    match liveness(answer) {
        Liveness::Unclear(why) => why.reason,
        other => panic!("clear: {other:?}"),
    }
}

fn refused(answer: Answer) -> Reason {
    match answer {
        Answer::Fault(Fault::Refused(why)) => why.reason,
        other => panic!("not refused: {other:?}"),
    }
}

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

/// A person who opens the page at once and consents, as somebody; and who was asked to wait.
struct Somebody {
    name: Option<&'static str>,
    asked: Mutex<Vec<(String, Option<String>)>>,
    waited: Mutex<Vec<Duration>>,
}

impl Somebody {
    fn consenting() -> Arc<Self> {
        let waited = Mutex::default();
        Arc::new(Self { name: Some("ana"), asked: Mutex::default(), waited })
    }

    fn absent() -> Arc<Self> {
        Arc::new(Self { name: None, asked: Mutex::default(), waited: Mutex::default() })
    }
}

#[async_trait]
impl Consent for Somebody {
    async fn show(&self, ask: &Ask) {
        assert!(ask.expires_in > Duration::ZERO);
        self.asked.lock().unwrap().push((ask.user_code.clone(), ask.label.clone()));
        let Some(name) = self.name else { return };
        let page = ask.verification_uri_complete.as_ref().unwrap();
        submit_forms(page.as_str(), name).await;
    }

    async fn pause(&self, wait: Duration) {
        self.waited.lock().unwrap().push(wait);
    }
}

/// Submits form after form, signing in by name, until a page has none.
async fn submit_forms(page: &str, name: &str) {
    let form = Regex::new(r#"<form[^>]*action="([^"]+)""#).unwrap();
    let input = Regex::new(r#"<input[^>]*name="([^"]+)"[^>]*>"#).unwrap();
    let value = Regex::new(r#"value="([^"]*)""#).unwrap();
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let mut html = browser.get(page).send().await.unwrap().text().await.unwrap();
    // Submit the code, confirm it, sign in, consent; a page more than needed is a loop.
    for _ in 0..5 {
        let Some(action) = form.captures(&html) else { break };
        let fields: Vec<(&str, &str)> = input
            .captures_iter(&html)
            .map(|field| {
                let whole = field.get(0).unwrap().as_str();
                let given = value.captures(whole).map(|it| it.get(1).unwrap().as_str());
                (field.get(1).unwrap().as_str(), given.unwrap_or(name))
            })
            .collect();
        let next = browser.post(&action[1]).form(&fields).send().await.unwrap();
        html = next.text().await.unwrap();
    }
    assert!(html.contains("Sign-in Success"), "the person did not come to the end");
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
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Bench::at(&format!("http://{free}"));
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
    let http = reqwest::Client::builder().dns_resolver(Arc::new(Nameless)).build().unwrap();
    let clients = Clients { calls: http.clone(), probes: http };
    bench.driver = Oauth::new(Arc::new(clients), None);
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Dns.into()));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
    // A label longer than 63 octets (RFC 1035) is no name at all.
    let bench = Bench::at(&format!("https://{}.invalid", "a".repeat(64)));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
}

#[tokio::test]
async fn a_server_without_tls_got_nothing() {
    let issuer = fake(ordinary, Router::new()).await;
    let bench = Bench::at(&issuer.replace("http://", "https://"));
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Tls.into()));
    assert_eq!(bench.revoke("client-token", 0, secret(GARBAGE)).await, not_sent);
}

#[tokio::test]
async fn plain_http_beyond_loopback_is_refused_before_anything_is_sent() {
    let bench = Bench::at("http://issuer.invalid");
    let ended = bench.revoke("client-token", 0, secret(GARBAGE)).await;
    assert_eq!(refused(ended), Reason::LeftBase);
}

// What the real server cannot do.

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

#[tokio::test]
async fn fake_that_does_not_rotate_cannot_roll() {
    for body in [
        json!({ "access_token": "a-new-access-token", "token_type": "bearer" }),
        json!({ "access_token": "a-new-access-token", "refresh_token": GARBAGE }),
    ] {
        let seen = Seen::default();
        let routes = answering(&seen, "/token", 200, &[], &body.to_string());
        let bench = Bench::at(&fake(ordinary, routes).await);
        let secrets =
            named([("old", acting("rotating-grant", secret(GARBAGE))), ("client", client(CLIENT))]);
        let reply = bench.call(at("rotating-grant", Verb::Roll), json!({}), secrets).await;
        assert_eq!(refused(reply.answer), Reason::Unsupported);
        assert!(reply.brought.is_none());
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
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

#[tokio::test]
async fn fake_without_refresh_tokens_leaves_no_token_alive() {
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
    assert_eq!(refused(reply.answer), Reason::Unsupported);
    let seen = seen.lock().unwrap();
    let (path, form, _) = seen.last().unwrap();
    assert_eq!((*path, form["token"].as_str()), ("/revoke", "only-an-access-token"));
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
