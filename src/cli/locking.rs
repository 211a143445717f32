//! A role is held by one run at a time: taken, taken over, or followed. A run is driven by one
//! process.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::failure::Failure;
use super::line::{context, own, parsed, wall};
use super::prepare::{Prepared, prepare};
use super::session::{Intent, Session};
use super::terminal;
use crate::engine::call::Wall;
use crate::engine::plan::{Elsewhere, Phase, Plan, Planned};
use crate::engine::report::{Mode, Report};
use crate::journal::{
    Holder, Journal, LockError, RoleLock, RunLock, RunLockError, RunSummary, State,
};

/// A rehearsal that holds the role is asked this often whether it has let go.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The run that is followed is looked at this often.
const FOLLOW: Duration = Duration::from_millis(250);

/// The mode in the lock of a process that only looks whether another run is over.
const FOLLOWS: &str = "follow";

/// Whose the roles are.
pub(super) enum Locked {
    /// This process's, until dropped.
    Ours {
        /// The locks.
        locks: Vec<RoleLock>,
        /// A rehearsal or a restore had one of them until now.
        taken_over: bool,
        /// Roles that another contain has: the rest does not wait for it.
        elsewhere: Vec<Elsewhere>,
    },
    /// Other contains have every one of them: each role, and who has it.
    Others(Vec<(String, Holder)>),
}

/// Takes every role, from a rehearsal too, and from no other contain.
pub(super) async fn lock(
    state: &State,
    mode: Mode,
    roles: &[String],
    holder: &Holder,
) -> Result<Locked, Failure> {
    if !mode.contains() {
        let locks =
            state.lock_all(roles, holder).map_err(|error| own(&error).hint(error.hint()))?;
        return Ok(Locked::Ours { locks, taken_over: false, elsewhere: Vec::new() });
    }
    let mut sorted: Vec<&String> = roles.iter().collect();
    sorted.sort();
    // Side by side: one rehearsal that is slow to let go delays no other role.
    let taken = join_all(sorted.iter().map(|role| take(state, role, holder))).await;
    let mut locks = Vec::with_capacity(sorted.len());
    let (mut taken_over, mut held) = (false, Vec::new());
    for (role, taken) in sorted.into_iter().zip(taken) {
        match taken {
            Ok((lock, was_taken)) => {
                locks.push(lock);
                taken_over |= was_taken;
            }
            Err(LockError::Held { holder: Some(other), .. }) if !other.gives_way() => {
                held.push((role, other));
            }
            // It was told to stop and cannot be ended from here: the kill comes first.
            Err(LockError::Held { holder, .. }) => {
                let other = holder.map_or_else(|| "somebody".to_owned(), |it| it.to_string());
                terminal::say(&format!("{role} is held by {other}: contained beside it"));
                taken_over = true;
            }
            // No journal, no lock: the kill comes first.
            Err(LockError::Unusable { .. }) => {}
        }
    }
    if !held.is_empty() && held.len() == roles.len() {
        let others = held.into_iter().map(|(role, other)| (role.clone(), *other));
        return Ok(Locked::Others(others.collect()));
    }
    for (role, other) in &held {
        terminal::say(&format!("role {role} is held by {other}; the rest is contained without it"));
    }
    let elsewhere = held.into_iter();
    let elsewhere = elsewhere.map(|(role, other)| Elsewhere { role: role.clone(), run: other.run });
    Ok(Locked::Ours { locks, taken_over, elsewhere: elsewhere.collect() })
}

/// Takes a run that begins: from its first record on somebody might take it up.
pub(super) fn drive(state: &State, plan: &Plan, began: Wall) -> Result<Option<RunLock>, Failure> {
    match state.lock_run(&plan.run, &Holder::here(&plan.run, plan.mode.word(), began)) {
        Ok(lock) => Ok(Some(lock)),
        // No journal, no lock: the kill comes first.
        Err(RunLockError::Unusable { .. }) if plan.mode.contains() => Ok(None),
        Err(error) => Err(own(&error).hint(error.hint())),
    }
}

/// The process that drives a run; none where nobody does.
pub(super) fn driver(state: &State, of: &RunSummary) -> Option<Holder> {
    let by_role = |role: &String| state.holder(role).filter(|holder| holder.run == of.run);
    state.driver(&of.run).or_else(|| of.roles.iter().find_map(by_role))
}

/// Nothing builds on a run that is not over: what it asked a provider for may be unanswered yet,
/// and what it makes of it stands in its journal alone.
pub(super) fn refuse_open(state: &State, run: &str) -> Result<(), Failure> {
    let mut runs = state.runs().map_err(|error| own(&error))?.into_iter();
    let Some(open) = runs.find(|it| it.run == run && it.closed.is_none()) else { return Ok(()) };
    Err(match driver(state, &open) {
        Some(other) => Failure::own(format!("run {run} is held by {}", other.process()))
            .hint(format!("follow it: rotate report {run}")),
        None => Failure::input(format!("run {run} ({}) was cut short and is open", open.mode))
            .hint(format!("go on with it first: rotate resume {run}")),
    })
}

/// The plan once more, of what is known by now, without the roles that another run has.
pub(super) async fn without(
    session: &Session,
    before: &Plan,
    elsewhere: Vec<Elsewhere>,
    intent: &Intent,
    state: &State,
) -> Result<Prepared, Failure> {
    let is_elsewhere = |role: &str| elsewhere.iter().any(|it| it.role == role);
    let left = before.roles.iter().filter(|role| !is_elsewhere(&role.name));
    let intent = Intent {
        roles: left.map(|role| role.name.clone()).collect(),
        through: Vec::new(),
        with_delegates: false,
        // The locks name it: who follows this run asks for that journal.
        run: Some(before.run.clone()),
        ..intent.clone()
    };
    let mut prepared = prepare(session, &intent, state, false).await?;
    let plan = &mut prepared.plan;
    for role in &mut plan.roles {
        let known = before.roles.iter().find(|it| it.name == role.name);
        role.because = known.and_then(|it| it.because.clone());
    }
    plan.downstream.retain(|role| !is_elsewhere(role));
    plan.elsewhere = elsewhere;
    Ok(prepared)
}

/// The lock of a role, and whether a rehearsal or a restore had it.
async fn take(state: &State, role: &str, holder: &Holder) -> Result<(RoleLock, bool), LockError> {
    let begun = Instant::now();
    let mut take_over = loop {
        match state.take_over(role, holder) {
            // Only looking whether another run is over: gone in an instant.
            Err(LockError::Held { holder: Some(other), .. }) if other.mode == FOLLOWS => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            taken => break taken?,
        }
    };
    if let Some(rehearsal) = take_over.rehearsal() {
        terminal::say(&format!("taking {role} over from {rehearsal}"));
    }
    loop {
        if let Some(lock) = take_over.poll(begun.elapsed())? {
            return Ok((lock, take_over.rehearsal().is_some()));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Waits until the runs that have these roles are over. A single one that did all that is asked for
/// answers for this run too, by its report. Else there is none, and this one begins: a contain of
/// what is dead already does no harm, and what nobody had in hand lives.
pub(super) async fn follow(
    state: &State,
    held: &[(String, Holder)],
    asked: &Prepared,
) -> Result<Option<Report>, Failure> {
    for (role, other) in held {
        terminal::say(&format!("role {role} is held by {other}; following it"));
    }
    let over = held.iter().map(|(role, other)| {
        until_over(state, other, move |me: &Holder| state.lock(role, me).is_ok())
    });
    let over = join_all(over).await;
    let mut ended: Vec<_> = held.iter().map(|(_, other)| other.run.as_str()).zip(over).collect();
    ended.dedup_by(|one, before| one.0 == before.0);
    if let [(run, _)] = ended.as_slice()
        && covers(state, run, asked)
    {
        return ended.pop().map(|(_, report)| report).transpose();
    }
    for (run, report) in &ended {
        match report {
            Ok(report) => terminal::say(&format!(
                "run {run} ended with exit code {}: rotate report {run}",
                report.exit_code
            )),
            Err(_) => terminal::say(&format!("run {run} ended without a report: it is taken in")),
        }
    }
    terminal::say("no run has done all that is asked for here: it is done now");
    // It reports before it lets go.
    for (role, other) in held {
        let has_it = |it: Holder| it.run == other.run && it.mode != FOLLOWS;
        while state.holder(role).is_some_and(has_it) {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
    Ok(None)
}

/// Whether another run did all that is asked for. What cannot be read covers nothing.
fn covers(state: &State, run: &str, asked: &Prepared) -> bool {
    let Ok((_, header, _)) = Journal::open(state, run) else { return false };
    let (Ok(theirs), Ok(context)) = (header.plan(), context(&header)) else { return false };
    context.root == asked.context.root && does_all_of(&theirs, &asked.plan)
}

fn does_all_of(theirs: &Plan, asked: &Plan) -> bool {
    // A plan that only revokes may issue one to go on with, and keeps none.
    let keeps = |one: &Planned| one.phases.contains(&Phase::Deliver);
    let serves = |one: &Planned, it: &Planned| {
        it.id == one.id
            && it.places == one.places
            && (keeps(it) || !keeps(one))
            && (it.deliver || !one.deliver)
            && (!one.deliver || it.deliver_to == one.deliver_to)
            && it.ways_left_out.iter().all(|way| one.ways_left_out.contains(way))
    };
    // What that run itself had in hand when this plan was made is left over no more.
    let own = format!("@{}#", theirs.run);
    let mut credentials = asked.credentials.iter().filter(|one| !one.id.contains(&own));
    let named = |name: &String| theirs.roles.iter().any(|role| role.name == *name);
    let told = |id: &String| theirs.left_out.iter().any(|it| it.id == *id);
    asked.roles.iter().all(|role| named(&role.name))
        && credentials.all(|one| theirs.credentials.iter().any(|it| serves(one, it)))
        && asked.left_out.iter().all(|one| told(&one.id))
        && (theirs.revoke_strangers || !asked.revoke_strangers)
        && asked.since.is_none_or(|at| theirs.since.is_some_and(|since| since.0 <= at.0))
}

/// Waits until another process has ended its run, and reads what it reported.
pub(super) async fn follow_run(state: &State, other: &Holder) -> Result<Report, Failure> {
    until_over(state, other, |me| state.lock_run(&other.run, me).is_ok()).await
}

async fn until_over(
    state: &State,
    other: &Holder,
    is_free: impl Fn(&Holder) -> bool,
) -> Result<Report, Failure> {
    loop {
        if let Some(json) = state.report_of(&other.run).map_err(|error| own(&error))? {
            return parsed(&json);
        }
        if is_free(&Holder::here(&other.run, FOLLOWS, wall())) {
            if let Some(json) = state.report_of(&other.run).map_err(|error| own(&error))? {
                return parsed(&json);
            }
            return Err(Failure::own(format!("run {} ended without a report", other.run))
                .hint(format!("take it up: rotate resume {}", other.run)));
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
