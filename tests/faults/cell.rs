//! One cell of the table: one run against one server with one fault, and what must hold whatever
//! the fault. The server itself is asked at the end, when nothing is under way any more.

use std::time::Duration;

use serde_json::Value;

use crate::expect::unexpected;
use crate::fault::{Blow, Times};
use crate::outcome::Outcome;
use crate::proxy::{DECEIVED, Exchange};
use crate::site::{Cell, FIND, ISSUE, REVOKE, Site};

/// A fault that never ends is given up then: two looks, a revocation and an issue that hang take
/// longer one after another, and their verdict would be the same.
const WAIT_ALWAYS: &str = "8s";

/// What strikes once is waited for to its end: an answer that never comes for 20 s, and the proof.
const WAIT_ONCE: &str = "50s";

/// What came of a cell.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) verdict: String,
    pub(crate) revoke: String,
    pub(crate) new: String,
    pub(crate) code: i32,
    /// What was made and lost is known and ended.
    pub(crate) orphans_ended: bool,
    /// What was made and lost is left to a person.
    pub(crate) lost_is_told: bool,
    /// How often the fault struck.
    pub(crate) struck: usize,
    /// The server still takes the old one.
    pub(crate) old_lives: bool,
    /// The old one was seen accepted before anything was revoked.
    pub(crate) looked: bool,
    /// When the first revocation reached the proxy.
    pub(crate) revoked_at: Option<Duration>,
    /// What must hold and does not.
    pub(crate) violations: Vec<String>,
    pub(crate) stderr: String,
    pub(crate) table: String,
}

impl Ran {
    /// The test itself came to no end.
    pub(crate) fn broken() -> Self {
        Self { violations: vec!["it panicked".to_owned()], ..Self::default() }
    }

    /// As the table says it.
    pub(crate) fn words(&self) -> String {
        let more = match () {
            () if self.orphans_ended => ", orphan ended",
            () if self.lost_is_told => ", lost one named",
            () => "",
        };
        format!("{}, {}{more}, {}", self.verdict, self.new, self.code)
    }
}

/// Runs a contain to its end.
pub(crate) fn run(site: &dyn Site, number: usize, blow: Option<Blow>) -> Ran {
    let cell = site.open(number, blow);
    let wait = match blow.map(|blow| blow.times) {
        Some(Times::Always) => WAIT_ALWAYS,
        _ => WAIT_ONCE,
    };
    let trusted = cell.host.path("trusted.pem");
    let arguments = ["--role", "mail-agent", "--deliver", "--wait", wait];
    let trusts = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let outcome = cell.host.start_with(&arguments, &trusts).end();
    let seen = cell.seen();
    let mut ran = Ran::of(&outcome, &seen);
    let now = Now::ask(site, &cell);
    ran.old_lives = now.old_lives;
    ran.violations.extend(violations(site, &cell, &outcome.report, &seen, &now));
    let unexpected = unexpected(site, blow, &ran);
    ran.violations.extend(unexpected);
    ran
}

impl Ran {
    pub(crate) fn of(outcome: &Outcome, seen: &[Exchange]) -> Self {
        let one = &outcome.report["credentials"][0];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let todo = todo_of(one);
        let of_lost = |todo: &str| todo.contains("may have been");
        let ended = |orphans: &Vec<Value>| {
            !orphans.is_empty() && orphans.iter().all(|orphan| orphan["revoked"] == true)
        };
        Self {
            // Held against the schema, and the report's exit code against the process's.
            table: outcome.table(),
            verdict: word(&one["old"]["verdict"]),
            revoke: word(&one["old"]["revoke"]),
            new: word(&one["new"]["state"]),
            code: outcome.code.unwrap_or(-1),
            orphans_ended: one["orphans"].as_array().is_some_and(ended),
            lost_is_told: todo.iter().any(|todo| of_lost(todo)),
            struck: seen.iter().filter(|exchange| exchange.struck.is_some()).count(),
            revoked_at: seen.iter().find(|exchange| exchange.verb == REVOKE).map(|it| it.at),
            old_lives: false,
            looked: !one["old"]["last_accepted_at"].is_null(),
            violations: Vec::new(),
            stderr: outcome.stderr.clone(),
        }
    }
}

/// What is so, whatever a report says.
struct Now {
    old_lives: bool,
    placed: String,
    placed_lives: bool,
    /// See [`Site::live`].
    live: Vec<String>,
}

impl Now {
    fn ask(site: &dyn Site, cell: &Cell) -> Self {
        let placed = site.placed(cell);
        Self {
            old_lives: site.accepts(cell, &cell.old),
            placed_lives: site.accepts(cell, &placed),
            placed,
            live: site.live(cell),
        }
    }
}

/// How many live ones a report tells of whose names here nobody knows.
pub(crate) fn nameless(one: &Value) -> usize {
    let left = |list: &str, key: &str, ended: &Value| {
        let all = one[list].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().filter(|it| it[key] != *ended).count()
    };
    left("strangers", "state", &"gone".into()) + left("orphans", "revoked", &true.into())
}

pub(crate) fn todo_of(one: &Value) -> Vec<&str> {
    let all = one["todo"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(|todo| todo["what"].as_str()).collect()
}

/// What must hold of every cell, and does not of this one.
fn violations(
    site: &dyn Site,
    cell: &Cell,
    report: &Value,
    seen: &[Exchange],
    now: &Now,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let one = &report["credentials"][0];
    let verdict = one["old"]["verdict"].as_str().unwrap_or_default();
    let said_dead = ["dead", "already-dead", "refused"].contains(&verdict);
    must(!(said_dead && now.old_lives), "it is said to be dead, and the server takes it");
    must(verdict != "alive" || now.old_lives, "it is said to be alive, and the server refuses it");

    let is_new = now.placed != cell.old;
    must(!is_new || now.placed_lives, "what lies in the place is refused");
    let delivered = one["new"]["state"] == "delivered";
    must(delivered == is_new, "what is said of the place is not so");

    let code = report["exit_code"].as_i64().unwrap_or(-1);
    must((code == 4) == (verdict == "alive"), "4 is for what lives, and for nothing else");
    let todo = todo_of(one);
    let nothing_left = verdict == "dead" && delivered && todo.is_empty();
    must(code != 0 || nothing_left, "0 is for nothing left");
    must([0, 3, 4].contains(&code), "no exit code of a run that came to its end");
    must(verdict != "alive" || !todo.is_empty(), "alive, and nobody is told what to do");

    let text = report.to_string();
    let named = |name: &String| *name == cell.old_name || text.contains(name.as_str());
    let unnamed = now.live.iter().filter(|name| !named(name)).count();
    let told = todo.iter().any(|todo| {
        todo.contains("may have been") || todo.starts_with("look for unrecognised credentials")
    });
    // Held under seal, or delivered and never seen accepted: said, and without a name here.
    let said = one["new"]["state"] == "unproven" || one["new"]["state"] == "escrowed";
    let known = usize::from(said) + nameless(one);
    must(unnamed <= known || told, "something lives that neither report nor todo names");

    must(site.may_repeat() || looked_between(site, seen), "an issue was sent again without a look");
    must(seen.iter().all(|it| it.verb != DECEIVED), "a request went to a stranger");
    wrong
}

/// Whether between two issues somebody looked, or knew what had become of the first.
fn looked_between(site: &dyn Site, seen: &[Exchange]) -> bool {
    let mut open = false;
    for exchange in seen {
        match exchange.verb {
            ISSUE if open => return false,
            ISSUE => open = !exchange.is_settled(),
            FIND if exchange.struck.is_none() => open = false,
            REVOKE if site.shows_the_spent() => return true,
            _ => {}
        }
    }
    true
}
