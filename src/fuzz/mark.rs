//! `|role|why|the inventory`, whatever the first byte is.

use super::fields;
use crate::inventory::mark::{contained, released};
use crate::inventory::{Inventory, Mark};

/// A mark is written and read, and taken away again: nothing else of the inventory changes.
pub fn mark(data: &[u8]) {
    let Some([role, because, text]) = fields(data) else { return };
    let [Ok(role), Ok(because), Ok(text)] = [role, because, text].map(std::str::from_utf8) else {
        return;
    };
    let mark = Mark { because: Some(because.to_owned()), ..Mark::default() };
    let Ok(marked) = contained(text, role, &mark) else { return };
    let Ok(before) = Inventory::parse(text) else {
        // A name that is given twice aside, it is TOML: so is what was made of it.
        return drop(Inventory::parse(&marked));
    };
    let after = Inventory::parse(&marked).unwrap();
    let held = after.roles.get(role).map(|role| role.contained.is_some());
    assert_ne!(held, Some(false), "the mark is not read");
    assert_eq!(names(&before), names(&after), "another entry is read");
    // The line that was added, or the value that was written over.
    let kept = text.bytes().zip(marked.bytes()).take_while(|(a, b)| a == b).count();
    let behind = text.bytes().rev().zip(marked.bytes().rev()).take_while(|(a, b)| a == b).count();
    let first = before
        .roles
        .get(role)
        .is_some_and(|role| role.contained.is_none() && role.disabled.is_none());
    assert!(!first || kept + behind >= text.len(), "more than the mark has changed");
    let again = contained(&marked, role, &mark).unwrap();
    assert_eq!(again, marked, "marked twice, it is another text");

    let Ok(free) = released(&marked, role) else { return };
    let after = Inventory::parse(&free).unwrap();
    assert!(after.roles.get(role).is_none_or(|role| role.contained.is_none()));
    assert_eq!(names(&before), names(&after), "another entry is read");
    let headed = marked.matches('[').count() == text.matches('[').count();
    assert!(!first || !headed || free == text, "released, it is another text");
}

/// What it lists.
fn names(inventory: &Inventory) -> Vec<(&str, &str, usize)> {
    let of = |it: &'_ crate::inventory::Credential| it.secret.len() + it.deliver.len();
    let roles = inventory.roles.values().flat_map(move |role| {
        role.credentials.iter().map(move |it| (role.name.as_str(), it.provider.as_str(), of(it)))
    });
    let admins = inventory.admins.values();
    roles.chain(admins.map(move |it| ("", it.provider.as_str(), of(it)))).collect()
}
