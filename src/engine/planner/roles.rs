//! Which roles a run is of: those that were named, those that something passed through, and those
//! they delegated to.

use std::collections::BTreeSet;

use super::super::plan::{Options, PlanError};
use crate::inventory::{Inventory, Role};

/// A role of the run, and why it is in it where nobody named it.
pub(super) struct Chosen<'a> {
    pub(super) role: &'a Role,
    pub(super) because: Option<String>,
}

/// The roles of a run, each once, in the order in which they came in.
pub(super) fn chosen<'a>(
    inventory: &'a Inventory,
    named: &[String],
    options: &Options,
) -> Result<Vec<Chosen<'a>>, PlanError> {
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in named {
        let role = inventory.roles.get(name).ok_or_else(|| PlanError::UnknownRole {
            role: name.clone(),
            nearest: nearest(name, inventory.roles.keys()),
        })?;
        if seen.insert(name.as_str()) {
            chosen.push(Chosen { role, because: None });
        }
    }
    for name in &options.through {
        let mut passed = false;
        for role in inventory.roles.values() {
            let marked = role.credentials.iter().find(|one| one.through.contains(name));
            let Some(marked) = marked else { continue };
            passed = true;
            if seen.insert(role.name.as_str()) {
                let because = Some(format!("{} passed through {name}", marked.name));
                chosen.push(Chosen { role, because });
            }
        }
        if !passed {
            let known = inventory.roles.values().flat_map(|role| &role.credentials);
            let nearest = nearest(name, known.flat_map(|one| &one.through));
            return Err(PlanError::NothingThrough { through: name.clone(), nearest });
        }
    }
    if options.with_delegates {
        // The list grows while it is walked: delegates of delegates come in too, each once.
        let mut at = 0;
        while let Some(from) = chosen.get(at).map(|one| one.role) {
            for role in from.delegates_to.iter().filter_map(|name| inventory.roles.get(name)) {
                if seen.insert(role.name.as_str()) {
                    let because = Some(format!("{} delegates to it", from.name));
                    chosen.push(Chosen { role, because });
                }
            }
            at += 1;
        }
    }
    Ok(chosen)
}

/// Roles outside the run that any of its roles delegated to, directly or by way of others.
pub(super) fn downstream(inventory: &Inventory, roles: &[&Role]) -> Vec<String> {
    let mut seen: BTreeSet<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    let mut found = Vec::new();
    let mut open: Vec<&Role> = roles.to_vec();
    while let Some(from) = open.pop() {
        for name in &from.delegates_to {
            if seen.insert(name) {
                found.push(name.clone());
                open.extend(inventory.roles.get(name));
            }
        }
    }
    found.sort();
    found
}

/// Roles outside the run that can hand this one new credentials.
pub(super) fn upstream(inventory: &Inventory, role: &Role, of_run: &BTreeSet<&str>) -> Vec<String> {
    let others = inventory.roles.values().filter(|other| !of_run.contains(other.name.as_str()));
    others
        .filter(|other| other.delegates_to.contains(&role.name))
        .map(|other| other.name.clone())
        .collect()
}

/// The name that was probably meant. On a command line that is often one whose beginning was
/// typed, far from it by the count of edits that tells a slip in an inventory.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    /// Below this, two names have too little in common to suggest one for the other.
    const LIKENESS: f64 = 0.7;
    known
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other.clone())
}
