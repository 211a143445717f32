//! The server, the driver pointed at it, and a person who consents.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use regex::Regex;
use rotate::engine::call::{Answer, At, Fault, Identity, Liveness, Reason, Values, Verb};
use rotate::provider::oauth::{Ask, Consent, Means, Oauth, Shown};
use rotate::provider::{Acting, Bases, Clients, Driver, Reply, Secrets};
use rotate::secret::{Parts, Secret};
use serde_json::{Value, json};

pub(crate) const CLIENT: &str = "mail-agent";
pub(crate) const AUDITOR: &str = "auditor";
pub(crate) const INITIAL_ACCESS_TOKEN: &str = "made-up-initial-access-token";
pub(crate) const GARBAGE: &str = "Zm9yZ2VkLWJ5LW5vYm9keS1hdC1hbGwtMTIzNDU2Nzg";

/// node-oidc-provider on a port of its own; it ends when its standard input closes.
pub(crate) struct Oidc {
    pub(crate) issuer: String,
    pub(crate) child: Child,
}

impl Drop for Oidc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it, or says that it is not there; with `CI=true` that is a failure.
pub(crate) fn oidc() -> Option<Oidc> {
    // For the clients of these tests; it may be chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
    pub(crate) async fn active(&self, token: &str) -> bool {
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
    pub(crate) async fn token(&self, client: (&str, &str), form: &[(&str, &str)]) -> (u16, Value) {
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

pub(crate) fn secret_of(client: &str) -> String {
    format!("{client}-made-up-secret-of-the-lab")
}

/// A driver and the issuer it is pointed at.
pub(crate) struct Bench {
    pub(crate) driver: Oauth,
    pub(crate) bases: Bases,
}

impl Bench {
    pub(crate) fn at(issuer: &str) -> Self {
        Self::with(issuer, None)
    }

    pub(crate) fn with(issuer: &str, consent: Option<Arc<dyn Consent>>) -> Self {
        let driver = Oauth::new(Arc::new(Clients::new().unwrap()), consent);
        Self { driver, bases: BTreeMap::from([("api".into(), issuer.parse().unwrap())]) }
    }

    pub(crate) async fn call(&self, at: At, values: Value, secrets: Secrets) -> Reply {
        let values: Values = serde_json::from_value(values).unwrap();
        self.driver.call(&self.bases, &at, &values, &secrets).await
    }

    pub(crate) async fn probe(&self, kind: &str, parts: Parts) -> Answer {
        self.probe_layer(kind, 0, parts).await
    }

    pub(crate) async fn probe_layer(&self, kind: &str, way: u16, parts: Parts) -> Answer {
        let at = At { way, ..at(kind, Verb::Probe) };
        let secrets = [("it", acting(kind, parts)), ("client", client(CLIENT))];
        self.call(at, json!({}), named(secrets)).await.answer
    }

    pub(crate) async fn revoke(&self, kind: &str, step: u16, parts: Parts) -> Answer {
        let at = At { step, ..at(kind, Verb::Revoke) };
        let secrets = [("old", acting(kind, parts)), ("client", client(CLIENT))];
        self.call(at, json!({}), named(secrets)).await.answer
    }

    pub(crate) async fn issue_client_token(&self) -> Parts {
        let secrets = named([("client", client(CLIENT))]);
        let reply = self.call(at("client-token", Verb::Issue), json!({}), secrets).await;
        assert!(matches!(reply.answer, Answer::Issued(_)), "{:?}", reply.answer);
        reply.brought.unwrap()
    }
}

pub(crate) fn at(kind: &str, verb: Verb) -> At {
    At { provider: "oauth".into(), kind: kind.into(), verb, way: 0, step: 0 }
}

pub(crate) fn acting(kind: &str, parts: Parts) -> Acting {
    Acting { provider: "oauth".into(), kind: kind.into(), vars: Values::new(), parts }
}

pub(crate) fn client(id: &str) -> Acting {
    let mut parts = secret(&secret_of(id));
    parts.public.insert("client_id".into(), id.into());
    acting("client", parts)
}

pub(crate) fn secret(text: &str) -> Parts {
    let mut parts = Parts::default();
    parts.secret.insert("secret".into(), Secret::from(text.to_owned()));
    parts
}

pub(crate) fn named<const N: usize>(parties: [(&str, Acting); N]) -> Secrets {
    parties.into_iter().map(|(name, acting)| (name.to_owned(), acting)).collect()
}

pub(crate) fn text<'a>(parts: &'a Parts, name: &str) -> &'a str {
    std::str::from_utf8(parts.secret[name].expose()).unwrap()
}

pub(crate) fn liveness(answer: Answer) -> Liveness {
    match answer {
        Answer::Saw(liveness, _) => liveness,
        other => panic!("no sight: {other:?}"),
    }
}

pub(crate) fn alive(who: &str) -> Liveness {
    Liveness::Alive(Identity(who.into()))
}

pub(crate) const DEAD: Liveness = Liveness::Dead { by_name: true };

pub(crate) fn unclear(answer: Answer) -> Reason {
    match liveness(answer) {
        Liveness::Unclear(why) => why.reason,
        other => panic!("clear: {other:?}"),
    }
}

pub(crate) fn refused(answer: Answer) -> Reason {
    match answer {
        Answer::Fault(Fault::Refused(why)) => why.reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// A person who opens the page at once and consents, as somebody; and who was asked to wait.
pub(crate) struct Somebody {
    pub(crate) name: Option<&'static str>,
    pub(crate) asked: Mutex<Vec<(String, Option<String>)>>,
    pub(crate) waited: Mutex<Vec<Duration>>,
}

impl Somebody {
    pub(crate) fn consenting() -> Arc<Self> {
        let waited = Mutex::default();
        Arc::new(Self { name: Some("ana"), asked: Mutex::default(), waited })
    }

    pub(crate) fn absent() -> Arc<Self> {
        Arc::new(Self { name: None, asked: Mutex::default(), waited: Mutex::default() })
    }
}

#[async_trait]
impl Consent for Somebody {
    async fn show(&self, ask: &Ask) -> Shown {
        assert!(ask.expires_in > Duration::ZERO);
        let shown = match &ask.means {
            Means::Code { code, .. } => code.clone(),
            Means::Redirect { .. } => ask.page.to_string(),
        };
        self.asked.lock().unwrap().push((shown, ask.label.clone()));
        if let (Some(name), Means::Code { complete, .. }) = (self.name, &ask.means) {
            submit_forms(complete.as_ref().unwrap().as_str(), name).await;
        }
        Box::new(())
    }

    async fn pause(&self, wait: Duration) {
        self.waited.lock().unwrap().push(wait);
    }
}

/// Submits form after form, signing in by name, until a page has none.
pub(crate) async fn submit_forms(page: &str, name: &str) {
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
