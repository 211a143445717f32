//! Anthropic's keys, at a fake that keeps state: stopped, then archived; a person makes the next.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{AnthropicKey, FakeAnthropic};
use crate::role::{ENV, PROOF, ROLE};

fn credential(role: &str, name: &str, key: &str) -> String {
    format!(
        r#"
[[role.{role}.credential]]
name     = "{name}"
provider = "anthropic"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#{key}"
reload   = "none"
admin    = "anthropic-admin"
"#
    )
}

struct Bench {
    fake: Hosted<FakeAnthropic>,
    host: Host,
    old: AnthropicKey,
    control: AnthropicKey,
}

/// A role with one key, and another role's key to compare it with.
fn bench() -> Bench {
    let fake = Hosted::start(FakeAnthropic::start());
    let (host, old, control) = (Host::new(), fake.api_key("mail"), fake.api_key("monitor"));
    let keys = format!("ANTHROPIC_API_KEY={}\nMONITOR={}\n", old.secret, control.secret);
    host.put(ENV, &keys);
    host.put("anthropic-admin.key", &fake.admin_key().secret);
    let provider = format!(
        r#"
[provider.anthropic]
base  = "{}"
proof = {PROOF}

[admin.anthropic-admin]
provider = "anthropic"
kind     = "admin-key"
secret   = "file:DIR/anthropic-admin.key"
"#,
        fake.base()
    );
    let entry = credential("mail-agent", "model", "ANTHROPIC_API_KEY");
    let other = credential("monitor", "model", "MONITOR");
    let handle = format!("handle   = \"{}\"\n", control.handle);
    host.inventory(&format!(
        "{ROLE}{entry}control  = \"monitor/model\"\n[role.monitor]\n{other}{handle}{provider}"
    ));
    assert!(fake.is_alive(&old.secret) && !fake.is_alive("sk-ant-made-up"));
    Bench { fake, host, old, control }
}

impl Bench {
    fn asked_for_nothing_unknown(&self) {
        let outside: Vec<_> = self.fake.seen().into_iter().filter_map(|it| it.outside).collect();
        assert!(outside.is_empty(), "outside the vendor's description: {outside:?}");
    }
}

#[test]
fn contain_archives_it_and_a_person_makes_the_next() {
    let bench = bench();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: dead, revoke accepted, control monitor/model, made-up refused; new not-issued
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/model; Create key [label] in the same workspace, with the same expiry; https://platform.claude.com/settings/keys
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.control.secret));
    assert_eq!(bench.fake.status(&bench.old.handle), "archived");
    assert_eq!(
        bench.host.value(ENV, "ANTHROPIC_API_KEY"),
        bench.old.secret,
        "nothing to put there"
    );
    bench.asked_for_nothing_unknown();
}

#[test]
fn revoke_only_leaves_nothing_to_do() {
    let bench = bench();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/model: dead, revoke accepted, control monitor/model, made-up refused; new not-issued
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
}

/// 200 to both steps, and the second did not do it: the key is refused, and any admin may start it
/// again.
#[test]
fn a_key_that_was_stopped_and_not_archived_is_left_to_a_person() {
    let bench = bench();
    bench.fake.stops_half_way();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/model: dead, revoke rejected, control monitor/model, made-up refused; new not-issued
      todo: finish the revocation of mail-agent/model, of which a step was left: the answer was not what the provider file describes (200); Disable, then delete the key whose hint matches; https://platform.claude.com/settings/keys
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
    assert_eq!(bench.fake.status(&bench.old.handle), "inactive");

    // No probe sees it: a verify names it again, and a person's word ends it.
    let (run, left) = (outcome.run(), &outcome.report["credentials"][0]["todo"]);
    let verified = bench.host.rotate(&["verify", &run]);
    assert_eq!((verified.code, &verified.report["credentials"][0]["todo"]), (Some(3), left));
    assert_eq!(bench.host.rotate(&["report", &run]).code, Some(3));
    assert_eq!(bench.host.rotate(&["done", &run, "mail-agent/model"]).code, Some(0));
    assert_eq!(bench.host.rotate(&["report", &run]).code, Some(0));
}

#[test]
fn a_server_that_says_archived_and_goes_on_is_alive() {
    let bench = bench();
    bench.fake.lies();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 4
    mail-agent/model: alive, revoke accepted, control null, made-up refused; new not-issued
      why: still accepted; the provider accepted the revocation
      todo: revoke the old mail-agent/model; Disable, then delete the key whose hint matches; https://platform.claude.com/settings/keys
    ");
    assert!(bench.fake.is_alive(&bench.old.secret));
    assert_eq!(bench.fake.status(&bench.old.handle), "archived");
}
