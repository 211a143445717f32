//! `rotate providers`: the table, a page, and a file of one's own.

use crate::host::Host;

fn acme() -> &'static str {
    include_str!("../../providers/acme.toml")
}

/// A file like Acme's under a name of its own.
fn mine(change: impl Fn(&str) -> String) -> String {
    change(&acme().replace("id      = \"acme\"", "id      = \"mine\"").replace("acme", "mine"))
}

#[test]
fn the_table_has_every_kind_and_a_page_everything_a_responder_needs() {
    let host = Host::new();
    let table = host.rotate(&["providers"]).stdout;
    for word in ["acme", "aws-iam", "access-key", "full, self", "iam.amazonaws.com"] {
        assert!(table.contains(word), "{word}\n{table}");
    }
    let json = host.rotate(&["providers", "--format", "json"]).json();
    assert!(json.as_array().unwrap().iter().any(|one| one["id"] == "slack"));
    insta::assert_snapshot!(host.rotate(&["providers", "acme"]).transcript(&host), @r#"
    Acme (acme)
      secrets go to      wherever the inventory says
      documents          https://docs.acme.example/keys, last looked at on 2026-11-21
      it bears           8 calls at once, 600 refused probes in 1 min

    admin-key: probe-only
      parts              secret
      order              the plan decides
      a revocation ends  it alone
      proof              refused 3 times for 1 min, waited for 10 min; nothing is known of its flapping, the figures are ours
      probe              with the one that is looked at (seen on a real server)
      issue by hand      {{ base }}/settings/admin: New admin key
      revoke by hand     {{ base }}/settings/admin: Delete the old admin key

    api-key: full, self
      parts              secret
      order              the plan decides
      a revocation ends  it alone
      proof              refused 3 times for N s, waited for N s
      probe              with the one that is looked at (seen on a real server)
      find               by the admin (seen on a real server)
      issue              by the admin (seen on a real server)
      revoke             by the old one (seen on a real server)
                         by the admin (seen on a real server)
      issue by hand      {{ base }}/settings/keys: New key named {{ label }}, same scopes
      revoke by hand     {{ base }}/settings/keys: Delete the key {{ handle }}
    [exit 0]
    "#);
    let markdown = host.rotate(&["providers", "acme", "--format", "markdown"]).stdout;
    assert!(markdown.starts_with("## Acme\n"), "{markdown}");
}

#[test]
fn a_provider_that_is_not_there() {
    let host = Host::new();
    insta::assert_snapshot!(host.rotate(&["providers", "opanai"]).transcript(&host), @r#"
    error: there is no provider opanai
    hint: did you mean openai? list them: rotate providers
    [exit 2]
    "#);
    let pasted = host.rotate(&["providers", "sk-canary-4F9a"]);
    assert!(!pasted.transcript(&host).contains("canary") && pasted.code == 2);
}

#[test]
fn files_of_a_folder_are_listed_too() {
    let host = Host::new();
    std::fs::create_dir(host.path("more")).unwrap();
    host.put("more/mine.toml", &mine(str::to_owned));
    let folder = host.path("more");
    let ran = host.rotate(&["providers", "mine", "--providers", folder.to_str().unwrap()]);
    assert!(ran.stdout.starts_with("Acme (mine)"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_file_that_is_right() {
    let host = Host::new();
    host.put("mine.toml", &mine(str::to_owned));
    let path = host.path("mine.toml");
    let ran = host.rotate(&["providers", "check", path.to_str().unwrap()]);
    insta::assert_snapshot!(ran.transcript(&host), @r#"
    DIR/mine.toml is right: 8 exchanges replayed
    [exit 0]
    "#);
}

#[test]
fn a_file_that_is_wrong_is_shown_where_and_touches_nothing() {
    let host = Host::new();
    host.put(
        "mine.toml",
        &mine(|text| {
            text.replace("status = 401", "status = 403").replace("order   =", "ordre   =")
        }),
    );
    let path = host.path("mine.toml");
    let ran = host.rotate(&["providers", "check", path.to_str().unwrap()]);
    insta::assert_snapshot!(ran.transcript(&host), @r#"
    error: unknown key `ordre` in `kind.api-key`
      --> DIR/mine.toml:20:1
       |
    20 | ordre   = "any"                            # nothing forbids killing the old key first
       | ^^^^^
       |
       = hint: did you mean `order`?

    hint: docs/providers.md says what each key means
    [exit 2]
    "#);
    let gone = host.rotate(&["providers", "check", "/nowhere/mine.toml"]);
    assert_eq!(gone.code, 2);
}

#[test]
fn what_is_wrong_is_told_to_programs_too() {
    let host = Host::new();
    let check = |text: &[u8]| {
        std::fs::write(host.path("mine.toml"), text).unwrap();
        let path = host.path("mine.toml");
        let words = ["providers", "check", path.to_str().unwrap(), "--format", "json"];
        host.rotate(&words).transcript(&host)
    };
    insta::assert_snapshot!(check(mine(str::to_owned).as_bytes()), @r#"
    {
      "file": "DIR/mine.toml",
      "ok": true,
      "exchanges": 8,
      "problems": [],
      "warnings": []
    }
    [exit 0]
    "#);
    let slip = mine(|text| text.replace("order   =", "ordre   ="));
    insta::assert_snapshot!(check(slip.as_bytes()), @r#"
    {
      "file": "DIR/mine.toml",
      "ok": false,
      "exchanges": 0,
      "problems": [
        {
          "line": 20,
          "column": 1,
          "message": "unknown key `ordre` in `kind.api-key`",
          "hint": "did you mean `order`?"
        }
      ],
      "warnings": []
    }
    [exit 2]
    "#);
    insta::assert_snapshot!(check(b"id = \"mine\"\nname = \"M\xfcller\"\n"), @r#"
    {
      "file": "DIR/mine.toml",
      "ok": false,
      "exchanges": 0,
      "problems": [
        {
          "line": 2,
          "column": 10,
          "message": "byte 22 is no UTF-8",
          "hint": "save the file as UTF-8: until then nothing in it can be used"
        }
      ],
      "warnings": []
    }
    [exit 2]
    "#);
}

#[test]
fn a_file_that_is_no_text_is_shown_where() {
    let host = Host::new();
    std::fs::create_dir(host.path("more")).unwrap();
    let text = mine(|text| text.replace("name    = \"Acme\"", "name    = \"Acm\u{e9}\""));
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    std::fs::write(host.path("more/mine.toml"), latin).unwrap();
    let (folder, file) = (host.path("more"), host.path("more/mine.toml"));
    let check = host.rotate(&["providers", "check", file.to_str().unwrap()]);
    insta::assert_snapshot!(check.transcript(&host), @r#"
    error: byte 362 is no UTF-8
     --> DIR/more/mine.toml:6:15
      |
    6 | name    = ••••
      |               ^
      |
      = hint: save the file as UTF-8: until then nothing in it can be used

    hint: docs/providers.md says what each key means
    [exit 2]
    "#);
    let list = host.rotate(&["providers", "--providers", folder.to_str().unwrap()]);
    insta::assert_snapshot!(list.transcript(&host), @r#"
    error: DIR/more/mine.toml:6:15: byte 362 is no UTF-8
    hint: mend the file; nothing was touched
    [exit 2]
    "#);
}
