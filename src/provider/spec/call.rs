//! One call: where it goes, what it carries, and what its answer is read for.

use std::collections::BTreeMap;

use reqwest::Method;
use toml::de::DeValue;

use super::kind::Auth;
use super::marker::{Json, Marker, Scope, Secrets, Text};
use super::predicate::{Matcher, Pattern, Pointer, Predicate};
use super::reader::{Errors, Node, Table, items};
use crate::engine::call::Verb;
use crate::engine::capability::{Actor, Effect, Seen};

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
    /// The query parameter counts the rows read so far, until a page is empty.
    Offset(String),
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

pub(crate) const EFFECTS: [(&str, Effect); 5] = [
    ("none", Effect::None),
    ("mints", Effect::Mints),
    ("extends", Effect::Extends),
    ("costs", Effect::Costs),
    ("sends", Effect::Sends),
];

pub(crate) fn again(table: &Table<'_>, verb: Verb) -> bool {
    let default = !matches!(verb, Verb::Issue | Verb::Roll);
    table.word("again", &[("safe", true), ("never", false)]).unwrap_or(default)
}

pub(crate) fn classes(table: &Table<'_>, vars: &Scope<'_>) -> Classes {
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

pub(crate) fn conditions(
    table: &Table<'_>,
    rows: bool,
    vars: &Scope<'_>,
) -> Vec<(Pointer, Matcher)> {
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

pub(crate) fn values(
    table: &Table<'_>,
    key: &'static str,
    scope: &Scope<'_>,
) -> Vec<(String, Json)> {
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

pub(crate) fn body(table: &Table<'_>, scope: &Scope<'_>, allowed: bool) -> Body {
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
    if let DeValue::Table(body) = node.get_ref()
        && let (Some(query), true) = (body.get("query"), body.contains_key("variables"))
    {
        graphql(table, query);
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

pub(crate) fn take(table: &Table<'_>) -> BTreeMap<String, Taking> {
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
    pub(crate) fn read(table: &Table<'_>) -> Option<Self> {
        let next = table.table("next")?;
        let pointer = |key| next.get(key).and_then(|node| Pointer::read(node, key, table.errors));
        let (url, from, more) = (pointer("url"), pointer("from"), pointer("more"));
        let query = next.string("query").map(|text| (*text.get_ref()).to_owned());
        let page = next.string("page").map(|text| (*text.get_ref()).to_owned());
        let link = next.string("link").map(|text| (*text.get_ref()).to_owned());
        let offset = next.string("offset").map(|text| (*text.get_ref()).to_owned());
        let first = next.number("first");
        let span = next.span.clone();
        next.finish();
        let read = match (query, from, url, link, page, offset) {
            (Some(query), Some(from), None, None, None, None) => {
                Some(Self::Cursor { query, from, more })
            }
            (None, None, Some(url), None, None, None) => Some(Self::Url(url)),
            (None, None, None, Some(link), None, None) => Some(Self::Link(link)),
            (None, None, None, None, Some(query), None) => {
                Some(Self::Page { query, first: first.unwrap_or(1) })
            }
            (None, None, None, None, None, Some(query)) => Some(Self::Offset(query)),
            _ => None,
        };
        if read.is_none() {
            let hint =
                "write { query, from, more }, { url }, { link }, { page, first } or { offset }";
            table.errors.hinted(span, "this is no way to go on with a list", hint);
        }
        read
    }
}

impl Hint {
    pub(crate) fn read(table: &Table<'_>) -> Option<Self> {
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
