//! What is held for a role is told credential by credential, whichever run had which in hand.

use serde_json::{Value, json};

use crate::host::{Host, each};

/// `calendar` holds a second key, in a place of its own.
const ROOMS: &str = r#"
[[role.calendar.credential]]
name     = "rooms"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/second.env#KEY"
admin    = "acme-admin"
reload   = "none"

[role.rooms]
"#;

const RESTORE: [&str; 5] = ["restore", "--role", "calendar", "--because", "mended"];
const BOTH: [&str; 2] = ["calendar/events", "calendar/rooms"];

fn host() -> Host {
    let host = Host::new();
    let inventory = std::fs::read_to_string(host.path("inventory.toml")).unwrap();
    host.put("inventory.toml", &inventory.replace("[role.rooms]\n", ROOMS));
    let key = host.acme.seed("second");
    host.put("second.env", &format!("KEY={}\n", key.secret));
    host
}

fn marked(host: &Host) -> bool {
    let inventory = std::fs::read_to_string(host.path("inventory.toml")).unwrap();
    inventory.contains("contained =")
}

fn states(report: &Value) -> Vec<(&str, &str)> {
    let all = report["credentials"].as_array().unwrap().iter();
    all.map(|one| (one["id"].as_str().unwrap(), one["new"]["state"].as_str().unwrap())).collect()
}

#[test]
fn a_restore_after_a_contain_of_one_delivers_what_is_held_of_the_others() {
    let host = host();
    let first = host.report(&["--role", "calendar"]);
    assert_eq!(each(&first["credentials"], "id"), BOTH);
    host.report(&["--role", "calendar", "--only", "acme/events"]);
    let restored = host.report(&RESTORE);
    assert_eq!(states(&restored), BOTH.map(|id| (id, "delivered")), "{restored:#}");
    assert_eq!(restored["exit_code"], json!(0), "{restored:#}");
    for place in ["calendar", "second"] {
        assert!(host.acme.is_alive(&host.placed(place)), "{place}");
    }
    assert!(!marked(&host));
    assert_eq!(host.acme.issued().len(), 2, "no other lives on");
}

/// Each contain ends what the one before it issued, whatever was contained between them.
#[test]
fn what_is_held_since_before_a_contain_of_one_is_ended_by_the_next() {
    let host = host();
    host.report(&["--role", "calendar"]);
    host.report(&["--role", "calendar", "--only", "acme/events"]);
    assert_eq!(host.acme.issued().len(), 2, "one of each");
    let third = host.report(&["--role", "calendar"]);
    assert_eq!(host.acme.issued().len(), 2, "one of each: {third:#}");
    host.report(&RESTORE);
    for place in ["calendar", "second"] {
        assert!(host.acme.is_alive(&host.placed(place)), "{place}");
    }
}

/// The first restore could fill one place of two; a contain of that one says nothing of the other.
#[test]
fn the_mark_stays_until_nothing_of_the_role_is_held() {
    let host = host();
    host.report(&["--role", "calendar"]);
    let held = std::fs::read_to_string(host.path("second.env")).unwrap();
    host.put("second.env", "KEY=somebody else's\n");
    let stuck = host.report(&RESTORE);
    assert_eq!(stuck["exit_code"], json!(3));
    host.report(&["--role", "calendar", "--only", "acme/events"]);
    let again = host.report(&RESTORE);
    assert_eq!(states(&again)[0], ("calendar/events", "delivered"), "{again:#}");
    assert_eq!((&again["exit_code"], marked(&host)), (&json!(3), true), "{again:#}");
    host.put("second.env", &held);
    let last = host.report(&RESTORE);
    assert_eq!(states(&last), [("calendar/rooms", "delivered")], "{last:#}");
    assert_eq!((&last["exit_code"], marked(&host)), (&json!(0), false));
    assert!(host.acme.is_alive(&host.placed("second")));
}

/// What a damaged run holds is not known, and nobody says that the role has everything.
#[test]
fn a_run_that_cannot_be_read_keeps_the_mark() {
    let host = host();
    let first = host.report(&["--role", "calendar"]);
    host.report(&["--role", "calendar", "--only", "acme/events"]);
    let run = first["run"].as_str().unwrap();
    let damage = format!("UPDATE record SET json = json || ' ' WHERE n = 3 AND run = '{run}'");
    assert_eq!(host.journal().execute(&damage, []).unwrap(), 1);
    let restored = host.report(&RESTORE);
    assert_eq!(states(&restored), [("calendar/events", "delivered")], "{restored:#}");
    assert_eq!((&restored["exit_code"], marked(&host)), (&json!(3), true), "{restored:#}");
    assert!(each(&restored["todo"], "what")[0].contains("stays contained"), "{restored:#}");
    // A contain of everything knows again what is held.
    host.report(&["--role", "calendar"]);
    let restored = host.report(&RESTORE);
    assert_eq!(states(&restored), BOTH.map(|id| (id, "delivered")), "{restored:#}");
    assert!(!marked(&host));
}

/// A second restore has no bytes of the old one any more, and still overwrites nobody's work.
#[test]
fn what_a_first_restore_left_to_somebody_else_the_next_leaves_too() {
    let host = Host::new();
    let inventory = std::fs::read_to_string(host.path("inventory.toml")).unwrap();
    let place = "secret   = \"dotenv:DIR/calendar.env#KEY\"\n"
        .replace("DIR", host.path("").to_str().unwrap().trim_end_matches('/'));
    let second = place.replace("secret   = ", "deliver  = [").replace("calendar.env", "second.env");
    let second = second.replace('\n', "]\n");
    assert!(inventory.contains(&place), "{inventory}");
    host.put("inventory.toml", &inventory.replace(&place, &format!("{place}{second}")));
    let old = std::fs::read_to_string(host.path("calendar.env")).unwrap();
    host.put("second.env", &old);
    host.report(&["--role", "calendar"]);
    host.put("second.env", "KEY=somebody else's\n");
    for _ in 0..2 {
        let restored = host.report(&RESTORE);
        assert_eq!(restored["exit_code"], json!(3), "{restored:#}");
        assert_eq!(host.placed("second"), "somebody else's");
        assert!(host.acme.is_alive(&host.placed("calendar")));
    }
    // The burned one in it may be overwritten, by its fingerprint.
    host.put("second.env", &old);
    let restored = host.report(&RESTORE);
    assert_eq!(restored["exit_code"], json!(0), "{restored:#}");
    assert_eq!(host.placed("second"), host.placed("calendar"));
}
