//! The straight line: an errand becomes a run, the run a report.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use zeroize::Zeroizing;

use super::ending::finish;
use super::failure::Failure;
use super::locking::{self, Locked, driver, follow_run};
use super::prepare::{self, Context, Prepared};
use super::progress::Watch;
use super::session::{Errand, Intent, Session};
use super::telling::Telling;
use super::{terminal, when};
pub(super) use crate::drive::wall;
use crate::drive::{self, History, Past};
use crate::engine::call::{Subject, Told, Wall};
use crate::engine::outline::Outline;
use crate::engine::plan::{Options, Plan};
use crate::engine::report::{Mode, Report};
use crate::engine::run::Run;
use crate::journal::{
    Header, Holder, Journal, JournalError, Message, RunLockError, RunSummary, State,
};
use crate::world::LiveWorld;

/// The form of a run's id: digits, and four digits or letters.
const RUN_ID: &[u8] = b"00000000-000000-xxxx";

/// A run that can begin.
pub(crate) struct Ready {
    state: State,
    prepared: Prepared,
    intent: Intent,
}

impl Ready {
    /// The plan for people.
    pub(crate) fn outline(&self) -> Outline {
        let mut outline = super::outline::of(&self.prepared.plan);
        outline.warnings.extend(self.prepared.warnings.iter().cloned());
        for looked in &self.prepared.looked {
            outline.unlisted.extend(looked.found.iter().cloned());
            let failed = looked.failed.iter();
            outline.warnings.extend(failed.map(|why| format!("files not looked through: {why}")));
        }
        outline
    }
}

impl Session {
    /// Reads everything and makes the plan of a new run; nothing is touched but the state
    /// directory's own files.
    ///
    /// # Errors
    /// Arguments or inventory are wrong.
    pub(crate) async fn ready(&self, intent: &Intent, strict: bool) -> Result<Ready, Failure> {
        self.inventory()?;
        // A dry run makes no state directory; one that is there tells what earlier runs know.
        let state = match strict && !self.state.exists() {
            true => State::in_memory().map_err(|error| own(&error))?,
            false => self.open_state(intent.mode.contains())?,
        };
        let prepared = prepare::prepare(self, intent, &state, strict).await?;
        Ok(Ready { state, prepared, intent: intent.clone() })
    }

    /// The state directory, where there is one: who only looks makes none.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn existing_state(&self) -> Result<Option<State>, Failure> {
        // One that nobody may look into is there.
        let is_there = self.state.try_exists().unwrap_or(true);
        if is_there { self.open_state(false).map(Some) } else { Ok(None) }
    }

    /// The same, empty and in memory alone where there is none.
    fn known_state(&self) -> Result<State, Failure> {
        let known = self.existing_state()?;
        known.map_or_else(|| State::in_memory().map_err(|error| own(&error)), Ok)
    }

    /// A contain revokes even where nothing can be written.
    pub(super) fn open_state(&self, contain: bool) -> Result<State, Failure> {
        match State::open(&self.state) {
            Ok(state) => {
                if let Some(notice) = state.notice() {
                    terminal::say(&format!("warning: {notice}"));
                }
                Ok(state)
            }
            Err(error) if contain => {
                terminal::say(&format!("warning: no journal can be kept: {}", causes(&error)));
                terminal::say("warning: nothing is issued; what can be revoked is revoked");
                State::in_memory().map_err(|error| own(&error).hint(error.hint()))
            }
            Err(error) => Err(own(&error).hint(error.hint())),
        }
    }

    /// Carries a new run through.
    ///
    /// # Errors
    /// It could not begin.
    pub(crate) async fn run(
        &self,
        ready: Ready,
        told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let Ready { state, mut prepared, intent } = ready;
        let began = wall();
        let mode = prepared.plan.mode;
        let holder = Holder::here(&prepared.plan.run, mode.word(), began);
        let roles: Vec<String> = prepared.plan.roles.iter().map(|role| role.name.clone()).collect();
        let mut followed = false;
        let _locks = loop {
            match locking::lock(&state, mode, &roles, &holder).await? {
                Locked::Ours { locks, taken_over, elsewhere } => {
                    // It went on until it let go: what it made since is in its journal now.
                    if followed || taken_over || !elsewhere.is_empty() {
                        let plan = prepared.plan;
                        prepared =
                            locking::without(self, &plan, elsewhere, &intent, &state).await?;
                    }
                    break locks;
                }
                Locked::Others(held) => {
                    if let Some(report) = locking::follow(&state, &held, &prepared).await? {
                        return Ok(report);
                    }
                    followed = true;
                }
            }
        };
        self.begin(state, prepared, None, told, watch).await
    }

    /// Takes an interrupted run up, verifies an earlier one, or passes on what a person did.
    ///
    /// # Errors
    /// No run is known by that name, or it cannot be taken up.
    pub(crate) async fn carry_out(
        &self,
        errand: Errand,
        told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let state = self.known_state()?;
        match errand {
            Errand::Resume { run, wait } => {
                let run = run.map_or_else(|| latest_open(&state), Ok)?;
                self.resume(&state, &run, wait, told, watch).await
            }
            Errand::Verify { run, wait } => {
                let run = run.map_or_else(|| latest_closed(&state), Ok)?;
                self.verify(&state, &run, wait, None, told, watch).await
            }
            Errand::Done { run, credential } => {
                self.done(&state, &run, credential, told, watch).await
            }
        }
    }

    /// Folds the report of a run from its journal; of the last one where none is named.
    ///
    /// # Errors
    /// No run is known by that name, or its journal cannot be read.
    pub(crate) fn report(&self, run: Option<&str>) -> Result<Report, Failure> {
        let state = self.known_state()?;
        let run = match run {
            Some(run) => run.to_owned(),
            None => state
                .runs()
                .map_err(|error| own(&error))?
                .into_iter()
                .map(|summary| summary.run)
                .next()
                .ok_or_else(no_runs)?,
        };
        let mut report = report_of(&state, &run)?;
        // What a verify of it saw since is what is known now.
        for verify in state.verifies_of(&run).map_err(|error| own(&error))? {
            if let Some(why) = state.damage(&verify) {
                let unknown = format!("{why}; what it saw of this run is not known");
                report.failed.get_or_insert(unknown);
                continue;
            }
            let Ok(seen) = report_of(&state, &verify) else { continue };
            for one in &mut report.credentials {
                if let Some(now) = seen.credentials.iter().find(|now| now.id == one.id) {
                    one.see_again(now);
                }
            }
        }
        Ok(report.summed())
    }

    pub(super) fn world(
        &self,
        state: &State,
        plan: &Plan,
        context: &Context,
        watch: &Watch,
    ) -> Result<LiveWorld, Failure> {
        let person = self.manner.person(watch, Some(plan));
        let resolved = prepare::resolve(context.providers.as_deref(), &context.at, person)?;
        let text = std::fs::read_to_string(&context.inventory).unwrap_or_default();
        let stores = context.places(&resolved).stores(&Zeroizing::new(text));
        let world = LiveWorld::new(plan, resolved, stores, state.keys(), context.commands());
        Ok(world.under(context.root.clone()))
    }

    async fn resume(
        &self,
        state: &State,
        run: &str,
        wait: Option<Duration>,
        mut told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let mut runs = state.runs().map_err(|error| own(&error))?.into_iter();
        let known = runs.find(|known| known.run == run).ok_or_else(|| no_such_run(run))?;
        let holder = Holder::here(run, &known.mode, wall());
        // Before it is read: who drives it writes on until then.
        let _driven =
            state.lock_run(run, &holder).map_err(|error| own(&error).hint(error.hint()))?;
        let (journal, header, events) =
            Journal::open(state, run).map_err(|error| own(&error).hint(error.hint()))?;
        if state.report_of(run).map_err(|error| own(&error))?.is_some() {
            return Err(Failure::input(format!("run {run} is over"))
                .hint(format!("prove it again: rotate verify {run}")));
        }
        if let Some(notice) = journal.notice() {
            terminal::say(&format!("warning: {notice}"));
        }
        let context = context(&header)?;
        let plan = plan(&header)?;
        self.refuse_other_release(&header, &context)?;
        let roles: Vec<String> = plan.roles.iter().map(|role| role.name.clone()).collect();
        let _locks =
            state.lock_all(&roles, &holder).map_err(|error| own(&error).hint(error.hint()))?;
        watch.begin(run, &journal.first());
        let world = self.world(state, &plan, &context, watch)?;
        let wait = wait.map(when::milliseconds);
        let told = forwarding(&mut told, wait.map(Told::Wait));
        let telling = Telling::new(watch);
        let run = Run::new(plan);
        let driven = drive::resume(run, events, journal, &world, told, &telling).await;
        finish(state, driven, &context)
    }

    /// The same events must make the same calls: the engine and every provider file must be the
    /// ones that began the run.
    fn refuse_other_release(&self, header: &Header, context: &Context) -> Result<(), Failure> {
        let resolved = prepare::resolve(context.providers.as_deref(), &context.at, None)?;
        if header.is_resumable_with(&resolved.capabilities) {
            return Ok(());
        }
        let run = &header.run;
        let roles = header.roles.join(" --role ");
        Err(Failure::own(format!(
            "run {run} was begun with other provider files or another release"
        ))
        .hint(format!("begin anew, nothing is lost: rotate --role {roles}")))
    }

    async fn verify(
        &self,
        state: &State,
        run: &str,
        wait: Option<Duration>,
        by_hand: Option<String>,
        mut told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let past = Past::read(state, run).ok_or_else(|| unreadable(state, run))?;
        if past.header.mode != Mode::Verify.word() {
            locking::refuse_open(state, run)?;
        }
        let context = context(&past.header)?;
        let mut history = History::default();
        history.adopt(&past, true);
        let options = Options { wait_ms: wait.map(when::milliseconds), ..state.options(&[]) };
        let plan = Plan::verify(past.run.plan(), &history.facts, &options);
        drop(past);
        let began = wall();
        let header = header(&plan, &context, began)?;
        let _driven = locking::drive(state, &plan, began)?;
        let journal = Journal::begin(state, &header, &history.adopted)
            .map_err(|error| own(&error).hint(error.hint()))?;
        watch.begin(&plan.run, &journal.first());
        let world = self.world(state, &plan, &context, watch)?;
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        if let Some(credential) = by_hand {
            let at = plan.credentials.iter().position(|planned| planned.id == credential);
            let at = at.ok_or_else(|| no_credential(run))?;
            let subject = Subject(u32::try_from(at).unwrap_or(u32::MAX));
            let _ = tell.send(Told::HandDone(subject));
        }
        while let Ok(word) = told.try_recv() {
            let _ = tell.send(word);
        }
        tokio::spawn(async move {
            while let Some(word) = told.recv().await {
                let _ = tell.send(word);
            }
        });
        let telling = Telling::new(watch);
        let driven = drive::drive(plan, journal, &world, heard, &telling).await;
        finish(state, driven, &context)
    }

    async fn done(
        &self,
        state: &State,
        run: &str,
        credential: String,
        told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let past = Past::read(state, run).ok_or_else(|| unreadable(state, run))?;
        if past.run.plan().credentials.iter().all(|planned| planned.id != credential) {
            return Err(no_credential(run));
        }
        if state.report_of(run).map_err(|error| own(&error))?.is_some() {
            return self.verify(state, run, None, Some(credential), told, watch).await;
        }
        state
            .tell(run, &Message::HandDone { credential })
            .map_err(|error| own(&error).hint(error.hint()))?;
        let holder = Holder::here(run, past.header.mode.as_str(), wall());
        drop(past);
        match state.lock_run(run, &holder) {
            // Nobody drives it: take it up.
            Ok(lock) => {
                drop(lock);
                self.resume(state, run, None, told, watch).await
            }
            Err(RunLockError::Held { holder: Some(other), .. }) => {
                terminal::say(&format!("told {other}; following it"));
                follow_run(state, &other).await
            }
            Err(error) => Err(own(&error).hint(error.hint())),
        }
    }
}

/// Passes on what is told, after this.
pub(super) fn forwarding(
    told: &mut UnboundedReceiver<Told>,
    first: Option<Told>,
) -> UnboundedReceiver<Told> {
    let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
    if let Some(first) = first {
        let _ = tell.send(first);
    }
    let mut from = std::mem::replace(told, tokio::sync::mpsc::unbounded_channel().1);
    tokio::spawn(async move {
        while let Some(word) = from.recv().await {
            if tell.send(word).is_err() {
                return;
            }
        }
    });
    heard
}

pub(super) fn header(plan: &Plan, context: &Context, began: Wall) -> Result<Header, Failure> {
    let details = serde_json::to_value(context)
        .map_err(|error| Failure::own(format!("the details are no JSON: {error}")))?;
    Ok(Header { details, ..Header::of(plan, began).map_err(|error| own(&error))? })
}

fn plan(header: &Header) -> Result<Plan, Failure> {
    header.plan().map_err(|_| other_release(&header.run))
}

pub(super) fn context(header: &Header) -> Result<Context, Failure> {
    serde_json::from_value(header.details.clone()).map_err(|_| other_release(&header.run))
}

fn other_release(run: &str) -> Failure {
    Failure::own(format!("run {run} was written by another release"))
        .hint("use the release that wrote it")
}

fn report_of(state: &State, run: &str) -> Result<Report, Failure> {
    if let Some(json) = state.report_of(run).map_err(|_| unreadable(state, run))? {
        let mut report = parsed(&json)?;
        // What was kept beside the records is worth no more than they are.
        if let Some(why) = state.damage(run) {
            let unproved = format!("{why}; this is what it reported when it closed, unproved");
            report.failed = Some(unproved);
        }
        return Ok(report.summed());
    }
    let past = Past::read(state, run).ok_or_else(|| unreadable(state, run))?;
    let mut report = past.run.report();
    report.journal_head = Some(past.journal.head());
    Ok(report.summed())
}

pub(super) fn parsed(json: &str) -> Result<Report, Failure> {
    serde_json::from_str(json)
        .map_err(|_| Failure::own("the report was written by another release"))
}

fn latest_open(state: &State) -> Result<String, Failure> {
    let runs = state.runs().map_err(|error| own(&error))?;
    let open: Vec<RunSummary> = runs.into_iter().filter(|run| run.closed.is_none()).collect();
    match open.iter().find(|run| driver(state, run).is_none()) {
        Some(left) => Ok(left.run.clone()),
        None if open.is_empty() => {
            Err(Failure::input("no run is open").hint("begin one: rotate --role ROLE"))
        }
        None => Err(Failure::input("every run that is open is under way")
            .hint("look who drives it: rotate runs")),
    }
}

fn latest_closed(state: &State) -> Result<String, Failure> {
    let runs = state.runs().map_err(|error| own(&error))?;
    let closed = runs.into_iter().find(|run| run.mode != Mode::Verify.word());
    closed.map(|run| run.run).ok_or_else(no_runs)
}

fn no_runs() -> Failure {
    Failure::input("no run is known here").hint("name the state directory: --state DIR")
}

/// What was named may be a secret pasted by mistake, and is not repeated.
fn no_credential(run: &str) -> Failure {
    Failure::input(format!("run {run} has no such credential"))
        .hint(format!("look at its report: rotate report {run}"))
}

/// A run that is not here, one that is damaged, and one of another release are not the same.
fn unreadable(state: &State, run: &str) -> Failure {
    match Journal::open(state, run) {
        Ok(_) => other_release(run),
        Err(error) => unopened(&error, run),
    }
}

/// What is no run's name may be a secret pasted by mistake, and is not repeated.
fn unopened(error: &JournalError, run: &str) -> Failure {
    match error {
        JournalError::NoSuchRun(_) => no_such_run(run),
        _ => own(error).hint(error.hint()),
    }
}

fn no_such_run(run: &str) -> Failure {
    let run = if is_run_id(run) { format!("run {run}") } else { "such run".to_owned() };
    Failure::input(format!("no {run} is known here")).hint("name the state directory: --state DIR")
}

fn is_run_id(word: &str) -> bool {
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_alphanumeric(),
        _ => byte == *form,
    };
    word.len() == RUN_ID.len() && word.bytes().zip(RUN_ID).all(fits)
}

pub(super) fn own(error: &dyn std::error::Error) -> Failure {
    Failure::own(causes(error))
}

/// An error and what caused it, on one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
