//! Values out of the TOML, each with its place; what is wrong is written down and passed over.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::resolve::Link;
use crate::inventory::leak::{self, Leak};
use crate::inventory::position::LineIndex;
use crate::inventory::similarity::Nearest;
use crate::inventory::{Problem, SecretRef, durations};

/// A value and its place.
pub(super) type Field<'i> = Spanned<DeValue<'i>>;

/// Whose problem something is.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry<'a> {
    pub(super) role: Option<&'a str>,
    pub(super) credential: Option<&'a str>,
}

/// Said of every secret in an inventory.
pub(super) const BURNED: &str =
    "keep it in a store and write its reference; whoever could read this file has it";

pub(super) struct Reader<'a> {
    pub(super) problems: Vec<Problem>,
    pub(super) nearest: Nearest,
    pub(super) lines: &'a LineIndex,
    /// What roles name elsewhere.
    pub(super) links: Vec<Link>,
    /// Providers of the inventory whose address cannot be used.
    pub(super) no_address: BTreeSet<String>,
    /// Commands that are places, and whether each can be written.
    pub(super) commands: BTreeMap<String, bool>,
    leaks: &'a [Leak],
    /// Leaks already told with the entry they stand in, by index.
    reported: BTreeSet<usize>,
    /// Where strings begin that hold a secret, so that none is read.
    tainted: BTreeSet<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(leaks: &'a [Leak], lines: &'a LineIndex) -> Self {
        Self {
            problems: Vec::new(),
            nearest: Nearest::default(),
            lines,
            links: Vec::new(),
            no_address: BTreeSet::new(),
            commands: BTreeMap::new(),
            leaks,
            reported: BTreeSet::new(),
            tainted: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Leaks that stand in no value: in comments, names, and what could not be read.
    pub(super) fn unreported(&self) -> Vec<&'a Leak> {
        let told = |index: &usize| self.reported.contains(index);
        self.leaks.iter().enumerate().filter(|(i, _)| !told(i)).map(|(_, leak)| leak).collect()
    }

    pub(super) fn wrong(
        &mut self,
        entry: Entry<'_>,
        span: Range<usize>,
        message: &str,
        hint: &str,
    ) {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        let problem = Problem::at(span, message).of(entry.role, entry.credential).hint(hint);
        self.problems.push(problem);
    }

    /// A value of the wrong type: it may be a secret in the wrong place, so it is masked.
    pub(super) fn wrong_type(
        &mut self,
        entry: Entry<'_>,
        key: &str,
        field: &Field<'_>,
        want: &str,
    ) {
        let message = format!("`{key}` must be {want}, not {}", type_name(field.get_ref()));
        let problem = Problem::at(field.span(), message).of(entry.role, entry.credential);
        self.problems.push(problem.masking(field.span()));
    }

    /// Reports keys that `what` does not have.
    /// The table under a name of its own at the top, looked through for secrets and unknown keys;
    /// none where it has no name that can be called.
    pub(super) fn named_table<'t>(
        &mut self,
        name: &Spanned<DeString<'_>>,
        field: &'t Field<'_>,
        of: &str,
        known: &[&str],
    ) -> Option<&'t DeTable<'t>> {
        let table = field.get_ref().as_table()?;
        let entry = Entry::default();
        if !self.name(entry, name.get_ref(), name.span(), of) {
            return None;
        }
        self.sweep(entry, field, true);
        self.known_keys(entry, table, known, of);
        Some(table)
    }

    pub(super) fn known_keys(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        known: &[&str],
        what: &str,
    ) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let message = if is_name(name) {
                format!("unknown key `{name}` in {what}")
            } else {
                format!("unknown key in {what}")
            };
            let hint = self.nearest.find(name, known.iter().copied());
            let hint = match hint {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of: {}", known.join(", ")),
            };
            let problem = Problem::at(key.span(), message).of(entry.role, entry.credential);
            self.problems.push(problem.hint(hint).masking(value.span()));
        }
    }

    /// The tables of `[key.NAME]`, by name.
    pub(super) fn tables<'t, 'i>(
        &mut self,
        document: &'t DeTable<'i>,
        key: &str,
    ) -> Vec<(&'t Spanned<DeString<'i>>, &'t Field<'i>)> {
        let Some(field) = document.get(key) else { return Vec::new() };
        let Some(table) = field.get_ref().as_table() else {
            self.wrong_type(Entry::default(), key, field, &format!("tables, [{key}.NAME]"));
            return Vec::new();
        };
        let mut named = Vec::with_capacity(table.len());
        for (name, value) in table {
            if value.get_ref().is_table() {
                named.push((name, value));
            } else {
                let entry = Entry::default();
                self.wrong_type(entry, name_or(name.get_ref(), key), value, "a table");
            }
        }
        named
    }

    /// Whether a name is one that commands, reports and `ROLE/NAME` can carry; told if not.
    pub(super) fn name(
        &mut self,
        entry: Entry<'_>,
        name: &str,
        span: Range<usize>,
        of: &str,
    ) -> bool {
        let carried = is_name(name);
        if !carried {
            let message = format!("the name of {of} is ill-formed");
            self.wrong(entry, span, &message, NAMES);
        }
        carried
    }

    pub(super) fn text(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<Spanned<String>> {
        let field = table.get(key)?;
        self.string(entry, key, field)
    }

    pub(super) fn string(
        &mut self,
        entry: Entry<'_>,
        key: &str,
        field: &Field<'_>,
    ) -> Option<Spanned<String>> {
        let Some(text) = field.get_ref().as_str() else {
            self.wrong_type(entry, key, field, "a string");
            return None;
        };
        if self.tainted.contains(&field.span().start) {
            return None;
        }
        if text.is_empty() || text.chars().any(char::is_control) {
            let message = format!("`{key}` is empty or holds control characters");
            self.wrong(entry, field.span(), &message, "write plain text on one line");
            return None;
        }
        Some(Spanned::new(field.span(), text.to_owned()))
    }

    pub(super) fn strings(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Vec<Spanned<String>> {
        let Some(field) = table.get(key) else { return Vec::new() };
        let Some(array) = field.get_ref().as_array() else {
            self.wrong_type(entry, key, field, "a list of strings");
            return Vec::new();
        };
        array.iter().filter_map(|item| self.string(entry, key, item)).collect()
    }

    /// A command, argument by argument: all of it or nothing.
    pub(super) fn command(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<Vec<String>> {
        let given = table.get(key)?.get_ref().as_array().map_or(0, |array| array.len());
        let problems = self.problems.len();
        let argv = self.strings(entry, table, key);
        if given == 0 && self.problems.len() == problems {
            let span = table.get(key)?.span();
            self.wrong(entry, span, &format!("`{key}` names no command"), "leave it out");
        }
        (given > 0 && argv.len() == given)
            .then(|| argv.into_iter().map(Spanned::into_inner).collect())
    }

    pub(super) fn duration(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<u64> {
        let text = self.text(entry, table, key)?;
        match durations::parse(text.get_ref()) {
            Ok(ms) => Some(ms),
            Err(error) => {
                let message = format!("`{key}` is {error}");
                self.wrong(entry, text.span(), &message, durations::BadDuration::HINT);
                None
            }
        }
    }

    /// A whole number from 1.
    pub(super) fn count(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<u32> {
        let field = table.get(key)?;
        let count = match field.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if count.is_none_or(|count| count == 0) {
            self.wrong_type(entry, key, field, "a whole number from 1");
            return None;
        }
        count
    }

    /// A table of a role, credential or provider.
    pub(super) fn table<'t, 'i>(
        &mut self,
        entry: Entry<'_>,
        table: &'t DeTable<'i>,
        key: &str,
    ) -> Option<(Range<usize>, &'t DeTable<'i>)> {
        let field = table.get(key)?;
        match field.get_ref().as_table() {
            Some(inner) => Some((field.span(), inner)),
            None => {
                self.wrong_type(entry, key, field, "a table");
                None
            }
        }
    }

    /// A reference; or, where somebody wrote the secret itself, a reference to that.
    pub(super) fn place(
        &mut self,
        entry: Entry<'_>,
        key: &str,
        field: &Field<'_>,
    ) -> Option<SecretRef> {
        let Some(text) = field.get_ref().as_str() else {
            self.wrong_type(entry, key, field, "a reference to a secret");
            return None;
        };
        if !self.leaks_in(&field.span()).is_empty() {
            // Overwritten from end to end: the whole string is the secret.
            let whole = text.trim().bytes().all(|byte| matches!(byte, b'*' | b'\r' | b'\n'));
            return whole.then(|| SecretRef::in_inventory(&field.span()));
        }
        let read = text.parse::<SecretRef>().and_then(|place| place.vet().map(|()| place));
        let error = match read {
            Ok(place) if place.scheme != "inventory" => {
                return self.has_command(entry, key, &place, field).then_some(place);
            }
            Ok(_) => SecretRef::reserved(),
            Err(error) => error,
        };
        let problem = Problem::at(field.span(), format!("`{key}`: {}", error.message));
        let problem = problem.of(entry.role, entry.credential).hint(error.hint);
        self.problems.push(problem.masking(field.span()));
        leak::is_bare(text).then(|| SecretRef::in_inventory(&field.span()))
    }

    /// Tells every secret in the strings below `field`, and remembers where they are. What stands
    /// under `vars`, `handle` and places has random names in it that are no secrets; only known
    /// forms count there.
    pub(super) fn sweep(&mut self, entry: Entry<'_>, field: &Field<'_>, dense: bool) {
        match field.get_ref() {
            DeValue::String(text) => self.sweep_string(entry, text, field.span(), dense),
            DeValue::Array(array) => {
                for item in array.iter() {
                    self.sweep(entry, item, dense);
                }
            }
            DeValue::Table(table) => self.sweep_table(entry, table, dense),
            _ => {}
        }
    }

    pub(super) fn sweep_table(&mut self, entry: Entry<'_>, table: &DeTable<'_>, dense: bool) {
        for (key, value) in table {
            let random = matches!(
                key.get_ref().as_ref(),
                "vars" | "handle" | "secret" | "deliver" | "credential"
            );
            if key.get_ref() != "credential" {
                self.sweep(entry, value, dense && !random);
            }
        }
    }

    fn sweep_string(
        &mut self,
        entry: Entry<'_>,
        text: &DeString<'_>,
        span: Range<usize>,
        dense: bool,
    ) {
        let leaks = self.leaks_in(&span);
        let first = self.leaks.partition_point(|leak| leak.span.end <= span.start);
        for (offset, leak) in leaks.iter().enumerate() {
            self.tainted.insert(span.start);
            if self.reported.insert(first + offset) {
                self.push(super::leaked(leak, entry));
            }
        }
        if !leaks.is_empty() {
            return;
        }
        // Written with escapes, a secret shows only in the value.
        let escaped = match text {
            Cow::Owned(value) => leak::scan(value).into_iter().next().map(|leak| leak.form),
            Cow::Borrowed(_) => None,
        };
        let form = escaped.or_else(|| (dense && leak::is_dense(text)).then_some("a random string"));
        if let Some(form) = form {
            self.tainted.insert(span.start);
            self.push(super::leaked(&Leak { span, form }, entry));
        }
    }

    fn leaks_in(&self, span: &Range<usize>) -> &'a [Leak] {
        let from = self.leaks.partition_point(|leak| leak.span.end <= span.start);
        let to = self.leaks.partition_point(|leak| leak.span.start < span.end);
        self.leaks.get(from..to.max(from)).unwrap_or_default()
    }
}

/// What a name looks like, for people who wrote another.
pub(super) const NAMES: &str =
    "use letters, digits, dots, hyphens and underscores; begin with a letter or digit";

/// `[A-Za-z0-9][A-Za-z0-9._-]*`: what argv, file names and reports take as it is.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

pub(super) fn name_or<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    if is_name(name) { name } else { otherwise }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
