//! What dies together, and who acts for whom.

use std::collections::BTreeMap;

use super::super::call::{Subject, Verb};
use super::super::capability::{KindCapability, Order, Radius};
use super::super::plan::{Acting, Planned};
use super::super::report::Mode;
use super::Planner;
use super::entries::Entry;
use super::phases::successor_first;
use crate::inventory::Credential;

/// Beyond this, a method of revocation is left out unless the responder says otherwise.
const MAX_BLAST: Radius = Radius::Project;

impl Planner<'_> {
    /// Ways that kill more than is allowed.
    pub(super) fn too_wide(&self, can: &KindCapability) -> Vec<u16> {
        let widest = self.options.max_blast.unwrap_or(MAX_BLAST);
        (0..)
            .zip(can.ways(Verb::Revoke))
            .filter(|(_, way)| can.blast_of(way).kills > widest && !can.ends_its_own(way))
            .map(|(number, _)| number)
            .collect()
    }

    /// What makes two credentials one group, where that is known before the run.
    fn blast_key(&self, credential: &Credential) -> Option<String> {
        let (_, can) = self.capability(credential)?;
        if !can.blast.makes_groups() {
            return None;
        }
        let vars = self.vars(credential);
        let mut key = format!("{}\n{:?}", credential.provider, can.blast.kills);
        for name in &can.blast.key {
            let value = match name.as_str() {
                "handle" => credential.handle.clone()?,
                name => vars.get(name)?.to_string(),
            };
            key.push('\n');
            key.push_str(&value);
        }
        Some(key)
    }

    /// Groups what dies together, and names at the first of each group what dies outside the run.
    /// `entries` and `credentials` stand in the same order.
    pub(super) fn group(&self, entries: &[Entry<'_>], credentials: &mut [Planned]) {
        let mut leaders: BTreeMap<String, Subject> = BTreeMap::new();
        for ((number, entry), planned) in (0..).map(Subject).zip(entries).zip(&mut *credentials) {
            if let Some(key) = self.blast_key(entry.credential) {
                let leader = *leaders.entry(key).or_insert(number);
                planned.leader = (leader != number).then_some(leader);
            }
        }
        if leaders.is_empty() {
            return;
        }
        let of_run: BTreeMap<&str, ()> = entries.iter().map(|it| (it.id.as_str(), ())).collect();
        for (id, (_, other)) in &self.by_id {
            if of_run.contains_key(id.as_str()) {
                continue;
            }
            let leader = self.blast_key(other).and_then(|key| leaders.get(&key));
            if let Some(planned) = leader.and_then(|it| credentials.get_mut(it.0 as usize)) {
                planned.collateral.push(id.clone());
            }
        }
    }

    /// A burned admin goes first where it can mint its successor; else it waits for its last call.
    pub(super) fn order_admins(&self, credentials: &mut [Planned]) {
        let mut serves: BTreeMap<Subject, Vec<Subject>> = BTreeMap::new();
        for (number, planned) in (0..).map(Subject).zip(&*credentials) {
            for acting in planned.admins.values().chain(&planned.client) {
                if let Acting::Planned(admin) = acting
                    && *admin != number
                {
                    let served = serves.entry(*admin).or_default();
                    if served.last() != Some(&number) {
                        served.push(number);
                    }
                }
            }
        }
        for (admin, served) in serves {
            let Some(planned) = credentials.get_mut(admin.0 as usize) else { continue };
            planned.serves = served;
            let can = self.kinds.get(planned.kind as usize).map(|kind| &kind.can);
            let mints = can.is_some_and(|can| {
                can.order == Order::Any && can.ways(Verb::Issue).iter().any(|way| !way.person)
            });
            if self.mode == Mode::Contain && mints {
                successor_first(&mut planned.phases);
            }
        }
    }
}
