//! An unrecognised credential: live at the provider, known to nobody. Untouched, unless a person
//! asked for those that came while the run was under way to be revoked.

use serde::{Deserialize, Serialize};

use super::call::{Row, Wall, Why};
use super::credential::Steps;
use super::fold::{created, in_words};
use super::plan::Plan;
use super::report::StrangerState;

/// What every label of this program begins with, whoever runs it.
const LABEL: &str = "rotate-";

/// A provider's clock and ours may differ by this much. Something dated further back than this
/// before the run was no newcomer, whatever a lagging list forgot to show.
const SKEW_MS: i64 = 600_000;

/// An unrecognised credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stranger {
    /// Its row.
    pub(super) row: Row,
    /// It was not there when the run began.
    pub(super) minted_during_run: bool,
    /// What became of it.
    pub(super) end: End,
}

/// What became of a stranger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    /// Nobody has looked at it yet, or nobody asked for it to go.
    #[default]
    Untouched,
    /// It is to go, once it is certain that this run has not just made it.
    Waiting,
    /// It was to go, and was left.
    Spared(Spared),
    /// It is being revoked.
    Due(Steps),
    /// Its revocation was accepted, or the answer was lost; the list is read again.
    Sent {
        /// It was accepted.
        accepted: bool,
        /// A list read since shows it all the same.
        listed: bool,
    },
    /// The list shows it no more, or as revoked.
    Gone,
    /// It could not be revoked.
    Failed(Why),
}

/// Why a stranger was left that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Spared {
    /// It was there before, or nobody says since when.
    Older,
    /// Its label is that of another run: another responder is at work.
    AnotherRun,
    /// This run, the inventory or an earlier run knows its handle, at this or another provider.
    Known,
    /// It may be one that this run has made.
    PerhapsOurs,
    /// Nothing revokes it by its exact handle alone.
    NoWay,
    /// Each time some were revoked, others came.
    TooMany,
}

impl End {
    /// Whether something is still to be done about it.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Waiting | Self::Due(_) | Self::Sent { .. })
    }
}

impl Stranger {
    /// One that nobody has looked at yet.
    pub(super) fn new(row: Row, minted_during_run: bool) -> Self {
        Self { row, minted_during_run, end: End::Untouched }
    }

    /// Takes a whole list that was read after its revocation.
    pub(super) fn confirm(&mut self, rows: &[Row]) {
        let live = |row: &Row| row.handle == self.row.handle && !row.revoked;
        let shown = rows.iter().any(live);
        match &mut self.end {
            End::Sent { listed, .. } if shown => *listed = true,
            End::Sent { .. } => self.end = End::Gone,
            _ => {}
        }
    }

    /// Why one that was asked for is left all the same, as far as its row tells. The list decides
    /// what is new, not the provider's clock; only a person's `--since` makes a date count.
    pub(super) fn is_spared(&self, plan: &Plan, started: Option<Wall>) -> Option<Spared> {
        let made = created(&self.row);
        let long_before = started
            .zip(made)
            .is_some_and(|(Wall(start), Wall(made))| made.saturating_add(SKEW_MS) < start);
        let new = self.minted_during_run && !long_before;
        let since = plan.since.zip(made).is_some_and(|(since, made)| made >= since);
        if self.row.label.as_ref().is_some_and(|label| label.starts_with(LABEL)) {
            Some(Spared::AnotherRun)
        } else if new || since {
            None
        } else {
            Some(Spared::Older)
        }
    }

    /// The word of the report.
    pub(super) fn state(&self) -> StrangerState {
        match &self.end {
            End::Untouched | End::Spared(Spared::Older) => StrangerState::Untouched,
            End::Waiting | End::Spared(_) | End::Due(_) | End::Failed(_) => {
                StrangerState::NotRevoked
            }
            End::Sent { listed: true, .. } => StrangerState::Listed,
            End::Sent { .. } => StrangerState::Unconfirmed,
            End::Gone => StrangerState::Gone,
        }
    }

    /// Why that became of it.
    pub(super) fn why(&self) -> Option<String> {
        let spared = |spared: Spared| match spared {
            Spared::Older => "it was there before, or nobody says since when",
            Spared::AnotherRun => "its label is that of another run of rotate",
            Spared::Known => "its handle is known: it is no stranger elsewhere",
            Spared::PerhapsOurs => "it may be one that this run has made",
            Spared::NoWay => "nothing here revokes it by its handle alone",
            Spared::TooMany => "each time some were revoked, others came",
        };
        match &self.end {
            End::Untouched => None,
            End::Spared(why) => Some(spared(*why).to_owned()),
            End::Waiting => Some("something was still being issued at this provider".to_owned()),
            End::Due(_) => Some("the run ended before it was revoked".to_owned()),
            End::Failed(why) => Some(in_words(why)),
            End::Sent { accepted, listed } => {
                let revoke = match accepted {
                    true => "its revocation was accepted",
                    false => "the answer to its revocation was lost",
                };
                let list = match listed {
                    true => "the provider's list still shows it",
                    false => "the provider's list was not read again",
                };
                Some(format!("{revoke}; {list}"))
            }
            End::Gone => Some("revoked; the provider's list shows it no more".to_owned()),
        }
    }
}
