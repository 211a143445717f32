//! The top of a provider file: who, where, how much, and the kinds below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::call::texts;
use super::example::Example;
use super::head::Head;
use super::kind::Kind;
use super::marker::{Named, Piece, Scope, Secrets, Text, reserved};
use super::predicate::{Limited, Pointer};
use super::reader::{Errors, Node, Table, items, rate, string, to_json};
use super::shape::Shape;
use super::verb::Reading;
use super::{Base, Spec};
use crate::engine::capability::{BatchLimit, Limits, Rate, Var};

/// What stands in a file while its errors are collected; `None` where nothing can be understood.
pub(crate) fn read(text: &str, file: &str, sha256: String, errors: &Errors<'_>) -> Option<Spec> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        errors.add(error.span().unwrap_or(0..0), error.message().trim().to_owned(), None);
    }
    if !syntax.is_empty() {
        return None;
    }
    let top = Table::new("the file", 0..0, document.get_ref(), errors);
    let vars = vars(&top);
    let plain = BTreeMap::new();
    let scope = Scope {
        heads: &plain,
        vars: &vars,
        kind: None,
        acting: false,
        taken: BTreeSet::new(),
        vars_only: true,
    };
    let id = top.demand_string("id");
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if let Some(id) = id.as_ref().filter(|id| *id.get_ref() != stem) {
        let hint = format!("write `id = \"{stem}\"`, or rename the file");
        errors.hinted(id.span(), "the id is not the file's name", &hint);
    }
    let word = |text: Option<toml::Spanned<&str>>| {
        text.map(|text| (*text.get_ref()).to_owned()).unwrap_or_default()
    };
    let base = base(&top, &scope);
    let spec = Spec {
        id: word(id),
        name: word(top.demand_string("name")),
        docs: word(top.demand_string("docs")),
        checked: checked(&top),
        replaces: top.string("replaces").map(|text| (*text.get_ref()).into()),
        sha256,
        headers: texts(&top, "headers", &scope),
        error: top.get("error").and_then(|node| Pointer::read(node, "error", errors)),
        limits: limits(&top),
        limited: Limited::list(&top, &scope),
        kinds: kinds(&top, &vars, &base),
        examples: Vec::new(),
        base,
        vars,
    };
    let spec = Spec { examples: examples(&top, &spec), ..spec };
    top.finish();
    Some(spec)
}

fn checked(top: &Table<'_>) -> String {
    let Some(node) = top.demand("checked") else { return String::new() };
    let text = to_json(node).as_str().unwrap_or_default().to_owned();
    if text.parse::<jiff::civil::Date>().is_err() {
        let hint = "write the day these lines were last held against the documents: 2026-11-21";
        top.errors.hinted(node.span(), "`checked` is no date", hint);
    }
    text
}

fn vars(top: &Table<'_>) -> BTreeMap<String, Var> {
    let Some(inner) = top.table("var") else { return BTreeMap::new() };
    inner
        .all()
        .filter_map(|(name, span, node)| {
            let table = Table::of(&format!("var.{name}"), node, top.errors)?;
            if reserved(name) || name == "handle" || name == "who" || name.contains('.') {
                let hint = "it means something else in markers";
                top.errors.hinted(span, format!("a var cannot be called `{name}`"), hint);
            }
            Some((name.to_owned(), var(&table)))
        })
        .collect()
}

fn var(table: &Table<'_>) -> Var {
    let errors = table.errors;
    let like = table.string("like").and_then(|text| {
        Shape::whole(text.get_ref())
            .map_err(|wrong| errors.add(text.span(), format!("bad `like`: {wrong}"), None))
            .ok()
    });
    let one_of: Vec<String> =
        table.strings("one_of").iter().map(|text| (*text.get_ref()).to_owned()).collect();
    let default = table.get("default");
    if let Some(node) = default {
        let value = to_json(node);
        let text = value.as_str().unwrap_or_default();
        let listed = one_of.is_empty() || one_of.iter().any(|one| one == text);
        if !listed || like.as_ref().is_some_and(|like| !like.matches(text)) {
            let hint = "let it be one of `one_of`, and match `like`";
            errors.hinted(node.span(), "the default is not allowed by its own rule", hint);
        }
    }
    let read = Var {
        like: like.map(|like| like.text().to_owned()),
        one_of,
        default: default.map(to_json),
        optional: table.boolean("optional").unwrap_or(false),
        say: table.string("say").map(|text| (*text.get_ref()).into()),
        kinds: Vec::new(),
    };
    table.finish();
    read
}

/// Four calls at once: what every public API bears, and enough to overlap their latency.
const IN_FLIGHT: u32 = 4;

fn limits(top: &Table<'_>) -> Limits {
    let mut limits =
        Limits { in_flight: IN_FLIGHT, calls: None, revoke: None, refused: None, batch: None };
    let Some(inner) = top.table("limits") else { return limits };
    if let Some(in_flight) = inner.number("in_flight") {
        limits.in_flight = in_flight.max(1);
    }
    (limits.calls, limits.revoke) = (rate_of(&inner, "calls"), rate_of(&inner, "revoke"));
    limits.refused = rate_of(&inner, "refused");
    limits.batch = batch(&inner);
    inner.finish();
    limits
}

/// Requests that end many credentials at once.
fn batch(limits: &Table<'_>) -> Option<BatchLimit> {
    let inner = limits.table("batch")?;
    inner.demand("size");
    inner.demand("rate");
    let found = BatchLimit {
        size: inner.number("size").unwrap_or(1).max(1),
        rate: rate_of(&inner, "rate").unwrap_or(Rate { count: 1, per_ms: 1_000 }),
    };
    inner.finish();
    Some(found)
}

fn rate_of(table: &Table<'_>, key: &'static str) -> Option<Rate> {
    let text = table.string(key)?;
    let found = rate(text.get_ref());
    if found.is_none() {
        table.errors.hinted(text.span(), format!("`{key}` is no rate"), "write `60/m`");
    }
    found
}

fn base(top: &Table<'_>, scope: &Scope<'_>) -> Base {
    let Some(node) = top.demand("base") else { return Base::Inventory };
    match node.get_ref() {
        DeValue::String(text) if text == "inventory" => Base::Inventory,
        DeValue::Table(_) => {
            let named = Table::of("base", node, top.errors);
            let read = |(name, _, node): (&str, _, &Node<'_>)| {
                Some((name.to_owned(), address(name, node, scope, top.errors)?))
            };
            Base::Fixed(named.iter().flat_map(Table::all).filter_map(read).collect())
        }
        _ => {
            let text = address("base", node, scope, top.errors);
            Base::Fixed(text.map(|text| ("api".to_owned(), text)).into_iter().collect())
        }
    }
}

/// An address that a secret may be sent to: `https`, or `http` to this very machine.
fn address(name: &str, node: &Node<'_>, scope: &Scope<'_>, errors: &Errors<'_>) -> Option<Text> {
    let written = string(name, node, errors)?;
    let text = scope.text(written.get_ref(), &written.span(), Secrets::Refused, errors);
    let wrong = |message: &str, hint: &str| errors.hinted(written.span(), message, hint);
    let filled: String = text
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Plain(plain) => plain.as_str(),
            Piece::Marker(_) => "x",
        })
        .collect();
    match url::Url::parse(&filled) {
        Err(_) => wrong("this is no address", "write https://host/path"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            wrong("an address holds no user", "put credentials into a kind's `auth`");
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            wrong("an address ends with its path", "put queries into the calls");
        }
        Ok(url) if !super::super::catalog::safe_scheme(&url) => {
            wrong("secrets would travel in the clear", "use https (http only to loopback)");
        }
        Ok(_) => {}
    }
    if let Some(message) = bad_host(&text, scope) {
        let hint = "give the var `one_of`, or `like` and a host that ends in two literal labels";
        wrong(&message, hint);
    }
    Some(text)
}

/// A marker in an address stands in its host, and its var cannot turn the host into somebody
/// else's: it is one of a closed list, or has a shape and is followed by the vendor's own domain.
fn bad_host(text: &Text, scope: &Scope<'_>) -> Option<String> {
    for (index, piece) in text.0.iter().enumerate() {
        let Piece::Marker(marker) = piece else { continue };
        let Named::Var { name, .. } = &marker.value else { continue };
        let before: String = text
            .0
            .iter()
            .take(index)
            .map(|piece| match piece {
                Piece::Plain(plain) => plain.as_str(),
                Piece::Marker(_) => "x",
            })
            .collect();
        let Some((_, host)) = before.split_once("://") else {
            return Some("a marker cannot stand in the scheme".into());
        };
        if host.contains('/') || marker.optional {
            return Some("a marker in an address stands in its host".into());
        }
        let var = scope.vars.get(name)?;
        if !var.one_of.is_empty() {
            continue;
        }
        let tail = match text.0.get(index + 1) {
            Some(Piece::Plain(plain)) => plain.split(['/', ':']).next().unwrap_or_default(),
            _ => "",
        };
        let labels: Vec<&str> = tail.strip_prefix('.').unwrap_or_default().split('.').collect();
        let named = labels.len() >= 2 && labels.iter().all(|label| !label.is_empty());
        if var.like.is_none() || !named || anybodys(&labels) {
            return Some(format!("`{name}` could lead the host anywhere"));
        }
    }
    None
}

/// Domains below which anybody can register a name. The public suffix list has thousands; these
/// are the patterns and the hosting domains that a provider's address could be mistaken for.
fn anybodys(labels: &[&str]) -> bool {
    const SECOND: [&str; 12] =
        ["ac", "co", "com", "edu", "gob", "gov", "go", "mil", "ne", "net", "or", "org"];
    const HOSTING: [&str; 16] = [
        "amazonaws.com",
        "azurewebsites.net",
        "blogspot.com",
        "cloudfront.net",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "netlify.app",
        "ngrok.app",
        "ngrok.io",
        "onrender.com",
        "pages.dev",
        "vercel.app",
        "web.app",
        "workers.dev",
    ];
    match labels {
        [.., second, top] if labels.len() == 2 => {
            (top.len() == 2 && SECOND.contains(second))
                || HOSTING.contains(&format!("{second}.{top}").as_str())
        }
        _ => false,
    }
}

fn kinds(
    top: &Table<'_>,
    vars: &BTreeMap<String, Var>,
    base: &Base,
) -> BTreeMap<String, Arc<Kind>> {
    let Some(inner) = top.demand("kind").and_then(|node| Table::of("kind", node, top.errors))
    else {
        return BTreeMap::new();
    };
    let tables: Vec<(&str, Table<'_>)> = inner
        .all()
        .filter_map(|(name, _, node)| {
            Some((name, Table::of(&format!("kind.{name}"), node, top.errors)?))
        })
        .collect();
    let raw: BTreeMap<&str, &DeTable<'_>> = inner
        .all()
        .filter_map(|(name, _, node)| Some((name, node.get_ref().as_table()?)))
        .collect();
    let heads: BTreeMap<String, Arc<Head>> = tables
        .iter()
        .map(|(name, table)| ((*name).to_owned(), Arc::new(Head::read(name, table, &raw))))
        .collect();
    let bases = match base {
        Base::Inventory => None,
        Base::Fixed(named) => Some(named.keys().cloned().collect::<BTreeSet<_>>()),
    };
    let reading =
        Reading { errors: top.errors, heads: &heads, vars, raw: &raw, bases: bases.as_ref() };
    tables
        .iter()
        .filter_map(|(name, table)| {
            let head = heads.get(*name)?.clone();
            Some(((*name).to_owned(), Arc::new(Kind::read(table, head, &reading))))
        })
        .collect()
}

fn examples(top: &Table<'_>, spec: &Spec) -> Vec<Example> {
    let Some(node) = top.get("example") else { return Vec::new() };
    let read = |node| Example::read(&Table::of("example", node, top.errors)?, spec);
    items(node).into_iter().filter_map(read).collect()
}
