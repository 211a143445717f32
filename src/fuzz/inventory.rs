//! The text of an inventory.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{catalog, clients, now, options, resolved};
use crate::engine::plan::{Options, Plan};
use crate::inventory::{Credential, Inventory, Problem, Reload, VarValue, leak, render};
use crate::provider::catalog::Resolved;

/// Whatever the text says, every problem has its place, what can be used can be planned, and no
/// secret that stands in it is said again.
pub fn inventory(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut read = match Inventory::parse(text) {
        Ok(read) => read,
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            return assert_placed(&problems.0, text);
        }
    };
    assert_eq!(read.problems, Inventory::parse(text).unwrap().problems, "read otherwise");
    assert_placed(&read.problems, text);
    let moved =
        (!read.providers.is_empty()).then(|| catalog().resolve(&read.providers, &clients(), now()));
    let known = moved.as_ref().unwrap_or(resolved());
    known.check(&mut read, text);
    assert_placed(&read.problems, text);
    assert_spans(&read, text);
    let shown = format!("{read:?}");
    assert!(leaked(text).all(|secret| !shown.contains(secret)), "a secret is held");
    plans(&read, known);

    read.withhold_code(text, "others may change it");
    assert_placed(&read.problems, text);
    assert!(read.commands.is_empty() && read.roles.values().all(|role| role.stop.is_none()));
    assert!(all(&read).all(runs_nothing), "a command is left");
    plans(&read, known);
}

fn all(inventory: &Inventory) -> impl Iterator<Item = &Credential> {
    inventory.roles.values().flat_map(|role| &role.credentials).chain(inventory.admins.values())
}

fn runs_nothing(credential: &Credential) -> bool {
    let vars = credential.vars.values().filter_map(|value| match value {
        VarValue::Reference(place) => Some(place),
        VarValue::Literal(_) => None,
    });
    let delivered = credential.deliver.iter().flat_map(BTreeMap::values);
    let mut places = credential.secret.values().chain(delivered).chain(vars);
    places.all(|place| place.scheme != "cmd") && !matches!(credential.reload, Reload::Command(_))
}

fn assert_placed(problems: &[Problem], text: &str) {
    let lines = text.split('\n').collect::<Vec<_>>();
    for problem in problems {
        assert_within(&problem.span, text);
        assert!(problem.mask.as_ref().is_none_or(|mask| text.get(mask.clone()).is_some()));
        let line = lines.get(problem.line.wrapping_sub(1)).unwrap();
        assert!((1..=line.chars().count() + 1).contains(&problem.column), "{problem:?}");
        assert!(!problem.message.is_empty());
    }
    let page = render(problems, "inventory.toml", text, false);
    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    assert!(page.chars().all(plain), "a terminal would obey");
    assert!(leaked(text).all(|secret| !page.contains(secret)), "a secret is shown");
}

fn assert_within(span: &Range<usize>, text: &str) {
    assert!(text.get(span.clone()).is_some(), "{span:?} is no place in the text");
}

fn assert_spans(inventory: &Inventory, text: &str) {
    inventory.roles.values().for_each(|role| assert_within(&role.span, text));
    inventory.providers.values().for_each(|provider| assert_within(&provider.span, text));
    for credential in all(inventory) {
        assert_within(&credential.span, text);
        credential.spans.values().for_each(|span| assert_within(span, text));
        assert!((1..=text.split('\n').count()).contains(&credential.line));
    }
}

/// Secrets of a known form, but for those that also stand where the form is part of a longer word.
fn leaked(text: &str) -> impl Iterator<Item = &str> {
    let mut found = BTreeMap::new();
    for leak in leak::scan(text) {
        *found.entry(text.get(leak.span).unwrap()).or_insert(0) += 1;
    }
    let everywhere = |(secret, count): (&'_ str, usize)| text.matches(secret).count() == count;
    found.into_iter().filter(move |one| everywhere(*one)).map(|(secret, _)| secret)
}

/// Each kind of plan, of all roles at once; what a journal keeps of it is the plan.
fn plans(inventory: &Inventory, known: &Resolved) {
    let roles: Vec<String> = inventory.roles.keys().cloned().collect();
    let wide = Options {
        deliver: true,
        with_delegates: true,
        revoke_strangers: true,
        contained: roles.clone(),
        ..options()
    };
    for options in [options(), wide] {
        for make in [Plan::contain, Plan::rehearse, Plan::restore] {
            let Ok(plan) = make(inventory, &known.capabilities, &roles, &options) else { continue };
            let kept = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&kept).unwrap(), plan, "kept otherwise");
        }
    }
}
