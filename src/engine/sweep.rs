//! Lists of what exists at a provider under one owner: read before anything is done and again at
//! the end, once for every credential that the same call lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::call::{Row, Subject, Time, Verb};
use super::capability::Actor;
use super::plan::{Phase, Plan, Planned};
use super::stranger::{End, Stranger};

/// Rows of one reading, and whether it came to the end.
pub(super) type Listing = (Vec<Row>, bool);

/// How often one list is asked for whose answer was lost on the way.
const ASKED: u32 = 3;

/// How a reading stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Reading {
    #[default]
    NotAsked,
    Asked,
    Done,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct List {
    leader: Subject,
    members: Vec<Subject>,
    missing: BTreeSet<Subject>,
    before: Reading,
    handles_before: Option<BTreeSet<String>>,
    after: Reading,
    /// How often an answer was lost on the way.
    lost: u32,
    /// When the second reading was asked for.
    asked: Option<Time>,
    /// The second reading came to its end.
    complete: bool,
    rows: Vec<Row>,
    strangers: Vec<Stranger>,
    ending: Ending,
}

/// How far the strangers of a list have come that are to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// When one was last found to be due, or its revocation was over.
    pub(super) moved_at: Time,
    /// How often the list was read again to see them gone, and not before when it is read next.
    pub(super) readings: (u32, Time),
    /// How often such a reading brought new ones.
    pub(super) rounds: u32,
    /// Nothing more is tried.
    pub(super) given_up: bool,
}

/// Every list of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lists {
    lists: Vec<List>,
    of: Vec<Option<u32>>,
    #[serde(with = "super::pairs")]
    followers: BTreeMap<Subject, Vec<Subject>>,
}

impl Lists {
    /// The lists of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let mut all = Self::default();
        let mut by_key: BTreeMap<String, u32> = BTreeMap::new();
        for (index, planned) in plan.credentials.iter().enumerate() {
            let subject = Subject(u32::try_from(index).unwrap_or(u32::MAX));
            if let Some(leader) = planned.leader {
                all.followers.entry(leader).or_default().push(subject);
            }
            let key = owner(plan, planned, index);
            all.of.push(key.map(|key| {
                let next = u32::try_from(all.lists.len()).unwrap_or(u32::MAX);
                let number = *by_key.entry(key).or_insert(next);
                if number == next {
                    all.lists.push(List::led_by(subject));
                }
                if let Some(list) = all.lists.get_mut(number as usize) {
                    list.members.push(subject);
                    list.missing.insert(subject);
                }
                number
            }));
        }
        all
    }

    /// The list that this credential asks for on behalf of all, if it has not been asked for.
    pub(super) fn ask_before(&mut self, subject: Subject) -> Option<u32> {
        let number = self.number(subject)?;
        let list = self.lists.get_mut(number as usize)?;
        if list.leader != subject || list.before != Reading::NotAsked {
            return None;
        }
        list.before = Reading::Asked;
        Some(number)
    }

    /// Whether this credential leads a list that nobody has asked for yet.
    pub(super) fn leads_unasked(&self, subject: Subject) -> bool {
        self.number(subject)
            .and_then(|number| self.lists.get(number as usize))
            .is_some_and(|list| list.leader == subject && list.before == Reading::NotAsked)
    }

    /// An answer was lost on the way; whether it is asked for once more. Reading makes nothing, and
    /// without a list nobody knows what else there is.
    pub(super) fn lost(&mut self, number: u32) -> bool {
        let Some(list) = self.lists.get_mut(number as usize) else { return false };
        list.lost += 1;
        list.lost < ASKED
    }

    /// A credential has nothing left but the sweep; the list to be read when it was the last.
    pub(super) fn arrived(&mut self, subject: Subject, now: Time) -> Option<(u32, Subject)> {
        let number = self.number(subject)?;
        let list = self.lists.get_mut(number as usize)?;
        list.missing.remove(&subject);
        if !list.missing.is_empty() || list.after != Reading::NotAsked {
            return None;
        }
        list.after = Reading::Asked;
        list.asked = Some(now);
        Some((number, list.leader))
    }

    /// A reading that was asked for has left the line unasked.
    pub(super) fn dropped(&mut self, number: u32, after: bool) {
        if let Some(list) = self.lists.get_mut(number as usize) {
            let reading = if after { &mut list.after } else { &mut list.before };
            *reading = Reading::NotAsked;
        }
    }

    /// Takes a reading.
    pub(super) fn took(&mut self, number: u32, after: bool, listing: Option<Listing>) {
        let Some(list) = self.lists.get_mut(number as usize) else { return };
        list.lost = 0;
        if !after {
            list.before = Reading::Done;
            if let Some((rows, true)) = listing {
                list.handles_before = Some(rows.into_iter().map(|row| row.handle).collect());
            }
            return;
        }
        list.after = Reading::Done;
        if let Some((rows, complete)) = listing {
            if complete {
                list.strangers.iter_mut().for_each(|it| it.confirm(&rows));
            }
            list.complete = complete;
            list.rows = rows;
        }
    }

    /// The list of that number once its second reading is over: its strangers, and how far those
    /// have come that are to go.
    pub(super) fn ending(&mut self, number: u32) -> Option<(&mut Vec<Stranger>, &mut Ending)> {
        let list = self.lists.get_mut(number as usize)?;
        (list.after == Reading::Done).then_some((&mut list.strangers, &mut list.ending))
    }

    /// The second reading is asked for once more.
    pub(super) fn ask_again(&mut self, number: u32, now: Time) {
        if let Some(list) = self.lists.get_mut(number as usize) {
            list.after = Reading::Asked;
            list.asked = Some(now);
        }
    }

    /// Splits the second reading: what is ours comes back, strangers stay here. Ours is what has a
    /// label of this run; where the list shows no labels and the run made one thing that it lost,
    /// the one thing that is new.
    pub(super) fn sort_out(
        &mut self,
        number: u32,
        known: impl Fn(&Row) -> bool,
        noted: &BTreeSet<String>,
        (labels, missing): (Option<&[String]>, u32),
    ) -> Vec<Row> {
        let Some(list) = self.lists.get_mut(number as usize) else { return Vec::new() };
        let mut orphans = Vec::new();
        for row in std::mem::take(&mut list.rows) {
            let sorted = list.strangers.iter().any(|it| it.row.handle == row.handle);
            if row.revoked || sorted || known(&row) || noted.contains(&row.handle) {
                continue;
            }
            let labelled = |begin: &String| {
                row.label.as_ref().is_some_and(|it| it.starts_with(begin.as_str()))
            };
            if labels.is_some_and(|labels| labels.iter().any(labelled)) {
                orphans.push(row);
                continue;
            }
            let there = list.handles_before.as_ref().map(|before| before.contains(&row.handle));
            list.strangers.push(Stranger::new(row, there == Some(false)));
        }
        if labels.is_none() && missing == 1 && list.complete {
            let ours =
                |it: &Stranger| it.minted_during_run && !it.row.hinted && it.end == End::Untouched;
            let mut new = list.strangers.iter().enumerate().filter(|(_, it)| ours(it));
            if let (Some((at, _)), None) = (new.next(), new.next()) {
                orphans.push(list.strangers.remove(at).row);
            }
        }
        orphans
    }

    /// Whether the first reading is still to come or under way.
    pub(super) fn before_is_pending(&self, subject: Subject) -> bool {
        self.list(subject).is_some_and(|list| list.before != Reading::Done)
    }

    /// Handles of the first reading, where it came to its end.
    pub(super) fn before(&self, subject: Subject) -> Option<&BTreeSet<String>> {
        self.list(subject)?.handles_before.as_ref()
    }

    /// Whether the second reading of this credential's list is over, or there is none.
    pub(super) fn swept(&self, subject: Subject) -> bool {
        self.list(subject).is_none_or(|list| {
            let ending = list.strangers.iter().any(|it| it.end.is_under_way());
            list.after == Reading::Done && (list.ending.given_up || !ending)
        })
    }

    /// When the second reading was asked for, or something was last done because of it.
    pub(super) fn asked(&self, subject: Subject) -> Option<Time> {
        let list = self.list(subject)?;
        Some(list.asked?.max(list.ending.moved_at))
    }

    /// The second reading was asked for and did not come to its end.
    pub(super) fn unread(&self, subject: Subject) -> bool {
        self.list(subject).is_some_and(|list| {
            list.leader == subject && list.after != Reading::NotAsked && !list.complete
        })
    }

    /// The second reading came to its end, was asked for late enough to show what was made before
    /// `since`, and would show it: by its label, or as something new that nobody knows.
    pub(super) fn accounts_for(&self, subject: Subject, since: Time, labels: bool) -> bool {
        self.list(subject).is_some_and(|list| {
            let new = list.strangers.iter().any(|stranger| stranger.minted_during_run);
            list.after == Reading::Done
                && list.complete
                && list.asked.is_some_and(|asked| asked >= since)
                && (labels || !new)
        })
    }

    /// The list shows unrecognised ones that nothing says were there before.
    pub(super) fn shows_new(&self, subject: Subject) -> bool {
        self.list(subject).is_some_and(|list| {
            let mut all = list.strangers.iter();
            all.any(|stranger| stranger.minted_during_run || list.handles_before.is_none())
        })
    }

    /// Strangers under this credential's owner; told of the first that has that owner.
    pub(super) fn strangers(&self, subject: Subject) -> &[Stranger] {
        match self.list(subject) {
            Some(list) if list.leader == subject => &list.strangers,
            _ => &[],
        }
    }

    /// Everybody of a list.
    pub(super) fn members(&self, number: u32) -> &[Subject] {
        self.lists.get(number as usize).map_or(&[], |list| &list.members)
    }

    /// Those that die with this one.
    pub(super) fn followers(&self, leader: Subject) -> &[Subject] {
        self.followers.get(&leader).map_or(&[], Vec::as_slice)
    }

    /// The number of this credential's list.
    pub(super) fn number(&self, subject: Subject) -> Option<u32> {
        self.of.get(subject.0 as usize).copied().flatten()
    }

    fn list(&self, subject: Subject) -> Option<&List> {
        self.lists.get(self.number(subject)? as usize)
    }
}

impl List {
    fn led_by(leader: Subject) -> Self {
        Self {
            leader,
            members: Vec::new(),
            missing: BTreeSet::new(),
            before: Reading::NotAsked,
            handles_before: None,
            after: Reading::NotAsked,
            lost: 0,
            asked: None,
            complete: false,
            rows: Vec::new(),
            strangers: Vec::new(),
            ending: Ending::default(),
        }
    }
}

/// What makes two credentials appear in one list: kind, vars and who asks.
fn owner(plan: &Plan, planned: &Planned, index: usize) -> Option<String> {
    if !planned.phases.contains(&Phase::Sweep) {
        return None;
    }
    let kind = plan.kind(planned.kind)?;
    let step = kind.can.verbs.get(&Verb::Find)?.first()?.steps.first()?;
    let asker = match step.actor {
        // Each lists its own; nobody else's list is the same.
        Actor::Old | Actor::New | Actor::Live | Actor::It => format!("{index}"),
        Actor::Admin(_) | Actor::Client | Actor::None => format!("{:?}", planned.admins),
    };
    let vars = serde_json::to_string(&planned.vars).unwrap_or_default();
    Some(format!("{}\n{vars}\n{asker}", planned.kind))
}
