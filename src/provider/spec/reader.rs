//! A TOML tree with spans, read key by key: what was never asked for is an unknown key.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SpecError;

/// A value and where it stands.
pub(crate) type Node<'a> = Spanned<DeValue<'a>>;

/// Everything that is wrong with one file, collected while reading goes on.
pub(crate) struct Errors<'t> {
    file: &'t str,
    text: &'t str,
    found: RefCell<Vec<SpecError>>,
}

impl<'t> Errors<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: RefCell::default() }
    }

    /// An empty list about the same text.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.file, self.text)
    }

    pub(crate) fn add(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let (line, column) = position(self.text, span.start);
        let error =
            SpecError { file: self.file.into(), span, line, column, message: message.into(), hint };
        let mut found = self.found.borrow_mut();
        if !found.contains(&error) {
            found.push(error);
        }
    }

    /// Like [`Self::add`], with a hint.
    pub(crate) fn hinted(&self, span: Range<usize>, message: impl Into<String>, hint: &str) {
        self.add(span, message, Some(hint.into()));
    }

    /// The span of `needle` inside `span`, or `span` where escapes hide it.
    pub(crate) fn within(&self, span: &Range<usize>, needle: &str) -> Range<usize> {
        let inside = self.text.get(span.clone()).and_then(|text| text.find(needle));
        match inside {
            Some(at) => span.start + at..span.start + at + needle.len(),
            None => span.clone(),
        }
    }

    /// The first `needle` behind the start of `span`: a table's span is that of its header alone.
    pub(crate) fn behind(&self, span: &Range<usize>, needle: &str) -> Range<usize> {
        self.within(&(span.start..self.text.len()), needle)
    }

    pub(crate) fn none(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The header `[kind.K.VERB]` or `[[kind.K.VERB]]`, where it is written so.
    pub(crate) fn header(&self, kind: &str, verb: &str) -> Option<Range<usize>> {
        let header = format!("[kind.{kind}.{verb}]");
        let at = self.text.find(&header)?;
        Some(at..at + header.len())
    }

    /// All of them, in order of appearance.
    pub(crate) fn into_sorted(self) -> Vec<SpecError> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|error| error.span.start);
        found
    }
}

/// Line and column, both from 1; columns count characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before.get(line_start..).map_or(0, |rest| rest.chars().count()) + 1)
}

/// "did you mean" for a word that is not among `known`.
pub(crate) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    let best = known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    // A third of the word may be wrong: further off, a suggestion is a guess.
    (best.0 <= (word.chars().count() / 3).max(1)).then(|| format!("did you mean `{}`?", best.1))
}

/// One table. Keys are known by being asked for; [`Table::finish`] reports the others.
pub(crate) struct Table<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) errors: &'a Errors<'a>,
    name: String,
    entries: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
        errors: &'a Errors<'a>,
    ) -> Self {
        Self { span, errors, name: name.into(), entries, asked: RefCell::default() }
    }

    /// The node as a table; anything else is an error.
    pub(crate) fn of(name: &str, node: &'a Node<'a>, errors: &'a Errors<'a>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(entries) => Some(Self::new(name, node.span(), entries, errors)),
            other => {
                let found = other.type_str();
                errors.add(node.span(), format!("`{name}` is a table, not a {found}"), None);
                None
            }
        }
    }

    /// Every entry, known or not: for tables whose keys are free.
    pub(crate) fn all(
        &self,
    ) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Node<'a>)> + use<'a> {
        self.entries.iter().map(|(key, node)| (key.get_ref().as_ref(), key.span(), node))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<&'a Node<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    pub(crate) fn demand(&self, key: &'static str) -> Option<&'a Node<'a>> {
        let node = self.get(key);
        if node.is_none() {
            let message = format!("`{}` has no `{key}`", self.name);
            self.errors.hinted(self.span.clone(), message, &format!("add `{key}`"));
        }
        node
    }

    pub(crate) fn string(&self, key: &'static str) -> Option<Spanned<&'a str>> {
        string(key, self.get(key)?, self.errors)
    }

    pub(crate) fn demand_string(&self, key: &'static str) -> Option<Spanned<&'a str>> {
        string(key, self.demand(key)?, self.errors)
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        let value = node.get_ref().as_bool();
        if value.is_none() {
            self.errors.add(node.span(), format!("`{key}` is `true` or `false`"), None);
        }
        value
    }

    pub(crate) fn number(&self, key: &'static str) -> Option<u32> {
        let node = self.get(key)?;
        let value = integer(node).and_then(|number| u32::try_from(number).ok());
        if value.is_none() {
            self.errors.add(node.span(), format!("`{key}` is a whole number, 0 or more"), None);
        }
        value
    }

    /// A string, or a list of strings.
    pub(crate) fn strings(&self, key: &'static str) -> Vec<Spanned<&'a str>> {
        self.get(key).map(|node| strings(key, node, self.errors)).unwrap_or_default()
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        Table::of(key, self.get(key)?, self.errors)
    }

    /// One of a closed list of words.
    pub(crate) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.string(key).and_then(|text| word(key, &text, words, self.errors))
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, span, _) in self.entries.iter().map(|(k, v)| (k.get_ref(), k.span(), v)) {
            if !asked.iter().any(|known| *known == key.as_ref()) {
                let hint = did_you_mean(key, asked.iter().copied());
                self.errors.add(span, format!("unknown key `{key}` in `{}`", self.name), hint);
            }
        }
    }
}

pub(crate) fn word<T: Copy>(
    key: &str,
    text: &Spanned<&str>,
    words: &[(&str, T)],
    errors: &Errors<'_>,
) -> Option<T> {
    let found = words.iter().find(|(word, _)| word == text.get_ref()).map(|(_, value)| *value);
    if found.is_none() {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = did_you_mean(text.get_ref(), list.iter().copied())
            .unwrap_or_else(|| format!("use one of: {}", list.join(", ")));
        errors.add(text.span(), format!("`{key}` cannot be `{}`", text.get_ref()), Some(hint));
    }
    found
}

pub(crate) fn string<'a>(
    key: &str,
    node: &'a Node<'a>,
    errors: &Errors<'_>,
) -> Option<Spanned<&'a str>> {
    match node.get_ref() {
        DeValue::String(text) => Some(Spanned::new(node.span(), text.as_ref())),
        other => {
            let found = other.type_str();
            errors.add(node.span(), format!("`{key}` is a string, not a {found}"), None);
            None
        }
    }
}

pub(crate) fn strings<'a>(
    key: &str,
    node: &'a Node<'a>,
    errors: &Errors<'_>,
) -> Vec<Spanned<&'a str>> {
    items(node).into_iter().filter_map(|item| string(key, item, errors)).collect()
}

/// The items of a list; anything else is a list of one.
pub(crate) fn items<'a>(node: &'a Node<'a>) -> Vec<&'a Node<'a>> {
    match node.get_ref() {
        DeValue::Array(list) => list.iter().collect(),
        _ => vec![node],
    }
}

pub(crate) fn integer(node: &Node<'_>) -> Option<i64> {
    let number = node.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A TOML value as JSON; dates become strings.
pub(crate) fn to_json(node: &Node<'_>) -> serde_json::Value {
    use serde_json::Value;
    match node.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(_) => integer(node).map_or(Value::Null, Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(list) => list.iter().map(to_json).collect(),
        DeValue::Table(table) => {
            let entries =
                table.iter().map(|(key, node)| (key.get_ref().to_string(), to_json(node)));
            Value::Object(entries.collect())
        }
    }
}

/// A duration such as `500ms`, `60s`, `10m`, `1h`, `90d`, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// A rate such as `60/m`: how many, and the window in milliseconds.
pub(crate) fn rate(text: &str) -> Option<crate::engine::capability::Rate> {
    let (count, unit) = text.split_once('/')?;
    let per_ms =
        duration_ms(&format!("1{unit}")).filter(|_| ["s", "m", "h", "d"].contains(&unit))?;
    Some(crate::engine::capability::Rate { count: count.trim().parse().ok()?, per_ms })
}
