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
    /// Places whose line holds several values.
    crowded: BTreeSet<String>,
    /// Why nothing was found out.
    pub(crate) failed: Option<String>,
}

/// What became of what was found.
#[derive(Default)]
pub(crate) struct Taken {
    /// Ids of the entries made of it.
    ids: BTreeSet<String>,
    /// What stays where it is, and why.
    left: Vec<String>,
}

/// Looks where a dry run lists it, or where it is to be taken in; what was found, and the entries
/// made of it.
pub(crate) async fn before(
    inventory: &mut Inventory,
    intent: &Intent,
    dry_run: bool,
    places: &Places,
    resolved: &Resolved,
    state: &State,
) -> (Vec<Looked>, Taken) {
    if !intent.mode.contains() || !(dry_run || intent.include_unlisted) {
        return (Vec::new(), Taken::default());
    }
    let looked = look(inventory, &intent.roles, places, resolved, state).await;
    let taken = match intent.include_unlisted {
        true => take_in(inventory, &looked, &resolved.capabilities),
        false => Taken::default(),
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
        let Search { files, home } = Search::of(inventory, role);
        let sought = Sought { files, home, named: named.clone() };
        let (root, identify) = (places.root.clone(), Arc::clone(&identify) as Identify);
        let seen = world::search(sought, root, identify, &fingerprints, &Default::default()).await;
        let role = role.name.clone();
        all.push(match seen {
            Ok((seen, crowded)) => Looked { role, found: seen.unlisted, crowded, failed: None },
            Err(why) => {
                let failed = Some(crate::engine::in_words(&why));
                Looked { role, found: Vec::new(), crowded: BTreeSet::new(), failed }
            }
        });
    }
    all
}

fn named(inventory: &Inventory) -> Vec<SecretRef> {
    let places = inventory.credentials().flat_map(|(_, it)| it.places());
    places.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Makes entries of what can be identified and read where it lies; the rest stays unlisted.
fn take_in(inventory: &mut Inventory, looked: &[Looked], capabilities: &Capabilities) -> Taken {
    let mut taken = Taken::default();
    for Looked { role: name, found, crowded, .. } in looked {
        for one in found {
            let entry = match crowded.contains(&one.place) {
                true => Err("its line holds several values".to_owned()),
                false => entry(inventory, name, one, capabilities),
            };
            let Some(role) = inventory.roles.get_mut(name) else { continue };
            match entry {
                Ok(credential) => {
                    taken.ids.insert(format!("{name}/{}", credential.name));
                    role.credentials.push(credential);
                }
                Err(why) => taken.left.push(format!("{}: not taken in: {why}", one.place)),
            }
        }
    }
    taken
}

fn entry(
    inventory: &Inventory,
    role: &str,
    one: &Unlisted,
    capabilities: &Capabilities,
) -> Result<Credential, String> {
    let (Some(file), Some(kind)) = (one.provider.as_deref(), one.kind.clone()) else {
        return Err("several kinds have its shape".to_owned());
    };
    let place = one.place.parse().ok().filter(|place: &SecretRef| place.vet().is_ok());
    let (Some(place), Some(role)) = (place, inventory.roles.get(role)) else {
        return Err("no reference can name its place".to_owned());
    };
    // Whose it is where a file stands for several servers, its shape does not tell: a guess would
    // show it to a stranger.
    let here: Vec<&str> = capabilities
        .providers
        .values()
        .filter(|it| it.file == file && !it.base_missing)
        .map(|it| it.id.as_str())
        .collect();
    let provider = match here.as_slice() {
        [only] => (*only).to_owned(),
        [] => return Err(format!("no provider says where {file} is")),
        several => return Err(format!("it could be of any of: {}", several.join(", "))),
    };
    let listed = role
        .credentials
        .iter()
        .find(|it| it.provider == provider && it.kind.as_ref() == Some(&kind));
    let number = role.credentials.len() + 1;
    let alike = listed.cloned().unwrap_or_default();
    Ok(Credential {
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

/// What nobody listed is ended and not replaced: nobody knows who would use the new one. Why the
/// rest of it is left is a warning.
pub(crate) fn without_successors(plan: &mut Plan, taken: Taken) {
    plan.warnings.extend(taken.left);
    for planned in plan.credentials.iter_mut().filter(|it| taken.ids.contains(&it.id)) {
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
