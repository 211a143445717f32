//! Keys of OpenAI's service accounts and of persons, at a fake that keeps state.

use std::time::Duration;

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{FakeOpenAi, Manners, OpenAiKey};
use crate::role::{ENV, PROOF, ROLE};

pub(crate) const PROJECT: &str = "proj_1";

/// What the inventory says of this server, and of who may revoke there.
pub(crate) fn provider(base: &str) -> String {
    format!(
        r#"
[provider.openai]
base  = "{base}"
proof = {PROOF}

[admin.openai-admin]
provider = "openai"
kind     = "admin-key"
vars     = {{ project = "{PROJECT}" }}
secret   = "file:DIR/openai-admin.key"
"#
    )
}

/// One entry of the role, kept under `key` of its `.env`.
pub(crate) fn credential(name: &str, kind: &str, key: &str) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "{name}"
provider = "openai"
kind     = "{kind}"
vars     = {{ project = "{PROJECT}" }}
secret   = "dotenv:DIR/agent.env#{key}"
reload   = "none"
admin    = "openai-admin"
"#
    )
}

/// A role with one service account's key.
pub(crate) struct Bench {
    pub(crate) fake: Hosted<FakeOpenAi>,
    pub(crate) host: Host,
    pub(crate) old: OpenAiKey,
}

pub(crate) fn bench() -> Bench {
    let fake = Hosted::start(FakeOpenAi::start());
    let host = Host::new();
    let old = fake.service_account_key(PROJECT, "mail");
    host.put(ENV, &format!("OPENAI_API_KEY={}\n", old.secret));
    host.put("openai-admin.key", &fake.admin_key().secret);
    let entry = credential("model", "service-account-key", "OPENAI_API_KEY");
    host.inventory(&format!("{ROLE}{entry}{}", provider(&fake.base())));
    assert!(fake.is_alive(&old.secret) && !fake.is_alive("sk-made-up"));
    Bench { fake, host, old }
}

impl Bench {
    pub(crate) fn placed(&self) -> String {
        self.host.value(ENV, "OPENAI_API_KEY")
    }

    /// Names of what is listed, those that we chose without what differs from run to run.
    pub(crate) fn listed(&self) -> Vec<String> {
        let listed = self.fake.listed().into_iter();
        listed
            .map(|name| if name.starts_with("rotate-") { "rotate-".into() } else { name })
            .collect()
    }
}

/// The role's places lie on the disk that was taken from it, and what the responder acts with lies
/// where the responder is: nothing of that is looked for on the disk.
#[test]
fn from_a_clean_host_the_disk_holds_the_role_s_places_and_none_of_the_admin_s() {
    let bench = bench();
    let disk = bench.host.path("disk");
    let there = disk.join(bench.host.path(ENV).strip_prefix("/").unwrap());
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::rename(bench.host.path(ENV), &there).unwrap();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--root", disk.to_str().unwrap()]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new held
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
}

#[test]
fn contain_holds_the_new_one_and_restore_delivers_it() {
    let bench = bench();
    let held = bench.host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(held.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new held
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
    assert_eq!(bench.placed(), bench.old.secret, "held: the place is as it was");
    assert_eq!(bench.listed(), ["admin", "rotate-"]);

    let restored = bench.host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/model: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.listed(), ["admin", "rotate-"]);
}

#[test]
fn contain_delivers() {
    let bench = bench();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.listed(), ["admin", "rotate-"]);
    let outside: Vec<_> = bench.fake.seen().into_iter().filter_map(|seen| seen.outside).collect();
    assert!(outside.is_empty(), "outside the vendor's description: {outside:?}");
}

/// The admin key is accepted by the same probe, if without the right: a control all the same.
#[test]
fn revoke_only_issues_nothing_and_proves_by_the_admin_key() {
    let bench = bench();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/model: dead, revoke accepted, control admin, made-up refused; new not-issued
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
    assert_eq!(bench.listed(), ["admin"]);
    assert_eq!(bench.placed(), bench.old.secret);
}

#[test]
fn a_server_that_lies_is_told_from_one_that_does_not() {
    let bench = bench();
    bench.fake.lies();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/model: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
    ");
    assert!(bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.listed(), ["admin", "rotate-"], "its list agrees with the lie");
}

#[test]
fn a_key_that_was_dead_before_was_never_seen_alive_here() {
    let bench = bench();
    bench.fake.revoke(&bench.old.secret);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: unproven, revoke by-hand, control new, made-up refused; new delivered
      why: refused, but never seen alive here; only a person can revoke it
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
    ");
    assert!(bench.fake.is_alive(&bench.placed()));
}

#[test]
fn a_probe_that_accepts_what_nobody_made_is_blind() {
    let bench = bench();
    bench.fake.accepts_made_up_ones();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: unproven, revoke accepted, control new, made-up accepted; new delivered
      why: the probe is blind: it accepts a made-up credential; the provider accepted the revocation
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
}

/// It can be killed, and no call makes another.
#[test]
fn a_person_s_key_is_revoked_and_issued_by_hand() {
    let bench = bench();
    let old = bench.fake.project_key(PROJECT, "person");
    bench
        .host
        .put(ENV, &format!("OPENAI_API_KEY={}\nPERSON_KEY={}\n", bench.old.secret, old.secret));
    let entries = [
        credential("model", "service-account-key", "OPENAI_API_KEY"),
        credential("person", "project-key", "PERSON_KEY"),
    ];
    bench.host.inventory(&format!("{ROLE}{}{}", entries.concat(), provider(&bench.fake.base())));
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    mail-agent/person: dead, revoke accepted, control admin, made-up refused; new not-issued
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/person; Better: change the inventory to kind service-account-key and run again; https://platform.openai.com/api-keys
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && !bench.fake.is_alive(&old.secret));
    assert_eq!(bench.listed(), ["admin", "rotate-"]);
}

/// Another key of the project's service accounts, which neither the inventory nor a run made.
#[test]
fn a_key_that_nobody_knows_is_named_and_left_alone() {
    let bench = bench();
    let stranger = bench.fake.service_account_key(PROJECT, "backdoor");
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      stranger backdoor: older-or-undated
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&stranger.secret));
}

#[test]
fn a_key_that_dies_late_is_waited_for() {
    let bench = bench();
    bench.fake.dies_after(Duration::from_secs(2));
    let mut run = bench.host.start(&["--role", "mail-agent", "--deliver"]);
    run.hear("revoke  accepted");
    run.hear("use the old one  accepted");
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(outcome.report["timings"]["last_dead_ms"].as_u64() > Some(3_000), "2 s, and held 1 s");
}

/// Given up, it is alive; whoever looks again later finds it dead, and the run's report says so.
#[test]
fn a_key_that_dies_after_we_gave_up_is_found_dead_by_a_verify() {
    let bench = bench();
    bench.fake.lies();
    let contained = bench.host.rotate(&["--role", "mail-agent"]);
    assert_eq!(contained.code, Some(4), "{}", contained.table());
    bench.fake.revoke(&bench.old.secret);
    let verified = bench.host.rotate(&["verify"]);
    insta::assert_snapshot!(verified.table(), @r"
    verify exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new held
    ");
    let report = bench.host.rotate(&["report", &contained.run()]);
    insta::assert_snapshot!(report.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new held
    ");
}

#[test]
fn what_a_contain_could_not_end_is_ended_by_the_next_wherever_it_lies() {
    let bench = bench();
    bench.fake.misbehave("DELETE ", Manners::BlockPage);
    let first = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(first.table(), @r"
    contain exit 4
    mail-agent/model: alive, revoke rejected, control null, made-up refused; new delivered
      why: still accepted; the revocation was refused: refused (403)
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
    ");
    let second = bench.placed();
    assert!(bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&second));

    // No place holds the first one any more.
    bench.fake.behave();
    let next = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(next.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    mail-agent/model@[run]#1: dead, revoke accepted, control mail-agent/model, made-up refused; new not-issued
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && !bench.fake.is_alive(&second));
    assert!(bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.listed(), ["admin", "rotate-"]);
}
