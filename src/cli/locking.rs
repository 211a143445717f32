//! A role is held by one run at a time: taken, taken over, or followed.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::line::{own, parsed, wall};
use super::terminal;
use crate::engine::report::{Mode, Report};
use crate::journal::{Holder, LockError, RoleLock, State};

/// A rehearsal that holds the role is asked this often whether it has let go.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The run that is followed is looked at this often.
const FOLLOW: Duration = Duration::from_millis(250);

/// Whose the roles are.
pub(super) enum Locked {
    /// This process's, until dropped.
    Ours(Vec<RoleLock>),
    /// The same; a rehearsal had one of them until now.
    TakenOver(Vec<RoleLock>),
    Followed(Box<Report>),
}

/// Takes every role, from a rehearsal too; follows another contain.
pub(super) async fn lock(
    state: &State,
    mode: Mode,
    roles: &[String],
    holder: &Holder,
) -> Result<Locked, Failure> {
    if mode.contains() {
        let mut locks = Vec::with_capacity(roles.len());
        let mut taken_over = false;
        let mut sorted: Vec<&String> = roles.iter().collect();
        sorted.sort();
        for role in sorted {
            match take(state, role, holder).await {
                Ok((lock, taken)) => {
                    locks.push(lock);
                    taken_over |= taken;
                }
                Err(LockError::Held { holder: Some(other), .. }) => {
                    terminal::say(&format!("role {role} is held by {other}; following it"));
                    return Ok(Locked::Followed(Box::new(follow(state, role, &other).await?)));
                }
                // No journal, no lock: the kill comes first.
                Err(LockError::Unusable { .. }) => {}
                Err(error) => return Err(own(&error).hint(error.hint())),
            }
        }
        return Ok(if taken_over { Locked::TakenOver(locks) } else { Locked::Ours(locks) });
    }
    let locks = state.lock_all(roles, holder);
    locks.map(Locked::Ours).map_err(|error| own(&error).hint(error.hint()))
}

/// The lock of a role, and whether a rehearsal had it.
async fn take(state: &State, role: &str, holder: &Holder) -> Result<(RoleLock, bool), LockError> {
    let begun = Instant::now();
    let mut take_over = state.take_over(role, holder)?;
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

/// Waits until another process has ended its run of this role, and reads what it reported.
pub(super) async fn follow(state: &State, role: &str, other: &Holder) -> Result<Report, Failure> {
    loop {
        if let Some(json) = state.report_of(&other.run).map_err(|error| own(&error))? {
            return parsed(&json);
        }
        let me = Holder::here(&other.run, "follow", wall());
        if let Ok(lock) = state.lock(role, &me) {
            drop(lock);
            if let Some(json) = state.report_of(&other.run).map_err(|error| own(&error))? {
                return parsed(&json);
            }
            return Err(Failure::own(format!("run {} ended without a report", other.run))
                .hint(format!("take it up: rotate resume {}", other.run)));
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
