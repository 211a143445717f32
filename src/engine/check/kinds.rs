//! Kinds that were left out: filled in where only one is possible.

use std::collections::BTreeMap;

use crate::engine::capability::{Capabilities, KindRef, ProviderCapability};
use crate::inventory::Inventory;

/// Fills in kinds that were left out: of roles first, for these say what their admins must be.
pub(super) fn fill_in(inventory: &mut Inventory, capabilities: &Capabilities) {
    for role in inventory.roles.values_mut() {
        for it in role.credentials.iter_mut().filter(|it| it.kind.is_none()) {
            it.kind = capabilities.providers.get(&it.provider).and_then(only_kind);
        }
    }
    // Four rounds: an admin of an admin of an admin is as deep as any provider goes.
    for _ in 0..4 {
        let asked = asked(inventory, capabilities);
        let mut found = false;
        for it in inventory.admins.values_mut().filter(|it| it.kind.is_none()) {
            let Some(provider) = capabilities.providers.get(&it.provider) else {
                continue;
            };
            it.kind = match asked.get(&it.name) {
                Some(kinds) => match kinds.get(&provider.file).map(Vec::as_slice) {
                    Some([only]) => Some(only.clone()),
                    _ => None,
                },
                None => None,
            };
            found |= it.kind.is_some();
        }
        if !found {
            break;
        }
    }
    for it in inventory.admins.values_mut().filter(|it| it.kind.is_none()) {
        let provider = capabilities.providers.get(&it.provider);
        it.kind = provider.and_then(|provider| match serving(provider).as_slice() {
            [only] => Some((*only).to_owned()),
            _ => only_kind(provider),
        });
    }
}

/// Of each admin, by file, the kinds that everybody who uses it allows.
fn asked(
    inventory: &Inventory,
    capabilities: &Capabilities,
) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut asked: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (_, it) in inventory.credentials() {
        let Some(provider) = capabilities.providers.get(&it.provider) else { continue };
        let Some(kind) = it.kind.as_ref().and_then(|kind| provider.kinds.get(kind)) else {
            continue;
        };
        let admins =
            it.admin.iter().filter_map(|(name, target)| Some((target, kind.admin.get(name)?)));
        for (target, allowed) in admins.chain(it.client.iter().map(|it| (it, &kind.client))) {
            let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for KindRef { file, kind } in allowed {
                let file = file.clone().unwrap_or_else(|| provider.file.clone());
                by_file.entry(file).or_default().push(kind.clone());
            }
            match asked.get_mut(target) {
                None => {
                    asked.insert(target.clone(), by_file);
                }
                Some(before) => before.retain(|file, kinds| {
                    let now = by_file.get(file);
                    kinds.retain(|kind| now.is_some_and(|now| now.contains(kind)));
                    !kinds.is_empty()
                }),
            }
        }
    }
    asked
}

/// The kind that a role's credential must be when nothing is said: the file's only one, or its
/// only one that does not serve others.
fn only_kind(provider: &ProviderCapability) -> Option<String> {
    let serving = serving(provider);
    let mut own = provider.kinds.keys().filter(|kind| !serving.contains(&kind.as_str()));
    let mut all = provider.kinds.keys();
    match (own.next(), own.next(), all.next(), all.next()) {
        (Some(only), None, ..) | (_, _, Some(only), None) => Some(only.clone()),
        _ => None,
    }
}

/// Kinds that stand as admin or client of another kind of the file.
fn serving(provider: &ProviderCapability) -> Vec<&str> {
    let mut serving: Vec<&str> = Vec::new();
    for (name, kind) in &provider.kinds {
        for it in kind.admin.values().flatten().chain(&kind.client) {
            let here = it.file.as_ref().is_none_or(|file| *file == provider.file);
            if here && it.kind != *name && !serving.contains(&it.kind.as_str()) {
                serving.push(&it.kind);
            }
        }
    }
    serving
}
