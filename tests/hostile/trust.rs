//! An inventory that somebody else could have written. Its commands are not run and secrets do not
//! go where it alone says; what it lists is ended all the same.

use crate::bench::{Bench, INVENTORY, Ran};

/// The role with a `stop` that leaves a trace, `search` at an address of the inventory, and `mail`
/// at that of a provider file.
fn bench() -> Bench {
    let bench = Bench::new();
    let file = include_str!("../../providers/acme.toml");
    let fixed = format!("base    = \"{}\"", bench.acme.base);
    let file = file.replace("\"acme\"", "\"keys\"").replace("base    = \"inventory\"", &fixed);
    assert!(file.contains(&bench.acme.base));
    let file = file.replace("hold = \"2s\"", "hold = \"200ms\"");
    bench.write("providers/keys.toml", &file);
    let stop = "[role.mail-agent]\nstop = [\"touch\", \"DIR/stopped\"]\n";
    let mail = "handle   = \"MAIL_ID\"\nprovider = \"acme\"\nkind     = \"api-key\"\n\
                secret   = \"dotenv:DIR/agent/.env#MAIL\"\nadmin    = \"acme-admin\"\n";
    let fixed = mail.replace("provider = \"acme\"", "provider = \"keys\"");
    let fixed = fixed.replace("acme-admin", "keys-admin");
    assert!(INVENTORY.contains(mail));
    let text = INVENTORY.replace("[role.mail-agent]\n", stop).replace(mail, &fixed);
    let admin = "\n[admin.keys-admin]\nprovider = \"keys\"\nkind = \"admin-key\"\n\
                 secret = \"file:DIR/responder/acme.key\"\n";
    bench.inventory(&(text + admin));
    bench
}

fn contain(bench: &Bench, more: &[&str]) -> Ran {
    let providers = bench.path("providers").display().to_string();
    let arguments = ["--role", "mail-agent", "--format", "json", "--providers", &providers];
    bench.rotate(&[&arguments, more].concat())
}

fn is_withheld(bench: &Bench, ran: &Ran, why: &str) {
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    assert!(!bench.path("stopped").exists());
    let report = ran.report();
    let one = |id: &str| {
        let all = report["credentials"].as_array().unwrap();
        all.iter().find(|one| one["id"] == id).unwrap()
    };
    assert_eq!(one("mail-agent/mail")["old"]["verdict"], "dead", "{report:#}");
    assert_eq!(one("mail-agent/search")["old"]["verdict"], "unproven", "{report:#}");
    let left = one("mail-agent/search")["todo"][0]["what"].as_str().unwrap();
    assert!(left.contains("others may change the inventory"), "{left}");
    assert!(!bench.acme.is_alive(&bench.mail.secret));
    assert_eq!(ran.code, Some(3));
}

#[test]
fn nobody_else_could() {
    let bench = bench();
    let ran = contain(&bench, &[]);
    assert!(bench.path("stopped").exists());
    insta::assert_snapshot!(ran.outcome(&bench), @r#"
    $ rotate --role mail-agent --format json --providers DIR/providers
    mail-agent/mail: revoke accepted, dead, new held
        stranger: events
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn everyone_may_write_it() {
    let bench = bench();
    bench.mode("inventory.toml", 0o666);
    let ran = contain(&bench, &[]);
    is_withheld(&bench, &ran, "inventory.toml (user ");
    insta::assert_snapshot!(ran.outcome(&bench), @r#"
    $ rotate --role mail-agent --format json --providers DIR/providers
    mail-agent/mail: revoke accepted, dead, new held
        stranger: search
        stranger: events
    mail-agent/search: revoke none, unproven, new not-issued
        left: mail-agent/search was left out: inventory line 18: [provider.acme] is not used: others may change the inventory
    [exit 3]
    mail dead, its place holds the old one
    search lives, its place holds the old one
    events lives
    1 issued live
    "#);
    let rehearsal = bench.rotate(&["rehearse", "--role", "mail-agent"]);
    assert_eq!(rehearsal.code, Some(2), "{}", rehearsal.stderr);
}

#[test]
fn everyone_may_write_its_folder() {
    let bench = bench();
    let text = bench.read("inventory.toml");
    bench.write("shared/inventory.toml", &text);
    bench.mode("shared", 0o777);
    let at = bench.path("shared/inventory.toml").display().to_string();
    let ran = contain(&bench, &["--inventory", &at]);
    is_withheld(&bench, &ran, "/shared (user ");
}

#[test]
fn the_agent_may_write_it() {
    let bench = bench();
    let home = bench.path("agent").display().to_string();
    let platform = format!("platform = {{ name = \"openclaw\", home = \"{home}\" }}\n");
    let text = bench.read("inventory.toml");
    let text = text.replace("[role.mail-agent]\n", &format!("[role.mail-agent]\n{platform}"));
    bench.write("agent/inventory.toml", &text);
    let at = bench.path("agent/inventory.toml").display().to_string();
    let ran = contain(&bench, &["--inventory", &at]);
    is_withheld(&bench, &ran, "which the agent can write");
}

#[test]
fn everyone_may_write_the_provider_files() {
    let bench = bench();
    bench.mode("providers", 0o777);
    let ran = contain(&bench, &[]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(bench.acme.seen(), [""; 0]);
    insta::assert_snapshot!(ran.transcript(&bench), @r#"
    $ rotate --role mail-agent --format json --providers DIR/providers
    [stderr]
    error: DIR/providers (user N, mode 0777) can be written by everyone
    hint: take the right away: chmod go-w DIR/providers
    [exit 2]
    "#);
}
