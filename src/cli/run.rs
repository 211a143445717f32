//! One run as a person meets it: the plan, Enter, what happens, the report.

use std::process::ExitCode;

use super::args::{Format, Start};
use super::exit;
use super::failure::Failure;
use super::progress::Watch;
use super::session::{Errand, Intent, Session};
use super::terminal::{self, Look};
use super::{human, markdown, outline, signals};
use crate::engine::outline::Outline;
use crate::engine::report::Report;

/// Shows the plan, waits for Enter where somebody is there to press it, and carries it out.
pub(crate) async fn carry_out(
    session: &Session,
    intent: Intent,
    start: Start,
    format: Format,
) -> Result<ExitCode, Failure> {
    let ready = session.ready(&intent, start.dry_run).await?;
    let plan = ready.outline();
    if start.dry_run {
        return show_plan(&plan, format);
    }
    terminal::say(&outline::brief(&plan));
    if !terminal::go_on(start.yes) {
        return Err(Failure::stopped("stopped before anything was touched"));
    }
    let told = signals::listen()?;
    let watch = Watch::new(&Look::of_stderr());
    let report = session.run(ready, told, &watch).await;
    watch.end();
    publish(&report?, format)
}

/// Prints the whole plan.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn show_plan(plan: &Outline, format: Format) -> Result<ExitCode, Failure> {
    let text = match format {
        Format::Human => outline::whole(plan),
        Format::Markdown => markdown::plan(plan),
        Format::Json => json(plan)?,
    };
    Ok(shown(&text))
}

/// Carries out what needs no leave: it was given when the run began.
pub(crate) async fn follow(
    session: &Session,
    errand: Errand,
    format: Format,
) -> Result<ExitCode, Failure> {
    let told = signals::listen()?;
    let watch = Watch::new(&Look::of_stderr());
    let report = session.carry_out(errand, told, &watch).await;
    watch.end();
    publish(&report?, format)
}

/// Prints a report and gives its exit code.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn publish(report: &Report, format: Format) -> Result<ExitCode, Failure> {
    let text = match format {
        Format::Human => human::page(report, &Look::of_stdout()),
        Format::Markdown => markdown::page(report, &Look::of_stdout()),
        Format::Json => json(report)?,
    };
    Ok(ExitCode::from(printed(&text, report.exit_code)))
}

/// One object, indented: at three in the morning a person opens this file in an editor.
///
/// # Errors
/// It has no form in JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::own(format!("the report has no form in JSON: {error}")))
}

/// Prints what a command found that makes no run.
pub(crate) fn shown(text: &str) -> ExitCode {
    ExitCode::from(printed(text, exit::NOTHING_LEFT))
}

/// Prints what is wrong with what a command was to look at.
pub(crate) fn wrong(text: &str) -> ExitCode {
    ExitCode::from(printed(text, exit::WRONG_INPUT))
}

fn printed(text: &str, code: u8) -> u8 {
    match terminal::print(text) {
        Ok(()) => code,
        Err(error) => {
            terminal::say(&format!("error: the report cannot be written to stdout: {error}"));
            terminal::say("hint: print it again: rotate report");
            exit::unshown(code)
        }
    }
}
