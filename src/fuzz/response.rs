//! An answer of a server. First line: provider, kind, verb, way and step (from 0); then the status;
//! then headers as on the wire, an empty line and the body. `{SECRET}` in it is the secret that
//! was sent, `{BASE64}` and `{PERCENT}` the same in those forms.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{catalog, clients, now};
use crate::engine::call::{Answer, At, Fault, Liveness, Values, Verb};
use crate::engine::capability::{PartType, Seen};
use crate::provider::catalog::BUILTIN;
use crate::provider::http::{Live, SpecProvider};
use crate::provider::spec::judge::{Answered, as_text};
use crate::provider::spec::{Example, Means, Spec, capability, check};
use crate::provider::{Acting, Bases, Reply, Secrets};
use crate::secret::{Parts, Secret};

/// Shows itself in a text by chance never, and differs from its own percent-encoding.
const SECRET: &str = "canary/Zq3+vX9";
const PERCENT: &str = "canary%2FZq3%2BvX9";

/// An answer means one thing, the same by both ways of reading it, and what is written down of it
/// holds no secret.
pub fn response(data: &[u8]) {
    let Some((at, answer)) = request(data) else { return };
    let providers = providers();
    let Some(provider) = providers.get(&at.provider) else { return };
    let Some(spec) = catalog().specs().find(|spec| spec.id == at.provider) else { return };
    let values = values(spec);
    let secrets = parties(spec, &at, &values);
    let answered = || {
        let body = Zeroizing::new(answer.body.clone().into_bytes());
        Answered::new(answer.status, answer.headers.clone(), body)
    };
    let Some(reply) = provider.judged(&at, &values, &secrets, &answered()) else { return };
    let means = meaning(spec, &at, &values, &answer);
    assert_no_secret(&reply);
    assert_says(&reply.answer, means, answer.status, at.verb);
}

/// What a server said.
struct Said {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn request(data: &[u8]) -> Option<(At, Said)> {
    let text = std::str::from_utf8(data).ok()?;
    let (first, rest) = text.split_once('\n')?;
    let (status, rest) = rest.split_once('\n')?;
    let mut words = first.split(' ');
    let (provider, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
    let verb: Verb = serde_json::from_value(Value::from(words.next()?)).ok()?;
    let mut number = || words.next().map_or(Some(0), |word| word.parse().ok());
    let at = At { provider, kind, verb, way: number()?, step: number()? };
    let status = status.parse().ok().filter(|status| (100..1000).contains(status))?;
    let empty = rest.strip_prefix('\n').map(|body| ("", body));
    let (head, body) = empty.or(rest.split_once("\n\n")).unwrap_or((rest, ""));
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), said(value.trim())))
    };
    let headers = head.lines().filter_map(header).collect();
    Some((at, Said { status, headers, body: said(body) }))
}

fn said(text: &str) -> String {
    text.replace("{SECRET}", SECRET).replace("{BASE64}", &coded()).replace("{PERCENT}", PERCENT)
}

fn coded() -> String {
    base64::engine::general_purpose::STANDARD.encode(SECRET)
}

/// Every provider at addresses that nobody has.
fn providers() -> &'static BTreeMap<String, SpecProvider> {
    static PROVIDERS: OnceLock<BTreeMap<String, SpecProvider>> = OnceLock::new();
    PROVIDERS.get_or_init(|| {
        let (none, clients) = (BTreeMap::new(), clients());
        let live = |(id, text): &(&str, &str)| {
            let spec = Arc::new(check(text, &format!("{id}.toml")).unwrap());
            let base = |name: &str| {
                let url = format!("https://{name}.example.com/").parse().unwrap();
                (name.to_owned(), url)
            };
            let bases: Bases = spec.bases().into_iter().map(base).collect();
            let can = capability(&spec, &|_| None);
            ((*id).to_owned(), Arc::new(Live::new(spec, can, bases, &none)))
        };
        let all: Arc<BTreeMap<_, _>> = Arc::new(BUILTIN.iter().map(live).collect());
        let provider = |(id, live): (&String, &Arc<Live>)| {
            let (live, all) = (Arc::clone(live), Arc::clone(&all));
            (id.clone(), SpecProvider::new(live, all, Arc::clone(&clients), now()))
        };
        all.iter().map(provider).collect()
    })
}

fn values(spec: &Spec) -> Values {
    let var = |(name, var): (&String, &crate::engine::capability::Var)| {
        let first = || var.one_of.first().cloned().map(Value::from);
        let value = var.default.clone().or_else(first).unwrap_or_else(|| "example".into());
        (name.clone(), value)
    };
    let given = [
        ("handle", "key_1".into()),
        ("label", "rotate-ab12cd-fuzz-1".into()),
        ("who", "acct_1".into()),
        ("ttl", 86_400_000.into()),
        ("scopes", vec!["mail.read"].into()),
    ];
    let given = given.into_iter().map(|(name, value)| (name.to_owned(), value));
    given.chain(spec.vars.iter().map(var)).collect()
}

/// Everybody who may take part, each with the same secret.
fn parties(spec: &Spec, at: &At, vars: &Values) -> Secrets {
    let acting = |secret: &dyn Fn(&str) -> bool| {
        let mut parts = Parts::default();
        let names = spec.kinds.get(&at.kind).map(|kind| &kind.head.parts);
        for (name, part) in names.into_iter().flatten() {
            match part.part.part_type {
                PartType::Secret if secret(name) => {
                    parts.secret.insert(name.clone(), Secret::from(SECRET.to_owned()));
                }
                PartType::Secret => {}
                PartType::Public | PartType::Handle => {
                    parts.public.insert(name.clone(), format!("public-{name}").into());
                }
            }
        }
        let (provider, kind) = (at.provider.clone(), at.kind.clone());
        Acting { provider, kind, vars: vars.clone(), parts }
    };
    let keys = ["it", "old", "new", "live", "admin", "client"];
    keys.into_iter().map(|key| (key.to_owned(), acting(&|_| true))).collect()
}

/// The one meaning that the recorded exchanges of the file would have to name.
fn meaning(spec: &Spec, at: &At, vars: &Values, answer: &Said) -> Means {
    let all = [
        Means::Alive,
        Means::Restricted,
        Means::Dead,
        Means::Unknown,
        Means::Limited,
        Means::Ok,
        Means::Gone,
        Means::Refused,
    ];
    let example = |means| Example {
        kind: at.kind.clone(),
        verb: at.verb,
        way: usize::from(at.way),
        step: usize::from(at.step),
        status: answer.status,
        headers: answer.headers.clone(),
        body: answer.body.clone(),
        means,
        gives: Values::new(),
        secret: None,
        vars: vars.clone(),
        seen: Seen::Memory,
        span: 0..0,
    };
    let fits = |means: &Means| match example(*means).replay(spec) {
        Ok(()) => true,
        // It means this, and what was to be taken is not in it.
        Err(wrong) => !wrong.what.starts_with("means `"),
    };
    let fitting: Vec<Means> = all.into_iter().filter(fits).collect();
    let [means] = fitting.as_slice() else { panic!("it means {fitting:?}") };
    *means
}

fn assert_no_secret(reply: &Reply) {
    let shown = serde_json::to_string(&reply.answer).unwrap();
    let coded = coded();
    let known = [SECRET, PERCENT, coded.trim_end_matches('=')];
    assert!(!known.iter().any(|text| shown.contains(text)), "the secret is told: {shown}");
    let brought = reply.brought.iter().flat_map(|parts| parts.secret.values());
    let Answer::Issued(holding) = &reply.answer else { return };
    // Shorter ones stand in any text by chance.
    for secret in brought.filter(|secret| secret.expose().len() >= 6) {
        let text = std::str::from_utf8(secret.expose()).unwrap();
        let told = holding.public.values().filter_map(as_text).any(|told| told.contains(text));
        assert!(!told, "the new secret is told: {shown}");
    }
}

fn assert_says(answer: &Answer, means: Means, status: u16, verb: Verb) {
    let no_verdict = status >= 500 || means == Means::Limited;
    match answer {
        Answer::Saw(Liveness::Alive(_), _) => assert_eq!(means, Means::Alive),
        Answer::Saw(Liveness::Restricted(_), _) => assert_eq!(means, Means::Restricted),
        Answer::Saw(Liveness::Dead { .. }, _) => assert_eq!(means, Means::Dead),
        Answer::Gone => assert_eq!(means, Means::Gone),
        Answer::Done | Answer::Took(_) | Answer::Issued(_) | Answer::Found { .. } => {
            assert_eq!(means, Means::Ok);
        }
        Answer::Fault(Fault::Throttled(_)) => assert!(no_verdict),
        Answer::Saw(Liveness::Unclear(_), _) | Answer::Fault(_) => {}
        other => panic!("{verb:?} was answered {other:?}"),
    }
    let verdict = match answer {
        Answer::Saw(liveness, _) => !matches!(liveness, Liveness::Unclear(_)),
        Answer::Fault(_) => false,
        _ => true,
    };
    assert!(!verdict || !no_verdict, "an outage was taken for an answer: {answer:?}");
    // What is not refused for another reason says what the file says of it.
    let dead = matches!(answer, Answer::Saw(Liveness::Dead { .. }, _));
    assert!(means != Means::Dead || dead, "a refusal was not heard: {answer:?}");
}
