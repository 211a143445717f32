//! Google's grants, at a fake that keeps state: one revocation ends what an account gave to every
//! client of the project, and a person consents anew.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::Host;
use crate::consent::visit;
use crate::hosted::Hosted;
use crate::lab::FakeGoogle;
use crate::role::{PROOF, ROLE};

/// The inventory's word for one grant, given to a client of the project.
fn entry(role: &str, name: &str, file: &str, client: &str) -> String {
    let (project, subject) = (FakeGoogle::PROJECT, FakeGoogle::SUBJECT);
    format!(
        r#"
[[role.{role}.credential]]
name     = "{name}"
provider = "google-oauth"
kind     = "oauth-grant"
vars     = {{ project = "{project}", subject = "{subject}" }}
scopes   = ["https://mail.google.com/"]
secret   = {{ secret = "json:DIR/{file}#/refresh", access = "json:DIR/{file}#/access" }}
client   = "{client}"
reload   = "none"
"#
    )
}

fn provider(fake: &FakeGoogle) -> String {
    let base = fake.base();
    let client = |name: &str| {
        format!(
            r#"
[admin.{name}]
provider = "google-oauth"
kind     = "oauth-client"
secret   = {{ client_id = "dotenv:DIR/{name}.env#ID", secret = "dotenv:DIR/{name}.env#SECRET" }}
"#
        )
    };
    format!(
        r#"{desk}{other}
[provider.google-oauth]
base  = {{ api = "{base}", accounts = "{base}" }}
proof = {PROOF}
"#,
        desk = client("desk"),
        other = client("other")
    )
}

fn give(host: &Host, file: &str, pair: &(String, String)) {
    host.put(file, &json!({ "refresh": pair.0, "access": pair.1 }).to_string());
}

fn give_clients(host: &Host) {
    for (file, client) in [("desk.env", FakeGoogle::DESKTOP), ("other.env", FakeGoogle::OTHER)] {
        host.put(file, &format!("ID={client}\nSECRET={}\n", FakeGoogle::secret(client)));
    }
}

fn placed(host: &Host, file: &str) -> (String, String) {
    let placed: Value = serde_json::from_str(&host.read(file)).unwrap();
    let part = |name: &str| placed[name].as_str().unwrap().to_owned();
    (part("refresh"), part("access"))
}

fn nothing_outside(fake: &FakeGoogle) {
    let outside: Vec<_> = fake.seen().into_iter().filter_map(|seen| seen.outside).collect();
    assert!(outside.is_empty(), "outside what is described: {outside:?}");
}

/// One revocation for both grants, and only then two consents: the other order would end the new
/// ones. What dies outside the run is said before Enter.
#[test]
fn grants_of_one_project_die_together_and_are_consented_to_anew() {
    let fake = Hosted::start(FakeGoogle::start());
    let host = Host::new();
    let mail = fake.grant(FakeGoogle::DESKTOP, FakeGoogle::SUBJECT);
    let drive = fake.grant(FakeGoogle::OTHER, FakeGoogle::SUBJECT);
    let calendar = fake.grant(FakeGoogle::OTHER, FakeGoogle::SUBJECT);
    let stranger = fake.grant(FakeGoogle::OTHER, "somebody@example.com");
    give(&host, "mail.json", &mail);
    give(&host, "drive.json", &drive);
    give(&host, "calendar.json", &calendar);
    give_clients(&host);
    host.inventory(&format!(
        "{ROLE}{}{}[role.calendar-agent]\n{}{}",
        entry("mail-agent", "gmail", "mail.json", "desk"),
        entry("mail-agent", "drive", "drive.json", "other"),
        entry("calendar-agent", "calendar", "calendar.json", "other"),
        provider(&fake)
    ));
    fake.dies_after(Duration::from_millis(500));

    let mut run = host.start(&["--role", "mail-agent", "--deliver", "--consent", "ask"]);
    run.hear("collateral   calendar-agent/calendar");
    let word = run.hear("one revocation ends");
    let all = "project 123456789012, subject support@example.com, in this inventory or not: \
               mail-agent/gmail, mail-agent/drive";
    assert!(word.ends_with(all), "{word}");
    for _ in 0..2 {
        run.hear("consent wanted: mail-agent/");
        let page = run.hear("  open ").trim().rsplit(' ').next().unwrap().to_owned();
        assert!(page.contains("access_type=offline") && page.contains("prompt=consent"));
        let end = visit(&page, true);
        assert!(end.contains("The answer has arrived"), "{end}");
    }
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/gmail: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/mail.json#/access (in-use)
      in json:~/mail.json#/refresh (in-use)
    mail-agent/drive: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/drive.json#/access (in-use)
      in json:~/drive.json#/refresh (in-use)
    ");
    for (old, file) in [(&mail, "mail.json"), (&drive, "drive.json")] {
        let new = placed(&host, file);
        assert!(!fake.is_alive(&old.0) && !fake.is_alive(&old.1), "{file}");
        assert!(fake.is_alive(&new.0) && fake.is_alive(&new.1), "{file}");
    }
    assert!(!fake.is_alive(&calendar.0), "the collateral that the plan named");
    assert!(fake.is_alive(&stranger.0), "another account's");
    // The second one was still accepted after the first revocation: it was revoked by itself,
    // before anybody was asked for a new one.
    let seen = fake.seen();
    let at = |request: &str| seen.iter().rposition(|seen| seen.request == request).unwrap();
    let asked = seen.iter().position(|seen| seen.request == "POST /device/code").unwrap();
    assert!(at("POST /revoke") < asked, "{seen:?}");
    nothing_outside(&fake);
}

/// Where nobody can be asked, the grant is ended all the same and its successor is a person's.
#[test]
fn without_a_person_the_old_grant_dies_and_the_new_one_is_by_hand() {
    let fake = Hosted::start(FakeGoogle::start());
    let (host, mail) = (Host::new(), fake.grant(FakeGoogle::DESKTOP, FakeGoogle::SUBJECT));
    give(&host, "mail.json", &mail);
    give_clients(&host);
    let entry = entry("mail-agent", "gmail", "mail.json", "desk");
    host.inventory(&format!("{ROLE}{entry}{}", provider(&fake)));
    let outcome = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/gmail: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/gmail; Sign in as support@example.com and consent again; the application's own sign-in
    ");
    assert!(!fake.is_alive(&mail.0) && !fake.is_alive(&mail.1));
    assert!(!outcome.stderr.contains("consent wanted"));
    nothing_outside(&fake);
}
