//! What must hold of every call at the instant it leaves, and of every key that a call ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rotate::engine::call::{Answer, Call, CallId, Fault, Request, Subject, Task, Verb};
use rotate::engine::plan::Plan;
use rotate::vault::Vault;

use super::bench::{ITS_FILE, step};
use super::outside::text;
use super::scenario::Ms;
use super::site::{By, Key, Site};

#[derive(Default)]
pub(crate) struct Watch {
    /// The first thing that did not hold: its name, and what was seen.
    pub(crate) violation: Option<String>,
    /// What a replay of the journal says is to be called; none where there is no journal.
    pub(crate) expected: Option<BTreeMap<CallId, Call>>,
    /// Calls of this process that make something and have no answer.
    making: BTreeSet<Subject>,
    /// Somebody's answer was lost, and no list was read since.
    lost: BTreeSet<Subject>,
    under_way: BTreeMap<String, u32>,
    revocations: BTreeMap<String, VecDeque<Ms>>,
    /// When each was first revoked, rolled, or asked to be.
    pub(crate) kills: BTreeMap<Subject, Ms>,
    /// The bytes of each old one, by `ROLE/NAME`.
    pub(crate) olds: BTreeMap<String, String>,
    /// Those of earlier runs: a call of theirs may arrive late.
    earlier: BTreeSet<String>,
    plan: Option<Plan>,
    /// How much longer one write may take than another.
    pub(crate) jitter: Ms,
    revokes_strangers: bool,
    /// The file of the contained role is known as such, and nobody asked to deliver into it.
    pub(crate) withholds: bool,
}

impl Watch {
    /// Another process, with this plan; what the old ones are is known where it was read before.
    pub(crate) fn process(&mut self, plan: &Plan, unanswered: &BTreeSet<Subject>) {
        self.making.clear();
        self.under_way.clear();
        self.revocations.clear();
        self.lost.extend(unanswered);
        self.revokes_strangers |= plan.revoke_strangers;
        self.plan = Some(plan.clone());
    }

    /// A new run: its credentials have other numbers.
    pub(crate) fn new_run(&mut self, olds: BTreeMap<String, String>) {
        self.lost.clear();
        self.kills.clear();
        self.earlier.extend(std::mem::replace(&mut self.olds, olds).into_values());
    }

    pub(crate) fn broken(&mut self, invariant: &str, seen: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(format!("{invariant}: {}", seen()));
        }
    }

    pub(crate) fn leaves(
        &mut self,
        now: Ms,
        id: CallId,
        call: &Call,
        vault: &Vault,
        sites: &[Site],
    ) {
        if let Some(expected) = &mut self.expected {
            let replayed = expected.remove(&id);
            if replayed.as_ref() != Some(call) {
                self.broken("replay_equal", || {
                    format!("{} is no call of the journal", line(id, call))
                });
            }
        }
        self.limits_kept(now, id, call);
        let Some(subject) = call.subject else { return };
        if let Task::Ask(request) = &call.task {
            let planned = self.plan.as_ref().and_then(|plan| plan.planned(subject));
            if let Some(id) = planned.map(|planned| &planned.id)
                && !self.olds.contains_key(id)
                && let Some(old) = request.parties.get("old")
                && let Ok(parts) = vault.parts(old)
            {
                self.olds.insert(id.clone(), text(&parts));
            }
            if matches!(request.at.verb, Verb::Issue | Verb::Roll) {
                self.said_once(subject, id, call, request);
            }
            if matches!(request.at.verb, Verb::Revoke | Verb::Roll) {
                self.kills.entry(subject).or_insert(now);
            }
        }
        if let Task::Deliver(delivery) = &call.task {
            let new = vault.parts(&delivery.new).map(|parts| text(&parts)).unwrap_or_default();
            if !sites.iter().any(|site| site.lives(&new, now)) {
                self.broken("delivered_is_live", || format!("{new} is delivered, and dead"));
            }
            let plan = self.plan.as_ref();
            let contained = plan.is_some_and(|plan| plan.mode.contains() && self.withholds);
            let to_it = delivery.places.iter().flat_map(BTreeMap::values);
            if contained && to_it.into_iter().any(|place| place.path == ITS_FILE) {
                self.broken("contained_never_receives_the_new", || line(id, call));
            }
        }
    }

    pub(crate) fn answered(&mut self, call: &Call, answer: &Answer) {
        if let Some(count) = self.under_way.get_mut(&call.account) {
            *count = count.saturating_sub(1);
        }
        let (Some(subject), Task::Ask(request)) = (call.subject, &call.task) else { return };
        match request.at.verb {
            Verb::Issue | Verb::Roll => {
                self.making.remove(&subject);
                if matches!(answer, Answer::Fault(Fault::Unknown(_))) {
                    self.lost.insert(subject);
                }
            }
            Verb::Find if matches!(answer, Answer::Found { complete: true, .. }) => {
                // One list is read for all that it concerns.
                let looked: Vec<Subject> = self.listed_with(subject);
                for one in looked {
                    self.lost.remove(&one);
                }
            }
            _ => {}
        }
    }

    /// A provider ends a key because a call said so.
    pub(crate) fn ends(&mut self, key: &Key, named: bool) {
        let ours =
            self.earlier.contains(&key.secret) || self.olds.values().any(|old| *old == key.secret);
        let fine = match key.by {
            By::Us => true,
            By::Before => ours,
            By::Attacker => self.revokes_strangers || !named,
            By::Responder => !named,
        };
        if !fine {
            self.broken("no_sibling_harmed", || {
                format!("{} of {:?} is ended, and is not of the plan", key.handle, key.by)
            });
        }
    }

    fn listed_with(&self, subject: Subject) -> Vec<Subject> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let kind = |one: Subject| plan.planned(one).map(|planned| planned.kind);
        let all = (0u32..).zip(&plan.credentials).map(|(number, _)| Subject(number));
        all.filter(|one| kind(*one) == kind(subject)).collect()
    }

    fn said_once(&mut self, subject: Subject, id: CallId, call: &Call, request: &Request) {
        let again = step(&request.at).is_some_and(|step| step.again);
        if !self.making.insert(subject) {
            self.broken("nothing_said_twice", || format!("{} beside another", line(id, call)));
        }
        if !again && self.lost.contains(&subject) {
            self.broken("nothing_said_twice", || format!("{} without a look", line(id, call)));
        }
    }

    fn limits_kept(&mut self, now: Ms, id: CallId, call: &Call) {
        let Task::Ask(request) = &call.task else { return };
        let limits = self.plan.as_ref().and_then(|plan| {
            let of = plan.kinds.iter().find(|kind| kind.provider == request.at.provider)?;
            Some(of.limits.clone())
        });
        let Some(limits) = limits else { return };
        let count = self.under_way.entry(call.account.clone()).or_default();
        *count += 1;
        if *count > limits.in_flight {
            self.broken("limits_kept", || format!("{} over in_flight", line(id, call)));
        }
        if let Some(rate) = limits.revoke.filter(|_| request.at.verb == Verb::Revoke) {
            let times = self.revocations.entry(request.at.provider.clone()).or_default();
            times.push_back(now);
            // A call is counted when it is decided upon, and leaves when that is written.
            let window = rate.per_ms.saturating_sub(self.jitter);
            while times.front().is_some_and(|first| first + window <= now) {
                times.pop_front();
            }
            if times.len() > rate.count as usize {
                self.broken("limits_kept", || format!("{} over its rate", line(id, call)));
            }
        }
    }
}

/// A call, for people.
pub(crate) fn line(id: CallId, call: &Call) -> String {
    let of = call.subject.map(|subject| format!(" of {}", subject.0)).unwrap_or_default();
    let what = match &call.task {
        Task::Read { .. } => "read".to_owned(),
        Task::Generate { .. } => "generate".to_owned(),
        Task::Deliver(_) => "deliver".to_owned(),
        Task::Stop { .. } => "stop".to_owned(),
        Task::Preserve { .. } => "preserve".to_owned(),
        Task::Scan { .. } => "scan".to_owned(),
        Task::Ask(request) => {
            let made_up = request.parties.values().any(|party| party.made_up);
            let verb = format!("{:?}", request.at.verb).to_lowercase();
            format!("{verb}{}", if made_up { " with a made-up one" } else { "" })
        }
    };
    format!("#{} {what}{of} as {}", id.0, call.account)
}
