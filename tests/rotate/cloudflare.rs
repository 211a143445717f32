//! Cloudflare's API tokens, at a fake that keeps state: a roll keeps the id and changes the value.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{CloudflareToken, FakeCloudflare, Manners};
use crate::role::{ENV, PROOF, ROLE};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

struct Bench {
    fake: Hosted<FakeCloudflare>,
    host: Host,
    old: CloudflareToken,
}

fn bench(make: impl Fn(&FakeCloudflare) -> CloudflareToken, kind: &str) -> Bench {
    let fake = Hosted::start(FakeCloudflare::start());
    let (host, old) = (Host::new(), make(&fake));
    let editor = fake.editor();
    host.put(ENV, &format!("CLOUDFLARE_API_TOKEN={}\n", old.secret));
    host.put("editor.token", &editor.secret);
    host.inventory(&format!(
        r#"{ROLE}
[[role.mail-agent.credential]]
name     = "dns"
provider = "cloudflare"
{kind}
secret   = "dotenv:DIR/agent.env#CLOUDFLARE_API_TOKEN"
reload   = "none"
admin    = "token-editor"

[provider.cloudflare]
base  = "{}"
proof = {PROOF}

[admin.token-editor]
provider = "cloudflare"
kind     = "user-token"
secret   = "file:DIR/editor.token"
handle   = "{}"
"#,
        fake.base(),
        editor.handle
    ));
    assert!(fake.is_alive(&old.secret) && !fake.is_alive("cfut_made-up"));
    Bench { fake, host, old }
}

fn of_a_user() -> Bench {
    bench(|fake| fake.user_token("mail"), "kind     = \"user-token\"")
}

impl Bench {
    fn placed(&self) -> String {
        self.host.value(ENV, "CLOUDFLARE_API_TOKEN")
    }

    fn asked_for_nothing_unknown(&self) {
        let outside: Vec<_> = self.fake.seen().into_iter().filter_map(|it| it.outside).collect();
        assert!(outside.is_empty(), "outside the vendor's description: {outside:?}");
    }
}

#[test]
fn contain_rolls_and_delivers() {
    let bench = of_a_user();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/dns: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#CLOUDFLARE_API_TOKEN (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.fake.listed(), ["mail", "editor"], "the same token, with another value");
    bench.asked_for_nothing_unknown();
}

#[test]
fn an_account_s_token_is_rolled_at_its_account() {
    let kind = format!("kind     = \"account-token\"\nvars     = {{ account_id = \"{ACCOUNT}\" }}");
    let bench = bench(|fake| fake.account_token(ACCOUNT, "mail"), &kind);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/dns: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#CLOUDFLARE_API_TOKEN (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
    bench.asked_for_nothing_unknown();
}

/// Nobody can tell whether a lost roll happened. A second one ends whatever the first brought.
#[test]
fn a_roll_whose_answer_was_lost_is_made_again() {
    let bench = of_a_user();
    bench.fake.misbehave("/value", Manners::ServerError);
    let mut run = bench.host.start(&["--role", "mail-agent", "--deliver"]);
    run.hear("roll");
    bench.fake.behave();
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/dns: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#CLOUDFLARE_API_TOKEN (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
}

#[test]
fn revoke_only_deletes_it() {
    let bench = of_a_user();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/dns: dead, revoke accepted, control admin, made-up refused; new not-issued
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret));
}

#[test]
fn a_server_that_rolls_and_goes_on_accepting_the_old_value() {
    let bench = of_a_user();
    bench.fake.lies();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/dns: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#CLOUDFLARE_API_TOKEN (in-use)
      todo: revoke the old mail-agent/dns; Delete the token; https://dash.cloudflare.com/profile/api-tokens
    ");
    assert!(bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
}

/// Accepted with 200, and disabled all the same: that is no life.
#[test]
fn a_token_that_was_disabled_before_is_not_alive() {
    let bench = of_a_user();
    bench.fake.disable(&bench.old.handle);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/dns: unproven, revoke by-hand, control admin, made-up refused; new not-issued
      why: refused, but never seen alive here; only a person can revoke it
      todo: revoke the old mail-agent/dns; Delete the token; https://dash.cloudflare.com/profile/api-tokens
    ");
}
