//! Everything outside a run: providers, places, the disk and the clock on the wall. It makes the
//! calls that the loop sends, in virtual time, and knows what really came of each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use rotate::engine::call::{
    Answer, Call, CallId, Delivery, Fault, Holding, Liveness, PlaceState, Placed, Reason, Request,
    Task, Values, Verb, Wall,
};
use rotate::engine::report::Report;
use rotate::engine::search::Scanned;
use rotate::secret::{FingerprintKey, Parts, Secret};
use rotate::vault::Vault;
use rotate::world::{Job, Made, World};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::asked::Asked;
use super::scenario::{Ms, Outage};
use super::site::Site;
use super::totals::Totals;
use super::watch::Watch;

/// 2026-11-22, noon: any day does.
const NOON: i64 = 1_795_348_800_000;

#[derive(Clone)]
pub(crate) struct Outside {
    inner: Arc<Mutex<Inner>>,
    fingerprints: Arc<FingerprintKey>,
    disk: Ms,
}

pub(crate) struct Inner {
    pub(crate) sites: Vec<Site>,
    pub(crate) places: BTreeMap<String, String>,
    pub(crate) dice: StdRng,
    /// How far the clock of this host is off.
    pub(crate) wall_is_off: i64,
    pub(crate) watch: Watch,
    pub(crate) totals: Totals,
    /// What happened, for people; kept where somebody will read it.
    pub(crate) transcript: Option<Vec<String>>,
    jobs: VecDeque<(u64, Job)>,
    jobs_begun: u64,
    /// Writes that somebody may not have read yet.
    pub(crate) written: u64,
    begun: Instant,
}

impl Inner {
    pub(crate) fn now(&self) -> Ms {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Now, and as a provider writes it.
    pub(crate) fn stamp(&self) -> (Ms, String) {
        let now = self.now();
        let at = jiff::Timestamp::from_millisecond(NOON + now.cast_signed());
        (now, at.map(|at| at.to_string()).unwrap_or_default())
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{now:>8} ms  {}", line()));
        }
    }

    /// What a run says at its end.
    pub(crate) fn tells(&mut self, report: &Report) {
        self.tell(|| format!("{} ends: exit code {}", report.run, report.exit_code));
        for one in &report.credentials {
            let (old, new) = (&one.old, &one.new);
            self.tell(|| {
                format!("   {}: {:?}, {:?}: {}", one.id, old.verdict, old.revoke, old.why)
            });
            self.tell(|| format!("   {}: new {:?}: {:?}", one.id, new.state, new.why));
            for todo in &one.todo {
                self.tell(|| format!("   {}: todo: {}: {}", one.id, todo.what, todo.action));
            }
        }
    }

    /// Whether any provider still accepts these bytes.
    pub(crate) fn lives(&self, secret: &str) -> bool {
        let now = self.now();
        self.sites.iter().any(|site| site.lives(secret, now))
    }
}

impl Outside {
    pub(crate) fn new(
        sites: Vec<Site>,
        dice: StdRng,
        disk: Ms,
        fingerprints: FingerprintKey,
        tells: bool,
    ) -> Self {
        let inner = Inner {
            sites,
            places: BTreeMap::new(),
            dice,
            wall_is_off: 0,
            watch: Watch::default(),
            totals: Totals::default(),
            transcript: tells.then(Vec::new),
            jobs: VecDeque::new(),
            jobs_begun: 0,
            written: 0,
            begun: Instant::now(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), fingerprints: Arc::new(fingerprints), disk }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writes that a dying process had begun, oldest first.
    pub(crate) fn unfinished_writes(&self) -> Vec<Job> {
        self.lock().jobs.drain(..).map(|(_, job)| job).collect()
    }

    fn holding(&self, parts: &Parts) -> Holding {
        Holding { fingerprint: self.fingerprints.of(parts), public: parts.public.clone() }
    }

    /// The call reaches the provider after its way there, and whoever sent it may be dead by then.
    async fn ask(&self, request: &Request, vault: &Vault) -> Made {
        let (asked, way) = {
            let mut inner = self.lock();
            let asked = Asked::of(request, vault);
            let way = Way::of(&mut inner, &asked, request.deadline_ms);
            (asked, way)
        };
        let deadline = Duration::from_millis(request.deadline_ms);
        let verb = request.at.verb;
        let (done, answer) = oneshot::channel();
        if let Some(there) = way.there {
            let outside = self.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(there)).await;
                let came = asked.arrives(&mut outside.lock());
                // Whoever asked is gone: it happened all the same.
                drop(done.send(came));
            });
        }
        let answered = timeout(deadline, async {
            match way.back {
                Ok(back) => match answer.await {
                    Ok(came) => {
                        sleep(Duration::from_millis(back)).await;
                        came
                    }
                    Err(_) => std::future::pending().await,
                },
                Err(Lost { after, fault }) => {
                    sleep(Duration::from_millis(after)).await;
                    (unclear(verb, fault), None)
                }
            }
        });
        let (mut answer, brought) = answered
            .await
            .unwrap_or_else(|_| (unclear(verb, Fault::Unknown(Reason::Timeout.into())), None));
        let brought = brought.map(parts);
        if let (Answer::Issued(holding), Some(parts)) = (&mut answer, &brought) {
            holding.fingerprint = self.fingerprints.of(parts);
        }
        Made { answer, brought }
    }

    fn read(&self, place: Option<String>) -> Made {
        let found = place.and_then(|place| self.lock().places.get(&place).cloned());
        match found {
            Some(secret) => {
                let parts = parts(secret);
                Made { answer: Answer::Held(self.holding(&parts)), brought: Some(parts) }
            }
            None => Answer::Fault(Fault::Refused(Reason::Unreadable.into())).into(),
        }
    }

    fn generate(&self) -> Made {
        let mut inner = self.lock();
        let number: u64 = inner.dice.random();
        drop(inner);
        let parts = parts(format!("chosen-{number:016x}"));
        Made { answer: Answer::Held(self.holding(&parts)), brought: Some(parts) }
    }

    fn deliver(&self, delivery: &Delivery, vault: &Vault) -> Answer {
        let bytes = |party| vault.parts(party).ok().map(|parts| text(&parts));
        let (Some(new), old) = (bytes(&delivery.new), delivery.old.as_ref().and_then(bytes)) else {
            return Answer::Fault(Fault::Refused(Reason::MissingValue.into()));
        };
        let mut inner = self.lock();
        let mut placed = Vec::new();
        for place in delivery.places.iter().flat_map(BTreeMap::values).map(ToString::to_string) {
            let holds = inner.places.get(&place);
            if old.is_some() && holds.is_some_and(|it| Some(it) != old.as_ref() && *it != new) {
                return Answer::Fault(Fault::Refused(Reason::PlaceChanged.into()));
            }
            inner.tell(|| format!("{place} now holds {new}"));
            inner.places.insert(place.clone(), new.clone());
            let state = match (delivery.read_on_use, delivery.reload.is_empty()) {
                (true, _) => PlaceState::InUse,
                (false, false) => PlaceState::Reloaded,
                (false, true) => PlaceState::ReadBack,
            };
            placed.push(Placed { to: place, state });
        }
        drop(inner);
        Answer::Placed(placed)
    }
}

#[async_trait]
impl World for Outside {
    async fn make(&self, id: CallId, call: &Call, vault: &Vault) -> Made {
        {
            let mut inner = self.lock();
            let inner = &mut *inner;
            let now = inner.now();
            inner.totals.calls += 1;
            inner.tell(|| format!("-> {}", super::watch::line(id, call)));
            inner.watch.leaves(now, id, call, vault, &inner.sites);
        }
        let made = match &call.task {
            Task::Ask(request) => self.ask(request, vault).await,
            local => {
                // A disk, or a command: a moment before, and a moment after.
                sleep(Duration::from_millis(3)).await;
                let made = match local {
                    Task::Read { parts, .. } => {
                        self.read(parts.values().next().map(ToString::to_string))
                    }
                    Task::Generate { .. } => self.generate(),
                    Task::Deliver(delivery) => self.deliver(delivery, vault).into(),
                    Task::Preserve { .. } => Answer::Saved {
                        archive: "/evidence.age".to_owned(),
                        sha256: "ab".to_owned(),
                        gaps: Vec::new(),
                    }
                    .into(),
                    Task::Scan { .. } => Answer::Scanned(Scanned::default()).into(),
                    _ => Answer::Done.into(),
                };
                sleep(Duration::from_millis(3)).await;
                made
            }
        };
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.tell(|| format!("<- #{} {}", id.0, answer_line(&made.answer)));
        inner.watch.answered(call, &made.answer);
        made
    }

    fn wall(&self) -> Wall {
        let inner = self.lock();
        Wall(NOON + inner.now().cast_signed() + inner.wall_is_off)
    }

    fn beside(&self, job: Job) {
        let mut inner = self.lock();
        inner.jobs_begun += 1;
        let number = inner.jobs_begun;
        inner.jobs.push_back((number, job));
        drop(inner);
        let (outside, disk) = (self.clone(), Duration::from_millis(self.disk));
        tokio::spawn(async move {
            sleep(disk).await;
            let mut inner = outside.lock();
            // Not there any more: its process died before it was done.
            let at = inner.jobs.iter().position(|(of, _)| *of == number);
            let job = at.and_then(|at| inner.jobs.remove(at));
            drop(inner);
            if let Some((_, job)) = job {
                job();
                outside.lock().written += 1;
            }
        });
    }
}

/// How a call travels.
struct Way {
    /// It arrives after so long; or never.
    there: Option<Ms>,
    back: Result<Ms, Lost>,
}

/// No answer will come; this is what is heard instead.
struct Lost {
    after: Ms,
    fault: Fault,
}

impl Way {
    fn of(inner: &mut Inner, asked: &Asked, deadline: Ms) -> Self {
        let now = inner.now();
        let Inner { sites, dice, totals, .. } = inner;
        let Some(site) = sites.get(asked.site) else {
            let fault = Fault::NotSent(Reason::Connect.into());
            return Self { there: None, back: Err(Lost { after: 1, fault }) };
        };
        let manners = &site.manners;
        let (least, most) = manners.latency;
        let there = dice.random_range(least..=most).max(1);
        let back = dice.random_range(least..=most).max(1);
        let mut chance = |of: u32| dice.random_range(0..1_000) < of;
        if site.down(now) == Some(Outage::Unreachable) {
            totals.unreachable += 1;
            let fault = Fault::NotSent(Reason::Connect.into());
            return Self { there: None, back: Err(Lost { after: there, fault }) };
        }
        let lost = || {
            let fault = Fault::Unknown(Reason::Reset.into());
            Err(Lost { after: there + back, fault })
        };
        if manners.hangs == Some(asked.verb) {
            totals.hung += 1;
            let fault = Fault::Unknown(Reason::Timeout.into());
            return Self { there: None, back: Err(Lost { after: deadline, fault }) };
        }
        if chance(manners.lose_calls) {
            totals.calls_lost += 1;
            return Self { there: None, back: lost() };
        }
        if chance(manners.lose_answers) {
            totals.answers_lost += 1;
            return Self { there: Some(there), back: lost() };
        }
        if chance(manners.late) {
            totals.late += 1;
            return Self { there: Some(deadline + there), back: Ok(back) };
        }
        Self { there: Some(there), back: Ok(back) }
    }
}

pub(crate) fn unclear(verb: Verb, fault: Fault) -> Answer {
    match (verb, fault) {
        (Verb::Probe, Fault::NotSent(why) | Fault::Unknown(why) | Fault::Refused(why)) => {
            Answer::Saw(Liveness::Unclear(why), Values::new())
        }
        (_, fault) => Answer::Fault(fault),
    }
}

/// The parts of a credential of one secret.
fn parts(secret: String) -> Parts {
    Parts { public: Values::new(), secret: [("secret".to_owned(), Secret::from(secret))].into() }
}

/// The secret of a credential that has one.
pub(crate) fn text(parts: &Parts) -> String {
    let bytes = parts.secret.get("secret").map(Secret::expose).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn answer_line(answer: &Answer) -> String {
    let mut line = json!(answer).to_string();
    if line.len() > 160 {
        line.truncate((0..=160).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0));
        line.push('…');
    }
    line
}
