//! What each kind can do, and which request a place in the plan stands for.

use std::collections::BTreeMap;

use crate::engine::call::{At, Verb};
use crate::engine::capability::{Actor, Blast, Radius, Seen, StepCapability, Way};

/// One request, or a list and its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `GET /user`.
    ProbeUser,
    /// `GET /installation/repositories`.
    ProbeInstallation,
    /// `POST /applications/{client_id}/token`, about a token that nobody has.
    ProbeClient,
    /// `GET /repos/{owner}/{repo}/keys`.
    ListKeys,
    /// `DELETE /repos/{owner}/{repo}/keys/{key_id}`.
    DeleteKey,
    /// `DELETE /applications/{client_id}/grant`.
    EndGrant,
    /// `DELETE /applications/{client_id}/token`.
    EndToken,
    /// `POST /credentials/revoke`, in one request with others.
    EndTogether,
    /// `POST /credentials/revoke`, by itself: one that GitHub would not take among others.
    EndAlone,
    /// The same, signed by the token itself: GitHub.com refuses that, and GitHub Enterprise Server
    /// asks for it.
    EndAsItself,
    /// `DELETE /installation/token`.
    EndInstallation,
}

use Operation::{
    DeleteKey, EndAlone, EndAsItself, EndGrant, EndInstallation, EndTogether, EndToken, ListKeys,
    ProbeClient, ProbeInstallation, ProbeUser,
};

/// The ways of each verb, best first.
fn table(kind: &str) -> &'static [(Verb, &'static [Operation])] {
    match kind {
        "classic-token" | "fine-grained-token" => {
            &[(Verb::Probe, &[ProbeUser]), (Verb::Revoke, &[EndTogether, EndAlone, EndAsItself])]
        }
        // The grant first: inside a living one the application gets another token without a word.
        "oauth-token" | "app-user-token" => &[
            (Verb::Probe, &[ProbeUser]),
            (Verb::Revoke, &[EndGrant, EndToken, EndTogether, EndAlone]),
        ],
        // Its only use is to be spent: a probe would bring the next one into being.
        "app-refresh-token" => &[(Verb::Revoke, &[EndTogether, EndAlone])],
        "installation-token" => {
            &[(Verb::Probe, &[ProbeInstallation]), (Verb::Revoke, &[EndInstallation])]
        }
        // Its use is SSH: the API lists it and does not accept it.
        "deploy-key" => &[(Verb::Find, &[ListKeys]), (Verb::Revoke, &[DeleteKey])],
        "oauth-client" => &[(Verb::Probe, &[ProbeClient])],
        _ => &[],
    }
}

/// What the planner is told.
pub(super) fn ways(kind: &str) -> BTreeMap<Verb, Vec<Way>> {
    let of = |operations: &[Operation]| operations.iter().map(|it| it.way()).collect();
    table(kind).iter().map(|(verb, operations)| (*verb, of(operations))).collect()
}

/// Whether the probe of a kind tells whose it is.
pub(super) fn tells_identity(kind: &str) -> bool {
    table(kind).iter().any(|(_, operations)| operations.contains(&ProbeUser))
}

impl Operation {
    pub(super) fn at(at: &At) -> Option<Self> {
        let mut verbs = table(&at.kind).iter();
        let (_, operations) = verbs.find(|(verb, _)| *verb == at.verb)?;
        operations.get(usize::from(at.way)).copied().filter(|_| at.step == 0)
    }

    fn way(self) -> Way {
        let token = Blast { kills: Radius::Token, key: Vec::new() };
        Way {
            privilege: self.privilege().map(str::to_owned),
            blast: matches!(self, EndToken | EndTogether | EndAlone).then_some(token),
            batch: self == EndTogether,
            ..Way::new(vec![self.step()], self.seen())
        }
    }

    fn step(self) -> StepCapability {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (actor, parties): (_, &[&str]) = match self {
            ProbeUser | ProbeInstallation | ProbeClient => (Actor::It, &["it"]),
            ListKeys | DeleteKey => (Actor::Admin(None), &["admin"]),
            EndGrant | EndToken => (Actor::Client, &["client", "old"]),
            EndTogether | EndAlone => (Actor::None, &["old"]),
            EndAsItself | EndInstallation => (Actor::Old, &["old"]),
        };
        let needs: &[&str] = match self {
            ListKeys => &["repository"],
            DeleteKey => &["handle", "repository"],
            _ => &[],
        };
        let takes: &[&str] = match self {
            ListKeys => &["created", "handle", "hint", "label", "scopes", "used"],
            _ => &[],
        };
        StepCapability {
            actor,
            parties: names(parties),
            needs: names(needs),
            takes: names(takes),
            again: true,
            secret_in_url: false,
        }
    }

    fn seen(self) -> Seen {
        match self {
            // What it answers to a client with a wrong secret stands in no document.
            ProbeClient => Seen::Memory,
            _ => Seen::Doc,
        }
    }

    fn privilege(self) -> Option<&'static str> {
        match self {
            ListKeys => Some("administration of the repository: read"),
            DeleteKey => Some("administration of the repository: write"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 8] = [
        "classic-token",
        "fine-grained-token",
        "oauth-token",
        "app-user-token",
        "app-refresh-token",
        "installation-token",
        "deploy-key",
        "oauth-client",
    ];

    #[test]
    fn what_the_planner_is_told_is_what_can_be_called() {
        for kind in KINDS {
            assert!(!ways(kind).is_empty(), "{kind}");
            for (verb, ways) in ways(kind) {
                for (way, told) in (0..).zip(&ways) {
                    let (provider, kind) = ("github".to_owned(), kind.to_owned());
                    let at = At { provider, kind, verb, way, step: 0 };
                    assert_eq!(Operation::at(&at).map(Operation::way).as_ref(), Some(told));
                    assert_eq!(Operation::at(&At { step: 1, ..at.clone() }), None);
                    assert_eq!(Operation::at(&At { way: 9, ..at }), None);
                }
            }
        }
        assert!(ways("made-up").is_empty());
    }

    #[test]
    fn only_what_needs_nobody_is_sent_with_others() {
        for kind in KINDS {
            for way in ways(kind).values().flatten().filter(|way| way.batch) {
                assert_eq!(way.steps[0].actor, Actor::None, "{kind}");
                assert!(way.steps[0].again, "{kind}");
            }
        }
    }
}
