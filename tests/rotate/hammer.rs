//! A client that never stops using what the role holds, as careful applications do.
//!
//! For each credential there are two. A *reader* reads its place for each use. A *keeper* keeps
//! what it has until that is refused. Both read the place once more where a value is refused, for
//! it may have been replaced in that instant, and use what stands there now: where that is refused
//! too, the client is without a credential that works.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures::future::join_all;

use crate::hosted::ask;
use crate::ten::{Held, Ten};

/// Between two uses of one client: twenty of them leave the servers, and the run, a core of two.
const PAUSE: Duration = Duration::from_millis(20);

/// What the clients of one credential saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Uses of the value of before that were accepted.
    pub(crate) old: usize,
    /// Uses of any other that were accepted.
    pub(crate) new: usize,
    /// Times that one was refused, and the one that stood in its place meanwhile accepted.
    pub(crate) replaced: usize,
    /// Times that a client was without one that works.
    pub(crate) without: usize,
}

/// Uses everything from before `during` begins until after it has ended.
pub(crate) fn hammer<T>(ten: &Ten, during: impl FnOnce() -> T) -> (T, BTreeMap<Held, Seen>) {
    let over = AtomicBool::new(false);
    let (tell, begun) = channel();
    std::thread::scope(|scope| {
        let hammering = scope.spawn(|| ask(all(ten, &over, tell)));
        for _ in 0..Held::ALL.len() * 2 {
            begun.recv().expect("a client ended before it began");
        }
        let outcome = during();
        over.store(true, Ordering::Relaxed);
        (outcome, hammering.join().unwrap())
    })
}

async fn all(ten: &Ten, over: &AtomicBool, begun: Sender<()>) -> BTreeMap<Held, Seen> {
    let clients = Held::ALL.into_iter().flat_map(|held| {
        [true, false].map(|keeps| {
            let client = User { ten, held, keeps, holds: held.read(&ten.host) };
            let begun = begun.clone();
            async move { (held, client.goes_on(over, &begun).await) }
        })
    });
    let mut all = BTreeMap::<Held, Seen>::new();
    for (held, seen) in join_all(clients).await {
        let sum = all.entry(held).or_default();
        sum.old += seen.old;
        sum.new += seen.new;
        sum.replaced += seen.replaced;
        sum.without += seen.without;
    }
    all
}

struct User<'a> {
    ten: &'a Ten,
    held: Held,
    keeps: bool,
    holds: String,
}

impl User<'_> {
    /// Uses it again and again; the last use begins after the end.
    async fn goes_on(mut self, over: &AtomicBool, begun: &Sender<()>) -> Seen {
        let mut seen = Seen::default();
        loop {
            let last = over.load(Ordering::Relaxed);
            self.uses(&mut seen).await;
            let _ = begun.send(());
            if last {
                return seen;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn uses(&mut self, seen: &mut Seen) {
        if !self.keeps {
            self.holds = self.held.read(&self.ten.host);
        }
        if !self.ten.accepts(self.held, &self.holds).await {
            self.holds = self.held.read(&self.ten.host);
            if !self.ten.accepts(self.held, &self.holds).await {
                seen.without += 1;
                return;
            }
            seen.replaced += 1;
        }
        match self.holds == self.ten.old(self.held) {
            true => seen.old += 1,
            false => seen.new += 1,
        }
    }
}
