//! Predicates: conditions on an answer, all of which must hold.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;
use toml::de::DeValue;

use super::marker::{Json, Scope, Secrets, Text};
use super::reader::{Errors, Node, Table, integer, items, string, to_json};
use crate::engine::capability::Seen;

/// A JSON pointer (RFC 6901). In `rows` and predicates `*` stands for every element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) String);

impl Pointer {
    pub(crate) fn read(node: &Node<'_>, key: &str, errors: &Errors<'_>) -> Option<Self> {
        let text = string(key, node, errors)?;
        if text.get_ref().is_empty() || text.get_ref().starts_with('/') {
            return Some(Self((*text.get_ref()).into()));
        }
        let hint = format!("write `/{}`", text.get_ref());
        errors.hinted(text.span(), format!("`{key}` is a JSON pointer: it begins with `/`"), &hint);
        None
    }

    pub(crate) fn of<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.pointer(&self.0).filter(|found| !found.is_null())
    }

    /// Everything it means, `*` standing for each element of a list.
    pub(crate) fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for segment in self.0.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            found = found
                .into_iter()
                .flat_map(|value| match (value, segment.as_str()) {
                    (Value::Array(list), "*") => list.iter().collect(),
                    (Value::Array(list), index) => index
                        .parse()
                        .ok()
                        .and_then(|index: usize| list.get(index))
                        .into_iter()
                        .collect(),
                    (Value::Object(table), key) => table.get(key).into_iter().collect::<Vec<_>>(),
                    _ => Vec::new(),
                })
                .collect();
        }
        found
    }
}

/// A regular expression, checked when the file is read and compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        match regex_syntax::parse(text) {
            Ok(_) => Ok(Self { text: text.into(), compiled: OnceLock::new() }),
            Err(error) => Err(error.to_string().lines().last().unwrap_or_default().trim().into()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Matcher {
    /// Equal; vars may stand in it.
    Equals(Json),
    /// There, and not null (or the reverse).
    Exists(bool),
    OneOf(Vec<Value>),
    Matches(Pattern),
}

/// Conditions on an answer.
#[derive(Debug, Default)]
pub(crate) struct Predicate {
    /// Inclusive ranges of status; empty for any.
    pub(crate) status: Vec<(u16, u16)>,
    pub(crate) json: Vec<(Pointer, Matcher)>,
    pub(crate) text: Option<Text>,
    /// Names in lower case.
    pub(crate) header: Vec<(String, Matcher)>,
    /// Only this provider's refusal looks so.
    pub(crate) by_name: bool,
}

/// Where a delay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Json(Pointer),
    Header(String),
}

/// A predicate that means "later", and where it says how much later.
#[derive(Debug)]
pub(crate) struct Limited {
    pub(crate) when: Predicate,
    pub(crate) wait: Option<Wait>,
}

/// Words for [`Seen`].
pub(crate) const SEEN: [(&str, Seen); 5] = [
    ("memory", Seen::Memory),
    ("report", Seen::Report),
    ("code", Seen::Code),
    ("doc", Seen::Doc),
    ("run", Seen::Run),
];

impl Predicate {
    /// 2xx: what `ok` means where nothing is written.
    pub(crate) fn success() -> Self {
        Self { status: vec![(200, 299)], ..Self::default() }
    }

    /// The list under `key`.
    pub(crate) fn list(
        table: &Table<'_>,
        key: &'static str,
        scope: &Scope<'_>,
    ) -> Option<Vec<Self>> {
        let node = table.get(key)?;
        let read = |item| {
            let table = Table::of(key, item, table.errors)?;
            let predicate = Self::read(&table, key, scope);
            if key == "dead" {
                return Some(finished(table, predicate, true));
            }
            Some(finished(table, predicate, false))
        };
        Some(items(node).into_iter().filter_map(read).collect())
    }

    fn read(table: &Table<'_>, key: &str, scope: &Scope<'_>) -> Self {
        let errors = table.errors;
        // A mark of its own is for readers; what counts is the mark of the verb.
        table.word("seen", &SEEN);
        let mut read = Self::default();
        if let Some(node) = table.get("status") {
            read.status = items(node).into_iter().filter_map(|item| status(item, errors)).collect();
        }
        for (pointer, _, node) in table.table("json").iter().flat_map(Table::all) {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let hint = format!("write `\"/{pointer}\"`");
                errors.hinted(node.span(), "a JSON pointer begins with `/`", &hint);
            }
            let matcher = Matcher::read(node, scope, errors);
            read.json.extend(matcher.map(|matcher| (Pointer(pointer.into()), matcher)));
        }
        for (name, _, node) in table.table("header").iter().flat_map(Table::all) {
            let matcher = Matcher::read(node, scope, errors);
            read.header.extend(matcher.map(|matcher| (name.to_ascii_lowercase(), matcher)));
        }
        if let Some(text) = table.string("text") {
            read.text = Some(scope.text(text.get_ref(), &text.span(), Secrets::Refused, errors));
        }
        if !["status", "json", "text", "header"].iter().any(|condition| table.has(condition)) {
            let hint = "give it `status`, `json`, `text` or `header`";
            errors.hinted(table.span.clone(), format!("this `{key}` holds for any answer"), hint);
        }
        read
    }
}

/// `by_name` is a claim about refusals; elsewhere it is an unknown key.
fn finished(table: Table<'_>, mut predicate: Predicate, refusal: bool) -> Predicate {
    if refusal {
        predicate.by_name = table.boolean("by_name").unwrap_or(false);
    }
    table.finish();
    predicate
}

fn status(node: &Node<'_>, errors: &Errors<'_>) -> Option<(u16, u16)> {
    let range = match node.get_ref() {
        DeValue::String(text) => match text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => {
                let class = u16::from(class - b'0') * 100;
                Some((class, class + 99))
            }
            _ => None,
        },
        _ => integer(node)
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| (100..600).contains(number))
            .map(|number| (number, number)),
    };
    if range.is_none() {
        errors.hinted(node.span(), "this is no HTTP status", "write 404, [401, 403] or \"2xx\"");
    }
    range
}

impl Matcher {
    pub(crate) fn read(node: &Node<'_>, scope: &Scope<'_>, errors: &Errors<'_>) -> Option<Self> {
        if !node.get_ref().is_table() {
            return Some(Self::Equals(scope.json(node, Secrets::Refused, errors)));
        }
        let table = Table::of("matcher", node, errors)?;
        let exists = table.boolean("exists").map(Self::Exists);
        let one_of = table
            .get("one_of")
            .map(|node| Self::OneOf(items(node).into_iter().map(to_json).collect()));
        let matches = table.string("matches").and_then(|text| {
            Pattern::new(text.get_ref())
                .map(Self::Matches)
                .map_err(|wrong| errors.add(text.span(), format!("bad regex: {wrong}"), None))
                .ok()
        });
        let span = table.span.clone();
        let keys = table.all().count();
        table.finish();
        if keys != 1 {
            let hint = "use exactly one of `exists`, `one_of`, `matches`";
            errors.hinted(span, "a matcher says one thing", hint);
            return None;
        }
        exists.or(one_of).or(matches)
    }
}

impl Limited {
    pub(crate) fn list(table: &Table<'_>, scope: &Scope<'_>) -> Vec<Self> {
        let Some(node) = table.get("limited") else { return Vec::new() };
        let read = |item| {
            let table = Table::of("limited", item, table.errors)?;
            let when = Predicate::read(&table, "limited", scope);
            let wait = table.get("wait").and_then(|node| Wait::read(node, table.errors));
            table.finish();
            Some(Self { when, wait })
        };
        items(node).into_iter().filter_map(read).collect()
    }
}

impl Wait {
    fn read(node: &Node<'_>, errors: &Errors<'_>) -> Option<Self> {
        if node.get_ref().is_str() {
            return Pointer::read(node, "wait", errors).map(Self::Json);
        }
        let table = Table::of("wait", node, errors)?;
        let header = table.demand_string("header")?.get_ref().to_ascii_lowercase();
        table.finish();
        Some(Self::Header(header))
    }
}
