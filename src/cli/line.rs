//! The straight line: an errand becomes a run, the run a report.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::history::{History, Past};
use super::prepare::{self, Context, Prepared};
use super::progress::Watch;
use super::session::{Errand, Intent, Session};
use super::telling::Telling;
use super::terminal;
use crate::drive::{self, DriveError, Driven};
use crate::engine::call::{Subject, Told, Wall};
use crate::engine::outline::Outline;
use crate::engine::plan::{ENGINE, Options, Plan};
use crate::engine::report::{Mode, NewState, Report, Stamp, Todo};
use crate::engine::run::Run;
use crate::inventory::{Mark, mark};
use crate::journal::{FORMAT, Header, Holder, Journal, LockError, Message, RoleLock, State};
use crate::platform::Reloads;
use crate::vault::Vault;
use crate::world::{Evidence, LiveWorld};

/// A rehearsal that holds the role is asked this often whether it has let go.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The run that is followed is looked at this often.
const FOLLOW: Duration = Duration::from_millis(250);

/// A run that can begin.
pub(crate) struct Ready {
    state: State,
    prepared: Prepared,
}

impl Ready {
    /// The plan for people.
    pub(crate) fn outline(&self) -> Outline {
        let mut outline = super::outline::of(&self.prepared.plan);
        outline.warnings.extend(self.prepared.warnings.iter().cloned());
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
        Ok(Ready { state, prepared })
    }

    /// A contain revokes even where nothing can be written.
    fn open_state(&self, contain: bool) -> Result<State, Failure> {
        let failed = |error: &dyn std::fmt::Display, hint: String| {
            Failure::own(format!("the state directory cannot be used: {error}")).hint(hint)
        };
        match State::open(&self.state) {
            Ok(state) => Ok(state),
            Err(error) if contain => {
                terminal::say(&format!("warning: no journal can be kept: {error}"));
                terminal::say("warning: nothing is issued; what can be revoked is revoked");
                State::in_memory().map_err(|error| failed(&error, error.hint()))
            }
            Err(error) => Err(failed(&error, error.hint())),
        }
    }

    /// Carries a new run through.
    ///
    /// # Errors
    /// It could not begin.
    pub(crate) async fn run(
        &self,
        ready: Ready,
        mut told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let Ready { mut state, prepared } = ready;
        let Prepared { plan, context, history, .. } = prepared;
        let began = wall();
        let holder = Holder::here(&plan.run, plan.mode.word(), began);
        let roles: Vec<String> = plan.roles.iter().map(|role| role.name.clone()).collect();
        let _locks = match self.lock(&state, plan.mode, &roles, &holder).await? {
            Locked::Ours(locks) => locks,
            Locked::Followed(report) => return Ok(*report),
        };
        let header = header(&plan, &context, began)?;
        let lent: Vec<_> = history.adopted.iter().map(|(id, parts)| (*id, parts)).collect();
        let journal = match Journal::create(&state, &header, &lent) {
            Ok(journal) => journal,
            Err(error) if plan.mode.contains() => {
                terminal::say(&format!("warning: the journal cannot be written: {error}"));
                state = State::in_memory().map_err(|error| Failure::own(error.to_string()))?;
                Journal::create(&state, &header, &lent).map_err(|error| own(&error))?
            }
            Err(error) => return Err(own(&error).hint(error.hint())),
        };
        watch.begin(&plan.run, &journal.first());
        let vault = Vault::new();
        for (id, parts) in history.adopted {
            vault.insert(id, parts);
        }
        let world = self.world(&state, &plan, &context)?;
        let told = forwarding(&mut told, !state.is_durable());
        let telling = Telling::new(watch);
        let mode = plan.mode;
        if mode.contains() {
            mark_contained(&state, &plan);
        }
        let driven = drive::drive(plan, journal, vault, &world, told, &telling).await;
        finish(&state, driven, &context)
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
        let state = self.open_state(false)?;
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
        let state = self.open_state(false)?;
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
        // What a later run proved of this one's credentials is what is known now.
        for later in state.runs().map_err(|error| own(&error))? {
            if later.mode != Mode::Verify.word() {
                continue;
            }
            let Ok(proved) = report_of(&state, &later.run) else { continue };
            if proved.of.as_ref().is_some_and(|of| of.run == run) {
                for one in &mut report.credentials {
                    if let Some(now) = proved.credentials.iter().find(|now| now.id == one.id) {
                        one.old = now.old.clone();
                        one.todo.retain(|todo| now.todo.contains(todo));
                    }
                }
                break;
            }
        }
        Ok(report.summed())
    }

    async fn lock(
        &self,
        state: &State,
        mode: Mode,
        roles: &[String],
        holder: &Holder,
    ) -> Result<Locked, Failure> {
        if mode.contains() {
            let mut locks = Vec::with_capacity(roles.len());
            let mut sorted: Vec<&String> = roles.iter().collect();
            sorted.sort();
            for role in sorted {
                match take(state, role, holder).await {
                    Ok(lock) => locks.push(lock),
                    Err(LockError::Held { holder: Some(other), .. }) => {
                        terminal::say(&format!("role {role} is held by {other}; following it"));
                        return Ok(Locked::Followed(Box::new(follow(state, role, &other).await?)));
                    }
                    // No journal, no lock: the kill comes first.
                    Err(LockError::Unusable { .. }) => {}
                    Err(error) => return Err(own(&error).hint(error.hint())),
                }
            }
            return Ok(Locked::Ours(locks));
        }
        let locks = state.lock_all(roles, holder);
        locks.map(Locked::Ours).map_err(|error| own(&error).hint(error.hint()))
    }

    fn world(&self, state: &State, plan: &Plan, context: &Context) -> Result<LiveWorld, Failure> {
        let resolved = prepare::resolve(context.providers.as_deref(), &context.at)?;
        let text = std::fs::read_to_string(&context.inventory).unwrap_or_default();
        let dir = state.evidence_dir().unwrap_or_else(std::env::temp_dir);
        let lookup = Arc::new(move |id: &str| resolved.provider(id));
        Ok(LiveWorld {
            providers: lookup,
            stores: prepare::stores(context.root.clone(), &Zeroizing::new(text)),
            fingerprints: state.fingerprints(),
            seal: Arc::clone(state.seal()),
            evidence: Evidence {
                dir,
                run: plan.run.clone(),
                roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
                root: context.root.clone(),
            },
            commands: context.commands(),
            reloads: Reloads::default(),
        })
    }

    async fn resume(
        &self,
        state: &State,
        run: &str,
        wait: Option<Duration>,
        mut told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
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
        let mut plan = plan(&header)?;
        self.refuse_other_release(&header, &context)?;
        if let Some(wait) = wait {
            let until = events.last().map_or(0, |(at, _)| at.0);
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            plan.wait_ms = Some(until.saturating_add(wait));
        }
        let roles: Vec<String> = plan.roles.iter().map(|role| role.name.clone()).collect();
        let holder = Holder::here(run, plan.mode.word(), wall());
        let _locks =
            state.lock_all(&roles, &holder).map_err(|error| own(&error).hint(error.hint()))?;
        watch.begin(run, &journal.first());
        let vault = Vault::new();
        for (id, parts) in journal.secrets().map_err(|error| own(&error).hint(error.hint()))? {
            vault.insert(id, parts);
        }
        let world = self.world(state, &plan, &context)?;
        let told = forwarding(&mut told, false);
        let telling = Telling::new(watch);
        let run = Run::new(plan);
        let driven = drive::resume(run, events, journal, vault, &world, told, &telling).await;
        finish(state, driven, &context)
    }

    /// The same events must make the same calls: the engine and every provider file must be the
    /// ones that began the run.
    fn refuse_other_release(&self, header: &Header, context: &Context) -> Result<(), Failure> {
        let resolved = prepare::resolve(context.providers.as_deref(), &context.at)?;
        let same = header.providers.iter().all(|(id, sha256)| {
            let known = resolved.capabilities.providers.get(id);
            known.is_some_and(|provider| provider.sha256 == *sha256)
        });
        if header.engine == ENGINE && same {
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
        let past = Past::read(state, run).ok_or_else(|| unknown(run))?;
        let context = context(&past.header)?;
        let mut history = History::default();
        history.adopt(&past, true);
        let options = Options {
            run: prepare::run_id(),
            installation: state.installation(),
            wait_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            ..Options::default()
        };
        let plan = Plan::verify(past.run.plan(), &history.facts, &options);
        drop(past);
        let began = wall();
        let header = header(&plan, &context, began)?;
        let lent: Vec<_> = history.adopted.iter().map(|(id, parts)| (*id, parts)).collect();
        let journal = Journal::create(state, &header, &lent)
            .map_err(|error| own(&error).hint(error.hint()))?;
        watch.begin(&plan.run, &journal.first());
        let vault = Vault::new();
        for (id, parts) in history.adopted {
            vault.insert(id, parts);
        }
        let world = self.world(state, &plan, &context)?;
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        if let Some(credential) = by_hand {
            let at = plan.credentials.iter().position(|planned| planned.id == credential);
            let at = at.ok_or_else(|| {
                Failure::input(format!("run {run} has no credential {credential}"))
                    .hint(format!("look at its report: rotate report {run}"))
            })?;
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
        let driven = drive::drive(plan, journal, vault, &world, heard, &telling).await;
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
        let past = Past::read(state, run).ok_or_else(|| unknown(run))?;
        if past.run.plan().credentials.iter().all(|planned| planned.id != credential) {
            return Err(Failure::input(format!("run {run} has no credential {credential}"))
                .hint(format!("look at its report: rotate report {run}")));
        }
        if state.report_of(run).map_err(|error| own(&error))?.is_some() {
            return self.verify(state, run, None, Some(credential), told, watch).await;
        }
        state
            .tell(run, &Message::HandDone { credential })
            .map_err(|error| own(&error).hint(error.hint()))?;
        let roles = past.header.roles.clone();
        let holder = Holder::here(run, past.header.mode.as_str(), wall());
        drop(past);
        match state.lock_all(&roles, &holder) {
            // Nobody drives it: take it up.
            Ok(locks) => {
                drop(locks);
                self.resume(state, run, None, told, watch).await
            }
            Err(LockError::Held { role, holder: Some(other) }) => {
                terminal::say(&format!("told {other}; following it"));
                follow(state, &role, &other).await
            }
            Err(error) => Err(own(&error).hint(error.hint())),
        }
    }
}

enum Locked {
    Ours(Vec<RoleLock>),
    Followed(Box<Report>),
}

async fn take(state: &State, role: &str, holder: &Holder) -> Result<RoleLock, LockError> {
    let begun = Instant::now();
    let mut take_over = state.take_over(role, holder)?;
    if let Some(rehearsal) = take_over.rehearsal() {
        terminal::say(&format!("taking {role} over from {rehearsal}"));
    }
    loop {
        if let Some(lock) = take_over.poll(begun.elapsed())? {
            return Ok(lock);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Waits until another process has ended its run of this role, and reads what it reported.
async fn follow(state: &State, role: &str, other: &Holder) -> Result<Report, Failure> {
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

/// Passes on what is told; without a journal that is the first thing to be said.
fn forwarding(told: &mut UnboundedReceiver<Told>, lost: bool) -> UnboundedReceiver<Told> {
    let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
    if lost {
        let _ = tell.send(Told::JournalLost);
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

fn header(plan: &Plan, context: &Context, began: Wall) -> Result<Header, Failure> {
    let json = |error: serde_json::Error| Failure::own(format!("the plan is no JSON: {error}"));
    Ok(Header {
        run: plan.run.clone(),
        format: FORMAT,
        engine: ENGINE,
        mode: plan.mode.word().to_owned(),
        roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
        started: began,
        providers: plan
            .providers
            .iter()
            .map(|provider| (provider.id.clone(), provider.sha256.clone()))
            .collect::<BTreeMap<_, _>>(),
        plan: serde_json::to_value(plan).map_err(json)?,
        details: serde_json::to_value(context).map_err(json)?,
        adopts: None,
    })
}

fn plan(header: &Header) -> Result<Plan, Failure> {
    serde_json::from_value(header.plan.clone()).map_err(|_| other_release(&header.run))
}

fn context(header: &Header) -> Result<Context, Failure> {
    serde_json::from_value(header.details.clone()).map_err(|_| other_release(&header.run))
}

fn other_release(run: &str) -> Failure {
    Failure::own(format!("run {run} was written by another release"))
        .hint("use the release that wrote it")
}

/// Closes the journal with its report, and lifts or keeps the marks of the roles.
fn finish(
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
    let report = report.summed();
    let json = serde_json::to_string(&report)
        .map_err(|error| Failure::own(format!("the report has no form in JSON: {error}")))?;
    if let Err(error) = journal.close(wall(), &json, report.exit_code) {
        terminal::say(&format!("warning: the run is not closed in its journal: {error}"));
    }
    Ok(report)
}

fn mark_contained(state: &State, plan: &Plan) {
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
    let lift = plan.mode == Mode::Restore && all_delivered(&run.report());
    if !plan.mode.contains() && !lift {
        return Vec::new();
    }
    let mut todo = Vec::new();
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

fn report_of(state: &State, run: &str) -> Result<Report, Failure> {
    if let Some(json) = state.report_of(run).map_err(|error| own(&error).hint(error.hint()))? {
        return parsed(&json);
    }
    let past = Past::read(state, run).ok_or_else(|| unknown(run))?;
    let mut report = past.run.report();
    report.journal_head = Some(past.journal.head());
    Ok(report.summed())
}

fn parsed(json: &str) -> Result<Report, Failure> {
    serde_json::from_str(json)
        .map_err(|_| Failure::own("the report was written by another release"))
}

fn latest_open(state: &State) -> Result<String, Failure> {
    let runs = state.runs().map_err(|error| own(&error))?;
    let open = runs.into_iter().find(|run| run.closed.is_none());
    open.map(|run| run.run)
        .ok_or_else(|| Failure::input("no run is open").hint("begin one: rotate --role ROLE"))
}

fn latest_closed(state: &State) -> Result<String, Failure> {
    let runs = state.runs().map_err(|error| own(&error))?;
    let closed = runs.into_iter().find(|run| run.mode != Mode::Verify.word());
    closed.map(|run| run.run).ok_or_else(no_runs)
}

fn no_runs() -> Failure {
    Failure::input("no run is known here").hint("name the state directory: --state DIR")
}

fn unknown(run: &str) -> Failure {
    Failure::input(format!("no run {run} can be read here"))
        .hint("name the state directory: --state DIR")
}

fn own(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Failure::own(text)
}

fn wall() -> Wall {
    Wall(Timestamp::now().as_millisecond())
}
