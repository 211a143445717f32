//! The script of one credential.

use super::super::call::Verb;
use super::super::capability::{KindCapability, Order};
use super::super::plan::{Earlier, Phase};
use super::super::report::Mode;
use Phase::{Baseline, Deliver, Evict, Finish, Issue, ProveNew, ProveOld, Revoke, Roll, Sweep};

/// What happens to a credential of this kind, in order. In contain an issue that stands before the
/// revocation is hurried, and goes on after it where that was not enough.
pub(super) fn phases(mode: Mode, can: &KindCapability, earlier: Option<&Earlier>) -> Vec<Phase> {
    let rolls = can.order == Order::Roll && !can.ways(Verb::Roll).is_empty();
    let revokes = !can.ways(Verb::Revoke).is_empty();
    match (mode, can.order) {
        (Mode::Verify, _) => vec![Baseline, ProveNew, ProveOld],
        (Mode::Restore, _) => match earlier {
            Some(earlier) if earlier.delivered => Vec::new(),
            Some(earlier) if earlier.new.is_some() => vec![Baseline, ProveNew, Deliver],
            Some(_) => vec![Baseline, Issue, ProveNew, Deliver],
            None => Vec::new(),
        },
        (Mode::RevokeOnly, Order::IssueFirst) => {
            vec![Baseline, Issue, Revoke, Evict, ProveNew, ProveOld, Sweep]
        }
        (Mode::RevokeOnly, Order::Roll) if rolls && !revokes => {
            vec![Baseline, Roll, Finish, Evict, ProveNew, ProveOld, Sweep]
        }
        (Mode::RevokeOnly, _) => vec![Baseline, Revoke, Evict, ProveOld, Sweep],
        (Mode::Contain, Order::Roll) if rolls && revokes => {
            vec![Baseline, Roll, Finish, Revoke, Evict, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Contain, Order::Roll) if rolls => {
            vec![Baseline, Roll, Finish, Evict, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Contain, Order::IssueFirst) => {
            vec![Baseline, Issue, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Contain, _) => {
            vec![Baseline, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Rehearse, Order::Roll) if rolls => {
            vec![Baseline, Roll, ProveNew, Deliver, Finish, Evict, ProveOld, Sweep]
        }
        (Mode::Rehearse, Order::RevokeFirst) => {
            vec![Baseline, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Rehearse, _) => {
            vec![Baseline, Issue, ProveNew, Deliver, Revoke, Evict, ProveOld, Sweep]
        }
    }
}

/// A burned admin credential of a contain: its successor is minted and proved before it goes, and
/// if that was not enough, after.
pub(super) fn successor_first(phases: &mut Vec<Phase>) {
    let at = |wanted: Phase| phases.iter().position(|phase| *phase == wanted);
    if let (Some(revoke), Some(issue)) = (at(Revoke), at(Issue))
        && revoke < issue
    {
        phases.splice(revoke..revoke, [Issue, ProveNew]);
    }
}
