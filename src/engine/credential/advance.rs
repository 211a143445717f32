//! What a credential wants next: one match over the phases of its script.

use super::{ControlKind, Issued, Layers, Machine, NotSafe, Purpose, Steps, Try};
use crate::engine::call::{Reason, Time, Values, Verb, Why};
use crate::engine::capability::{Actor, Effect, Lifetime, Way};
use crate::engine::plan::Phase;
use crate::engine::proof::{Due, Proof};
use crate::engine::queue::{Lane, Queue};
use crate::engine::report::{Mode, Revoke};
use crate::engine::scene::{Ready, Scene, Want, names};
use crate::engine::verdict::{Before, Now};

/// In contain the old one is looked at once, and the revocation waits no longer than this: a
/// missing control costs a claim, a late revocation costs the user. Two seconds are two slow
/// round trips.
pub(in crate::engine) const BASELINE_MS: u64 = 2_000;

/// In contain, an issue that the revocation needs gets one attempt and this long.
const ISSUE_FIRST_MS: u64 = 5_000;

/// A burned admin credential waits this long for the calls that need it.
const ADMIN_WAIT_MS: u64 = 60_000;

/// The first pause before something that did not reach its provider is tried again.
const RETRY_MS: u64 = 250;

/// The longest such pause: a provider that comes back is noticed within it.
const LONGEST_RETRY_MS: u64 = 10_000;

/// How often a delivery is tried whose outcome is not known: it compares before it writes.
const DELIVERIES: u32 = 5;

/// How often a rehearsal looks at an old one that did not answer clearly.
const LOOKS: u32 = 3;

/// After `give_up`, an unbroken run of refusals may still be finished; this bounds it beyond its
/// hold, for probes that get no clear answer.
const LAST_WORD_MS: u64 = 60_000;

/// Whether a phase is over.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Wait,
}

impl Machine {
    /// Walks on as far as it can, and says what it wants on the way.
    pub(crate) fn advance(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        while let Some(phase) = self.phase(&scene.planned.phases) {
            self.wake = None;
            let flow = match phase {
                Phase::Baseline => self.baseline(scene, wants),
                Phase::Issue => self.issue(scene, wants),
                Phase::Roll => self.roll(scene, wants),
                Phase::ProveNew => self.prove_new(scene, wants),
                Phase::Deliver => self.deliver(scene, wants),
                Phase::Finish => self.finish(scene, wants),
                Phase::Revoke => self.revoke(scene, wants),
                Phase::Evict => self.evict(scene, wants),
                Phase::ProveOld => self.prove_old(scene, wants),
                Phase::Sweep => self.sweep(scene, wants),
            };
            match flow {
                Flow::Wait => return,
                Flow::Next => self.next_phase(scene.now),
            }
        }
        self.closed = true;
        self.wake = None;
    }

    /// Everything this credential still wants is dropped: a person stopped the run, or `--wait` is
    /// over.
    pub(crate) fn leave(&mut self) {
        self.closed = true;
        self.wake = None;
    }

    fn baseline(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let patient = !scene.plan.mode.contains();
        if self.read == Try::Todo {
            self.read = Try::Flying;
            wants.push(Want { purpose: Purpose::Read, lane: Lane::Need });
        }
        if self.read.settled() {
            self.look_at_old(scene, wants);
            self.learn_facts(scene, wants);
            self.find_handle(scene, wants);
        }
        let settled = [&self.read, &self.look, &self.learn, &self.find].iter().all(|t| t.settled());
        let over = scene.now.since(self.since) >= BASELINE_MS;
        if settled || (over && !patient && self.read.settled()) {
            if !patient || self.before == Some(Before::Accepted) {
                return Flow::Next;
            }
            if scene.plan.mode == Mode::Rehearse {
                self.stopped_before_revoke = Some(NotSafe::OldNotAlive);
                self.leave();
                return Flow::Wait;
            }
            return Flow::Next;
        }
        if !patient {
            self.wake = Some(self.since.plus(BASELINE_MS));
        }
        Flow::Wait
    }

    fn look_at_old(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.look != Try::Todo {
            return;
        }
        let ways = scene.ways(Verb::Probe);
        let usable =
            matches!(scene.kind.can.effect, Effect::None | Effect::Mints | Effect::Extends);
        match ways.first().map(|way| scene.way_ready(self, Verb::Probe, way)) {
            Some(Ready::Now) if usable && self.read == Try::Done => {
                self.look = Try::Flying;
                self.look_layers = Layers::new();
                wants.push(Want { purpose: Purpose::Baseline(0), lane: Lane::Baseline });
            }
            Some(Ready::Later) => {}
            _ => self.look = Try::Failed(Reason::Unsupported.into()),
        }
    }

    fn learn_facts(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.learn != Try::Todo {
            return;
        }
        match scene.ways(Verb::Learn).first().map(|way| scene.way_ready(self, Verb::Learn, way)) {
            Some(Ready::Now) => {
                self.learn = Try::Flying;
                wants.push(Want { purpose: Purpose::Learn(self.learn_step), lane: Lane::Need });
            }
            Some(Ready::Later) => {}
            Some(Ready::Never(why)) => self.learn = Try::Failed(why),
            None => self.learn = Try::Done,
        }
    }

    /// The handle is looked for only where a revocation needs it and nobody knows it.
    fn find_handle(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.find != Try::Todo {
            return;
        }
        let needed = scene
            .ways(Verb::Revoke)
            .iter()
            .flat_map(|way| &way.steps)
            .any(|step| step.needs.iter().any(|name| name == "handle"));
        if !needed || self.old.handle.is_some() {
            self.find = Try::Done;
            return;
        }
        match scene.ways(Verb::Find).first().map(|way| scene.way_ready(self, Verb::Find, way)) {
            Some(Ready::Now) => {
                self.find = Try::Flying;
                wants.push(Want { purpose: Purpose::Find, lane: Lane::Need });
            }
            Some(Ready::Later) => {}
            Some(Ready::Never(why)) => self.find = Try::Failed(why),
            None => self.find = Try::Failed(Reason::Unsupported.into()),
        }
    }

    fn issue(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        match &self.issued {
            Issued::Yes | Issued::Failed(_) | Issued::Lost(_) => return Flow::Next,
            Issued::Looking => return self.look_for_issued(scene, wants),
            Issued::No => {}
        }
        if scene.stopping || scene.journal_lost {
            self.issued = Issued::Failed(Reason::Crashed.into());
            return Flow::Next;
        }
        let first = scene.plan.mode.contains() && scene.comes_before(self, Phase::Revoke);
        if first && scene.now.since(self.since) >= ISSUE_FIRST_MS {
            return Flow::Next;
        }
        if scene.kind.can.generates && self.new.secrets.is_empty() {
            if !self.steps.flying {
                self.steps.flying = true;
                wants.push(Want { purpose: Purpose::Generate, lane: Lane::Make });
            }
            return Flow::Wait;
        }
        let flow = self
            .walk(scene, wants, Verb::Issue, Lane::Make, |way, step| Purpose::Issue { way, step });
        if first {
            let end = self.since.plus(ISSUE_FIRST_MS);
            self.wake = Some(self.wake.map_or(end, |at| at.min(end)));
        }
        match flow {
            Walk::Exhausted(why) => {
                self.issued = Issued::Failed(why);
                Flow::Next
            }
            Walk::Waiting => Flow::Wait,
        }
    }

    /// After a lost answer nothing is sent again before the provider's own list was read.
    fn look_for_issued(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if self.steps.flying {
            return Flow::Wait;
        }
        if self.end_orphans(scene, wants) {
            return Flow::Wait;
        }
        if self.looked {
            self.looked = false;
            self.issued = Issued::No;
            self.attempts += 1;
            self.steps = Steps::default();
            return self.issue(scene, wants);
        }
        if scene.now < self.steps.next {
            self.wake = Some(self.steps.next);
            return Flow::Wait;
        }
        let lost = self.steps.why.clone().unwrap_or_else(|| Reason::Timeout.into());
        match scene.ways(Verb::Find).first().map(|way| scene.way_ready(self, Verb::Find, way)) {
            Some(Ready::Now) if self.steps.failures < LOOKS => {
                self.steps.flying = true;
                wants.push(Want { purpose: Purpose::LookForIssued, lane: Lane::Make });
                Flow::Wait
            }
            Some(Ready::Later) => Flow::Wait,
            _ => {
                self.issued = Issued::Lost(lost);
                Flow::Next
            }
        }
    }

    /// Ends what this run made and lost the bytes of; true while that is under way.
    fn end_orphans(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> bool {
        if self.steps.flying {
            return true;
        }
        if scene.now < self.steps.next {
            self.wake = Some(self.steps.next);
            return true;
        }
        while let Some(orphan) = self.orphans.iter_mut().find(|one| !one.revoked && !one.given_up) {
            let handle = orphan.handle.clone();
            let Some(way) = scene.orphan_way(&self.taken, self.steps.way) else {
                orphan.given_up = true;
                self.steps = Steps { why: self.steps.why.take(), ..Steps::default() };
                continue;
            };
            self.steps.way = way;
            self.steps.flying = true;
            let step = self.steps.step;
            let purpose = Purpose::RevokeOrphan { handle, way, step };
            wants.push(Want { purpose, lane: Lane::Kill });
            return true;
        }
        false
    }

    fn sweep(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if !scene.swept || self.end_orphans(scene, wants) { Flow::Wait } else { Flow::Next }
    }

    fn roll(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        match &self.issued {
            Issued::Yes | Issued::Failed(_) | Issued::Lost(_) => return Flow::Next,
            Issued::Looking => {
                // One call does both, and nothing here can tell whether it did.
                let why = self.steps.why.clone().unwrap_or_else(|| Reason::Timeout.into());
                self.issued = Issued::Lost(why);
                if scene.ways(Verb::Revoke).is_empty() {
                    self.revoke = Revoke::Lost;
                }
                return Flow::Next;
            }
            Issued::No => {}
        }
        if scene.stopping || scene.journal_lost {
            self.issued = Issued::Failed(Reason::Crashed.into());
            return Flow::Next;
        }
        let make = |way, step| Purpose::Roll { way, step };
        match self.walk(scene, wants, Verb::Roll, Lane::Kill, make) {
            Walk::Exhausted(why) => {
                self.issued = Issued::Failed(why);
                Flow::Next
            }
            Walk::Waiting => Flow::Wait,
        }
    }

    fn prove_new(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let ways = scene.ways(Verb::Probe);
        if !self.has_new() || self.new_identity.is_some() || ways.is_empty() {
            return Flow::Next;
        }
        if scene.now.since(self.since) >= scene.kind.can.proof.give_up_ms {
            return Flow::Next;
        }
        self.wake = Some(self.since.plus(scene.kind.can.proof.give_up_ms));
        if self.steps.flying {
            return Flow::Wait;
        }
        if scene.now < self.steps.next {
            self.wake = Some(self.steps.next);
            return Flow::Wait;
        }
        self.steps.flying = true;
        if self.new_layers.next == 0 {
            self.new_layers = Layers::new();
        }
        let purpose = Purpose::ProbeNew(self.new_layers.next);
        wants.push(Want { purpose, lane: Lane::Prove });
        Flow::Wait
    }

    fn deliver(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let provable = !scene.ways(Verb::Probe).is_empty();
        let proved = self.new_identity.is_some() || !provable;
        if !scene.planned.deliver || !self.has_new() || !proved || self.deliver.settled() {
            return Flow::Next;
        }
        if scene.stopping || scene.journal_lost {
            self.deliver = Try::Failed(Reason::Crashed.into());
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
        if self.deliver == Try::Flying {
            return Flow::Wait;
        }
        if self.steps.failures >= DELIVERIES {
            let why = self.steps.why.clone().unwrap_or_else(|| Reason::Unwritable.into());
            self.deliver = Try::Failed(why);
            return Flow::Next;
        }
        if scene.now < self.steps.next {
            self.wake = Some(self.steps.next);
            return Flow::Wait;
        }
        self.deliver = Try::Flying;
        wants.push(Want { purpose: Purpose::Deliver, lane: Lane::Make });
        Flow::Wait
    }

    fn finish(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if !self.rolled || scene.ways(Verb::Finish).is_empty() {
            return Flow::Next;
        }
        let make = |way, step| Purpose::Finish { way, step };
        match self.walk(scene, wants, Verb::Finish, Lane::Kill, make) {
            Walk::Exhausted(_) => Flow::Next,
            Walk::Waiting => Flow::Wait,
        }
    }

    fn revoke(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if matches!(self.revoke, Revoke::Accepted | Revoke::Lost) || self.rolled {
            return Flow::Next;
        }
        if scene.stopping && self.steps.sent == 0 {
            self.leave();
            return Flow::Wait;
        }
        if scene.plan.mode == Mode::Rehearse && scene.comes_before_revoke(Phase::Deliver) {
            if let Some(because) = self.not_safe_to_revoke(scene) {
                self.stopped_before_revoke = Some(because);
                self.leave();
                return Flow::Wait;
            }
        }
        match scene.leader() {
            Some(leader) if leader.revoke == Revoke::Accepted => {
                self.revoke = Revoke::Accepted;
                self.revoked = leader.revoked;
                return Flow::Next;
            }
            Some(leader) if leader.before_revoked(scene) => return Flow::Wait,
            _ => {}
        }
        let waited = scene.now.since(self.since) >= ADMIN_WAIT_MS;
        let switched = self.new_identity.is_some() && scene.nobody_uses_it_now();
        if !switched && !scene.no_longer_needed() && !(waited && scene.plan.mode.contains()) {
            self.wake = Some(self.since.plus(ADMIN_WAIT_MS));
            return Flow::Wait;
        }
        let give_up = self.since.plus(scene.kind.can.proof.give_up_ms);
        if scene.now >= give_up && !self.steps.flying {
            self.revoke = if self.steps.sent == 0 { Revoke::NotSent } else { Revoke::Lost };
            self.revoke_why = self.steps.why.clone();
            return Flow::Next;
        }
        let make = |way, step| Purpose::Revoke { way, step };
        match self.walk(scene, wants, Verb::Revoke, Lane::Kill, make) {
            Walk::Waiting => {
                self.wake = Some(self.wake.map_or(give_up, |at| at.min(give_up)));
                Flow::Wait
            }
            Walk::Exhausted(why) => {
                let refused = self.steps.sent > 0;
                self.revoke = if refused { Revoke::Rejected } else { Revoke::ByHand };
                self.revoke_why = Some(why);
                Flow::Next
            }
        }
    }

    /// Why a rehearsal must not revoke the old one yet.
    fn not_safe_to_revoke(&self, scene: &Scene<'_>) -> Option<NotSafe> {
        use crate::engine::call::PlaceState::{InUse, Reloaded};
        if !self.has_new() {
            Some(NotSafe::NotIssued)
        } else if self.new_identity.is_none() {
            Some(NotSafe::NotProved)
        } else if self.deliver != Try::Done {
            Some(NotSafe::NotInPlaces)
        } else if scene.planned.deliver
            && !self.placed.iter().all(|place| matches!(place.state, Reloaded | InUse))
        {
            Some(NotSafe::NotReloaded)
        } else {
            None
        }
    }

    /// Whether its own revocation is still to come.
    fn before_revoked(&self, scene: &Scene<'_>) -> bool {
        let Some(leader) = scene.planned.leader.and_then(|at| scene.plan.planned(at)) else {
            return false;
        };
        let at = leader.phases.iter().position(|phase| *phase == Phase::Revoke);
        !self.closed && at.is_some_and(|at| usize::from(self.at) <= at)
    }

    fn evict(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if self.evict.settled() {
            return Flow::Next;
        }
        if scene.ways(Verb::Evict).is_empty() {
            self.evict = Try::Done;
            return Flow::Next;
        }
        let give_up = self.since.plus(scene.kind.can.proof.give_up_ms);
        if scene.now >= give_up && !self.steps.flying {
            let why = self.steps.why.clone().unwrap_or_else(|| Reason::Timeout.into());
            self.evict = Try::Failed(why);
            return Flow::Next;
        }
        let make = |way, step| Purpose::Evict { way, step };
        match self.walk(scene, wants, Verb::Evict, Lane::Kill, make) {
            Walk::Exhausted(why) => {
                self.evict = Try::Failed(why);
                Flow::Next
            }
            Walk::Waiting => {
                self.wake = Some(self.wake.map_or(give_up, |at| at.min(give_up)));
                Flow::Wait
            }
        }
    }

    fn prove_old(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let rule = &scene.kind.can.proof;
        if scene.ways(Verb::Probe).is_empty()
            || self.read != Try::Done
            || Queue::<()>::forbids_refused(&scene.kind.limits)
            || matches!(scene.kind.can.effect, Effect::Costs | Effect::Sends)
        {
            return Flow::Next;
        }
        if self.proof.is_none() {
            let until = self.since.plus(BASELINE_MS);
            match self.choose_control(scene) {
                Some(control) => self.control = control,
                None if scene.now < until => {
                    self.wake_by(until);
                    return Flow::Wait;
                }
                None => self.control = ControlKind::None,
            }
            let has = self.control != ControlKind::None;
            self.proof = Some(Proof::new(rule.clone(), has, scene.now));
        }
        let base = self.revoked.map_or(self.since, |(at, _)| at.max(self.since));
        if self.proof_is_over(scene, base) {
            return Flow::Next;
        }
        let sighted = scene.sight.is_none_or(|state| state.sight.is_some());
        self.wake = Some(base.plus(rule.give_up_ms).max(scene.now.plus(1)));
        if !sighted
            && let Some(state) = scene.sight
            && !state.flying
            && scene.now >= state.next
        {
            wants.push(Want {
                purpose: Purpose::MadeUp(scene.planned.kind, 0),
                lane: Lane::Refused,
            });
        }
        if self.proving {
            return Flow::Wait;
        }
        match self.proof.as_ref().map_or(Due::Nothing, Proof::due) {
            Due::Nothing if sighted => {
                self.proved_at = Some(scene.now);
                Flow::Next
            }
            Due::Nothing => {
                let next = scene.sight.map_or(scene.now, |state| state.next);
                self.wake_by(next.max(scene.now.plus(1)));
                Flow::Wait
            }
            Due::Control if scene.now < self.steps.next => {
                self.wake_by(self.steps.next);
                Flow::Wait
            }
            Due::Control => {
                self.proving = true;
                self.control_layers = Layers::new();
                wants.push(Want { purpose: Purpose::ProbeControl(0), lane: Lane::Prove });
                Flow::Wait
            }
            Due::Old(at) if scene.now < at => {
                self.wake_by(at);
                Flow::Wait
            }
            Due::Old(_) => {
                self.proving = true;
                self.old_layers = Layers::new();
                wants.push(Want { purpose: Purpose::ProbeOld(0), lane: Lane::Refused });
                Flow::Wait
            }
        }
    }

    fn wake_by(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |other| other.min(at)));
    }

    /// Whether nothing more can be learned by waiting.
    fn proof_is_over(&mut self, scene: &Scene<'_>, base: Time) -> bool {
        let Some(proof) = &self.proof else { return true };
        let rule = &scene.kind.can.proof;
        let pending = matches!(self.revoke, Revoke::Accepted | Revoke::Lost);
        match proof.now() {
            // Nobody is working on its death: one acceptance says it all.
            Now::Accepted if !pending => return true,
            Now::Accepted if scene.only_expires() => return true,
            _ => {}
        }
        let waited = scene.now.since(base);
        let refusing = matches!(proof.now(), Now::Refused | Now::RefusedForHold { .. });
        let last_word = rule.give_up_ms.saturating_add(rule.hold_ms).saturating_add(LAST_WORD_MS);
        let over = waited >= rule.give_up_ms && (!refusing || waited >= last_word);
        let spent = proof.spent() && !self.proving && matches!(proof.due(), Due::Nothing);
        if over || (spent && proof.now() == Now::Accepted) {
            self.gave_up = true;
            self.proving = false;
        }
        over
    }

    /// None while the value of one that may serve is still being read.
    fn choose_control(&self, scene: &Scene<'_>) -> Option<ControlKind> {
        if self.has_new() && self.new_identity.is_some() {
            return Some(ControlKind::New);
        }
        let named = scene.planned.control.map(|acting| (ControlKind::Named, acting));
        let admin = scene.admin("").map(|acting| (ControlKind::Admin, acting));
        for (kind, acting) in named.into_iter().chain(admin) {
            match scene.acting(acting) {
                Ok(_) => return Some(kind),
                Err(Ready::Later) => return None,
                Err(_) => {}
            }
        }
        Some(ControlKind::None)
    }

    /// Ways in order, steps in order; waits, retries and moves on as [`Steps`] says.
    fn walk(
        &mut self,
        scene: &Scene<'_>,
        wants: &mut Vec<Want>,
        verb: Verb,
        lane: Lane,
        purpose: impl Fn(u16, u16) -> Purpose,
    ) -> Walk {
        if self.steps.flying {
            return Walk::Waiting;
        }
        if scene.now < self.steps.next {
            self.wake = Some(self.steps.next);
            return Walk::Waiting;
        }
        match scene.choose_way(self, verb, self.steps.way) {
            Choice::Way(way) => {
                if way != self.steps.way {
                    self.steps = Steps { way, sent: self.steps.sent, ..Steps::default() };
                }
                self.steps.flying = true;
                wants.push(Want { purpose: purpose(way, self.steps.step), lane });
                Walk::Waiting
            }
            Choice::Later => Walk::Waiting,
            Choice::None(why) => Walk::Exhausted(self.steps.why.clone().unwrap_or(why)),
        }
    }

    /// The pause before the next try, doubling.
    pub(crate) fn pause(failures: u32) -> u64 {
        RETRY_MS.saturating_mul(1 << failures.min(16)).min(LONGEST_RETRY_MS)
    }
}

/// How a verb stands.
enum Walk {
    Waiting,
    Exhausted(Why),
}

/// Which way a verb goes.
enum Choice {
    Way(u16),
    Later,
    None(Why),
}

impl Scene<'_> {
    /// The ways of a verb; empty where the kind has none.
    pub(crate) fn ways(&self, verb: Verb) -> &[Way] {
        self.kind.can.verbs.get(&verb).map_or(&[], Vec::as_slice)
    }

    /// Whether the first step of a way can be made, and the parties of all.
    pub(crate) fn way_ready(&self, machine: &Machine, verb: Verb, way: &Way) -> Ready {
        let mut ready = Ready::Now;
        for (index, step) in way.steps.iter().enumerate() {
            let step_ready = if index == usize::from(machine.steps.step) || index == 0 {
                self.ready(machine, verb, step)
            } else {
                self.parties_ready(machine, verb, step)
            };
            match step_ready {
                Ready::Now => {}
                Ready::Later => ready = Ready::Later,
                Ready::Never(why) => return Ready::Never(why),
            }
        }
        ready
    }

    fn parties_ready(
        &self,
        machine: &Machine,
        verb: Verb,
        step: &crate::engine::capability::StepCapability,
    ) -> Ready {
        let bare = crate::engine::capability::StepCapability { needs: Vec::new(), ..step.clone() };
        self.ready(machine, verb, &bare)
    }

    /// The first way from `from` on whose credentials are at hand.
    fn choose_way(&self, machine: &Machine, verb: Verb, from: u16) -> Choice {
        let mut later = false;
        let mut never = Why::from(Reason::Unsupported);
        for (index, way) in self.ways(verb).iter().enumerate().skip(usize::from(from)) {
            let Ok(index) = u16::try_from(index) else { break };
            if verb == Verb::Revoke && self.planned.ways_left_out.contains(&index) {
                continue;
            }
            if self.spent_actor(machine, verb, way) {
                never = Reason::ActorRefused.into();
                continue;
            }
            match self.way_ready(machine, verb, way) {
                Ready::Now => return Choice::Way(index),
                Ready::Later => later = true,
                Ready::Never(why) => never = why,
            }
        }
        if later { Choice::Later } else { Choice::None(never) }
    }

    /// A call signed by an old one that was refused is not sent: where families are watched for
    /// reuse it would kill the new ones.
    fn spent_actor(&self, machine: &Machine, verb: Verb, way: &Way) -> bool {
        let makes = matches!(verb, Verb::Issue | Verb::Roll);
        makes
            && machine.before == Some(Before::Refused)
            && way.steps.iter().any(|step| {
                step.actor == Actor::Old || names(step).iter().any(|name| name == "old")
            })
    }

    /// A way of revoking something by its handle alone, not signed by itself.
    fn orphan_way(&self, taken: &Values, from: u16) -> Option<u16> {
        let at_hand = |name: &String| {
            let acting = match name.split_once('.').unwrap_or((name, "")) {
                ("admin", which) => self.admin(which),
                ("client", _) => self.planned.client,
                _ => None,
            };
            acting.is_some_and(|acting| self.acting(acting).is_ok())
        };
        let known = |name: &String| {
            name == "handle" || self.planned.vars.contains_key(name) || taken.contains_key(name)
        };
        self.ways(Verb::Revoke)
            .iter()
            .enumerate()
            .skip(usize::from(from))
            .find(|(_, way)| {
                let by_handle = |name: &String| name == "handle";
                way.steps.iter().any(|step| step.needs.iter().any(by_handle))
                    && way
                        .steps
                        .iter()
                        .all(|step| names(step).iter().all(at_hand) && step.needs.iter().all(known))
            })
            .and_then(|(index, _)| u16::try_from(index).ok())
    }

    /// No verb can revoke it, and it ends by itself.
    pub(crate) fn only_expires(&self) -> bool {
        let can = &self.kind.can;
        let ends =
            matches!(can.lives, Some(Lifetime::Ms(_) | Lifetime::JwtExp | Lifetime::Taken(_)));
        ends && !can.verbs.contains_key(&Verb::Revoke) && !can.verbs.contains_key(&Verb::Roll)
    }

    fn leader(&self) -> Option<&Machine> {
        self.planned.leader.and_then(|at| self.machines.get(at.0 as usize))
    }

    fn comes_before(&self, machine: &Machine, later: Phase) -> bool {
        self.planned.phases.iter().skip(usize::from(machine.at)).any(|phase| *phase == later)
    }

    fn comes_before_revoke(&self, phase: Phase) -> bool {
        let at = |wanted| self.planned.phases.iter().position(|one| *one == wanted);
        matches!((at(phase), at(Phase::Revoke)), (Some(a), Some(b)) if a < b)
    }
}
