//! Prove old: the old one used until its refusals stand, or until nothing more can be learned.

use super::advance::Flow;
use super::{ControlKind, Issued, Layers, Machine, Purpose, Steps, liveness};
use crate::engine::call::{Answer, Identity, Liveness, Party, Reason, Time, Verb};
use crate::engine::capability::{Actor, StepCapability};
use crate::engine::client::Whose;
use crate::engine::plan::{Acting, Phase, PlannedKind};
use crate::engine::proof::{Due, Proof};
use crate::engine::queue::Lane;
use crate::engine::report::Revoke;
use crate::engine::scene::{Ready, Scene, Want};
use crate::engine::verdict::Now;

/// A control that is not accepted is asked again after this long, and longer each time.
const CONTROL_PAUSE_MS: u64 = 1_000;

/// How often an admin is tried as a control by a probe that was not made for it.
const ADMIN_TRIES: u32 = 3;

/// After `give_up`, an unbroken run of refusals may still be finished; this bounds it beyond its
/// hold, for probes that get no clear answer.
const LAST_WORD_MS: u64 = 60_000;

/// Which control there is.
enum Choice {
    At(ControlKind),
    Later,
    None,
}

impl Machine {
    pub(super) fn prove_old(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let accepted = self.proof.as_ref().map(Proof::now) == Some(Now::Accepted);
        if self.by_leader && accepted && !scene.would_end_a_new_one() {
            self.revoke_alone(scene);
            return Flow::Wait;
        }
        self.prove(scene, wants)
    }

    /// The first of its group was revoked, and this one lives: its provider kills narrower than
    /// its file says.
    pub(super) fn revoke_alone(&mut self, scene: &Scene<'_>) {
        let at = scene.planned.phases.iter().position(|phase| *phase == Phase::Revoke);
        self.at = at.and_then(|at| u16::try_from(at).ok()).unwrap_or(self.at);
        self.by_leader = false;
        self.alone = true;
        self.revoke = Revoke::None;
        self.revoked = None;
        self.epoch += 1;
        self.since = scene.now;
        self.steps = Steps::default();
        self.wake_by(scene.now.plus(1));
    }

    /// What the proof wants now; [`Flow::Next`] once nothing more can be learned.
    pub(super) fn prove(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if !scene.uses_old(self) {
            // While it is being read, it may still be used later.
            return if self.read.settled() { Flow::Next } else { Flow::Wait };
        }
        self.ask_made_up(scene, wants);
        if !self.has_proof(scene) {
            return Flow::Wait;
        }
        if self.proof_over || self.proof_is_over(scene) {
            self.proof_over = true;
            return Flow::Next;
        }
        if self.proving {
            return Flow::Wait;
        }
        let due = self.proof.as_ref().map_or(Due::Nothing, Proof::due);
        match due {
            Due::Nothing => return self.nothing_due(scene),
            Due::Control if scene.now < self.control_tries.1 => {
                self.wake_by(self.control_tries.1);
                if let Some(at) = self.proof.as_ref().and_then(Proof::watch) {
                    self.use_old(scene, wants, at);
                }
            }
            Due::Control => {
                self.proving = true;
                self.control_layers = Layers::new();
                wants.push(Want { purpose: Purpose::ProbeControl(0), lane: Lane::Prove });
            }
            Due::Old(at) => self.use_old(scene, wants, at),
        }
        Flow::Wait
    }

    fn use_old(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>, at: Time) {
        if scene.now < at {
            self.wake_by(at);
            return;
        }
        self.proving = true;
        self.old_layers = Layers::new();
        wants.push(Want { purpose: Purpose::ProbeOld(0), lane: Lane::Refused });
    }

    /// Complete, or its probes are used up: only the negative control may be missing.
    fn nothing_due(&mut self, scene: &Scene<'_>) -> Flow {
        if !scene.sighted() {
            if let Some(sight) = scene.sight {
                self.wake_by(sight.next.max(scene.now.plus(1)));
            }
            return Flow::Wait;
        }
        let complete = self.proof.as_ref().is_some_and(Proof::complete);
        if complete {
            self.proved_at = Some(scene.now);
        } else if self.proof.as_ref().map(Proof::now) == Some(Now::Accepted) {
            self.gave_up = true;
        }
        self.proof_over = true;
        Flow::Next
    }

    /// The negative control, beside the first proof of its kind.
    fn ask_made_up(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        let Some(sight) = scene.sight.filter(|sight| sight.sight.is_none() && !sight.flying) else {
            return;
        };
        if scene.now < sight.next {
            self.wake_by(sight.next);
            return;
        }
        let purpose = Purpose::MadeUp(scene.planned.kind, sight.layers.next);
        wants.push(Want { purpose, lane: Lane::Refused });
    }

    /// Begins the proof once it is known which control there is, and again when a better one comes.
    fn has_proof(&mut self, scene: &Scene<'_>) -> bool {
        if self.proof.is_some() && self.control != ControlKind::None {
            return true;
        }
        let control = match self.choose_control(scene) {
            Choice::At(control) => control,
            Choice::None => ControlKind::None,
            Choice::Later => return self.proof.is_some(),
        };
        let has = control != ControlKind::None;
        match &mut self.proof {
            Some(_) if !has => return true,
            Some(proof) => proof.gain_control(scene.now),
            None => {
                self.proof = Some(Proof::new(scene.kind.can.proof.clone(), has, scene.now));
            }
        }
        self.control = control;
        self.begin_round(scene.now);
        true
    }

    fn begin_round(&mut self, now: Time) {
        self.round += 1;
        self.proving = false;
        self.proof_over = false;
        self.gave_up = false;
        self.proved_at = None;
        self.proof_since = now;
        self.control_tries = (0, Time(0));
    }

    /// A person says that it is done, or a process has taken the run up again.
    pub(in crate::engine) fn prove_again(&mut self, now: Time) {
        self.proof = None;
        self.control = ControlKind::None;
        self.begin_round(now);
    }

    /// A proof that was not complete when the process ended begins its count again.
    pub(in crate::engine) fn proof_resumed(&mut self, now: Time) {
        if self.proof_over {
            return;
        }
        if let Some(proof) = &mut self.proof {
            proof.resumed(now);
            self.begin_round(now);
        }
    }

    /// Whether nothing more can be learned by waiting.
    fn proof_is_over(&mut self, scene: &Scene<'_>) -> bool {
        let Some(proof) = &self.proof else { return true };
        let rule = &scene.kind.can.proof;
        let now = proof.now();
        // Nobody is working on its death: one acceptance says it all.
        let pending = matches!(self.revoke, Revoke::Accepted | Revoke::Lost)
            && self.stopped_before_revoke.is_none();
        if now == Now::Accepted && (!pending || scene.kind.can.only_expires()) {
            return true;
        }
        let revoked = self.revoked.map_or(Time(0), |(at, _)| at);
        let base = revoked.max(self.proof_since);
        let refusing = proof.extent().0 > 0;
        let patience = rule.hold_ms.saturating_add(LAST_WORD_MS);
        let end = base.plus(if refusing {
            rule.give_up_ms.saturating_add(patience)
        } else {
            rule.give_up_ms
        });
        if scene.now < end {
            self.wake_by(end);
            return false;
        }
        self.gave_up = true;
        true
    }

    fn new_is_proved(&self) -> bool {
        self.has_new() && self.new_identity.is_some()
    }

    fn choose_control(&self, scene: &Scene<'_>) -> Choice {
        if self.new_is_proved() {
            return Choice::At(ControlKind::New);
        }
        let mut later = false;
        match scene.planned.control.map(|acting| scene.control_ready(acting)) {
            Some(Ready::Now) => return Choice::At(ControlKind::Named),
            Some(Ready::Later) => later = true,
            Some(Ready::Never(_)) | None => {}
        }
        // An issue that waits for a person is not waited for: its new one takes over when it comes.
        if self.new_may_come(scene) && !scene.asks_a_person() {
            return Choice::Later;
        }
        let admin = scene.admin("").filter(|_| !self.admin_is_none);
        match admin.map(|acting| scene.control_ready(acting)) {
            Some(Ready::Now) if !later => return Choice::At(ControlKind::Admin),
            Some(Ready::Later) => later = true,
            _ => {}
        }
        if later { Choice::Later } else { Choice::None }
    }

    fn new_may_come(&self, scene: &Scene<'_>) -> bool {
        let makes = |phase: &Phase| matches!(phase, Phase::Issue | Phase::Roll);
        let left = scene.phases_from(self.at);
        match &self.issued {
            Issued::No | Issued::Looking => left.iter().any(makes),
            Issued::Yes => left.contains(&Phase::ProveNew),
            Issued::Failed(_) | Issued::Lost(_) => false,
        }
    }

    /// The old one was accepted, whenever and however that was seen.
    pub(super) fn accepted_as(&mut self, scene: &Scene<'_>, who: Identity) {
        self.saw_old_accepted(scene.wall);
        if !who.0.is_empty() {
            self.identity.get_or_insert(who);
        }
        if let Some(proof) = &mut self.proof {
            proof.old_accepted(scene.now);
            self.proved_at = None;
        }
    }

    pub(super) fn probed_old(&mut self, scene: &Scene<'_>, answer: Answer, wants: &mut Vec<Want>) {
        let (seen, _) = liveness(answer);
        let Some(seen) = self.old_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::ProbeOld(self.old_layers.next);
            wants.push(Want { purpose, lane: Lane::Refused });
            return;
        };
        self.proving = false;
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) if self.is_itself(&who) => {
                self.unreached = None;
                self.accepted_as(scene, who);
            }
            Liveness::Dead { by_name } => {
                self.unreached = None;
                self.saw_old_refused(scene.wall);
                if let Some(proof) = &mut self.proof {
                    proof.old_refused(scene.now, by_name);
                }
            }
            // Accepted as somebody else, or nothing clear: no verdict.
            Liveness::Alive(_) | Liveness::Restricted(_) | Liveness::Unclear(_) => {
                if let Some(proof) = &mut self.proof {
                    proof.old_unclear(scene.now);
                }
            }
        }
    }

    /// Whether this is the principal seen before, as far as the probe tells.
    pub(super) fn is_itself(&self, who: &Identity) -> bool {
        who.0.is_empty() || self.identity.as_ref().is_none_or(|known| known == who)
    }

    pub(super) fn probed_control(
        &mut self,
        scene: &Scene<'_>,
        answer: Answer,
        wants: &mut Vec<Want>,
    ) {
        let (seen, _) = liveness(answer);
        let Some(seen) = self.control_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::ProbeControl(self.control_layers.next);
            wants.push(Want { purpose, lane: Lane::Prove });
            return;
        };
        self.proving = false;
        let itself = |who: &Identity| {
            let known = self.new_identity.as_ref().filter(|_| self.control == ControlKind::New);
            who.0.is_empty() || known.is_none_or(|known| known.0.is_empty() || known == who)
        };
        let seen = match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) if !itself(&who) => {
                Liveness::Unclear(Reason::SomebodyElse.into())
            }
            seen => seen,
        };
        let accepted = matches!(seen, Liveness::Alive(_) | Liveness::Restricted(_));
        let clear = accepted || matches!(seen, Liveness::Dead { .. });
        if clear && self.control == ControlKind::New {
            self.new_used = Some((scene.now, accepted));
        }
        let Some(proof) = &mut self.proof else { return };
        if accepted {
            self.control_tries = (0, Time(0));
            proof.control_accepted();
            return;
        }
        let (tries, _) = self.control_tries;
        self.control_tries = (tries + 1, scene.now.plus(CONTROL_PAUSE_MS.max(Self::pause(tries))));
        // The admin is a control only where this very probe accepts it.
        if self.control == ControlKind::Admin && !proof.opened() && tries + 1 >= ADMIN_TRIES {
            self.admin_is_none = true;
            self.control = ControlKind::None;
            proof.lose_control();
        } else if matches!(seen, Liveness::Dead { .. }) {
            proof.control_refused(scene.now);
        }
    }
}

impl Scene<'_> {
    /// Whether the old one can be used to prove its death at all.
    pub(super) fn uses_old(&self, machine: &Machine) -> bool {
        machine.read == super::Try::Done
            && self.probe().is_some()
            && !self.asker_is_gone()
            && !Lane::Refused.forbidden(&self.kind.limits)
    }

    /// Whether who asks about the old one cannot act any more, in any layer of the probe.
    fn asker_is_gone(&self) -> bool {
        let never = |party: Result<Party, Ready>| matches!(party, Err(Ready::Never(_)));
        let gone = |step: &StepCapability| match &step.actor {
            Actor::Client => never(self.client(Whose::Old)),
            Actor::Admin(name) => {
                let admin = self.admin(name.as_deref().unwrap_or_default());
                admin.is_none_or(|admin| never(self.acting(admin)))
            }
            Actor::Old | Actor::It | Actor::New | Actor::Live | Actor::None => false,
        };
        self.ways(Verb::Probe).iter().all(|way| way.steps.iter().any(gone))
    }

    /// Whether the negative control is settled.
    fn sighted(&self) -> bool {
        self.sight.is_none_or(|state| state.sight.is_some())
    }

    /// Whether a credential can stand as a control. One of the run is none while it is being ended
    /// itself: only its new one is.
    fn control_ready(&self, acting: Acting) -> Ready {
        let new_one = match acting {
            Acting::Fixed(_) => None,
            Acting::Planned(subject) => self.machines.get(subject.0 as usize).map(|other| {
                let planned = self.plan.planned(subject);
                let phases = planned.map_or(&[][..], |one| &one.phases);
                let kind = planned.and_then(|one| self.plan.kind(one.kind));
                // Nobody waits for a person.
                let person = !other.has_new() && kind.is_some_and(PlannedKind::asks_a_person);
                (other.new_identity.is_some(), !person && other.new_may_be_proved(phases))
            }),
        };
        match new_one {
            Some((false, true)) => Ready::Later,
            Some((false, false)) => Ready::Never(Reason::Unreadable.into()),
            Some((true, _)) | None => match self.acting(acting) {
                Ok(_) => Ready::Now,
                Err(not) => not,
            },
        }
    }
}
