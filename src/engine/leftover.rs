//! What an earlier run left behind, taken into a contain; and what a contained role must not
//! be given by way of a shared credential.

use std::collections::BTreeSet;

use super::call::{Identity, Subject};
use super::plan::{Acting, Earlier, KnownSide, Phase, Plan, Planned};
use super::report::Mode;

/// A credential that an earlier run held: an old one that it had not revoked yet or left
/// alive, or a new one that was issued and not delivered. No place need hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// The credential it belongs to, `ROLE/NAME`.
    pub id: String,
    /// The run that left it.
    pub run: String,
    /// That run saw it accepted, as this identity.
    pub accepted_as: Option<Identity>,
    /// What is known of it, its secrets named as this run will know them.
    pub side: KnownSide,
}

/// An interrupted run may have made a new one, and its answer was never heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostIssue {
    /// The credential, `ROLE/NAME`.
    pub id: String,
    /// What the run's labels begin with.
    pub label: String,
}

impl Plan {
    /// Takes leftovers into a contain: revoked and proved dead like any other, and not replaced.
    pub fn take_over(&mut self, leftovers: &[Leftover]) {
        if !self.mode.contains() {
            return;
        }
        for leftover in leftovers {
            let Some(of) = self.credentials.iter().position(|one| one.id == leftover.id) else {
                continue;
            };
            let number =
                self.credentials.iter().filter(|one| one.id.starts_with(&prefix(leftover)));
            let id = format!("{}{}", prefix(leftover), number.count() + 1);
            let Some(now) = self.credentials.get(of) else { continue };
            let mut taken = as_leftover(now, leftover, id);
            taken.left_of = u32::try_from(of).ok().map(Subject);
            // One revocation ends both, and what is made between two of them.
            let grouped = self.kind(now.kind).is_some_and(|it| it.can.dies_with_its_leftovers());
            taken.leader = taken.left_of.filter(|_| grouped).map(|of| now.leader.unwrap_or(of));
            // The successor of what is in the place now is of the same kind, and accepted.
            taken.control = taken.control.or(taken.left_of.map(Acting::Planned));
            if let Ok(subject) = u32::try_from(self.credentials.len()) {
                self.needed_by(&taken, Subject(subject));
                self.credentials.push(taken);
            }
        }
    }

    /// What these runs may have made of a credential, and nobody heard of, is looked for: by its
    /// label in the provider's list, else by a person.
    pub fn look_for(&mut self, lost: &[LostIssue]) {
        for LostIssue { id, label } in lost {
            if let Some(planned) = self.credentials.iter_mut().find(|one| one.id == *id) {
                planned.lost_before.push(label.clone());
            }
        }
    }

    /// An admin of the run that must end this one too is needed until then.
    fn needed_by(&mut self, taken: &Planned, subject: Subject) {
        for acting in taken.admins.values().chain(&taken.client) {
            if let Acting::Planned(Subject(admin)) = acting
                && let Some(admin) = self.credentials.get_mut(*admin as usize)
            {
                admin.serves.push(subject);
            }
        }
    }

    /// Keeps the places of contained roles out of deliveries to others: a file that a contained
    /// role's own credential lives in is that role's, whoever else names it. A restore fills it.
    pub(super) fn withhold_from_contained(&mut self) {
        if self.mode != Mode::Contain {
            return;
        }
        let files: BTreeSet<(String, String)> = self
            .credentials
            .iter()
            .filter(|planned| planned.role.is_some())
            .flat_map(|planned| planned.places.values())
            .map(|place| (place.scheme.clone(), place.path.clone()))
            .collect();
        for planned in self.credentials.iter_mut().filter(|planned| planned.role.is_none()) {
            let (withheld, delivered) =
                std::mem::take(&mut planned.deliver_to).into_iter().partition(|places| {
                    places
                        .values()
                        .any(|place| files.contains(&(place.scheme.clone(), place.path.clone())))
                });
            planned.deliver_to = delivered;
            planned.deliver &= !planned.deliver_to.is_empty();
            let held = withheld.iter().flat_map(|places| places.values());
            self.warnings.extend(held.map(|place| {
                format!("{}: {place} is the contained role's, and filled by a restore", planned.id)
            }));
            planned.withheld.extend(withheld);
        }
    }
}

/// The credential that an id of a plan belongs to: its own, or the one it was left over of.
pub fn credential_of(id: &str) -> &str {
    id.split_once('@').map_or(id, |(of, _)| of)
}

impl Planned {
    /// What an earlier run left of it, where that is all it is about.
    pub(super) fn leftover(&self) -> Option<&KnownSide> {
        self.left_of?;
        self.earlier.as_ref()?.old.as_ref()
    }
}

fn prefix(leftover: &Leftover) -> String {
    format!("{}@{}#", leftover.id, leftover.run)
}

fn as_leftover(of: &Planned, leftover: &Leftover, id: String) -> Planned {
    Planned {
        id,
        handle: leftover.side.handle.clone(),
        places: Default::default(),
        deliver_to: Vec::new(),
        phases: vec![Phase::Baseline, Phase::Revoke, Phase::Evict, Phase::ProveOld, Phase::Sweep],
        leader: None,
        lost_before: Vec::new(),
        serves: Vec::new(),
        deliver: false,
        earlier: Some(Earlier {
            run: leftover.run.clone(),
            old: Some(leftover.side.clone()),
            accepted_as: leftover.accepted_as.clone(),
            ..Earlier::default()
        }),
        ..of.clone()
    }
}
