//! Lists, page by page.

use serde_json::Value;
use url::Url;

use super::address::lies_on;
use super::render::Rendered;
use super::scene::Scene;
use super::{SpecProvider, read};
use crate::engine::call::{Answer, Fault, Reason, Row, Verb};
use crate::provider::spec::call::{CallSpec, Next};
use crate::provider::spec::judge::{Answered, Went, as_text, taken};

/// The most pages that are read: 200 of 100 rows are more credentials than one owner has.
const PAGES_MAX: usize = 200;

/// How a list goes on.
enum Onward {
    End,
    To(Url),
    /// It says it goes on, but not to where we may follow.
    Lost,
}

/// How far a list was read: rows that its conditions leave out count, or a page of them alone
/// would look like the end.
struct Read {
    page: usize,
    /// Rows of this page.
    here: usize,
    /// Rows of all pages so far.
    rows: usize,
}

impl SpecProvider {
    /// Reads a list to its end, beginning with the answer to its first page. What cannot be read
    /// to the end is told as such: nothing in it is unique then.
    pub(crate) async fn list(
        &self,
        scene: &Scene<'_>,
        call: &CallSpec,
        first: Answered,
        mut rendered: Rendered,
    ) -> Answer {
        let mut rows = Vec::new();
        let mut answered = first;
        let mut read = Read { page: 0, here: 0, rows: 0 };
        for page in 0..PAGES_MAX {
            match page_rows(scene, call, &answered) {
                Ok((found, complete)) => {
                    rows.extend(found);
                    if !complete {
                        return Answer::Found { rows, complete: false };
                    }
                    let here = call.all_rows(&answered).map_or(0, |all| all.len());
                    read = Read { page, here, rows: read.rows + here };
                    match onward(call, &answered, &rendered, &read) {
                        Onward::End => return Answer::Found { rows, complete: true },
                        Onward::Lost => return Answer::Found { rows, complete: false },
                        Onward::To(url) => rendered.url = url,
                    }
                }
                Err(fault) if page == 0 => return fault,
                Err(_) => return Answer::Found { rows, complete: false },
            }
            answered = match self.sent(Verb::Find, &rendered).await {
                Ok(answered) => answered,
                Err(_) => return Answer::Found { rows, complete: false },
            };
        }
        Answer::Found { rows, complete: false }
    }
}

/// What the first page alone says, for `fuzz`; it goes on as if nothing else came.
#[cfg(any(test, fuzzing))]
pub(crate) fn first_page(
    scene: &Scene<'_>,
    call: &CallSpec,
    answered: &Answered,
    rendered: Option<&Rendered>,
) -> Answer {
    let (rows, mut complete) = match page_rows(scene, call, answered) {
        Ok(page) => page,
        Err(fault) => return fault,
    };
    if let Some(rendered) = rendered {
        let here = call.all_rows(answered).map_or(0, |all| all.len());
        let read = Read { page: 0, here, rows: here };
        match onward(call, answered, rendered, &read) {
            Onward::To(url) => {
                assert!(lies_on(&url, &rendered.base), "the next page is another host's");
                complete = false;
            }
            Onward::Lost => complete = false,
            Onward::End => {}
        }
    }
    Answer::Found { rows, complete }
}

/// The rows of one page, and whether each of them could be read.
fn page_rows(
    scene: &Scene<'_>,
    call: &CallSpec,
    answered: &Answered,
) -> Result<(Vec<Row>, bool), Answer> {
    if let Some(fault) = read::no_verdict(scene, call, answered) {
        return Err(Answer::Fault(fault));
    }
    let vars = |name: &str| scene.var(name);
    if call.went(answered, &vars) != Went::Ok {
        return Err(read::refusal(scene, answered));
    }
    let unexpected =
        || Answer::Fault(Fault::Refused(read::why(Reason::Unexpected, scene, answered)));
    let found = call.rows(answered, &vars).ok_or_else(unexpected)?;
    let mut rows = Vec::new();
    let mut complete = true;
    for value in found {
        match row(scene, call, value, answered) {
            Some(Ok(row)) => rows.push(row),
            Some(Err(reason)) => return Err(Answer::Fault(Fault::Refused(reason.into()))),
            None => complete = false,
        }
    }
    Ok((rows, complete))
}

fn row(
    scene: &Scene<'_>,
    call: &CallSpec,
    value: &Value,
    answered: &Answered,
) -> Option<Result<Row, Reason>> {
    let found =
        |name: &str| call.take.get(name).and_then(|taking| taken(taking, Some(value), answered));
    let text = |name: &str| found(name).as_ref().and_then(as_text);
    let own = scene.kind.head.handle_part().and_then(text);
    let handle = text("handle").or(own).filter(|handle| !handle.is_empty())?;
    let hinted = call.hint.as_ref().is_some_and(|hint| {
        let held = ["old", "live", "it"].iter().find_map(|key| scene.party(key));
        let secret = held.and_then(|acting| acting.parts.secret.get("secret"));
        secret.is_some_and(|secret| !secret.is_empty() && hint.fits(value, secret.expose()))
    });
    let row = Row {
        handle,
        label: text("label"),
        created: text("created"),
        used: text("used"),
        expires: text("expires"),
        scopes: text("scopes"),
        hinted,
        revoked: match found("revoked") {
            Some(Value::Bool(revoked)) => revoked,
            // A date of revocation.
            Some(Value::String(at)) => !at.is_empty(),
            _ => false,
        },
    };
    let written = [
        Some(&row.handle),
        row.label.as_ref(),
        row.created.as_ref(),
        row.used.as_ref(),
        row.expires.as_ref(),
        row.scopes.as_ref(),
    ];
    let echo = written
        .into_iter()
        .flatten()
        .any(|text| read::echoes(scene, &[], &Value::from(text.as_str())));
    Some(if echo { Err(Reason::Echo) } else { Ok(row) })
}

fn onward(call: &CallSpec, answered: &Answered, rendered: &Rendered, read: &Read) -> Onward {
    let at = |pointer: &crate::provider::spec::predicate::Pointer| {
        answered.json().and_then(|json| pointer.of(json))
    };
    match &call.next {
        None => Onward::End,
        Some(Next::Cursor { query, from, more }) => {
            let ended = more.as_ref().is_some_and(|more| at(more) != Some(&Value::Bool(true)));
            match at(from).and_then(as_text).filter(|cursor| !cursor.is_empty()) {
                _ if ended => Onward::End,
                Some(cursor) => turned(rendered, query, &cursor),
                // It says there is more, and not from where.
                None if more.is_some() => Onward::Lost,
                None => Onward::End,
            }
        }
        Some(Next::Page { .. } | Next::Offset(_)) if read.here == 0 => Onward::End,
        Some(Next::Page { query, first }) => {
            turned(rendered, query, &(u64::from(*first) + read.page as u64 + 1).to_string())
        }
        Some(Next::Offset(query)) => turned(rendered, query, &read.rows.to_string()),
        Some(Next::Url(pointer)) => follow(at(pointer).and_then(as_text), rendered),
        Some(Next::Link(relation)) => {
            let header = answered.headers.get("link");
            follow(header.and_then(|header| linked(header, relation)), rendered)
        }
    }
}

/// The same address with one query parameter changed; a cursor that stands still is no way on.
fn turned(rendered: &Rendered, query: &str, value: &str) -> Onward {
    let mut url = rendered.url.clone();
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != query)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair(query, value);
    if url == rendered.url { Onward::Lost } else { Onward::To(url) }
}

fn follow(said: Option<String>, rendered: &Rendered) -> Onward {
    let Some(said) = said.filter(|said| !said.is_empty()) else { return Onward::End };
    match rendered.url.join(&said) {
        Ok(url) if lies_on(&url, &rendered.base) && url != rendered.url => Onward::To(url),
        _ => Onward::Lost,
    }
}

/// The target of a relation in a `Link` header (RFC 8288).
fn linked(header: &str, relation: &str) -> Option<String> {
    header.split('<').skip(1).find_map(|link| {
        let (target, rest) = link.split_once('>')?;
        let named = rest.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|word| word == relation)
        });
        named.then(|| target.to_owned())
    })
}
