//! What is wanted, and what may go now: limits, back-off and the order of calls.
//!
//! An item waits in the queue of its account (provider and acting credential). An account has so
//! many calls in flight and so many in any window of time; revocations, requests that end
//! many at once, and probes that we expect to be refused, have windows of their own per address.
//! Revocations overtake everything. All operations cost O(log n); nothing that one address does
//! holds up another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::batch::{Batches, Seat};
use super::call::Time;
use super::capability::{Limits, Rate};
use super::window::Window;

/// Calls under way at once to everything outside: what one process's sockets bear where the limit
/// of file descriptors is the usual 1,024, and far more than any provider allows.
pub(super) const IN_FLIGHT: usize = 512;

/// Every address may have this many under way, however many hang elsewhere: a dead provider must
/// not hold up a live one. Four is what a provider file allows one credential unless it says more.
const SHARE: usize = 4;

/// Reads, writes and commands of this machine at once: beyond it a disk only gets slower.
const LOCAL_IN_FLIGHT: usize = 128;

/// The first pause of an account that was told to wait without being told how long, milliseconds.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// The longest such pause: a minute is the window in which most vendors count.
const LONGEST_BACKOFF_MS: u64 = 60_000;

/// Order among everything that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Lane {
    /// Ends something.
    Kill,
    /// Ends something, in one request with others.
    KillTogether,
    /// Is needed before something can be ended.
    Need,
    /// Looks at the old one before it goes.
    Baseline,
    /// Makes or delivers the new one.
    Make,
    /// Proves.
    Prove,
    /// Uses something that we expect to be refused: counted against the abuse budget.
    Refused,
    /// Sweeps.
    Sweep,
}

impl Lane {
    const ALL: [Self; 8] = [
        Self::Kill,
        Self::KillTogether,
        Self::Need,
        Self::Baseline,
        Self::Make,
        Self::Prove,
        Self::Refused,
        Self::Sweep,
    ];

    /// Whether its calls take seats in a request that others share.
    fn is_seated(self) -> bool {
        self == Self::KillTogether
    }

    /// Whether these limits leave nothing of this lane, ever.
    pub(super) fn forbidden(self, limits: &Limits) -> bool {
        let none = |rate: Option<Rate>| rate.is_some_and(|rate| rate.count == 0);
        none(limits.calls)
            || (self == Self::Kill && none(limits.revoke))
            || (self == Self::KillTogether && none(limits.batch.map(|batch| batch.rate)))
            || (self == Self::Refused && none(limits.refused))
    }
}

/// An account of a provider, or what is done on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Account {
    /// The provider; empty for this machine.
    pub(super) address: String,
    /// The acting credential.
    pub(super) acting: String,
}

impl Account {
    /// Places, commands and files of this machine.
    pub(super) fn local() -> Self {
        Self { address: String::new(), acting: "local".to_owned() }
    }

    /// As it stands in a call.
    pub(super) fn name(&self) -> String {
        if self.address.is_empty() {
            self.acting.clone()
        } else {
            format!("{}/{}", self.address, self.acting)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AccountState<T> {
    account: Account,
    address: usize,
    limits: Limits,
    in_flight: u32,
    window: Window,
    blocked_until: Time,
    backoffs: u32,
    #[serde(
        with = "super::pairs",
        bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>")
    )]
    waiting: BTreeMap<(Lane, u64), T>,
    /// Its first item of each lane, as they stand in `ready` of its address.
    listed: Vec<(Lane, u64)>,
    /// Where it stands in the timers, if it does.
    timer: Option<Time>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Address {
    local: bool,
    in_flight: usize,
    revoke_rate: Option<Rate>,
    revoke: Window,
    batches: Batches,
    refused_rate: Option<Rate>,
    refused: Window,
    /// What its accounts may send now, as far as their own limits go.
    ready: BTreeSet<(Lane, u64, usize)>,
    /// Where it stands in `ready` or `crowded` of the queue, if it does.
    listed: Option<(Lane, u64)>,
    /// Where it stands in the timers, if it does.
    timer: Option<Time>,
}

/// An item that may go now.
pub(super) struct Taken<T> {
    pub(super) account: usize,
    pub(super) lane: Lane,
    /// Its place in a request that others share.
    pub(super) seat: Option<Seat>,
    pub(super) item: T,
}

/// What waits for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Sleeper {
    Account(usize),
    Address(usize),
}

/// Everything that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue<T> {
    #[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
    accounts: Vec<AccountState<T>>,
    by_name: BTreeMap<String, usize>,
    addresses: Vec<Address>,
    addresses_by_name: BTreeMap<String, usize>,
    /// The best item of each address that has fewer than its share under way.
    ready: BTreeSet<(Lane, u64, usize)>,
    /// The best item of every other one.
    crowded: BTreeSet<(Lane, u64, usize)>,
    timers: BTreeSet<(Time, Sleeper)>,
    sequence: u64,
    /// Calls under way beyond this machine.
    in_flight: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            by_name: BTreeMap::new(),
            addresses: Vec::new(),
            addresses_by_name: BTreeMap::new(),
            ready: BTreeSet::new(),
            crowded: BTreeSet::new(),
            timers: BTreeSet::new(),
            sequence: 0,
            in_flight: 0,
        }
    }
}

impl<T> Queue<T> {
    /// The index of an account, made with these limits on first use.
    pub(super) fn account(&mut self, account: &Account, limits: &Limits) -> usize {
        let name = account.name();
        if let Some(index) = self.by_name.get(&name) {
            return *index;
        }
        let next = self.addresses.len();
        let address = *self.addresses_by_name.entry(account.address.clone()).or_insert(next);
        if address == next {
            self.addresses.push(Address {
                local: account.address.is_empty(),
                revoke_rate: limits.revoke,
                batches: Batches::new(limits.batch),
                refused_rate: limits.refused,
                ..Address::default()
            });
        }
        let index = self.accounts.len();
        self.accounts.push(AccountState {
            account: account.clone(),
            address,
            limits: limits.clone(),
            in_flight: 0,
            window: Window::default(),
            blocked_until: Time(0),
            backoffs: 0,
            waiting: BTreeMap::new(),
            listed: Vec::new(),
            timer: None,
        });
        self.by_name.insert(name, index);
        index
    }

    /// Its name.
    pub(super) fn name(&self, account: usize) -> String {
        self.accounts.get(account).map_or_else(String::new, |state| state.account.name())
    }

    /// Puts an item in line.
    pub(super) fn push(&mut self, account: usize, lane: Lane, item: T, now: Time) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Some(state) = self.accounts.get_mut(account) {
            state.waiting.insert((lane, sequence), item);
        }
        self.place(account, now);
    }

    /// Takes the next item that may go now, and counts it as sent. What nobody wants any more
    /// leaves the line uncounted.
    pub(super) fn pop(&mut self, now: Time, wanted: impl Fn(&T) -> bool) -> Option<Taken<T>> {
        self.wake_sleepers(now);
        loop {
            let crowded = self.crowded.first().filter(|_| self.in_flight < IN_FLIGHT);
            let first = [self.ready.first(), crowded].into_iter().flatten().min().copied()?;
            let (lane, sequence, address) = first;
            // It was listed for a seat in a batch that has left since.
            if self.addresses.get(address)?.opens(lane, now).is_none_or(|at| at > now) {
                self.place_address(address, now);
                continue;
            }
            let (.., account) = *self
                .addresses
                .get(address)?
                .ready
                .range((lane, sequence, 0)..=(lane, sequence, usize::MAX))
                .next()?;
            let item = self.accounts.get_mut(account)?.waiting.remove(&(lane, sequence))?;
            if !wanted(&item) {
                self.place(account, now);
                continue;
            }
            let seat = lane.is_seated().then(|| self.seat(address, now)).flatten();
            if seat.is_none_or(|seat| seat.leads) {
                self.count(account, lane, now);
            }
            self.place(account, now);
            return Some(Taken { account, lane, seat, item });
        }
    }

    /// Seats an item that was just taken, among those of its address that could go with it.
    fn seat(&mut self, address: usize, now: Time) -> Option<Seat> {
        const LANE: Lane = Lane::KillTogether;
        let state = self.addresses.get_mut(address)?;
        if state.batches.has_seat(now) {
            return Some(state.batches.seat(now, 1));
        }
        let listed = state.ready.range((LANE, 0, 0)..=(LANE, u64::MAX, usize::MAX));
        let accounts = listed.filter_map(|(.., account)| self.accounts.get(*account));
        let in_line =
            |account: &AccountState<T>| account.waiting.range((LANE, 0)..=(LANE, u64::MAX)).count();
        let others: usize = accounts.map(in_line).sum();
        Some(state.batches.seat(now, others + 1))
    }

    fn count(&mut self, account: usize, lane: Lane, now: Time) {
        let Some(state) = self.accounts.get_mut(account) else { return };
        state.in_flight += 1;
        state.window.send(state.limits.calls, now);
        let Some(address) = self.addresses.get_mut(state.address) else { return };
        address.in_flight += 1;
        match lane {
            Lane::Kill => address.revoke.send(address.revoke_rate, now),
            Lane::Refused => address.refused.send(address.refused_rate, now),
            // Counted when it was seated.
            Lane::KillTogether => {}
            Lane::Need | Lane::Baseline | Lane::Make | Lane::Prove | Lane::Sweep => {}
        }
        if !address.local {
            self.in_flight += 1;
        }
    }

    /// A call of this account was answered.
    pub(super) fn answered(&mut self, account: usize, seat: Option<Seat>, now: Time) {
        if seat.is_some_and(|seat| !seat.leads) {
            return;
        }
        let Some(state) = self.accounts.get_mut(account) else { return };
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(state.address) {
            address.in_flight = address.in_flight.saturating_sub(1);
            if !address.local {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
        }
        self.place(account, now);
    }

    /// The account works again: its next back-off starts from the beginning.
    pub(super) fn recovered(&mut self, account: usize) {
        if let Some(state) = self.accounts.get_mut(account) {
            state.backoffs = 0;
        }
    }

    /// The provider said: later. Nothing of this account goes before.
    pub(super) fn throttle(
        &mut self,
        account: usize,
        seat: Option<Seat>,
        wait_ms: Option<u64>,
        now: Time,
    ) {
        // A thousand that shared one request were told once.
        let counts = seat.is_none_or(|seat| seat.leads);
        if let Some(state) = self.accounts.get_mut(account) {
            let doubled = FIRST_BACKOFF_MS.saturating_mul(1 << state.backoffs.min(10));
            let wait = wait_ms.unwrap_or(doubled.min(LONGEST_BACKOFF_MS));
            state.backoffs = state.backoffs.saturating_add(u32::from(counts));
            state.blocked_until = state.blocked_until.max(now.plus(wait));
        }
        self.place(account, now);
    }

    /// When something may go that may not go now.
    pub(super) fn wake(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes out every waiting item for which `keep` is false.
    pub(super) fn take_out(&mut self, now: Time, keep: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for account in 0..self.accounts.len() {
            if let Some(state) = self.accounts.get_mut(account) {
                out.extend(state.waiting.extract_if(.., |_, item| !keep(item)).map(|(_, it)| it));
            }
            self.place(account, now);
        }
        out
    }

    fn wake_sleepers(&mut self, now: Time) {
        while let Some((at, sleeper)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, sleeper));
            match sleeper {
                Sleeper::Account(account) => self.place(account, now),
                Sleeper::Address(address) => self.place_address(address, now),
            }
        }
    }

    /// Puts an account where it belongs: its items among the ready of its address, itself among
    /// the sleepers, or nowhere.
    fn place(&mut self, index: usize, now: Time) {
        let Some(account) = self.accounts.get_mut(index) else { return };
        let number = account.address;
        let Some(address) = self.addresses.get_mut(number) else { return };
        for (lane, sequence) in account.listed.drain(..) {
            address.ready.remove(&(lane, sequence, index));
        }
        if let Some(at) = account.timer.take() {
            self.timers.remove(&(at, Sleeper::Account(index)));
        }
        let room = account.in_flight < account.limits.in_flight.max(1);
        let opens = account.window.opens(account.limits.calls);
        // Whoever takes a seat in a request that leaves now takes no room of its own.
        let seat = address.batches.has_seat(now);
        if let Some(at) = opens.map(|at| at.max(account.blocked_until))
            && (room || seat)
            && !account.waiting.is_empty()
        {
            if at > now {
                account.timer = Some(at);
                self.timers.insert((at, Sleeper::Account(index)));
            } else {
                for lane in Lane::ALL.into_iter().filter(|lane| room || lane.is_seated()) {
                    let first = account.waiting.range((lane, 0)..=(lane, u64::MAX)).next();
                    if let Some((&(lane, sequence), _)) = first {
                        account.listed.push((lane, sequence));
                        address.ready.insert((lane, sequence, index));
                    }
                }
            }
        }
        self.place_address(number, now);
    }

    /// Puts an address where it belongs, by the best item whose window is open.
    fn place_address(&mut self, index: usize, now: Time) {
        let Some(address) = self.addresses.get_mut(index) else { return };
        if let Some((lane, sequence)) = address.listed.take() {
            self.ready.remove(&(lane, sequence, index));
            self.crowded.remove(&(lane, sequence, index));
        }
        if let Some(at) = address.timer.take() {
            self.timers.remove(&(at, Sleeper::Address(index)));
        }
        if address.local && address.in_flight >= LOCAL_IN_FLIGHT {
            return;
        }
        // A lane whose window is shut must not hold up the others.
        let mut soonest: Option<Time> = None;
        for lane in Lane::ALL {
            let in_lane = (lane, 0, 0)..=(lane, u64::MAX, usize::MAX);
            let Some(&(_, sequence, _)) = address.ready.range(in_lane).next() else { continue };
            match address.opens(lane, now) {
                Some(at) if at <= now => {
                    address.listed = Some((lane, sequence));
                    let seat = lane.is_seated() && address.batches.has_seat(now);
                    let fed = !address.local && !seat && address.in_flight >= SHARE;
                    let line = if fed { &mut self.crowded } else { &mut self.ready };
                    line.insert((lane, sequence, index));
                    return;
                }
                Some(at) => soonest = Some(soonest.map_or(at, |other| other.min(at))),
                None => {}
            }
        }
        if let Some(at) = soonest {
            address.timer = Some(at);
            self.timers.insert((at, Sleeper::Address(index)));
        }
    }
}

impl Address {
    /// When an item of this lane may go, as far as the address decides; none if never.
    fn opens(&self, lane: Lane, now: Time) -> Option<Time> {
        match lane {
            Lane::Kill => self.revoke.opens(self.revoke_rate),
            Lane::KillTogether => self.batches.opens(now),
            Lane::Refused => self.refused.opens(self.refused_rate),
            Lane::Need | Lane::Baseline | Lane::Make | Lane::Prove | Lane::Sweep => Some(Time(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::capability::BatchLimit;
    use super::*;

    fn limits(in_flight: u32, calls: Option<(u32, u64)>) -> Limits {
        let rate = |(count, per_ms)| Rate { count, per_ms };
        Limits { in_flight, calls: calls.map(rate), revoke: None, refused: None, batch: None }
    }

    fn account(acting: &str) -> Account {
        Account { address: "acme".to_owned(), acting: acting.to_owned() }
    }

    fn pop<T>(queue: &mut Queue<T>, now: u64) -> Option<(usize, Lane, T)> {
        let taken = queue.pop(Time(now), |_| true)?;
        Some((taken.account, taken.lane, taken.item))
    }

    #[test]
    fn revocations_overtake_everything() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(10, None));
        let other = queue.account(&account("other"), &limits(10, None));
        queue.push(admin, Lane::Sweep, "sweep", Time(0));
        queue.push(admin, Lane::Prove, "probe", Time(0));
        queue.push(other, Lane::Make, "issue", Time(0));
        queue.push(admin, Lane::Kill, "revoke", Time(0));
        let order: Vec<_> =
            std::iter::from_fn(|| pop(&mut queue, 0)).map(|(_, _, item)| item).collect();
        assert_eq!(order, ["revoke", "issue", "probe", "sweep"]);
    }

    #[test]
    fn no_window_ever_holds_more_than_its_rate() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(1_000, Some((3, 100))));
        for n in 0..10 {
            queue.push(admin, Lane::Make, n, Time(0));
        }
        let mut sent = Vec::new();
        let mut now = Time(0);
        while sent.len() < 10 {
            while pop(&mut queue, now.0).is_some() {
                sent.push(now.0);
            }
            if let Some(at) = queue.wake() {
                assert!(at > now);
                now = at;
            }
        }
        assert_eq!(sent, [0, 0, 0, 100, 100, 100, 200, 200, 200, 300]);
    }

    #[test]
    fn so_many_in_flight_and_no_more() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(2, None));
        for n in 0..3 {
            queue.push(admin, Lane::Make, n, Time(0));
        }
        assert!(pop(&mut queue, 0).is_some() && pop(&mut queue, 0).is_some());
        assert!(pop(&mut queue, 0).is_none());
        queue.answered(admin, None, Time(5));
        assert_eq!(pop(&mut queue, 5).map(|(_, _, item)| item), Some(2));
    }

    #[test]
    fn told_to_wait_an_account_waits_and_others_do_not() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(5, None));
        let other = queue.account(&account("other"), &limits(5, None));
        queue.throttle(admin, None, Some(7_000), Time(0));
        queue.push(admin, Lane::Kill, "late", Time(0));
        queue.push(other, Lane::Sweep, "now", Time(0));
        assert_eq!(pop(&mut queue, 0).map(|(_, _, item)| item), Some("now"));
        assert_eq!((pop(&mut queue, 0), queue.wake()), (None, Some(Time(7_000))));
        assert_eq!(pop(&mut queue, 7_000).map(|(_, _, item)| item), Some("late"));
    }

    #[test]
    fn without_a_word_the_pause_doubles_to_a_minute() {
        let mut queue: Queue<()> = Queue::default();
        let admin = queue.account(&account("admin"), &limits(5, None));
        queue.push(admin, Lane::Kill, (), Time(0));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = queue.accounts[admin].blocked_until;
            queue.throttle(admin, None, None, before);
            pauses.push(queue.accounts[admin].blocked_until.since(before));
        }
        assert_eq!(pauses[..3], [1_000, 2_000, 4_000]);
        assert_eq!(pauses[7], 60_000);
    }

    #[test]
    fn a_shut_lane_holds_up_no_other() {
        let mut queue = Queue::default();
        let mut tight = limits(5, None);
        tight.refused = Some(Rate { count: 0, per_ms: 1_000 });
        tight.revoke = Some(Rate { count: 1, per_ms: 1_000 });
        let admin = queue.account(&account("admin"), &tight);
        queue.push(admin, Lane::Refused, "never", Time(0));
        queue.push(admin, Lane::Kill, "first", Time(0));
        queue.push(admin, Lane::Kill, "second", Time(0));
        queue.push(admin, Lane::Sweep, "sweep", Time(0));
        let order: Vec<_> =
            std::iter::from_fn(|| pop(&mut queue, 0)).map(|(_, _, item)| item).collect();
        assert_eq!(order, ["first", "sweep"]);
        assert_eq!(queue.wake(), Some(Time(1_000)));
    }

    #[test]
    fn a_window_of_nothing_forbids_the_lane_from_the_start() {
        let none = Some(Rate { count: 0, per_ms: 1_000 });
        let bare = limits(5, None);
        assert!(!Lane::Kill.forbidden(&bare));
        assert!(Lane::Kill.forbidden(&Limits { revoke: none, ..bare.clone() }));
        assert!(!Lane::Make.forbidden(&Limits { revoke: none, ..bare.clone() }));
        assert!(Lane::Make.forbidden(&Limits { calls: none, ..bare }));
    }

    #[test]
    fn an_address_that_hangs_leaves_every_other_its_share() {
        let mut queue = Queue::default();
        for n in 0..IN_FLIGHT + 10 {
            let own = queue.account(&account(&format!("old:{n}")), &limits(4, None));
            queue.push(own, Lane::Kill, "hangs", Time(0));
        }
        while pop(&mut queue, 0).is_some() {}
        assert_eq!(queue.in_flight, IN_FLIGHT);
        let live = Account { address: "other".to_owned(), acting: "admin".to_owned() };
        let live = queue.account(&live, &limits(10, None));
        for _ in 0..5 {
            queue.push(live, Lane::Make, "goes", Time(0));
        }
        let gone = std::iter::from_fn(|| pop(&mut queue, 0)).map(|(.., item)| item);
        assert_eq!(gone.collect::<Vec<_>>(), ["goes"; SHARE]);
        queue.answered(live, None, Time(1));
        assert_eq!(pop(&mut queue, 1).map(|(.., item)| item), Some("goes"));
    }

    #[test]
    fn what_nobody_wants_any_more_costs_nothing() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(5, Some((1, 1_000))));
        queue.push(admin, Lane::Kill, 1, Time(0));
        queue.push(admin, Lane::Kill, 2, Time(0));
        let next = queue.pop(Time(0), |item| *item == 2);
        assert_eq!(next.map(|taken| taken.item), Some(2));
        queue.push(admin, Lane::Kill, 3, Time(0));
        queue.push(admin, Lane::Make, 4, Time(0));
        assert_eq!(queue.take_out(Time(0), |item| *item == 4), [3]);
        assert_eq!((pop(&mut queue, 999), queue.wake()), (None, Some(Time(1_000))));
        assert_eq!(pop(&mut queue, 1_000).map(|(.., item)| item), Some(4));
    }

    #[test]
    fn many_accounts_behind_one_shut_window_cost_one_timer() {
        let mut queue = Queue::default();
        let mut tight = limits(4, None);
        tight.refused = Some(Rate { count: 1, per_ms: 100 });
        for n in 0..1_000 {
            let own = queue.account(&account(&format!("old:{n}")), &tight);
            queue.push(own, Lane::Refused, n, Time(0));
        }
        assert_eq!(pop(&mut queue, 0).map(|(.., item)| item), Some(0));
        assert_eq!((pop(&mut queue, 0), queue.timers.len()), (None, 1));
        assert_eq!(pop(&mut queue, 100).map(|(.., item)| item), Some(1));
    }

    #[test]
    fn what_stands_in_line_at_one_instant_shares_a_request() {
        let mut queue = Queue::default();
        let mut sixty = limits(1, None);
        let rate = Rate { count: 60, per_ms: 3_600_000 };
        sixty.batch = Some(BatchLimit { size: 1_000, rate });
        let nobody = queue.account(&account("nobody"), &sixty);
        for n in 0..2_500 {
            queue.push(nobody, Lane::KillTogether, n, Time(0));
        }
        let mut leads = Vec::new();
        let mut now = Time(0);
        for _ in 0..2_500 {
            let taken = loop {
                match queue.pop(now, |_| true) {
                    Some(taken) => break taken,
                    None => now = queue.wake().unwrap(),
                }
            };
            let seat = taken.seat.unwrap();
            if seat.leads {
                leads.push((now.0, seat.batch.size));
            }
            // The one that leads is answered at once: its account bears one at a time.
            queue.answered(nobody, taken.seat, now);
        }
        assert_eq!(leads, [(0, 1_000), (50, 1_000), (100, 500)]);
        assert_eq!((queue.in_flight, queue.addresses[0].in_flight), (0, 0));
    }

    #[test]
    fn a_seat_takes_no_room_and_a_request_takes_one() {
        let mut queue = Queue::default();
        let mut one = limits(1, None);
        one.batch = Some(BatchLimit { size: 3, rate: Rate { count: 9, per_ms: 1_000 } });
        let nobody = queue.account(&account("nobody"), &one);
        for n in 0..5 {
            queue.push(nobody, Lane::KillTogether, n, Time(0));
        }
        queue.push(nobody, Lane::Sweep, 9, Time(0));
        let gone: Vec<_> =
            std::iter::from_fn(|| pop(&mut queue, 0)).map(|(.., item)| item).collect();
        assert_eq!(gone, [0, 1, 2], "the rest waits for room, the next batch for its time as well");
        assert!(pop(&mut queue, 60).is_none());
        let lead = Seat { batch: Batch { id: 1, size: 3 }, leads: true };
        queue.answered(nobody, Some(Seat { leads: false, ..lead }), Time(60));
        assert!(pop(&mut queue, 60).is_none(), "the request is answered by the one that leads");
        queue.answered(nobody, Some(lead), Time(60));
        let gone: Vec<_> =
            std::iter::from_fn(|| pop(&mut queue, 60)).map(|(.., item)| item).collect();
        assert_eq!(gone, [3, 4]);
    }
}
