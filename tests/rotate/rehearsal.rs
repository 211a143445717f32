//! Never an instant without a working credential; and who comes first when two runs meet.

use std::sync::atomic::{AtomicBool, Ordering};

use rotate::engine::call::Wall;
use rotate::journal::{Holder, State};

use crate::fleet::{Fleet, Truth};
use crate::lab::{Manners, Redis};
use crate::role::ENV;
use crate::{openai, redis};

const REPLACED: Truth = Truth { old_alive: 0, replaced: 2, passwords: 1, keys: 2 };

/// What a client does that reads its place on each use: where the value is refused, it must have
/// been replaced meanwhile, and the one that stands there now must be accepted.
fn use_it(read: impl Fn() -> String, is_alive: impl Fn(&str) -> bool) {
    let value = read();
    if !is_alive(&value) {
        let now = read();
        assert_ne!(now, value, "refused, and nothing else in the place");
        assert!(is_alive(&now), "neither the old nor the new one is accepted");
    }
}

/// A connection that Redis closes is opened again: whoever ends the old one's connections ends
/// the user's others too.
fn is_accepted(redis: &Redis, password: &str) -> bool {
    loop {
        match redis.connect("mail", password) {
            Ok(_) => return true,
            Err(why) if why.starts_with("WRONGPASS") => return false,
            Err(_) => {}
        }
    }
}

#[test]
fn a_client_that_hammers_never_finds_itself_without_one_that_works() {
    let Some(fleet) = Fleet::new() else { return };
    let over = AtomicBool::new(false);
    let (outcome, uses) = std::thread::scope(|scope| {
        let hammering = scope.spawn(|| {
            let mut uses = 0;
            while !over.load(Ordering::Relaxed) {
                let password = || redis::placed(&fleet.host);
                use_it(password, |value| is_accepted(&fleet.redis, value));
                let key = || fleet.host.value(ENV, "OPENAI_API_KEY");
                use_it(key, |value| fleet.openai.is_alive(value));
                uses += 1;
            }
            uses
        });
        let outcome = fleet.host.rotate(&["rehearse", "--role", "mail-agent"]);
        over.store(true, Ordering::Relaxed);
        (outcome, hammering.join().unwrap())
    });
    insta::assert_snapshot!(outcome.table(), @r"
    rehearse exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(uses > 100, "used {uses} times");
    assert_eq!(fleet.truth(), REPLACED);
}

/// What the rehearsal had put in place is burned like anything else that the role holds.
#[test]
fn a_contain_takes_over_from_a_rehearsal_that_had_delivered() {
    let Some(fleet) = Fleet::new() else { return };
    let mut rehearsal = fleet.host.start(&["rehearse", "--role", "mail-agent"]);
    rehearsal.hear("use the old one  refused");
    let (password, key) = (redis::placed(&fleet.host), fleet.host.value(ENV, "OPENAI_API_KEY"));
    let contain = fleet.host.rotate(&["--role", "mail-agent"]);
    let rehearsed = rehearsal.end();
    assert_eq!(rehearsed.code, Some(130), "{}", rehearsed.stderr);
    assert!(contain.stderr.contains("taking mail-agent over from"), "{}", contain.stderr);
    // Dead, each of them; whose revocation came first is not said.
    assert_eq!(
        contain.code,
        Some(0),
        "{}
{}",
        contain.table(),
        contain.stderr
    );
    assert!(!fleet.redis.is_alive("mail", "old") && !fleet.openai.is_alive(&fleet.key.secret));
    assert!(!fleet.redis.is_alive("mail", &password) && !fleet.openai.is_alive(&key));
    assert_eq!(fleet.truth(), Truth { replaced: 0, ..REPLACED }, "held, one at each server");
}

/// What the rehearsal had issued and not yet put in place stands in no inventory: it is burned
/// all the same.
#[test]
fn a_contain_takes_over_from_a_rehearsal_that_had_issued() {
    let Some(fleet) = Fleet::new() else { return };
    let mut rehearsal = fleet.host.start(&["rehearse", "--role", "mail-agent"]);
    rehearsal.hear("mail-agent/model  use the old one  accepted");
    // It cannot be proved, and so goes nowhere.
    fleet.openai.misbehave("GET /v1/models", Manners::ServerError);
    rehearsal.hear("mail-agent/model  issue  issued, sealed");
    let contain = fleet.host.start(&["--role", "mail-agent"]);
    rehearsal.end();
    fleet.openai.behave();
    let contain = contain.end();
    assert_eq!(contain.code, Some(0), "{}\n{}", contain.table(), contain.stderr);
    assert_eq!(fleet.truth(), Truth { replaced: 0, ..REPLACED }, "held, one at each server");
}

#[test]
fn a_second_contain_follows_the_first_one_s_report() {
    let Some(fleet) = Fleet::new() else { return };
    let mut first = fleet.host.start(&["--role", "mail-agent"]);
    first.hear("revoke  accepted");
    let second = fleet.host.rotate(&["--role", "mail-agent"]);
    let first = first.end();
    let held = second.stderr.lines().find(|line| line.contains("following it"));
    let held = held.unwrap_or_else(|| panic!("{}", second.stderr));
    // Who, where and since when.
    let who = format!("role mail-agent is held by run {} (contain), process ", first.run());
    assert!(held.contains(&who) && held.contains(" on ") && held.contains(", since 20"), "{held}");
    assert_eq!((second.run(), second.code), (first.run(), first.code));
    assert_eq!(second.table(), first.table());
    assert_eq!(fleet.truth(), Truth { replaced: 0, ..REPLACED });
}

/// Whoever follows a run that is killed is told, and finishes it.
#[test]
fn who_follows_a_run_that_dies_is_told() {
    let Some(fleet) = Fleet::new() else { return };
    let mut first = fleet.host.start(&["--role", "mail-agent"]);
    first.hear("revoke  accepted");
    let mut second = fleet.host.start(&["--role", "mail-agent"]);
    second.hear("following it");
    first.kill();
    let second = second.end();
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("hint: take it up: rotate resume"), "{}", second.stderr);
    let resumed = fleet.host.rotate(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.table());
    assert_eq!(fleet.truth(), Truth { replaced: 0, ..REPLACED });
}

/// The second contain of a contained role burns what the first one held.
#[test]
fn what_was_held_is_burned_when_the_role_is_contained_again() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.host.rotate(&["--role", "mail-agent"]);
    let again = fleet.host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(again.table(), @r"
    contain exit 0
    mail-agent/cache: already-dead, revoke accepted, control new, made-up refused; new held
    mail-agent/model: already-dead, revoke by-hand, control new, made-up refused; new held
    mail-agent/cache@[run]#1: dead, revoke accepted, control mail-agent/cache, made-up refused; new not-issued
    mail-agent/model@[run]#1: dead, revoke accepted, control mail-agent/model, made-up refused; new not-issued
    ");
    let restored = fleet.host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/cache: already-dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/model: already-dead, revoke by-hand, control null, made-up null; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert_eq!(fleet.truth(), REPLACED);
}

#[test]
fn a_rehearsal_that_cannot_be_ended_from_here_holds_up_no_contain() {
    let bench = openai::bench();
    let state = State::open(&bench.host.path("state")).unwrap();
    let (run, mode, host) = ("r0".to_owned(), "rehearse".to_owned(), "elsewhere".to_owned());
    let rehearsal = Holder { run, mode, pid: 1, host, since: Wall(0) };
    let _lock = state.lock("mail-agent", &rehearsal).unwrap();
    let outcome = bench.host.rotate(&["--role", "mail-agent"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("mail-agent is held by run r0 (rehearse), process 1 on elsewhere")
    );
    assert!(outcome.stderr.contains(": contained beside it"), "{}", outcome.stderr);
    assert!(!bench.fake.is_alive(&bench.old.secret));
}
