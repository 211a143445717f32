//! How a run ends: its report in its journal, the marks of its roles.

use std::path::Path;

use zeroize::Zeroizing;

use super::failure::Failure;
use super::line::{own, wall};
use super::prepare::Context;
use super::terminal;
use crate::drive::{DriveError, Driven, History};
use crate::engine::plan::Plan;
use crate::engine::report::{Mode, NewState, Report, Stamp, Todo};
use crate::engine::run::Run;
use crate::inventory::{Mark, mark};
use crate::journal::State;

/// Closes the journal with its report, and lifts or keeps the marks of the roles.
pub(super) fn finish(
    state: &State,
    driven: Result<Driven, DriveError>,
    context: &Context,
) -> Result<Report, Failure> {
    let Driven { run, mut journal } = driven.map_err(|error| own(&error))?;
    let mut report = run.report();
    report.journal_head = state.is_durable().then(|| journal.head());
    if run.was_stopped() {
        return Ok(report.summed());
    }
    report.todo.extend(marks(state, &run, context));
    let mut report = report.summed();
    let json = serde_json::to_string(&report)
        .map_err(|error| Failure::own(format!("the report has no form in JSON: {error}")))?;
    if let Err(error) = journal.close(wall(), &json, report.exit_code) {
        let failed = format!("the run is not closed in its journal: {error}");
        terminal::say(&format!("warning: {failed}"));
        report.failed.get_or_insert(failed);
    }
    Ok(report.summed())
}

pub(super) fn mark_contained(state: &State, plan: &Plan) {
    for role in &plan.roles {
        if let Err(error) = state.set_contained(&role.name, &the_mark(plan)) {
            terminal::say(&format!("warning: {} is not marked as contained: {error}", role.name));
        }
    }
}

fn the_mark(plan: &Plan) -> Mark {
    Mark {
        since: Some(Stamp(wall()).to_string()),
        because: plan.case.clone(),
        run: Some(plan.run.clone()),
    }
}

/// Writes into the inventory that the role is contained, or that it is not any more. Where that
/// cannot be done, a person must.
fn marks(state: &State, run: &Run, context: &Context) -> Vec<Todo> {
    let plan = run.plan();
    let mut todo = Vec::new();
    let lift = plan.mode == Mode::Restore && all_delivered(&run.report()) && {
        todo = not_known(state, plan);
        todo.is_empty()
    };
    if !plan.mode.contains() && !lift {
        return todo;
    }
    for role in &plan.roles {
        let edit = |text: &str| match lift {
            true => mark::released(text, &role.name),
            false => mark::contained(text, &role.name, &the_mark(plan)),
        };
        if lift && let Err(error) = state.clear_contained(&role.name) {
            terminal::say(&format!("warning: {} is still marked: {error}", role.name));
        }
        let written = rewrite(&context.inventory, |text| edit(text).map_err(|e| e.to_string()));
        if let Err(because) = written {
            let (what, action) = if lift {
                ("is still marked as contained", "take `contained` out of its table")
            } else {
                ("is not marked as contained", "write `contained = { since = ... }` in its table")
            };
            todo.push(Todo {
                what: format!("{} {what} in the inventory: {because}", role.name),
                at: Some(context.inventory.display().to_string()),
                action: action.to_owned(),
            });
        }
    }
    todo
}

/// A person said that the role may run again; it may where all that was held is in its places.
fn all_delivered(report: &Report) -> bool {
    report.credentials.iter().all(|one| one.new.state == NewState::Delivered)
}

/// What may be held besides: nobody knows what a run holds that cannot be read.
fn not_known(state: &State, plan: &Plan) -> Vec<Todo> {
    let roles: Vec<String> = plan.roles.iter().map(|role| role.name.clone()).collect();
    let unread = History::untold(state, &roles).into_iter();
    let todo = unread.map(|(run, why)| Todo {
        what: format!("{} may hold more, and stays contained: {why}", roles.join(", ")),
        at: None,
        action: format!(
            "look at what it reported (rotate report {run}), then contain anew: rotate --role {}",
            roles.join(" --role ")
        ),
    });
    todo.collect()
}

/// Replaces a file by an edited copy, its mode kept.
fn rewrite(path: &Path, edit: impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|e| e.to_string())?;
    let edited = Zeroizing::new(edit(&text)?);
    if *edited == *text {
        return Ok(());
    }
    let target = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
    let about = std::fs::metadata(&target).map_err(|e| e.to_string())?;
    let folder = target.parent().ok_or("it has no folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| e.to_string())?;
    std::io::Write::write_all(&mut file, edited.as_bytes()).map_err(|e| e.to_string())?;
    file.as_file().set_permissions(about.permissions()).map_err(|e| e.to_string())?;
    file.as_file().sync_all().map_err(|e| e.to_string())?;
    file.persist(&target).map_err(|e| e.to_string())?;
    Ok(())
}
