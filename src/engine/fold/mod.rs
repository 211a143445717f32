//! The fold over the events: what the run knows, as a report and as facts for a later run.

mod again;
mod credential;
mod todo;
mod words;

pub(in crate::engine) use credential::created;
pub use words::in_words;

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Subject, Time};
use super::credential::{Machine, Side, Try};
use super::plan::{Earlier, KnownSide, Left, Phase, Planned};
use super::report::{
    CredentialReport, Evidence as SavedEvidence, EvidenceState, InventoryFacts, Mode, New, Old,
    Origin, ProviderFacts, Report, RoleDetail, Stamp, StopState, Stopped, Timings, Todo, Unlisted,
    Verdict,
};
use super::run::Run;
use super::scene::RoleState;
use super::verdict::Before;

impl Run {
    /// What became of everything, as far as the events tell.
    pub fn report(&self) -> Report {
        let plan = &self.plan;
        let mut report = Report {
            run: plan.run.clone(),
            mode: plan.mode,
            of: self.origin(),
            roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
            case: plan.case.clone(),
            session: plan.session.clone(),
            inventory: InventoryFacts {
                sha256: plan.inventory.sha256.clone(),
                changed: plan.inventory.changed.clone(),
            },
            started: Stamp(self.started.unwrap_or_default()),
            finished: self.closed_at.map(Stamp),
            as_of: Stamp(self.wall),
            stopped_early: self.stopping,
            journal_lost_at: self.journal_lost.map(Stamp),
            role_details: self.role_details(),
            timings: self.timings(),
            credentials: self.credentials(),
            unlisted: self.unlisted(),
            other_keys: self.other_keys(),
            todo: self.todo(),
            providers: plan.providers.iter().map(provider_facts).collect(),
            warnings: self.warnings(),
            ..Report::default()
        };
        report.credentials.extend(plan.left_out.iter().map(|entry| left_out(entry, plan.mode)));
        report.summed()
    }

    /// What a later run may build on, by credential id. Secrets are named as this run named them.
    pub fn facts(&self) -> BTreeMap<String, Earlier> {
        let mut facts = BTreeMap::new();
        for (subject, planned, machine) in self.each() {
            let kind = self.plan.kind(planned.kind);
            let report = kind.map(|kind| self.credential(subject, planned, kind, machine));
            let (said, why) = kind.map_or((Verdict::Unproven, String::new()), |kind| {
                self.verdict_of(planned, kind, machine)
            });
            let open = !matches!(said, Verdict::Dead | Verdict::AlreadyDead);
            let mut old = known(&machine.old);
            if !open {
                old.secrets.clear();
            }
            let accepted = machine.before == Some(Before::Accepted);
            facts.insert(
                planned.id.clone(),
                Earlier {
                    run: self.plan.run.clone(),
                    old: Some(old),
                    new: machine.has_new().then(|| known(&machine.new)),
                    accepted_as: accepted.then(|| machine.identity.clone().unwrap_or_default()),
                    new_accepted_as: machine.new_identity.clone(),
                    last_accepted: machine.last_accepted,
                    revoked_at: machine.revoked.map(|(_, wall)| wall),
                    revoke: Some(machine.revoke),
                    done_by_hand: machine.done_by_hand,
                    half_revoked: credential::half_revoked(planned, machine),
                    delivered: planned.deliver
                        && planned.withheld.is_empty()
                        && machine.deliver == Try::Done,
                    placed: machine.placed.clone(),
                    sight: Some(self.sight(planned.kind)),
                    verdict: Some((said, why)),
                    lost: machine.makes_unanswered()
                        || machine.orphans.iter().any(|orphan| !orphan.revoked),
                    left: report.map(|one| Left { new: one.new, todo: one.todo }),
                },
            );
        }
        facts
    }

    fn each(&self) -> impl Iterator<Item = (Subject, &Planned, &Machine)> {
        let both = self.plan.credentials.iter().zip(&self.machines);
        (0..).zip(both).map(|(number, (planned, machine))| (Subject(number), planned, machine))
    }

    fn origin(&self) -> Option<Origin> {
        if self.plan.of.is_some() || self.plan.mode != Mode::Restore {
            return self.plan.of.clone();
        }
        let earlier = self.plan.credentials.iter().find_map(|planned| planned.earlier.as_ref())?;
        Some(Origin { run: earlier.run.clone(), mode: Mode::Contain })
    }

    fn role_details(&self) -> Vec<RoleDetail> {
        let both = self.plan.roles.iter().zip(&self.roles);
        both.map(|(role, state)| RoleDetail {
            role: role.name.clone(),
            owner: role.owner.clone(),
            authorized_by: role.authorized_by.clone(),
            vendor: role.vendor.clone(),
            because: role.because.clone(),
            upstream: role.upstream.clone(),
            stopped: stopped(role.stop.is_some(), state),
            evidence: evidence(!role.evidence.is_empty(), state),
        })
        .collect()
    }

    fn timings(&self) -> Timings {
        // What an earlier run revoked has no time in this one.
        let here = self.each().filter(|(_, planned, _)| {
            planned.phases.iter().any(|phase| matches!(phase, Phase::Revoke | Phase::Roll))
        });
        let times: Vec<u64> =
            here.filter_map(|(_, _, machine)| machine.revoked).map(|(Time(at), _)| at).collect();
        let dead = self.each().filter_map(|(_, planned, machine)| {
            let kind = self.plan.kind(planned.kind)?;
            let (said, _) = self.verdict_of(planned, kind, machine);
            (said == Verdict::Dead).then_some(machine.proved_at?.0)
        });
        Timings {
            first_revoke_ms: times.iter().copied().min(),
            last_revoke_ms: times.iter().copied().max(),
            last_dead_ms: dead.max(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.plan.warnings.clone();
        if self.resumed > 0 {
            let times = self.resumed;
            warnings.push(format!("this run was interrupted and taken up again ({times} times)"));
        }
        for (role, state) in self.plan.roles.iter().zip(&self.roles) {
            let gap = |gap: &String| format!("{}: not looked through: {gap}", role.name);
            warnings.extend(state.scanned.gaps.iter().map(gap));
        }
        warnings
    }

    /// What the files of several roles hold is told once; a copy of what the run has in hand, which
    /// may not have been read yet when it was found, is not told at all.
    fn unlisted(&self) -> Vec<Unlisted> {
        let of_machines = self.machines.iter().flat_map(|machine| [&machine.old, &machine.new]);
        let sides = of_machines.chain(self.actors.iter().map(|actor| &actor.side));
        let in_hand =
            |found: &Unlisted| sides.clone().any(|side| side.fingerprint == found.fingerprint);
        let mut all: Vec<Unlisted> = Vec::new();
        for found in self.roles.iter().flat_map(|role| &role.scanned.unlisted) {
            if !all.contains(found) && !in_hand(found) {
                all.push(found.clone());
            }
        }
        all
    }

    fn other_keys(&self) -> Vec<String> {
        let all = self.roles.iter().flat_map(|role| &role.scanned.other_keys);
        all.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn credentials(&self) -> Vec<CredentialReport> {
        let each = self.each().filter_map(|(subject, planned, machine)| {
            let kind = self.plan.kind(planned.kind)?;
            if self.stands_elsewhere(planned) {
                return None;
            }
            Some(self.credential(subject, planned, kind, machine))
        });
        each.collect()
    }
}

impl Run {
    /// What an earlier run left is told of once: where its place still holds it, there.
    fn stands_elsewhere(&self, planned: &Planned) -> bool {
        let Some(left) = planned.leftover() else { return false };
        let of = planned.left_of.and_then(|of| self.machines.get(of.0 as usize));
        of.is_some_and(|of| of.old.fingerprint == left.fingerprint)
    }
}

fn stopped(named: bool, state: &RoleState) -> Stopped {
    let (how, why) = match &state.stop {
        _ if !named => (StopState::None, None),
        Try::Done => (StopState::Reported, None),
        Try::Failed(why) => (StopState::Failed, Some(in_words(why))),
        Try::Todo | Try::Flying => (StopState::Pending, None),
    };
    Stopped { state: how, at: state.stopped_at.map(Stamp), why }
}

fn evidence(named: bool, state: &RoleState) -> SavedEvidence {
    let how = match &state.preserve {
        _ if !named => EvidenceState::None,
        Try::Done if state.gaps.is_empty() => EvidenceState::Saved,
        Try::Done => EvidenceState::Partial,
        Try::Failed(_) => EvidenceState::Failed,
        Try::Todo | Try::Flying => EvidenceState::Pending,
    };
    SavedEvidence {
        state: how,
        archive: state.archive.as_ref().map(|(path, _)| path.clone()),
        sha256: state.archive.as_ref().map(|(_, hash)| hash.clone()),
        gaps: state.gaps.clone(),
    }
}

fn provider_facts(provider: &super::plan::PlannedProvider) -> ProviderFacts {
    ProviderFacts {
        id: provider.id.clone(),
        file: provider.file.clone(),
        sha256: provider.sha256.clone(),
        hosts: provider.hosts.clone(),
        hosts_from_inventory: provider.hosts_from_inventory,
    }
}

fn left_out(entry: &super::plan::LeftOut, mode: Mode) -> CredentialReport {
    let why = entry.why();
    let action = match (&entry.by_hand, entry.line) {
        (Some(page), _) => page.action.as_str(),
        (None, 0) => "find out what it is, and revoke it by hand",
        (None, _) => "mend the entry and run again, or revoke it by hand",
    };
    let todo = Todo {
        what: format!("{} was left out: {why}", entry.id),
        at: entry.by_hand.as_ref().map(|page| page.at.clone()),
        action: action.to_owned(),
    };
    CredentialReport {
        id: entry.id.clone(),
        provider: entry.provider.clone(),
        old: Old { why, fingerprint: entry.fingerprint.clone(), ..Old::default() },
        new: New { planned: !matches!(mode, Mode::RevokeOnly | Mode::Verify), ..New::default() },
        todo: vec![todo],
        ..CredentialReport::default()
    }
}

fn known(side: &Side) -> KnownSide {
    KnownSide {
        fingerprint: side.fingerprint.clone(),
        handle: side.handle.clone(),
        public: side.public.clone(),
        secrets: side.secrets.clone(),
    }
}
