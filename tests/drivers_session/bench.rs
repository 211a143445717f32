//! A driver at a site, and the parties that calls are made with.

use std::sync::Arc;

use rotate::engine::call::{Answer, At, Fault, Liveness, Reason, Row, Values, Verb};
use rotate::provider::{Acting, Bases, Clients, Driver as _, Reply, Secrets, WebSession};
use rotate::secret::{Parts, Secret};
use serde_json::{Value, json};

/// The ways of a revocation.
pub(crate) const BY_STORE: u16 = 0;
pub(crate) const BY_HANDLE: u16 = 1;
pub(crate) const BY_SIGN_OUT: u16 = 2;
pub(crate) const EVERYWHERE: u16 = 3;

/// One credential of one site.
pub(crate) struct Bench {
    driver: WebSession,
    bases: Bases,
    kind: &'static str,
    pub(crate) vars: Values,
    store: Option<Acting>,
    account: Option<Acting>,
}

impl Bench {
    /// `vars` is an object.
    pub(crate) fn new(kind: &'static str, site: &str, vars: &Value) -> Self {
        let clients = Arc::new(Clients::new().unwrap());
        let Value::Object(vars) = vars else { panic!("no vars") };
        Self {
            driver: WebSession::new(clients),
            bases: [("api".to_owned(), site.parse().unwrap())].into(),
            kind,
            vars: vars.clone().into_iter().collect(),
            store: None,
            account: None,
        }
    }

    /// With a store, and who may delete in it; a file needs nobody.
    pub(crate) fn with_store(mut self, address: &str, user: &str, password: &str) -> Self {
        self.bases.insert("store".to_owned(), address.parse().unwrap());
        let kind = if password.is_empty() { "session-file" } else { "session-store" };
        self.store = Some(acting(kind, &json!({ "username": user }), password));
        self
    }

    /// With an account to sign in with.
    pub(crate) fn with_account(mut self, user: &str, password: &str) -> Self {
        self.account = Some(acting("account", &json!({ "username": user }), password));
        self
    }

    /// The same driver at another page or path.
    pub(crate) fn set(&mut self, var: &str, value: &str) {
        self.vars.insert(var.to_owned(), value.into());
    }

    pub(crate) async fn reply(&self, verb: Verb, way: u16, party: &str, cookie: &str) -> Reply {
        let at = At { provider: "site".to_owned(), kind: self.kind.to_owned(), verb, way, step: 0 };
        let mut secrets = Secrets::new();
        if !cookie.is_empty() {
            secrets.insert(party.to_owned(), acting(self.kind, &json!({}), cookie));
        }
        for (name, admin) in [("admin.store", &self.store), ("admin.account", &self.account)] {
            secrets.extend(admin.as_ref().map(|it| (name.to_owned(), copy(it))));
        }
        self.driver.call(&self.bases, &at, &self.vars, &secrets).await
    }

    pub(crate) async fn probe(&self, cookie: &str) -> Answer {
        self.reply(Verb::Probe, 0, "it", cookie).await.answer
    }

    /// The identity that the cookie is accepted as.
    pub(crate) async fn alive(&self, cookie: &str) -> String {
        match self.probe(cookie).await {
            Answer::Saw(Liveness::Alive(identity), _) => identity.0,
            other => panic!("not alive: {other:?}"),
        }
    }

    pub(crate) async fn revoke(&self, way: u16, cookie: &str) -> Answer {
        self.reply(Verb::Revoke, way, "old", cookie).await.answer
    }

    /// The new cookie, and its handle.
    pub(crate) async fn issue(&self) -> Result<(String, Value), Answer> {
        let reply = self.reply(Verb::Issue, 0, "old", "").await;
        match (reply.answer, reply.brought) {
            (Answer::Issued(holding), Some(parts)) => {
                let cookie = parts.secret["secret"].expose().to_vec();
                let handle = holding.public.get("handle").cloned().unwrap_or_default();
                Ok((String::from_utf8(cookie).unwrap(), handle))
            }
            (answer, None) => Err(answer),
            (answer, Some(_)) => panic!("{answer:?}"),
        }
    }

    /// The user's sessions in the store.
    pub(crate) async fn rows(&self, old: &str) -> Vec<Row> {
        match self.reply(Verb::Find, 0, "old", old).await.answer {
            Answer::Found { rows, complete: true } => rows,
            other => panic!("{other:?}"),
        }
    }

    /// What the driver calls a session.
    pub(crate) async fn handle(&self, cookie: &str) -> Value {
        match self.reply(Verb::Learn, 0, "old", cookie).await.answer {
            Answer::Took(values) => values["handle"].clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn acting(kind: &str, vars: &Value, secret: &str) -> Acting {
    let Value::Object(vars) = vars else { panic!("no vars") };
    let mut parts = Parts::default();
    if !secret.is_empty() {
        parts.secret.insert("secret".to_owned(), Secret::from(secret.to_owned()));
    }
    let vars = vars.clone().into_iter().collect();
    Acting { provider: "site".to_owned(), kind: kind.to_owned(), vars, parts }
}

fn copy(acting: &Acting) -> Acting {
    Acting {
        provider: acting.provider.clone(),
        kind: acting.kind.clone(),
        vars: acting.vars.clone(),
        parts: acting.parts.duplicate(),
    }
}

/// Refused as the site refuses a visitor without cookies.
pub(crate) fn dead() -> Answer {
    Answer::Saw(Liveness::Dead { by_name: true }, Values::new())
}

/// Reason and word of a refusal.
pub(crate) fn refusal(answer: &Answer) -> (Reason, Option<u16>, Option<&str>) {
    match answer {
        Answer::Fault(Fault::Refused(why)) | Answer::Saw(Liveness::Unclear(why), _) => {
            (why.reason, why.status, why.word.as_deref())
        }
        other => panic!("not refused: {other:?}"),
    }
}
