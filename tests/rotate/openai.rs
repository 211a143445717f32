//! Keys of OpenAI's service accounts and of persons, at a fake that keeps state.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{FakeOpenAi, OpenAiKey};
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

struct Bench {
    fake: Hosted<FakeOpenAi>,
    host: Host,
    old: OpenAiKey,
}

fn bench() -> Bench {
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
    fn placed(&self) -> String {
        self.host.value(ENV, "OPENAI_API_KEY")
    }

    /// Names of what is listed, those that we chose without what differs from run to run.
    fn listed(&self) -> Vec<String> {
        let listed = self.fake.listed().into_iter();
        listed
            .map(|name| if name.starts_with("rotate-") { "rotate-".into() } else { name })
            .collect()
    }
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
fn twenty_in_one_env_file_are_all_there() {
    let bench = bench();
    bench.fake.revoke(&bench.old.secret);
    let names: Vec<String> = (0..20).map(|number| format!("KEY_{number}")).collect();
    let olds: Vec<OpenAiKey> =
        names.iter().map(|name| bench.fake.service_account_key(PROJECT, name)).collect();
    let mut env = String::from("# Settings of the mail agent\nLOG_LEVEL=info\n\n");
    for (name, old) in names.iter().zip(&olds) {
        env.push_str(&format!("{name}={} # of {name}\n\n", old.secret));
    }
    env.push_str("# the end\nexport LAST='one'\n");
    bench.host.put(ENV, &env);
    let entries: String =
        names.iter().map(|name| credential(name, "service-account-key", name)).collect();
    bench.host.inventory(&format!("{ROLE}{entries}{}", provider(&bench.fake.base())));

    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.table());
    for old in &olds {
        assert!(!bench.fake.is_alive(&old.secret));
    }
    // Everything but the values is as it was, and every value is a live one of its own.
    let after = bench.host.read(ENV);
    let mut expected = env;
    let mut placed = Vec::new();
    for (name, old) in names.iter().zip(&olds) {
        let line = after.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap();
        let value = line[name.len() + 1..].split(' ').next().unwrap().to_owned();
        assert!(bench.fake.is_alive(&value), "{name}");
        expected = expected.replace(&old.secret, &value);
        placed.push(value);
    }
    assert_eq!(after, expected);
    placed.sort();
    placed.dedup();
    assert_eq!(placed.len(), 20);
    assert_eq!(bench.fake.listed().len(), 21, "the admin, and twenty new ones");
}
