//! What a run's events look like while they happen.

use super::progress::{Line, Watch};
use super::terminal::clean;
use crate::drive::Observer;
use crate::engine::call::PlaceState;
use crate::engine::in_words;
use crate::engine::progress::{Happened, Outcome, Progress, Step};

/// Turns events into lines.
pub(crate) struct Telling<'w> {
    watch: &'w Watch,
}

impl<'w> Telling<'w> {
    pub(crate) fn new(watch: &'w Watch) -> Self {
        Self { watch }
    }
}

impl Observer for Telling<'_> {
    fn happened(&self, progress: &Progress) {
        match &progress.what {
            Happened::Answered { of, step, outcome } => {
                let Some(step) = words(*step) else { return };
                self.watch.show(&Line {
                    at: progress.at,
                    id: of.name().to_owned(),
                    step: step.to_owned(),
                    state: state(outcome),
                });
            }
            Happened::ByHand { of, at, action } => {
                let page = clean(&format!("{action} ({at})")).into_owned();
                self.watch.line(&format!("{}: or end it by hand: {page}", clean(of)));
            }
            Happened::JournalLost => {
                self.watch.line("warning: the journal cannot be written; nothing new is issued");
            }
            Happened::TakenUp => self.watch.line("taken up where the journal ends"),
            Happened::Began | Happened::StopAsked | Happened::DoneByHand(_) => {}
        }
    }
}

/// The step as people say it; none for what nobody needs to see.
fn words(step: Step) -> Option<&'static str> {
    Some(match step {
        Step::Read | Step::Login | Step::Consent => return None,
        Step::Generate => "generate",
        Step::Deliver => "deliver",
        Step::StopAgent => "stop the agent",
        Step::SaveEvidence => "save the evidence",
        Step::Search => "look for what is not listed",
        Step::UseMadeUp => "use a made-up one",
        Step::UseOld => "use the old one",
        Step::UseNew => "use the new one",
        Step::UseControl => "use the control",
        Step::List => "list",
        Step::Learn => "learn",
        Step::Issue => "issue",
        Step::Roll => "roll",
        Step::Finish => "finish",
        Step::Revoke => "revoke",
        Step::Evict => "evict",
    })
}

fn state(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Held => "held".to_owned(),
        Outcome::Accepted(_) | Outcome::Done => "accepted".to_owned(),
        Outcome::Restricted(_) => "accepted, without the right".to_owned(),
        Outcome::Refused { .. } => "refused".to_owned(),
        Outcome::Unclear(why) => format!("no clear answer: {}", in_words(why)),
        Outcome::Found { count, complete: true } => format!("{count} found"),
        Outcome::Found { count, .. } => format!("{count} found, and not all were read"),
        Outcome::Issued { .. } => "issued, sealed".to_owned(),
        Outcome::Delivered(places) => {
            let least = places.iter().map(|place| place.state).min();
            least.map_or("nowhere to go", place).to_owned()
        }
        Outcome::DeliveredInPart { left, .. } => {
            let of_each =
                left.iter().map(|one| format!("{}: {}", one.to.join(", "), in_words(&one.why)));
            format!("not written: {}", of_each.collect::<Vec<_>>().join("; "))
        }
        Outcome::Saved { gaps: 0 } => "saved, sealed".to_owned(),
        Outcome::Saved { gaps } => format!("saved but for {gaps}, sealed"),
        Outcome::Gone => "was gone already".to_owned(),
        Outcome::NotSent(why) => format!("not sent: {}", in_words(why)),
        Outcome::Lost(why) => format!("answer lost: {}", in_words(why)),
        Outcome::Throttled { .. } => "told to wait".to_owned(),
        Outcome::Denied(why) => in_words(why),
    }
}

fn place(state: PlaceState) -> &'static str {
    match state {
        PlaceState::Written => "written",
        PlaceState::ReadBack => "written and read back",
        PlaceState::Reloaded => "written, read back, reloaded",
        PlaceState::InUse => "written, read back, in use",
    }
}
