//! Kinds of credential: their parts, shapes, physics and manners.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use super::call::{CallSpec, texts};
use super::head::Head;
use super::marker::{Scope, Secrets, Text};
use super::reader::{Errors, Node, Table, did_you_mean, duration_ms, integer, items, string};
use super::verb::{Consent, Reading, VERBS, WaySpec, name_of, written};
use crate::engine::call::Verb;
use crate::engine::capability::{Blast, ByHand, Class, Lifetime, Order, ProofRule, Radius};

/// How a credential shows itself.
#[derive(Debug)]
pub(crate) enum Auth {
    Bearer(Text),
    Basic(Text, Text),
    Headers(Vec<(String, Text)>),
    Cookies(Vec<(String, Text)>),
    Query(Vec<(String, Text)>),
}

/// How we choose the bytes of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generate {
    pub(crate) length: usize,
    pub(crate) alphabet: String,
}

/// A kind of credential, as its file writes it.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) head: Arc<Head>,
    pub(crate) class: Class,
    pub(crate) generate: Option<Generate>,
    pub(crate) auth: Option<Auth>,
    pub(crate) login: Option<CallSpec>,
    pub(crate) order: Order,
    pub(crate) blast: Blast,
    pub(crate) overlap: Option<u32>,
    pub(crate) lives: Option<Lifetime>,
    pub(crate) minted: BTreeMap<String, Lifetime>,
    pub(crate) proof: ProofRule,
    pub(crate) warn: Vec<String>,
    pub(crate) verbs: BTreeMap<Verb, Vec<WaySpec>>,
    /// Verbs that are another kind's.
    pub(crate) borrowed: BTreeMap<Verb, String>,
    pub(crate) consent: Option<Consent>,
    pub(crate) issue_by_hand: Option<ByHand>,
    pub(crate) revoke_by_hand: Option<ByHand>,
    pub(crate) span: Range<usize>,
}

pub(crate) const CLASSES: [(&str, Class); 8] = [
    ("api-key", Class::ApiKey),
    ("oauth-grant", Class::OauthGrant),
    ("oauth-client", Class::OauthClient),
    ("session-cookie", Class::SessionCookie),
    ("access-key", Class::AccessKey),
    ("password", Class::Password),
    ("ssh-key", Class::SshKey),
    ("webhook", Class::Webhook),
];

const ORDERS: [(&str, Order); 4] = [
    ("any", Order::Any),
    ("issue-first", Order::IssueFirst),
    ("revoke-first", Order::RevokeFirst),
    ("roll", Order::Roll),
];

/// Letters and digits: what every password field and header takes.
const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `blast`, of a kind or of one way.
pub(crate) fn blast(table: &Table<'_>, key: &'static str) -> Option<Blast> {
    let node = table.get(key)?;
    let radii = Radius::ALL.map(|radius| (radius.word(), radius));
    if node.get_ref().is_str() {
        let kills = table.word(key, &radii)?;
        if kills != Radius::Token {
            let hint = "write { kills = \"...\", key = [...] }: which values make one group";
            table.errors.hinted(node.span(), "a wider blast needs its key", hint);
        }
        return Some(Blast { kills, key: Vec::new() });
    }
    let inner = Table::of(key, node, table.errors)?;
    inner.demand("kills");
    let kills = inner.word("kills", &radii);
    let key = inner.strings("key").iter().map(|text| (*text.get_ref()).into()).collect();
    inner.finish();
    Some(Blast { kills: kills?, key })
}

impl Auth {
    pub(crate) fn read(table: &Table<'_>, scope: &Scope<'_>) -> Option<Self> {
        let auth = table.table("auth")?;
        let errors = table.errors;
        let read = |node: &Node<'_>| {
            let text = string("auth", node, errors)?;
            Some(scope.text(text.get_ref(), &text.span(), Secrets::Anywhere, errors))
        };
        let bearer = auth.get("bearer").and_then(read).map(Self::Bearer);
        let basic = auth.get("basic").and_then(|node| match items(node).as_slice() {
            [user, password] => Some(Self::Basic(read(user)?, read(password)?)),
            _ => {
                errors.hinted(node.span(), "`basic` is a pair", "write [\"user\", \"password\"]");
                None
            }
        });
        let mut named = Vec::new();
        for (key, make) in [
            ("headers", Self::Headers as fn(Vec<(String, Text)>) -> Self),
            ("cookies", Self::Cookies),
            ("query", Self::Query),
        ] {
            let list = texts(&auth, key, scope);
            named.extend((!list.is_empty()).then(|| make(list)));
        }
        let (span, keys) = (auth.span.clone(), auth.all().count());
        auth.finish();
        if keys != 1 {
            let hint = "use one of `bearer`, `basic`, `headers`, `cookies`, `query`";
            errors.hinted(span, "a credential shows itself in one way", hint);
            return None;
        }
        bearer.or(basic).or(named.pop())
    }
}

impl Kind {
    /// Reads the rest of a kind. `head` was read from the same table.
    pub(crate) fn read<'a>(table: &Table<'a>, head: Arc<Head>, reading: &Reading<'a>) -> Self {
        let scope = Scope {
            heads: reading.heads,
            vars: reading.vars,
            kind: Some(&*head),
            acting: true,
            taken: BTreeSet::new(),
            vars_only: false,
        };
        let auth = Auth::read(table, &scope);
        let mut verbs = BTreeMap::new();
        let mut borrowed = BTreeMap::new();
        for (key, verb) in VERBS.iter().filter(|(_, verb)| *verb != Verb::Consent) {
            let Some(node) = table.get(key) else { continue };
            if let DeValue::String(other) = node.get_ref() {
                borrowed.insert(*verb, other.to_string());
            }
            verbs.insert(*verb, reading.verb(&head, *verb, node));
        }
        let login = verbs.remove(&Verb::Login).and_then(|ways| ways.into_iter().next());
        let consent = consent(table);
        let (issue_by_hand, revoke_by_hand) = by_hand(table, reading, &head);
        let kind = Self {
            class: class(table, &head.name),
            generate: generate(table),
            auth,
            login: login.and_then(|way| way.steps.into_iter().next()),
            order: table.word("order", &ORDERS).unwrap_or(Order::Any),
            blast: blast(table, "blast").unwrap_or(Blast { kills: Radius::Token, key: Vec::new() }),
            overlap: overlap(table),
            lives: table.get("lives").and_then(|node| lives(node, &head, table.errors)),
            minted: minted(table),
            proof: proof(table),
            warn: table.strings("warn").iter().map(|text| (*text.get_ref()).into()).collect(),
            verbs,
            borrowed,
            consent,
            issue_by_hand,
            revoke_by_hand,
            span: table.span.clone(),
            head,
        };
        table.finish();
        kind
    }

    /// Whether anything can be done with it but holding it.
    pub(crate) fn acts(&self) -> bool {
        !self.verbs.is_empty() || self.login.is_some() || self.head.driver.is_some()
    }
}

fn class(table: &Table<'_>, name: &str) -> Class {
    if let Some(class) = table.word("class", &CLASSES) {
        return class;
    }
    let found = CLASSES.iter().find(|(word, _)| *word == name);
    if let (None, false) = (found, table.has("class")) {
        let list: Vec<&str> = CLASSES.iter().map(|(word, _)| *word).collect();
        let hint = format!("add `class`, one of: {}", list.join(", "));
        let message = format!("`{name}` is no class, and the kind names none");
        table.errors.hinted(table.span.clone(), message, &hint);
    }
    found.map_or(Class::ApiKey, |(_, class)| *class)
}

fn generate(table: &Table<'_>) -> Option<Generate> {
    let inner = table.table("generate")?;
    inner.demand("length");
    let length = inner.number("length").unwrap_or(0) as usize;
    let alphabet = inner.string("alphabet").map_or(ALPHANUMERIC, |text| *text.get_ref());
    // 16 letters of 62 are 95 bits; less could be guessed, and a kilobyte is no password.
    if !(16..=1024).contains(&length) {
        table.errors.hinted(inner.span.clone(), "`length` is not sensible", "use 16 to 1024");
    }
    let letters: BTreeSet<char> = alphabet.chars().collect();
    if letters.len() < 10 || letters.len() != alphabet.chars().count() {
        let hint = "use at least 10 letters, each once";
        table.errors.hinted(inner.span.clone(), "`alphabet` is not sensible", hint);
    }
    inner.finish();
    Some(Generate { length, alphabet: alphabet.into() })
}

fn overlap(table: &Table<'_>) -> Option<u32> {
    let node = table.get("overlap")?;
    if node.get_ref().as_str() == Some("many") {
        return None;
    }
    let number = integer(node).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    if number.is_none() {
        table.errors.hinted(node.span(), "`overlap` is not a count", "write 2, or \"many\"");
    }
    number
}

fn lives(node: &Node<'_>, head: &Head, errors: &Errors<'_>) -> Option<Lifetime> {
    let text = string("lives", node, errors)?;
    match *text.get_ref() {
        "jwt.exp" => Some(Lifetime::JwtExp),
        name if head.takes.contains(name) => Some(Lifetime::Taken(name.into())),
        other => {
            let found = duration_ms(other).map(Lifetime::Ms);
            if found.is_none() {
                let hint = did_you_mean(other, head.takes.iter().map(String::as_str))
                    .unwrap_or_else(|| "write `1h`, `jwt.exp` or a name that a verb takes".into());
                errors.hinted(text.span(), format!("`{other}` is no lifetime"), &hint);
            }
            found
        }
    }
}

fn minted(table: &Table<'_>) -> BTreeMap<String, Lifetime> {
    let Some(inner) = table.table("minted") else { return BTreeMap::new() };
    let read = |(name, _, node): (&str, _, &Node<'_>)| {
        let text = string(name, node, table.errors)?;
        let lifetime = match *text.get_ref() {
            "jwt.exp" => Some(Lifetime::JwtExp),
            "open" => Some(Lifetime::Open),
            "unknown" => Some(Lifetime::Unknown),
            "forever" => Some(Lifetime::Forever),
            other => duration_ms(other).map(Lifetime::Ms),
        };
        if lifetime.is_none() {
            let hint = "write `1h`, `jwt.exp`, `open`, `unknown` or `forever`";
            table.errors.hinted(text.span(), "this is no lifetime", hint);
        }
        Some((name.to_owned(), lifetime?))
    };
    inner.all().filter_map(read).collect()
}

fn proof(table: &Table<'_>) -> ProofRule {
    let mut rule = ProofRule::ASSUMED;
    let Some(inner) = table.table("proof") else { return rule };
    let duration = |key| {
        let text = inner.string(key)?;
        let found = duration_ms(text.get_ref());
        if found.is_none() {
            inner.errors.hinted(text.span(), format!("`{key}` is no duration"), "write `60s`");
        }
        found
    };
    if let Some(hold_ms) = duration("hold") {
        (rule.hold_ms, rule.assumed) = (hold_ms, false);
    }
    rule.give_up_ms = duration("give_up").unwrap_or(rule.give_up_ms);
    rule.refusals = inner.number("refusals").unwrap_or(rule.refusals);
    rule.probes = inner.number("probes").unwrap_or(rule.probes);
    if rule.refusals == 0 || rule.probes < rule.refusals || rule.give_up_ms < rule.hold_ms {
        let hint = "use refusals >= 1, probes >= refusals, give_up >= hold";
        inner.errors.hinted(inner.span.clone(), "this proof could never be reached", hint);
    }
    inner.finish();
    rule
}

fn consent(table: &Table<'_>) -> Option<Consent> {
    let inner = table.table("consent")?;
    inner.demand("seen");
    inner.word("seen", &super::predicate::SEEN);
    inner.string("source");
    let place = |key| inner.string(key).map(|text| (*text.get_ref()).to_owned());
    let strings = |key| {
        let entries = inner.table(key);
        let read = |(name, _, node): (&str, _, &Node<'_>)| {
            Some((name.to_owned(), (*string(name, node, inner.errors)?.get_ref()).to_owned()))
        };
        entries.iter().flat_map(Table::all).filter_map(read).collect::<BTreeMap<_, _>>()
    };
    let read = Consent {
        device: place("device"),
        token: place("token"),
        authorize: place("authorize"),
        query: strings("query"),
        take: strings("take"),
    };
    inner.finish();
    Some(read)
}

/// `{ issue, revoke }`, or the name of another kind.
fn by_hand<'a>(
    table: &Table<'a>,
    reading: &Reading<'a>,
    head: &Head,
) -> (Option<ByHand>, Option<ByHand>) {
    let Some(mut node) = table.get("by_hand") else { return (None, None) };
    if let DeValue::String(other) = node.get_ref() {
        let Some(there) = written(reading.raw, other, "by_hand") else {
            let hint = did_you_mean(other, reading.raw.keys().copied());
            let message = format!("no kind `{other}` has a `by_hand`");
            table.errors.add(node.span(), message, hint);
            return (None, None);
        };
        node = there;
    }
    let Some(inner) = Table::of("by_hand", node, table.errors) else { return (None, None) };
    let scope = Scope {
        heads: reading.heads,
        vars: reading.vars,
        kind: Some(head),
        acting: false,
        taken: head.takes.clone(),
        vars_only: false,
    };
    let page = |key| {
        inner.demand(key);
        let page = inner.table(key)?;
        let (at, action) = (page.demand_string("at"), page.demand_string("do"));
        page.finish();
        for text in [&at, &action].into_iter().flatten() {
            scope.text(text.get_ref(), &text.span(), Secrets::Refused, table.errors);
        }
        Some(ByHand { at: (*at?.get_ref()).into(), action: (*action?.get_ref()).into() })
    };
    let pages = (page("issue"), page("revoke"));
    inner.finish();
    pages
}

/// Says which verb stands where, for messages.
pub(crate) fn verb_at(verb: Verb, way: usize, ways: usize, step: usize, steps: usize) -> String {
    let mut place = name_of(verb).to_owned();
    if ways > 1 {
        place.push_str(&format!(" (way {})", way + 1));
    }
    if steps > 1 {
        place.push_str(&format!(" (step {})", step + 1));
    }
    place
}
