//! The proof of one death: a run of refusals of the old credential between two acceptances of a
//! positive control. It says which probe is due next; it never decides a verdict.

use serde::{Deserialize, Serialize};

use super::call::Time;
use super::capability::ProofRule;
use super::verdict::{Control, Now};

/// The first pause between two probes of an old one that still answers, milliseconds. Most
/// revocations take effect at once; a quarter of a second later is early enough to say so.
const FIRST_PAUSE_MS: u64 = 250;

/// The longest pause while it still answers, unless the budget of probes asks for more.
const LONGEST_PAUSE_MS: u64 = 30_000;

/// What the proof wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Use the positive control.
    Control,
    /// Use the old one, not before this time.
    Old(Time),
    /// Nothing more: what stands, stands.
    Nothing,
}

/// Unbroken refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refusals {
    count: u32,
    first: Time,
    last: Time,
    by_name: bool,
}

/// A proof under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    rule: ProofRule,
    has_control: bool,
    /// The control was accepted, and the refusals that count come after it.
    opened: bool,
    /// The control was not asked since the last refusal.
    owed: bool,
    refusals: Option<Refusals>,
    /// The control was accepted after the last refusal needed.
    closed: bool,
    /// The latest clear answer, if there was any since the proof began.
    accepted: Option<bool>,
    /// It was accepted at least once since the proof began.
    answered: bool,
    spent: u32,
    pauses: u32,
    next: Time,
}

impl Proof {
    /// Begins at `now`. Without a control the refusals count from the start.
    pub(super) fn new(rule: ProofRule, has_control: bool, now: Time) -> Self {
        Self {
            rule,
            has_control,
            opened: !has_control,
            owed: false,
            refusals: None,
            closed: false,
            accepted: None,
            answered: false,
            spent: 0,
            pauses: 0,
            next: now,
        }
    }

    /// A resume breaks the run of refusals: nobody watched in between.
    pub(super) fn resumed(&mut self, now: Time) {
        self.begin_again(now);
        self.accepted = None;
    }

    /// The control was lost for good (this probe does not take it).
    pub(super) fn lose_control(&mut self) {
        self.has_control = false;
        self.opened = true;
        self.owed = false;
    }

    /// A control is at hand where there was none: what it was not asked about does not count.
    pub(super) fn gain_control(&mut self, now: Time) {
        self.has_control = true;
        self.begin_again(now);
    }

    /// Half of the probes may have gone into what is void now; the other half is kept for this.
    fn begin_again(&mut self, now: Time) {
        self.refusals = None;
        self.closed = false;
        self.owed = false;
        self.opened = !self.has_control;
        self.spent = self.spent.min(self.rule.probes / 2);
        self.pauses = 0;
        self.next = now;
    }

    /// What is due.
    pub(super) fn due(&self) -> Due {
        if self.closed {
            Due::Nothing
        } else if !self.opened || self.owed {
            Due::Control
        } else if self.long_enough() {
            if self.has_control { Due::Control } else { Due::Nothing }
        } else if self.spent() {
            Due::Nothing
        } else {
            Due::Old(self.next)
        }
    }

    /// While the control is not accepted, the old one may be used to see whether it still answers;
    /// its refusals count for nothing then, and half of the probes are kept for those that do.
    pub(super) fn watch(&self) -> Option<Time> {
        (!self.opened && self.spent < self.rule.probes / 2).then_some(self.next)
    }

    /// The control was accepted: opens the run of refusals, carries it on, or closes it.
    pub(super) fn control_accepted(&mut self) {
        if self.opened && self.long_enough() {
            self.closed = true;
        }
        self.opened = true;
        self.owed = false;
    }

    /// The control was refused: whatever refused the old one may be refusing everybody.
    pub(super) fn control_refused(&mut self, now: Time) {
        self.refusals = None;
        self.opened = false;
        self.owed = false;
        self.next = self.next.min(now);
    }

    /// The old one was accepted, as itself.
    pub(super) fn old_accepted(&mut self, now: Time) {
        self.spent += 1;
        self.accepted = Some(true);
        self.answered = true;
        self.refusals = None;
        self.closed = false;
        self.owed = false;
        self.next = now.plus(self.pause());
        self.pauses += 1;
    }

    /// The old one was refused.
    pub(super) fn old_refused(&mut self, now: Time, by_name: bool) {
        self.spent += 1;
        self.accepted = Some(false);
        if !self.opened {
            self.next = now.plus(self.pause());
            self.pauses += 1;
            return;
        }
        let steps = u64::from(self.needed().saturating_sub(1)).max(1);
        let refusals = self.refusals.get_or_insert(Refusals {
            count: 0,
            first: now,
            last: now,
            by_name: true,
        });
        refusals.count += 1;
        refusals.last = now;
        refusals.by_name &= by_name;
        self.owed = self.has_control;
        // Spread so that the last one needed is sent exactly `hold` after the first was answered.
        let done = u64::from(refusals.count);
        let pause = self.rule.hold_ms.saturating_mul(done).div_ceil(steps);
        self.next = refusals.first.plus(pause);
    }

    /// The probe of the old one got no clear answer: neither breaks nor lengthens the run.
    pub(super) fn old_unclear(&mut self, now: Time) {
        self.spent += 1;
        self.next = now.plus(self.pause());
        self.pauses += 1;
    }

    /// The latest clear answers.
    pub(super) fn now(&self) -> Now {
        match (self.refusals, self.accepted) {
            (Some(refusals), _) if self.long_enough() => {
                Now::RefusedForHold { by_name: refusals.by_name }
            }
            (Some(_), _) | (None, Some(false)) => Now::Refused,
            (None, Some(true)) => Now::Accepted,
            (None, None) => Now::Unknown,
        }
    }

    /// What the control did.
    pub(super) fn control(&self) -> Control {
        match (self.has_control, self.closed) {
            (false, _) => Control::None,
            (true, true) => Control::Held,
            (true, false) => Control::NotHeld,
        }
    }

    /// Refusals in the unbroken run, and how long it lasted in milliseconds.
    pub(super) fn extent(&self) -> (u32, u64) {
        self.refusals.map_or((0, 0), |run| (run.count, run.last.since(run.first)))
    }

    /// The control was accepted, or none is needed.
    pub(super) fn opened(&self) -> bool {
        self.opened
    }

    /// It was accepted at least once since the proof began.
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// Nothing is missing.
    pub(super) fn complete(&self) -> bool {
        self.closed || (!self.has_control && self.long_enough())
    }

    /// Probes of the old one are used up.
    pub(super) fn spent(&self) -> bool {
        self.spent >= self.rule.probes
    }

    fn long_enough(&self) -> bool {
        self.refusals.is_some_and(|run| {
            run.count >= self.needed() && run.last.since(run.first) >= self.rule.hold_ms
        })
    }

    /// A time between a first and a last refusal needs two of them.
    fn needed(&self) -> u32 {
        self.rule.refusals.max(if self.rule.hold_ms > 0 { 2 } else { 1 })
    }

    /// Doubles up to 30 s, or up to what spreads half the budget over the time to give up: the
    /// other half is kept for the refusals.
    fn pause(&self) -> u64 {
        let spread = self.rule.give_up_ms / u64::from((self.rule.probes / 2).max(1));
        let longest = LONGEST_PAUSE_MS.max(spread);
        FIRST_PAUSE_MS.saturating_mul(1 << self.pauses.min(20)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ProofRule = ProofRule {
        refusals: 3,
        hold_ms: 10_000,
        give_up_ms: 600_000,
        probes: 60,
        assumed: false,
        from_inventory: false,
    };

    fn at(ms: u64) -> Time {
        Time(ms)
    }

    #[test]
    fn three_refusals_over_hold_between_two_acceptances() {
        let mut proof = Proof::new(RULE, true, at(0));
        assert_eq!(proof.due(), Due::Control);
        proof.control_accepted();
        assert_eq!(proof.due(), Due::Old(at(0)));
        proof.old_refused(at(5), true);
        assert_eq!(proof.due(), Due::Control, "each refusal stands between two acceptances");
        proof.control_accepted();
        assert_eq!(proof.due(), Due::Old(at(5_005)));
        proof.old_refused(at(5_005), true);
        proof.control_accepted();
        assert_eq!((proof.now(), proof.due()), (Now::Refused, Due::Old(at(10_005))));
        proof.old_refused(at(10_005), true);
        assert_eq!(proof.now(), Now::RefusedForHold { by_name: true });
        assert_eq!((proof.control(), proof.due()), (Control::NotHeld, Due::Control));
        proof.control_accepted();
        assert_eq!((proof.control(), proof.due()), (Control::Held, Due::Nothing));
        assert_eq!(proof.extent(), (3, 10_000));
    }

    #[test]
    fn an_acceptance_starts_count_and_hold_again() {
        let mut proof = Proof::new(RULE, true, at(0));
        proof.control_accepted();
        proof.old_refused(at(0), true);
        proof.old_refused(at(5_000), true);
        proof.old_accepted(at(9_000));
        assert_eq!((proof.now(), proof.extent()), (Now::Accepted, (0, 0)));
        proof.old_refused(at(9_250), true);
        proof.control_accepted();
        proof.old_refused(at(14_250), true);
        assert_eq!(proof.now(), Now::Refused, "two refusals over 5 s are not three over 10 s");
    }

    #[test]
    fn a_control_refused_at_any_time_voids_the_refusals() {
        for bad in [5_000, 10_000] {
            let mut proof = Proof::new(RULE, true, at(0));
            proof.control_accepted();
            for ms in [0, 5_000, 10_000] {
                proof.old_refused(at(ms), true);
                if ms == bad { proof.control_refused(at(ms)) } else { proof.control_accepted() }
            }
            assert_eq!(proof.control(), Control::NotHeld);
            assert!(proof.extent().0 <= 1, "an outage in the middle refuses everybody");
        }
    }

    #[test]
    fn what_the_old_one_does_while_no_control_is_accepted_is_seen_and_counts_for_nothing() {
        let mut proof = Proof::new(RULE, true, at(0));
        assert_eq!(proof.watch(), Some(at(0)));
        for ms in [0, 30_000, 60_000] {
            proof.old_refused(at(ms), true);
        }
        assert_eq!(
            (proof.now(), proof.extent(), proof.due()),
            (Now::Refused, (0, 0), Due::Control)
        );
        proof.old_accepted(at(70_000));
        assert_eq!((proof.now(), proof.answered()), (Now::Accepted, true));
        proof.control_accepted();
        assert_eq!(proof.watch(), None);
    }

    #[test]
    fn a_late_acceptance_undoes_a_complete_proof() {
        let mut proof = Proof::new(ProofRule { hold_ms: 0, refusals: 1, ..RULE }, true, at(0));
        proof.control_accepted();
        proof.old_refused(at(1), true);
        proof.control_accepted();
        assert!(proof.complete());
        proof.old_accepted(at(2));
        assert_eq!((proof.complete(), proof.now()), (false, Now::Accepted));
    }

    #[test]
    fn a_control_that_comes_late_starts_the_count_again() {
        let mut proof = Proof::new(RULE, false, at(0));
        for ms in [0, 5_000, 10_000] {
            proof.old_refused(at(ms), true);
        }
        assert_eq!((proof.control(), proof.complete()), (Control::None, true));
        proof.gain_control(at(20_000));
        assert_eq!((proof.control(), proof.complete()), (Control::NotHeld, false));
        assert_eq!(proof.due(), Due::Control);
    }

    #[test]
    fn a_resume_breaks_the_run() {
        let mut proof = Proof::new(RULE, true, at(0));
        proof.control_accepted();
        proof.old_refused(at(0), true);
        proof.old_refused(at(5_000), true);
        proof.resumed(at(20_000));
        assert_eq!((proof.now(), proof.due()), (Now::Unknown, Due::Control));
    }

    #[test]
    fn no_clear_answer_neither_breaks_nor_counts() {
        let mut proof = Proof::new(RULE, false, at(0));
        proof.old_refused(at(0), true);
        proof.old_unclear(at(5_000));
        assert_eq!(proof.extent(), (1, 0));
        proof.old_refused(at(6_000), false);
        proof.old_refused(at(10_000), true);
        assert_eq!(proof.now(), Now::RefusedForHold { by_name: false });
        assert_eq!((proof.control(), proof.due()), (Control::None, Due::Nothing));
    }

    #[test]
    fn the_budget_of_probes_ends_it() {
        let mut proof = Proof::new(ProofRule { probes: 3, ..RULE }, false, at(0));
        for ms in 0..3 {
            assert!(matches!(proof.due(), Due::Old(_)));
            proof.old_accepted(at(ms));
        }
        assert_eq!((proof.due(), proof.spent()), (Due::Nothing, true));
    }

    #[test]
    fn pauses_double_and_stay_bounded() {
        let mut proof = Proof::new(RULE, false, at(0));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            proof.old_accepted(at(0));
            pauses.push(proof.next.0);
        }
        assert_eq!(&pauses[..4], [250, 500, 1_000, 2_000]);
        assert_eq!(pauses[9], 30_000);
    }

    #[test]
    fn one_refusal_with_a_hold_still_needs_two() {
        let rule = ProofRule { refusals: 1, ..RULE };
        let mut proof = Proof::new(rule.clone(), false, at(0));
        proof.old_refused(at(0), true);
        assert_eq!(proof.now(), Now::Refused);
        assert_eq!(proof.due(), Due::Old(at(10_000)));
        let mut at_once = Proof::new(ProofRule { hold_ms: 0, ..rule }, false, at(0));
        at_once.old_refused(at(0), true);
        assert_eq!(at_once.now(), Now::RefusedForHold { by_name: true });
    }
}
