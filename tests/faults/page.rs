//! The table as a page of `docs/reliability.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::fault::{Blow, Fault, Times};
use crate::site::Site;
use crate::table::{Done, Scene};

const HEAD: &str = "## Faults

Between the built binary and each real server stands a proxy of the tests' own. It knows when a
request
is whole and when the server has answered it, and strikes the first request of one verb, or every
one, with one fault.
Every cell is a run of its own: `rotate --role mail-agent --deliver` with a credential that no
other cell has.

    ROTATE_WRITE_DOCS=1 cargo test --test faults

A cell says: the verdict of the old one, the state of the new one, what became of what was made
and lost, the exit code.
Of each the server itself is asked at the end, without the proxy, and the test fails unless:
nothing is called dead that the
server takes, nor alive that it refuses; what lies in the place works; nothing lives that neither
report nor todo names; the exit
code says so; nothing is made twice without a look between; no request goes to a stranger. A fault
that passes leaves the old one
dead and the new one delivered, but for what a single look proves (one attempt: a missing control
costs a claim), what
nobody can look for (a token without a list is told as perhaps lost), and what reads as the
server's own word (403). A fault that
lasts keeps nothing alive but what it stands before. Where no cell stands, there is no such thing.
";

/// The whole section.
pub(crate) fn of(sites: &[Box<dyn Site>], done: &[Done<'_>]) -> String {
    let mut page = HEAD.to_owned();
    let wrong = done.iter().filter(|one| !one.ran.violations.is_empty()).count();
    let struck: usize = done.iter().map(|one| one.ran.struck).sum();
    let _ =
        writeln!(page, "\n{} cells, {struck} requests struck, {wrong} violations.\n", done.len());
    page += &struck_by_kind(done);
    for site in sites {
        let _ = writeln!(page, "\n### {}\n", site.name());
        contains(&mut page, site.as_ref(), done);
    }
    take_overs(&mut page, sites, done);
    strangers(&mut page, sites, done);
    page
}

fn struck_by_kind(done: &[Done<'_>]) -> String {
    let mut kinds = BTreeMap::<Fault, usize>::new();
    for one in done {
        if let Scene::Contain(Some(blow)) | Scene::TakeOver { at: blow, .. } = one.scene {
            *kinds.entry(blow.fault).or_default() += one.ran.struck;
        }
    }
    let mut text = "| fault | requests struck |\n|---|---|\n".to_owned();
    // What strikes a connection strikes before there is a request.
    for (fault, struck) in kinds.into_iter().filter(|(_, struck)| *struck > 0) {
        let _ = writeln!(text, "| {} | {struck} |", fault.name());
    }
    text
}

fn contains(page: &mut String, site: &dyn Site, done: &[Done<'_>]) {
    let words = |scene: Scene| {
        let mut of_site = done.iter().filter(|one| one.site.name() == site.name());
        of_site.find(|one| one.scene == scene).map(|one| one.ran.words())
    };
    if let Some(words) = words(Scene::Contain(None)) {
        let _ = writeln!(page, "Undisturbed: {words}.\n");
    }
    let verbs: Vec<&str> = site.verbs().iter().map(|(verb, _)| *verb).collect();
    let _ = writeln!(page, "| fault | {} |", verbs.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(verbs.len()));
    let mut rows: Vec<(Times, Fault)> = Vec::new();
    for blow in Blow::all(site.verbs()).iter().filter(|blow| blow.verb != Blow::CONNECTION) {
        if !rows.contains(&(blow.times, blow.fault)) {
            rows.push((blow.times, blow.fault));
        }
    }
    for (times, fault) in rows {
        let cells = verbs.iter().map(|verb| {
            let verb = site.verbs().iter().find(|(it, _)| it == verb).map_or("", |(it, _)| *it);
            words(Scene::Contain(Some(Blow { verb, fault, times }))).unwrap_or_default()
        });
        let name = Blow { verb: "", fault, times }.name();
        let _ = writeln!(page, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    for fault in [Fault::Impostor, Fault::HandshakeCut] {
        let blow = Blow { verb: Blow::CONNECTION, fault, times: Times::Always };
        if let Some(words) = words(Scene::Contain(Some(blow))) {
            let _ = writeln!(page, "\nEvery connection meets {}: {words}.", met(fault));
        }
    }
}

fn met(fault: Fault) -> &'static str {
    match fault {
        Fault::Impostor => "a stranger's certificate",
        _ => "a cut in the middle of its handshake",
    }
}

fn take_overs(page: &mut String, sites: &[Box<dyn Site>], done: &[Done<'_>]) {
    *page += "
### A contain that takes over a rehearsal

The rehearsal stands at its first call of a verb, which is on the way and not answered, or was
killed there; then `rotate --role mail-agent`. In the end the server takes neither the old one nor
anything that the rehearsal had made or delivered, only what the contain holds. What the rehearsal
was just making is ended or named where the server lists it; where it does not (oidc-provider,
django-oauth-toolkit, the Django session), a person is told that it may have been made.

| server | verb | half-open, standing | half-open, killed | done, standing | done, killed |
|---|---|---|---|---|---|
";
    for site in sites {
        for (verb, _) in site.verbs() {
            let cells: Vec<String> = [Fault::HalfOpen, Fault::AnswerWithheld]
                .into_iter()
                .flat_map(|fault| [false, true].map(|killed| (fault, killed)))
                .map(|(fault, killed)| {
                    let at = Blow { verb, fault, times: Times::Once };
                    let scene = Scene::TakeOver { at, killed };
                    let mut here = done.iter().filter(|one| one.site.name() == site.name());
                    here.find(|one| one.scene == scene).map(|one| one.ran.words())
                })
                .map(Option::unwrap_or_default)
                .collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                let _ = writeln!(page, "| {} | {verb} | {} |", site.name(), cells.join(" | "));
            }
        }
    }
}

fn strangers(page: &mut String, sites: &[Box<dyn Site>], done: &[Done<'_>]) {
    *page += "
### Somebody else makes one in the middle of a contain

While the server's answer to the revocation is on its way, another credential of the same account
is made. It is told as
minted during the run, exit code 3; with `--revoke-strangers` it is ended where one that nobody
holds can be; what bears the
label of another run is left (WordPress lists labels).

| server | told | `--revoke-strangers` |
|---|---|---|
";
    for site in sites {
        let words = |ends: bool| {
            let mut here = done.iter().filter(|one| one.site.name() == site.name());
            here.find(|one| one.scene == Scene::Stranger { ends }).map(|one| one.ran.words())
        };
        if let (Some(told), Some(ended)) = (words(false), words(true)) {
            let _ = writeln!(page, "| {} | {told} | {ended} |", site.name());
        }
    }
}

/// Puts the section into `docs/reliability.md`, in the place of the one of that name.
pub(crate) fn write(section: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| "# Reliability\n".to_owned());
    let (before, rest) = text.split_once("## Faults\n").unwrap_or((&text, ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at + 1..]);
    let page = format!("{}\n\n{}\n{after}", before.trim_end(), section.trim_end());
    fs::write(path, format!("{}\n", page.trim_end())).unwrap();
}
