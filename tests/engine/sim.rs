//! The loop of a run, in virtual time, with everything that must hold asked after every event.

use std::collections::{BTreeMap, BTreeSet};

use rotate::engine::call::{
    Answer, Call, CallId, Event, Fault, Reason, SecretId, Subject, Task, Time, Told, Verb, Wall,
    What,
};
use rotate::engine::plan::{Phase, Plan};
use rotate::engine::report::{Mode, Report, Verdict};
use rotate::engine::run::Run;

use crate::bench::Bench;
use crate::server::Server;

/// A run must be through by then; nothing in these tests waits longer than its hour.
const TOO_LATE: Time = Time(6 * 3_600_000);

pub(crate) struct Sim {
    pub(crate) run: Run,
    pub(crate) server: Server,
    pub(crate) now: Time,
    pub(crate) events: Vec<(Time, Event)>,
    /// Every call, as a line: when, what, of whom, and who acts.
    pub(crate) lines: Vec<String>,
    pub(crate) calls: Vec<(Time, CallId, Call)>,
    pending: BTreeMap<(Time, CallId), Answer>,
    ticks: u32,
    watch: Watch,
}

/// What has been seen of calls that make something.
#[derive(Default)]
struct Watch {
    making: BTreeSet<Subject>,
    lost: BTreeSet<Subject>,
    old: BTreeMap<Subject, u64>,
}

impl Sim {
    pub(crate) fn of(bench: &Bench, plan: Plan) -> Self {
        let mut server = Server::new(bench.capabilities.clone());
        server.put("env:ROOT", "root");
        for planned in &plan.credentials {
            let team = planned.vars.get("team").and_then(|team| team.as_str());
            let team = team.unwrap_or(&planned.id).to_owned();
            for place in planned.places.values() {
                server.put(&place.to_string(), &team);
            }
        }
        Self::with(server, plan)
    }

    pub(crate) fn contain(bench: &Bench) -> Self {
        Self::of(bench, bench.contain())
    }

    pub(crate) fn rehearse(bench: &Bench) -> Self {
        Self::of(bench, bench.rehearse().unwrap())
    }

    /// Another run at the same server.
    pub(crate) fn with(mut server: Server, plan: Plan) -> Self {
        server.grows_old();
        let watch = Watch {
            old: plan
                .credentials
                .iter()
                .zip(0..)
                .filter_map(|(planned, number)| {
                    let place = planned.places.values().next()?.to_string();
                    Some((Subject(number), *server.places.get(&place)?))
                })
                .collect(),
            ..Watch::default()
        };
        Self {
            now: Time(0),
            run: Run::new(plan),
            server,
            events: Vec::new(),
            lines: Vec::new(),
            calls: Vec::new(),
            pending: BTreeMap::new(),
            ticks: 0,
            watch,
        }
    }

    /// The old secret of a credential.
    pub(crate) fn old(&self, name: &str) -> u64 {
        self.watch.old[&self.subject(name)]
    }

    pub(crate) fn subject(&self, name: &str) -> Subject {
        let all = &self.run.plan().credentials;
        let at = all.iter().position(|planned| planned.id.ends_with(&format!("/{name}")));
        Subject(u32::try_from(at.expect("a credential of that name")).unwrap())
    }

    pub(crate) fn start(&mut self) {
        if self.events.is_empty() {
            self.happen(What::Started);
        }
    }

    /// To the end.
    pub(crate) fn finish(&mut self) -> Report {
        self.until(TOO_LATE);
        assert!(self.run.is_done(), "not through after {} ms\n{}", self.now.0, self.told());
        self.invariants();
        self.run.report()
    }

    /// To a number of events, or to the end if that comes first.
    pub(crate) fn until_event(&mut self, count: usize) {
        self.go(TOO_LATE, count);
    }

    /// To a time, or to the end if that comes first.
    pub(crate) fn until(&mut self, end: Time) {
        self.go(end, usize::MAX);
    }

    fn go(&mut self, end: Time, count: usize) {
        self.start();
        while !self.run.is_done() && self.events.len() < count {
            let answer = self.pending.keys().next().map(|(at, _)| *at);
            let wake = self.run.wake();
            let Some(at) = [answer, wake].into_iter().flatten().min() else {
                panic!("stalled at {} ms: nothing under way, no wake\n{}", self.now.0, self.told());
            };
            if at > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(at);
            match self.pending.first_key_value().map(|(key, _)| *key) {
                Some(key) if key.0 <= self.now => {
                    let answer = self.pending.remove(&key).unwrap();
                    self.happen(What::Answered(key.1, answer));
                }
                _ => {
                    self.ticks += 1;
                    assert!(self.ticks < 200_000, "a storm of ticks\n{}", self.told());
                    self.happen(What::Tick);
                }
            }
        }
    }

    pub(crate) fn tell(&mut self, told: Told) {
        self.start();
        self.happen(What::Told(told));
    }

    /// One event: written, believed, and the calls that follow are made.
    pub(crate) fn happen(&mut self, what: What) {
        self.server.now = self.now;
        self.watch_answer(&what);
        let event = Event { wall: Wall(1_700_000_000_000 + self.now.0 as i64), what };
        self.run.handle(self.now, event.clone()).expect("a legal event");
        self.events.push((self.now, event));
        while let Some((id, call)) = self.run.poll() {
            self.watch_call(&call);
            self.lines.push(line(self.now, &call));
            let (delay, answer) = self.server.answer(id, &call, self.now);
            self.calls.push((self.now, id, call));
            self.pending.insert((self.now.plus(delay.max(1)), id), answer);
        }
        self.rehearsal_never_without_a_key();
    }

    /// The process dies, with everything that is under way, and another takes the run up. What
    /// was under way has happened or not: the server knows.
    pub(crate) fn crash(&mut self) {
        let mut again = Run::new(self.run.plan().clone());
        for (at, event) in self.events.clone() {
            again.handle(at, event).expect("a journal replays");
            while again.poll().is_some() {}
        }
        assert!(again == self.run, "a replay comes to the same run");
        let text = serde_json::to_string(&again).unwrap();
        let back: Run = serde_json::from_str(&text).unwrap();
        assert!(back == again, "a run goes through JSON");
        self.run = back;
        let lost = self.run.unanswered();
        self.pending.clear();
        self.watch.making.clear();
        self.happen(What::Resumed);
        for id in lost {
            let answer = Answer::Fault(Fault::Unknown(Reason::Crashed.into()));
            self.happen(What::Answered(id, answer));
        }
    }

    pub(crate) fn report(&self) -> Report {
        self.run.report()
    }

    pub(crate) fn verdict(&self, name: &str) -> Verdict {
        self.report().credentials[self.subject(name).0 as usize].old.verdict
    }

    /// What is told of a failing test.
    pub(crate) fn told(&self) -> String {
        let from = self.lines.len().saturating_sub(60);
        self.lines[from..].join("\n")
    }

    /// The verbs sent for a credential, in order, a repeated one once.
    pub(crate) fn verbs(&self, name: &str) -> Vec<String> {
        let wanted = self.subject(name);
        let mut verbs: Vec<String> = Vec::new();
        for (_, _, call) in self.calls.iter().filter(|(_, _, call)| call.subject == Some(wanted)) {
            let verb = word(call);
            if verbs.last() != Some(&verb) {
                verbs.push(verb);
            }
        }
        verbs
    }

    /// When a verb was first sent for a credential.
    pub(crate) fn first(&self, verb: Verb, name: &str) -> Option<Time> {
        self.times(verb, name).first().copied()
    }

    pub(crate) fn times(&self, verb: Verb, name: &str) -> Vec<Time> {
        let wanted = self.subject(name);
        let of = self
            .calls
            .iter()
            .filter(|(_, _, call)| call.subject == Some(wanted) && verb_of(call) == Some(verb));
        of.map(|(at, ..)| *at).collect()
    }

    pub(crate) fn calls_of(&self, verb: Verb) -> usize {
        self.calls.iter().filter(|(.., call)| verb_of(call) == Some(verb)).count()
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.calls.iter().filter(|(.., call)| matches!(call.task, Task::Deliver(_))).count()
    }

    fn watch_call(&mut self, call: &Call) {
        let Some(subject) = call.subject else { return };
        let makes = matches!(verb_of(call), Some(Verb::Issue | Verb::Roll));
        if makes {
            let planned = self.run.plan().planned(subject).unwrap();
            let can = &self.run.plan().kind(planned.kind).unwrap().can;
            // A person is asked once more for what no list shows.
            let asks = call.asks_a_person() && can.ways(Verb::Find).is_empty();
            let again = match &call.task {
                Task::Ask(request) => asks || self.server.step(request).again,
                _ => false,
            };
            assert!(self.watch.making.insert(subject), "two at once\n{}", self.told());
            assert!(
                again || !self.watch.lost.contains(&subject),
                "sent again without looking\n{}",
                self.told()
            );
        }
        if let Task::Deliver(delivery) = &call.task {
            let new = self.server.secret_of(&delivery.new).expect("held");
            assert!(self.server.lives(new), "what is delivered is live\n{}", self.told());
            let planned = self.run.plan().planned(subject).unwrap();
            assert!(planned.deliver, "a contained role never receives the new one");
        }
    }

    fn watch_answer(&mut self, what: &What) {
        let What::Answered(id, answer) = what else { return };
        let Some((_, _, call)) = self.calls.iter().find(|(_, known, _)| known == id) else {
            return;
        };
        let Some(subject) = call.subject else { return };
        match verb_of(call) {
            Some(Verb::Issue | Verb::Roll) => {
                self.watch.making.remove(&subject);
                if matches!(answer, Answer::Fault(Fault::Unknown(_))) {
                    self.watch.lost.insert(subject);
                }
            }
            Some(Verb::Find) if matches!(answer, Answer::Found { complete: true, .. }) => {
                self.watch.lost.remove(&subject);
            }
            _ => {}
        }
    }

    /// What must hold of the report at any time.
    pub(crate) fn invariants(&self) {
        let report = self.run.report();
        for (number, one) in (0..).zip(&report.credentials) {
            let Some(old) = self.watch.old.get(&Subject(number)) else { continue };
            // What a restore finds in the place need not be the old one.
            if self.run.plan().mode == Mode::Restore {
                continue;
            }
            if matches!(one.old.verdict, Verdict::Dead | Verdict::AlreadyDead) {
                assert!(!self.server.lives(*old), "{} is not dead\n{}", one.id, self.told());
            }
        }
        let plan = self.run.plan();
        let kept = self.run.secrets_no_longer_needed();
        let held: BTreeSet<SecretId> = self
            .run
            .facts()
            .into_values()
            .filter_map(|it| it.new)
            .flat_map(|it| it.secrets)
            .collect();
        assert!(kept.iter().all(|id| !held.contains(id)), "a new one is never forgotten");
        assert_eq!(plan.credentials.len(), self.run.facts().len());
    }

    fn rehearsal_never_without_a_key(&self) {
        let plan = self.run.plan();
        if plan.mode != Mode::Rehearse {
            return;
        }
        for planned in plan.credentials.iter().filter(|it| it.phases.contains(&Phase::Revoke)) {
            for place in planned.places.values() {
                let holds = self.server.places[&place.to_string()];
                assert!(
                    self.server.lives(holds),
                    "{} has no working credential at {} ms\n{}",
                    planned.id,
                    self.now.0,
                    self.told()
                );
            }
        }
    }

    /// Nothing of this run lives at the server that is neither the new one nor named.
    pub(crate) fn no_orphan(&self) {
        let report = self.run.report();
        for key in &self.server.keys {
            let Some(label) = key.label.as_deref().filter(|it| it.starts_with("rotate-")) else {
                continue;
            };
            let known = report.credentials.iter().any(|one| {
                one.new.handle.as_deref() == Some(&key.handle)
                    || one.orphans.iter().any(|orphan| orphan.handle == key.handle)
                    || one.strangers.iter().any(|stranger| stranger.handle == key.handle)
                    || one.todo.iter().any(|todo| todo.action.contains("begins with rotate-"))
            });
            assert!(!self.server.lives(key.secret) || known, "{label} lives\n{}", self.told());
        }
    }
}

pub(crate) fn verb_of(call: &Call) -> Option<Verb> {
    match &call.task {
        Task::Ask(request) => Some(request.at.verb),
        _ => None,
    }
}

fn word(call: &Call) -> String {
    match &call.task {
        Task::Read { .. } => "read".to_owned(),
        Task::Generate { .. } => "generate".to_owned(),
        Task::Deliver(_) => "deliver".to_owned(),
        Task::Stop { .. } => "stop".to_owned(),
        Task::Preserve { .. } => "preserve".to_owned(),
        Task::Scan { .. } => "scan".to_owned(),
        Task::Ask(request) => {
            let verb = format!("{:?}", request.at.verb).to_lowercase();
            let it = match request.at.verb {
                Verb::Probe => request.parties.get("it"),
                _ => None,
            };
            match it {
                Some(it) if it.made_up => "probe made-up".to_owned(),
                Some(_) => format!("probe {}", it_is(call)),
                None => verb,
            }
        }
    }
}

/// Which one a probe uses, by the account it is counted under.
fn it_is(call: &Call) -> &str {
    let acting = call.account.split_once('/').map_or("", |(_, acting)| acting);
    acting.split_once(':').map_or("control", |(which, _)| which)
}

fn line(now: Time, call: &Call) -> String {
    let subject = call.subject.map_or_else(String::new, |subject| format!(" #{}", subject.0));
    format!("{:>8} ms {}{subject} as {}", now.0, word(call), call.account)
}
