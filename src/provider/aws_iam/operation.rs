//! What the driver does, and where each of it stands among verbs, ways and steps: one table for
//! the planner and for the calls.

use std::collections::BTreeMap;

use crate::engine::call::{At, Verb};
use crate::engine::capability::{Actor, Seen, StepCapability, Way};

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `sts:GetCallerIdentity`: allowed to every key, so a refusal is of the key.
    Probe,
    /// `iam:GetAccessKeyLastUsed`: whose key it is.
    Owner,
    /// `iam:ListAccessKeys`.
    List,
    /// `iam:CreateAccessKey`.
    Create,
    /// `iam:UpdateAccessKey`, status `Inactive`.
    Disable,
    /// `iam:DeleteAccessKey`.
    Delete,
    /// `iam:DeleteAccessKey`, signed by the very key.
    DeleteItself,
    /// What time it is at AWS.
    Clock,
    /// `iam:PutUserPolicy`.
    DenySessions,
}

/// Verb, way, step. The admin's way to revoke stands first: it is all but always allowed, while
/// few users may end their own keys, and asking first would cost the round trip that matters
/// most. A key that ends itself is not disabled before: it could not sign the second call.
const TABLE: [(Verb, u16, u16, Operation); 9] = [
    (Verb::Probe, 0, 0, Operation::Probe),
    (Verb::Learn, 0, 0, Operation::Owner),
    (Verb::Find, 0, 0, Operation::List),
    (Verb::Issue, 0, 0, Operation::Create),
    (Verb::Revoke, 0, 0, Operation::Disable),
    (Verb::Revoke, 0, 1, Operation::Delete),
    (Verb::Revoke, 1, 0, Operation::DeleteItself),
    (Verb::Evict, 0, 0, Operation::Clock),
    (Verb::Evict, 0, 1, Operation::DenySessions),
];

/// The verbs of a kind. What the machine's own credential chain offers can be probed and nothing
/// else: where its secrets lie is not ours to say.
pub(super) fn ways(kind: &str) -> BTreeMap<Verb, Vec<Way>> {
    let mut verbs = BTreeMap::<Verb, Vec<Way>>::new();
    for (verb, way, _, operation) in TABLE {
        if kind == "chain" && operation != Operation::Probe {
            continue;
        }
        let ways = verbs.entry(verb).or_default();
        if ways.len() <= usize::from(way) {
            let privilege = operation.privilege().map(str::to_owned);
            ways.push(Way { privilege, ..Way::new(Vec::new(), operation.seen()) });
        }
        if let Some(last) = ways.last_mut() {
            last.steps.push(operation.step());
        }
    }
    verbs
}

impl Operation {
    pub(super) fn at(at: &At) -> Option<Self> {
        let here = (at.verb, at.way, at.step);
        TABLE
            .into_iter()
            .find(|(verb, way, step, _)| (*verb, *way, *step) == here)
            .map(|(.., operation)| operation)
            .filter(|operation| at.kind != "chain" || *operation == Self::Probe)
    }

    /// Who signs, as the run names its parties.
    pub(super) fn party(self) -> &'static str {
        match self {
            Self::Probe => "it",
            Self::DeleteItself => "old",
            _ => "admin",
        }
    }

    fn step(self) -> StepCapability {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let needs: &[&str] = match self {
            Self::Owner | Self::Disable | Self::Delete | Self::DeleteItself => &["handle"],
            _ => &[],
        };
        let takes: &[&str] = match self {
            Self::Probe => &["account", "arn", "user"],
            Self::Owner => &["user"],
            Self::Create => &["access_key_id", "handle", "created", "secret"],
            Self::Clock => &["issued_before"],
            _ => &[],
        };
        StepCapability {
            actor: match self {
                Self::Probe => Actor::It,
                Self::DeleteItself => Actor::Old,
                _ => Actor::Admin(None),
            },
            parties: vec![self.party().to_owned()],
            needs: names(needs),
            takes: names(takes),
            // Every call makes a second key, or meets the limit of two.
            again: self != Self::Create,
            secret_in_url: false,
        }
    }

    /// What ran against a server that checks signatures and policies, and what did not.
    fn seen(self) -> Seen {
        match self {
            // That server ignores conditions, so that the policy ends sessions was only read.
            Self::Clock | Self::DenySessions => Seen::Doc,
            _ => Seen::Run,
        }
    }

    fn privilege(self) -> Option<&'static str> {
        match self {
            Self::Probe => None,
            Self::Owner => Some("iam:GetAccessKeyLastUsed"),
            Self::List => Some("iam:ListAccessKeys"),
            Self::Create => Some("iam:CreateAccessKey"),
            Self::Disable | Self::Delete => Some("iam:UpdateAccessKey, iam:DeleteAccessKey"),
            Self::DeleteItself => Some("iam:DeleteAccessKey on its own user"),
            Self::Clock | Self::DenySessions => Some("iam:PutUserPolicy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: &str, verb: Verb, way: u16, step: u16) -> At {
        At { provider: "aws-iam".to_owned(), kind: kind.to_owned(), verb, way, step }
    }

    #[test]
    fn what_the_planner_is_told_is_what_can_be_called() {
        for kind in ["access-key", "admin-key", "chain"] {
            for (verb, ways) in ways(kind) {
                for (way, told) in (0..).zip(&ways) {
                    for (step, told) in (0..).zip(&told.steps) {
                        let operation = Operation::at(&at(kind, verb, way, step));
                        assert_eq!(operation.map(Operation::step).as_ref(), Some(told));
                    }
                }
            }
        }
        assert_eq!(ways("access-key").values().flatten().flat_map(|w| &w.steps).count(), 9);
    }

    #[test]
    fn the_chain_can_be_probed_and_nothing_else() {
        assert_eq!(ways("chain").keys().copied().collect::<Vec<_>>(), [Verb::Probe]);
        assert_eq!(Operation::at(&at("chain", Verb::Revoke, 0, 0)), None);
        assert_eq!(Operation::at(&at("access-key", Verb::Revoke, 2, 0)), None);
    }
}
