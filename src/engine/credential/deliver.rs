//! The new one: used until it is accepted, then written to its places.

use super::advance::Flow;
use super::issue::{FIRST_MS, SETTLE_MS};
use super::{Layers, Machine, Purpose, Try, liveness};
use crate::engine::call::{
    Answer, Fault, Identity, Liveness, NotPlaced, Placed, Reason, Time, Values, Verb, Why,
};
use crate::engine::queue::Lane;
use crate::engine::scene::{Ready, Scene, Want};

/// How often a delivery is tried whose outcome is not known: it compares before it writes.
const DELIVERIES: u32 = 5;

/// How often it is used once more at the end without a clear answer.
const AGAIN: u32 = 3;

impl Machine {
    pub(super) fn prove_new(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if !self.has_new() || self.new_identity.is_some() || scene.probe().is_none() {
            return Flow::Next;
        }
        let end = if self.hurries(scene) {
            self.since.plus(FIRST_MS)
        } else {
            self.since.plus(scene.kind.can.proof.give_up_ms)
        };
        if scene.now >= end {
            return Flow::Next;
        }
        self.wake_by(end);
        self.use_new(scene, wants, self.steps.next);
        Flow::Wait
    }

    /// A revocation was lost on its way, and may have ended the new one, which has the same handle,
    /// when it arrived: that is used once more afterwards; true while that is under way.
    pub(super) fn uses_new_again(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> bool {
        let proved = self.keeps_handle() && self.has_new() && self.new_identity.is_some();
        let lost = self.revoke_lost_at.filter(|_| proved && scene.probe().is_some());
        let Some(settled) = lost.map(|at| at.plus(SETTLE_MS)) else { return false };
        let used = self.new_used.is_some_and(|(at, _)| at >= settled);
        if used || self.steps.failures >= AGAIN {
            return false;
        }
        self.use_new(scene, wants, settled.max(self.steps.next));
        true
    }

    fn use_new(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>, due: Time) {
        if self.steps.asked {
            return;
        }
        if scene.now < due {
            self.wake_by(due);
            return;
        }
        self.steps.asked = true;
        if self.new_layers.next == 0 {
            self.new_layers = Layers::new();
        }
        let purpose = Purpose::ProbeNew(self.new_layers.next);
        wants.push(Want { purpose, lane: Lane::Prove });
    }

    pub(super) fn deliver(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let proved = self.new_identity.is_some() || scene.probe().is_none();
        if !scene.planned.deliver || !self.has_new() || !proved || self.deliver.settled() {
            return Flow::Next;
        }
        // What is under way is waited for, whatever has been said meanwhile.
        if self.deliver == Try::Flying {
            return Flow::Wait;
        }
        // Once it was tried, what became of the others no longer keeps it from its places.
        if self.steps.failures == 0 {
            match scene.may_be_written() {
                Ok(true) => {}
                Ok(false) => return Flow::Wait,
                Err(because) => {
                    self.stop_before_revoke(&scene.planned.phases, because);
                    return Flow::Next;
                }
            }
        }
        if scene.journal_lost {
            self.deliver = Try::Failed(Reason::NotRecorded.into());
            return Flow::Next;
        }
        if scene.planned.deliver_to.iter().all(|place| place.is_empty()) {
            self.deliver = Try::Failed(Reason::Unsupported.into());
            return Flow::Next;
        }
        if scene.plan.mode.contains() {
            match scene.role_quiet() {
                Ready::Now => {}
                Ready::Later => return Flow::Wait,
                Ready::Never(why) => {
                    self.deliver = Try::Failed(why);
                    return Flow::Next;
                }
            }
        }
        if self.steps.failures >= DELIVERIES {
            let why = self.steps.why.clone().unwrap_or_else(|| Reason::Unwritable.into());
            self.deliver = Try::Failed(why);
            return Flow::Next;
        }
        if scene.now < self.steps.next {
            self.wake_by(self.steps.next);
            return Flow::Wait;
        }
        self.deliver = Try::Flying;
        wants.push(Want { purpose: Purpose::Deliver, lane: Lane::Make });
        Flow::Wait
    }

    pub(super) fn probed_new(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.steps.back();
        // Told to wait, the same layer is asked again.
        if matches!(answer, Answer::Fault(Fault::Throttled(_))) {
            return;
        }
        let (seen, values) = liveness(answer);
        let Some(seen) = self.new_layers.take(seen, scene.layers()) else { return };
        self.new_layers = Layers::default();
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) => {
                self.unreached = None;
                self.accepted_new(scene, who, &values);
            }
            Liveness::Dead { .. } => {
                self.new_used = Some((scene.now, false));
                self.retry(scene, Verb::Probe, Reason::Refused.into());
                self.unreached = None;
            }
            Liveness::Unclear(why) => self.retry(scene, Verb::Probe, why),
        }
    }

    /// The new one was accepted, whenever that was heard.
    pub(super) fn accepted_new(&mut self, scene: &Scene<'_>, who: Identity, values: &Values) {
        self.new.learn(values);
        self.new_identity = Some(who);
        self.new_used = Some((scene.now, true));
    }

    pub(super) fn delivered(&mut self, scene: &Scene<'_>, answer: Answer) {
        match answer {
            Answer::Placed(placed) => {
                self.placed = placed;
                self.not_placed.clear();
                self.deliver = Try::Done;
            }
            Answer::PlacedInPart { placed, left } => self.delivered_in_part(scene, placed, left),
            Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why)) => {
                self.deliver_again(scene, why);
            }
            Answer::Fault(Fault::Refused(why)) => self.deliver = Try::Failed(why),
            Answer::Fault(Fault::Throttled(_)) => {
                self.deliver = Try::Todo;
                self.steps.next = scene.now.plus(Self::pause(0));
            }
            _ => self.deliver = Try::Failed(Reason::Unexpected.into()),
        }
    }

    /// A place that refused it keeps it from no other; one of which nobody knows is tried again.
    fn delivered_in_part(&mut self, scene: &Scene<'_>, placed: Vec<Placed>, left: Vec<NotPlaced>) {
        self.placed = placed;
        let open = left.iter().find(|place| place.unknown).map(|place| place.why.clone());
        let refused = left.first().map(|place| place.why.clone());
        self.not_placed = left;
        match (open, refused) {
            (Some(why), _) => self.deliver_again(scene, why),
            (None, Some(why)) => self.deliver = Try::Failed(why),
            (None, None) => self.deliver = Try::Done,
        }
    }

    fn deliver_again(&mut self, scene: &Scene<'_>, why: Why) {
        self.deliver = Try::Todo;
        let unreached = self.unreached;
        self.retry(scene, Verb::Probe, why);
        self.unreached = unreached;
    }
}
