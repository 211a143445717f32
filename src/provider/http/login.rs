//! Actors that log in: a short token, in memory only, once per credential and base.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::{base, bases};
use super::render::request;
use super::scene::Scene;
use super::send::{Broken, send};
use super::{Live, text_of};
use crate::engine::call::{Answer, At, Fault, Reason, Values, Verb, Why};
use crate::provider::spec::judge::{self, Went, as_text, taken};
use crate::provider::spec::kind::Kind;
use crate::provider::{Acting, Secrets};
use crate::secret::{Parts, Secret};

/// A token is renewed this long before it ends: longer than any call takes.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// What a login gave.
pub(crate) struct Token {
    pub(crate) values: BTreeMap<String, Secret>,
    until: Option<Instant>,
}

type Slot = Arc<Mutex<Option<Arc<Token>>>>;

/// Tokens by credential and base; each waits for its own login alone.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<[u8; 32], Slot>>);

/// The token of an acting credential; `fresh` asks for a new one in any case.
pub(crate) async fn token(
    home: &Live,
    acting: &Acting,
    client: &reqwest::Client,
    now_ms: i64,
    fresh: bool,
) -> Result<Arc<Token>, Fault> {
    let kind = home.kind(&acting.kind).ok_or_else(|| refused(Reason::Unsupported, None))?;
    let key = key(home, acting);
    let slot = home.tokens.0.lock().await.entry(key).or_default().clone();
    let mut held = slot.lock().await;
    let lasts = |token: &Arc<Token>| token.until.is_none_or(|until| Instant::now() < until);
    if let Some(token) = held.as_ref().filter(|token| !fresh && lasts(token)) {
        return Ok(token.clone());
    }
    let token = Arc::new(match &kind.login {
        Some(_) => by_file(home, kind, acting, client, now_ms).await?,
        None => by_driver(home, kind, acting).await?,
    });
    *held = Some(token.clone());
    Ok(token)
}

/// Names a credential without holding it.
fn key(home: &Live, acting: &Acting) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(acting.kind.as_bytes());
    let address = base(home, "api", &acting.vars).map(String::from).unwrap_or_default();
    add(address.as_bytes());
    for (name, value) in acting.parts.public.iter().chain(&acting.vars) {
        add(name.as_bytes());
        add(value.to_string().as_bytes());
    }
    for (name, secret) in &acting.parts.secret {
        add(name.as_bytes());
        add(secret.expose());
    }
    hash.finalize().into()
}

fn refused(reason: Reason, status: Option<u16>) -> Fault {
    Fault::Refused(Why { reason, status, word: None })
}

async fn by_file(
    home: &Live,
    kind: &Kind,
    acting: &Acting,
    client: &reqwest::Client,
    now_ms: i64,
) -> Result<Token, Fault> {
    let Some(call) = &kind.login else { return Err(refused(Reason::Unsupported, None)) };
    let nobody = Secrets::new();
    let mut scene = Scene::new(home, kind, Verb::Login, &acting.vars, &nobody, now_ms);
    (scene.actor, scene.actor_home) = (Some(acting), Some(home));
    scene.auth = call.auth.as_ref();
    let rendered = request(&scene, call).map_err(Fault::Refused)?;
    // Whatever breaks here, the call that wanted the token was never sent.
    let answered = send(client, &rendered).await.map_err(|broken| match broken {
        Broken::Before(why) | Broken::After(why) => Fault::NotSent(why),
    })?;
    let vars = |name: &str| scene.var(name);
    if let Some(wait) = judge::limited(&home.spec.limited, &answered, &vars, now_ms) {
        return Err(Fault::Throttled(wait));
    }
    let status = Some(answered.status);
    if answered.status >= 500 {
        return Err(Fault::NotSent(Why { reason: Reason::Unexpected, status, word: None }));
    }
    if call.went(&answered, &vars) != Went::Ok {
        return Err(refused(Reason::ActorRefused, status));
    }
    let mut values = BTreeMap::new();
    let mut lives = None;
    for (name, taking) in &call.take {
        let value = taken(taking, answered.json(), &answered);
        if name == "lives" {
            lives = value.as_ref().and_then(seconds);
        } else if let Some(text) = value.as_ref().and_then(as_text) {
            values.insert(name.clone(), Secret::from(text));
        }
    }
    if values.is_empty() {
        return Err(refused(Reason::ActorRefused, status));
    }
    Ok(Token { values, until: until(lives) })
}

async fn by_driver(home: &Live, kind: &Kind, acting: &Acting) -> Result<Token, Fault> {
    let driver = home.driver(kind).ok_or_else(|| refused(Reason::Unsupported, None))?;
    let bases = bases(home, &acting.vars).map_err(Fault::Refused)?;
    let at = At {
        provider: acting.provider.clone(),
        kind: acting.kind.clone(),
        verb: Verb::Login,
        way: 0,
        step: 0,
    };
    let it = Acting {
        provider: acting.provider.clone(),
        kind: acting.kind.clone(),
        vars: acting.vars.clone(),
        parts: acting.parts.duplicate(),
    };
    let secrets = Secrets::from([("it".to_owned(), it)]);
    let reply = driver.call(&bases, &at, &acting.vars, &secrets).await;
    let public: Values = match reply.answer {
        Answer::Issued(holding) => holding.public,
        Answer::Took(values) => values,
        Answer::Fault(Fault::Refused(why)) => {
            return Err(Fault::Refused(Why { reason: Reason::ActorRefused, ..why }));
        }
        Answer::Fault(Fault::Unknown(why)) => return Err(Fault::NotSent(why)),
        Answer::Fault(fault) => return Err(fault),
        _ => Values::new(),
    };
    let Parts { secret: values, .. } = reply.brought.unwrap_or_default();
    if values.values().all(|value| text_of(value).is_none_or(str::is_empty)) {
        return Err(refused(Reason::ActorRefused, None));
    }
    Ok(Token { values, until: until(public.get("lives").and_then(seconds)) })
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

fn until(lives: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(lives?.saturating_sub(RENEW_BEFORE))
}
