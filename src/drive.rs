//! The one loop. *Write the event, then believe it; a call is made only because of a written
//! event.*

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

use crate::engine::call::{
    Answer, Call, CallId, Event, Fault, Reason, Request, SecretId, Subject, Task, Time, Told, Verb,
    Wall, What,
};
use crate::engine::plan::Plan;
use crate::engine::progress::Progress;
use crate::engine::report::Report;
use crate::engine::run::{Illegal, Run};
use crate::journal::{Entry, Journal, JournalError, Message};
use crate::secret::Parts;
use crate::vault::Vault;
use crate::world::{self, Made, World};

mod history;
mod watch;

pub use history::{History, Past};
pub use watch::{Events, Nobody, Observer, Watcher, watch};

pub use crate::world::wall;

/// How often the journal's inbox is read: a person who typed `rotate done` waits a second.
const INBOX: Duration = Duration::from_secs(1);

/// A run whose wait is over gives what is on its way this long: the answers of a server that is
/// merely slow, and no more of a person's time.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// So many batches of answers follow each other before anybody else is listened to: where one
/// always waits, a person is heard within some tenths of a second.
const BATCHES: usize = 8;

/// The run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The journal of another release, or damaged: it does not replay.
    #[error("the journal does not replay: {0}")]
    Replay(#[from] Illegal),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
}

/// A run that is over, and its journal, still open.
#[non_exhaustive]
pub struct Driven {
    /// What is known.
    pub run: Run,
    /// Its journal.
    pub journal: Journal,
}

impl Driven {
    /// Closes the journal with the report of the run. A run that was stopped stays open: it is
    /// not over, and a resume takes it up.
    ///
    /// # Errors
    /// [`DriveError::Journal`] if the report cannot be written; the run is then still open, and
    /// its report is `run.report().summed()`.
    pub fn close(mut self) -> Result<Report, DriveError> {
        let mut report = self.run.report();
        report.journal_head = Some(self.journal.head());
        let report = report.summed();
        if !self.run.was_stopped() {
            let json = serde_json::to_string(&report).map_err(JournalError::from)?;
            self.journal.close(wall(), &json, report.exit_code)?;
        }
        Ok(report)
    }
}

/// Begins a plan and carries it through. Dropping the future is a crash: resumable, nothing else.
///
/// `told` is what people say while it runs; a run that nobody talks to is given the receiver of a
/// sender that was dropped. Events go to `observer`: [`Nobody`], or what [`watch`] gives.
///
/// # Errors
/// [`DriveError::Replay`], which a fresh plan cannot cause; [`DriveError::Journal`] if sealed
/// secrets of the journal do not open.
pub async fn drive(
    plan: Plan,
    journal: Journal,
    world: &dyn World,
    told: UnboundedReceiver<Told>,
    observer: impl Observer,
) -> Result<Driven, DriveError> {
    let mut driver = Driver::new(Run::new(plan), journal, world, Box::new(observer))?;
    driver.take(vec![(What::Started, None)]).await?;
    driver.carry_through(told).await
}

/// Takes up a run where its journal ends: `run` is the plan of its header, not begun, and `events`
/// are what the journal holds. What was under way and may have changed something is taken as lost;
/// what changes nothing is asked again.
///
/// # Errors
/// [`DriveError::Replay`] if these events are not of this plan and this release;
/// [`DriveError::Journal`] if sealed secrets of the journal do not open.
pub async fn resume(
    mut run: Run,
    events: Vec<(Time, Event)>,
    journal: Journal,
    world: &dyn World,
    told: UnboundedReceiver<Told>,
    observer: impl Observer,
) -> Result<Driven, DriveError> {
    let fresh = events.is_empty();
    replay(&mut run, events)?;
    // Taken before anything new is polled: what is called from here on is answered by the world.
    let lost = run.unanswered();
    let mut driver = Driver::new(run, journal, world, Box::new(observer))?;
    driver.take(vec![(if fresh { What::Started } else { What::Resumed }, None)]).await?;
    let crashed = |id| {
        let answer = Answer::Fault(Fault::Unknown(Reason::Crashed.into()));
        (What::Answered(id, answer), None)
    };
    driver.take(lost.into_iter().map(crashed).collect()).await?;
    driver.carry_through(told).await
}

/// Brings a run to where its journal ends: the same events make the same calls.
///
/// # Errors
/// [`Illegal`] where they do not.
pub fn replay(run: &mut Run, events: Vec<(Time, Event)>) -> Result<(), Illegal> {
    for (at, event) in events {
        run.handle(at, event)?;
        while run.poll().is_some() {}
    }
    Ok(())
}

type Making<'w> = Pin<Box<dyn Future<Output = (CallId, Made)> + Send + 'w>>;

struct Driver<'w> {
    run: Run,
    journal: Arc<Mutex<Journal>>,
    journal_lost: bool,
    vault: Arc<Vault>,
    world: &'w dyn World,
    observer: Box<dyn Observer + 'w>,
    begun: Instant,
    base: Time,
    making: FuturesUnordered<Making<'w>>,
    /// Answered while the last batch was written: the next one begins with them.
    early: Vec<(CallId, Made)>,
    calls: BTreeMap<CallId, Arc<Call>>,
    /// Of these it was told how a person ends them.
    by_hand: BTreeSet<Subject>,
    /// Nothing on its way is waited for any more, but what may bring a new credential.
    left: bool,
}

type Batch = Vec<(What, Option<(CallId, Parts)>)>;

type Written = Vec<(Event, Option<(CallId, Parts)>)>;

type Done = (Written, Result<(), JournalError>);

type Write = oneshot::Receiver<Done>;

/// A batch on its way to the disk; the batch itself where there is no journal any more.
struct Writing {
    at: Time,
    wall: Wall,
    write: Result<Write, Written>,
}

impl<'w> Driver<'w> {
    fn new(
        run: Run,
        journal: Journal,
        world: &'w dyn World,
        observer: Box<dyn Observer + 'w>,
    ) -> Result<Self, DriveError> {
        let vault = Vault::new();
        for (id, parts) in journal.secrets()? {
            vault.insert(id, parts);
        }
        Ok(Self {
            base: run.now(),
            run,
            journal: Arc::new(Mutex::new(journal)),
            journal_lost: false,
            vault: Arc::new(vault),
            world,
            observer,
            begun: Instant::now(),
            making: FuturesUnordered::new(),
            early: Vec::new(),
            calls: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            left: false,
        })
    }

    async fn carry_through(
        mut self,
        mut told: UnboundedReceiver<Told>,
    ) -> Result<Driven, DriveError> {
        let mut inbox = time::interval(INBOX);
        inbox.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut listening = true;
        // Also where nothing is left to do but to hear it.
        while let Ok(word) = told.try_recv() {
            self.take(vec![(What::Told(word), None)]).await?;
        }
        while !self.run.is_done() {
            let tick = sleep_until(self.run.wake().map(|at| self.instant(at)));
            let leave = sleep_until(self.leaves_at());
            let batch = tokio::select! {
                biased;
                word = told.recv(), if listening => match word {
                    Some(word) => vec![(What::Told(word), None)],
                    None => { listening = false; continue }
                },
                // Before the answers: where one always waits, nothing behind them would be heard.
                () = leave => self.leave(),
                _ = inbox.tick() => self.heard(),
                () = std::future::ready(()), if !self.early.is_empty() => self.answers(),
                Some(first) = self.making.next(), if !self.making.is_empty() => {
                    self.early.push(first);
                    self.answers()
                }
                () = tick => vec![(What::Tick, None)],
            };
            self.take(batch).await?;
        }
        self.forget_what_is_dead().await;
        let journal = Arc::try_unwrap(self.journal)
            .map(|mutex| mutex.into_inner().unwrap_or_else(PoisonError::into_inner));
        match journal {
            Ok(journal) => Ok(Driven { run: self.run, journal }),
            // Every writer is awaited before the next batch, so nobody else holds it.
            Err(_) => Err(DriveError::Replay(Illegal::NotStarted)),
        }
    }

    /// Everything that is answered by now goes into one write.
    fn answers(&mut self) -> Batch {
        while let Some(Some(more)) = self.making.next().now_or_never() {
            self.early.push(more);
        }
        self.early.drain(..).map(answered).collect()
    }

    /// When a run with a `--wait` leaves for good.
    fn leaves_at(&self) -> Option<Instant> {
        let leaves = self.run.leaves_at().filter(|_| !self.left)?;
        Some(self.instant(leaves) + LAST_ANSWERS)
    }

    /// Nobody knows whether what is still on its way happened, and the report says so. What may
    /// bring a new credential is waited for until its own deadline: its bytes are never given up.
    fn leave(&mut self) -> Batch {
        self.left = true;
        let makes = |request: &Request| matches!(request.at.verb, Verb::Issue | Verb::Roll);
        let lost = self.calls.iter().filter_map(|(id, call)| match &call.task {
            Task::Ask(request) if !makes(request) => {
                Some((What::Answered(*id, world::lost(&call.task, Reason::Timeout)), None))
            }
            _ => None,
        });
        lost.collect()
    }

    fn instant(&self, at: Time) -> Instant {
        self.begun + Duration::from_millis(at.since(self.base))
    }

    fn heard(&mut self) -> Batch {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        // A journal that cannot be read tells nothing; that it cannot be written shows elsewhere.
        let messages = journal.inbox().unwrap_or_default();
        drop(journal);
        let told = messages.into_iter().filter_map(|message| match message {
            Message::HandDone { credential } => {
                let plan = self.run.plan();
                let at = plan.credentials.iter().position(|planned| planned.id == credential)?;
                Some(Told::HandDone(Subject(u32::try_from(at).ok()?)))
            }
            Message::Stop | Message::TakeOver => Some(Told::Stop),
        });
        told.map(|told| (What::Told(told), None)).collect()
    }

    /// Writes a batch, then believes it, then makes the calls that follow. What is answered
    /// meanwhile is written while this batch is believed: neither the disk nor the engine waits for
    /// the other.
    async fn take(&mut self, batch: Batch) -> Result<(), DriveError> {
        let mut writing = (!batch.is_empty()).then(|| self.write(batch));
        for left in (0..BATCHES).rev() {
            let Some(Writing { at, wall, write }) = writing else { break };
            let written = self.written(write).await;
            writing = (left > 0 && !self.early.is_empty()).then(|| {
                let next = self.answers();
                self.write(next)
            });
            self.believe_all(at, wall, written)?;
        }
        Ok(())
    }

    fn believe_all(&mut self, at: Time, wall: Wall, written: Written) -> Result<(), DriveError> {
        for (mut event, mut brought) in written {
            // Before what could not be written: nothing may be made because of that.
            let begun = !matches!(event.what, What::Started);
            if begun && self.journal_lost && !self.run.lost_its_journal() {
                let told = Event { wall, what: What::Told(Told::JournalLost) };
                match event.what {
                    // Nothing is called yet: what was under way is asked again with what follows.
                    What::Resumed => self.run.handle(at, told)?,
                    _ => self.believe(at, told)?,
                }
            }
            if self.journal_lost {
                lose_new(&mut event, &mut brought);
            }
            if let Some((id, parts)) = brought {
                self.vault.insert(SecretId::from(id), parts);
            }
            self.believe(at, event)?;
        }
        Ok(())
    }

    fn believe(&mut self, at: Time, event: Event) -> Result<(), DriveError> {
        let call = match &event.what {
            What::Answered(id, _) => self.calls.remove(id),
            _ => None,
        };
        let progress = Progress::of(&self.run, at, &event, call.as_deref());
        let wall = event.wall;
        self.run.handle(at, event)?;
        self.poll();
        if let Some(progress) = progress {
            self.observer.happened(&progress);
        }
        if let Some(subject) = call.and_then(|call| call.subject)
            && !self.by_hand.contains(&subject)
            && let Some(page) = Progress::by_hand(&self.run, at, wall, subject)
        {
            self.by_hand.insert(subject);
            self.observer.happened(&page);
        }
        Ok(())
    }

    /// Polled after every event, as a replay does; the calls are made once the batch is through.
    fn poll(&mut self) {
        while let Some((id, call)) = self.run.poll() {
            let call = Arc::new(call);
            self.calls.insert(id, Arc::clone(&call));
            let (vault, world) = (Arc::clone(&self.vault), self.world);
            self.making.push(Box::pin(async move {
                let made = world.make(id, &call, &vault).await;
                (id, made)
            }));
        }
    }

    /// Begins one durable write for the whole batch.
    fn write(&self, batch: Batch) -> Writing {
        let (at, wall) = (self.now(), self.world.wall());
        let events = batch.into_iter().map(|(what, brought)| (Event { wall, what }, brought));
        let batch: Written = events.collect();
        if self.journal_lost {
            return Writing { at, wall, write: Err(batch) };
        }
        let journal = Arc::clone(&self.journal);
        let write = self.beside(move || {
            let entries: Vec<Entry<'_>> = batch
                .iter()
                .map(|(event, brought)| Entry {
                    at,
                    event,
                    brought: brought.as_ref().map(|(id, parts)| (SecretId::from(*id), parts)),
                })
                .collect();
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            let result = journal.append(&entries, &[]);
            drop(entries);
            (batch, result)
        });
        Writing { at, wall, write: Ok(write) }
    }

    /// Waits for a write. A journal that cannot be written is said once; from then on the run lives
    /// in memory.
    async fn written(&mut self, write: Result<Write, Written>) -> Written {
        let write = match write {
            Ok(write) => write,
            Err(batch) => return batch,
        };
        match self.meanwhile(write).await {
            Ok((batch, result)) => {
                if let Err(error) = result {
                    tracing::error!(%error, "the journal cannot be written; going on from memory");
                    self.journal_lost = true;
                }
                batch
            }
            Err(_) => {
                self.journal_lost = true;
                Vec::new()
            }
        }
    }

    /// A disk takes as long as a near server: what is under way goes on while it writes. Its
    /// answers wait for their own batch.
    async fn meanwhile(&mut self, mut write: Write) -> Result<Done, oneshot::error::RecvError> {
        loop {
            tokio::select! {
                biased;
                done = &mut write => return done,
                Some(made) = self.making.next(), if !self.making.is_empty() => {
                    self.early.push(made);
                }
            }
        }
    }

    /// What blocks is done elsewhere; nothing comes of what panics.
    fn beside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        self.world.beside(Box::new(move || drop(done.send(job()))));
        result
    }

    /// The old ones that are proved dead need no proof any more. A run that was stopped is not
    /// over: a resume needs all it had.
    async fn forget_what_is_dead(&mut self) {
        if self.journal_lost || self.run.was_stopped() {
            return;
        }
        let forget = self.run.secrets_no_longer_needed();
        let journal = Arc::clone(&self.journal);
        let forgetting = self.beside(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.append(&[], &forget)
        });
        if let Ok(Err(error)) = forgetting.await {
            tracing::warn!(%error, "sealed secrets that nobody needs were not removed");
        }
    }

    fn now(&self) -> Time {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base.plus(elapsed).max(self.run.now())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A new one that could not be sealed is one whose bytes are lost: nobody may rely on it, and it is
/// looked for by its label and ended.
fn lose_new(event: &mut Event, brought: &mut Option<(CallId, Parts)>) {
    if let What::Answered(_, answer @ Answer::Issued(_)) = &mut event.what {
        *answer = Answer::Fault(Fault::Unknown(Reason::Unwritable.into()));
        *brought = None;
    }
}

fn answered((id, made): (CallId, Made)) -> (What, Option<(CallId, Parts)>) {
    (What::Answered(id, made.answer), made.brought.map(|parts| (id, parts)))
}

/// The clock that providers are given: milliseconds since 1970, UTC.
pub fn clock() -> Arc<dyn Fn() -> i64 + Send + Sync> {
    Arc::new(|| wall().0)
}
