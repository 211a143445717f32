//! Revocations that share one request: few requests, nobody kept waiting, each answered by itself.

use std::collections::BTreeMap;

use rotate::engine::batch::Batch;
use rotate::engine::call::{Call, Task, Time, Told, Verb, What};
use rotate::engine::capability::{Actor, BatchLimit, Rate};
use rotate::engine::report::{Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::{Sim, verb_of};

const HOUR: u64 = 3_600_000;

/// A provider that ends keys by their value, for whoever shows them, `size` in one request.
fn shared(keys: usize, size: u32, count: u32) -> Bench {
    let mut text = String::from("[role.mail]\n");
    for number in 0..keys {
        text += &entry("mail", &format!("k{number}"), "key", "");
    }
    let mut bench = Bench::of(&text).can("key", |kind| {
        let ways = kind.verbs.get_mut(&Verb::Revoke).unwrap();
        ways.remove(0);
        ways[0].batch = true;
        ways[0].steps[0].actor = Actor::None;
        ways[0].steps[0].parties = vec!["old".to_owned()];
        kind.verbs.remove(&Verb::Find);
        kind.verbs.remove(&Verb::Issue);
    });
    let limits = &mut bench.capabilities.providers.get_mut("lab").unwrap().limits;
    limits.in_flight = 1;
    limits.batch = Some(BatchLimit { size, rate: Rate { count, per_ms: HOUR } });
    bench
}

fn batch(call: &Call) -> Option<Batch> {
    match &call.task {
        Task::Ask(request) => Batch::of(&request.values),
        _ => None,
    }
}

/// When each request left, and how many shared it.
fn requests(sim: &Sim) -> Vec<(Time, usize)> {
    let mut requests: BTreeMap<Batch, (Time, usize)> = BTreeMap::new();
    for (at, _, call) in sim.calls.iter().filter(|(.., it)| verb_of(it) == Some(Verb::Revoke)) {
        let (left, members) = requests.entry(batch(call).unwrap()).or_insert((*at, 0));
        assert_eq!(left, at, "a request leaves once");
        *members += 1;
    }
    assert!(requests.iter().all(|(it, (_, members))| *members <= it.size as usize));
    requests.into_values().collect()
}

#[test]
fn one_alone_goes_at_once() {
    let mut sim = Sim::contain(&shared(1, 1_000, 60));
    let report = sim.finish();
    let looked = sim.first(Verb::Probe, "k0").unwrap();
    let latency = sim.server.manners.latency;
    assert_eq!(requests(&sim), [(looked.plus(latency), 1)], "as soon as the old one was seen");
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);
}

/// They are looked at a few hundred at a time, so their revocations come into line in crowds.
#[test]
fn two_thousand_five_hundred_need_a_handful_of_requests_and_wait_for_none() {
    let mut sim = Sim::contain(&shared(2_500, 1_000, 60));
    sim.until(Time(5_000));
    let requests = requests(&sim);
    assert_eq!(requests.iter().map(|(_, members)| members).sum::<usize>(), 2_500);
    assert!((3..=10).contains(&requests.len()), "{requests:?}");
    let answered: BTreeMap<_, Time> = sim
        .events
        .iter()
        .filter_map(|(at, event)| match &event.what {
            What::Answered(id, _) => Some((*id, *at)),
            _ => None,
        })
        .collect();
    let began = requests[0].0;
    for (at, _, call) in sim.calls.iter().filter(|(.., it)| verb_of(it) == Some(Verb::Revoke)) {
        let looks = sim.calls.iter().filter(|(.., look)| look.subject == call.subject);
        let look = looks.clone().find(|(.., it)| verb_of(it) == Some(Verb::Probe)).unwrap();
        let in_line = answered[&look.1];
        let most = 50.max(at.since(began) / 4) + 20;
        assert!(at.since(in_line) <= most, "in line at {in_line:?}, left at {at:?}");
    }
}

#[test]
fn the_hour_s_requests_are_kept_and_the_last_ones_wait_for_the_next_hour() {
    let mut sim = Sim::contain(&shared(12, 2, 3));
    sim.until(Time(2_000));
    let requests = requests(&sim);
    assert_eq!(requests.len(), 3, "{requests:?}");
    let mut patient = shared(12, 2, 3);
    patient.capabilities.providers.get_mut("lab").unwrap().limits.batch =
        Some(BatchLimit { size: 2, rate: Rate { count: 3, per_ms: 10_000 } });
    let mut sim = Sim::contain(&patient);
    sim.finish();
    let requests = self::requests(&sim);
    for few in requests.windows(4) {
        assert!(few[3].0.since(few[0].0) >= 10_000, "{requests:?}");
    }
    assert_eq!(requests.iter().map(|(_, members)| members).sum::<usize>(), 12);
}

#[test]
fn told_to_wait_all_of_a_request_wait_as_long_as_one() {
    let mut sim = Sim::contain(&shared(40, 1_000, 60));
    sim.server.manners.throttles = Some((Time(1_000), None));
    sim.until(Time(20_000));
    let report = sim.report();
    assert!(report.credentials.iter().all(|one| one.old.revoke == Revoke::Accepted));
    let last = requests(&sim).last().copied().unwrap();
    assert!(last.0 < Time(10_000), "a pause was doubled once for each of them: {last:?}");
}

#[test]
fn a_lost_request_is_sent_again_for_each_that_shared_it() {
    let mut sim = Sim::contain(&shared(5, 1_000, 60));
    sim.server.manners.lose_revokes = 5;
    let report = sim.finish();
    assert!(report.credentials.iter().all(|one| one.old.revoke == Revoke::Accepted));
    assert_eq!(sim.calls_of(Verb::Revoke), 10);
}

#[test]
fn a_crash_under_way_leaves_each_to_be_sent_again() {
    let bench = shared(6, 1_000, 60);
    let mut whole = Sim::contain(&bench);
    whole.finish();
    for number in 1..whole.events.len() {
        let mut sim = Sim::contain(&bench);
        sim.until_event(number);
        sim.crash();
        let report = sim.finish();
        for one in &report.credentials {
            assert_eq!(one.old.revoke, Revoke::Accepted, "{}, event {number}", one.id);
        }
        requests(&sim);
    }
}

#[test]
fn none_that_was_stopped_keeps_a_seat() {
    let mut sim = Sim::contain(&shared(8, 1_000, 60));
    sim.until_event(12);
    sim.tell(Told::Stop);
    sim.finish();
    requests(&sim);
}
