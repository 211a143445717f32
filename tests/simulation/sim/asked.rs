//! What a provider does with a call that reached it.

use std::collections::BTreeMap;

use rotate::engine::call::{
    Answer, Fault, Holding, Identity, Liveness, Reason, Request, Row, Values, Verb,
};
use rotate::engine::capability::Actor;
use rotate::vault::Vault;
use serde_json::{Value, json};

use super::bench::{site_of, step};
use super::outside::{Inner, text, unclear};
use super::scenario::{Ms, Outage};
use super::site::{By, Key};

/// A call as the provider reads it.
pub(crate) struct Asked {
    pub(crate) site: usize,
    pub(crate) kind: String,
    pub(crate) verb: Verb,
    actor: Actor,
    by_handle: bool,
    /// The bytes of each that takes part; none for a made-up one.
    parties: BTreeMap<String, Option<String>>,
    values: Values,
}

/// The answer, and the secret in it.
pub(crate) type Came = (Answer, Option<String>);

impl Asked {
    pub(crate) fn of(request: &Request, vault: &Vault) -> Self {
        let at = &request.at;
        let step = step(at);
        let bytes = |party| vault.parts(party).ok().map(|parts| text(&parts));
        Self {
            site: site_of(&at.provider),
            kind: at.kind.clone(),
            verb: at.verb,
            actor: step.map_or(Actor::None, |step| step.actor.clone()),
            by_handle: step.is_some_and(|step| step.needs.iter().any(|name| name == "handle")),
            parties: request
                .parties
                .iter()
                .map(|(name, party)| {
                    (name.clone(), (!party.made_up).then(|| bytes(party)).flatten())
                })
                .collect(),
            values: request.values.clone(),
        }
    }

    fn party(&self, name: &str) -> Option<&str> {
        self.parties.get(name)?.as_deref()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    pub(crate) fn arrives(&self, inner: &mut Inner) -> Came {
        let now = inner.now();
        let Some(site) = inner.sites.get(self.site) else {
            return (Answer::Fault(Fault::NotSent(Reason::Connect.into())), None);
        };
        if site.down(now) == Some(Outage::BlockPage) {
            inner.totals.blocked += 1;
            let reason =
                if self.verb == Verb::Probe { Reason::NoClass } else { Reason::Unexpected };
            return (unclear(self.verb, Fault::Unknown(reason.into())), None);
        }
        if let Some((from, to, wait)) = site.manners.throttles
            && (from..to).contains(&now)
        {
            inner.totals.throttled += 1;
            return (Answer::Fault(Fault::Throttled(wait)), None);
        }
        if site.manners.refuses == Some(self.verb) && self.verb != Verb::Probe {
            return (Answer::Fault(Fault::Refused(Reason::Refused.into())), None);
        }
        // A refresh token that is used is spent, whatever comes of it.
        if self.kind == "refresh" && self.verb == Verb::Roll {
            return self.refresh(inner, now);
        }
        if !self.acts(inner, now) {
            return match (self.verb, &self.actor) {
                (Verb::Probe, _) => unclear_actor(),
                (Verb::Revoke, Actor::Old) => (Answer::Gone, None),
                _ => (Answer::Fault(Fault::Refused(Reason::ActorRefused.into())), None),
            };
        }
        match self.verb {
            Verb::Probe => (Answer::Saw(self.probe(inner, now), Values::new()), None),
            Verb::Find => (self.find(inner, now), None),
            Verb::Issue => self.issue(inner),
            Verb::Roll => self.roll(inner, now),
            Verb::Revoke => (self.revoke(inner, now), None),
            Verb::Evict => (self.evict(inner), None),
            _ => (Answer::Done, None),
        }
    }

    /// Whether whoever authenticates the call is accepted.
    fn acts(&self, inner: &mut Inner, now: Ms) -> bool {
        let name = match &self.actor {
            Actor::None | Actor::It => return true,
            Actor::Old => "old",
            Actor::New => "new",
            Actor::Live => "live",
            Actor::Client => "client",
            Actor::Admin(_) => "admin",
        };
        let Inner { sites, dice, .. } = inner;
        let secret = self.party(name);
        secret.is_some() && sites[self.site].accepts(secret, now, dice)
    }

    fn probe(&self, inner: &mut Inner, now: Ms) -> Liveness {
        let Inner { sites, dice, .. } = inner;
        let (site, it) = (&sites[self.site], self.party("it"));
        if site.accepts(it, now, dice) {
            let who = it.and_then(|it| site.key(it)).map(|key| key.owner.clone());
            Liveness::Alive(Identity(who.unwrap_or_default()))
        } else {
            Liveness::Dead { by_name: true }
        }
    }

    /// Whether lists of this kind show labels, and when a row was made.
    fn shows_labels(&self) -> bool {
        !matches!(self.kind.as_str(), "nameless" | "pair")
    }

    fn find(&self, inner: &Inner, now: Ms) -> Answer {
        let site = &inner.sites[self.site];
        let old = self.party("old");
        let lag = site.manners.list_lag;
        let shows_labels = self.shows_labels();
        let listed = |key: &&Key| key.kind == self.kind && key.is_listed(now, lag);
        let rows = site.keys.iter().filter(listed).map(|key| Row {
            handle: key.handle.clone(),
            label: key.label.clone().filter(|_| shows_labels),
            hinted: Some(key.secret.as_str()) == old,
            created: shows_labels.then(|| key.created.clone()),
            ..Row::default()
        });
        Answer::Found { rows: rows.collect(), complete: true }
    }

    fn issue(&self, inner: &mut Inner) -> Came {
        let (stamp, owner) = (inner.stamp(), self.owner(inner));
        let site = &mut inner.sites[self.site];
        let mine = |key: &&Key| key.kind == self.kind && key.owner == owner;
        let living = site.keys.iter().filter(mine).filter(|key| key.revoked.is_none()).count();
        if self.kind == "pair" && living >= 2 {
            return (Answer::Fault(Fault::Refused(Reason::Refused.into())), None);
        }
        let chosen = self.party("new").map(str::to_owned);
        if let Some(key) = chosen.as_deref().and_then(|chosen| site.key(chosen)) {
            // Setting the same password twice is setting it once.
            return (issued(&key.handle), None);
        }
        let reuses = site.manners.reuses_handles;
        let replaced = self.party("old").and_then(|old| site.key(old));
        let reused = replaced.filter(|_| reuses).map(|key| key.handle.clone());
        // Of the dead alone: no two that it knows have one handle. A list that shows no label either
        // would show nothing at all.
        let reused = reused.filter(|handle| {
            let free = |key: &Key| key.handle != *handle || key.revoked.is_some();
            self.shows_labels() && site.keys.iter().all(free)
        });
        let label = self.value("label").map(str::to_owned);
        let key = site.make(&self.kind, &owner, By::Us, label, stamp, chosen.clone());
        if let Some(handle) = reused {
            key.handle = handle;
        }
        let (handle, secret) = (key.handle.clone(), key.secret.clone());
        inner.totals.issued += 1;
        inner.tell(|| format!("   made {handle}"));
        (issued(&handle), chosen.is_none().then_some(secret))
    }

    fn owner(&self, inner: &Inner) -> String {
        let site = &inner.sites[self.site];
        let known = self.party("old").and_then(|old| site.key(old)).map(|key| key.owner.clone());
        let named = || self.value("owner").or(self.value("team")).map(str::to_owned);
        known.or_else(named).unwrap_or_else(|| "somebody".to_owned())
    }

    fn roll(&self, inner: &mut Inner, now: Ms) -> Came {
        let came = self.issue(inner);
        let grace = self.values.get("grace").and_then(Value::as_u64).unwrap_or(0);
        let Inner { sites, dice, .. } = inner;
        let site = &mut sites[self.site];
        if let Some(old) = self.party("old").and_then(|old| site.position(old)) {
            site.revoke(old, now + grace.min(60_000), dice);
        }
        came
    }

    fn refresh(&self, inner: &mut Inner, now: Ms) -> Came {
        let refused = (Answer::Fault(Fault::Refused(Reason::Refused.into())), None);
        let old = self.party("old").and_then(|old| inner.sites[self.site].position(old));
        let Some(old) = old else { return refused };
        if !inner.sites[self.site].spend(old, now) {
            return refused;
        }
        let came = self.issue(inner);
        inner.sites[self.site].end(old, now);
        came
    }

    fn revoke(&self, inner: &mut Inner, now: Ms) -> Answer {
        let victim = {
            let site = &inner.sites[self.site];
            let named = |key: &Key| Some(key.handle.as_str()) == self.value("handle");
            let same = |key: &Key| Some(key.secret.as_str()) == self.party("old");
            let lives = |key: &&Key| key.lives(now);
            let is = |key: &&Key| if self.by_handle { named(key) } else { same(key) };
            site.keys.iter().filter(lives).find(is).and_then(|key| site.position(&key.secret))
        };
        let Some(victim) = victim else { return Answer::Gone };
        let site = &inner.sites[self.site];
        let (handle, owner) = (site.keys[victim].handle.clone(), site.keys[victim].owner.clone());
        // One word by handle means every key of that handle.
        let also = |key: &Key| match self.kind.as_str() {
            // What takes its place is of no team; a new grant is one like the old.
            "team-key" => key.owner == owner && key.kind == self.kind && key.by != By::Us,
            "grant" => key.owner == owner && key.kind == self.kind,
            _ => self.by_handle && key.handle == handle,
        };
        let all: Vec<usize> = (0..site.keys.len())
            .filter(|at| *at == victim || (also(&site.keys[*at]) && site.keys[*at].lives(now)))
            .collect();
        for at in all {
            let Inner { sites, dice, watch, .. } = &mut *inner;
            watch.ends(&sites[self.site].keys[at], at == victim);
            sites[self.site].revoke(at, now, dice);
        }
        inner.totals.revoked += 1;
        Answer::Done
    }

    fn evict(&self, inner: &mut Inner) -> Answer {
        if let Some(old) = self.party("old").map(str::to_owned) {
            inner.sites[self.site].sessions.remove(&old);
        }
        Answer::Done
    }
}

fn issued(handle: &str) -> Answer {
    let public = [("handle".to_owned(), json!(handle))].into();
    Answer::Issued(Holding { fingerprint: String::new(), public })
}

fn unclear_actor() -> Came {
    (unclear(Verb::Probe, Fault::Refused(Reason::ActorRefused.into())), None)
}
