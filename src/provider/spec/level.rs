//! What a file comes to: the capability the planner reads, its level, and its page for people.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{CallSpec, Target};
use super::kind::{Auth, Kind};
use super::marker::{Named, Party, Text, subject};
use super::verb::WaySpec;
use super::{Base, Spec};
use crate::engine::call::Verb;
use crate::engine::capability::{
    Actor, Effect, KindCapability, KindRef, ProviderCapability, Seen, StepCapability, Var, Way,
};
use crate::provider::Driver;

/// Finds native code by the name that a kind gives.
pub(crate) type Drivers<'d> = &'d dyn Fn(&str) -> Option<&'d dyn Driver>;

/// What the file can do by itself and with the drivers at hand.
pub(crate) fn capability(spec: &Spec, drivers: Drivers<'_>) -> ProviderCapability {
    let kind = |(name, kind): (&String, &std::sync::Arc<Kind>)| {
        (name.clone(), kind_capability(spec, kind, drivers))
    };
    ProviderCapability {
        id: spec.id.clone(),
        file: spec.id.clone(),
        name: spec.name.clone(),
        sha256: spec.sha256.clone(),
        hosts: hosts(spec),
        hosts_from_inventory: false,
        base_missing: matches!(spec.base, Base::Inventory),
        vars: vars(spec),
        limits: spec.limits.clone(),
        kinds: spec.kinds.iter().map(kind).collect(),
    }
}

/// Each var with the kinds that name it: in their calls or, where no call does, on their by-hand
/// pages. What a driver reads is not known here, so its kinds are asked for everything.
fn vars(spec: &Spec) -> BTreeMap<String, Var> {
    let mut vars = spec.vars.clone();
    for (name, var) in &mut vars {
        let kinds = |uses: &dyn Fn(&Kind) -> bool| -> Vec<String> {
            let named = spec.kinds.iter().filter(|(_, kind)| uses(kind));
            named.map(|(name, _)| name.clone()).collect()
        };
        var.kinds = kinds(&|kind| kind.head.driver.is_some() || in_calls(kind, name));
        if in_base(spec, name) {
            var.kinds = kinds(&|_| true);
        }
        if var.kinds.is_empty() {
            var.kinds = kinds(&|kind| by_hand(kind, name));
        }
    }
    vars
}

fn names(text: &Text, var: &str) -> bool {
    text.markers().any(|marker| matches!(&marker.value, Named::Var { name, .. } if name == var))
}

fn in_base(spec: &Spec, var: &str) -> bool {
    let Base::Fixed(named) = &spec.base else { return false };
    named.values().any(|text| names(text, var))
}

fn in_calls(kind: &Kind, var: &str) -> bool {
    let calls = kind.verbs.values().flatten().flat_map(|way| &way.steps);
    let texts = calls.flat_map(|call| {
        let own = call.auth.as_ref().into_iter().flat_map(Auth::texts);
        call.texts().into_iter().chain(own).collect::<Vec<_>>()
    });
    let auth = kind.auth.as_ref().into_iter().flat_map(Auth::texts);
    texts.chain(auth).any(|text| names(text, var))
}

fn by_hand(kind: &Kind, var: &str) -> bool {
    let marker = format!("{{{{ {var} }}}}");
    [&kind.issue_by_hand, &kind.revoke_by_hand]
        .into_iter()
        .flatten()
        .any(|page| page.at.contains(&marker) || page.action.contains(&marker))
}

/// Every host a secret can reach: a closed list is written out, an open label is a star.
fn hosts(spec: &Spec) -> Vec<String> {
    let Base::Fixed(named) = &spec.base else { return Vec::new() };
    let hosts: BTreeSet<String> = named.keys().flat_map(|base| hosts_of(spec, base)).collect();
    hosts.into_iter().collect()
}

pub(crate) fn hosts_of(spec: &Spec, base: &str) -> Vec<String> {
    let Base::Fixed(named) = &spec.base else { return Vec::new() };
    let mut hosts = BTreeSet::new();
    if let Some(text) = named.get(base) {
        let mut written = vec![String::new()];
        for piece in &text.0 {
            let pieces: Vec<String> = match piece {
                super::marker::Piece::Plain(plain) => vec![plain.clone()],
                super::marker::Piece::Marker(marker) => match &marker.value {
                    Named::Var { name, .. } => closed_list(spec, name),
                    _ => vec!["*".into()],
                },
            };
            let starts = std::mem::take(&mut written);
            for start in &starts {
                written.extend(pieces.iter().map(|piece| format!("{start}{piece}")));
            }
        }
        hosts.extend(written.iter().map(|address| {
            let host = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
            host.split('/').next().unwrap_or_default().to_owned()
        }));
    }
    hosts.into_iter().collect()
}

fn closed_list(spec: &Spec, var: &str) -> Vec<String> {
    match spec.vars.get(var) {
        Some(var) if !var.one_of.is_empty() => var.one_of.clone(),
        _ => vec!["*".into()],
    }
}

fn kind_capability(spec: &Spec, kind: &Kind, drivers: Drivers<'_>) -> KindCapability {
    let driver = kind.head.driver.as_deref().and_then(drivers);
    let mut verbs: BTreeMap<Verb, Vec<Way>> = BTreeMap::new();
    for (verb, ways) in &kind.verbs {
        verbs.insert(*verb, ways.iter().map(|way| way_of(spec, kind, *verb, way)).collect());
    }
    for (verb, ways) in driver.map(|driver| driver.ways(&kind.head.name)).unwrap_or_default() {
        // How a credential logs in is between the provider and its driver.
        if verb != Verb::Login {
            verbs.entry(verb).or_insert(ways);
        }
    }
    let asks = kind.consent.as_ref().and_then(|consent| driver?.consent(consent));
    if let Some(way) = asks {
        verbs.entry(Verb::Issue).or_insert(vec![way]);
    }
    let probe = kind.verbs.get(&Verb::Probe);
    let layers = || probe.into_iter().flatten().flat_map(|way| &way.steps);
    let named = || kind.verbs.values().flatten().flat_map(|way| &way.steps);
    let admin = admins(
        kind,
        named().filter_map(|call| match &call.actor {
            Actor::Admin(Some(name)) => Some(name.as_str()),
            _ => None,
        }),
    );
    KindCapability {
        class: kind.class,
        parts: kind.head.parts.iter().map(|(name, part)| (name.clone(), part.part)).collect(),
        generates: kind.generate.is_some(),
        admin,
        client: kind.head.client.clone(),
        order: kind.order,
        blast: kind.blast.clone(),
        overlap: kind.overlap,
        lives: kind.lives.clone(),
        minted: kind.minted.clone(),
        proof: kind.proof.clone(),
        warn: kind.warn.clone(),
        level: level(&verbs),
        effect: layers()
            .map(|call| call.effect)
            .max_by_key(|effect| weight(*effect))
            .unwrap_or(Effect::None),
        tells_identity: match probe {
            Some(_) => layers().any(|call| !call.classes.who.is_empty()),
            None => driver.is_some_and(|driver| driver.tells_identity(&kind.head.name)),
        },
        verbs,
        issue_by_hand: kind.issue_by_hand.clone(),
        revoke_by_hand: kind.revoke_by_hand.clone(),
    }
}

/// Where a call names its admin, every kind of a plain list stands under its own name too.
fn admins<'k>(kind: &Kind, named: impl Iterator<Item = &'k str>) -> BTreeMap<String, Vec<KindRef>> {
    let mut admin = kind.head.admin.clone();
    if named.count() > 0 {
        for plain in admin.remove("").unwrap_or_default() {
            admin.entry(plain.kind.clone()).or_default().push(plain);
        }
    }
    admin
}

fn weight(effect: Effect) -> u8 {
    match effect {
        Effect::None => 0,
        Effect::Extends => 1,
        Effect::Mints => 2,
        Effect::Costs => 3,
        Effect::Sends => 4,
    }
}

fn way_of(spec: &Spec, kind: &Kind, verb: Verb, way: &WaySpec) -> Way {
    let steps = way.steps.iter().map(|call| step_of(spec, kind, verb, call)).collect();
    let seen = way.steps.iter().map(|call| call.seen).fold(way.seen, Seen::min);
    Way { privilege: way.needs.clone(), blast: way.blast.clone(), ..Way::new(steps, seen) }
}

fn step_of(spec: &Spec, kind: &Kind, verb: Verb, call: &CallSpec) -> StepCapability {
    let mut parties = BTreeSet::new();
    let mut needs = BTreeSet::new();
    let mut texts = call.texts();
    let own = matches!(call.actor, Actor::It | Actor::Old | Actor::New | Actor::Live);
    let shown = call.auth.as_ref().or(kind.auth.as_ref().filter(|_| own));
    // A call's own `auth` without an actor speaks with the parts of the verb's subject.
    if call.auth.is_some() || own {
        texts.extend(shown.into_iter().flat_map(Auth::texts));
    }
    parties.extend(call.actor.party());
    for marker in texts.iter().flat_map(|text| text.markers()).chain(whole(&call.target)) {
        let (party, need) = claims(&marker.value, verb, call);
        parties.extend(party);
        needs.extend(need.filter(|_| !marker.optional));
    }
    let mut takes: BTreeSet<String> = call.take.keys().cloned().collect();
    // The old secret is compared with every row, where it is at hand.
    takes.extend(call.hint.as_ref().map(|_| "hint".to_owned()));
    let in_url = |text: &&Text| text.markers().any(|marker| marker.value.is_secret());
    let mut url: Vec<&Text> = call.query.iter().flat_map(|(_, json)| json.texts()).collect();
    if let Target::Path { path, .. } = &call.target {
        url.push(path);
    }
    if let Some(Auth::Query(list)) = shown.or_else(|| admin_auth(spec, kind, &call.actor)) {
        url.extend(list.iter().map(|(_, text)| text));
    }
    StepCapability {
        actor: call.actor.clone(),
        parties: parties.into_iter().collect(),
        needs: needs.into_iter().collect(),
        takes: takes.into_iter().collect(),
        again: call.again,
        secret_in_url: url.iter().any(in_url),
    }
}

fn whole(target: &Target) -> Option<&super::marker::Marker> {
    match target {
        Target::Whole(marker) => Some(marker),
        Target::Path { .. } => None,
    }
}

/// How the first kind that may act shows itself, where that is described in this file.
fn admin_auth<'s>(spec: &'s Spec, kind: &Kind, actor: &Actor) -> Option<&'s Auth> {
    let refs = match actor {
        Actor::Admin(_) => kind.head.admin.values().flatten().collect::<Vec<_>>(),
        Actor::Client => kind.head.client.iter().collect(),
        _ => return None,
    };
    let first = refs.into_iter().find(|r| r.file.is_none())?;
    spec.kinds.get(&first.kind)?.auth.as_ref()
}

/// The party whose bytes or vars a marker needs, and the public value it needs beyond vars.
fn claims(value: &Named, verb: Verb, call: &CallSpec) -> (Option<String>, Option<String>) {
    let key = |of: &Party| match of {
        Party::Subject => Some(subject(verb).to_owned()),
        Party::Acting => call.actor.party().or_else(|| Some(subject(verb).to_owned())),
        other => other.key(),
    };
    match value {
        Named::Part { of, secret: true, .. } | Named::Claim { of, .. } => (key(of), None),
        Named::Part { of: Party::Subject, name, .. } => (None, Some(name.clone())),
        Named::Part { of, .. } => (key(of), None),
        Named::Var { of: Party::Subject | Party::Acting, .. } => (None, None),
        Named::Var { of, .. } => (key(of), None),
        Named::Taken(name) => (None, Some(name.clone())),
        Named::Handle => (None, Some("handle".into())),
        Named::Label => (None, Some("label".into())),
        Named::Who => (None, Some("who".into())),
        Named::Expires(_) | Named::Ttl(_) => (None, Some("ttl".into())),
        Named::Token(_) | Named::Scopes | Named::Base | Named::Grace(_) | Named::Random => {
            (None, None)
        }
    }
}

impl Auth {
    pub(crate) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Bearer(text) => vec![text],
            Self::Basic(user, password) => vec![user, password],
            Self::Headers(list) | Self::Cookies(list) | Self::Query(list) => {
                list.iter().map(|(_, text)| text).collect()
            }
        }
    }
}

/// `full` (probe, and roll or issue with revoke), `revoke`, `probe-only` or `by-hand`; `self` where
/// the old one alone can end itself; `unchecked` where a verb that matters is from memory.
fn level(verbs: &BTreeMap<Verb, Vec<Way>>) -> String {
    let has = |verb| verbs.get(&verb).is_some_and(|ways| !ways.is_empty());
    let (probe, roll, revoke) = (has(Verb::Probe), has(Verb::Roll), has(Verb::Revoke));
    let replaces = roll || (has(Verb::Issue) && revoke);
    let mut words = vec![match (probe, replaces, revoke || roll) {
        (true, true, _) => "full",
        (_, _, true) => "revoke",
        (true, false, false) => "probe-only",
        (false, _, false) => "by-hand",
    }];
    let alone = |step: &StepCapability| step.parties.iter().all(|party| party == "old");
    let ways = verbs.get(&Verb::Revoke).into_iter().flatten();
    if ways.clone().any(|way| way.steps.iter().all(alone)) {
        words.push("self");
    }
    let matter = [Verb::Probe, Verb::Issue, Verb::Roll, Verb::Revoke];
    let ways = matter.iter().filter_map(|verb| verbs.get(verb)).flatten();
    if ways.clone().any(|way| way.seen == Seen::Memory) {
        words.push("unchecked");
    }
    words.join(", ")
}
