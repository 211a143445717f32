//! Application passwords of a real WordPress site.

use crate::bench::Host;
use crate::hosted::ask;
use crate::lab::{self, Wordpress};
use crate::role::{ENV, ROLE};

/// A page of PHP takes a second where everything else runs beside it.
const PROOF: &str = r#"{ refusals = 3, hold = "1s", give_up = "60s" }"#;

struct Bench {
    site: Wordpress,
    host: Host,
}

/// A role with the application password `mail`. The user's other one, called `other`, is another
/// role's.
fn bench() -> Option<Bench> {
    let site = lab::wordpress()?;
    let host = Host::new();
    host.put(ENV, &format!("BLOG={}\nOTHER={}\n", site.mail, site.other));
    host.put("admin.password", &site.admin);
    let (_, other) = ask(site.introspect(&site.other));
    let entry = |role: &str, key: &str| {
        format!(
            r#"
[[role.{role}.credential]]
name     = "blog"
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "mail", user_id = "{}" }}
secret   = "dotenv:DIR/agent.env#{key}"
reload   = "none"
admin    = "blog-admin"
"#,
            site.user
        )
    };
    host.inventory(&format!(
        r#"{ROLE}{}
[role.monitor]
{}handle   = {}

[provider.wordpress]
base  = "{}"
proof = {PROOF}

[admin.blog-admin]
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "admin", user_id = "1" }}
secret   = "file:DIR/admin.password"
"#,
        entry("mail-agent", "BLOG"),
        entry("monitor", "OTHER"),
        other["uuid"],
        site.base
    ));
    assert!(ask(site.is_alive(&site.mail)));
    assert!(!ask(site.is_alive("aaaa bbbb cccc dddd eeee ffff")));
    Some(Bench { site, host })
}

#[test]
fn contain_replaces_it_and_leaves_the_user_s_others_alone() {
    let Some(bench) = bench() else { return };
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/blog: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#BLOG (in-use)
    ");
    let new = bench.host.value(ENV, "BLOG");
    assert!(!ask(bench.site.is_alive(&bench.site.mail)) && ask(bench.site.is_alive(&new)));
    assert!(ask(bench.site.is_alive(&bench.site.other)));
    let listed = ask(bench.site.listed());
    assert!(listed.len() == 2 && listed.contains(&"other".to_owned()), "{listed:?}");
}

/// It ends itself where no administrator is at hand.
#[test]
fn revoke_only_lets_it_end_itself() {
    let Some(bench) = bench() else { return };
    bench.host.put("admin.password", "not the administrator's");
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/blog: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      todo: look for unrecognised credentials beside mail-agent/blog; the provider's list could not be read to its end: read it by hand; null
    ");
    assert!(!ask(bench.site.is_alive(&bench.site.mail)));
    assert_eq!(ask(bench.site.listed()), ["other"]);
}
