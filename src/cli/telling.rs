//! What a run's events look like while they happen.

use super::progress::Watch;
use crate::drive::Observer;
use crate::engine::call::{
    Answer, Call, Event, Fault, Liveness, PlaceState, RoleIndex, Task, Told, Verb, What,
};
use crate::engine::in_words;
use crate::engine::progress::Progress;
use crate::engine::report::Stamp;
use crate::engine::run::Run;

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
    fn happened(&self, run: &Run, event: &Event, call: Option<&Call>) {
        let elapsed_ms = run.now().0;
        let say = |id: String, step: &str, state: String, settled: bool| {
            let wall = Stamp(event.wall);
            let step = step.to_owned();
            self.watch.show(&Progress { wall, elapsed_ms, id, step, state, settled });
        };
        match (&event.what, call) {
            (What::Answered(_, answer), Some(call)) => {
                let Some(step) = step(&call.task) else { return };
                say(id(run, call), step, state(answer), false);
            }
            (What::Told(Told::JournalLost), _) => {
                self.watch.line("warning: the journal cannot be written; nothing new is issued");
            }
            (What::Resumed, _) => self.watch.line("taken up where the journal ends"),
            _ => {}
        }
    }
}

fn id(run: &Run, call: &Call) -> String {
    let plan = run.plan();
    let role = |RoleIndex(index): RoleIndex| {
        plan.roles.get(index as usize).map_or_else(String::new, |role| role.name.clone())
    };
    match (&call.task, call.subject) {
        (
            Task::Stop { role: index, .. }
            | Task::Preserve { role: index, .. }
            | Task::Scan { role: index, .. },
            _,
        ) => role(*index),
        (_, Some(subject)) => {
            plan.planned(subject).map_or_else(String::new, |planned| planned.id.clone())
        }
        (_, None) => call.account.clone(),
    }
}

/// The verb as people say it; none for what nobody needs to see.
fn step(task: &Task) -> Option<&'static str> {
    Some(match task {
        Task::Read { .. } => return None,
        Task::Generate { .. } => "generate",
        Task::Deliver(_) => "deliver",
        Task::Stop { .. } => "stop the agent",
        Task::Preserve { .. } => "save the evidence",
        Task::Scan { .. } => "look for what is not listed",
        Task::Ask(request) => match request.at.verb {
            Verb::Probe if request.parties.get("it").is_some_and(|it| it.made_up) => {
                "use a made-up one"
            }
            Verb::Probe => {
                let it = request.parties.get("it");
                if it == request.parties.get("old") {
                    "use the old one"
                } else if it == request.parties.get("new") {
                    "use the new one"
                } else {
                    "use the control"
                }
            }
            Verb::Find => "list",
            Verb::Learn => "learn",
            Verb::Issue => "issue",
            Verb::Roll => "roll",
            Verb::Finish => "finish",
            Verb::Revoke => "revoke",
            Verb::Evict => "evict",
            Verb::Login | Verb::Consent => return None,
        },
    })
}

fn state(answer: &Answer) -> String {
    match answer {
        Answer::Held(_) => "held".to_owned(),
        Answer::Saw(Liveness::Alive(_), _) => "accepted".to_owned(),
        Answer::Saw(Liveness::Restricted(_), _) => "accepted, without the right".to_owned(),
        Answer::Saw(Liveness::Dead { .. }, _) => "refused".to_owned(),
        Answer::Saw(Liveness::Unclear(why), _) => format!("no clear answer: {}", in_words(why)),
        Answer::Found { rows, complete } => match complete {
            true => format!("{} found", rows.len()),
            false => format!("{} found, and not all were read", rows.len()),
        },
        Answer::Issued(_) => "issued, sealed".to_owned(),
        Answer::Took(_) | Answer::Done => "accepted".to_owned(),
        Answer::Placed(places) => {
            let least = places.iter().map(|place| place.state).min();
            least.map_or("nowhere to go", place).to_owned()
        }
        Answer::Saved { gaps, .. } if gaps.is_empty() => "saved, sealed".to_owned(),
        Answer::Saved { gaps, .. } => format!("saved but for {}, sealed", gaps.len()),
        Answer::Scanned(scanned) => format!("{} found", scanned.unlisted.len()),
        Answer::Gone => "was gone already".to_owned(),
        Answer::Fault(Fault::NotSent(why)) => format!("not sent: {}", in_words(why)),
        Answer::Fault(Fault::Unknown(why)) => format!("answer lost: {}", in_words(why)),
        Answer::Fault(Fault::Throttled(_)) => "told to wait".to_owned(),
        Answer::Fault(Fault::Refused(why)) => in_words(why),
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
