//! Rules that join several places of a file.

use std::collections::BTreeSet;

use super::call::CallSpec;
use super::example::Means;
use super::kind::{Kind, verb_at};
use super::reader::{Errors, did_you_mean};
use super::verb::{Consent, WaySpec, name_of};
use super::{Spec, marker};
use crate::engine::call::Verb;
use crate::engine::capability::{Actor, KindRef, Order, PartType};

/// Holds the whole file against itself and replays its examples.
pub(crate) fn check(spec: &Spec, errors: &Errors<'_>) {
    for kind in spec.kinds.values() {
        references(spec, kind, errors);
        physics(spec, kind, errors);
        for (verb, ways) in &kind.verbs {
            for (index, way) in ways.iter().enumerate() {
                check_way(spec, kind, *verb, (index, ways.len()), way, errors);
            }
        }
        login(kind, errors);
    }
    // What does not stand cannot be replayed.
    let examples = if errors.none() { spec.examples.as_slice() } else { &[] };
    spec.kinds.values().for_each(|kind| examples_of(spec, kind, errors));
    for example in examples {
        if let Err(mismatch) = example.replay(spec) {
            let hint = "change the file, or the example, to what the server really says";
            errors.hinted(example.span.clone(), format!("example fails: {mismatch}"), hint);
        }
    }
}

fn references(spec: &Spec, kind: &Kind, errors: &Errors<'_>) {
    let admins = kind.head.admin.values().flatten();
    for KindRef { file, kind: name } in admins.chain(&kind.head.client) {
        if file.is_none() && !spec.kinds.contains_key(name) {
            let at = errors.behind(&kind.span, &format!("\"{name}\""));
            let hint = did_you_mean(name, spec.kinds());
            errors.add(at, format!("there is no kind `{name}`"), hint);
        }
    }
    for name in &kind.blast.key {
        let known = name == "handle"
            || name == "who"
            || spec.vars.contains_key(name)
            || kind.head.takes.contains(name)
            || public_part(kind, name)
            || kind.head.client.iter().any(|r| match (&r.file, spec.kinds.get(&r.kind)) {
                (None, Some(client)) => public_part(client, name),
                _ => true,
            });
        if !known {
            let at = errors.behind(&kind.span, &format!("\"{name}\""));
            let vars = spec.vars.keys().map(String::as_str);
            errors.add(at, format!("`{name}` names no public value"), did_you_mean(name, vars));
        }
    }
    for (name, _) in kind.head.parts.iter().filter(|(name, _)| spec.vars.contains_key(*name)) {
        let hint = "rename one of them";
        let message = format!("`{name}` is a part of `{}` and a var", kind.head.name);
        errors.hinted(kind.span.clone(), message, hint);
    }
}

fn public_part(kind: &Kind, name: &str) -> bool {
    kind.head.parts.get(name).is_some_and(|part| part.part.part_type != PartType::Secret)
}

fn physics(spec: &Spec, kind: &Kind, errors: &Errors<'_>) {
    let name = &kind.head.name;
    let has = |verb| kind.verbs.contains_key(&verb);
    let at = || kind.span.clone();
    let by_hand = kind.issue_by_hand.is_some() && kind.revoke_by_hand.is_some();
    if !by_hand && (kind.acts() || !serves(spec, name)) {
        let hint = "add `[kind.X.by_hand]` with `issue` and `revoke`: where a person goes, and \
                    what to do there";
        errors.hinted(at(), format!("`{name}` does not say what a person does by hand"), hint);
    }
    if has(Verb::Roll) && !has(Verb::Issue) && kind.order != Order::Roll {
        let hint = "add `order = \"roll\"`";
        errors.hinted(
            at(),
            format!("`{name}` is renewed by one call, but its order differs"),
            hint,
        );
    }
    if kind.order == Order::Roll && has(Verb::Issue) && !has(Verb::Roll) {
        let hint = "use `issue-first`, `revoke-first` or `any`";
        errors.hinted(at(), format!("`{name}` has no `roll`, yet its order is `roll`"), hint);
    }
    if let Some(consent) = &kind.consent {
        consents(kind, consent, errors);
    }
    if has(Verb::Finish) && !has(Verb::Roll) && kind.head.driver.is_none() {
        let hint = "add a `roll`, or drop it";
        errors.hinted(at(), format!("`{name}` finishes a roll that it does not have"), hint);
    }
    if kind.generate.is_some() && !kind.head.parts.contains_key("secret") {
        let hint = "call the part that we choose `secret`";
        errors.hinted(at(), format!("`{name}` has no part `secret` to generate"), hint);
    }
}

/// A consent is asked for by native code, which knows the two tokens of RFC 6749 section 5.1.
fn consents(kind: &Kind, consent: &Consent, errors: &Errors<'_>) {
    let name = &kind.head.name;
    if kind.head.driver.is_none() {
        let hint = "add `driver = \"oauth\"`";
        errors.hinted(kind.span.clone(), format!("nothing asks for the consent of `{name}`"), hint);
    }
    if consent.token.is_none() || (consent.device.is_none() && consent.authorize.is_none()) {
        let hint = "name `token`, and `device` or `authorize`";
        errors.hinted(kind.span.clone(), format!("the consent of `{name}` leads nowhere"), hint);
    }
    let known = |pointer: &String| ["/refresh_token", "/access_token"].contains(&pointer.as_str());
    if !consent.take.contains_key("secret") || !consent.take.values().all(known) {
        let hint = "take `secret` from `/refresh_token` or `/access_token`";
        errors.hinted(kind.span.clone(), format!("the consent of `{name}` takes no token"), hint);
    }
}

/// Whether some kind lets this one stand as its admin or client.
fn serves(spec: &Spec, name: &str) -> bool {
    spec.kinds.values().any(|kind| {
        let mut refs = kind.head.admin.values().flatten().chain(&kind.head.client);
        refs.any(|r| r.file.is_none() && r.kind == name)
    })
}

fn check_way(
    spec: &Spec,
    kind: &Kind,
    verb: Verb,
    (index, ways): (usize, usize),
    way: &WaySpec,
    errors: &Errors<'_>,
) {
    let at = || place(kind, verb, errors);
    let mut taken = BTreeSet::new();
    for (step, call) in way.steps.iter().enumerate() {
        let name = verb_at(verb, index, ways, step, way.steps.len());
        // A way of another kind's verb that nobody here can make is passed over.
        if ways == 1 || !kind.borrowed.contains_key(&verb) {
            check_actor(spec, kind, call, &name, errors);
        }
        for part in call.take.keys() {
            taken.insert(part.as_str());
            let known = kind.head.parts.get(part);
            let secret = known.is_some_and(|known| known.part.part_type == PartType::Secret);
            if secret && !matches!(verb, Verb::Issue | Verb::Roll) {
                let hint = "only `issue` and `roll` take parts of a new credential";
                errors.hinted(at(), format!("`{name}` takes the secret `{part}`"), hint);
            }
        }
        check_random(kind, verb, call, &name, errors);
        let handle = call.take.contains_key("handle")
            || kind.head.handle_part().is_some_and(|part| call.take.contains_key(part));
        if verb == Verb::Find && !handle {
            let hint = "add `take = { handle = \"/id\" }`";
            errors.hinted(at(), format!("`{name}` lists rows without their handle"), hint);
        }
    }
    if matches!(verb, Verb::Issue | Verb::Roll) {
        for part in kind.head.brought() {
            let ours = kind.generate.is_some() && part == "secret";
            if !taken.contains(part) && !ours {
                let name = verb_at(verb, index, ways, 0, 1);
                let hint = format!("add `take = {{ {part} = \"/...\" }}`, or `generate`");
                let message = format!("`{name}` does not take the new `{part}`");
                errors.hinted(at(), message, &hint);
            }
        }
    }
}

/// `random` makes a value that nobody shall know: right for a revocation, a loss anywhere else.
fn check_random(kind: &Kind, verb: Verb, call: &CallSpec, name: &str, errors: &Errors<'_>) {
    let random =
        |text: &&marker::Text| text.markers().any(|marker| marker.value == marker::Named::Random);
    if call.texts().iter().any(random) && verb != Verb::Revoke {
        let hint = "use `generate` for a credential that is to be kept";
        let at = place(kind, verb, errors);
        errors.hinted(at, format!("`{name}` sends a random value nobody keeps"), hint);
    }
}

fn check_actor(spec: &Spec, kind: &Kind, call: &CallSpec, name: &str, errors: &Errors<'_>) {
    let at = || kind.span.clone();
    let head = &kind.head;
    let shows =
        |other: &Kind| other.auth.is_some() || other.head.driver.is_some() || call.auth.is_some();
    let mute = |other: &str| {
        let hint = format!("add `auth` to `{other}`, or say `as = \"none\"`");
        let message = format!("`{name}` is made by `{other}`, which has no `auth`");
        errors.hinted(at(), message, &hint);
    };
    let (refs, word): (Vec<&KindRef>, &str) = match &call.actor {
        Actor::None => return,
        Actor::It | Actor::Old | Actor::New | Actor::Live => {
            if !shows(kind) {
                mute(&head.name);
            }
            return;
        }
        Actor::Client => (head.client.iter().collect(), "client"),
        Actor::Admin(None) => (head.admin.values().flatten().collect(), "admin"),
        Actor::Admin(Some(named)) => {
            let all = head.admin.values().flatten();
            (all.filter(|r| head.admin.contains_key(named) || r.kind == *named).collect(), "admin")
        }
    };
    if refs.is_empty() && !matches!(call.actor, Actor::Admin(Some(_))) {
        let hint = format!("add `{word} = \"...\"`, or say who acts with `as`");
        let message = format!("`{name}` is made by the {word}, but `{}` names none", head.name);
        errors.hinted(at(), message, &hint);
    }
    let one_shows =
        |r: &&KindRef| r.file.is_some() || spec.kinds.get(&r.kind).is_none_or(|k| shows(k));
    if let (Some(first), false) = (refs.first(), refs.iter().any(one_shows)) {
        mute(&first.kind);
    }
}

fn login(kind: &Kind, errors: &Errors<'_>) {
    let Some(login) = &kind.login else { return };
    let at = || place(kind, Verb::Login, errors);
    if login.take.is_empty() {
        let hint = "add `take = { token = \"/access_token\", lives = \"/expires_in\" }`";
        errors.hinted(at(), "this login takes nothing", hint);
    }
    if login.actor != Actor::None {
        let hint = "put its parts into `form`, `json` or `auth`";
        errors.hinted(at(), "a login has no actor but the credential itself", hint);
    }
}

fn examples_of(spec: &Spec, kind: &Kind, errors: &Errors<'_>) {
    let own = kind.verbs.contains_key(&Verb::Probe) && !kind.borrowed.contains_key(&Verb::Probe);
    if !own {
        return;
    }
    for (means, word) in [(Means::Alive, "alive"), (Means::Dead, "dead")] {
        let shown = spec.examples.iter().any(|example| {
            example.kind == kind.head.name && example.verb == Verb::Probe && example.means == means
        });
        if !shown {
            let message = format!("no example shows the probe of `{}` {word}", kind.head.name);
            let hint = format!("add `[[example]]` with `means = \"{word}\"`");
            errors.hinted(place(kind, Verb::Probe, errors), message, &hint);
        }
    }
}

/// Where a verb of a kind is written, as near as its header tells.
fn place(kind: &Kind, verb: Verb, errors: &Errors<'_>) -> std::ops::Range<usize> {
    errors.header(&kind.head.name, name_of(verb)).unwrap_or_else(|| kind.span.clone())
}
