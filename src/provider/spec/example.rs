//! Recorded exchanges: what a server answered, and what the file must read in it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use zeroize::Zeroizing;

use super::Spec;
use super::call::CallSpec;
use super::judge::{self, Answered, Seen as Class, Went, as_text, taken};
use super::predicate::SEEN;
use super::reader::{Node, Table, did_you_mean, to_json};
use super::verb::{VERBS, name_of};
use crate::engine::call::{Values, Verb};
use crate::engine::capability::{PartType, Seen};

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Accepted.
    Alive,
    /// Accepted, without the right.
    Restricted,
    /// Refused.
    Dead,
    /// No class, or several.
    Unknown,
    /// Later.
    Limited,
    /// Done.
    Ok,
    /// Done before us.
    Gone,
    /// Not done.
    Refused,
}

const MEANINGS: [(&str, Means); 8] = [
    ("alive", Means::Alive),
    ("restricted", Means::Restricted),
    ("dead", Means::Dead),
    ("unknown", Means::Unknown),
    ("limited", Means::Limited),
    ("ok", Means::Ok),
    ("gone", Means::Gone),
    ("refused", Means::Refused),
];

/// A recorded exchange.
#[derive(Clone, Debug)]
pub struct Example {
    /// The kind.
    pub kind: String,
    /// The verb.
    pub verb: Verb,
    /// From 0.
    pub way: usize,
    /// From 0.
    pub step: usize,
    /// HTTP status.
    pub status: u16,
    /// Headers of the answer, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// What it means.
    pub means: Means,
    /// What `take` must read.
    pub gives: Values,
    /// A secret to compare hints with.
    pub secret: Option<String>,
    /// Vars that predicates name.
    pub vars: Values,
    /// How sure.
    pub seen: Seen,
    pub(crate) span: Range<usize>,
}

/// An example that the file reads otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {verb}: {what}")]
pub struct Mismatch {
    /// The kind.
    pub kind: String,
    /// The verb.
    pub verb: &'static str,
    /// What differs.
    pub what: String,
}

impl Example {
    pub(crate) fn read(table: &Table<'_>, spec: &Spec) -> Option<Self> {
        let errors = table.errors;
        let kind = table.demand_string("kind");
        let verb = table.demand("verb").and(table.word("verb", &VERBS));
        let means = table.demand("means").and(table.word("means", &MEANINGS));
        let seen = table.demand("seen").and(table.word("seen", &SEEN));
        table.string("source");
        let values = |key| {
            let inner = table.table(key);
            let entries = inner.iter().flat_map(Table::all);
            entries.map(|(name, _, node)| (name.to_owned(), to_json(node))).collect::<Values>()
        };
        let (gives, vars) = (values("gives"), values("vars"));
        let (way, step) = (table.number("way"), table.number("step"));
        let secret = table.string("secret").map(|text| (*text.get_ref()).to_owned());
        let answer = table.demand("answer").and_then(|node| answer(node, table));
        table.finish();
        let kind = kind?;
        if !spec.kinds.contains_key(*kind.get_ref()) {
            let hint = did_you_mean(kind.get_ref(), spec.kinds());
            errors.add(kind.span(), format!("there is no kind `{}`", kind.get_ref()), hint);
            return None;
        }
        let (status, headers, body) = answer?;
        Some(Self {
            kind: (*kind.get_ref()).into(),
            verb: verb?,
            way: way.unwrap_or(1).saturating_sub(1) as usize,
            step: step.unwrap_or(1).saturating_sub(1) as usize,
            status,
            headers,
            body,
            means: means?,
            gives,
            secret,
            vars,
            seen: seen?,
            span: table.span.clone(),
        })
    }

    /// Replays it against the file.
    ///
    /// # Errors
    /// What the file reads otherwise.
    pub fn replay(&self, spec: &Spec) -> Result<(), Mismatch> {
        let wrong =
            |what: String| Mismatch { kind: self.kind.clone(), verb: name_of(self.verb), what };
        let kind = spec.kinds.get(&self.kind).ok_or_else(|| wrong("no such kind".into()))?;
        let call = match self.verb {
            Verb::Login => kind.login.as_ref(),
            verb => kind
                .verbs
                .get(&verb)
                .and_then(|ways| ways.get(self.way))
                .and_then(|way| way.steps.get(self.step)),
        };
        let call = call.ok_or_else(|| wrong("the file has no such way or step".into()))?;
        let body = Zeroizing::new(self.body.clone().into_bytes());
        let answered = Answered::new(self.status, self.headers.clone(), body);
        let vars = |name: &str| {
            let default = || spec.vars.get(name).and_then(|var| var.default.clone());
            self.vars.get(name).cloned().or_else(default)
        };
        let means = meaning(spec, call, self.verb, &answered, &vars);
        if means != self.means {
            let word = |means| MEANINGS.iter().find(|(_, m)| *m == means).map_or("", |(w, _)| *w);
            return Err(wrong(format!("means `{}`, not `{}`", word(means), word(self.means))));
        }
        let secret: Vec<&str> = kind
            .head
            .parts
            .iter()
            .filter(|(_, part)| part.part.part_type == PartType::Secret)
            .map(|(name, _)| name.as_str())
            .collect();
        self.taken(call, &answered, &vars, &secret).map_err(wrong)
    }

    fn taken(
        &self,
        call: &CallSpec,
        answered: &Answered,
        vars: judge::Vars<'_>,
        secret: &[&str],
    ) -> Result<(), String> {
        let reads = matches!(self.means, Means::Ok | Means::Alive | Means::Restricted);
        if !reads {
            return Ok(());
        }
        let rows = call.rows(answered, vars).unwrap_or_default();
        let hinted = |row: &&&Value| match (&call.hint, &self.secret) {
            (Some(hint), Some(secret)) => hint.fits(row, secret.as_bytes()),
            _ => true,
        };
        let row = rows.iter().find(hinted).copied();
        for (name, wanted) in &self.gives {
            let found = call.take.get(name).and_then(|taking| taken(taking, row, answered));
            if found.as_ref() != Some(wanted) {
                let found = found.as_ref().and_then(as_text);
                let found = found.unwrap_or_else(|| "nothing".into());
                return Err(format!("`{name}` reads {found}"));
            }
        }
        // A pointer that finds no secret would be noticed on the day it matters.
        for (name, taking) in call.take.iter().filter(|(name, _)| secret.contains(&name.as_str())) {
            if taken(taking, row, answered).is_none() {
                return Err(format!("`{name}` reads nothing"));
            }
        }
        Ok(())
    }
}

fn answer(node: &Node<'_>, example: &Table<'_>) -> Option<(u16, BTreeMap<String, String>, String)> {
    let table = Table::of("answer", node, example.errors)?;
    table.demand("status");
    let status = table.number("status").and_then(|status| u16::try_from(status).ok());
    let entries = table.table("headers");
    let header = |(name, _, node): (&str, _, &Node<'_>)| {
        Some((name.to_ascii_lowercase(), as_text(&to_json(node))?))
    };
    let headers = entries.iter().flat_map(Table::all).filter_map(header).collect();
    let json = table.get("json").map(|node| to_json(node).to_string());
    let text = table.string("text").map(|text| (*text.get_ref()).to_owned());
    table.finish();
    Some((status?, headers, json.or(text).unwrap_or_default()))
}

fn meaning(
    spec: &Spec,
    call: &CallSpec,
    verb: Verb,
    answered: &Answered,
    vars: judge::Vars<'_>,
) -> Means {
    if judge::limited(&spec.limited, answered, vars, 0).is_some() {
        return Means::Limited;
    }
    if verb == Verb::Probe {
        return match call.classes.of(answered, vars).filter(|_| answered.status < 500) {
            Some(Class::Alive) if call.classes.identity(answered).is_none() => Means::Unknown,
            Some(Class::Alive) => Means::Alive,
            Some(Class::Restricted) => Means::Restricted,
            Some(Class::Dead { .. }) => Means::Dead,
            None => Means::Unknown,
        };
    }
    match call.went(answered, vars) {
        Went::Ok => Means::Ok,
        Went::Gone => Means::Gone,
        Went::Refused => Means::Refused,
    }
}
