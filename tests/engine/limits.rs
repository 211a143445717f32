//! Limits and back-off: kept by the engine, and no provider holds up another.

use std::collections::BTreeMap;

use rotate::engine::call::{Time, Verb};
use rotate::engine::capability::Rate;
use rotate::engine::report::{Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::{Sim, verb_of};

fn limited(change: impl FnOnce(&mut rotate::engine::capability::Limits), keys: usize) -> Sim {
    let mut bench = Bench::with(&vec!["key"; keys]);
    change(&mut bench.capabilities.providers.get_mut("lab").unwrap().limits);
    Sim::contain(&bench)
}

#[test]
fn no_window_holds_more_than_its_rate_and_nobody_is_sent_more_than_it_bears() {
    let mut sim = limited(
        |limits| {
            limits.in_flight = 2;
            limits.calls = Some(Rate { count: 5, per_ms: 1_000 });
            limits.revoke = Some(Rate { count: 2, per_ms: 3_000 });
        },
        6,
    );
    let report = sim.finish();
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));
    let mut by_account: BTreeMap<&str, Vec<Time>> = BTreeMap::new();
    let mut revokes = Vec::new();
    for (at, _, call) in &sim.calls {
        if call.account != "local" {
            by_account.entry(&call.account).or_default().push(*at);
        }
        if verb_of(call) == Some(Verb::Revoke) {
            revokes.push(*at);
        }
    }
    let within = |times: &[Time], count: usize, ms: u64| {
        times.windows(count + 1).all(|few| few[count].since(few[0]) >= ms)
    };
    for (account, times) in &by_account {
        assert!(within(times, 5, 1_000), "{account}: {times:?}");
    }
    assert!(within(&revokes, 2, 3_000), "{revokes:?}");
}

#[test]
fn told_to_wait_the_account_waits_that_long_and_no_longer() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.throttles = Some((Time(4_000), Some(7_000)));
    let report = sim.finish();
    let kill = sim.times(Verb::Revoke, "a");
    assert!(kill.iter().all(|at| at.0 >= 7_000), "{kill:?}");
    assert!(kill[0].0 < 7_200, "{kill:?}");
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);
}

#[test]
fn told_to_wait_for_a_day_it_gives_up_and_says_that_nothing_was_sent() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.throttles = Some((Time(86_400_000), Some(86_400_000)));
    let report = sim.finish();
    let one = &report.credentials[0];
    assert!(sim.now < Time(1_200_000), "{} ms", sim.now.0);
    assert_eq!((one.old.revoke, one.old.verdict), (Revoke::NotSent, Verdict::Unproven));
    assert_eq!(one.todo[0].what, "revoke the old mail/a");
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_provider_that_is_away_is_given_up_once_and_not_phase_by_phase() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.unreachable_until = Time(u64::MAX);
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.revoke, Revoke::NotSent);
    assert!(sim.now < Time(400_000), "two minutes are its time: {} ms", sim.now.0);
}

#[test]
fn one_that_comes_back_is_revoked_within_ten_seconds() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.unreachable_until = Time(60_000);
    let report = sim.finish();
    let kill = sim.times(Verb::Revoke, "a").into_iter().find(|at| at.0 >= 60_000).unwrap();
    assert!(kill < Time(70_100), "{} ms", kill.0);
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);
    assert_eq!(report.credentials[0].old.verdict, Verdict::Unproven, "never seen alive here");
}

#[test]
fn forbidden_revocations_are_left_to_a_person() {
    let none = Some(Rate { count: 0, per_ms: 1_000 });
    let mut sim = limited(|limits| limits.revoke = none, 1);
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Revoke, "a"), []);
    assert_eq!(report.exit_code, 4);
    let mut sim = limited(|limits| limits.calls = none, 2);
    let report = sim.finish();
    assert!(sim.calls.iter().all(|(.., call)| call.account == "local"));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_thousand_that_hang_hold_up_no_other_provider() {
    let mut text =
        String::from("[provider.other]\nfile = \"acme\"\nbase = \"https://b.example\"\n");
    text += "[role.mail]\n";
    for number in 0..1_000 {
        text += &entry("mail", &format!("k{number}"), "key", "");
    }
    text += "[[role.mail.credential]]\nname = \"last\"\nprovider = \"other\"\nkind = \"api-key\"\n\
             secret = \"dotenv:/srv/mail/.env#LAST\"\nadmin = \"boss\"\n\
             [admin.boss]\nprovider = \"other\"\nkind = \"admin-key\"\nsecret = \"env:BOSS\"\n";
    let bench = Bench::of(&text);
    let mut sim = Sim::contain(&bench);
    sim.server.put("env:BOSS", "boss");
    sim.server.hanging_provider = Some("lab".to_owned());
    sim.until(Time(3_000));
    let kill = sim.first(Verb::Revoke, "last").unwrap();
    assert!(kill < Time(1_000), "{} ms", kill.0);
}

/// So many at a provider that bears them all at once, and asks for nothing but the revocation.
fn thousands(count: usize) -> Sim {
    let mut text = String::from("[role.mail]\n");
    for number in 0..count {
        text += &entry("mail", &format!("k{number}"), "key", "");
    }
    let mut bench = Bench::of(&text).can("key", |kind| {
        kind.verbs.remove(&Verb::Find);
        let ways = kind.verbs.get_mut(&Verb::Revoke).unwrap();
        ways.iter_mut().flat_map(|way| &mut way.steps).for_each(|step| step.needs.clear());
    });
    bench.capabilities.providers.get_mut("lab").unwrap().limits.in_flight = 512;
    Sim::contain(&bench)
}

/// Three times as many as can be under way at once, at a server that takes its time: each look, and
/// each revocation, is a second in line for the others.
#[test]
fn a_look_that_waits_its_turn_is_not_late_and_no_revocation_waits_for_long() {
    let mut sim = thousands(1_536);
    sim.server.manners.latency = 900;
    sim.until(Time(5_000));
    let look = |name| sim.first(Verb::Probe, name).map(|at| at.0);
    let kill = |name| sim.first(Verb::Revoke, name).map(|at| at.0);
    // The first third is revoked as soon as it was seen, the second is looked at in its turn.
    assert!(look("k0") < Some(100) && kill("k0") < Some(1_000), "{:?}", kill("k0"));
    assert!(look("k600") > Some(1_500) && look("k600") < Some(1_900), "{:?}", look("k600"));
    assert!(kill("k600") > Some(2_500) && kill("k600") < Some(2_900), "{:?}", kill("k600"));
    // The last would come to it after more than the 2 s, and a millisecond for each of 1,024.
    assert!(kill("k1500") > Some(3_000) && kill("k1500") < Some(4_600), "{:?}", kill("k1500"));
    assert!(look("k1500") > kill("k1500") || look("k1500").is_none(), "{:?}", look("k1500"));
}

#[test]
fn what_stands_in_line_for_its_provider_s_limits_is_not_given_up() {
    // Twenty revocations, one each fifteen seconds; a provider has two minutes for one.
    let mut sim = limited(|limits| limits.revoke = Some(Rate { count: 1, per_ms: 15_000 }), 20);
    let report = sim.finish();
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));
    assert_eq!(report.exit_code, 0);
    let last = sim.calls.iter().rfind(|(.., call)| verb_of(call) == Some(Verb::Revoke));
    assert!(last.is_some_and(|(at, ..)| *at < Time(287_000)), "nor is it later than they allow");
}
