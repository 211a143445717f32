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
pub enum Due {
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
pub struct Proof {
    rule: ProofRule,
    has_control: bool,
    /// The control was accepted, and the refusals that count come after it.
    opened: bool,
    refusals: Option<Refusals>,
    /// The control was accepted after the last refusal needed.
    closed: bool,
    accepted: bool,
    spent: u32,
    pauses: u32,
    next: Time,
}

impl Proof {
    /// Begins at `now`. Without a control the refusals count from the start.
    pub fn new(rule: ProofRule, has_control: bool, now: Time) -> Self {
        Self {
            rule,
            has_control,
            opened: !has_control,
            refusals: None,
            closed: false,
            accepted: false,
            spent: 0,
            pauses: 0,
            next: now,
        }
    }

    /// A resume breaks the run of refusals: nobody watched in between.
    pub fn resumed(&mut self, now: Time) {
        self.refusals = None;
        self.closed = false;
        self.opened = !self.has_control;
        self.accepted = false;
        self.next = now;
    }

    /// The control was lost for good (the new one could not be proved, its reader failed).
    pub fn lose_control(&mut self) {
        self.has_control = false;
        self.opened = true;
    }

    /// What is due.
    pub fn due(&self) -> Due {
        if self.closed {
            Due::Nothing
        } else if !self.opened {
            Due::Control
        } else if self.long_enough() {
            if self.has_control { Due::Control } else { Due::Nothing }
        } else if self.spent >= self.rule.probes {
            Due::Nothing
        } else {
            Due::Old(self.next)
        }
    }

    /// The control was accepted: opens the run of refusals, or closes it.
    pub fn control_accepted(&mut self) {
        if self.opened && self.long_enough() {
            self.closed = true;
        }
        self.opened = true;
    }

    /// The control was not accepted: whatever refused the old one may be refusing everybody.
    pub fn control_not_accepted(&mut self) {
        self.refusals = None;
        self.opened = false;
    }

    /// The old one was accepted, as itself.
    pub fn old_accepted(&mut self, now: Time) {
        self.spent += 1;
        self.accepted = true;
        self.refusals = None;
        self.next = now.plus(self.pause());
        self.pauses += 1;
    }

    /// The old one was refused.
    pub fn old_refused(&mut self, now: Time, by_name: bool) {
        let steps = u64::from(self.needed().saturating_sub(1)).max(1);
        self.spent += 1;
        self.accepted = false;
        let refusals = self.refusals.get_or_insert(Refusals {
            count: 0,
            first: now,
            last: now,
            by_name: true,
        });
        refusals.count += 1;
        refusals.last = now;
        refusals.by_name &= by_name;
        // Spread so that the last one needed falls exactly `hold` after the first.
        let done = u64::from(refusals.count);
        self.next = refusals.first.plus((self.rule.hold_ms * done).div_ceil(steps));
    }

    /// The probe of the old one got no clear answer: neither breaks nor lengthens the run.
    pub fn old_unclear(&mut self, now: Time) {
        self.spent += 1;
        self.next = now.plus(self.pause());
        self.pauses += 1;
    }

    /// The latest clear answers.
    pub fn now(&self) -> Now {
        match self.refusals {
            Some(refusals) if self.long_enough() => {
                Now::RefusedForHold { by_name: refusals.by_name }
            }
            Some(_) => Now::Refused,
            None if self.accepted => Now::Accepted,
            None => Now::Unknown,
        }
    }

    /// What the control did.
    pub fn control(&self) -> Control {
        match (self.has_control, self.closed) {
            (false, _) => Control::None,
            (true, true) => Control::Held,
            (true, false) => Control::NotHeld,
        }
    }

    /// Refusals in the unbroken run, and how long it lasted in milliseconds.
    pub fn extent(&self) -> (u32, u64) {
        self.refusals.map_or((0, 0), |run| (run.count, run.last.since(run.first)))
    }

    /// The control was accepted, or none is needed.
    pub fn opened(&self) -> bool {
        self.opened
    }

    /// Probes of the old one are used up.
    pub fn spent(&self) -> bool {
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
        assert_eq!(proof.due(), Due::Old(at(5_005)));
        proof.old_refused(at(5_005), true);
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
        proof.old_refused(at(14_250), true);
        assert_eq!(proof.now(), Now::Refused, "two refusals over 5 s are not three over 10 s");
    }

    #[test]
    fn a_control_refused_at_the_end_voids_the_refusals() {
        let mut proof = Proof::new(RULE, true, at(0));
        proof.control_accepted();
        for ms in [0, 5_000, 10_000] {
            proof.old_refused(at(ms), true);
        }
        proof.control_not_accepted();
        assert_eq!((proof.now(), proof.control()), (Now::Unknown, Control::NotHeld));
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
