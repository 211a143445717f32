//! A story, made from a number: who holds what, how each provider behaves, and what befalls it.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rotate::engine::call::Verb;
use rotate::engine::report::Mode;

/// Milliseconds of run time.
pub(crate) type Ms = u64;

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) deliver: bool,
    pub(crate) revoke_strangers: bool,
    pub(crate) wait: Option<Ms>,
    /// The admin of the first provider is a credential of the role.
    pub(crate) burned_admin: bool,
    pub(crate) sites: Vec<Manners>,
    pub(crate) credentials: Vec<Entry>,
    /// How long the disk takes for one write.
    pub(crate) disk: Ms,
    pub(crate) blows: Vec<(Ms, Blow)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) site: usize,
    /// A role outside the run holds it too.
    pub(crate) shared: bool,
}

/// How a provider behaves, until all faults stop.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Shortest and longest way of a call there, and as long back.
    pub(crate) latency: (Ms, Ms),
    /// So many of a thousand calls get lost on their way.
    pub(crate) lose_calls: u32,
    /// So many of a thousand are done, and their answers get lost.
    pub(crate) lose_answers: u32,
    /// So many of a thousand are answered after nobody waits any more.
    pub(crate) late: u32,
    /// A revoked one is accepted everywhere for so long.
    pub(crate) lag: Ms,
    /// Then its replicas disagree for so long.
    pub(crate) flaps: Ms,
    /// Revocations are accepted, and nothing happens.
    pub(crate) lies: bool,
    /// A made-up one is accepted like any other.
    pub(crate) blind: bool,
    pub(crate) outage: Option<(Ms, Ms, Outage)>,
    /// Calls are told to wait, for so long if it says so.
    pub(crate) throttles: Option<(Ms, Ms, Option<Ms>)>,
    /// What is new or gone shows in lists only after so long.
    pub(crate) list_lag: Ms,
    /// A new one gets the handle of the one it replaces.
    pub(crate) reuses_handles: bool,
    pub(crate) refuses: Option<Verb>,
    pub(crate) hangs: Option<Verb>,
    pub(crate) in_flight: u32,
    /// Revocations in two seconds.
    pub(crate) revokes: Option<u32>,
}

/// What a provider says to everybody while it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Its own refusal, by name.
    RefusesAll,
    /// A page that says nothing.
    BlockPage,
    /// Nothing: no connection.
    Unreachable,
}

/// What befalls a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The process dies after so many more polls; what it was writing stands, stands torn, or not.
    Crash { polls: u32, write: Write },
    /// A person asks it to stop.
    Stop,
    /// A person says that a step is done.
    Done(usize),
    /// The disk is full for so long.
    DiskFull(Ms),
    /// A contain wants the role that is being rehearsed.
    TakeOver,
    /// Another process wants the same role.
    Second,
    /// A key is minted with the first burned one, if it still works.
    Attacker(usize),
    /// Somebody else at work on the same account makes a key of their own.
    Responder(usize),
    /// The clock on the wall jumps.
    Clock(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Stands,
    Torn,
    Lost,
}

/// Kinds that a rehearsal can carry through by itself, and one more for a contain.
const KINDS: [&str; 11] = [
    "key", "nameless", "password", "rolling", "team-key", "pair", "grant", "minter", "refresh",
    "parent", "token",
];

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let dice = &mut dice;
        let mode = match dice.random_range(0..10) {
            0..6 => Mode::Contain,
            6 => Mode::RevokeOnly,
            _ => Mode::Rehearse,
        };
        let sites: Vec<Manners> =
            (0..dice.random_range(1..=3)).map(|_| Manners::of(dice)).collect();
        let count = match dice.random_range(0..1_000) {
            0..800 => dice.random_range(1..=2),
            800..985 => dice.random_range(3..=7),
            985..999 => dice.random_range(8..=30),
            _ => dice.random_range(30..=200),
        };
        let kinds = if mode == Mode::Rehearse { &KINDS[..10] } else { &KINDS[..] };
        let entry = |dice: &mut StdRng| Entry {
            kind: kinds.choose(dice).copied().unwrap_or("key"),
            site: dice.random_range(0..sites.len()),
            shared: dice.random_ratio(1, 8),
        };
        let credentials = (0..count).map(|_| entry(dice)).collect();
        let mut blows: Vec<(Ms, Blow)> = (0..dice.random_range(0..4))
            .map(|_| (when(dice), Blow::of(dice, mode, sites.len())))
            .collect();
        blows.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            mode,
            deliver: dice.random(),
            revoke_strangers: dice.random_ratio(1, 5),
            wait: dice.random_ratio(1, 8).then(|| dice.random_range(1_000..120_000)),
            burned_admin: mode != Mode::Rehearse && dice.random_ratio(1, 4),
            credentials,
            disk: *[0, 1, 5, 40].choose(dice).unwrap_or(&1),
            sites,
            blows,
        }
    }

    /// The same story with less in it, simplest first.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            all.push(smaller);
        };
        let half = self.credentials.len() / 2;
        if half > 0 {
            with(&|it| it.credentials.truncate(half));
            with(&|it| drop(it.credentials.drain(..half)));
        }
        if (2..12).contains(&self.credentials.len()) {
            for at in 0..self.credentials.len() {
                with(&|it| {
                    it.credentials.remove(at);
                });
            }
        }
        for at in 0..self.blows.len() {
            with(&|it| {
                it.blows.remove(at);
            });
        }
        if self.burned_admin {
            with(&|it| it.burned_admin = false);
        }
        if self.revoke_strangers {
            with(&|it| it.revoke_strangers = false);
        }
        if self.wait.is_some() {
            with(&|it| it.wait = None);
        }
        if self.disk > 0 {
            with(&|it| it.disk = 0);
        }
        for at in 0..self.credentials.len().min(12) {
            if self.credentials[at].shared {
                with(&|it| it.credentials[at].shared = false);
            }
        }
        for at in 0..self.sites.len() {
            for calmer in self.sites[at].calmer() {
                with(&|it| it.sites[at] = calmer.clone());
            }
        }
        all
    }
}

/// Most things happen while a run is at its busiest.
fn when(dice: &mut StdRng) -> Ms {
    match dice.random_range(0..10) {
        0..6 => dice.random_range(0..3_000),
        6..9 => dice.random_range(0..30_000),
        _ => dice.random_range(0..200_000),
    }
}

impl Manners {
    /// One that does everything at once and right.
    pub(crate) const CALM: Self = Self {
        latency: (20, 20),
        lose_calls: 0,
        lose_answers: 0,
        late: 0,
        lag: 0,
        flaps: 0,
        lies: false,
        blind: false,
        outage: None,
        throttles: None,
        list_lag: 0,
        reuses_handles: false,
        refuses: None,
        hangs: None,
        in_flight: 4,
        revokes: None,
    };

    fn of(dice: &mut StdRng) -> Self {
        if dice.random_ratio(1, 5) {
            return Self::CALM;
        }
        let verbs = [Verb::Find, Verb::Issue, Verb::Revoke, Verb::Evict, Verb::Probe];
        let verb = |dice: &mut StdRng, of: u32| {
            dice.random_ratio(1, of).then(|| *verbs.choose(dice).unwrap_or(&Verb::Find))
        };
        let rare = |dice: &mut StdRng, of: u32, most: u32| {
            if dice.random_ratio(1, of) { dice.random_range(0..most) } else { 0 }
        };
        let long = |dice: &mut StdRng, of: u32, most: Ms| {
            if dice.random_ratio(1, of) { dice.random_range(0..most) } else { 0 }
        };
        let fast = dice.random_range(1..400);
        let span = |dice: &mut StdRng, longest: Ms| {
            let from = when(dice);
            (from, from + dice.random_range(1..longest))
        };
        Self {
            latency: (fast, fast + long(dice, 3, 3_000)),
            lose_calls: rare(dice, 3, 200),
            lose_answers: rare(dice, 3, 300),
            late: rare(dice, 6, 100),
            lag: long(dice, 2, 90_000),
            // Below the ten seconds that the lab's file says are held.
            flaps: long(dice, 2, 9_000),
            lies: dice.random_ratio(1, 10),
            blind: dice.random_ratio(1, 20),
            outage: dice.random_ratio(1, 4).then(|| {
                let (from, to) = span(dice, 60_000);
                let how = [Outage::RefusesAll, Outage::BlockPage, Outage::Unreachable];
                (from, to, *how.choose(dice).unwrap_or(&Outage::BlockPage))
            }),
            throttles: dice.random_ratio(1, 6).then(|| {
                let (from, to) = span(dice, 20_000);
                let says = dice.random::<bool>();
                (from, to, says.then(|| dice.random_range(0..20_000)))
            }),
            list_lag: long(dice, 3, 12_000),
            reuses_handles: dice.random_ratio(1, 12),
            refuses: verb(dice, 8),
            hangs: verb(dice, 12),
            in_flight: dice.random_range(1..6),
            revokes: dice.random_ratio(1, 4).then(|| dice.random_range(1..4)),
        }
    }

    fn calmer(&self) -> Vec<Self> {
        let calm = Self::CALM;
        let mut all = Vec::new();
        let mut with = |differs: bool, change: &dyn Fn(&mut Self)| {
            if differs {
                let mut calmer = self.clone();
                change(&mut calmer);
                all.push(calmer);
            }
        };
        with(self.latency != calm.latency, &|it| it.latency = calm.latency);
        with(self.lose_calls > 0, &|it| it.lose_calls = 0);
        with(self.lose_answers > 0, &|it| it.lose_answers = 0);
        with(self.late > 0, &|it| it.late = 0);
        with(self.lag > 0, &|it| it.lag = 0);
        with(self.flaps > 0, &|it| it.flaps = 0);
        with(self.lies, &|it| it.lies = false);
        with(self.blind, &|it| it.blind = false);
        with(self.outage.is_some(), &|it| it.outage = None);
        with(self.throttles.is_some(), &|it| it.throttles = None);
        with(self.list_lag > 0, &|it| it.list_lag = 0);
        with(self.reuses_handles, &|it| it.reuses_handles = false);
        with(self.refuses.is_some(), &|it| it.refuses = None);
        with(self.hangs.is_some(), &|it| it.hangs = None);
        with(self.in_flight != 4, &|it| it.in_flight = 4);
        with(self.revokes.is_some(), &|it| it.revokes = None);
        all
    }
}

impl Blow {
    fn of(dice: &mut StdRng, mode: Mode, sites: usize) -> Self {
        match dice.random_range(0..16) {
            0..7 => Self::Crash {
                polls: dice.random_range(0..6),
                write: *[Write::Stands, Write::Torn, Write::Lost]
                    .choose(dice)
                    .unwrap_or(&Write::Lost),
            },
            7 => Self::Stop,
            8 => Self::Done(dice.random_range(0..8)),
            9 => Self::DiskFull(dice.random_range(1..30_000)),
            10 | 11 if mode == Mode::Rehearse => Self::TakeOver,
            10 => Self::Second,
            11 | 12 => Self::Attacker(dice.random_range(0..sites)),
            13 | 14 => Self::Responder(dice.random_range(0..sites)),
            _ => Self::Clock(dice.random_range(-90_000_000..90_000_000)),
        }
    }
}
