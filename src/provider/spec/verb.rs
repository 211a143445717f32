//! Verbs: ways, steps and the calls they are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::Method;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::call::{self, CallSpec, Classes, Hint, Next, Target};
use super::head::Head;
use super::kind::Auth;
use super::marker::{Scope, Secrets, Text};
use super::predicate::{Pointer, Predicate, SEEN};
use super::reader::{Errors, Node, Table, did_you_mean, items};
use crate::engine::call::Verb;
use crate::engine::capability::{Actor, Blast, Effect, Seen, Var};

/// The verbs of a file, by name, in the order of a run.
pub(crate) const VERBS: [(&str, Verb); 10] = [
    ("login", Verb::Login),
    ("learn", Verb::Learn),
    ("probe", Verb::Probe),
    ("find", Verb::Find),
    ("issue", Verb::Issue),
    ("roll", Verb::Roll),
    ("finish", Verb::Finish),
    ("revoke", Verb::Revoke),
    ("evict", Verb::Evict),
    ("consent", Verb::Consent),
];

/// How a verb is called in a file.
pub(crate) fn name_of(verb: Verb) -> &'static str {
    VERBS.iter().find(|(_, known)| *known == verb).map_or("verb", |(name, _)| name)
}

/// One way of doing a verb (of a probe: one layer).
#[derive(Debug)]
pub(crate) struct WaySpec {
    pub(crate) steps: Vec<CallSpec>,
    pub(crate) seen: Seen,
    /// Privilege it needs, in the provider's words.
    pub(crate) needs: Option<String>,
    pub(crate) blast: Option<Blast>,
}

/// What a consent needs: endpoints for native code and for a person's browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Where a device code is asked for.
    pub device: Option<String>,
    /// Where codes become tokens.
    pub token: Option<String>,
    /// The page a person opens.
    pub authorize: Option<String>,
    /// What that page is asked with.
    pub query: BTreeMap<String, String>,
    /// What the token answer holds: name to JSON pointer.
    pub take: BTreeMap<String, String>,
}

/// All that reading a verb needs to know of the rest of the file.
pub(crate) struct Reading<'a> {
    pub(crate) errors: &'a Errors<'a>,
    pub(crate) heads: &'a BTreeMap<String, Arc<Head>>,
    pub(crate) vars: &'a BTreeMap<String, Var>,
    /// The tables of all kinds, as written.
    pub(crate) raw: &'a BTreeMap<&'a str, &'a DeTable<'a>>,
    /// Names of bases; none where the inventory gives them.
    pub(crate) bases: Option<&'a BTreeSet<String>>,
}

const ACTORS: [(&str, Actor); 7] = [
    ("it", Actor::It),
    ("old", Actor::Old),
    ("new", Actor::New),
    ("admin", Actor::Admin(None)),
    ("client", Actor::Client),
    ("none", Actor::None),
    ("live", Actor::Live),
];

/// The table that answers `verb` of `kind`, following "the name of another kind"; `None` where the
/// kind does not write it or the names lead nowhere.
pub(crate) fn written<'a>(
    raw: &BTreeMap<&str, &'a DeTable<'a>>,
    kind: &str,
    verb: &str,
) -> Option<&'a Node<'a>> {
    let mut node = raw.get(kind)?.get(verb)?;
    // Each name leads to another kind, so there are no more hops than kinds.
    for _ in 0..raw.len() {
        match node.get_ref() {
            DeValue::String(other) => node = raw.get(other.as_ref())?.get(verb)?,
            _ => return Some(node),
        }
    }
    None
}

/// Names that a verb takes, secret ones among them.
pub(crate) fn takes(node: &Node<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for way in items(node) {
        let DeValue::Table(way) = way.get_ref() else { continue };
        let steps = way.get("step").map(items).unwrap_or_default();
        let tables = steps.into_iter().filter_map(|step| step.get_ref().as_table());
        for table in tables.chain([way]) {
            let take = table.get("take").and_then(|node| node.get_ref().as_table());
            names.extend(take.into_iter().flatten().map(|(key, _)| key.get_ref().to_string()));
        }
    }
    names
}

impl<'a> Reading<'a> {
    /// The ways of `verb`, as `kind` writes it or names another kind for it.
    pub(crate) fn verb(&self, kind: &Head, verb: Verb, node: &'a Node<'a>) -> Vec<WaySpec> {
        let name = name_of(verb);
        let DeValue::String(other) = node.get_ref() else {
            return self.ways(kind, verb, node, self.errors);
        };
        let Some(there) = written(self.raw, other, name) else {
            let kinds = self.raw.keys().copied().filter(|kind| *kind != other.as_ref());
            let hint = did_you_mean(other, kinds);
            let message = format!("no kind `{other}` has a `{name}`");
            self.errors.add(node.span(), message, hint);
            return Vec::new();
        };
        let errors = self.errors.fresh();
        let ways = self.borrowed(kind, verb, there, &errors);
        if let Some(first) = errors.into_sorted().into_iter().next() {
            let message =
                format!("`{name}` of `{other}` does not fit this kind: {}", first.message);
            self.errors.add(node.span(), message, first.hint);
        }
        ways
    }

    fn borrowed(
        &self,
        kind: &Head,
        verb: Verb,
        node: &'a Node<'a>,
        errors: &Errors<'_>,
    ) -> Vec<WaySpec> {
        let there = Reading {
            errors,
            heads: self.heads,
            vars: self.vars,
            raw: self.raw,
            bases: self.bases,
        };
        there.ways(kind, verb, node, errors)
    }

    fn ways(&self, kind: &Head, verb: Verb, node: &Node<'_>, errors: &Errors<'_>) -> Vec<WaySpec> {
        let read = |way| self.way(kind, verb, &Table::of(name_of(verb), way, errors)?);
        let ways: Vec<WaySpec> = items(node).into_iter().filter_map(read).collect();
        if items(node).is_empty() {
            errors.add(node.span(), format!("`{}` is empty", name_of(verb)), None);
        }
        ways
    }

    fn way(&self, kind: &Head, verb: Verb, way: &Table<'_>) -> Option<WaySpec> {
        let seen = way.demand("seen").and(way.word("seen", &SEEN)).unwrap_or(Seen::Memory);
        let needs = way.string("needs").map(|text| (*text.get_ref()).into());
        way.string("source");
        let blast = super::kind::blast(way, "blast");
        let mut taken = kind.takes.clone();
        let steps = match way.get("step") {
            None => self.call(kind, verb, way, seen, &taken).into_iter().collect(),
            Some(node) => {
                let mut steps = Vec::new();
                for node in items(node) {
                    let step = Table::of("step", node, way.errors)?;
                    let seen = step.word("seen", &SEEN).unwrap_or(seen);
                    step.string("needs");
                    step.string("source");
                    let call = self.call(kind, verb, &step, seen, &taken);
                    taken.extend(call.iter().flat_map(|call| call.take.keys().cloned()));
                    steps.extend(call);
                    step.finish();
                }
                steps
            }
        };
        way.finish();
        (!steps.is_empty()).then_some(WaySpec { steps, seen, needs, blast })
    }

    fn call(
        &self,
        kind: &Head,
        verb: Verb,
        table: &Table<'_>,
        seen: Seen,
        taken: &BTreeSet<String>,
    ) -> Option<CallSpec> {
        let scope = Scope {
            heads: self.heads,
            vars: self.vars,
            kind: Some(kind),
            acting: verb == Verb::Login,
            taken: taken.clone(),
            vars_only: false,
        };
        let vars = Scope { vars_only: true, taken: BTreeSet::new(), ..scope_of(&scope) };
        let target = self.target(table, &scope);
        let body_allowed = !table.has("get");
        let rows = table.get("rows").and_then(|node| Pointer::read(node, "rows", table.errors));
        let conditions = call::conditions(table, rows.is_some(), &vars);
        let classes =
            if verb == Verb::Probe { call::classes(table, &vars) } else { Classes::default() };
        let effect = match verb {
            Verb::Probe => table.word("effect", &call::EFFECTS).unwrap_or(Effect::None),
            _ => Effect::None,
        };
        let list = verb == Verb::Find;
        let read = |(method, target)| CallSpec {
            actor: self.actor(kind, verb, table),
            auth: Auth::read(table, &Scope { acting: true, ..scope_of(&scope) }),
            headers: call::texts(table, "headers", &scope),
            query: call::values(table, "query", &scope),
            body: call::body(table, &scope, body_allowed),
            ok: Predicate::list(table, "ok", &vars).unwrap_or_else(|| vec![Predicate::success()]),
            gone: Predicate::list(table, "gone", &vars).unwrap_or_default(),
            take: call::take(table),
            again: call::again(table, verb),
            next: if list { Next::read(table) } else { None },
            hint: if list { Hint::read(table) } else { None },
            method,
            target,
            rows,
            conditions,
            classes,
            effect,
            seen,
        };
        // Read to the end even where the target is wrong, so that all errors show at once.
        let nowhere = Target::Path { base: String::new(), path: Text::default() };
        let known = target.is_some();
        let call = read(target.unwrap_or((Method::GET, nowhere)));
        known.then_some(call)
    }

    fn actor(&self, kind: &Head, verb: Verb, table: &Table<'_>) -> Actor {
        let Some(text) = table.string("as") else {
            return match verb {
                Verb::Probe => Actor::It,
                Verb::Login | Verb::Learn | Verb::Consent => Actor::None,
                _ => Actor::Admin(None),
            };
        };
        if let Some(name) = text.get_ref().strip_prefix("admin.") {
            if kind.known_admins(self.heads, Some(name)).is_none() {
                let message = format!("no admin of this kind is called `{name}`");
                let hint = did_you_mean(name, kind.admin_names());
                table.errors.add(text.span(), message, hint);
            }
            return Actor::Admin(Some(name.into()));
        }
        let found = ACTORS.iter().find(|(word, _)| word == text.get_ref());
        let actor = found.map(|(_, actor)| actor.clone()).unwrap_or_else(|| {
            let hint = did_you_mean(text.get_ref(), ACTORS.iter().map(|(word, _)| *word));
            table.errors.add(text.span(), format!("nobody is called `{}`", text.get_ref()), hint);
            Actor::None
        });
        let wrong = match (&actor, verb) {
            (Actor::It, Verb::Probe) => None,
            (Actor::It, _) => Some("only a probe is made `as = \"it\"`; say `old` or `new`"),
            (Actor::Old | Actor::New, Verb::Probe) => Some("a probe is made `as = \"it\"`"),
            (Actor::Live, Verb::Find | Verb::Learn) => None,
            (Actor::Live, _) => Some("only `find` and `learn` may be made `as = \"live\"`"),
            _ => None,
        };
        if let Some(hint) = wrong {
            let message = format!("`{}` cannot act in `{}`", text.get_ref(), name_of(verb));
            table.errors.hinted(text.span(), message, hint);
        }
        actor
    }

    fn target(&self, table: &Table<'_>, scope: &Scope<'_>) -> Option<(Method, Target)> {
        let methods = [
            ("get", Method::GET),
            ("post", Method::POST),
            ("put", Method::PUT),
            ("patch", Method::PATCH),
            ("delete", Method::DELETE),
        ];
        let mut named = methods
            .into_iter()
            .filter_map(|(key, method)| table.string(key).map(|text| (method, text)));
        let first = named.next();
        if let Some((_, second)) = named.next() {
            table.errors.hinted(
                second.span(),
                "a call has one method",
                "use `step` for the second",
            );
        }
        let _ = named.count();
        let Some((method, text)) = first else {
            let hint = "say where it goes: get, post, put, patch or delete";
            table.errors.hinted(table.span.clone(), "this call has no method", hint);
            return None;
        };
        Some((method, self.place(&text, table.errors, scope)?))
    }

    fn place(
        &self,
        text: &Spanned<&str>,
        errors: &Errors<'_>,
        scope: &Scope<'_>,
    ) -> Option<Target> {
        let written = *text.get_ref();
        if written.starts_with("{{") {
            let read = scope.text(written, &text.span(), Secrets::Refused, errors);
            let Some(marker) = read.whole() else {
                let hint = "begin the path with `/`, or let one marker be all of it";
                errors.hinted(text.span(), "a call cannot begin with a marker", hint);
                return None;
            };
            return Some(Target::Whole(marker.clone()));
        }
        let (base, path) = match written.split_once(":/") {
            Some((base, path)) if !written.starts_with('/') => (base, format!("/{path}")),
            _ => ("api", written.to_owned()),
        };
        if !path.starts_with('/') || path.starts_with("//") {
            let hint = "write `/path`, or `name:/path` for a named base";
            errors.hinted(text.span(), "a path begins with one `/` and holds no host", hint);
            return None;
        }
        if let Some(bases) = self.bases.filter(|bases| !bases.contains(base)) {
            let hint = did_you_mean(base, bases.iter().map(String::as_str));
            errors.add(text.span(), format!("there is no base `{base}`"), hint);
        }
        let path = scope.text(&path, &text.span(), Secrets::Anywhere, errors);
        let plain = path.0.iter().filter_map(|piece| match piece {
            super::marker::Piece::Plain(plain) => Some(plain.as_str()),
            super::marker::Piece::Marker(_) => None,
        });
        for plain in plain {
            let dots = plain.split('/').any(|segment| segment == "." || segment == "..");
            if dots || plain.contains(['?', '#', '\\', '%']) {
                let hint = "put queries under `query`; a path has no `?`, `#`, `%`, `\\`, `..`";
                errors.hinted(text.span(), "this path holds more than segments", hint);
                break;
            }
        }
        Some(Target::Path { base: base.into(), path })
    }
}

fn scope_of<'s>(scope: &Scope<'s>) -> Scope<'s> {
    Scope {
        heads: scope.heads,
        vars: scope.vars,
        kind: scope.kind,
        acting: scope.acting,
        taken: scope.taken.clone(),
        vars_only: scope.vars_only,
    }
}
