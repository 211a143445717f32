//! What the report says in words.

use super::super::call::{Reason, Why};
use super::super::credential::{Issued, Machine, NotSafe, Try};
use super::super::plan::PlannedKind;
use super::super::report::{Revoke, Verdict};
use super::super::verdict::Unproven;

/// What the provider's list tells of an issue whose answer was lost.
pub(super) enum Listed {
    /// It shows what was made.
    Made,
    /// It shows no labels, and unrecognised ones of which it may be one.
    PerhapsUnrecognised,
    /// It was read to its end since, and shows nothing of it.
    Nothing,
    /// It was not read since, or not to its end.
    Unread,
}

pub(super) fn not_issued(machine: &Machine, listed: &Listed) -> Option<String> {
    match (&machine.issued, listed) {
        (Issued::Failed(why), _) => Some(format!("not issued: {}", in_words(why))),
        (Issued::Looking, Listed::Unread) => {
            Some("an answer was lost; the provider's list was not read yet".to_owned())
        }
        (Issued::Lost(_) | Issued::Looking, listed) => {
            let what = match listed {
                Listed::Made => "issued, and lost with its answer",
                Listed::PerhapsUnrecognised => "perhaps issued, and then one of the unrecognised",
                Listed::Nothing => "perhaps issued, and the provider's list does not show it",
                Listed::Unread => "perhaps issued, and no list tells",
            };
            Some(match &machine.issued {
                Issued::Lost(why) => format!("{what}: {}", in_words(why)),
                _ => what.to_owned(),
            })
        }
        (Issued::Yes, _) => new_unproven(machine).map(str::to_owned),
        (Issued::No, _) => None,
    }
}

fn new_unproven(machine: &Machine) -> Option<&'static str> {
    let refused = matches!(machine.new_used, Some((_, false)));
    match (machine.new_identity.is_some(), refused) {
        (true, true) => Some("accepted at first, and refused when it was last used"),
        (false, true) => Some("refused when it was last used"),
        (false, false) => Some("not seen accepted"),
        (true, false) => None,
    }
}

pub(super) fn not_safe_text(not_safe: NotSafe) -> &'static str {
    match not_safe {
        NotSafe::OldNotAlive => "it was not seen alive",
        NotSafe::NotIssued => "no new one was issued",
        NotSafe::NotProved => "the new one was not proved live",
        NotSafe::NotInPlaces => "the new one is not in its places",
        NotSafe::NotReloaded => "nothing shows that its user reads it again",
        NotSafe::GroupNotReplaced => "another one that dies with it could not be replaced",
        NotSafe::NotRecorded => "the journal can no longer be written",
    }
}

pub(super) fn why(
    said: Verdict,
    because: Option<Unproven>,
    kind: &PlannedKind,
    machine: &Machine,
    revoked: Revoke,
) -> String {
    let not_revoked = || match (revoked, &machine.revoke_why) {
        (Revoke::ByHand, _) if machine.done_by_hand => "a person says it is revoked".to_owned(),
        (Revoke::Accepted, _) => "the provider accepted the revocation".to_owned(),
        (Revoke::Rejected, Some(why)) => format!("the revocation was refused: {}", in_words(why)),
        (Revoke::Rejected, None) => "the revocation was refused".to_owned(),
        (Revoke::Lost, _) => "the answer to the revocation was lost".to_owned(),
        (Revoke::NotSent, Some(why)) => format!("the revocation was not sent: {}", in_words(why)),
        (Revoke::NotSent, None) => "the revocation was not sent".to_owned(),
        (Revoke::ByHand, _) => "only a person can revoke it".to_owned(),
        (Revoke::None, _) => "nothing was revoked".to_owned(),
    };
    let said_so = match said {
        Verdict::Dead => {
            "accepted before, refused between two acceptances of a live one".to_owned()
        }
        Verdict::AlreadyDead => {
            "refused from the start, and known to be this provider's".to_owned()
        }
        Verdict::Refused => "refused by name; no live credential was at hand to compare".to_owned(),
        Verdict::Dying => match machine.stopped_before_revoke {
            Some(not_safe) => {
                format!(
                    "its roll ends it, after a grace left as it is: {}",
                    not_safe_text(not_safe)
                )
            }
            None => "the revocation was accepted, and it still answers".to_owned(),
        },
        Verdict::Expires => "it cannot be recalled and ends by itself".to_owned(),
        Verdict::Alive => format!("still accepted; {}", not_revoked()),
        Verdict::Unproven => unproven_text(because, machine, &not_revoked()),
    };
    if kind.can.proof.assumed && said == Verdict::Dead {
        format!("{said_so} (how long this provider flaps is not known; our figure)")
    } else {
        said_so
    }
}

fn unproven_text(because: Option<Unproven>, machine: &Machine, revoked: &str) -> String {
    let what = match because {
        Some(Unproven::NeverSeenAlive) => "refused, but never seen alive here",
        Some(Unproven::BlindProbe) => "the probe is blind: it accepts a made-up credential",
        Some(Unproven::SightUnknown) => "the probe did not clearly refuse a made-up credential",
        Some(Unproven::ControlNotHeld) => "refused, but no live credential was accepted around it",
        Some(Unproven::NotByName) => "refused, but not in this provider's own words",
        Some(Unproven::NotHeldLongEnough) => "refused, but not for long enough yet",
        Some(Unproven::NoAnswer) | None => match (&machine.read, &machine.look) {
            (Try::Failed(why), _) => {
                return format!("its value was not read: {}; {revoked}", in_words(why));
            }
            (_, Try::Failed(why)) if machine.proof.is_none() => {
                return format!("not probed: {}; {revoked}", in_words(why));
            }
            _ => "no clear answer",
        },
    };
    format!("{what}; {revoked}")
}

/// A reason in plain words, with the status and the provider's own word where there were any.
pub fn in_words(why: &Why) -> String {
    let words = match why.reason {
        Reason::Dns => "its host name does not resolve",
        Reason::Connect => "no connection to its host",
        Reason::Tls => "no secure connection to its host",
        Reason::Timeout => "no answer in time",
        Reason::Reset => "the connection broke",
        Reason::Crashed => "rotate was interrupted",
        Reason::TooLong => "the answer was too long to be read",
        Reason::Unexpected => "the answer was not what the provider file describes",
        Reason::Redirect => "the answer was a redirect, and none is followed",
        Reason::LeftBase => "the address would have left the provider's hosts",
        Reason::MissingValue => "a value it needs is not known",
        Reason::NoSuchPart => "it has no such part",
        Reason::Refused => "refused",
        Reason::ActorRefused => "the acting credential was refused",
        Reason::SomebodyElse => "somebody else was there first",
        Reason::NoClass => "the answer fits no class of the probe, or more than one",
        Reason::Echo => "the answer would have written a live secret down",
        Reason::Unreadable => "its place cannot be read",
        Reason::Empty => "its place is empty",
        Reason::Unwritable => "its place cannot be written",
        Reason::ReadOnly => "its place is read only",
        Reason::PlaceChanged => "its place holds neither the old nor the new one",
        Reason::CommandFailed => "the command failed",
        Reason::Untrusted => "others may change it or listen to it, so it is not used",
        Reason::Unsupported => "nothing here can do that",
        Reason::NotRecorded => "the journal cannot be written, so nothing is made",
        Reason::HandleReused => "the new one has its handle, and a call by it would end that",
    };
    match (why.status, &why.word) {
        (Some(status), Some(word)) => format!("{words} ({status} {word})"),
        (Some(status), None) => format!("{words} ({status})"),
        (None, Some(word)) => format!("{words} ({word})"),
        (None, None) => words.to_owned(),
    }
}
