//! What an answer means. Pure: the same functions judge a server and a recorded exchange.

use std::collections::BTreeMap;

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::call::{CallSpec, Classes, Hint, Taking};
use super::marker::{Json, Named, Piece, Text};
use super::predicate::{Limited, Matcher, Predicate, Wait};

/// Public values that predicates may name: vars.
pub(crate) type Vars<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// An answer, read whole. Zeroed when dropped: lists may hold live values.
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    body: Zeroizing<Vec<u8>>,
    json: Option<Value>,
}

impl Answered {
    pub(crate) fn new(
        status: u16,
        headers: BTreeMap<String, String>,
        body: Zeroizing<Vec<u8>>,
    ) -> Self {
        let json = serde_json::from_slice(&body).ok();
        Self { status, headers, body, json }
    }

    pub(crate) fn json(&self) -> Option<&Value> {
        self.json.as_ref()
    }

    fn contains(&self, needle: &str) -> bool {
        contains(&self.body, needle.as_bytes())
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(json) = &mut self.json {
            wipe(json);
        }
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(table) => table.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether `bytes` hold `needle`.
pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}

/// A scalar as text; lists and tables as JSON, null as nothing.
pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A text whose markers are vars; `None` where one has no value.
pub(crate) fn filled(text: &Text, vars: Vars<'_>) -> Option<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(plain) => Some(plain.clone()),
        Piece::Marker(marker) => match &marker.value {
            Named::Var { name, .. } => vars(name).as_ref().and_then(as_text),
            _ => None,
        },
    };
    text.0.iter().map(piece).collect()
}

fn value(json: &Json, vars: Vars<'_>) -> Option<Value> {
    match json {
        Json::Fixed(value) => Some(value.clone()),
        Json::Text(text) => match text.whole().map(|marker| &marker.value) {
            Some(Named::Var { name, .. }) => vars(name),
            _ => filled(text, vars).map(Value::from),
        },
        Json::List(list) => list.iter().map(|item| value(item, vars)).collect(),
        Json::Object(entries) => {
            let entry = |(key, json): &(String, Json)| Some((key.clone(), value(json, vars)?));
            entries.iter().map(entry).collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
    }
}

impl Matcher {
    pub(crate) fn holds(&self, found: Option<&Value>, vars: Vars<'_>) -> bool {
        let found = found.filter(|found| !found.is_null());
        match self {
            Self::Equals(json) => found.is_some() && found == value(json, vars).as_ref(),
            Self::Exists(wanted) => found.is_some() == *wanted,
            Self::OneOf(list) => found.is_some_and(|found| list.contains(found)),
            Self::Matches(pattern) => {
                found.and_then(as_text).is_some_and(|text| pattern.matches(&text))
            }
        }
    }
}

impl Predicate {
    pub(crate) fn holds(&self, answered: &Answered, vars: Vars<'_>) -> bool {
        let status = self.status.is_empty()
            || self.status.iter().any(|(low, high)| (*low..=*high).contains(&answered.status));
        let json = self.json.iter().all(|(pointer, matcher)| {
            answered.json().is_some_and(|json| {
                let all = pointer.all(json);
                match all.as_slice() {
                    [] => matcher.holds(None, vars),
                    some => some.iter().any(|found| matcher.holds(Some(found), vars)),
                }
            })
        });
        let header = self.header.iter().all(|(name, matcher)| {
            let found = answered.headers.get(name).map(|text| Value::from(text.as_str()));
            matcher.holds(found.as_ref(), vars)
        });
        let text = self
            .text
            .as_ref()
            .is_none_or(|text| filled(text, vars).is_some_and(|text| answered.contains(&text)));
        status && json && header && text
    }
}

/// Milliseconds to wait where an answer means "later"; the inner `None` where it does not say how
/// long. 429 always does. `now_ms` is the wall clock, for delays given as a point in time.
pub(crate) fn limited(
    rules: &[Limited],
    answered: &Answered,
    vars: Vars<'_>,
    now_ms: i64,
) -> Option<Option<u64>> {
    let retry_after = || retry_after(answered, now_ms);
    let Some(rule) = rules.iter().find(|rule| rule.when.holds(answered, vars)) else {
        return (answered.status == 429).then(retry_after);
    };
    let said = match &rule.wait {
        Some(Wait::Json(pointer)) => {
            answered.json().and_then(|json| pointer.of(json)).and_then(as_text)
        }
        Some(Wait::Header(name)) => answered.headers.get(name).cloned(),
        None => None,
    };
    Some(said.and_then(|said| delay_ms(&said, now_ms)).or_else(retry_after))
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(answered: &Answered, now_ms: i64) -> Option<u64> {
    let said = answered.headers.get("retry-after")?;
    delay_ms(said, now_ms).or_else(|| {
        let until = jiff::fmt::rfc2822::parse(said).ok()?.timestamp().as_millisecond();
        Some(u64::try_from(until.saturating_sub(now_ms)).unwrap_or(0))
    })
}

/// Seconds; above 10^9 (September 2001) they are a point in time.
fn delay_ms(said: &str, now_ms: i64) -> Option<u64> {
    let seconds: f64 = said.trim().parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0)?;
    let ms = (seconds * 1000.0).ceil();
    let ms = if seconds > 1e9 { (ms - now_ms as f64).max(0.0) } else { ms };
    Some(ms as u64)
}

/// The class of a probe's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Alive,
    Restricted,
    Dead { by_name: bool },
}

impl Classes {
    /// The one class that matches; `None` for none or several.
    pub(crate) fn of(&self, answered: &Answered, vars: Vars<'_>) -> Option<Seen> {
        let any = |list: &[Predicate]| list.iter().any(|one| one.holds(answered, vars));
        let dead: Vec<&Predicate> =
            self.dead.iter().filter(|one| one.holds(answered, vars)).collect();
        match (any(&self.alive), any(&self.restricted), dead.is_empty()) {
            (true, false, true) => Some(Seen::Alive),
            (false, true, true) => Some(Seen::Restricted),
            (false, false, false) => {
                Some(Seen::Dead { by_name: dead.iter().any(|one| one.by_name) })
            }
            _ => None,
        }
    }

    /// The principal, where the probe tells one: `None` if any part of it is missing.
    pub(crate) fn identity(&self, answered: &Answered) -> Option<String> {
        let json = answered.json();
        let part = |pointer: &super::predicate::Pointer| {
            json.and_then(|json| pointer.of(json)).and_then(as_text)
        };
        let parts: Option<Vec<String>> = self.who.iter().map(part).collect();
        parts.map(|parts| parts.join("/"))
    }
}

/// How a call that is no probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    Ok,
    Gone,
    Refused,
}

impl CallSpec {
    /// `gone` is the narrower claim: where both hold, it was done before us.
    pub(crate) fn went(&self, answered: &Answered, vars: Vars<'_>) -> Went {
        let any = |list: &[Predicate]| list.iter().any(|one| one.holds(answered, vars));
        match (any(&self.gone), any(&self.ok)) {
            (true, _) => Went::Gone,
            (false, true) => Went::Ok,
            (false, false) => Went::Refused,
        }
    }

    /// The rows of a list that its conditions leave; without `rows`, the answer is the one row.
    pub(crate) fn rows<'v>(
        &self,
        answered: &'v Answered,
        vars: Vars<'_>,
    ) -> Option<Vec<&'v Value>> {
        let mut rows = self.all_rows(answered)?;
        rows.retain(|row| {
            self.conditions.iter().all(|(pointer, matcher)| matcher.holds(pointer.of(row), vars))
        });
        Some(rows)
    }

    /// Every row of a page, whatever its conditions leave of them.
    pub(crate) fn all_rows<'v>(&self, answered: &'v Answered) -> Option<Vec<&'v Value>> {
        let json = answered.json()?;
        let Some(pointer) = &self.rows else { return Some(vec![json]) };
        let mut rows = Vec::new();
        for found in pointer.all(json) {
            match found {
                Value::Array(list) => rows.extend(list),
                Value::Object(_) => rows.push(found),
                _ => return None,
            }
        }
        if rows.is_empty() && pointer.all(json).is_empty() && !pointer.0.contains('*') {
            return None;
        }
        Some(rows)
    }
}

/// Reads one taken value, from the row or the headers.
pub(crate) fn taken(taking: &Taking, row: Option<&Value>, answered: &Answered) -> Option<Value> {
    match taking {
        Taking::Json(pointer) => row.and_then(|row| pointer.of(row)).cloned(),
        Taking::Header { name, matches } => {
            let text = answered.headers.get(name)?;
            let Some(pattern) = matches else { return Some(Value::from(text.as_str())) };
            let captures = pattern.regex()?.captures(text)?;
            captures.get(1).or_else(|| captures.get(0)).map(|found| Value::from(found.as_str()))
        }
    }
}

impl Hint {
    /// Whether every hint of the row fits the secret.
    pub(crate) fn fits(&self, row: &Value, secret: &[u8]) -> bool {
        let text = |pointer: &Option<super::predicate::Pointer>| {
            pointer.as_ref().map(|pointer| {
                pointer
                    .of(row)
                    .and_then(as_text)
                    .filter(|text| !text.is_empty())
                    .map(Zeroizing::new)
            })
        };
        let check = |hint: Option<Option<Zeroizing<String>>>, holds: &dyn Fn(&str) -> bool| {
            hint.is_none_or(|found| found.is_some_and(|found| holds(&found)))
        };
        check(text(&self.prefix), &|hint| secret.starts_with(hint.as_bytes()))
            && check(text(&self.suffix), &|hint| secret.ends_with(hint.as_bytes()))
            && check(text(&self.equals), &|hint| secret == hint.as_bytes())
            && check(text(&self.masked), &|hint| unmasked(hint, secret))
    }
}

/// A masked value: what stands before and behind its dots, stars or ellipsis.
fn unmasked(hint: &str, secret: &[u8]) -> bool {
    let mask = |c: char| matches!(c, '.' | '*' | '…' | '•');
    let (Some(from), Some(to)) = (hint.find(mask), hint.rfind(mask)) else {
        return secret == hint.as_bytes();
    };
    let end = hint.get(to..).and_then(|rest| rest.chars().next()).map_or(to, |c| to + c.len_utf8());
    let (head, tail) = (hint.get(..from).unwrap_or(""), hint.get(end..).unwrap_or(""));
    // Fewer than four letters shown would fit too many.
    head.len() + tail.len() >= 4
        && secret.len() >= head.len() + tail.len()
        && secret.starts_with(head.as_bytes())
        && secret.ends_with(tail.as_bytes())
}
