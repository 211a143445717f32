//! A provider that knows the truth: every key it ever made, and where each is still accepted.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng as _;
use rand::rngs::StdRng;

use super::scenario::{Manners, Ms, Outage};

/// So many machines answer; each learns of a revocation at its own time.
const REPLICAS: usize = 3;

pub(crate) struct Key {
    pub(crate) handle: String,
    pub(crate) secret: String,
    pub(crate) label: Option<String>,
    /// The kind it was made as: another kind's list does not show it.
    pub(crate) kind: String,
    /// Whose it is: what a probe tells, and what dies together.
    pub(crate) owner: String,
    pub(crate) by: By,
    pub(crate) made: Ms,
    /// When it was made, as its list shows it.
    pub(crate) created: String,
    pub(crate) revoked: Option<Ms>,
    deaths: Option<[Ms; REPLICAS]>,
    /// Rolled away: another use of it ends what came after it.
    spent: bool,
}

/// Who made a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// It was there: the burned ones, and the admins.
    Before,
    /// A run of ours.
    Us,
    /// Somebody who held a burned one.
    Attacker,
    /// Somebody else at work on the account.
    Responder,
}

pub(crate) struct Site {
    pub(crate) manners: Manners,
    pub(crate) keys: Vec<Key>,
    /// Sessions that a burned one opened, by its secret.
    pub(crate) sessions: BTreeSet<String>,
    by_secret: BTreeMap<String, usize>,
    number: usize,
    made: u32,
}

impl Site {
    pub(crate) fn new(number: usize, manners: Manners) -> Self {
        Self {
            manners,
            keys: Vec::new(),
            sessions: BTreeSet::new(),
            by_secret: BTreeMap::new(),
            number,
            made: 0,
        }
    }

    /// Makes a key; its bytes are chosen here unless they are given.
    pub(crate) fn make(
        &mut self,
        kind: &str,
        owner: &str,
        by: By,
        label: Option<String>,
        now: (Ms, String),
        secret: Option<String>,
    ) -> &mut Key {
        self.made += 1;
        let secret = secret.unwrap_or_else(|| format!("s{}-{}-secret", self.number, self.made));
        self.by_secret.insert(secret.clone(), self.keys.len());
        self.keys.push(Key {
            handle: format!("k{}-{}", self.number, self.made),
            secret,
            label,
            kind: kind.to_owned(),
            owner: owner.to_owned(),
            by,
            made: now.0,
            created: now.1,
            revoked: None,
            deaths: None,
            spent: false,
        });
        let last = self.keys.len() - 1;
        &mut self.keys[last]
    }

    pub(crate) fn key(&self, secret: &str) -> Option<&Key> {
        self.keys.get(*self.by_secret.get(secret)?)
    }

    /// Whether any machine accepts it now or will.
    pub(crate) fn lives(&self, secret: &str, now: Ms) -> bool {
        self.key(secret).is_some_and(|key| key.lives(now))
    }

    pub(crate) fn down(&self, now: Ms) -> Option<Outage> {
        let (from, to, how) = self.manners.outage?;
        (from..to).contains(&now).then_some(how)
    }

    /// One use of a key, answered by one of the machines.
    pub(crate) fn accepts(&self, secret: Option<&str>, now: Ms, dice: &mut StdRng) -> bool {
        if self.down(now) == Some(Outage::RefusesAll) {
            return false;
        }
        let Some(key) = secret.and_then(|secret| self.key(secret)) else {
            return self.manners.blind;
        };
        match key.deaths {
            None => true,
            Some(deaths) => deaths[dice.random_range(0..REPLICAS)] > now,
        }
    }

    /// Ends a key, as this provider does it. True if there was something to end.
    pub(crate) fn revoke(&mut self, at: usize, now: Ms, dice: &mut StdRng) -> bool {
        let manners = &self.manners;
        let Some(key) = self.keys.get_mut(at).filter(|key| key.lives(now)) else { return false };
        if manners.lies || key.revoked.is_some() {
            return true;
        }
        key.revoked = Some(now);
        let from = now + manners.lag;
        key.deaths = Some([(); REPLICAS].map(|()| from + dice.random_range(0..=manners.flaps)));
        true
    }

    /// Ends a key at once, whoever says so.
    pub(crate) fn end(&mut self, at: usize, now: Ms) {
        if let Some(key) = self.keys.get_mut(at) {
            key.revoked.get_or_insert(now);
            key.deaths = Some([now; REPLICAS]);
        }
    }

    pub(crate) fn position(&self, secret: &str) -> Option<usize> {
        self.by_secret.get(secret).copied()
    }

    /// A refresh token is used: whether it is taken. One that was used before ends its family.
    pub(crate) fn spend(&mut self, at: usize, now: Ms) -> bool {
        let Some(key) = self.keys.get_mut(at) else { return false };
        if !key.spent {
            key.spent = true;
            return key.lives(now);
        }
        let owner = key.owner.clone();
        let family: Vec<usize> = (0..self.keys.len())
            .filter(|one| self.keys[*one].owner == owner && self.keys[*one].kind == "refresh")
            .collect();
        for one in family {
            self.end(one, now);
        }
        false
    }
}

impl Key {
    pub(crate) fn lives(&self, now: Ms) -> bool {
        self.deaths.is_none_or(|deaths| deaths.iter().any(|at| *at > now))
    }

    /// Whether a list that lags so long shows it.
    pub(crate) fn is_listed(&self, now: Ms, lag: Ms) -> bool {
        let shown = self.made == 0 || self.made + lag <= now;
        let gone = self.revoked.is_some_and(|at| at + lag <= now) && !self.lives(now);
        shown && !gone
    }
}
