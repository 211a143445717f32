//! What happens in a run, for whoever watches it. Plain data; no secret is in it.
//!
//! The types are a contract: variants and fields are added, none changes its meaning. Whoever
//! matches on them says what to do with what a later release adds.

use serde::Serialize;

use super::call::{
    Answer, Call, Event, Fault, Identity, Liveness, NotPlaced, Placed, RoleIndex, Subject, Task,
    Time, Told, Verb, Wall, What, Why,
};
use super::plan::Plan;
use super::report::Stamp;
use super::run::Run;

/// One thing that happened, written in the journal before it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// When, UTC.
    pub at: Stamp,
    /// Milliseconds of run time; a run that was resumed goes on counting where it ended.
    pub elapsed_ms: u64,
    /// What.
    pub what: Happened,
}

/// The kinds of [`Progress`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Happened {
    /// The run began.
    Began,
    /// A process took the run up where its journal ended.
    TakenUp,
    /// A step was answered.
    Answered {
        /// Whom or what it was about.
        of: Of,
        /// What was asked.
        step: Step,
        /// What came of it.
        outcome: Outcome,
    },
    /// A revocation failed, or nothing here can make it: how a person does it. Told once of each.
    ByHand {
        /// The credential, `ROLE/NAME`.
        of: String,
        /// The page.
        at: String,
        /// What to do there.
        action: String,
    },
    /// Somebody asked the run to stop: nothing new is begun.
    StopAsked,
    /// A person said that a step left to them is done, for this credential (`ROLE/NAME`).
    DoneByHand(String),
    /// The journal can no longer be written: nothing is made, revocations go on.
    JournalLost,
}

/// Whom or what a step is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Of {
    /// A credential of the plan, `ROLE/NAME`.
    Credential(String),
    /// A role.
    Role(String),
    /// A credential that takes part without being rotated, or a list: the account that acted,
    /// `PROVIDER/ID`, or `local` for a place on this machine.
    Account(String),
}

/// What was asked of a provider, a store or the agent's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// Read a credential from its places.
    Read,
    /// Use the old one.
    UseOld,
    /// Use the new one.
    UseNew,
    /// Use a live one that must be accepted.
    UseControl,
    /// Use a made-up one that must be refused.
    UseMadeUp,
    /// Learn public facts that later steps need.
    Learn,
    /// List what exists.
    List,
    /// Choose the bytes of a new one.
    Generate,
    /// Have a new one made.
    Issue,
    /// Old out, new in, by one call.
    Roll,
    /// End the grace of a roll.
    Finish,
    /// Have a person consent.
    Consent,
    /// Write the new one to its places.
    Deliver,
    /// End the old one.
    Revoke,
    /// End what was minted from it.
    Evict,
    /// End the agent.
    StopAgent,
    /// Save the evidence.
    SaveEvidence,
    /// Look through a role's files for what no entry names.
    Search,
    /// Exchange a credential for a short token.
    Login,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was read or generated; its bytes are sealed.
    Held,
    /// The credential was accepted, as this principal (empty where the probe cannot tell).
    Accepted(Identity),
    /// Accepted, without the right that the probe needs.
    Restricted(Identity),
    /// The credential was refused. One refusal is no proof: the report has the verdict.
    Refused {
        /// In words that only this provider's refusal has.
        by_name: bool,
    },
    /// Neither accepted nor refused; never a verdict.
    Unclear(Why),
    /// A list was read.
    Found {
        /// How many entries it has.
        count: usize,
        /// Every page was read.
        complete: bool,
    },
    /// A new one was made; its bytes are sealed.
    Issued {
        /// The provider's id of it, where the answer told one.
        handle: Option<String>,
    },
    /// It was written, place by place.
    Delivered(Vec<Placed>),
    /// Some places hold it, and some do not.
    DeliveredInPart {
        /// Places that hold it.
        placed: Vec<Placed>,
        /// Places that do not.
        left: Vec<NotPlaced>,
    },
    /// Evidence was saved and sealed.
    Saved {
        /// How much of what was named could not be saved.
        gaps: usize,
    },
    /// The other side said that it is done.
    Done,
    /// It was done before we came.
    Gone,
    /// It certainly never reached the other side, and is tried again.
    NotSent(Why),
    /// It may have happened: the answer is lost.
    Lost(Why),
    /// The other side said: later.
    Throttled {
        /// Milliseconds, where it said how long.
        wait_ms: Option<u64>,
    },
    /// The other side said no.
    Denied(Why),
}

impl Progress {
    /// How a person ends an old one, where that has become news.
    pub(crate) fn by_hand(run: &Run, at: Time, wall: Wall, subject: Subject) -> Option<Self> {
        let page = run.ended_by_hand(subject)?;
        let of = run.plan().planned(subject)?.id.clone();
        let what = Happened::ByHand { of, at: page.at, action: page.action };
        Some(Self { at: Stamp(wall), elapsed_ms: at.0, what })
    }

    /// What a watcher is told of an event; nothing of what only time did. `call` is the one that
    /// was answered.
    pub(crate) fn of(run: &Run, at: Time, event: &Event, call: Option<&Call>) -> Option<Self> {
        let what = match (&event.what, call) {
            (What::Started, _) => Happened::Began,
            (What::Resumed, _) => Happened::TakenUp,
            (What::Told(Told::Stop), _) => Happened::StopAsked,
            (What::Told(Told::HandDone(subject)), _) => {
                Happened::DoneByHand(run.plan().planned(*subject)?.id.clone())
            }
            (What::Told(Told::JournalLost), _) => Happened::JournalLost,
            (What::Answered(_, answer), Some(call)) => Happened::Answered {
                of: of(run.plan(), call),
                step: step(&call.task),
                outcome: outcome(answer),
            },
            (What::Answered(..), None) | (What::Tick | What::Told(Told::Wait(_)), _) => {
                return None;
            }
        };
        Some(Self { at: Stamp(event.wall), elapsed_ms: at.0, what })
    }
}

impl Of {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Credential(name) | Self::Role(name) | Self::Account(name) => name,
        }
    }
}

fn of(plan: &Plan, call: &Call) -> Of {
    let role = |RoleIndex(index): RoleIndex| plan.roles.get(index as usize);
    let account = || Of::Account(call.account.clone());
    match (&call.task, call.subject) {
        (
            Task::Stop { role: index, .. }
            | Task::Preserve { role: index, .. }
            | Task::Scan { role: index, .. },
            _,
        ) => role(*index).map_or_else(account, |role| Of::Role(role.name.clone())),
        (_, Some(subject)) => {
            plan.planned(subject).map_or_else(account, |one| Of::Credential(one.id.clone()))
        }
        (_, None) => account(),
    }
}

fn step(task: &Task) -> Step {
    let request = match task {
        Task::Read { .. } => return Step::Read,
        Task::Generate { .. } => return Step::Generate,
        Task::Deliver(_) => return Step::Deliver,
        Task::Stop { .. } => return Step::StopAgent,
        Task::Preserve { .. } => return Step::SaveEvidence,
        Task::Scan { .. } => return Step::Search,
        Task::Ask(request) => request,
    };
    match request.at.verb {
        Verb::Probe => match request.parties.get("it") {
            Some(it) if it.made_up => Step::UseMadeUp,
            it if it == request.parties.get("old") => Step::UseOld,
            it if it == request.parties.get("new") => Step::UseNew,
            _ => Step::UseControl,
        },
        Verb::Find => Step::List,
        Verb::Learn => Step::Learn,
        Verb::Issue => Step::Issue,
        Verb::Roll => Step::Roll,
        Verb::Finish => Step::Finish,
        Verb::Revoke => Step::Revoke,
        Verb::Evict => Step::Evict,
        Verb::Consent => Step::Consent,
        Verb::Login => Step::Login,
    }
}

fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Answer::Held(_) => Outcome::Held,
        Answer::Saw(Liveness::Alive(who), _) => Outcome::Accepted(who.clone()),
        Answer::Saw(Liveness::Restricted(who), _) => Outcome::Restricted(who.clone()),
        Answer::Saw(Liveness::Dead { by_name }, _) => Outcome::Refused { by_name: *by_name },
        Answer::Saw(Liveness::Unclear(why), _) => Outcome::Unclear(why.clone()),
        Answer::Found { rows, complete } => {
            Outcome::Found { count: rows.len(), complete: *complete }
        }
        Answer::Issued(holding) => {
            let handle = holding.public.get("handle").and_then(|handle| handle.as_str());
            Outcome::Issued { handle: handle.map(str::to_owned) }
        }
        Answer::Placed(places) => Outcome::Delivered(places.clone()),
        Answer::PlacedInPart { placed, left } => {
            Outcome::DeliveredInPart { placed: placed.clone(), left: left.clone() }
        }
        Answer::Saved { gaps, .. } => Outcome::Saved { gaps: gaps.len() },
        Answer::Scanned(scanned) => {
            Outcome::Found { count: scanned.unlisted.len(), complete: scanned.gaps.is_empty() }
        }
        Answer::Took(_) | Answer::Done => Outcome::Done,
        Answer::Gone => Outcome::Gone,
        Answer::Fault(Fault::NotSent(why)) => Outcome::NotSent(why.clone()),
        Answer::Fault(Fault::Unknown(why)) => Outcome::Lost(why.clone()),
        Answer::Fault(Fault::Throttled(wait_ms)) => Outcome::Throttled { wait_ms: *wait_ms },
        Answer::Fault(Fault::Refused(why)) => Outcome::Denied(why.clone()),
    }
}
