//! OpenRouter's keys, at a fake that keeps state and lists two keys to a page.

use serde_json::json;

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{FakeOpenRouter, OpenRouterKey};
use crate::role::{ENV, PROOF, ROLE};

struct Bench {
    fake: Hosted<FakeOpenRouter>,
    host: Host,
    old: OpenRouterKey,
}

/// A role with one key that may spend 25 dollars a month, listed behind two that nobody knows.
fn bench(strangers: u32) -> Bench {
    let fake = Hosted::start(FakeOpenRouter::start());
    let host = Host::new();
    for number in 0..strangers {
        fake.api_key(&format!("stranger {number}"), 1);
    }
    let old = fake.api_key("mail", 25);
    host.put(ENV, &format!("OPENROUTER_API_KEY={}\n", old.secret));
    host.put("openrouter.key", &fake.management_key().secret);
    host.inventory(&format!(
        r#"{ROLE}
[[role.mail-agent.credential]]
name     = "models"
provider = "openrouter"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#OPENROUTER_API_KEY"
reload   = "none"
admin    = "openrouter-admin"

[provider.openrouter]
base  = "{}"
proof = {PROOF}

[admin.openrouter-admin]
provider = "openrouter"
kind     = "management-key"
secret   = "file:DIR/openrouter.key"
"#,
        fake.base()
    ));
    assert!(fake.is_alive(&old.secret) && !fake.is_alive("sk-or-v1-made-up"));
    Bench { fake, host, old }
}

#[test]
fn contain_delivers_a_key_that_may_spend_no_more() {
    let bench = bench(0);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/models: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENROUTER_API_KEY (in-use)
    ");
    let new = bench.host.value(ENV, "OPENROUTER_API_KEY");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&new));
    assert_eq!(bench.fake.limit(&new), json!([25, "monthly"]));
    assert_eq!(bench.fake.listed().len(), 1);
    let outside: Vec<_> = bench.fake.seen().into_iter().filter_map(|it| it.outside).collect();
    assert!(outside.is_empty(), "outside the vendor's description: {outside:?}");
}

#[test]
fn a_key_is_found_behind_a_page_of_others_and_those_are_named() {
    let bench = bench(2);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/models: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENROUTER_API_KEY (in-use)
      stranger stranger 0: older-or-undated
      stranger stranger 1: older-or-undated
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
    assert_eq!(bench.fake.listed().len(), 3);
}

#[test]
fn a_server_that_says_deleted_and_goes_on_is_alive() {
    let bench = bench(0);
    bench.fake.lies();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/models: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#OPENROUTER_API_KEY (in-use)
      todo: revoke the old mail-agent/models; Delete the key whose label matches; https://openrouter.ai/settings/keys
    ");
    assert!(bench.fake.is_alive(&bench.old.secret));
    assert!(bench.fake.is_alive(&bench.host.value(ENV, "OPENROUTER_API_KEY")));
}
