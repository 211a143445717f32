//! What machines need to know of each other, counted as it changes: who still needs an admin, and
//! whether a group is ready to die.

use serde::{Deserialize, Serialize};

use super::super::call::Subject;
use super::super::credential::Machine;
use super::super::plan::{Acting, Phase, Plan, Planned};
use super::super::report::{Mode, Revoke};
use super::super::scene::Around;
use super::Run;

/// Counts by credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    each: Vec<Counts>,
}

/// What is counted of one credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    /// It still makes calls that need its admins and client.
    needs: bool,
    /// Others for which that holds, and which need this one.
    needed_by: u32,
    /// Calls under way that use its old value as admin or client.
    in_use: u32,
    /// Its leader must wait for it.
    holds: bool,
    /// Followers for which that holds.
    held_by: u32,
    /// Its revocation is still to come.
    dies: bool,
    /// Of its group, itself among them, those for which that holds (at the leader).
    dying: u32,
    /// It, or one of its group (at the leader), cannot be replaced.
    broken: bool,
    /// Admins and clients of the run that it needs.
    users_of: Vec<Subject>,
    /// Others that need it, take it as their control, or are what an earlier run left of it.
    users: Vec<Subject>,
}

impl Tally {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut each = vec![Counts::default(); plan.credentials.len()];
        for (number, planned) in (0..).map(Subject).zip(&plan.credentials) {
            let mut of_run: Vec<Subject> = planned
                .admins
                .values()
                .chain(&planned.client)
                .filter_map(|acting| planned_one(acting, number))
                .collect();
            of_run.sort_unstable();
            of_run.dedup();
            for admin in &of_run {
                if let Some(admin) = each.get_mut(admin.0 as usize) {
                    admin.needed_by += 1;
                    admin.users.push(number);
                }
            }
            let control = planned.control.as_ref().and_then(|it| planned_one(it, number));
            if let Some(control) = control.and_then(|it| each.get_mut(it.0 as usize)) {
                control.users.push(number);
            }
            if let Some(of) = planned.left_of.and_then(|it| each.get_mut(it.0 as usize)) {
                of.users.push(number);
            }
            if let Some(leader) = planned.leader.and_then(|it| each.get_mut(it.0 as usize)) {
                leader.held_by += 1;
            }
            let dies = planned.phases.contains(&Phase::Revoke);
            let first = planned.leader.unwrap_or(number);
            if let Some(first) = each.get_mut(first.0 as usize) {
                first.dying += u32::from(dies);
            }
            if let Some(counts) = each.get_mut(number.0 as usize) {
                counts.dies = dies;
                counts.needs = true;
                counts.holds = planned.leader.is_some();
                counts.users_of = of_run;
            }
        }
        Self { each }
    }

    pub(super) fn borrow(&mut self, admin: Subject) {
        if let Some(counts) = self.each.get_mut(admin.0 as usize) {
            counts.in_use += 1;
        }
    }

    /// True when that was the last one.
    pub(super) fn give_back(&mut self, admin: Subject) -> bool {
        let Some(counts) = self.each.get_mut(admin.0 as usize) else { return false };
        counts.in_use = counts.in_use.saturating_sub(1);
        counts.in_use == 0
    }
}

fn planned_one(acting: &Acting, other_than: Subject) -> Option<Subject> {
    match acting {
        Acting::Planned(subject) if *subject != other_than => Some(*subject),
        _ => None,
    }
}

impl Run {
    pub(super) fn around(&self, subject: Subject, planned: &Planned) -> Around {
        let counts = |of: Subject| self.tally.each.get(of.0 as usize);
        let own = counts(subject);
        let leader = planned.leader.and_then(|leader| {
            Some((self.machines.get(leader.0 as usize)?, self.plan.planned(leader)?))
        });
        let group = counts(planned.leader.unwrap_or(subject));
        Around {
            needed: own.is_some_and(|own| own.needed_by > 0),
            in_use: own.is_some_and(|own| own.in_use > 0),
            group_pending: own.is_some_and(|own| own.held_by > 0),
            group_is_to_revoke: group.is_some_and(|it| it.dying > 0),
            group_broken: group.is_some_and(|it| it.broken),
            leader_is_to_revoke: leader
                .is_some_and(|(machine, planned)| is_to_revoke(machine, planned)),
            leader_has_revoked: leader
                .is_some_and(|(machine, planned)| has_revoked(machine, planned)),
        }
    }

    /// Counts again what this credential is to the others, and wakes whom that concerns.
    pub(super) fn wake_dependants(&mut self, changed: Subject) {
        let index = changed.0 as usize;
        let (Some(planned), Some(machine)) = (self.plan.planned(changed), self.machines.get(index))
        else {
            return;
        };
        let needs = still_needs(machine, planned, &self.plan);
        let holds = planned.leader.is_some() && holds_up(machine, planned, self.plan.mode);
        let dies = is_to_revoke(machine, planned);
        let broken = machine.stopped_before_revoke.is_some();
        let leader = planned.leader;
        let client = self.plan.replaced_client(planned);
        // One that a person's stop has closed is not through: a resume brings it here.
        let arrived = machine.ready_to_sweep || (machine.closed && !self.stopping);
        let Some(counts) = self.tally.each.get_mut(index) else { return };
        let (needed, held, died) = (counts.needs, counts.holds, counts.dies);
        counts.needs = needs;
        counts.holds = holds;
        counts.dies = dies;
        counts.broken |= broken;
        self.dirty.extend(counts.users.iter().copied());
        if needed != needs {
            for admin in counts.users_of.clone() {
                let Some(admins) = self.tally.each.get_mut(admin.0 as usize) else { continue };
                admins.needed_by = count(admins.needed_by, needs);
                if admins.needed_by == 0 {
                    self.dirty.insert(admin);
                }
            }
        }
        if let Some(leader) = leader
            && let Some(leads) = self.tally.each.get_mut(leader.0 as usize)
        {
            let breaks = broken && !leads.broken;
            leads.broken |= broken;
            if held != holds {
                leads.held_by = count(leads.held_by, holds);
            }
            if breaks || (held != holds && leads.held_by == 0) {
                self.dirty.insert(leader);
            }
            if breaks {
                self.dirty.extend(self.lists.followers(leader).iter().copied());
            }
        }
        let first = leader.unwrap_or(changed);
        if died != dies
            && let Some(group) = self.tally.each.get_mut(first.0 as usize)
        {
            group.dying = count(group.dying, dies);
            if group.dying == 0 {
                self.dirty.insert(first);
                self.dirty.extend(self.lists.followers(first).iter().copied());
            }
        }
        self.dirty.extend(self.lists.followers(changed).iter().copied());
        if let Some(client) = client {
            self.wake_switched(client);
        }
        if arrived {
            self.arrived(changed);
        }
    }

    /// A rehearsal switches a client and what is granted to it together.
    fn wake_switched(&mut self, client: Subject) {
        if self.plan.mode == Mode::Rehearse
            && let Some(counts) = self.tally.each.get(client.0 as usize)
        {
            self.dirty.insert(client);
            self.dirty.extend(counts.users.iter().copied());
        }
    }
}

fn count(number: u32, up: bool) -> u32 {
    if up { number.saturating_add(1) } else { number.saturating_sub(1) }
}

/// Whether a credential still makes calls that its admin or client may have to sign. What a proof
/// or a last list needs does not count: a burned admin never waits for those. In a rehearsal
/// nothing is burned, and who alone can see a death is kept for it.
fn still_needs(machine: &Machine, planned: &Planned, plan: &Plan) -> bool {
    let left = planned.phases.get(usize::from(machine.at)..).unwrap_or_default();
    let replaced = plan.replaced_client(planned).is_some();
    !machine.closed
        && left.iter().any(|phase| match phase {
            Phase::Baseline | Phase::Roll | Phase::Finish | Phase::Revoke | Phase::Evict => true,
            // The new one is its successor's to issue.
            Phase::Issue => !(replaced && planned.admins.is_empty()),
            Phase::ProveOld => replaced && plan.mode == Mode::Rehearse,
            Phase::ProveNew | Phase::Deliver | Phase::Sweep => false,
        })
}

/// Whether the leader of a group must wait for this one: in contain until it was looked at, in a
/// rehearsal until its own new one is proved and in use.
fn holds_up(machine: &Machine, planned: &Planned, mode: Mode) -> bool {
    let phase = machine.phase(&planned.phases);
    match (phase, mode) {
        (None, _) => false,
        (Some(phase), Mode::Rehearse) => {
            let at = planned.phases.iter().position(|one| *one == Phase::Revoke);
            phase != Phase::Revoke && at.is_some_and(|at| usize::from(machine.at) < at)
        }
        (Some(phase), _) => phase == Phase::Baseline,
    }
}

fn is_to_revoke(leader: &Machine, planned: &Planned) -> bool {
    let at = planned.phases.iter().position(|phase| *phase == Phase::Revoke);
    !leader.closed && at.is_some_and(|at| usize::from(leader.at) <= at)
}

fn has_revoked(leader: &Machine, planned: &Planned) -> bool {
    let revokes = leader.phase(&planned.phases) == Some(Phase::Revoke);
    let accepted = leader.revoked_way.is_some();
    accepted || leader.revoke == Revoke::Lost || (revokes && leader.steps.begun())
}
