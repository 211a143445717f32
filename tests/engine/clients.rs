//! OAuth clients that are rotated beside what was granted to them. A successor is another client:
//! what the old one was granted does not exist for it.

use rotate::engine::call::{Task, Time, Verb};
use rotate::engine::report::{Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

/// The handle that the first credential has at the server.
const APP: &str = "key_2";

/// An app, and a grant of this kind that belongs to it.
fn bench(kind: &str) -> Bench {
    let app = entry("mail", "app", "app", &format!("handle = \"{APP}\"\n"));
    let bench = Bench::of(&format!(
        "[role.mail]\n{app}[[role.mail.credential]]\nname = \"inbox\"\nprovider = \"lab\"\n\
         kind = \"{kind}\"\nsecret = \"dotenv:/srv/mail/.env#INBOX\"\nreload = \"none\"\n\
         client = \"mail/app\"\n"
    ));
    assert_eq!(bench.inventory.problems, []);
    bench
}

fn belonging(mut sim: Sim) -> Sim {
    let inbox = sim.old("inbox");
    let grant = sim.server.keys.iter_mut().find(|key| key.secret == inbox).unwrap();
    grant.client = Some(APP.to_owned());
    sim
}

/// Which client acts in the calls of a verb about the grant.
fn clients(sim: &Sim, verb: Verb) -> Vec<String> {
    let inbox = sim.subject("inbox");
    let of_it = sim.calls.iter().filter(|(_, _, call)| call.subject == Some(inbox));
    let requests = of_it.filter_map(|(_, _, call)| match &call.task {
        Task::Ask(request) if request.at.verb == verb => Some(&request.parties["client"]),
        _ => None,
    });
    requests.map(|client| client.public["handle"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_grant_is_ended_by_its_own_client_and_made_by_the_successor() {
    let mut sim = belonging(Sim::contain(&bench("granted")));
    let report = sim.finish();
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    assert!(sim.first(Verb::Revoke, "inbox") < sim.first(Verb::Revoke, "app"));
    assert_eq!(clients(&sim, Verb::Revoke), [APP]);
    assert!(clients(&sim, Verb::Issue).iter().all(|client| client != APP));
    assert_eq!(report.credentials[1].old.revoke, Revoke::Accepted);
    // Nobody is left who could see it dead, and who could is burned: it was not kept for that.
    assert_eq!(report.credentials[1].old.verdict, Verdict::Unproven);
    assert!(sim.first(Verb::Revoke, "app") < Some(Time(5_000)), "{}", sim.told());
    assert!(sim.now < Time(60_000), "and nobody waits for a proof that cannot come");
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
}

#[test]
fn in_practice_the_old_client_stays_until_its_grants_are_proved_dead() {
    let mut sim = belonging(Sim::rehearse(&bench("granted")));
    let report = sim.finish();
    for one in &report.credentials {
        assert_eq!(one.old.verdict, Verdict::Dead, "{}: {}", one.id, one.old.why);
    }
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    let kill = sim.first(Verb::Revoke, "app").unwrap();
    let last_look = sim.times(Verb::Probe, "inbox").into_iter().max().unwrap();
    assert!(last_look < kill, "{} {}", last_look.0, kill.0);
}

/// What it would be rolled to is the old client's, and goes with that.
#[test]
fn a_grant_of_a_client_that_goes_is_not_rolled_but_ended() {
    let mut sim = belonging(Sim::contain(&bench("spent")));
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Roll, "inbox"), []);
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    assert!(report.credentials[1].todo.iter().any(|todo| todo.what.contains("issue a new")));
}

#[test]
fn practice_ends_no_client_whose_grants_it_cannot_replace() {
    let mut sim = belonging(Sim::rehearse(&bench("spent")));
    let report = sim.finish();
    assert!(sim.server.lives(sim.old("inbox")) && sim.server.lives(sim.old("app")));
    assert_eq!(sim.times(Verb::Revoke, "app"), []);
    assert_ne!(report.exit_code, 0);
}
