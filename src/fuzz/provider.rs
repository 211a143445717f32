//! The text of a provider file.

use std::collections::BTreeMap;

use super::{catalog, options};
use crate::cli::provider_page::page;
use crate::engine::plan::Plan;
use crate::inventory::{Credential, Inventory, Problem, Role, SecretRef, render};
use crate::provider::spec::{SpecError, check, document};

/// Whatever the text says, every error has its place; a file that is right has its pages, and what
/// it describes can be planned.
pub fn provider(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let id = id_of(text).unwrap_or("acme");
    let name = format!("{id}.toml");
    let spec = match check(text, &name) {
        Ok(spec) => spec,
        Err(errors) => return assert_placed(&errors, text),
    };
    assert_eq!(spec.id, id, "a file of another name was taken");
    assert!(!document(&spec).is_empty());
    for example in &spec.examples {
        example.replay(&spec).unwrap();
    }
    let mut all = catalog().clone();
    if let Err(errors) = all.add(text, &name) {
        assert!(errors.iter().all(|error| error.line > 0 && error.column > 0));
        return;
    }
    let (capabilities, problems) = all.capabilities(&BTreeMap::new());
    assert_eq!(problems, []);
    let can = &capabilities.providers[id];
    let plain = |c: char| c == '\n' || !c.is_control();
    assert!(page(&spec, can).chars().all(plain), "a terminal would obey");
    for kind in spec.kinds() {
        assert!(can.kinds.contains_key(kind), "{kind} can do nothing");
        let inventory = holding(id, kind);
        let roles = ["mail".to_owned()];
        for make in [Plan::contain, Plan::rehearse] {
            if let Ok(plan) = make(&inventory, &capabilities, &roles, &options()) {
                let kept = serde_json::to_string(&plan).unwrap();
                assert_eq!(serde_json::from_str::<Plan>(&kept).unwrap(), plan, "kept otherwise");
            }
        }
    }
}

fn id_of(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("id"))?;
    line.split('"').nth(1)
}

/// One role that holds one of this kind, under an admin of the same.
fn holding(provider: &str, kind: &str) -> Inventory {
    let reference: SecretRef = "env:KEY".parse().unwrap();
    let credential = |name: &str| Credential {
        name: name.to_owned(),
        provider: provider.to_owned(),
        kind: Some(kind.to_owned()),
        secret: BTreeMap::from([("secret".to_owned(), reference.clone())]),
        deliver: vec![BTreeMap::from([("secret".to_owned(), reference.clone())])],
        handle: Some("key_1".to_owned()),
        admin: BTreeMap::from([(String::new(), "admin".to_owned())]),
        client: Some("admin".to_owned()),
        ..Credential::default()
    };
    let role = Role {
        name: "mail".to_owned(),
        credentials: vec![credential("one"), credential("two")],
        ..Role::default()
    };
    Inventory {
        roles: BTreeMap::from([(role.name.clone(), role)]),
        admins: BTreeMap::from([("admin".to_owned(), credential("admin"))]),
        ..Inventory::default()
    }
}

fn assert_placed(errors: &[SpecError], text: &str) {
    assert!(!errors.is_empty(), "refused without a reason");
    let lines: Vec<&str> = text.split('\n').collect();
    for error in errors {
        assert!(text.get(error.span.clone()).is_some(), "{error:?} is at no place in the text");
        let line = lines.get(error.line.wrapping_sub(1)).unwrap();
        assert!((1..=line.chars().count() + 1).contains(&error.column), "{error:?}");
        assert!(!error.message.is_empty());
    }
    let problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            line: error.line,
            column: error.column,
            ..Problem::of_provider(error.span.clone(), &error.message, error.hint.clone())
        })
        .collect();
    let page = render(&problems, "file.toml", text, false);
    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    assert!(page.chars().all(plain), "a terminal would obey");
}
