//! Lists of what exists: one reading before, one after, for everybody of one owner.

use super::super::call::{Answer, Fault, Reason, Row, Subject, Verb};
use super::super::credential::{Issued, Machine, Purpose};
use super::super::orphan::at_provider;
use super::super::plan::Plan;
use super::super::queue::Lane;
use super::super::scene::{Ready, Want, lists_labels};
use super::Run;

impl Run {
    /// Reads what exists, as soon as who may read it is at hand.
    pub(super) fn list_before(&mut self, subject: Subject) {
        if !self.lists.leads_unasked(subject) {
            return;
        }
        let ready = self.scene(subject, |scene, machine| {
            let way = scene.ways(Verb::Find).first();
            machine.read.settled()
                && way.is_some_and(|way| scene.way_ready(machine, Verb::Find, way, 0) == Ready::Now)
        });
        if ready == Some(true)
            && let Some(list) = self.lists.ask_before(subject)
        {
            let purpose = Purpose::List { list, after: false };
            self.want(subject, Want { purpose, lane: Lane::Baseline });
        }
    }

    /// A credential has nothing left but the sweep.
    pub(super) fn arrived(&mut self, subject: Subject) {
        if let Some((list, leader)) = self.lists.arrived(subject, self.now) {
            let purpose = Purpose::List { list, after: true };
            self.want(leader, Want { purpose, lane: Lane::Sweep });
            // From now on they wait for a time, too.
            self.dirty.extend(self.lists.members(list).iter().copied());
        }
    }

    pub(super) fn took_list(
        &mut self,
        (list, after): (u32, bool),
        leader: Subject,
        answer: Answer,
    ) {
        let again = match &answer {
            Answer::Fault(Fault::Throttled(_)) => true,
            // Who hangs has had its time.
            Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why)) => {
                why.reason != Reason::Timeout && self.lists.lost(list)
            }
            _ => false,
        };
        if again {
            let lane = if after { Lane::Sweep } else { Lane::Baseline };
            self.want(leader, Want { purpose: Purpose::List { list, after }, lane });
            return;
        }
        let listing = match answer {
            Answer::Found { rows, complete } => Some((rows, complete)),
            _ => None,
        };
        if let Some((rows, complete)) = &listing {
            self.know_revoked(list, rows);
            if !after && *complete {
                self.know_hinted(leader, rows);
            }
        }
        self.lists.took(list, after, listing);
        if after {
            self.sort_out(list, leader);
            // Decided before anybody leaves because the list was read.
            if let Some(heir) = self.heir(self.lists.members(list)) {
                self.end_strangers(heir);
            }
        }
        self.dirty.extend(self.lists.members(list).iter().copied());
    }

    /// Who asks shows its old value: the one row that fits it is no stranger.
    fn know_hinted(&mut self, leader: Subject, rows: &[Row]) {
        let mut hinted = rows.iter().filter(|row| row.hinted);
        if let (Some(only), None) = (hinted.next(), hinted.next())
            && let Some(machine) = self.machines.get_mut(leader.0 as usize)
        {
            machine.old.handle.get_or_insert_with(|| only.handle.clone());
            self.learn_handles(leader);
        }
    }

    /// A handle that its provider lists as revoked was this provider's.
    fn know_revoked(&mut self, list: u32, rows: &[Row]) {
        if !rows.iter().any(|row| row.revoked) {
            return;
        }
        let revoked: std::collections::BTreeSet<&str> =
            rows.iter().filter(|row| row.revoked).map(|row| row.handle.as_str()).collect();
        for member in self.lists.members(list) {
            if let Some(machine) = self.machines.get_mut(member.0 as usize) {
                let handle = machine.old.handle.as_deref();
                machine.known |= handle.is_some_and(|handle| revoked.contains(handle));
            }
        }
    }

    /// What a second list holds beyond what everybody knows: ours whose bytes were lost, and
    /// strangers.
    fn sort_out(&mut self, list: u32, leader: Subject) {
        let Some(kind) = self.plan.planned(leader).and_then(|one| self.plan.kind(one.kind)) else {
            return;
        };
        let known = self.known.entry(kind.provider.clone()).or_default();
        let members = self.lists.members(list);
        let labels = self.plan.labels(members.iter().filter_map(|one| self.plan.planned(*one)));
        let labels = lists_labels(kind).then_some(labels.as_slice());
        let machines = members.iter().filter_map(|one| self.machines.get(one.0 as usize));
        let mut missing = machines.clone().map(Machine::lost_issues).sum();
        if missing == 1 {
            missing = made_at(&self.plan, &self.machines, &kind.provider);
        }
        let noted = machines.flat_map(|machine| &machine.orphans);
        let noted = noted.map(|orphan| orphan.handle.clone()).collect();
        let members = members.to_vec();
        let named = |row: &Row| number_in(row.label.as_deref()?, labels?.first()?);
        let machines = &self.machines;
        let known = |row: &Row| {
            // A provider may give the handle of a dead one to a new one.
            let made_for = named(row).and_then(|one| machines.get(one as usize));
            let handle = &row.handle;
            known.contains(handle)
                && made_for.is_none_or(|machine| machine.new.handle.as_ref() == Some(handle))
        };
        for row in self.lists.sort_out(list, known, &noted, (labels, missing)) {
            let named = named(&row);
            // One account under two providers of the inventory: it is the other list's to judge.
            let elsewhere = named.is_some_and(|one| {
                self.plan.planned(Subject(one)).is_some() && !members.contains(&Subject(one))
            });
            if elsewhere {
                continue;
            }
            let owner = members
                .iter()
                .copied()
                .find(|one| Some(one.0) == named)
                .filter(|one| self.machines.get(one.0 as usize).is_some_and(|it| !it.closed))
                .or_else(|| self.heir(&members));
            if let Some(machine) = owner.and_then(|one| self.machines.get_mut(one.0 as usize)) {
                machine.missing = machine.missing.saturating_sub(1);
                machine.orphan(row);
            }
        }
    }

    /// Who ends an orphan whose own credential has left.
    pub(super) fn heir(&self, members: &[Subject]) -> Option<Subject> {
        let open = |one: &&Subject| {
            self.machines.get(one.0 as usize).is_some_and(|machine| !machine.closed)
        };
        members.iter().find(open).or(members.first()).copied()
    }

    /// Notes the handles of a credential: no strangers, and no orphans. What an unfinished issue
    /// made is neither known nor used by anybody.
    pub(super) fn learn_handles(&mut self, subject: Subject) {
        let Some(machine) = self.machines.get(subject.0 as usize) else { return };
        let Some(kind) = self.plan.planned(subject).and_then(|one| self.plan.kind(one.kind)) else {
            return;
        };
        let new = machine.new.handle.as_ref().filter(|_| machine.issued == Issued::Yes);
        for handle in machine.old.handle.iter().chain(new) {
            let known = self.known.entry(kind.provider.clone()).or_default();
            if !known.contains(handle) {
                known.insert(handle.clone());
            }
        }
    }
}

/// Issues at one provider of which no answer says what they made: it may list several kinds in one.
fn made_at(plan: &Plan, machines: &[Machine], provider: &str) -> u32 {
    let here = (0..).map(Subject).zip(machines);
    let here = here.filter(|(subject, _)| at_provider(plan, *subject, provider));
    here.map(|(_, machine)| machine.lost_issues().max(u32::from(machine.makes_unanswered()))).sum()
}

/// The number of the credential in a label of this run.
fn number_in(label: &str, prefix: &str) -> Option<u32> {
    label.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}
