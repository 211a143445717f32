//! One story from its beginning to where nothing is left to do: processes come, die and are taken
//! up again, and then all faults stop.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rotate::drive::{self, DriveError, Driven, History, Nobody};
use rotate::engine::plan::{Options, Plan, Planned};
use rotate::engine::report::{CredentialReport, Mode, Report, Verdict};
use rotate::engine::run::Run;
use rotate::inventory::Mark;
use rotate::journal::{Header, Holder, Journal, LockError, Message, RoleLock, State};
use rotate::world::World as _;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::bench::{Bench, ROLE, sites};
use super::end;
use super::outside::Outside;
use super::scenario::{Blow, Ms, Scenario, Write};
use super::shadow::Shadow;
use super::totals::Totals;

/// No run of the lab takes longer: its rules give up after two minutes, and a person who told it to
/// go on has no need to wait for a third.
const TOO_LONG: Duration = Duration::from_secs(2 * 3_600);

/// A run that is taken up again this often has no end.
const PROCESSES: usize = 40;

/// A rehearsal has so long to stop by itself when a contain wants its role.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the journals of all stories of one thread are kept, and a hand on the file itself.
pub(crate) struct Lab {
    pub(crate) state: State,
    pub(crate) disk: Connection,
    _dir: tempfile::TempDir,
}

pub(crate) struct Ending {
    pub(crate) totals: Totals,
    pub(crate) violation: Option<String>,
    pub(crate) transcript: Vec<String>,
}

type Driving = Pin<Box<dyn Future<Output = Result<Driven, DriveError>>>>;

/// How a process ended.
enum Exit {
    Done(Box<Driven>),
    /// It is dead; its run is open.
    Dead,
    /// A contain wants its role.
    TakenOver,
}

impl Lab {
    pub(crate) fn new() -> Self {
        // Where memory is a disk, a write costs what it should: nothing is measured here.
        let memory = std::path::Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let dir = dir.expect("a folder of our own");
        let state = State::open(&dir.path().join("state")).expect("a state directory");
        let disk = Connection::open(dir.path().join("state/journal.sqlite")).expect("its journal");
        disk.busy_timeout(Duration::from_secs(5)).expect("a time");
        // Or every record that is read costs a parse of the statement.
        disk.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).expect("as shipped");
        Self { state, disk, _dir: dir }
    }

    fn forget_all(&self) {
        let all = "DELETE FROM record; DELETE FROM run; DELETE FROM seal; DELETE FROM inbox;
                   DELETE FROM contained; DROP TRIGGER IF EXISTS full;";
        self.disk.execute_batch(all).expect("an empty journal");
    }

    /// A disk is full: no record can be written; or it is not any more.
    fn full(&self, full: bool) {
        let change = match full {
            true => {
                "CREATE TRIGGER IF NOT EXISTS full BEFORE INSERT ON record
                 BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            }
            false => "DROP TRIGGER IF EXISTS full",
        };
        self.disk.execute_batch(change).expect("a trigger");
    }

    /// The last record of a run is damaged, as by a disk that lost a part of it.
    fn tear(&self, run: &str) {
        let last = "UPDATE record SET json = substr(json, 1, length(json) / 2)
                    WHERE run = ?1 AND n = (SELECT max(n) FROM record WHERE run = ?1)";
        self.disk.execute(last, params![run]).expect("a record");
    }

    /// Tells a scenario from its beginning to its end.
    pub(crate) fn play(&self, scenario: &Scenario, tells: bool) -> Ending {
        self.forget_all();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(tokio::task::unconstrained(async {
            let mut story = Story::new(self, scenario, tells);
            let whole = story.tell();
            if timeout(20 * TOO_LONG, whole).await.is_err() {
                story.outside.lock().watch.broken("everything_closes", || "it never ends".into());
            }
            let mut inner = story.outside.lock();
            let mut totals = std::mem::take(&mut inner.totals);
            totals.seeds = 1;
            totals.virtual_seconds = inner.now() / 1_000;
            let violation = inner.watch.violation.take();
            totals.violations = u64::from(violation.is_some());
            let transcript = inner.transcript.take().unwrap_or_default();
            Ending { totals, violation, transcript }
        }))
    }
}

pub(crate) struct Story<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) bench: Bench,
    pub(crate) outside: Outside,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) scenario: &'a Scenario,
    blows: VecDeque<(Ms, Blow)>,
    /// The disk is full until then.
    full_until: Option<Instant>,
    /// All faults have stopped.
    calm: bool,
    runs: u32,
    begun: Instant,
}

impl<'a> Story<'a> {
    fn new(lab: &'a Lab, scenario: &'a Scenario, tells: bool) -> Self {
        let (sites, places) = sites(scenario);
        let dice = StdRng::seed_from_u64(scenario.seed ^ 0x5eed);
        let keys = lab.state.fingerprints();
        let outside = Outside::new(sites, dice, scenario.disk, keys, tells);
        outside.lock().places.extend(places);
        // Some batches may be written before one is looked at.
        outside.lock().watch.jitter = 8 * scenario.disk;
        outside.lock().watch.withholds = !scenario.deliver
            && (scenario.burned_admin || scenario.credentials.iter().any(|one| !one.shared));
        Self {
            lab,
            bench: Bench::of(scenario),
            outside,
            shadow: None,
            scenario,
            blows: scenario.blows.iter().copied().collect(),
            full_until: None,
            calm: false,
            runs: 0,
            begun: Instant::now(),
        }
    }

    pub(crate) fn broken(&self) -> bool {
        self.outside.lock().watch.violation.is_some()
    }

    async fn tell(&mut self) {
        let mut mode = self.scenario.mode;
        let Some(mut run) = self.begin(mode) else { return };
        let mut exit = self.drive(run.1, &run.0).await;
        for _ in 0..PROCESSES {
            if self.broken() {
                return;
            }
            match exit {
                Exit::Done(driven) if !driven.run.was_stopped() => {
                    let plan = driven.run.plan();
                    end::kills_in_time(&mut self.outside.lock(), plan, self.scenario);
                    let report = self.close(*driven);
                    if self.scenario.wait.is_none() {
                        end::no_false_alive(&mut self.outside.lock(), &report);
                    }
                    return self.afterwards(mode, &report).await;
                }
                Exit::TakenOver => {
                    mode = Mode::Contain;
                    let Some(next) = self.begin(mode) else { return };
                    run = next;
                    exit = self.drive(run.1, &run.0).await;
                }
                _ => exit = self.take_up(&run.0).await,
            }
        }
        self.outside.lock().watch.broken("everything_closes", || "no process ends it".to_owned());
    }

    /// All faults stop; what is held is restored, what is open is looked at once more.
    async fn afterwards(&mut self, mode: Mode, report: &Report) {
        self.calm_down();
        sleep(Duration::from_secs(600)).await;
        let proved = |one: &CredentialReport| {
            matches!(one.old.verdict, Verdict::Dead | Verdict::AlreadyDead)
        };
        let last = match report.credentials.iter().all(proved) {
            true => None,
            false => self.verify(&report.run).await,
        };
        end::of_all(self, mode, report, last.as_ref().unwrap_or(report));
        if mode != Mode::Rehearse && last.is_some() && !self.broken() {
            return self.contain_again().await;
        }
        // Every fourth: most of what a restore does is the same each time.
        if mode == Mode::Contain && self.scenario.seed.is_multiple_of(4) && !self.broken() {
            self.restore().await;
        }
    }

    fn calm_down(&mut self) {
        self.calm = true;
        let inner = &mut *self.outside.lock();
        inner.tell(|| "all faults stop".to_owned());
        for site in &mut inner.sites {
            site.manners.calm_down();
        }
    }

    fn options(&mut self, mode: Mode, history: &History) -> Options {
        self.runs += 1;
        self.outside.lock().totals.runs += 1;
        Options {
            run: format!("r{}", self.runs),
            installation: "lab".to_owned(),
            wait_ms: self.scenario.wait.filter(|_| !self.calm),
            revoke_only: mode == Mode::RevokeOnly,
            deliver: self.scenario.deliver && mode == Mode::Contain,
            revoke_strangers: self.scenario.revoke_strangers && mode.contains(),
            contained: history.contained.clone(),
            issued_before: history.issued.clone(),
            earlier: history.facts.clone(),
            ..Options::default()
        }
    }

    /// A new run, as the command begins one; none where no such plan is possible.
    fn begin(&mut self, mode: Mode) -> Option<(String, Driving)> {
        let roles = [ROLE.to_owned()];
        let history = History::of(&self.lab.state, mode, &roles);
        let options = self.options(mode, &history);
        let mut plan = self.bench.plan(mode, &options).ok()?;
        history.taken_into(&mut plan);
        let driving = self.drives(plan, &history)?;
        if mode.contains() {
            let mark = Mark { since: None, because: None, run: Some(driving.0.clone()) };
            let _ = self.lab.state.set_contained(ROLE, &mark);
        }
        Some(driving)
    }

    fn drives(&mut self, plan: Plan, history: &History) -> Option<(String, Driving)> {
        let state = &self.lab.state;
        let wall = self.outside.wall();
        let header = Header::of(&plan, wall).expect("a plan is JSON");
        self.full_disk(false);
        let journal = Journal::begin(state, &header, &history.adopted).expect("a journal");
        history.close_interrupted(state, wall);
        let locks = self.locks(&plan)?;
        let olds = self.olds(&plan);
        let inner = &mut *self.outside.lock();
        inner.totals.credentials += plan.credentials.len() as u64;
        inner.tell(|| format!("{} begins: {}", plan.run, plan.mode.word()));
        inner.watch.new_run(olds);
        inner.watch.process(&plan, &Default::default());
        inner.watch.expected = Some(BTreeMap::new());
        self.shadow = Some(Shadow::of(&plan));
        let (run, outside) = (plan.run.clone(), self.outside.clone());
        let driving: Driving = Box::pin(async move {
            let _locks = locks;
            let (_tell, told) = unbounded_channel();
            drive::drive(plan, journal, &outside, told, Nobody).await
        });
        Some((run, driving))
    }

    fn locks(&self, plan: &Plan) -> Option<Vec<RoleLock>> {
        let holder = Holder::here(&plan.run, plan.mode.word(), self.outside.wall());
        let roles: Vec<String> = plan.roles.iter().map(|role| role.name.clone()).collect();
        match self.lab.state.lock_all(&roles, &holder) {
            Ok(locks) => Some(locks),
            Err(error) => {
                let inner = &mut *self.outside.lock();
                inner.watch.broken("everything_closes", || format!("no lock: {error}"));
                None
            }
        }
    }

    /// What lies in each place is the old one.
    fn olds(&self, plan: &Plan) -> BTreeMap<String, String> {
        let inner = self.outside.lock();
        let old = |planned: &Planned| {
            let place = planned.places.values().next()?.to_string();
            Some((planned.id.clone(), inner.places.get(&place)?.clone()))
        };
        plan.credentials.iter().filter_map(old).collect()
    }

    /// Another process takes the run up where its journal ends.
    async fn take_up(&mut self, run: &str) -> Exit {
        self.full_disk(false);
        let (journal, header, events) =
            Journal::open(&self.lab.state, run).expect("a journal that opens");
        let plan = header.plan().expect("the plan of this release");
        let Some(locks) = self.locks(&plan) else { return Exit::Dead };
        {
            let unanswered = self.shadow.as_ref().map(Shadow::unanswered).unwrap_or_default();
            let inner = &mut *self.outside.lock();
            inner.tell(|| format!("{run} is taken up"));
            inner.watch.process(&plan, &unanswered);
            inner.watch.expected = Some(BTreeMap::new());
        }
        let outside = self.outside.clone();
        let driving: Driving = Box::pin(async move {
            let _locks = locks;
            let (_tell, told) = unbounded_channel();
            drive::resume(Run::new(plan), events, journal, &outside, told, Nobody).await
        });
        self.drive(driving, run).await
    }

    /// Lets a process run until it ends, one way or the other.
    async fn drive(&mut self, mut driving: Driving, run: &str) -> Exit {
        let deadline = Instant::now() + TOO_LONG;
        let mut taken_over: Option<Instant> = None;
        // Dies after so many polls more.
        let mut dying: Option<(u32, Write)> = None;
        loop {
            let blow = self.blows.front().map(|(at, _)| self.begun + Duration::from_millis(*at));
            let next = [blow, taken_over, self.full_until].into_iter().flatten().min();
            let wait = sleep_until(next.unwrap_or(deadline).min(deadline));
            tokio::pin!(wait);
            let polled = std::future::poll_fn(|cx| {
                // What was written since is read before anybody acts upon it.
                self.follow();
                let driven = driving.as_mut().poll(cx);
                if let Poll::Ready(driven) = driven {
                    return Poll::Ready(Some(driven));
                }
                if let Some((left, _)) = &mut dying {
                    if *left == 0 {
                        return Poll::Ready(None);
                    }
                    *left -= 1;
                }
                wait.as_mut().poll(cx).map(|()| None)
            })
            .await;
            match polled {
                Some(driven) => return self.ended(driven),
                None if self.broken() => return Exit::Dead,
                None => {}
            }
            if let Some((0, write)) = dying {
                drop(driving);
                self.crash(run, write);
                return if taken_over.is_some() { Exit::TakenOver } else { Exit::Dead };
            }
            let now = Instant::now();
            if now >= deadline {
                self.outside.lock().watch.broken("everything_closes", || format!("{run} hangs"));
                return Exit::Dead;
            }
            if self.full_until.is_some_and(|until| until <= now) {
                self.full_disk(false);
            }
            if taken_over.is_some_and(|until| until <= now) {
                drop(driving);
                self.crash(run, Write::Stands);
                return Exit::TakenOver;
            }
            if self.blows.front().is_some_and(|_| blow.is_some_and(|at| at <= now))
                && let Some((_, blow)) = self.blows.pop_front()
            {
                match blow {
                    Blow::Crash { polls, write } => dying = Some((polls, write)),
                    Blow::TakeOver if self.is_rehearsal() => {
                        self.outside.lock().totals.takeovers += 1;
                        let _ = self.lab.state.tell(run, &Message::TakeOver);
                        taken_over = Some(now + PATIENCE);
                    }
                    other => self.befalls(run, other),
                }
            }
        }
    }

    fn is_rehearsal(&self) -> bool {
        let shadow = self.shadow.as_ref();
        shadow.is_some_and(|shadow| shadow.run.plan().mode == Mode::Rehearse)
    }

    fn follow(&mut self) {
        if std::mem::take(&mut self.outside.lock().written) == 0 {
            return;
        }
        if let Some(shadow) = &mut self.shadow {
            shadow.follow(&self.lab.disk, &self.outside);
        }
    }

    fn ended(&mut self, driven: Result<Driven, DriveError>) -> Exit {
        match driven {
            Ok(driven) => {
                self.follow();
                if let Some(shadow) = &self.shadow {
                    shadow.ends(&driven, &self.outside);
                }
                Exit::Done(Box::new(driven))
            }
            Err(error) => {
                self.outside.lock().watch.broken("replay_equal", || error.to_string());
                Exit::Dead
            }
        }
    }

    /// The process is gone. What it was writing stands, or not.
    fn crash(&mut self, run: &str, write: Write) {
        let writes = self.outside.unfinished_writes();
        let torn = write == Write::Torn && !writes.is_empty();
        {
            let inner = &mut *self.outside.lock();
            inner.totals.crashes += 1;
            inner.tell(|| format!("{run} dies; {} writes under way: {write:?}", writes.len()));
            match write {
                _ if writes.is_empty() => {}
                Write::Stands => inner.totals.writes_stood += 1,
                Write::Torn => inner.totals.writes_torn += 1,
                Write::Lost => inner.totals.writes_lost += 1,
            }
        }
        if write != Write::Lost {
            let before = self.records(run);
            self.outside.lock().written += writes.len() as u64;
            for job in writes {
                job();
            }
            let after = self.records(run);
            if torn && after > before {
                self.lab.tear(run);
                if let Some(shadow) = &mut self.shadow {
                    shadow.torn(after - 1);
                }
            }
            self.follow();
        }
    }

    fn records(&self, run: &str) -> i64 {
        let count = "SELECT count(*) FROM record WHERE run = ?1";
        self.lab.disk.query_row(count, params![run], |row| row.get(0)).unwrap_or(0)
    }

    fn full_disk(&mut self, full: bool) {
        if !full && self.full_until.take().is_none() {
            return;
        }
        self.lab.full(full);
    }

    /// Something happens that the process itself does not notice at once.
    fn befalls(&mut self, run: &str, blow: Blow) {
        self.outside.lock().tell(|| format!("{blow:?}"));
        match blow {
            Blow::Stop => {
                self.outside.lock().totals.stops += 1;
                let _ = self.lab.state.tell(run, &Message::Stop);
            }
            Blow::Done(number) => {
                let plan = self.shadow.as_ref().map(|shadow| shadow.run.plan());
                let all = plan.map(|plan| plan.credentials.as_slice()).unwrap_or_default();
                if let Some(planned) = all.get(number % all.len().max(1)) {
                    let credential = planned.id.clone();
                    let _ = self.lab.state.tell(run, &Message::HandDone { credential });
                }
            }
            Blow::DiskFull(long) => {
                self.outside.lock().totals.disks_full += 1;
                // From here on a replay tells nothing of what the run does.
                self.outside.lock().watch.expected = None;
                self.full_until = Some(Instant::now() + Duration::from_millis(long));
                self.full_disk(true);
            }
            Blow::Second => self.second(),
            Blow::Attacker(site) => end::attacker(&self.outside, site),
            Blow::Responder(site) => end::responder(&self.outside, site),
            Blow::Clock(jump) => {
                let inner = &mut *self.outside.lock();
                inner.totals.clock_jumps += 1;
                inner.wall_is_off += jump;
            }
            Blow::Crash { .. } | Blow::TakeOver => {}
        }
    }

    /// Another process wants the role: it is told who has it.
    fn second(&mut self) {
        self.outside.lock().totals.seconds += 1;
        let holder = Holder::here("second", "contain", self.outside.wall());
        let taken = self.lab.state.lock_all(&[ROLE.to_owned()], &holder);
        if !matches!(taken, Err(LockError::Held { .. })) {
            let inner = &mut *self.outside.lock();
            inner.watch.broken("nothing_said_twice", || "two processes have one role".to_owned());
        }
    }

    fn close(&mut self, driven: Driven) -> Report {
        self.full_disk(false);
        let report = driven.close().expect("a journal that can be closed");
        self.outside.lock().tells(&report);
        report
    }

    /// `rotate verify RUN`, as the command does it.
    async fn verify(&mut self, run: &str) -> Option<Report> {
        let past = drive::Past::read(&self.lab.state, run)?;
        let mut history = History::default();
        history.adopt(&past, true);
        let options = self.options(Mode::Verify, &history);
        let plan = Plan::verify(past.run.plan(), &history.facts, &options);
        let olds = self.outside.lock().watch.olds.clone();
        drop(past);
        let (run, driving) = self.drives(plan, &history)?;
        self.outside.lock().watch.olds = olds;
        self.carried_through(driving, &run).await
    }

    /// What was left alive by the first is ended by a second, now that nobody is in its way.
    async fn contain_again(&mut self) {
        let first = self.outside.lock().watch.olds.clone();
        let Some((run, driving)) = self.begin(Mode::Contain) else { return };
        let before = first.iter().map(|(id, old)| (format!("{id}, the first"), old.clone()));
        self.outside.lock().watch.olds.extend(before);
        if self.carried_through(driving, &run).await.is_some() {
            end::of_second(self);
        }
    }

    async fn restore(&mut self) {
        let Some((run, driving)) = self.begin(Mode::Restore) else { return };
        if let Some(report) = self.carried_through(driving, &run).await {
            end::of_restore(self, &report);
        }
    }

    async fn carried_through(&mut self, driving: Driving, run: &str) -> Option<Report> {
        self.blows.clear();
        let exit = self.drive(driving, run).await;
        match exit {
            Exit::Done(driven) if !self.broken() => Some(self.close(*driven)),
            _ => None,
        }
    }
}
