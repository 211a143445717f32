//! Requests that end many credentials at once.
//!
//! A batch is whatever stands in line at one instant: nothing waits for a full one. The first goes
//! at once. Those that come into line after it share the next request, and the pause before that
//! grows with the time that revoking already takes, so that a line that trickles in does not spend
//! its hour's requests in the first seconds.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Time, Values};
use super::capability::BatchLimit;
use super::window::Window;

/// The least time between two such requests, milliseconds: less than a person notices, and more
/// than the answers of one durable write take to come into line.
const LEAST_MS: u64 = 50;

/// No revocation waits longer for its request than this part of the time since the first of them.
/// A pause that grows so makes 43 requests of the hour behind the first quarter of a second, and
/// 60 an hour is what the one known vendor of batches allows.
const PART: u64 = 4;

/// The request that a call shares with others. A driver finds it among the values of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Batch {
    /// Its number among those of its address in this run.
    pub id: u64,
    /// How many calls share it, this one included. Fewer come where one of them could not be made.
    pub size: u32,
}

impl Batch {
    /// What a call's values call it.
    const NAME: &str = "batch";

    /// The batch that a call belongs to; none if it has a request of its own.
    pub fn of(values: &Values) -> Option<Self> {
        let told = values.get(Self::NAME)?;
        let id = told.get("id").and_then(Value::as_u64)?;
        let size = u32::try_from(told.get("size").and_then(Value::as_u64)?).ok()?;
        Some(Self { id, size })
    }

    /// Writes it down for the driver.
    pub(super) fn mark(self, values: &mut Values) {
        values.insert(Self::NAME.to_owned(), json!({ "id": self.id, "size": self.size }));
    }
}

/// A place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    pub(super) batch: Batch,
    /// The first of its batch stands for the request; the others are not counted again.
    pub(super) leads: bool,
}

/// The batches of one address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Batches {
    limit: Option<BatchLimit>,
    sent: Window,
    open: Option<Open>,
    made: u64,
}

/// The batch that leaves at this instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    at: Time,
    batch: Batch,
    left: u32,
}

impl Batches {
    pub(super) fn new(limit: Option<BatchLimit>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether a batch leaves now that has a seat left.
    pub(super) fn has_seat(&self, now: Time) -> bool {
        self.open.as_ref().is_some_and(|open| open.at == now && open.left > 0)
    }

    /// When the next call may go: now where there is a seat; none if never.
    pub(super) fn opens(&self, now: Time) -> Option<Time> {
        if self.has_seat(now) {
            return Some(now);
        }
        let Some(limit) = self.limit else { return Some(Time(0)) };
        let window = self.sent.opens(Some(limit.rate))?;
        let pause = self
            .sent
            .span(limit.rate)
            .map_or(Time(0), |(first, last)| last.plus(LEAST_MS.max(last.since(first) / PART)));
        Some(window.max(pause))
    }

    /// Seats a call that leaves now, one of `waiting` that could.
    pub(super) fn seat(&mut self, now: Time, waiting: usize) -> Seat {
        if let Some(open) = self.open.as_mut().filter(|open| open.at == now && open.left > 0) {
            open.left -= 1;
            return Seat { batch: open.batch, leads: false };
        }
        let most = self.limit.map_or(1, |limit| limit.size.max(1));
        let size = u32::try_from(waiting).unwrap_or(most).clamp(1, most);
        self.made += 1;
        let batch = Batch { id: self.made, size };
        self.open = Some(Open { at: now, batch, left: size - 1 });
        self.sent.send(self.limit.map(|limit| limit.rate), now);
        Seat { batch, leads: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::capability::Rate;

    const HOUR: u64 = 3_600_000;

    fn batches(size: u32, count: u32) -> Batches {
        Batches::new(Some(BatchLimit { size, rate: Rate { count, per_ms: HOUR } }))
    }

    /// Calls that come one by one, each taken as soon as it may go: when batches left.
    fn trickle(batches: &mut Batches, every_ms: u64) -> Vec<u64> {
        let (mut left, mut sent) = (Vec::new(), 0);
        let mut now = Time(0);
        while now.0 < HOUR {
            match batches.opens(now) {
                Some(at) if at <= now => {
                    // Everything that came since is in line.
                    let came = now.0 / every_ms + 1;
                    let waiting = (came - sent).max(1);
                    batches.seat(now, waiting as usize);
                    sent = came;
                    left.push(now.0);
                    now = now.plus(every_ms);
                }
                Some(at) => now = at,
                None => panic!("never"),
            }
        }
        left
    }

    #[test]
    fn the_first_goes_at_once_and_alone() {
        let mut one = batches(1_000, 60);
        assert_eq!(one.opens(Time(7)), Some(Time(0)));
        assert_eq!(one.seat(Time(7), 1), Seat { batch: Batch { id: 1, size: 1 }, leads: true });
        assert!(!one.has_seat(Time(7)));
        assert_eq!(one.opens(Time(7)), Some(Time(57)));
    }

    #[test]
    fn what_stands_in_line_shares_one_request_and_no_more_than_it_holds() {
        let mut ten = batches(10, 60);
        let seats: Vec<_> = (0..10).map(|n| ten.seat(Time(0), 25 - n)).collect();
        assert!(seats.iter().all(|seat| seat.batch == Batch { id: 1, size: 10 }));
        assert_eq!(seats.iter().filter(|seat| seat.leads).count(), 1);
        assert!(ten.opens(Time(0)) > Some(Time(0)), "the eleventh waits for the next");
        assert_eq!(ten.seat(Time(50), 15).batch, Batch { id: 2, size: 10 });
        assert!(ten.has_seat(Time(50)) && !ten.has_seat(Time(51)), "nobody joins it later");
    }

    #[test]
    fn a_line_that_trickles_in_keeps_requests_for_later() {
        for every_ms in [1, 20, 500] {
            let mut sixty = batches(1_000, 60);
            let left = trickle(&mut sixty, every_ms);
            assert!(left.len() < 60, "{} at one in {every_ms} ms", left.len());
            for few in left.windows(2) {
                let most = LEAST_MS.max(few[0] / PART).max(every_ms);
                assert!(few[1] - few[0] <= most, "{few:?}: late");
            }
        }
    }

    #[test]
    fn the_hour_s_requests_are_never_exceeded() {
        let mut two = batches(5, 2);
        two.seat(Time(0), 1);
        two.seat(Time(100), 1);
        assert_eq!(two.opens(Time(200)), Some(Time(HOUR)));
        assert_eq!(batches(5, 0).opens(Time(0)), None);
    }

    #[test]
    fn a_driver_reads_what_the_queue_wrote() {
        let mut values = Values::new();
        assert_eq!(Batch::of(&values), None);
        Batch { id: 3, size: 1_000 }.mark(&mut values);
        assert_eq!(Batch::of(&values), Some(Batch { id: 3, size: 1_000 }));
    }
}
