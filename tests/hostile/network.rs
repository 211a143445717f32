//! Addresses that lead nowhere, or elsewhere.

use std::time::Duration;

use crate::acme::{Acme, Manners};
use crate::bench::{Bench, INVENTORY};
use crate::impostor;

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

fn at(base: &str) -> Bench {
    Bench::with("base  = \"ACME\"", &format!("base  = \"{base}\""))
}

/// A contain of what lives at this address, and the reason that it gives.
fn contain(bench: &Bench, why: &str) -> String {
    let ran = bench.rotate(CONTAIN);
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    ran.outcome(bench)
}

#[test]
fn http_to_another_machine_is_refused() {
    let bench = at("http://acme.example.com");
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke none, unproven, new not-issued
        left: mail-agent/mail was left out: inventory line 8: [provider.acme] is not used: its address cannot be used
    mail-agent/search: revoke none, unproven, new not-issued
        left: mail-agent/search was left out: inventory line 17: [provider.acme] is not used: its address cannot be used
    [exit 3]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    0 issued live
    "#);
    let dry = bench.rotate(&["--role", "mail-agent", "--dry-run"]);
    assert!(dry.stderr.contains("error: `base` would send secrets unencrypted"), "{}", dry.stderr);
    assert_eq!(dry.code, Some(2));
}

#[test]
fn nobody_listens() {
    let bench = at("http://127.0.0.1:1");
    insta::assert_snapshot!(contain(&bench, "not sent: no connection to its host"), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/mail
        left: issue a new mail-agent/mail
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/search
        left: issue a new mail-agent/search
    [exit 3]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    0 issued live
    "#);
}

#[test]
fn a_name_that_does_not_resolve() {
    let bench = at("https://acme.invalid");
    insta::assert_snapshot!(contain(&bench, "not sent: its host name does not resolve"), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/mail
        left: issue a new mail-agent/mail
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/search
        left: issue a new mail-agent/search
    [exit 3]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    0 issued live
    "#);
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let bench = at(&impostor::start());
    insta::assert_snapshot!(contain(&bench, "not sent: no secure connection to its host"), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/mail
        left: issue a new mail-agent/mail
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke not-sent, unproven, new not-issued
        left: revoke the old mail-agent/search
        left: issue a new mail-agent/search
    [exit 3]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    0 issued live
    "#);
}

/// What the inventory calls a handle is one segment of a path, whatever it holds.
#[test]
fn a_handle_that_would_leave_its_path() {
    for handle in ["..", "../../v2/keys", "//acme.example.com/", "x?admin=1#", "%2e%2e/me"] {
        let bench = Bench::with("MAIL_ID", handle);
        bench.acme.treat("DELETE /v1/keys/current", Manners::Status(403));
        let ran = bench.rotate(&[CONTAIN, &["--only", "acme/mail"]].concat());
        for line in bench.acme.seen() {
            let known = ["GET /v1/me", "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/current"];
            let below = line.strip_prefix("DELETE /v1/keys/");
            let inside = below.is_some_and(|rest| !rest.contains('/') && rest != "..");
            assert!(known.contains(&line.as_str()) || inside, "{handle}: {line}");
        }
        assert_eq!(ran.code, Some(4), "{handle}: {}", ran.outcome(&bench));
        assert!(
            bench.acme.is_alive(&bench.search.secret) && bench.acme.is_alive(&bench.events.secret)
        );
    }
}

/// Twenty credentials, one provider dead and another slow: the other eighteen are done as if
/// nothing were wrong.
#[test]
fn one_failure_delays_no_other() {
    let (bench, slow) = (Bench::new(), Acme::start());
    slow.treat("", Manners::Late(Duration::from_secs(1)));
    let mut text = INVENTORY.to_owned();
    let mut keys = Vec::new();
    let mut add = |name: &str, provider: &str, secret: &str, handle: &str| {
        bench.write(&format!("agent/{name}.key"), secret);
        text.push_str(&format!(
            "\n[[role.many.credential]]\nname = \"{name}\"\nprovider = \"{provider}\"\n\
             kind = \"api-key\"\nhandle = \"{handle}\"\nsecret = \"file:DIR/agent/{name}.key\"\n\
             admin = \"{provider}-admin\"\nreload = \"none\"\n"
        ));
    };
    for n in 0..18 {
        let key = bench.acme.seed(&format!("n{n}"));
        add(&format!("n{n:02}"), "acme", &key.secret, &key.id);
        keys.push(key);
    }
    let late = slow.seed("late");
    add("late", "slow", &late.secret, &late.id);
    add("lost", "dead", "acme_00000000000000000000000000000000", "key_0");
    let (dead, nobody) = ("http://127.0.0.1:1", "acmeadm_0");
    for (id, base, admin, give_up) in
        [("slow", slow.base.as_str(), slow.admin(), "20s"), ("dead", dead, nobody, "3s")]
    {
        bench.write(&format!("responder/{id}.key"), admin);
        text.push_str(&format!(
            "\n[provider.{id}]\nfile = \"acme\"\nbase = \"{base}\"\n\
             proof = {{ refusals = 2, hold = \"200ms\", give_up = \"{give_up}\" }}\n\
             [admin.{id}-admin]\nprovider = \"{id}\"\nkind = \"admin-key\"\n\
             secret = \"file:DIR/responder/{id}.key\"\n"
        ));
    }
    bench.inventory(&text);
    let ran = bench.rotate(&["--role", "many", "--format", "json"]);
    let report = ran.report();
    let instant =
        |value: &serde_json::Value| -> jiff::Timestamp { value.as_str().unwrap().parse().unwrap() };
    let begun = instant(&report["started"]);
    for one in report["credentials"].as_array().unwrap() {
        let (id, old) = (one["id"].as_str().unwrap(), &one["old"]);
        match id {
            "many/lost" => assert_eq!(old["revoke"], "not-sent", "{one:#}"),
            "many/late" => assert_eq!(old["verdict"], "dead", "{one:#}"),
            _ => {
                assert_eq!(
                    (&old["verdict"], &one["new"]["state"]),
                    (&"dead".into(), &"held".into())
                );
                let refused = instant(&old["first_refused_at"]).duration_since(begun);
                assert!(refused.as_millis() < 3_000, "{id} was refused after {refused:#}");
            }
        }
    }
    assert!(keys.iter().all(|key| !bench.acme.is_alive(&key.secret)));
    assert!(!slow.is_alive(&late.secret));
    assert_eq!((bench.acme.issued().len(), slow.issued().len()), (18, 1));
    assert_eq!(ran.code, Some(3));
}
