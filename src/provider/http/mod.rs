//! A provider file made live: one request per call, no retries, no sleeping, no logging of bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;
use zeroize::Zeroizing;

use super::spec::Spec;
use super::spec::call::CallSpec;
use super::spec::judge::{Answered, Seen};
use super::spec::kind::{Auth, Kind};
use super::spec::marker::Named;
use super::spec::shape::{Shape, alike, choose};
use super::{Acting, Driver, Provider, Reply, Secrets, SharedClients};
use crate::engine::call::{Answer, At, Fault, Identity, Liveness, Reason, Values, Verb, Why};
use crate::engine::capability::{Actor, PartType, ProviderCapability};
use crate::secret::{Parts, Secret};

mod address;
#[cfg(any(test, fuzzing))]
mod judged;
mod list;
mod login;
mod read;
mod render;
mod scene;
mod send;

use login::{Token, Tokens};
use render::Rendered;
use scene::Scene;
use send::Broken;

/// The wall clock, milliseconds since 1970: for expiries, and for delays given as a date.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// One provider at its address.
pub(crate) struct Live {
    pub(crate) spec: Arc<Spec>,
    pub(crate) capability: ProviderCapability,
    /// What the inventory says; these replace the file's.
    bases: BTreeMap<String, Url>,
    drivers: BTreeMap<String, Arc<dyn Driver>>,
    tokens: Tokens,
}

impl Live {
    pub(crate) fn new(
        spec: Arc<Spec>,
        capability: ProviderCapability,
        bases: BTreeMap<String, Url>,
        drivers: &BTreeMap<String, Arc<dyn Driver>>,
    ) -> Self {
        Self { spec, capability, bases, drivers: drivers.clone(), tokens: Tokens::default() }
    }

    fn kind(&self, name: &str) -> Option<&Kind> {
        self.spec.kinds.get(name).map(|kind| &**kind)
    }

    fn driver(&self, kind: &Kind) -> Option<&dyn Driver> {
        let name = kind.head.driver.as_ref()?;
        self.drivers.get(name).map(|driver| &**driver)
    }
}

/// A [`Provider`] made of a file.
pub struct SpecProvider {
    live: Arc<Live>,
    /// Every provider of the run: an admin may come from another file.
    all: Arc<BTreeMap<String, Arc<Live>>>,
    clients: SharedClients,
    now: Now,
}

#[async_trait]
impl Provider for SpecProvider {
    fn capability(&self) -> &ProviderCapability {
        &self.live.capability
    }

    async fn call(&self, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        let Some(kind) = self.live.kind(&at.kind) else {
            return refused(at.verb, Reason::Unsupported.into()).into();
        };
        let Some(ways) = kind.verbs.get(&at.verb) else {
            return self.native(kind, at, values, secrets).await;
        };
        let way = ways.get(usize::from(at.way));
        match way.and_then(|way| way.steps.get(usize::from(at.step))) {
            Some(call) => self.made(kind, call, at, values, secrets).await,
            None => refused(at.verb, Reason::Unsupported.into()).into(),
        }
    }

    fn split(&self, kind: &str, parts: &mut Parts) {
        if let Some(kind) = self.live.kind(kind) {
            split(kind, parts);
        }
    }

    fn made_up(&self, kind: &str, parts: &Parts) -> Parts {
        match self.live.kind(kind) {
            Some(kind) => made_up(kind, parts),
            None => parts.duplicate(),
        }
    }

    fn generate(&self, kind: &str) -> Option<Secret> {
        let rule = self.live.kind(kind)?.generate.as_ref()?;
        let value = choose(rule.length, &rule.alphabet, &mut rand::rng());
        Some(Secret::new(value.as_bytes().to_vec()))
    }
}

impl SpecProvider {
    pub(crate) fn new(
        live: Arc<Live>,
        all: Arc<BTreeMap<String, Arc<Live>>>,
        clients: SharedClients,
        now: Now,
    ) -> Self {
        Self { live, all, clients, now }
    }

    /// Hands a verb that the file does not write to the kind's driver.
    async fn native(&self, kind: &Kind, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        let Some(driver) = self.live.driver(kind) else {
            return refused(at.verb, Reason::Unsupported.into()).into();
        };
        match (address::bases(&self.live, values), &kind.consent) {
            (Ok(bases), Some(file)) if at.verb == Verb::Issue => {
                driver.consented(file, &bases, at, values, secrets).await
            }
            (Ok(bases), _) => driver.call(&bases, at, values, secrets).await,
            (Err(why), _) => refused(at.verb, why).into(),
        }
    }

    async fn made(
        &self,
        kind: &Kind,
        call: &CallSpec,
        at: &At,
        values: &Values,
        secrets: &Secrets,
    ) -> Reply {
        let mut scene = Scene::new(&self.live, kind, at.verb, values, secrets, (self.now)());
        if let Err(why) = self.cast(&mut scene, call) {
            return refused(at.verb, why).into();
        }
        match self.exchange(&mut scene, call).await {
            Ok(reply) => reply,
            Err(fault) => settled(at.verb, fault).into(),
        }
    }

    /// Finds who acts, and how that one shows itself.
    fn cast<'s>(&'s self, scene: &mut Scene<'s>, call: &'s CallSpec) -> Result<(), Why> {
        let key = call.actor.party();
        scene.actor = match &call.actor {
            Actor::None => None,
            Actor::Live => ["live", "new", "old"].iter().find_map(|key| scene.party(key)),
            _ => key.as_deref().and_then(|key| scene.party(key)),
        };
        if let Some(acting) = scene.actor {
            let home = self.all.get(&acting.provider).ok_or(Reason::Unsupported)?;
            scene.actor_home = Some(home);
            let kind = home.kind(&acting.kind).ok_or(Reason::Unsupported)?;
            scene.auth = call.auth.as_ref().or(kind.auth.as_ref());
        } else if call.actor == Actor::None {
            scene.auth = call.auth.as_ref();
        } else {
            return Err(Reason::MissingValue.into());
        }
        Ok(())
    }

    async fn exchange(&self, scene: &mut Scene<'_>, call: &CallSpec) -> Result<Reply, Fault> {
        let logs_in = wants_token(scene.auth, call);
        // A token that was minted before the revocation says nothing of the secret: a probe logs
        // in each time.
        let fresh = scene.verb == Verb::Probe;
        if logs_in {
            scene.token = Some(self.token(scene, fresh).await?);
        }
        let (answered, rendered) = match self.once(scene, call).await? {
            (answered, _) if answered.status == 401 && logs_in && !fresh => {
                scene.token = Some(self.token(scene, true).await?);
                self.once(scene, call).await?
            }
            first => first,
        };
        if scene.verb == Verb::Find {
            return Ok(self.list(scene, call, answered, rendered).await.into());
        }
        Ok(read::reply(scene, call, &answered))
    }

    async fn once(
        &self,
        scene: &Scene<'_>,
        call: &CallSpec,
    ) -> Result<(Answered, Rendered), Fault> {
        let rendered = render::request(scene, call).map_err(Fault::Refused)?;
        let answered = self.sent(scene.verb, &rendered).await?;
        Ok((answered, rendered))
    }

    async fn sent(&self, verb: Verb, rendered: &Rendered) -> Result<Answered, Fault> {
        let client = match verb {
            Verb::Probe => &self.clients.probes,
            _ => &self.clients.calls,
        };
        send::send(client, rendered).await.map_err(|broken| match broken {
            Broken::Before(why) => Fault::NotSent(why),
            Broken::After(why) => Fault::Unknown(why),
        })
    }

    /// What the acting credential's login gives: kept in memory, renewed when `fresh` is asked
    /// for. Nothing that goes wrong here is the subject's, and the call itself was not sent.
    async fn token(&self, scene: &Scene<'_>, fresh: bool) -> Result<Arc<Token>, Fault> {
        let (acting, home) = match (scene.actor, scene.actor_home) {
            (Some(acting), Some(home)) => (acting, home),
            _ => return Err(Fault::Refused(Reason::MissingValue.into())),
        };
        let client = match scene.verb {
            Verb::Probe => &self.clients.probes,
            _ => &self.clients.calls,
        };
        login::token(home, acting, client, (self.now)(), fresh).await
    }
}

/// A fault as the verb tells it: what goes wrong in a probe is no verdict.
fn settled(verb: Verb, fault: Fault) -> Answer {
    match fault {
        Fault::Unknown(why) | Fault::Refused(why) if verb == Verb::Probe => {
            Answer::Saw(Liveness::Unclear(why), Values::new())
        }
        other => Answer::Fault(other),
    }
}

fn refused(verb: Verb, why: Why) -> Answer {
    settled(verb, Fault::Refused(why))
}

/// What a probe saw, as the engine hears it.
fn liveness(seen: Seen, identity: String) -> Liveness {
    match seen {
        Seen::Alive => Liveness::Alive(Identity(identity)),
        Seen::Restricted => Liveness::Restricted(Identity(identity)),
        Seen::Dead { by_name } => Liveness::Dead { by_name },
    }
}

fn wants_token(auth: Option<&Auth>, call: &CallSpec) -> bool {
    let texts = auth.map(Auth::texts).unwrap_or_default();
    let mut markers = texts.into_iter().chain(call.texts()).flat_map(|text| text.markers());
    markers.any(|marker| matches!(marker.value, Named::Token(_)))
}

fn text_of(secret: &Secret) -> Option<&str> {
    std::str::from_utf8(secret.expose()).ok()
}

fn split(kind: &Kind, parts: &mut Parts) {
    let Some(value) = parts.secret.get("secret").and_then(text_of) else { return };
    let shapes = [kind.head.shape.as_ref(), kind.head.like.as_ref()];
    let Some(shape) = shapes.into_iter().flatten().find(|shape| shape.matches(value)) else {
        return;
    };
    let mut found = Parts::default();
    for (name, held) in shape.split(value) {
        match kind.head.parts.get(&name).map(|part| part.part.part_type) {
            Some(PartType::Secret) => {
                found.secret.insert(name, Secret::new(held.as_bytes().to_vec()));
            }
            Some(_) => drop(found.public.insert(name, held.into())),
            None => {}
        }
    }
    parts.absorb(found);
}

/// Every secret part replaced by one that nobody was given; public parts stay.
fn made_up(kind: &Kind, parts: &Parts) -> Parts {
    let mut fake = Parts { public: parts.public.clone(), ..Parts::default() };
    for (name, real) in &parts.secret {
        let group = kind.head.parts.get(name).is_some_and(|part| part.from_group);
        if !group {
            let shape = (name == "secret")
                .then_some(())
                .and(kind.head.shape.as_ref().or(kind.head.like.as_ref()));
            fake.secret.insert(name.clone(), another(shape, real, &fake.public));
        }
    }
    split(kind, &mut fake);
    fake
}

/// A value unlike the real one, of its shape where there is one.
fn another(shape: Option<&Shape>, real: &Secret, public: &Values) -> Secret {
    let mut random = rand::rng();
    let keep: BTreeMap<String, &str> =
        public.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?))).collect();
    // Eight draws: a shape that still gives the same value has next to no room.
    for _ in 0..8 {
        let drawn: Zeroizing<Vec<u8>> = match shape {
            Some(shape) => Zeroizing::new(shape.sample(&keep, &mut random).as_bytes().to_vec()),
            None => alike(real.expose(), &mut random),
        };
        if drawn.as_slice() != real.expose() && !drawn.is_empty() {
            return Secret::new(drawn.to_vec());
        }
    }
    let length = real.expose().len().max(16);
    let letters = choose(length, "abcdefghijklmnopqrstuvwxyz0123456789", &mut random);
    Secret::new(letters.as_bytes().to_vec())
}

/// Every secret part of a credential.
pub(crate) fn secrets_of(acting: &Acting) -> impl Iterator<Item = &Secret> {
    acting.parts.secret.values()
}

#[cfg(test)]
mod tests;
