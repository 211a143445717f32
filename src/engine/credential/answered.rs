//! What an answer does to a credential: one match over what the call was for.

use super::{Issued, Machine, OrphanFound, Purpose, Steps, Try};
use crate::engine::call::{Answer, CallId, Fault, Liveness, SecretId, Time, Verb};
use crate::engine::report::Revoke;
use crate::engine::scene::{Scene, Want};

impl Machine {
    /// A call for this purpose has left; until when Baseline waits for its answer.
    pub(in crate::engine) fn sent(&mut self, purpose: &Purpose, now: Time) -> Option<Time> {
        if let Some(steps) = self.steps_for(purpose) {
            steps.send();
        }
        self.gathers(purpose, now)
    }

    /// The process of a call for this purpose died before the answer; whether it is to stand in
    /// line once more. What outlives its phase is wanted anew by the phase that came after.
    pub(in crate::engine) fn interrupted(&mut self, purpose: &Purpose, mark: u32) -> bool {
        self.is_back(purpose);
        let wanted = self.wants(purpose, mark);
        let outlives = *purpose == Purpose::LookForIssued;
        if let Some(steps) = self.steps_for(purpose).filter(|_| wanted || outlives) {
            steps.sent = false;
            steps.asked &= wanted;
        }
        wanted
    }

    /// A call for this purpose has left the line unsent, for the run was left.
    pub(in crate::engine) fn dropped(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Read => self.read = Try::Todo,
            Purpose::Baseline(_) => self.look = Try::Todo,
            Purpose::Learn(_) => self.learn = Try::Todo,
            Purpose::Find => self.find = Try::Todo,
            Purpose::Deliver => self.deliver = Try::Todo,
            Purpose::ProbeOld(_) | Purpose::ProbeControl(_) => self.proving = false,
            _ => {
                if let Some(steps) = self.steps_for(purpose) {
                    steps.back();
                }
            }
        }
    }

    fn steps_for(&mut self, purpose: &Purpose) -> Option<&mut Steps> {
        match purpose {
            Purpose::Generate
            | Purpose::Issue { .. }
            | Purpose::Roll { .. }
            | Purpose::LookForIssued => Some(&mut self.issue),
            Purpose::RevokeOrphan { .. } => Some(&mut self.orphan),
            Purpose::Finish { .. }
            | Purpose::Revoke { .. }
            | Purpose::Evict { .. }
            | Purpose::ProbeNew(_) => Some(&mut self.steps),
            _ => None,
        }
    }

    /// Takes an answer. `id` names the bytes that came with it; `mark` is the machine's own from
    /// when it asked.
    pub(in crate::engine) fn answered(
        &mut self,
        scene: &Scene<'_>,
        (id, mark): (CallId, u32),
        purpose: &Purpose,
        answer: Answer,
        wants: &mut Vec<Want>,
    ) {
        let current = self.wants(purpose, mark);
        match purpose {
            Purpose::Read => self.took_read(scene, id.into(), answer),
            Purpose::Baseline(_) => self.looked_at_old(scene, answer, wants),
            Purpose::Learn(step) => self.learned(scene, *step, answer, wants),
            Purpose::Find => self.found_handle(scene, answer),
            // There is never more than one of these: they may come home in any phase.
            Purpose::Generate => self.generated(scene, id.into(), answer),
            Purpose::Issue { .. } => self.issue_step(scene, id.into(), answer, Verb::Issue),
            Purpose::Roll { .. } => self.issue_step(scene, id.into(), answer, Verb::Roll),
            Purpose::LookForIssued => self.looked_for_issued(scene, answer),
            Purpose::RevokeOrphan { handle, .. } => self.orphan_step(scene, handle, answer),
            Purpose::Deliver => self.delivered(scene, answer),
            _ if !current => self.answered_late(scene, purpose, answer),
            Purpose::Finish { .. } => {
                self.plain_step(scene, Verb::Finish, answer);
            }
            Purpose::Revoke { .. } => self.revoke_step(scene, answer),
            Purpose::Evict { .. } => {
                if self.plain_step(scene, Verb::Evict, answer) {
                    self.evict = Try::Done;
                }
            }
            Purpose::ProbeNew(_) => self.probed_new(scene, answer),
            Purpose::ProbeOld(_) => self.probed_old(scene, answer, wants),
            Purpose::ProbeControl(_) => self.probed_control(scene, answer, wants),
            Purpose::ReadActor(_)
            | Purpose::List { .. }
            | Purpose::RevokeStranger { .. }
            | Purpose::MadeUp(..)
            | Purpose::Stop(_)
            | Purpose::Preserve(_)
            | Purpose::Scan(_) => {}
        }
    }

    /// The script has gone on meanwhile; what came is evidence all the same.
    fn answered_late(&mut self, scene: &Scene<'_>, purpose: &Purpose, answer: Answer) {
        let last = |verb, way: u16, step: u16| {
            let way = scene.ways(verb).get(usize::from(way));
            way.is_some_and(|way| usize::from(step) + 1 >= way.steps.len())
        };
        let gone = matches!(answer, Answer::Gone);
        let done = gone || matches!(answer, Answer::Done | Answer::Took(_));
        match (purpose, answer) {
            (Purpose::Revoke { way, step }, _)
                if done && last(Verb::Revoke, *way, *step) && self.revoke != Revoke::Accepted =>
            {
                self.revoked_way = Some(*way);
                self.accept_revocation(scene);
                if !gone {
                    self.half_revoked = None;
                }
            }
            (Purpose::Evict { way, step }, _) if done && last(Verb::Evict, *way, *step) => {
                self.evict = Try::Done;
            }
            (Purpose::ProbeNew(_), Answer::Saw(Liveness::Alive(who), values)) => {
                self.accepted_new(scene, who, &values);
            }
            (
                Purpose::ProbeOld(_),
                Answer::Saw(Liveness::Alive(who) | Liveness::Restricted(who), _),
            ) if self.is_itself(&who) => self.accepted_as(scene, who),
            _ => {}
        }
    }

    /// An answer to a call that was answered `Unknown` before: it may bring a handle, and bytes.
    pub(in crate::engine) fn answered_after_all(
        &mut self,
        scene: &Scene<'_>,
        id: SecretId,
        purpose: &Purpose,
        attempt: u32,
        answer: Answer,
    ) {
        match (purpose, answer) {
            (Purpose::Issue { way, step }, Answer::Issued(holding)) => {
                let steps = scene.ways(Verb::Issue).get(usize::from(*way));
                let last = steps.is_some_and(|way| usize::from(*step) + 1 >= way.steps.len());
                let ours = self.issued == Issued::Looking && self.attempts == attempt;
                if ours && last && !self.issue.sent && !holding.fingerprint.is_empty() {
                    self.new.absorb(id, &holding);
                    self.new.find_handle(scene.handle_part());
                    self.issued = Issued::Yes;
                    self.issue = Steps::default();
                } else if let Some(handle) = holding.public.get("handle").and_then(super::text)
                    && self.new.handle.as_ref() != Some(&handle)
                    && self.orphans.iter().all(|known| known.handle != handle)
                {
                    let label = Some(scene.label(attempt));
                    let (revoked, given_up) = (false, false);
                    self.orphans.push(OrphanFound { handle, label, revoked, given_up });
                }
            }
            (_, Answer::Fault(Fault::Unknown(_))) => {}
            (Purpose::Revoke { .. } | Purpose::Evict { .. }, answer) => {
                self.answered_late(scene, purpose, answer);
            }
            _ => {}
        }
    }
}
