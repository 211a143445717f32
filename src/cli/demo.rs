//! `rotate demo`: a contain and a restore against servers that it starts itself on loopback.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Output, Places, State};
use super::exit;
use super::failure::Failure;
use super::progress::Watch;
use super::session::{Intent, Session};
use super::terminal::{self, Look};
use super::{human, outline, run, signals};
use crate::demo::{Asks, Lab, ROLE, Truth};
use crate::engine::report::{Mode, Report, Verdict};

/// Contain and restore a role of servers started here on loopback; one of them lies
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Both reports, as `--format json` prints them.
#[derive(Serialize)]
struct Both {
    contain: Report,
    restore: Report,
}

impl Demo {
    /// Runs it: the same line as any other run, on a throw-away folder.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let lab = Lab::start().await.map_err(|error| Failure::own(error.to_string()))?;
        let session = Session::open(&Places {
            inventory: Some(lab.inventory_path()),
            providers: None,
            state: State { state: Some(lab.state_dir()) },
        })?;
        terminal::say("demo: servers on loopback, a throw-away folder; one of the servers lies");
        let contain = one(&session, Mode::Contain).await?;
        let restore = one(&session, Mode::Restore).await?;
        let truths = lab.verify().map_err(|error| Failure::own(error.to_string()))?;
        let mut wrong = differences(&contain, &restore, &truths);
        wrong.extend(left_over(&contain, lab.listed()));
        let text = match self.output.format {
            Format::Json => run::json(&Both { contain, restore })?,
            Format::Human | Format::Markdown => both(&contain, &restore, &truths, lab.asks()),
        };
        terminal::print(&text).map_err(|error| Failure::own(error.to_string()))?;
        if wrong.is_empty() {
            return Ok(ExitCode::from(exit::NOTHING_LEFT));
        }
        Err(Failure::own(format!("the demo came out wrong: {}", wrong.join("; ")))
            .hint("report this, with what is printed above"))
    }
}

async fn one(session: &Session, mode: Mode) -> Result<Report, Failure> {
    let because = (mode == Mode::Restore).then(|| "the demonstration is over".to_owned());
    let intent = Intent { roles: vec![ROLE.to_owned()], because, ..Intent::new(mode) };
    let ready = session.ready(&intent, false).await?;
    terminal::say(&outline::brief(&ready.outline()));
    let told = signals::listen()?;
    let watch = Watch::new(&Look::of_stderr());
    let report = session.run(ready, told, &watch).await;
    watch.end();
    report
}

/// Where a report says other than what the servers themselves know.
fn differences(contain: &Report, restore: &Report, truths: &[Truth]) -> Vec<String> {
    let mut wrong = Vec::new();
    for truth in truths {
        let id = truth.credential;
        let said = contain.credentials.iter().find(|one| one.id == id).map(|one| one.old.verdict);
        let alive = said == Some(Verdict::Alive);
        let dead = said == Some(Verdict::Dead);
        if truth.old_alive != alive || truth.old_alive == dead {
            wrong.push(format!("{id} is said to be {said:?}"));
        }
        if (truth.verdict == "alive") != alive {
            wrong.push(format!("{id} should be {}", truth.verdict));
        }
        if !truth.replaced || !truth.placed_alive {
            wrong.push(format!("{id} is not replaced in its places"));
        }
    }
    if contain.exit_code != exit::ALIVE {
        wrong.push(format!("the contain ended with {}", contain.exit_code));
    }
    if restore.credentials.is_empty() {
        wrong.push("nothing was restored".to_owned());
    }
    wrong
}

/// Keys that the servers list and no report names.
fn left_over(contain: &Report, listed: Vec<String>) -> Vec<String> {
    let named =
        |id: &String| contain.credentials.iter().any(|one| one.new.handle.as_ref() == Some(id));
    let unknown = listed.into_iter().filter(|id| !named(id));
    unknown.map(|id| format!("the key {id} is left over")).collect()
}

fn both(contain: &Report, restore: &Report, truths: &[Truth], asks: Asks) -> String {
    let look = Look::of_stdout();
    let mut text = human::page(contain, &look);
    text.push_str("\n\n");
    text.push_str(&human::page(restore, &look));
    text.push_str("\n\nThe servers themselves, asked afterwards:\n");
    for truth in truths {
        let old = if truth.old_alive { "old one still works" } else { "old one is dead" };
        let new = if truth.placed_alive {
            "its places hold a live new one"
        } else {
            "no live new one in its places"
        };
        text.push_str(&format!("  {}  {old}; {new}\n", truth.credential));
    }
    let Asks { acme, archive, oauth } = asks;
    text.push_str(&format!("They heard {} requests in all.\n", acme + archive + oauth));
    text
}
