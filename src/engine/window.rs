//! So many of something in any window of time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::call::Time;
use super::capability::Rate;

/// The sliding window of one rate: exact for any way in which the vendor cuts its windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    sent: VecDeque<Time>,
}

impl Window {
    /// When the next one may go; none if never.
    pub(super) fn opens(&self, rate: Option<Rate>) -> Option<Time> {
        let Some(rate) = rate else { return Some(Time(0)) };
        let count = rate.count as usize;
        if count == 0 {
            return None;
        }
        let oldest = self.sent.len().checked_sub(count).and_then(|at| self.sent.get(at));
        Some(oldest.map_or(Time(0), |at| at.plus(rate.per_ms)))
    }

    /// Counts one that goes now.
    pub(super) fn send(&mut self, rate: Option<Rate>, now: Time) {
        let Some(rate) = rate else { return };
        self.sent.push_back(now);
        while self.sent.len() > rate.count as usize {
            self.sent.pop_front();
        }
    }

    /// The last one, and the first of those that are counted together with it.
    pub(super) fn span(&self, rate: Rate) -> Option<(Time, Time)> {
        let last = *self.sent.back()?;
        let first = self.sent.iter().copied().find(|at| at.plus(rate.per_ms) > last)?;
        Some((first, last))
    }
}
