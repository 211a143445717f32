//! What a plan says beside its script: hosts, provider files, handles, warnings.

use std::collections::{BTreeMap, BTreeSet};

use super::super::capability::{Order, Radius};
use super::super::plan::{Phase, Plan, Planned, PlannedHost, PlannedProvider};
use super::super::report::Mode;
use super::super::search::Search;
use super::Planner;
use crate::inventory::{Inventory, SecretRef};

impl Planner<'_> {
    pub(super) fn hosts(&self) -> Vec<PlannedHost> {
        let used: BTreeSet<&str> = self.kinds.iter().map(|kind| kind.provider.as_str()).collect();
        let hosts = used.iter().filter_map(|id| self.capabilities.providers.get(*id));
        let hosts = hosts.flat_map(|provider| {
            let from_inventory = provider.hosts_from_inventory;
            provider
                .hosts
                .iter()
                .map(move |host| PlannedHost { host: host.clone(), from_inventory })
        });
        hosts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn providers(&self) -> Vec<PlannedProvider> {
        let used: BTreeSet<&str> = self.kinds.iter().map(|kind| kind.provider.as_str()).collect();
        let used = used.iter().filter_map(|id| self.capabilities.providers.get(*id));
        used.map(|provider| PlannedProvider {
            id: provider.id.clone(),
            file: provider.file.clone(),
            sha256: provider.sha256.clone(),
            hosts: provider.hosts.clone(),
            hosts_from_inventory: provider.hosts_from_inventory,
        })
        .collect()
    }

    /// What the inventory names and what earlier runs issued: no strangers.
    pub(super) fn known_handles(&self) -> BTreeMap<String, Vec<String>> {
        let mut known = self.options.issued_before.clone();
        for (_, credential) in self.inventory.credentials() {
            if let Some(handle) = &credential.handle {
                known.entry(credential.provider.clone()).or_default().push(handle.clone());
            }
        }
        known
    }

    pub(super) fn warnings(&self, credentials: &[Planned]) -> Vec<String> {
        let mut warnings = Vec::new();
        let used: BTreeSet<u32> = credentials.iter().map(|planned| planned.kind).collect();
        for number in used {
            let Some(kind) = self.kinds.get(number as usize) else { continue };
            for warn in &kind.can.warn {
                warnings.push(format!("{}: {warn}", kind.provider));
            }
        }
        for planned in credentials {
            let can = self.kinds.get(planned.kind as usize).map(|kind| &kind.can);
            let issues_first = can.is_some_and(|can| can.order == Order::IssueFirst);
            if let Some(together) = self.together(planned, credentials) {
                warnings.push(together);
            }
            let id = &planned.id;
            warnings.extend(self.only_read(planned).map(|place| {
                format!(
                    "{id}: {place} is read only: the new one stays under seal until a person puts \
                     it there"
                )
            }));
            if self.mode == Mode::RevokeOnly && issues_first {
                warnings.push(format!(
                    "{id}: its revocation needs a new one first; that stays sealed and unused"
                ));
            }
        }
        warnings
    }

    /// Places that the plan delivers to and nothing here can write.
    fn only_read<'a>(&'a self, planned: &'a Planned) -> impl Iterator<Item = &'a SecretRef> {
        let delivers = planned.deliver && planned.phases.contains(&Phase::Deliver);
        let places = planned.deliver_to.iter().flat_map(BTreeMap::values);
        places.filter(move |place| delivers && self.inventory.is_only_read(place))
    }

    /// What one revocation takes with it where that is a whole project: whoever approves the plan
    /// approves this.
    fn together(&self, planned: &Planned, credentials: &[Planned]) -> Option<String> {
        let kind = self.kinds.get(planned.kind as usize)?;
        let blast = &kind.can.blast;
        let revokes = |phase: &Phase| matches!(phase, Phase::Revoke | Phase::Roll);
        let ends = planned.phases.iter().any(revokes) && planned.leader.is_none();
        if blast.kills != Radius::Project || !ends {
            return None;
        }
        let first = credentials.iter().position(|other| other.id == planned.id)?;
        let led = |other: &Planned| other.leader.is_some_and(|it| it.0 as usize == first);
        let ids = credentials.iter().filter(|other| other.id == planned.id || led(other));
        let ids: Vec<&str> = ids.map(|other| other.id.as_str()).collect();
        let value = |name: &String| {
            let value = planned.vars.get(name)?;
            Some(format!("{name} {}", value.as_str().map_or(value.to_string(), str::to_owned)))
        };
        let key: Vec<String> = blast.key.iter().filter_map(value).collect();
        Some(format!(
            "{}: one revocation ends all that was granted for {}, in this inventory or not: {}",
            kind.provider,
            key.join(", "),
            ids.join(", ")
        ))
    }
}

/// Places that only entries outside a plan name, where it looks for what none does. Wherever those
/// are: a copy of what one of them holds may lie in a file that is looked through.
pub(super) fn named_elsewhere(inventory: &Inventory, plan: &Plan) -> Vec<SecretRef> {
    if plan.roles.iter().all(|role| role.search.as_ref().is_none_or(Search::is_empty)) {
        return Vec::new();
    }
    let all: BTreeSet<_> = inventory.credentials().flat_map(|(_, it)| it.places()).collect();
    all.difference(&plan.places()).map(|place| (*place).clone()).collect()
}
