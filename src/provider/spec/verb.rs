//! Verbs: ways, steps and the calls they are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::Method;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind::{Auth, Head};
use super::marker::{Json, Marker, Scope, Secrets, Text};
use super::predicate::{Matcher, Pattern, Pointer, Predicate, SEEN};
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

/// Where a call goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// A path on a base.
    Path { base: String, path: Text },
    /// One public marker: a path on `api`, or a URL that must lie on a base.
    Whole(Marker),
}

/// What a call carries.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Json),
    Form(Vec<(String, Json)>),
}

/// Where a value stands in an answer.
#[derive(Debug)]
pub(crate) enum Taking {
    Json(Pointer),
    /// A header; of a pattern, its first group.
    Header {
        name: String,
        matches: Option<Pattern>,
    },
}

/// How a list goes on.
#[derive(Debug)]
pub(crate) enum Next {
    /// The query parameter `query` takes what stands at `from`, as long as `more` is true.
    Cursor { query: String, from: Pointer, more: Option<Pointer> },
    /// The URL at this pointer.
    Url(Pointer),
    /// The `Link` header with this relation.
    Link(String),
    /// The query parameter `query` counts from `first`, until a page is empty.
    Page { query: String, first: u32 },
}

/// What a row tells of a secret without holding it.
#[derive(Debug, Default)]
pub(crate) struct Hint {
    pub(crate) prefix: Option<Pointer>,
    pub(crate) suffix: Option<Pointer>,
    pub(crate) masked: Option<Pointer>,
    pub(crate) equals: Option<Pointer>,
}

/// What only a probe has.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    pub(crate) alive: Vec<Predicate>,
    pub(crate) restricted: Vec<Predicate>,
    pub(crate) dead: Vec<Predicate>,
    pub(crate) who: Vec<Pointer>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct CallSpec {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) actor: Actor,
    /// In place of the actor's own way to authenticate.
    pub(crate) auth: Option<Auth>,
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) query: Vec<(String, Json)>,
    pub(crate) body: Body,
    pub(crate) ok: Vec<Predicate>,
    pub(crate) gone: Vec<Predicate>,
    pub(crate) take: BTreeMap<String, Taking>,
    pub(crate) rows: Option<Pointer>,
    pub(crate) conditions: Vec<(Pointer, Matcher)>,
    pub(crate) again: bool,
    pub(crate) classes: Classes,
    pub(crate) effect: Effect,
    pub(crate) next: Option<Next>,
    pub(crate) hint: Option<Hint>,
    pub(crate) seen: Seen,
}

impl CallSpec {
    /// Every text that is rendered into the request, `auth` apart.
    pub(crate) fn texts(&self) -> Vec<&Text> {
        let mut texts: Vec<&Text> = self.headers.iter().map(|(_, text)| text).collect();
        if let Target::Path { path, .. } = &self.target {
            texts.push(path);
        }
        texts.extend(self.query.iter().flat_map(|(_, json)| json.texts()));
        match &self.body {
            Body::Empty => {}
            Body::Json(json) => texts.extend(json.texts()),
            Body::Form(fields) => texts.extend(fields.iter().flat_map(|(_, json)| json.texts())),
        }
        texts
    }
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

const EFFECTS: [(&str, Effect); 5] = [
    ("none", Effect::None),
    ("mints", Effect::Mints),
    ("extends", Effect::Extends),
    ("costs", Effect::Costs),
    ("sends", Effect::Sends),
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
        if ways.is_empty() {
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
        let conditions = conditions(table, rows.is_some(), &vars);
        let classes = if verb == Verb::Probe { classes(table, &vars) } else { Classes::default() };
        let effect = match verb {
            Verb::Probe => table.word("effect", &EFFECTS).unwrap_or(Effect::None),
            _ => Effect::None,
        };
        let list = verb == Verb::Find;
        let call = |(method, target)| CallSpec {
            actor: self.actor(kind, verb, table),
            auth: Auth::read(table, &Scope { acting: true, ..scope_of(&scope) }),
            headers: texts(table, "headers", &scope),
            query: values(table, "query", &scope),
            body: body(table, &scope, body_allowed),
            ok: Predicate::list(table, "ok", &vars).unwrap_or_else(|| vec![Predicate::success()]),
            gone: Predicate::list(table, "gone", &vars).unwrap_or_default(),
            take: take(table),
            again: again(table, verb),
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
        let call = call(target.unwrap_or((Method::GET, nowhere)));
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

fn again(table: &Table<'_>, verb: Verb) -> bool {
    let default = !matches!(verb, Verb::Issue | Verb::Roll);
    table.word("again", &[("safe", true), ("never", false)]).unwrap_or(default)
}

fn classes(table: &Table<'_>, vars: &Scope<'_>) -> Classes {
    for key in ["alive", "dead"] {
        if !table.has(key) {
            let message = format!("this probe does not say what `{key}` looks like");
            table.errors.hinted(table.span.clone(), message, &format!("add `{key} = [{{ ... }}]`"));
        }
    }
    let who = table.get("who").map(|node| {
        items(node)
            .into_iter()
            .filter_map(|item| Pointer::read(item, "who", table.errors))
            .collect()
    });
    Classes {
        alive: Predicate::list(table, "alive", vars).unwrap_or_default(),
        restricted: Predicate::list(table, "restricted", vars).unwrap_or_default(),
        dead: Predicate::list(table, "dead", vars).unwrap_or_default(),
        who: who.unwrap_or_default(),
    }
}

fn conditions(table: &Table<'_>, rows: bool, vars: &Scope<'_>) -> Vec<(Pointer, Matcher)> {
    let Some(conditions) = table.table("where") else { return Vec::new() };
    if !rows {
        table.errors.hinted(conditions.span.clone(), "`where` chooses among rows", "add `rows`");
    }
    let read = |(pointer, span, node): (&str, _, &Node<'_>)| {
        if !pointer.starts_with('/') {
            let hint = format!("write `\"/{pointer}\"`");
            table.errors.hinted(span, "a JSON pointer begins with `/`", &hint);
        }
        Some((Pointer(pointer.into()), Matcher::read(node, vars, table.errors)?))
    };
    conditions.all().filter_map(read).collect()
}

pub(crate) fn texts(
    table: &Table<'_>,
    key: &'static str,
    scope: &Scope<'_>,
) -> Vec<(String, Text)> {
    let Some(inner) = table.table(key) else { return Vec::new() };
    let read = |(name, _, node): (&str, _, &Node<'_>)| {
        let text = super::reader::string(name, node, table.errors)?;
        let read = scope.text(text.get_ref(), &text.span(), Secrets::Anywhere, table.errors);
        Some((name.to_owned(), read))
    };
    inner.all().filter_map(read).collect()
}

fn values(table: &Table<'_>, key: &'static str, scope: &Scope<'_>) -> Vec<(String, Json)> {
    let Some(inner) = table.table(key) else { return Vec::new() };
    let read = |(name, _, node): (&str, _, &Node<'_>)| {
        if node.get_ref().is_table() {
            let hint = "use `json` for nested values";
            table.errors.hinted(node.span(), format!("`{name}` cannot be a table here"), hint);
        }
        (name.to_owned(), scope.json(node, Secrets::Whole, table.errors))
    };
    inner.all().map(read).collect()
}

fn body(table: &Table<'_>, scope: &Scope<'_>, allowed: bool) -> Body {
    let errors = table.errors;
    let json = table.get("json");
    let form = values(table, "form", scope);
    if let Some(node) = json.filter(|_| table.has("form")) {
        errors.add(node.span(), "a call has `json` or `form`, not both", None);
    }
    if !allowed && (json.is_some() || table.has("form")) {
        errors.hinted(table.span.clone(), "a `get` carries no body", "use `query`");
    }
    let Some(node) = json else {
        return if table.has("form") { Body::Form(form) } else { Body::Empty };
    };
    if let DeValue::Table(body) = node.get_ref() {
        if let (Some(query), true) = (body.get("query"), body.contains_key("variables")) {
            graphql(table, query);
        }
    }
    Body::Json(scope.json(node, Secrets::Whole, errors))
}

/// A GraphQL query is fixed text, and its 200 says nothing until `/errors` was looked at.
fn graphql(table: &Table<'_>, query: &Node<'_>) {
    if query.get_ref().as_str().is_some_and(|text| text.contains("{{ ")) {
        let hint = "use a GraphQL variable";
        table.errors.hinted(query.span(), "a marker stands in a GraphQL query", hint);
    }
    let looks = |node: &Node<'_>| {
        items(node).into_iter().all(|predicate| {
            let json = predicate.get_ref().as_table().and_then(|table| table.get("json"));
            let json = json.and_then(|node| node.get_ref().as_table());
            json.is_some_and(|json| json.keys().any(|key| key.get_ref().starts_with("/errors")))
        })
    };
    let done = table.get("ok").or_else(|| table.get("alive"));
    if !done.is_some_and(looks) {
        let hint = "add `json = { \"/errors\" = { exists = false } }` to `ok` or `alive`";
        table.errors.hinted(query.span(), "GraphQL answers 200 with errors", hint);
    }
}

fn take(table: &Table<'_>) -> BTreeMap<String, Taking> {
    let Some(inner) = table.table("take") else { return BTreeMap::new() };
    let read = |(name, _, node): (&str, _, &Node<'_>)| {
        Some((name.to_owned(), Taking::read(name, node, table.errors)?))
    };
    inner.all().filter_map(read).collect()
}

impl Taking {
    fn read(name: &str, node: &Node<'_>, errors: &Errors<'_>) -> Option<Self> {
        if node.get_ref().is_str() {
            return Pointer::read(node, name, errors).map(Self::Json);
        }
        let table = Table::of(name, node, errors)?;
        let header = table.demand_string("header")?.get_ref().to_ascii_lowercase();
        let matches = table.string("matches").and_then(|text| {
            Pattern::new(text.get_ref())
                .map_err(|wrong| errors.add(text.span(), format!("bad regex: {wrong}"), None))
                .ok()
        });
        table.finish();
        Some(Self::Header { name: header, matches })
    }
}

impl Next {
    fn read(table: &Table<'_>) -> Option<Self> {
        let next = table.table("next")?;
        let pointer = |key| next.get(key).and_then(|node| Pointer::read(node, key, table.errors));
        let (url, from, more) = (pointer("url"), pointer("from"), pointer("more"));
        let query = next.string("query").map(|text| (*text.get_ref()).to_owned());
        let page = next.string("page").map(|text| (*text.get_ref()).to_owned());
        let link = next.string("link").map(|text| (*text.get_ref()).to_owned());
        let first = next.number("first");
        let span = next.span.clone();
        next.finish();
        let read = match (query, from, url, link, page) {
            (Some(query), Some(from), None, None, None) => Some(Self::Cursor { query, from, more }),
            (None, None, Some(url), None, None) => Some(Self::Url(url)),
            (None, None, None, Some(link), None) => Some(Self::Link(link)),
            (None, None, None, None, Some(query)) => {
                Some(Self::Page { query, first: first.unwrap_or(1) })
            }
            _ => None,
        };
        if read.is_none() {
            let hint = "write { query, from, more }, { url }, { link } or { page, first }";
            table.errors.hinted(span, "this is no way to go on with a list", hint);
        }
        read
    }
}

impl Hint {
    fn read(table: &Table<'_>) -> Option<Self> {
        let hint = table.table("hint")?;
        let pointer = |key| hint.get(key).and_then(|node| Pointer::read(node, key, table.errors));
        let read = Self {
            prefix: pointer("prefix"),
            suffix: pointer("suffix"),
            masked: pointer("masked"),
            equals: pointer("equals"),
        };
        let (span, empty) = (hint.span.clone(), hint.all().count() == 0);
        hint.finish();
        if empty {
            let help = "use `prefix`, `suffix`, `masked` or `equals`";
            table.errors.hinted(span, "this hint hints at nothing", help);
        }
        Some(read)
    }
}
