//! Calls that share one request wait for each other here, as long as it takes them to arrive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use url::Url;

use crate::engine::batch::Batch;
use crate::engine::call::Answer;
use crate::secret::Secret;

/// The calls of a batch leave at one instant and need nothing but the CPU to arrive here. Who has
/// not come by then was never sent: one of its parties went away while it stood in line.
const ARRIVAL: Duration = Duration::from_millis(100);

/// The address, and the batch there.
type Key = (String, Batch);

/// The batches that are on their way.
#[derive(Default)]
pub(super) struct Gatherings {
    under_way: Mutex<BTreeMap<Key, Gathering>>,
}

#[derive(Default)]
struct Gathering {
    seats: Vec<Seat>,
    full: Arc<Notify>,
}

/// One call of a batch.
pub(super) struct Seat {
    pub(super) value: Secret,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

/// The first call of a batch, which sends the request for all of them.
pub(super) struct Lead<'g> {
    gatherings: &'g Gatherings,
    key: Key,
    full: Arc<Notify>,
}

impl Gatherings {
    /// Takes a seat: where the answer will come, and the lead if this is the first.
    pub(super) fn join(
        &self,
        address: &Url,
        batch: Batch,
        value: Secret,
    ) -> (oneshot::Receiver<Answer>, Option<Lead<'_>>) {
        let key = (address.to_string(), batch);
        let (sender, answer) = oneshot::channel();
        let mut under_way = self.lock();
        let gathering = under_way.entry(key.clone()).or_default();
        gathering.seats.push(Seat { value, answer: Mutex::new(Some(sender)) });
        let full = Arc::clone(&gathering.full);
        if gathering.seats.len() >= batch.size as usize {
            full.notify_one();
        }
        let leads = gathering.seats.len() == 1;
        // Made only for the lead: a second one's end would take the batch along.
        (answer, leads.then(|| Lead { gatherings: self, key, full }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Gathering>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// All calls of the batch, once they are here.
    pub(super) async fn gathered(self) -> Vec<Seat> {
        // Late or not, whoever is here goes.
        let _ = timeout(ARRIVAL, self.full.notified()).await;
        self.take()
    }

    fn take(&self) -> Vec<Seat> {
        self.gatherings.lock().remove(&self.key).map(|it| it.seats).unwrap_or_default()
    }
}

impl Drop for Lead<'_> {
    /// A lead that goes away takes its batch along: those that wait for it hear that at once.
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Seat {
    /// Brings the answer to whoever waits for it.
    pub(super) fn tell(&self, answer: Answer) {
        let sender = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A call that has given up waiting needs no answer.
        let _ = sender.map(|sender| sender.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Url {
        "https://api.github.example".parse().unwrap()
    }

    fn value(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[tokio::test]
    async fn the_first_sends_for_all_as_soon_as_all_are_there() {
        let gatherings = Gatherings::default();
        let batch = Batch { id: 1, size: 3 };
        let begun = std::time::Instant::now();
        let (first, lead) = gatherings.join(&address(), batch, value("a"));
        let (second, none) = gatherings.join(&address(), batch, value("b"));
        let (third, neither) = gatherings.join(&address(), batch, value("c"));
        assert!(none.is_none() && neither.is_none());
        let seats = lead.unwrap().gathered().await;
        assert_eq!(seats.len(), 3);
        assert!(begun.elapsed() < ARRIVAL, "nobody is waited for");
        for seat in &seats {
            seat.tell(Answer::Done);
        }
        for answer in [first, second, third] {
            assert_eq!(answer.await, Ok(Answer::Done));
        }
    }

    #[tokio::test]
    async fn one_that_never_comes_is_not_waited_for() {
        let gatherings = Gatherings::default();
        let begun = std::time::Instant::now();
        let (_answer, lead) = gatherings.join(&address(), Batch { id: 1, size: 2 }, value("a"));
        assert_eq!(lead.unwrap().gathered().await.len(), 1);
        assert!(begun.elapsed() >= ARRIVAL);
        let (_answer, lead) = gatherings.join(&address(), Batch { id: 1, size: 2 }, value("b"));
        assert!(lead.is_some(), "who comes after it was sent goes by itself");
    }

    #[tokio::test]
    async fn other_batches_and_other_addresses_are_not_mixed() {
        let gatherings = Gatherings::default();
        let other: Url = "https://ghe.example/api/v3".parse().unwrap();
        let two = Batch { id: 1, size: 2 };
        let joined = [
            gatherings.join(&address(), two, value("a")),
            gatherings.join(&address(), Batch { id: 2, size: 2 }, value("b")),
            gatherings.join(&other, two, value("c")),
        ];
        for (_, lead) in joined {
            assert_eq!(lead.unwrap().gathered().await.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_lead_that_goes_away_leaves_nobody_waiting() {
        let gatherings = Gatherings::default();
        let batch = Batch { id: 1, size: 2 };
        let (_, lead) = gatherings.join(&address(), batch, value("a"));
        let (second, _) = gatherings.join(&address(), batch, value("b"));
        drop(lead);
        assert!(second.await.is_err());
    }
}
