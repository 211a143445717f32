//! A provider, and the disk of the agent's host, that can misbehave in every way that was ever seen
//! and always know the truth.

use std::collections::{BTreeMap, BTreeSet};

use rotate::engine::call::{
    Answer, Call, CallId, Delivery, Fault, Holding, Identity, Liveness, NotPlaced, Party,
    PlaceState, Placed, Reason, Request, Row, SecretId, Task, Time, Values, Verb,
};
use rotate::engine::capability::{Actor, Capabilities, StepCapability};
use rotate::engine::search::Scanned;
use rotate::inventory::SecretRef;
use serde_json::{Value, json};

/// One credential at the provider.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) handle: String,
    pub(crate) secret: u64,
    pub(crate) label: Option<String>,
    pub(crate) team: String,
    /// The handle of the client that it was issued to, to any other of which it does not exist.
    pub(crate) client: Option<String>,
    pub(crate) made: Time,
    /// When it was made, as its list shows it.
    pub(crate) dated: Option<String>,
    /// When its revocation was accepted.
    pub(crate) revoked: Option<Time>,
    /// From then on it is refused for good; none while it is not revoked, or for ever.
    pub(crate) dies: Option<Time>,
}

/// How the provider behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    /// Milliseconds from a call to its answer.
    pub(crate) latency: u64,
    /// A revoked key is accepted for so long.
    pub(crate) lag: u64,
    /// Meanwhile every second use of it is refused.
    pub(crate) flaps: bool,
    /// Revocations are accepted, and nothing happens.
    pub(crate) lies: bool,
    /// A made-up key is accepted like any other.
    pub(crate) blind: bool,
    /// Everybody is refused, in the provider's own words.
    pub(crate) outage: Option<(Time, Time)>,
    /// Nothing reaches it before then.
    pub(crate) unreachable_until: Time,
    /// So many issues are made whose answers are lost.
    pub(crate) lose_issues: u32,
    /// So many issues are lost on their way.
    pub(crate) lose_issue_requests: u32,
    /// So many revocations are made whose answers are lost.
    pub(crate) lose_revokes: u32,
    /// Every call is told to wait so long, until then.
    pub(crate) throttles: Option<(Time, Option<u64>)>,
    /// A revocation is told to wait after its first step, for ever.
    pub(crate) half_revokes: bool,
    /// A new key is listed only after so long.
    pub(crate) list_lag: u64,
    /// At most so many keys.
    pub(crate) cap: Option<usize>,
    /// A new key gets the handle of the one it replaces.
    pub(crate) reuses_handles: bool,
    /// This verb of this kind takes so long.
    pub(crate) slow: Option<(&'static str, Verb, u64)>,
    /// A revocation ends every key of the team.
    pub(crate) kills_team: bool,
    /// An issue waits so long for a person.
    pub(crate) person: u64,
    /// What it issues is accepted by nobody.
    pub(crate) duds: bool,
    /// These verbs are refused.
    pub(crate) refuses: Vec<Verb>,
    /// So many answers to this verb are cut off on their way.
    pub(crate) cuts: Option<(Verb, u32)>,
    /// These verbs never get an answer in time.
    pub(crate) hangs: Vec<Verb>,
    /// Why the first layer of a probe is not asked.
    pub(crate) first_layer: Option<Reason>,
}

pub(crate) struct Server {
    pub(crate) keys: Vec<Key>,
    pub(crate) places: BTreeMap<String, u64>,
    pub(crate) vault: BTreeMap<SecretId, u64>,
    pub(crate) manners: Manners,
    pub(crate) capabilities: Capabilities,
    pub(crate) unwritable: BTreeSet<String>,
    pub(crate) stop_fails: bool,
    /// Nothing that this provider is asked is answered in time.
    pub(crate) hanging_provider: Option<String>,
    pub(crate) now: Time,
    uses: BTreeMap<u64, u64>,
    made: u64,
}

/// How long a call takes, and what it comes to.
pub(crate) type Came = (u64, Answer);

const UNKNOWN: u64 = 20_000;

impl Server {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self {
            keys: Vec::new(),
            places: BTreeMap::new(),
            vault: BTreeMap::new(),
            manners: Manners { latency: 50, ..Manners::default() },
            capabilities,
            unwritable: BTreeSet::new(),
            stop_fails: false,
            hanging_provider: None,
            now: Time(0),
            uses: BTreeMap::new(),
            made: 0,
        }
    }

    /// A live key in a place.
    pub(crate) fn put(&mut self, place: &str, team: &str) -> u64 {
        let secret = self.make(None, team);
        self.places.insert(place.to_owned(), secret);
        secret
    }

    /// A live key nowhere in particular.
    pub(crate) fn make(&mut self, label: Option<String>, team: &str) -> u64 {
        self.made += 1;
        let handle = format!("key_{}", self.made);
        let secret = 1_000 + self.made;
        self.keys.push(Key {
            handle,
            secret,
            label,
            team: team.to_owned(),
            client: None,
            made: self.now,
            dated: None,
            revoked: None,
            dies: None,
        });
        secret
    }

    pub(crate) fn key(&self, secret: u64) -> Option<&Key> {
        self.keys.iter().find(|key| key.secret == secret)
    }

    /// Whether any replica would accept it now or later.
    pub(crate) fn lives(&self, secret: u64) -> bool {
        self.key(secret).is_some_and(|key| key.dies.is_none_or(|at| at > self.now))
    }

    /// A later run begins at its own time 0.
    pub(crate) fn grows_old(&mut self) {
        for key in &mut self.keys {
            key.made = Time(0);
            key.dies = key.dies.map(|at| Time(at.0.saturating_sub(self.now.0)));
        }
        self.now = Time(0);
    }

    pub(crate) fn kill(&mut self, secret: u64) {
        let now = self.now;
        for key in self.keys.iter_mut().filter(|key| key.secret == secret) {
            key.dies = Some(now);
        }
    }

    pub(crate) fn secret_of(&self, party: &Party) -> Option<u64> {
        self.vault.get(party.secrets.last()?).copied()
    }

    /// Makes a call.
    pub(crate) fn answer(&mut self, id: CallId, call: &Call, now: Time) -> Came {
        self.now = now;
        match &call.task {
            Task::Read { parts, .. } => {
                let found = parts.values().find_map(|place| self.places.get(&place.to_string()));
                (
                    5,
                    match found.copied() {
                        Some(secret) => self.hold(id, secret, None),
                        None => Answer::Fault(Fault::Refused(Reason::Unreadable.into())),
                    },
                )
            }
            Task::Generate { .. } => {
                self.made += 1;
                let secret = 1_000 + self.made;
                (1, self.hold(id, secret, None))
            }
            Task::Deliver(delivery) => (10, self.deliver(delivery)),
            Task::Stop { .. } if self.stop_fails => {
                (100, Answer::Fault(Fault::Refused(Reason::CommandFailed.into())))
            }
            Task::Stop { .. } => (100, Answer::Done),
            Task::Preserve { .. } => {
                let archive = "/var/evidence.age".to_owned();
                (1_500, Answer::Saved { archive, sha256: "ab".to_owned(), gaps: Vec::new() })
            }
            Task::Scan { .. } => (50, Answer::Scanned(Scanned::default())),
            Task::Ask(request) => {
                let (took, answer) = self.ask(id, request);
                match self.manners.slow {
                    Some((kind, verb, ms))
                        if kind == request.at.kind && verb == request.at.verb =>
                    {
                        (took.max(ms), answer)
                    }
                    _ => (took, answer),
                }
            }
        }
    }

    fn hold(&mut self, id: CallId, secret: u64, handle: Option<&str>) -> Answer {
        self.vault.insert(id.into(), secret);
        let public = handle.map(|handle| ("handle".to_owned(), json!(handle)));
        Answer::Held(Holding {
            fingerprint: format!("fp{secret}"),
            public: public.into_iter().collect(),
        })
    }

    fn deliver(&mut self, delivery: &Delivery) -> Answer {
        let new = self.secret_of(&delivery.new).expect("its bytes are held");
        let old = delivery.old.as_ref().and_then(|old| self.secret_of(old));
        let state = match (delivery.read_on_use, delivery.reload.is_empty()) {
            (true, _) => PlaceState::InUse,
            (false, false) => PlaceState::Reloaded,
            (false, true) => PlaceState::ReadBack,
        };
        let names = |set: &BTreeMap<_, SecretRef>| set.values().map(ToString::to_string).collect();
        let mut sets: Vec<Vec<String>> = delivery.places.iter().map(names).collect();
        if delivery.whole {
            sets = vec![sets.concat()];
        }
        let (mut placed, mut left) = (Vec::new(), Vec::new());
        for to in sets {
            let refusal = |place: &String| {
                let holds = self.places.get(place).copied();
                let expected =
                    [
                        Some(new),
                        old.or_else(|| {
                            if delivery.written.contains(place) { Some(new) } else { holds }
                        }),
                    ];
                let changed = holds.is_some() && !expected.contains(&holds);
                match self.unwritable.contains(place) {
                    true if holds != Some(new) => Some(Reason::Unwritable),
                    _ => changed.then_some(Reason::PlaceChanged),
                }
            };
            match to.iter().find_map(refusal) {
                Some(reason) => left.push(NotPlaced { to, why: reason.into(), unknown: false }),
                None => {
                    self.places.extend(to.iter().map(|place| (place.clone(), new)));
                    placed.extend(to.into_iter().map(|to| Placed { to, state }));
                }
            }
        }
        match (placed.as_slice(), left.as_slice()) {
            (_, []) => Answer::Placed(placed),
            ([], [one]) => Answer::Fault(Fault::Refused(one.why.clone())),
            _ => Answer::PlacedInPart { placed, left },
        }
    }

    pub(crate) fn step(&self, request: &Request) -> &StepCapability {
        let at = &request.at;
        let kind = &self.capabilities.providers[&at.provider].kinds[&at.kind];
        &kind.verbs[&at.verb][usize::from(at.way)].steps[usize::from(at.step)]
    }

    fn ask(&mut self, id: CallId, request: &Request) -> Came {
        let verb = request.at.verb;
        let latency = self.manners.latency;
        if self.now < self.manners.unreachable_until {
            return (latency, unclear(verb, Fault::NotSent(Reason::Connect.into())));
        }
        if let Some((until, wait)) = self.manners.throttles
            && self.now < until
        {
            return (latency, Answer::Fault(Fault::Throttled(wait)));
        }
        if self.manners.half_revokes && verb == Verb::Revoke && request.at.step > 0 {
            return (latency, Answer::Fault(Fault::Throttled(None)));
        }
        let hangs = self.hanging_provider.as_ref() == Some(&request.at.provider);
        if hangs || self.manners.hangs.contains(&verb) {
            let wait = request.deadline_ms;
            return (wait, unclear(verb, Fault::Unknown(Reason::Timeout.into())));
        }
        if let Some((cut, left @ 1..)) = &mut self.manners.cuts
            && *cut == verb
        {
            *left -= 1;
            return (latency, unclear(verb, Fault::Unknown(Reason::Reset.into())));
        }
        if self.manners.refuses.contains(&verb) {
            return (latency, Answer::Fault(Fault::Refused(Reason::Refused.into())));
        }
        if verb == Verb::Probe {
            return (latency, Answer::Saw(self.probe(request), Values::new()));
        }
        let actor = self.step(request).actor.clone();
        if !self.acts(&actor, request) {
            let gone = verb == Verb::Revoke && actor == Actor::Old;
            let refused = Answer::Fault(Fault::Refused(Reason::ActorRefused.into()));
            return (latency, if gone { Answer::Gone } else { refused });
        }
        match verb {
            Verb::Find => (latency, self.find(request)),
            Verb::Issue | Verb::Roll => self.issue(id, request),
            Verb::Revoke => self.revoke(request),
            _ => (latency, Answer::Done),
        }
    }

    /// Whether the acting credential is accepted now.
    fn acts(&mut self, actor: &Actor, request: &Request) -> bool {
        let name = match actor {
            Actor::None | Actor::It => return true,
            Actor::Old => "old",
            Actor::New => "new",
            Actor::Live => "live",
            Actor::Client => "client",
            Actor::Admin(_) => "admin",
        };
        let secret = request.parties.get(name).and_then(|party| self.secret_of(party));
        secret.is_some_and(|secret| self.accepts(secret))
    }

    /// Whether the client that asks, if one does, is another than the one it was issued to.
    fn belongs_to_another(&self, secret: u64, request: &Request) -> bool {
        let client = self.client_of(request);
        let owner = self.key(secret).and_then(|key| key.client.as_ref());
        client.zip(owner).is_some_and(|(client, owner)| client != *owner)
    }

    fn client_of(&self, request: &Request) -> Option<String> {
        let client = self.secret_of(request.parties.get("client")?)?;
        Some(self.key(client)?.handle.clone())
    }

    /// One use of a key.
    fn accepts(&mut self, secret: u64) -> bool {
        let uses = self.uses.entry(secret).or_default();
        *uses += 1;
        let odd = *uses % 2 == 1;
        if let Some((from, to)) = self.manners.outage
            && (from..to).contains(&self.now)
        {
            return false;
        }
        let Some(key) = self.key(secret) else { return self.manners.blind };
        let lives = key.dies.is_none_or(|at| at > self.now);
        lives && !(self.manners.flaps && key.revoked.is_some() && odd)
    }

    fn probe(&mut self, request: &Request) -> Liveness {
        if let Some(reason) = self.manners.first_layer.filter(|_| request.at.way == 0) {
            return Liveness::Unclear(reason.into());
        }
        let it = &request.parties["it"];
        let secret = if it.made_up { None } else { self.secret_of(it) };
        let who = secret.and_then(|secret| self.key(secret)).map(|key| key.team.clone());
        if secret.is_some_and(|secret| self.belongs_to_another(secret, request)) {
            Liveness::Dead { by_name: true }
        } else if self.accepts(secret.unwrap_or(0)) {
            Liveness::Alive(Identity(who.unwrap_or_default()))
        } else {
            Liveness::Dead { by_name: true }
        }
    }

    fn find(&self, request: &Request) -> Answer {
        let old = request.parties.get("old").and_then(|party| self.secret_of(party));
        let kind = &self.capabilities.providers[&request.at.provider].kinds[&request.at.kind];
        let shows = |name: &str| {
            let step = &kind.verbs[&Verb::Find][0].steps[0];
            step.takes.iter().any(|taken| taken == name)
        };
        let listed = |key: &&Key| {
            key.team != "root"
                && key.dies.is_none_or(|at| at > self.now)
                && (key.made == Time(0) || key.made.plus(self.manners.list_lag) <= self.now)
        };
        let rows = self.keys.iter().filter(listed).map(|key| Row {
            handle: key.handle.clone(),
            label: key.label.clone().filter(|_| shows("label")),
            hinted: Some(key.secret) == old,
            created: key.dated.clone(),
            ..Row::default()
        });
        Answer::Found { rows: rows.collect(), complete: true }
    }

    fn issue(&mut self, id: CallId, request: &Request) -> Came {
        let latency = self.manners.latency + self.manners.person;
        let unknown = Answer::Fault(Fault::Unknown(Reason::Timeout.into()));
        if self.manners.lose_issue_requests > 0 {
            self.manners.lose_issue_requests -= 1;
            return (UNKNOWN, unknown);
        }
        let living = self.keys.iter().filter(|key| key.dies.is_none_or(|at| at > self.now));
        if self.manners.cap.is_some_and(|cap| living.count() >= cap) {
            return (latency, Answer::Fault(Fault::Refused(Reason::Refused.into())));
        }
        let label = request.values.get("label").and_then(Value::as_str).map(str::to_owned);
        let old = request.parties.get("old").and_then(|party| self.secret_of(party));
        let team = old.and_then(|old| self.key(old)).map_or("team", |key| &key.team).to_owned();
        // A new one belongs to no team here: only the old ones die together.
        let team = if self.manners.kills_team { format!("new {}", self.made) } else { team };
        let chosen = request.parties.get("new").and_then(|party| self.secret_of(party));
        let secret = match chosen {
            Some(chosen) => {
                if self.key(chosen).is_none() {
                    self.make(label, &team);
                    let last = self.keys.last_mut().expect("one was made");
                    last.secret = chosen;
                }
                chosen
            }
            None => self.make(label, &team),
        };
        if let Some(client) = self.client_of(request) {
            self.keys.last_mut().expect("one was made").client = Some(client);
        }
        if self.manners.duds {
            self.kill(secret);
        }
        let replaced = old.and_then(|old| self.key(old)).map(|key| key.handle.clone());
        if let Some(replaced) = replaced.filter(|_| self.manners.reuses_handles) {
            self.keys.last_mut().expect("one was made").handle = replaced;
        }
        if request.at.verb == Verb::Roll
            && let Some(old) = old
        {
            let grace = request.values.get("grace").and_then(Value::as_u64).unwrap_or(0);
            let (now, lag) = (self.now, self.manners.lag);
            for key in self.keys.iter_mut().filter(|key| key.secret == old) {
                key.revoked = Some(now);
                key.dies = Some(now.plus(grace.min(60_000) + lag));
            }
        }
        if self.manners.lose_issues > 0 {
            self.manners.lose_issues -= 1;
            return (UNKNOWN, unknown);
        }
        let handle = self.key(secret).map(|key| key.handle.clone());
        let public = [("handle".to_owned(), json!(handle))].into();
        if chosen.is_some() {
            return (latency, Answer::Issued(Holding { fingerprint: String::new(), public }));
        }
        self.vault.insert(id.into(), secret);
        (latency, Answer::Issued(Holding { fingerprint: format!("fp{secret}"), public }))
    }

    fn revoke(&mut self, request: &Request) -> Came {
        let step = self.step(request).clone();
        let by_handle = step.needs.iter().any(|name| name == "handle");
        let old = request.parties.get("old").and_then(|party| self.secret_of(party));
        let handle = request.values.get("handle").and_then(Value::as_str).map(str::to_owned);
        let now = self.now;
        let victim = self.keys.iter().find(|key| {
            let lives = key.dies.is_none_or(|at| at > now);
            lives
                && if by_handle {
                    Some(&key.handle) == handle.as_ref()
                } else {
                    Some(key.secret) == old
                }
        });
        let latency = self.manners.latency;
        if old.is_some_and(|old| self.belongs_to_another(old, request)) {
            return (latency, Answer::Fault(Fault::Refused(Reason::Refused.into())));
        }
        let Some((secret, team)) = victim.map(|key| (key.secret, key.team.clone())) else {
            return (latency, Answer::Gone);
        };
        if !self.manners.lies {
            let (lag, kills_team) = (self.manners.lag, self.manners.kills_team);
            for key in &mut self.keys {
                let named = by_handle && Some(&key.handle) == handle.as_ref();
                let dies = named || key.secret == secret || (kills_team && key.team == team);
                if dies && key.revoked.is_none() {
                    key.revoked = Some(now);
                    key.dies = Some(now.plus(lag));
                }
            }
        }
        if self.manners.lose_revokes > 0 {
            self.manners.lose_revokes -= 1;
            return (UNKNOWN, Answer::Fault(Fault::Unknown(Reason::Timeout.into())));
        }
        (latency, Answer::Done)
    }
}

fn unclear(verb: Verb, fault: Fault) -> Answer {
    match (verb, fault) {
        (Verb::Probe, Fault::NotSent(why) | Fault::Unknown(why)) => {
            Answer::Saw(Liveness::Unclear(why), Values::new())
        }
        (_, fault) => Answer::Fault(fault),
    }
}
