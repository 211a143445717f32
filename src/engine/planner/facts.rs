//! What a plan says beside its script: hosts, provider files, handles, warnings.

use std::collections::{BTreeMap, BTreeSet};

use super::super::capability::Order;
use super::super::plan::{Planned, PlannedHost, PlannedProvider};
use super::super::report::Mode;
use super::Planner;

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
        let roles = self.inventory.roles.values().flat_map(|role| &role.credentials);
        for credential in roles.chain(self.inventory.admins.values()) {
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
            if self.mode == Mode::RevokeOnly && issues_first {
                let id = &planned.id;
                warnings.push(format!(
                    "{id}: its revocation needs a new one first; that stays sealed and unused"
                ));
            }
        }
        warnings
    }
}
