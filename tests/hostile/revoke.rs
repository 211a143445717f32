//! Secrets on stdin: what can end itself is ended and proved dead, the rest is named and never
//! repeated.

use crate::acme::Manners;
use crate::bench::Bench;

const REVOKE: &[&str] = &["revoke", "-", "--providers", "PROVIDERS"];

/// The built-in file at this bench's address, proving as fast as its inventory asks it to.
fn bench() -> (Bench, Vec<String>) {
    let bench = Bench::new();
    let file = include_str!("../../providers/acme.toml");
    let file = file
        .replace(
            "base    = \"inventory\"",
            &format!("replaces = \"acme\"\nbase = \"{}\"", bench.acme.base),
        )
        .replace("hold = \"2s\", give_up = \"30s\"", "hold = \"200ms\", give_up = \"1500ms\"");
    bench.write("providers/acme.toml", &file);
    bench.mode("providers", 0o700);
    let folder = bench.path("providers").display().to_string();
    let arguments = REVOKE.iter().map(|word| word.replace("PROVIDERS", &folder)).collect();
    // Nothing here needs one.
    std::fs::remove_file(bench.path("inventory.toml")).unwrap();
    (bench, arguments)
}

fn words<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn what_can_end_itself_is_ended_and_the_rest_is_listed() {
    let (bench, arguments) = bench();
    let unknown = "hunter2-of-nobody";
    let stdin = format!(
        "# from the ticket\n{}\n\nexport SEARCH='{}'\nADMIN={}\nOTHER={unknown}\nsk-proj-abcT3BlbkFJdef\n\
         curl -H 'Authorization: Bearer {}'\n",
        bench.mail.secret,
        bench.search.secret,
        bench.acme.admin(),
        bench.mail.secret,
    );
    let ran = bench.fed(&stdin, &words(&arguments, &["--format", "json"]));
    let report = ran.report();
    let one = |id: &str| {
        let all = report["credentials"].as_array().unwrap();
        all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id}\n{report:#}")).clone()
    };
    assert_eq!(report["credentials"].as_array().unwrap().len(), 5, "each once\n{report:#}");
    for (id, key) in [("stdin/line-2", &bench.mail), ("stdin/line-4", &bench.search)] {
        assert_eq!(one(id)["old"]["revoke"], "accepted");
        assert!(!bench.acme.is_alive(&key.secret));
        assert!(one(id)["old"]["proof"]["refusals"].as_u64() >= Some(3), "{report:#}");
        // No live credential stands beside it: nothing tells its death from an outage.
        assert_eq!(one(id)["old"]["verdict"], "refused");
    }
    for id in ["stdin/line-5", "stdin/line-6", "stdin/line-7"] {
        assert_eq!(one(id)["old"]["verdict"], "unproven", "{report:#}");
        assert_eq!(one(id)["old"]["fingerprint"].as_str().unwrap().len(), 24);
        assert_eq!(one(id)["new"]["planned"], false, "{report:#}");
    }
    assert!(one("stdin/line-7")["todo"][0]["at"].as_str().unwrap().starts_with("https://"));
    assert_eq!(report["exit_code"], 3);
    assert_eq!(report["roles"].as_array().unwrap().len(), 0);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    for secret in [&bench.mail.secret, &bench.search.secret, unknown, bench.acme.admin()] {
        assert!(!said.contains(secret));
    }
    assert_eq!(bench.acme.seen().iter().filter(|line| line.starts_with("DELETE")).count(), 2);
    let run = report["run"].as_str().unwrap();
    let human = bench.rotate(&["report", run]);
    assert!(human.stdout.starts_with("revoke-only of what stdin held, run"), "{}", human.stdout);
    assert!(human.stdout.contains("has no shape that a provider file knows"), "{}", human.stdout);
    assert!(!human.stdout.contains("no new one"), "none was to be: {}", human.stdout);
}

#[test]
fn a_lying_provider_is_caught() {
    let (bench, arguments) = bench();
    bench.acme.treat("DELETE /v1/keys/current", Manners::Lie);
    let ran = bench.fed(&bench.mail.secret, &words(&arguments, &["--format", "json"]));
    assert_eq!(ran.report()["credentials"][0]["old"]["verdict"], "alive");
    assert_eq!(ran.code, Some(4));
}

#[test]
fn a_dry_run_touches_nothing() {
    let (bench, arguments) = bench();
    let ran =
        bench.fed(&format!("KEY={}\n", bench.mail.secret), &words(&arguments, &["--dry-run"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    insta::assert_snapshot!(bench.redacted(&ran.stdout), @r"
    revoke-only of what stdin held
    hosts       127.0.0.1:PORT
    collateral  none

    stdin/line-1 (acme api-key, full, self)
      revoked by: itself
       1. look at the old one
       2. revoke the old one
       3. prove the old one dead by using it

    nothing was touched
    ");
    assert!(bench.acme.seen().is_empty() && !bench.path("state").exists());
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let bench = Bench::new();
    let secret = bench.mail.secret.clone();
    for arguments in [
        &["revoke", &secret][..],
        &["revoke", "-", &secret],
        &["revoke", &format!("--{secret}")],
        &["revoke", &format!("-{secret}"), "-"],
        &["revoke", "-", &format!("--key={secret}")],
    ] {
        let ran = bench.fed("", arguments);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&secret), "{}", ran.stderr);
    }
    assert_eq!(bench.acme.seen(), [""; 0]);
}

#[test]
fn nothing_on_stdin_is_wrong_input() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.fed("# nothing\n\n", &["revoke", "-"]).transcript(&bench), @r#"
    $ rotate revoke -
    [stderr]
    error: no secret on stdin
    hint: write one a line, or the lines of a .env file
    [exit 2]
    "#);
}

#[test]
fn a_provider_whose_address_an_inventory_gives_is_named() {
    let bench = Bench::new();
    let ran = bench.fed(&bench.mail.secret, &["revoke", "-"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("only an inventory can say where acme is"), "{}", ran.stdout);
    assert_eq!(bench.acme.seen(), [""; 0]);
}

#[test]
fn any_text_is_searched_for_what_has_a_known_shape() {
    let (bench, arguments) = bench();
    let file = bench.read("providers/acme.toml");
    let shape = "^acme_[A-Za-z0-9]{32}$";
    assert!(file.contains(shape));
    bench.write("providers/acme.toml", &file.replace(shape, "^acme_[A-Za-z0-9.]{32,300}$"));
    let keys: Vec<_> = ["a", "b", "c"].iter().map(|name| bench.acme.seed(name).secret).collect();
    let stdin = format!(
        "# OLD_TOKEN={}\n# nothing\nThe leaked token is {}.\n{}.\n{{\"content\":\"$ cat\\n{}\\n\"}}\n",
        keys[0], keys[1], keys[2], bench.mail.secret
    );
    let ran = bench.fed(&stdin, &words(&arguments, &["--format", "json"]));
    let report = ran.report();
    assert_eq!(report["credentials"].as_array().unwrap().len(), 4, "{report:#}");
    for key in keys.iter().chain([&bench.mail.secret]) {
        assert!(!bench.acme.is_alive(key), "{report:#}");
    }
}
