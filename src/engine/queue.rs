//! What is wanted, and what may go now: limits, back-off and the order of calls.
//!
//! Every item waits in the queue of its account (provider and acting credential). An account has
//! so many calls in flight and so many in any window of time; revocations and probes that we
//! expect to be refused have windows of their own, per address. Revocations overtake everything.
//! All operations cost O(log n).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::call::Time;
use super::capability::{Limits, Rate};

/// Calls under way at once in the whole run: what one process's sockets and one pool bear
/// (file-descriptor limits start at 1,024), and far more than any provider allows.
const IN_FLIGHT: usize = 512;

/// The first pause of an account that was told to wait without being told how long, milliseconds.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// The longest such pause: a minute is the window in which most vendors count.
const LONGEST_BACKOFF_MS: u64 = 60_000;

/// Wakes are rounded up to this many milliseconds, so that ticks cost at most 50 writes a second.
pub const WAKE_MS: u64 = 20;

/// Order among everything that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Ends something.
    Kill,
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

/// An account of a provider, or what is done on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The provider; empty for this machine.
    pub address: String,
    /// The acting credential.
    pub acting: String,
}

impl Account {
    /// Places, commands and files of this machine: no limits.
    pub fn local() -> Self {
        Self { address: String::new(), acting: "local".to_owned() }
    }

    /// As it stands in a call.
    pub fn name(&self) -> String {
        if self.address.is_empty() {
            self.acting.clone()
        } else {
            format!("{}/{}", self.address, self.acting)
        }
    }
}

/// The sliding window of one rate: exact for any way in which the vendor cuts its windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    sent: VecDeque<Time>,
}

impl Window {
    /// When the next one may go; none if never.
    fn opens(&self, rate: Option<Rate>) -> Option<Time> {
        let Some(rate) = rate else { return Some(Time(0)) };
        let count = rate.count as usize;
        if count == 0 {
            return None;
        }
        let oldest = self.sent.len().checked_sub(count).and_then(|at| self.sent.get(at));
        Some(oldest.map_or(Time(0), |at| at.plus(rate.per_ms)))
    }

    fn send(&mut self, rate: Option<Rate>, now: Time) {
        let Some(rate) = rate else { return };
        self.sent.push_back(now);
        while self.sent.len() > rate.count as usize {
            self.sent.pop_front();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AccountState<T> {
    account: Account,
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
    /// Where it stands in `ready`, if it does.
    ready: Option<(Lane, u64)>,
    /// Where it stands in `timers`, if it does.
    timer: Option<Time>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AddressState {
    revoke: Window,
    refused: Window,
}

/// Everything that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue<T> {
    accounts: Vec<AccountState<T>>,
    by_name: BTreeMap<String, usize>,
    addresses: BTreeMap<String, AddressState>,
    /// The best item of each account that may send now.
    ready: BTreeSet<(Lane, u64, usize)>,
    /// Accounts that wait for time.
    timers: BTreeSet<(Time, usize)>,
    sequence: u64,
    in_flight: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            by_name: BTreeMap::new(),
            addresses: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            sequence: 0,
            in_flight: 0,
        }
    }
}

impl<T> Queue<T> {
    /// The index of an account, made with these limits on first use.
    pub fn account(&mut self, account: &Account, limits: &Limits) -> usize {
        let name = account.name();
        if let Some(index) = self.by_name.get(&name) {
            return *index;
        }
        let index = self.accounts.len();
        self.accounts.push(AccountState {
            account: account.clone(),
            limits: limits.clone(),
            in_flight: 0,
            window: Window::default(),
            blocked_until: Time(0),
            backoffs: 0,
            waiting: BTreeMap::new(),
            ready: None,
            timer: None,
        });
        self.by_name.insert(name, index);
        index
    }

    /// Its name.
    pub fn name(&self, account: usize) -> String {
        self.accounts.get(account).map_or_else(String::new, |state| state.account.name())
    }

    /// Whether probes that we expect to be refused are forbidden at this account's address.
    pub fn forbids_refused(limits: &Limits) -> bool {
        limits.refused.is_some_and(|rate| rate.count == 0)
    }

    /// Puts an item in line.
    pub fn push(&mut self, account: usize, lane: Lane, item: T, now: Time) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Some(state) = self.accounts.get_mut(account) {
            state.waiting.insert((lane, sequence), item);
        }
        self.place(account, now);
    }

    /// Takes the next item that may go now, and counts it as sent.
    pub fn pop(&mut self, now: Time) -> Option<(usize, Lane, T)> {
        while let Some((at, account)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.place(account, now);
        }
        if self.in_flight >= IN_FLIGHT {
            return None;
        }
        loop {
            let (lane, sequence, account) = self.ready.first().copied()?;
            // The address may have been used up by another account since this one was placed.
            if self.opens(account, lane).is_none_or(|at| at > now) {
                self.place(account, now);
                if self.ready.first() == Some(&(lane, sequence, account)) {
                    return None;
                }
                continue;
            }
            let state = self.accounts.get_mut(account)?;
            let item = state.waiting.remove(&(lane, sequence))?;
            let limits = state.limits.clone();
            state.in_flight += 1;
            state.window.send(limits.calls, now);
            let address = self.addresses.entry(state.account.address.clone()).or_default();
            match lane {
                Lane::Kill => address.revoke.send(limits.revoke, now),
                Lane::Refused => address.refused.send(limits.refused, now),
                Lane::Need | Lane::Baseline | Lane::Make | Lane::Prove | Lane::Sweep => {}
            }
            self.in_flight += 1;
            self.place(account, now);
            return Some((account, lane, item));
        }
    }

    /// A call of this account was answered.
    pub fn answered(&mut self, account: usize, now: Time) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(state) = self.accounts.get_mut(account) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        self.place(account, now);
    }

    /// The account works again: its next back-off starts from the beginning.
    pub fn recovered(&mut self, account: usize) {
        if let Some(state) = self.accounts.get_mut(account) {
            state.backoffs = 0;
        }
    }

    /// The provider said: later. Nothing of this account goes before.
    pub fn throttle(&mut self, account: usize, wait_ms: Option<u64>, now: Time) {
        if let Some(state) = self.accounts.get_mut(account) {
            let doubled = FIRST_BACKOFF_MS.saturating_mul(1 << state.backoffs.min(10));
            let wait = wait_ms.unwrap_or(doubled.min(LONGEST_BACKOFF_MS));
            state.backoffs += 1;
            state.blocked_until = state.blocked_until.max(now.plus(wait));
        }
        self.place(account, now);
    }

    /// When something may go that may not go now.
    pub fn wake(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes out every waiting item for which `keep` is false.
    pub fn retain(&mut self, now: Time, mut keep: impl FnMut(Lane, &T) -> bool) {
        for account in 0..self.accounts.len() {
            if let Some(state) = self.accounts.get_mut(account) {
                state.waiting.retain(|(lane, _), item| keep(*lane, item));
            }
            self.place(account, now);
        }
    }

    /// Puts the account where its best item belongs: among the ready, the timed, or nowhere.
    fn place(&mut self, account: usize, now: Time) {
        let Some(state) = self.accounts.get_mut(account) else { return };
        if let Some((lane, sequence)) = state.ready.take() {
            self.ready.remove(&(lane, sequence, account));
        }
        if let Some(at) = state.timer.take() {
            self.timers.remove(&(at, account));
        }
        if state.in_flight >= state.limits.in_flight {
            return;
        }
        // One candidate per lane: a lane whose window is shut must not hold up the others.
        let mut soonest: Option<Time> = None;
        let mut best = None;
        let mut from = Lane::Kill;
        while let Some((&(lane, sequence), _)) =
            self.accounts.get(account).and_then(|state| state.waiting.range((from, 0)..).next())
        {
            match self.opens(account, lane) {
                Some(at) if at <= now => {
                    best = Some((lane, sequence));
                    break;
                }
                Some(at) => soonest = Some(soonest.map_or(at, |other| other.min(at))),
                None => {}
            }
            match next_lane(lane) {
                Some(next) => from = next,
                None => break,
            }
        }
        let Some(state) = self.accounts.get_mut(account) else { return };
        if let Some((lane, sequence)) = best {
            state.ready = Some((lane, sequence));
            self.ready.insert((lane, sequence, account));
        } else if let Some(at) = soonest {
            state.timer = Some(at);
            self.timers.insert((at, account));
        }
    }

    /// When an item of this lane may go, as far as time decides; none if never.
    fn opens(&self, account: usize, lane: Lane) -> Option<Time> {
        let state = self.accounts.get(account)?;
        let mut at = state.blocked_until.max(state.window.opens(state.limits.calls)?);
        if let Some(address) = self.addresses.get(&state.account.address) {
            match lane {
                Lane::Kill => at = at.max(address.revoke.opens(state.limits.revoke)?),
                Lane::Refused => at = at.max(address.refused.opens(state.limits.refused)?),
                Lane::Need | Lane::Baseline | Lane::Make | Lane::Prove | Lane::Sweep => {}
            }
        } else if lane == Lane::Refused && state.limits.refused.is_some_and(|rate| rate.count == 0)
        {
            return None;
        }
        Some(at)
    }
}

fn next_lane(lane: Lane) -> Option<Lane> {
    match lane {
        Lane::Kill => Some(Lane::Need),
        Lane::Need => Some(Lane::Baseline),
        Lane::Baseline => Some(Lane::Make),
        Lane::Make => Some(Lane::Prove),
        Lane::Prove => Some(Lane::Refused),
        Lane::Refused => Some(Lane::Sweep),
        Lane::Sweep => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(in_flight: u32, calls: Option<(u32, u64)>) -> Limits {
        let rate = |(count, per_ms)| Rate { count, per_ms };
        Limits { in_flight, calls: calls.map(rate), revoke: None, refused: None }
    }

    fn account(acting: &str) -> Account {
        Account { address: "acme".to_owned(), acting: acting.to_owned() }
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
            std::iter::from_fn(|| queue.pop(Time(0))).map(|(_, _, item)| item).collect();
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
            while queue.pop(now).is_some() {
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
        assert!(queue.pop(Time(0)).is_some() && queue.pop(Time(0)).is_some());
        assert!(queue.pop(Time(0)).is_none());
        queue.answered(admin, Time(5));
        assert_eq!(queue.pop(Time(5)).map(|(_, _, item)| item), Some(2));
    }

    #[test]
    fn told_to_wait_an_account_waits_and_others_do_not() {
        let mut queue = Queue::default();
        let admin = queue.account(&account("admin"), &limits(5, None));
        let other = queue.account(&account("other"), &limits(5, None));
        queue.throttle(admin, Some(7_000), Time(0));
        queue.push(admin, Lane::Kill, "late", Time(0));
        queue.push(other, Lane::Sweep, "now", Time(0));
        assert_eq!(queue.pop(Time(0)).map(|(_, _, item)| item), Some("now"));
        assert_eq!((queue.pop(Time(0)), queue.wake()), (None, Some(Time(7_000))));
        assert_eq!(queue.pop(Time(7_000)).map(|(_, _, item)| item), Some("late"));
    }

    #[test]
    fn without_a_word_the_pause_doubles_to_a_minute() {
        let mut queue: Queue<()> = Queue::default();
        let admin = queue.account(&account("admin"), &limits(5, None));
        queue.push(admin, Lane::Kill, (), Time(0));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = queue.accounts[admin].blocked_until;
            queue.throttle(admin, None, before);
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
            std::iter::from_fn(|| queue.pop(Time(0))).map(|(_, _, item)| item).collect();
        assert_eq!(order, ["first", "sweep"]);
        assert_eq!(queue.wake(), Some(Time(1_000)));
    }
}
