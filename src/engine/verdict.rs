//! The truth table, all of it: what may be said of an old credential.

use serde::{Deserialize, Serialize};

use super::report::Verdict;

/// What Baseline saw of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Accepted, by this run or, for a proof taken up later, by the run before it.
    Accepted,
    /// Refused.
    Refused,
    /// Never clearly answered, never asked, or never readable.
    Unknown,
}

/// What the latest clear answers say of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Now {
    /// Accepted, as the identity seen before.
    Accepted,
    /// Refused often and long enough, unbroken.
    RefusedForHold {
        /// Each time in words that only this provider's refusal has.
        by_name: bool,
    },
    /// Refused, but not yet often or long enough.
    Refused,
    /// Nothing clear.
    Unknown,
}

/// What the positive control did around the refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Accepted before the first and after the last.
    Held,
    /// There is one, but it was not accepted on both sides.
    NotHeld,
    /// There is none.
    None,
}

/// Whether the probe can tell a dead credential from a live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// A made-up credential looked dead.
    Sees,
    /// A made-up credential did not look dead.
    Blind,
    /// The abuse budget of this provider allows no made-up credential.
    NotAllowed,
    /// Not answered clearly.
    Unknown,
}

/// Everything the verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// At Baseline.
    pub before: Before,
    /// Since the revocation.
    pub now: Now,
    /// The positive control.
    pub control: Control,
    /// The negative control.
    pub sight: Sight,
    /// The provider accepted the revocation, or a person says it is done.
    pub revoke_accepted: bool,
    /// The time its provider may take is over.
    pub gave_up: bool,
    /// It was accepted at least once since the revocation.
    pub answered: bool,
    /// Our journal saw this very value accepted, or its provider lists its handle as revoked.
    pub known: bool,
    /// No verb can revoke it, and it ends by itself.
    pub only_expires: bool,
}

/// Why an `unproven` is one: closed words, each with a sentence for people in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// It was never seen alive here, so its refusal tells nothing.
    NeverSeenAlive,
    /// The probe takes a made-up credential for a live one.
    BlindProbe,
    /// The made-up credential got no clear answer.
    SightUnknown,
    /// No live credential was accepted around the refusals.
    ControlNotHeld,
    /// The refusals were not in this provider's own words, and no control was at hand.
    NotByName,
    /// Refused, but not for long enough yet.
    NotHeldLongEnough,
    /// No clear answer.
    NoAnswer,
}

/// The verdict, and why it is `unproven` where it is.
pub fn verdict(evidence: &Evidence) -> (Verdict, Option<Unproven>) {
    let unproven = |why| (Verdict::Unproven, Some(why));
    match evidence.now {
        Now::Accepted if evidence.only_expires => (Verdict::Expires, None),
        Now::Accepted if evidence.revoke_accepted && !evidence.gave_up => (Verdict::Dying, None),
        Now::Accepted => (Verdict::Alive, None),
        Now::Unknown if evidence.only_expires && evidence.before == Before::Accepted => {
            (Verdict::Expires, None)
        }
        Now::Unknown => unproven(Unproven::NoAnswer),
        // It flaps: the next replica may accept it again.
        Now::Refused if evidence.answered && evidence.revoke_accepted && !evidence.gave_up => {
            (Verdict::Dying, None)
        }
        Now::Refused => unproven(Unproven::NotHeldLongEnough),
        Now::RefusedForHold { by_name } => match (evidence.sight, evidence.before) {
            (Sight::Blind, _) => unproven(Unproven::BlindProbe),
            (Sight::Unknown, _) => unproven(Unproven::SightUnknown),
            (Sight::Sees | Sight::NotAllowed, Before::Accepted) => match evidence.control {
                Control::Held => (Verdict::Dead, None),
                Control::NotHeld => unproven(Unproven::ControlNotHeld),
                Control::None if by_name => (Verdict::Refused, None),
                Control::None => unproven(Unproven::NotByName),
            },
            (Sight::Sees | Sight::NotAllowed, Before::Refused) if evidence.known && by_name => {
                match evidence.control {
                    Control::Held => (Verdict::AlreadyDead, None),
                    Control::NotHeld | Control::None => unproven(Unproven::ControlNotHeld),
                }
            }
            (Sight::Sees | Sight::NotAllowed, Before::Refused | Before::Unknown) => {
                unproven(Unproven::NeverSeenAlive)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything speaks for `dead`; each row changes what it is about.
    const PROVED: Evidence = Evidence {
        before: Before::Accepted,
        now: Now::RefusedForHold { by_name: true },
        control: Control::Held,
        sight: Sight::Sees,
        revoke_accepted: true,
        gave_up: false,
        answered: false,
        known: false,
        only_expires: false,
    };

    fn says(evidence: Evidence) -> Verdict {
        verdict(&evidence).0
    }

    fn why(evidence: Evidence) -> Option<Unproven> {
        verdict(&evidence).1
    }

    #[test]
    fn accepted_within_give_up_after_an_accepted_revocation_is_dying() {
        for before in [Before::Accepted, Before::Refused, Before::Unknown] {
            assert_eq!(says(Evidence { before, now: Now::Accepted, ..PROVED }), Verdict::Dying);
        }
    }

    #[test]
    fn one_that_flaps_is_dying_until_its_provider_has_had_its_time() {
        let flaps = Evidence { now: Now::Refused, answered: true, ..PROVED };
        assert_eq!(says(flaps), Verdict::Dying);
        for not in [
            Evidence { gave_up: true, ..flaps },
            Evidence { revoke_accepted: false, ..flaps },
            Evidence { answered: false, ..flaps },
        ] {
            assert_eq!(why(not), Some(Unproven::NotHeldLongEnough));
        }
    }

    #[test]
    fn accepted_otherwise_is_alive() {
        let accepted = Evidence { now: Now::Accepted, ..PROVED };
        assert_eq!(says(Evidence { gave_up: true, ..accepted }), Verdict::Alive);
        assert_eq!(says(Evidence { revoke_accepted: false, ..accepted }), Verdict::Alive);
        assert_eq!(
            says(Evidence { sight: Sight::Blind, gave_up: true, ..accepted }),
            Verdict::Alive,
            "a blind probe that accepts is still a reason for alarm"
        );
    }

    #[test]
    fn accepted_then_refused_for_hold_with_control_is_dead() {
        assert_eq!(says(PROVED), Verdict::Dead);
        let unnamed = Now::RefusedForHold { by_name: false };
        assert_eq!(says(Evidence { now: unnamed, ..PROVED }), Verdict::Dead);
        assert_eq!(says(Evidence { sight: Sight::NotAllowed, ..PROVED }), Verdict::Dead);
        assert_eq!(says(Evidence { revoke_accepted: false, ..PROVED }), Verdict::Dead);
    }

    #[test]
    fn refused_by_name_without_any_control_is_refused() {
        assert_eq!(says(Evidence { control: Control::None, ..PROVED }), Verdict::Refused);
        let unnamed = Evidence {
            control: Control::None,
            now: Now::RefusedForHold { by_name: false },
            ..PROVED
        };
        assert_eq!(why(unnamed), Some(Unproven::NotByName));
    }

    #[test]
    fn refused_from_the_start_and_known_is_already_dead() {
        let before = Evidence { before: Before::Refused, known: true, ..PROVED };
        assert_eq!(says(before), Verdict::AlreadyDead);
        assert_eq!(why(Evidence { known: false, ..before }), Some(Unproven::NeverSeenAlive));
        assert_eq!(
            why(Evidence { control: Control::None, ..before }),
            Some(Unproven::ControlNotHeld)
        );
        let unnamed = Now::RefusedForHold { by_name: false };
        assert_eq!(why(Evidence { now: unnamed, ..before }), Some(Unproven::NeverSeenAlive));
    }

    #[test]
    fn what_cannot_be_recalled_expires() {
        let token = Evidence { only_expires: true, now: Now::Accepted, ..PROVED };
        assert_eq!(says(token), Verdict::Expires);
        assert_eq!(says(Evidence { now: Now::Unknown, ..token }), Verdict::Expires);
        assert_eq!(
            says(Evidence { now: Now::RefusedForHold { by_name: true }, ..token }),
            Verdict::Dead,
            "once it is refused it is dead like any other"
        );
    }

    #[test]
    fn everything_else_is_unproven_and_says_why() {
        for (evidence, expected) in [
            (Evidence { before: Before::Unknown, ..PROVED }, Unproven::NeverSeenAlive),
            (Evidence { sight: Sight::Blind, ..PROVED }, Unproven::BlindProbe),
            (Evidence { sight: Sight::Unknown, ..PROVED }, Unproven::SightUnknown),
            (Evidence { control: Control::NotHeld, ..PROVED }, Unproven::ControlNotHeld),
            (Evidence { now: Now::Refused, ..PROVED }, Unproven::NotHeldLongEnough),
            (Evidence { now: Now::Unknown, ..PROVED }, Unproven::NoAnswer),
        ] {
            assert_eq!(verdict(&evidence), (Verdict::Unproven, Some(expected)), "{evidence:?}");
        }
    }

    /// No combination at all says `dead` without what the vow demands.
    #[test]
    fn dead_is_never_said_for_less() {
        for evidence in every_evidence() {
            if says(evidence) == Verdict::Dead {
                assert_eq!(evidence.before, Before::Accepted, "{evidence:?}");
                assert_eq!(evidence.control, Control::Held, "{evidence:?}");
                assert!(matches!(evidence.now, Now::RefusedForHold { .. }), "{evidence:?}");
                assert!(matches!(evidence.sight, Sight::Sees | Sight::NotAllowed), "{evidence:?}");
            }
        }
    }

    fn every_evidence() -> Vec<Evidence> {
        let mut all = Vec::new();
        for before in [Before::Accepted, Before::Refused, Before::Unknown] {
            for now in [
                Now::Accepted,
                Now::RefusedForHold { by_name: true },
                Now::RefusedForHold { by_name: false },
                Now::Refused,
                Now::Unknown,
            ] {
                for control in [Control::Held, Control::NotHeld, Control::None] {
                    for sight in [Sight::Sees, Sight::Blind, Sight::NotAllowed, Sight::Unknown] {
                        for bits in 0..32u8 {
                            all.push(Evidence {
                                before,
                                now,
                                control,
                                sight,
                                revoke_accepted: bits & 1 != 0,
                                gave_up: bits & 2 != 0,
                                known: bits & 4 != 0,
                                only_expires: bits & 8 != 0,
                                answered: bits & 16 != 0,
                            });
                        }
                    }
                }
            }
        }
        all
    }
}
