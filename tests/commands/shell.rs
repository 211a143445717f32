//! What shells, packagers and other programs ask for.

use crate::host::Host;

#[test]
fn completions_know_every_command_and_option() {
    let host = Host::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = host.rotate(&["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        for word in ["rehearse", "escrow", "revoke-strangers", "with-delegates"] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(host.rotate(&["completions", "tcsh"]).code, 2);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let host = Host::new();
    let whole = host.rotate(&["man"]).stdout;
    assert!(whole.contains(".TH rotate 1") && whole.contains("Exit codes"), "{whole}");
    let page = host.rotate(&["man", "runs"]).stdout;
    assert!(page.contains(".TH rotate-runs 1") && page.contains("trend"), "{page}");
    let none = host.rotate(&["man", "sk-canary-4f9a"]);
    assert!(none.code == 2 && !none.stderr.contains("canary"), "{}", none.stderr);
}

#[test]
fn the_schema_accepts_a_report() {
    let host = Host::new();
    let schema = host.rotate(&["schema"]).json();
    assert_eq!(schema, host.rotate(&["schema", "report"]).json());
    let schema = jsonschema::validator_for(&schema).unwrap();
    let report = host.report(&["--role", "calendar"]);
    let errors: Vec<_> = schema.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// A secret that was pasted where a name belongs is repeated by no message of ours.
#[test]
fn a_secret_in_the_place_of_a_name_is_not_repeated() {
    let host = Host::new();
    let secret = &host.keys[0].secret;
    let only = format!("acme/{secret}");
    for arguments in [
        &["--role", secret][..],
        &["rehearse", "--role", secret],
        &["--through", secret],
        &["--role", "mail", "--only", &only],
    ] {
        let ran = host.rotate(arguments);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("...") && !ran.stderr.contains(&secret[8..]), "{}", ran.stderr);
    }
}
