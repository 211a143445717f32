//! The report of one credential.

use std::collections::BTreeMap;

use super::super::call::{Row, Subject, Verb, Wall, Why};
use super::super::capability::{KindCapability, Lifetime};
use super::super::credential::{ControlKind, Machine, SETTLE_MS, Try, text};
use super::super::plan::{Acting, Phase, Planned, PlannedKind};
use super::super::proof::Proof as ProofRun;
use super::super::report::{
    CredentialReport, Delivered, IdentityChange, MadeUp, Mode, New, NewState, NotDelivered, Old,
    Orphan, Proof, ProofSource, Residual, Revoke, Stamp, Stranger, StrangerClass, Until, Verdict,
};
use super::super::run::Run;
use super::super::scene::lists_labels;
use super::super::verdict::{Before, Control, Evidence, Now, Sight, verdict};
use super::words::{Listed, in_words, not_issued, not_safe_text, why};

impl Run {
    pub(super) fn credential(
        &self,
        subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> CredentialReport {
        let (said, why) = self.verdict_of(planned, kind, machine);
        let ended = matches!(said, Verdict::Dead | Verdict::AlreadyDead);
        let mut one = CredentialReport {
            id: planned.id.clone(),
            provider: kind.provider.clone(),
            kind: kind.kind.clone(),
            class: Some(kind.can.class),
            old: self.old(planned, kind, machine, said, why),
            new: self.new_one(subject, planned, kind, machine),
            collateral: planned.collateral.clone(),
            strangers: self.strangers(subject),
            orphans: machine
                .orphans
                .iter()
                .map(|orphan| Orphan {
                    handle: orphan.handle.clone(),
                    label: orphan.label.clone(),
                    revoked: orphan.revoked,
                })
                .collect(),
            residual: residual(kind, machine, self.plan.mode),
            todo: Vec::new(),
        };
        let earlier = planned.earlier.as_ref().filter(|_| self.plan.mode == Mode::Verify);
        let left = earlier.and_then(|earlier| earlier.left.as_ref());
        let used = machine.new_used.map(|(_, accepted)| accepted);
        if let Some(left) = left {
            one.go_on_from(left, used);
        }
        one.todo = self.todo_of(subject, planned, kind, machine, &one, ended);
        if let Some(left) = left {
            one.goes_on_to_do(left, used);
        }
        one
    }

    fn old(
        &self,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
        said: Verdict,
        why: String,
    ) -> Old {
        let until = match said {
            // How long the grace of a roll is, its provider decides.
            Verdict::Dying => machine
                .revoked
                .filter(|_| machine.stopped_before_revoke.is_none())
                .map(|(_, Wall(at))| Wall(at.saturating_add_unsigned(kind.can.proof.give_up_ms))),
            Verdict::Expires => ends_by_itself(kind, machine),
            _ => None,
        };
        Old {
            fingerprint: Some(machine.old.fingerprint.clone()).filter(|print| !print.is_empty()),
            handle: machine.old.handle.clone(),
            revoke: revocation(planned, machine),
            verdict: said,
            why,
            revoked_at: machine.revoked.map(|(_, wall)| Stamp(wall)),
            last_accepted_at: machine.last_accepted.map(Stamp),
            first_refused_at: machine.first_refused.map(Stamp),
            until: until.map(Stamp),
            proof: machine.proof.as_ref().map(|proof| self.proof(planned, kind, machine, proof)),
        }
    }

    fn proof(
        &self,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
        proof: &ProofRun,
    ) -> Proof {
        let (refusals, held_ms) = proof.extent();
        let control = match (proof.control(), machine.control) {
            (Control::Held, ControlKind::New) => Some("new".to_owned()),
            (Control::Held, ControlKind::Admin) => Some("admin".to_owned()),
            (Control::Held, ControlKind::Named) => self.control_id(planned),
            _ => None,
        };
        Proof {
            refusals,
            held_ms,
            control,
            made_up: match self.sight(planned.kind) {
                Sight::Sees => MadeUp::Refused,
                Sight::Blind => MadeUp::Accepted,
                Sight::NotAllowed | Sight::Unknown => MadeUp::NotTaken,
            },
            rule: match (&kind.can.proof.from_inventory, &kind.can.proof.assumed) {
                (true, _) => ProofSource::Inventory,
                (false, true) => ProofSource::Assumed,
                (false, false) => ProofSource::Provider,
            },
        }
    }

    /// The credential that the inventory names as control.
    fn control_id(&self, planned: &Planned) -> Option<String> {
        match planned.control? {
            Acting::Fixed(index) => self.plan.actors.get(index as usize).map(|actor| &actor.id),
            Acting::Planned(subject) => self.plan.planned(subject).map(|planned| &planned.id),
        }
        .cloned()
    }

    /// The verdict and the sentence that goes with it.
    pub(super) fn verdict_of(
        &self,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> (Verdict, String) {
        if !planned.phases.contains(&Phase::ProveOld) {
            let earlier = planned.earlier.as_ref().and_then(|earlier| earlier.verdict.clone());
            return earlier
                .unwrap_or((Verdict::Unproven, "this plan does not prove it".to_owned()));
        }
        if let Some(not_safe) = machine.stopped_before_revoke.filter(|_| !machine.rolled) {
            let alive = machine.before == Some(Before::Accepted);
            let why = format!("left as it is: {}", not_safe_text(not_safe));
            return (if alive { Verdict::Alive } else { Verdict::Unproven }, why);
        }
        let proof = machine.proof.as_ref();
        let revoke = revocation(planned, machine);
        let now = match proof.map_or(Now::Unknown, ProofRun::now) {
            // Never proved again since Baseline, and nothing has ended it. A later run knows of no
            // time but its own.
            Now::Unknown
                if self.plan.mode != Mode::Verify
                    && machine.first_refused.is_none()
                    && machine.before == Some(Before::Accepted)
                    && !machine.done_by_hand
                    && !matches!(revoke, Revoke::Accepted | Revoke::Lost) =>
            {
                Now::Accepted
            }
            now => now,
        };
        let evidence = Evidence {
            before: machine.before.unwrap_or(Before::Unknown),
            now,
            control: proof.map_or(Control::None, ProofRun::control),
            sight: self.sight(planned.kind),
            revoke_accepted: machine.revoke == Revoke::Accepted,
            gave_up: machine.gave_up,
            answered: proof.is_some_and(ProofRun::answered),
            known: machine.known,
            only_expires: kind.can.only_expires(),
        };
        let (said, because) = verdict(&evidence);
        (said, why(said, because, kind, machine, revoke))
    }

    /// What the lists of this run tell of an issue whose answer was lost.
    pub(super) fn listed(&self, subject: Subject, kind: &PlannedKind, machine: &Machine) -> Listed {
        let labels = lists_labels(kind);
        let of_run = |label: &Option<String>| {
            label.as_ref().is_none_or(|it| it.starts_with(&self.plan.label))
        };
        let settled = machine.lost_at.map(|at| at.plus(SETTLE_MS));
        if machine.orphans.iter().any(|orphan| of_run(&orphan.label)) {
            Listed::Made
        } else if !labels && self.lists.shows_new(subject) {
            Listed::PerhapsUnrecognised
        } else if settled.is_some_and(|since| self.lists.accounts_for(subject, since, labels)) {
            Listed::Nothing
        } else {
            Listed::Unread
        }
    }

    fn new_one(
        &self,
        subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> New {
        let mut state = machine.new_state(planned.deliver);
        if machine.has_new()
            && !kind.can.verbs.contains_key(&Verb::Probe)
            && machine.deliver == Try::Done
        {
            state = NewState::Unproven;
        }
        let not_delivered =
            not_delivered(planned, machine).into_iter().flat_map(|(places, why)| {
                let why = in_words(why);
                places.into_iter().map(move |to| NotDelivered { to, why: why.clone() })
            });
        let identity = match (&machine.identity, &machine.new_identity) {
            (Some(from), Some(to)) if from != to && !to.0.is_empty() => {
                Some(IdentityChange { from: from.0.clone(), to: to.0.clone() })
            }
            _ => None,
        };
        New {
            fingerprint: Some(machine.new.fingerprint.clone()).filter(|print| !print.is_empty()),
            handle: machine.new.handle.clone(),
            state,
            planned: planned.phases.iter().any(|p| matches!(p, Phase::Issue | Phase::Roll))
                && self.plan.mode != Mode::RevokeOnly
                || self.plan.mode == Mode::Restore,
            why: not_issued(machine, &self.listed(subject, kind, machine)),
            delivered: machine
                .placed
                .iter()
                .map(|place| Delivered { to: place.to.clone(), state: place.state })
                .collect(),
            not_delivered: not_delivered.collect(),
            identity,
        }
    }

    fn strangers(&self, subject: Subject) -> Vec<Stranger> {
        let strangers = self.lists.strangers(subject).iter();
        strangers
            .map(|stranger| Stranger {
                handle: stranger.row.handle.clone(),
                label: stranger.row.label.clone(),
                created: stranger.row.created.clone(),
                used: stranger.row.used.clone(),
                class: self.class_of(&stranger.row, stranger.minted_during_run),
                state: stranger.state(),
                why: stranger.why(),
            })
            .collect()
    }

    fn class_of(&self, row: &Row, minted_during_run: bool) -> StrangerClass {
        let created = created(row);
        let during = self.started.zip(created).is_some_and(|(start, made)| made >= start);
        if minted_during_run || during {
            StrangerClass::MintedDuringRun
        } else if self.plan.since.zip(created).is_some_and(|(since, made)| made >= since) {
            StrangerClass::Since
        } else {
            StrangerClass::OlderOrUndated
        }
    }
}

/// Places that should hold the new one and do not, those that stand or fall together side by side,
/// and why.
pub(super) fn not_delivered<'a>(
    planned: &Planned,
    machine: &'a Machine,
) -> Vec<(Vec<String>, &'a Why)> {
    if !planned.deliver || !machine.has_new() {
        return Vec::new();
    }
    if !machine.not_placed.is_empty() {
        let left = machine.not_placed.iter();
        return left.map(|one| (one.to.clone(), &one.why)).collect();
    }
    let Try::Failed(why) = &machine.deliver else { return Vec::new() };
    let held = |to: &String| machine.placed.iter().any(|place| place.to == *to);
    let all = planned.deliver_to.iter().flat_map(BTreeMap::values).map(ToString::to_string);
    vec![(all.filter(|to| !held(to)).collect(), why)]
}

/// When the provider says that it was made, where that can be read.
pub(in crate::engine) fn created(row: &Row) -> Option<Wall> {
    row.created.as_deref().and_then(instant)
}

/// What outlives the revocation, and until when.
fn residual(kind: &PlannedKind, machine: &Machine, mode: Mode) -> Option<Vec<Residual>> {
    let (_, Wall(revoked)) = machine.revoked?;
    if matches!(mode, Mode::Restore) {
        return None;
    }
    let ends = |lifetime: &Lifetime| match lifetime {
        Lifetime::Ms(ms) => Some(Until::At(Stamp(Wall(revoked.saturating_add_unsigned(*ms))))),
        Lifetime::Open if machine.evict == Try::Done && evicts(&kind.can) => None,
        Lifetime::Open => Some(Until::Open),
        Lifetime::Forever => Some(Until::Forever),
        Lifetime::Taken(name) => Some(
            machine
                .taken
                .get(name)
                .and_then(text)
                .and_then(|end| instant(&end))
                .map_or(Until::Unknown, |wall| Until::At(Stamp(wall))),
        ),
        Lifetime::JwtExp | Lifetime::Unknown => Some(Until::Unknown),
    };
    let children: Vec<_> = kind
        .can
        .minted
        .iter()
        .filter_map(|(what, lifetime)| {
            Some(Residual { what: what.clone(), until: ends(lifetime)? })
        })
        .collect();
    (!children.is_empty()).then_some(children)
}

/// What became of the revocation: one that was left before it was sent is said to be that.
fn revocation(planned: &Planned, machine: &Machine) -> Revoke {
    let revokes = planned.phases.iter().position(|phase| *phase == Phase::Revoke);
    let left = machine.closed && revokes.is_some_and(|at| usize::from(machine.at) <= at);
    match machine.revoke {
        _ if machine.done_by_hand => Revoke::ByHand,
        Revoke::None if left && machine.stopped_before_revoke.is_none() => machine.unfinished(),
        said => said,
    }
}

/// Why the way of its revocation was left after some of its steps, whose work a probe may not see.
pub(super) fn half_revoked(planned: &Planned, machine: &Machine) -> Option<Why> {
    let revokes = planned.phases.get(usize::from(machine.at)) == Some(&Phase::Revoke);
    let left = machine.closed && revokes && machine.steps.step > 0;
    machine.half_revoked.clone().or_else(|| left.then(|| machine.steps.left_why()))
}

fn evicts(can: &KindCapability) -> bool {
    can.verbs.contains_key(&Verb::Evict)
}

fn ends_by_itself(kind: &PlannedKind, machine: &Machine) -> Option<Wall> {
    match kind.can.lives.as_ref()? {
        Lifetime::Taken(name) => instant(&machine.taken.get(name).and_then(text)?),
        _ => None,
    }
}

/// RFC 3339, or seconds or milliseconds since the epoch.
fn instant(text: &str) -> Option<Wall> {
    /// Ten digits of milliseconds would be 1970; ten digits of seconds are ours.
    const LATEST_SECONDS: i64 = 100_000_000_000;
    if let Ok(number) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "an instant of a list, for display")]
        let number = number as i64;
        return Some(Wall(if number < LATEST_SECONDS { number * 1_000 } else { number }));
    }
    text.parse::<Stamp>().ok().map(|stamp| stamp.0)
}
