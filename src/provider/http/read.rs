//! Answers as the engine hears them.

use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::scene::Scene;
use super::{liveness, secrets_of, split};
use crate::engine::call::{Answer, Fault, Holding, Liveness, Reason, Values, Verb, Why};
use crate::engine::capability::PartType;
use crate::provider::Reply;
use crate::provider::spec::call::CallSpec;
use crate::provider::spec::judge::{self, Answered, Seen, Went, as_text, contains, taken};
use crate::secret::{Parts, Secret};

/// Names the report knows; a row or an answer may lack them.
const MAY_LACK: [&str; 8] =
    ["label", "created", "used", "expires", "scopes", "status", "revoked", "lives"];

/// What an answer to anything but a list means.
pub(crate) fn reply(scene: &Scene<'_>, call: &CallSpec, answered: &Answered) -> Reply {
    if let Some(fault) = no_verdict(scene, call, answered) {
        return super::settled(scene.verb, fault).into();
    }
    if scene.verb == Verb::Probe {
        return probe(scene, call, answered).into();
    }
    let vars = |name: &str| scene.var(name);
    match call.went(answered, &vars) {
        Went::Ok => done(scene, call, answered),
        Went::Gone if reads(scene.verb) => refusal(scene, answered).into(),
        Went::Gone => Answer::Gone.into(),
        Went::Refused => refusal(scene, answered).into(),
    }
}

/// `limited`, 429 and 5xx: whatever the file says, these answer nothing.
pub(crate) fn no_verdict(scene: &Scene<'_>, call: &CallSpec, answered: &Answered) -> Option<Fault> {
    let vars = |name: &str| scene.var(name);
    let rules = &scene.live.spec.limited;
    if let Some(wait) = judge::limited(rules, answered, &vars, scene.now_ms) {
        return Some(Fault::Throttled(wait));
    }
    if answered.status < 500 {
        return None;
    }
    // 503 with a delay is a polite 429, where asking twice does no harm.
    let wait = judge::retry_after(answered, scene.now_ms);
    if answered.status == 503 && wait.is_some() && call.again {
        return Some(Fault::Throttled(wait));
    }
    Some(Fault::Unknown(why(Reason::Unexpected, scene, answered)))
}

fn reads(verb: Verb) -> bool {
    matches!(verb, Verb::Learn | Verb::Find)
}

/// The no of the other side, with its status and, where it is a plain word, its own name for it.
pub(crate) fn refusal(scene: &Scene<'_>, answered: &Answered) -> Answer {
    let reason = match answered.status {
        300..400 => Reason::Redirect,
        200..300 => Reason::Unexpected,
        _ => Reason::Refused,
    };
    let why = why(reason, scene, answered);
    // A yes of the wrong kind without a word in it: nobody knows what it came to.
    let says_nothing = reason == Reason::Unexpected && answered.json().is_none();
    let fault = match says_nothing && makes(scene.verb) {
        true => Fault::Unknown(why),
        false => Fault::Refused(why),
    };
    super::settled(scene.verb, fault)
}

pub(crate) fn why(reason: Reason, scene: &Scene<'_>, answered: &Answered) -> Why {
    let pointer = scene.live.spec.error.as_ref();
    let word = pointer.and_then(|pointer| pointer.of(answered.json()?)).and_then(as_text);
    let fits = |word: &String| {
        (1..=64).contains(&word.len())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
            && !echoes(scene, &[], &Value::from(word.as_str()))
    };
    Why { reason, status: Some(answered.status), word: word.filter(fits) }
}

fn probe(scene: &Scene<'_>, call: &CallSpec, answered: &Answered) -> Answer {
    let unclear =
        |reason| Answer::Saw(Liveness::Unclear(why(reason, scene, answered)), Values::new());
    let vars = |name: &str| scene.var(name);
    let Some(seen) = call.classes.of(answered, &vars) else {
        let redirect = (300..400).contains(&answered.status);
        return unclear(if redirect { Reason::Redirect } else { Reason::NoClass });
    };
    let identity = match (seen, call.classes.identity(answered)) {
        (_, Some(identity)) => identity,
        // Accepted as nobody in particular is accepted as somebody else.
        (Seen::Alive, None) => return unclear(Reason::SomebodyElse),
        (_, None) => String::new(),
    };
    if matches!(seen, Seen::Dead { .. }) {
        return Answer::Saw(liveness(seen, String::new()), Values::new());
    }
    let mut values = Values::new();
    for (name, taking) in &call.take {
        values.extend(taken(taking, answered.json(), answered).map(|value| (name.clone(), value)));
    }
    let echo = values.values().any(|value| echoes(scene, &[], value));
    if echo || echoes(scene, &[], &Value::from(identity.as_str())) {
        return unclear(Reason::Echo);
    }
    name_handle(scene, &mut values);
    Answer::Saw(liveness(seen, identity), values)
}

fn done(scene: &Scene<'_>, call: &CallSpec, answered: &Answered) -> Reply {
    if call.take.is_empty() && !makes(scene.verb) {
        let nothing = Values::new();
        return if reads(scene.verb) { Answer::Took(nothing) } else { Answer::Done }.into();
    }
    let vars = |name: &str| scene.var(name);
    let rows = call.rows(answered, &vars).unwrap_or_default();
    let row = match (rows.as_slice(), &call.rows) {
        ([row], _) => Some(*row),
        // What is taken may stand in headers alone.
        ([], None) => None,
        _ => return lacking(scene, answered),
    };
    let (mut values, mut parts) = (Values::new(), Parts::default());
    for (name, taking) in &call.take {
        let part = scene.kind.head.parts.get(name).map(|part| part.part);
        let secret = part.is_some_and(|part| part.part_type == PartType::Secret);
        match taken(taking, row, answered) {
            Some(value) if secret && makes(scene.verb) => {
                let text = as_text(&value).filter(|text| !text.is_empty());
                let Some(text) = text else { return lacking(scene, answered) };
                parts.secret.insert(name.clone(), Secret::from(text));
            }
            Some(value) => drop(values.insert(name.clone(), value)),
            None if part.is_some_and(|part| part.optional) => {}
            None if MAY_LACK.contains(&name.as_str()) => {}
            // New bytes are never given up for an id that is missing: that can be looked up.
            None if makes(scene.verb) && !secret => {}
            None => return lacking(scene, answered),
        }
    }
    finish(scene, values, parts)
}

fn finish(scene: &Scene<'_>, mut values: Values, mut parts: Parts) -> Reply {
    let live: Vec<&Secret> = parts.secret.values().collect();
    let echo = |value: &Value| echoes(scene, &live, value);
    if reads(scene.verb) && values.values().any(echo) {
        return Answer::Fault(Fault::Refused(Reason::Echo.into())).into();
    }
    // It is done and cannot be undone by refusing: what would write a secret down is left out.
    values.retain(|_, value| !echoes(scene, &live, value));
    name_handle(scene, &mut values);
    if !makes(scene.verb) {
        return Answer::Took(values).into();
    }
    for (name, value) in &values {
        if scene.kind.head.parts.contains_key(name) {
            parts.public.insert(name.clone(), value.clone());
        }
    }
    let brought = !parts.secret.is_empty();
    if brought {
        split(scene.kind, &mut parts);
        values.extend(parts.public.clone());
        name_handle(scene, &mut values);
    }
    let holding = Holding { fingerprint: String::new(), public: values };
    Reply { answer: Answer::Issued(holding), brought: brought.then_some(parts) }
}

fn makes(verb: Verb) -> bool {
    matches!(verb, Verb::Issue | Verb::Roll)
}

/// Done, it says, but what was to be taken is not in it.
fn lacking(scene: &Scene<'_>, answered: &Answered) -> Reply {
    let why = why(Reason::Unexpected, scene, answered);
    let fault = if reads(scene.verb) { Fault::Refused(why) } else { Fault::Unknown(why) };
    Answer::Fault(fault).into()
}

/// A part that is the provider's id is known as `handle` too.
fn name_handle(scene: &Scene<'_>, values: &mut Values) {
    let part = scene.kind.head.handle_part().and_then(|name| values.get(name)).cloned();
    if let Some(value) = part {
        values.entry("handle".into()).or_insert(value);
    }
}

/// Whether a value that is about to be written down holds a live secret: raw, percent-encoded or
/// in base64.
pub(crate) fn echoes(scene: &Scene<'_>, more: &[&Secret], value: &Value) -> bool {
    let Some(text) = as_text(value) else { return false };
    let acting = scene.secrets.values().flat_map(secrets_of);
    let token = scene.token.iter().flat_map(|token| token.values.values());
    let mut live = acting.chain(token).chain(more.iter().copied());
    live.any(|secret| holds(text.as_bytes(), secret.expose()))
}

fn holds(text: &[u8], secret: &[u8]) -> bool {
    // Shorter ones stand in any text by chance, and a text that short tells nobody a secret.
    if secret.len() < 6 {
        return text == secret;
    }
    // No form of a secret is shorter than it is.
    if text.len() < secret.len() {
        return false;
    }
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let coded = zeroize::Zeroizing::new(engine.encode(secret));
    // The last letter of base64 depends on what follows.
    let coded = coded.get(..coded.len().saturating_sub(1)).unwrap_or_default();
    let percent = std::str::from_utf8(secret).ok().map(|secret| {
        zeroize::Zeroizing::new(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string())
    });
    contains(text, secret)
        || contains(text, coded.as_bytes())
        || percent.is_some_and(|percent| contains(text, percent.as_bytes()))
}
