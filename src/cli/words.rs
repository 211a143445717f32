//! The words of the report as people read them: those of the JSON, never a kinder one.

use super::human::fingerprint;
use super::terminal::clean;
use crate::engine::call::PlaceState;
use crate::engine::report::{
    EvidenceState, Mode, NewState, Revoke, StopState, StrangerClass, Unlisted, Verdict,
};

/// Whose credentials a run is about.
pub(crate) fn whose(roles: &[String]) -> String {
    match roles {
        [] => "what stdin held".to_owned(),
        _ => clean(&roles.join(", ")).into_owned(),
    }
}

/// A value that no entry names: where it lies, whose shape it has, its fingerprint.
pub(crate) fn unlisted(it: &Unlisted) -> String {
    let provider = it.provider.as_deref().unwrap_or("unknown provider");
    let print = fingerprint(Some(&it.fingerprint)).unwrap_or_default();
    clean(&format!("{} ({provider}, {print})", it.place)).into_owned()
}

pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Contain => "contain",
        Mode::RevokeOnly => "revoke-only",
        Mode::Restore => "restore",
        Mode::Rehearse => "rehearse",
        Mode::Verify => "verify",
    }
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Dead => "dead",
        Verdict::AlreadyDead => "already-dead",
        Verdict::Refused => "refused",
        Verdict::Dying => "dying",
        Verdict::Expires => "expires",
        Verdict::Alive => "alive",
        Verdict::Unproven => "unproven",
    }
}

pub(crate) fn revoke(revoke: Revoke) -> &'static str {
    match revoke {
        Revoke::Accepted => "revocation accepted",
        Revoke::Rejected => "revocation rejected",
        Revoke::Lost => "the answer to the revocation was lost",
        Revoke::NotSent => "revocation not sent",
        Revoke::ByHand => "only a person can revoke it",
        Revoke::None => "not to be revoked by this run",
    }
}

pub(crate) fn new_state(state: NewState) -> &'static str {
    match state {
        NewState::Delivered => "delivered",
        NewState::Held => "held",
        NewState::Escrowed => "escrowed",
        NewState::NotIssued => "not-issued",
        NewState::Unproven => "unproven",
    }
}

pub(crate) fn place_state(state: PlaceState) -> &'static str {
    match state {
        PlaceState::Written => "written",
        PlaceState::ReadBack => "read-back",
        PlaceState::Reloaded => "reloaded",
        PlaceState::InUse => "in-use",
    }
}

pub(crate) fn stop(state: StopState) -> &'static str {
    match state {
        StopState::Failed => "NOT stopped: it was tried, and failed",
        StopState::Pending => "not stopped yet",
        StopState::None => "not stopped by this run",
        StopState::Reported => "its stop command exited 0; nothing checked that it is gone",
        StopState::Verified => "stopped, and seen to be gone",
    }
}

pub(crate) fn evidence(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Failed => "NOT saved: it was tried, and failed",
        EvidenceState::Pending => "not saved yet",
        EvidenceState::Partial => "saved in part",
        EvidenceState::None => "none saved by this run",
        EvidenceState::Saved => "saved",
    }
}

pub(crate) fn stranger(class: StrangerClass) -> &'static str {
    match class {
        StrangerClass::MintedDuringRun => "made during this run, not by it",
        StrangerClass::Since => "made since --since",
        StrangerClass::OlderOrUndated => "older, or undated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl serde::Serialize) -> serde_json::Value {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn people_and_programs_read_the_same_words() {
        for word in [Mode::Contain, Mode::RevokeOnly, Mode::Restore, Mode::Rehearse, Mode::Verify] {
            assert_eq!(written(word), mode(word));
        }
        for word in [
            Verdict::Dead,
            Verdict::AlreadyDead,
            Verdict::Refused,
            Verdict::Dying,
            Verdict::Expires,
            Verdict::Alive,
            Verdict::Unproven,
        ] {
            assert_eq!(written(word), verdict(word));
        }
        for word in [
            NewState::Delivered,
            NewState::Held,
            NewState::Escrowed,
            NewState::NotIssued,
            NewState::Unproven,
        ] {
            assert_eq!(written(word), new_state(word));
        }
        for word in
            [PlaceState::Written, PlaceState::ReadBack, PlaceState::Reloaded, PlaceState::InUse]
        {
            assert_eq!(written(word), place_state(word));
        }
    }
}
