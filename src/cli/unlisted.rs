//! What lies in the files of a role and stands in no entry, before there is a run: listed in a dry
//! run, taken in with `--include-unlisted`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::prepare::Places;
use super::session::Intent;
use crate::engine::capability::Capabilities;
use crate::engine::plan::{Phase, Plan};
use crate::engine::report::Unlisted;
use crate::engine::search::Search;
use crate::inventory::{Credential, Inventory, SecretRef};
use crate::journal::State;
use crate::provider::catalog::Resolved;
use crate::store::{Identify, Sought};
use crate::world;

/// What was found for one role, or that nothing can be said.
pub(crate) struct Looked {
    role: String,
    pub(crate) found: Vec<Unlisted>,
    /// Why nothing was found out.
    pub(crate) failed: Option<String>,
}

/// Looks where a dry run lists it, or where it is to be taken in; what was found, and the ids of
/// the entries made of it.
pub(crate) async fn before(
    inventory: &mut Inventory,
    intent: &Intent,
    dry_run: bool,
    places: &Places,
    resolved: &Resolved,
    state: &State,
) -> (Vec<Looked>, BTreeSet<String>) {
    if !intent.mode.contains() || !(dry_run || intent.include_unlisted) {
        return (Vec::new(), BTreeSet::new());
    }
    let looked = look(inventory, &intent.roles, places, resolved, state).await;
    let taken = match intent.include_unlisted {
        true => take_in(inventory, &looked, &resolved.capabilities),
        false => BTreeSet::new(),
    };
    (looked, taken)
}

async fn look(
    inventory: &Inventory,
    roles: &[String],
    places: &Places,
    resolved: &Resolved,
    state: &State,
) -> Vec<Looked> {
    let mut all = Vec::new();
    let fingerprints = state.fingerprints();
    let (named, identify) = (named(inventory), Arc::new(resolved.identify()));
    for role in roles.iter().filter_map(|name| inventory.roles.get(name)) {
        let Search { files, home } = Search::of(role);
        let sought = Sought { files, home, named: named.clone() };
        let (root, identify) = (places.root.clone(), Arc::clone(&identify) as Identify);
        let seen = world::search(sought, root, identify, &fingerprints, &Default::default()).await;
        let role = role.name.clone();
        all.push(match seen {
            Ok(seen) => Looked { role, found: seen.unlisted, failed: None },
            Err(why) => {
                let failed = Some(crate::engine::in_words(&why));
                Looked { role, found: Vec::new(), failed }
            }
        });
    }
    all
}

fn named(inventory: &Inventory) -> Vec<SecretRef> {
    let places = inventory.credentials().flat_map(|(_, it)| it.places());
    places.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Makes entries of what can be identified and read where it lies; the ids of those.
fn take_in(
    inventory: &mut Inventory,
    looked: &[Looked],
    capabilities: &Capabilities,
) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for Looked { role: name, found, .. } in looked {
        for one in found {
            let Some(credential) = entry(inventory, name, one, capabilities) else { continue };
            let Some(role) = inventory.roles.get_mut(name) else { continue };
            taken.insert(format!("{name}/{}", credential.name));
            role.credentials.push(credential);
        }
    }
    taken
}

fn entry(
    inventory: &Inventory,
    role: &str,
    one: &Unlisted,
    capabilities: &Capabilities,
) -> Option<Credential> {
    let (file, kind) = (one.provider.as_deref()?, one.kind.clone()?);
    let place: SecretRef = one.place.parse().ok()?;
    place.vet().ok()?;
    let role = inventory.roles.get(role)?;
    // Where the vendor has no address of its own, the one the inventory gives; several would be a
    // guess of whose it is.
    let mut here = capabilities.providers.values().filter(|it| it.file == file && !it.base_missing);
    let listed = role.credentials.iter().find(|it| {
        let of = capabilities.providers.get(&it.provider);
        of.is_some_and(|of| of.file == file) && it.kind.as_ref() == Some(&kind)
    });
    let provider = match (listed, here.next(), here.next()) {
        (Some(listed), ..) => listed.provider.clone(),
        (None, Some(only), None) => only.id.clone(),
        _ => return None,
    };
    let number = role.credentials.len() + 1;
    let alike = listed.cloned().unwrap_or_default();
    Some(Credential {
        name: format!("unlisted-{number}"),
        provider,
        kind: Some(kind),
        vars: alike.vars,
        secret: [("secret".to_owned(), place)].into(),
        admin: alike.admin,
        client: alike.client,
        // Accepted beside its refusal, if that one is replaced.
        control: listed.map(|it| format!("{}/{}", role.name, it.name)),
        ..Credential::default()
    })
}

/// What nobody listed is ended and not replaced: nobody knows who would use the new one.
pub(crate) fn without_successors(plan: &mut Plan, taken: &BTreeSet<String>) {
    for planned in plan.credentials.iter_mut().filter(|it| taken.contains(&it.id)) {
        if planned.phases.contains(&Phase::Revoke) {
            planned.phases.retain(|phase| {
                !matches!(phase, Phase::Issue | Phase::Roll | Phase::Finish)
                    && !matches!(phase, Phase::ProveNew | Phase::Deliver)
            });
        }
        planned.deliver = false;
        planned.deliver_to.clear();
    }
}
