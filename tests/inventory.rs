//! What people write into inventories, and what they are told.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rotate::engine::capability::{
    Capabilities, Class, KindCapability, KindRef, Part, PartType, ProviderCapability, Var,
};
use rotate::engine::check::check;
use rotate::inventory::{Inventory, Problem, Reload, SecretRef, VarValue, literal, render};
use rotate::provider::catalog::{BUILTIN, Catalog};

/// Each problem as `line:column who: what (hint)`.
fn told(text: &str) -> Vec<String> {
    match Inventory::parse(text) {
        Ok(inventory) => lines(&inventory.problems),
        Err(problems) => lines(&problems.0),
    }
}

fn lines(problems: &[Problem]) -> Vec<String> {
    let hint = |problem: &Problem| match &problem.hint {
        Some(hint) => format!(" ({hint})"),
        None => String::new(),
    };
    problems.iter().map(|it| format!("{}:{} {it}{}", it.line, it.column, hint(it))).collect()
}

/// A role `mail` with one credential `key`, which these lines complete; they begin in line 5.
fn credential(rest: &str) -> String {
    format!("[role.mail]\n[[role.mail.credential]]\nname = \"key\"\nprovider = \"acme\"\n{rest}\n")
}

const PLACES: &str = "write SCHEME:PATH, such as dotenv:/srv/agent/.env#API_KEY";
const BURNED: &str =
    "keep it in a store and write its reference; whoever could read this file has it";

/// The example, and the same with what stands behind `#:`.
fn examples() -> [String; 2] {
    let text = include_str!("../inventory.example.toml");
    [text.to_owned(), text.replace("\n#: ", "\n")]
}

#[test]
fn the_example_is_without_fault_and_shows_everything() {
    let [_, whole] = examples();
    let inventory = Inventory::parse(&whole).unwrap();
    assert_eq!(lines(&inventory.problems), [""; 0]);
    let mail = &inventory.roles["mail-agent"];
    assert!(mail.owner.is_some() && mail.authorized_by.is_some() && mail.vendor.is_some());
    assert_eq!(mail.delegates_to, ["calendar-agent"]);
    assert_eq!(mail.uses, ["calendar-agent/search"]);
    assert!(mail.stop.is_some() && !mail.evidence.is_empty());
    let names: Vec<_> = mail.credentials.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "mail-api",
            "archive",
            "inbox",
            "openai",
            "cloud",
            "queue",
            "grant",
            "drive",
            "gmail",
            "repository",
            "desk",
            "shop",
            "slack",
            "anthropic",
            "openrouter",
            "code",
            "dns",
            "packages",
            "blog",
        ]
    );
    let api = &mail.credentials[0];
    assert_eq!(api.ttl_ms, Some(7_776_000_000));
    assert_eq!(api.secret["secret"].to_string(), "dotenv:/srv/mail-agent/.env#MAIL_API_KEY");
    assert!(matches!(&api.reload, Reload::Command(argv) if argv.len() == 3));
    assert_eq!(mail.credentials[1].reload, Reload::ReadOnUse);
    assert_eq!(mail.credentials[4].secret.len(), 2, "two parts");
    assert!(mail.credentials[5].secret["secret"].part.is_some());
    assert_eq!(mail.credentials[6].client.as_deref(), Some("inbox-client"));
    assert_eq!(inventory.providers["queue-server"].file, "redis");
    assert_eq!(inventory.providers["queue-server"].proof.hold_ms, Some(3_000));
    assert_eq!(inventory.providers["acme"].base["api"], "https://keys.example.com");
    assert_eq!(inventory.sha256.len(), 64);
}

#[test]
fn the_example_fits_the_providers() {
    for text in examples() {
        let mut inventory = Inventory::parse(&text).unwrap();
        let Ok(catalog) = Catalog::builtin() else { panic!("the built-in providers are broken") };
        let (capabilities, problems) = catalog.capabilities(&inventory.providers);
        assert!(problems.is_empty());
        check(&mut inventory, &capabilities, &text);
        assert_eq!(lines(&inventory.problems), [""; 0]);
        assert_eq!(inventory.admins["archive-admin"].kind.as_deref(), Some("admin-key"));
        let mut all = inventory
            .roles
            .values()
            .flat_map(|it| &it.credentials)
            .chain(inventory.admins.values());
        assert!(all.all(|it| !it.unusable && it.kind.is_some()));
    }
}

#[test]
fn the_example_shows_every_built_in_provider() {
    let [_, whole] = examples();
    let inventory = Inventory::parse(&whole).unwrap();
    let credentials = inventory.roles.values().flat_map(|role| &role.credentials);
    let shown = credentials.map(|it| match inventory.providers.get(&it.provider) {
        Some(at) => at.file.as_str(),
        None => it.provider.as_str(),
    });
    let built_in = BUILTIN.iter().map(|(id, _)| *id);
    assert_eq!(shown.collect::<BTreeSet<_>>(), built_in.collect::<BTreeSet<_>>());
}

#[test]
fn an_admin_without_parts_needs_no_secret() {
    let told = |rest: &str| {
        let text = format!("[admin.here]\nprovider = 'aws-iam'\n{rest}\n");
        let mut inventory = Inventory::parse(&text).unwrap();
        let Ok(catalog) = Catalog::builtin() else { panic!("the built-in providers are broken") };
        let (capabilities, _) = catalog.capabilities(&inventory.providers);
        check(&mut inventory, &capabilities, &text);
        (lines(&inventory.problems), inventory.admins["here"].unusable)
    };
    assert_eq!(told("kind = 'chain'"), (vec![], false));
    let (problems, unusable) = told("kind = 'admin-key'");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].starts_with("1:1 admin here: part `access_key_id` is missing"),
        "{problems:?}"
    );
    assert!(unusable);
    let (problems, _) = told("kind = 'chain'\nsecret = 'env:A'");
    assert_eq!(problems, ["4:10 admin here: the kind has no parts (leave `secret` out)"]);
}

#[test]
fn no_toml_is_the_only_thing_that_stops_everything() {
    assert_eq!(
        told("[role.mail]\nowner = \"x\n[role.b]\n"),
        ["2:11 invalid basic string, expected `\"` \
          (mend the TOML: until then nothing in this file can be used)"]
    );
    assert!(Inventory::parse("[role.mail").is_err());
    assert!(Inventory::parse("").unwrap().problems.is_empty());
}

#[test]
fn every_fault_is_told_at_once_and_the_rest_is_used() {
    let text = r#"[role.mail]
ownr = "support"
purpose = 3
stop = []
evidence = ["logs/*", 7]
platform = { home = "/srv/mail" }
vendor = "Anthropic"

[[role.mail.credential]]
provider = "acme"
secret = "env:A"

[[role.mail.credential]]
name = "key"
secret = "env:B"
ttl = "90 days"
reload = "systemctl"
scopes = "all"
deliver = ["env:C", "file:/srv/key"]
through = ["mcp:notion", ""]

[[role.mail.credential]]
name = "bare"
provider = "acme"

[roles.mail]
"#;
    let at = |line: &str| line.split(' ').next().unwrap().to_owned();
    let told = told(text);
    assert_eq!(
        told,
        [
            "2:1 mail: unknown key `ownr` in a role (did you mean `owner`?)",
            "3:11 mail: `purpose` must be a string, not a number",
            "4:8 mail: `stop` names no command (leave it out)",
            "5:13 mail: `evidence` holds a relative path \
             (write the whole path: a run may start in any directory)",
            "5:23 mail: `evidence` must be a string, not a number",
            "6:12 mail: `platform.name` is missing (write platform = { name = \"...\" })",
            "7:10 mail: `vendor` must be a table, not a string",
            "9:1 mail/line-9: `name` is missing \
             (add a name: commands and the report call it ROLE/NAME)",
            "13:1 mail/key: `provider` is missing \
             (add the id of its provider; rotate providers lists them)",
            "16:7 mail/key: `ttl` is not a duration \
             (write a whole number and one of ms, s, m, h, d, w: \"90d\", \"10m\")",
            "17:10 mail/key: `reload` must be a command as a list of arguments, or \"none\" where it \
             is read on each use, not a string",
            "18:10 mail/key: `scopes` must be a list of strings, not a string",
            "19:12 mail/key: `deliver.0` cannot be written: it is only ever read \
             (name a place that keeps what is written)",
            "20:26 mail/key: `through` is empty or holds control characters \
             (write plain text on one line)",
            "22:1 mail/bare: `secret` is missing \
             (add where it lives now, such as dotenv:/srv/agent/.env#API_KEY)",
            "26:2 unknown key `roles` in an inventory (did you mean `role`?)",
        ],
        "{}",
        told.iter().map(|line| at(line)).collect::<Vec<_>>().join(" ")
    );
    let inventory = Inventory::parse(text).unwrap();
    let credentials = &inventory.roles["mail"].credentials;
    assert!(!credentials[0].unusable, "a credential without a name is burned all the same");
    assert!(credentials[1].unusable, "nobody knows whom to ask");
    assert_eq!(credentials[1].deliver.len(), 1);
    assert!(credentials[2].unusable, "nothing to use and nothing to name it by");
}

#[test]
fn names_given_twice() {
    let text = "[role.mail]\nowner = 'a'\n[role.mail]\nowner = 'b'\n";
    let hint = "(keep one of them: the first value counts, tables are joined)";
    assert_eq!(
        told(text),
        [
            format!("3:7 mail: `mail` is given twice {hint}"),
            format!("4:1 mail: `owner` is given twice {hint}")
        ]
    );
    assert_eq!(Inventory::parse(text).unwrap().roles["mail"].owner.as_deref(), Some("a"));

    let entry = |place: &str| {
        format!("[[role.mail.credential]]\nname = 'key'\nprovider = 'acme'\nsecret = '{place}'\n")
    };
    let text = entry("env:A") + &entry("env:B") + &entry("env:A");
    assert_eq!(
        told(&text),
        [
            "5:1 mail/key@line-5: `key` is the name of the credential in line 1 \
             (give it another name)",
            "9:1 mail/key@line-9: `key` is the name of the credential in line 1 \
             (give it another name)",
        ]
    );
    let inventory = Inventory::parse(&text).unwrap();
    let unusable: Vec<_> = inventory.roles["mail"].credentials.iter().map(|c| c.unusable).collect();
    assert_eq!(unusable, [false, false, true], "another place is another credential");
}

#[test]
fn ill_formed_names() {
    let names =
        "(use letters, digits, dots, hyphens and underscores; begin with a letter or digit)";
    assert_eq!(
        told("[role.'a b']\n[admin.-x]\nprovider = 'acme'\nsecret = 'env:A'\n"),
        [
            format!("1:7 the name of a role is ill-formed {names}"),
            format!("2:8 the name of an admin is ill-formed {names}"),
        ]
    );
    assert_eq!(
        told(&credential("secret = 'env:A'").replace("\"key\"", "\"a/b\"")),
        [format!("3:8 mail/line-2: the name of a credential is ill-formed {names}")]
    );
}

#[test]
fn what_names_nothing_is_told_with_the_nearest_name() {
    let text = "
[role.mail]
delegates_to = ['calender', 'mail', 'planner']
uses = ['calendar/gogle', 'calender/google', 'calendar', 'mail/x']
[[role.mail.credential]]
name = 'key'
provider = 'acme'
secret = 'env:A'
admin = 'acme-admn'
client = 'calendar/app'
control = 'mail/key'
[role.calendar]
[[role.calendar.credential]]
name = 'google'
provider = 'acme'
secret = 'env:B'
admin = { a = 'acme-admin', b = 'nobody' }
[admin.acme-admin]
provider = 'acme'
secret = 'env:C'
";
    assert_eq!(
        told(text),
        [
            "3:17 mail: `delegates_to` names an unknown role, `calender` \
             (did you mean `calendar`?)",
            "3:29 mail: `delegates_to` names the role itself (leave it out)",
            "3:37 mail: `delegates_to` names an unknown role, `planner` \
             (add it, or name one that exists)",
            "4:9 mail: `uses` names an unknown credential, `calendar/gogle` \
             (did you mean `calendar/google`?)",
            "4:27 mail: `uses` names an unknown credential, `calender/google` \
             (did you mean `calendar/google`?)",
            "4:46 mail: `uses` names an unknown credential, `calendar` \
             (write ROLE/NAME)",
            "4:58 mail: `uses` names the role itself (leave it out)",
            "9:9 mail/key: `admin` names an unknown admin, `acme-admn` \
             (did you mean `acme-admin`?)",
            "10:10 mail/key: `client` names an unknown credential, `calendar/app` \
             (add it, or name one that exists)",
            "11:11 mail/key: `control` names the credential itself \
             (name another live credential of the same provider)",
            "17:33 calendar/google: `admin.b` names an unknown admin, `nobody` \
             (add it, or name one that exists)",
        ]
    );
    let inventory = Inventory::parse(text).unwrap();
    let mail = &inventory.roles["mail"];
    assert!(mail.delegates_to.is_empty() && mail.uses.is_empty());
    assert!(mail.credentials[0].admin.is_empty() && mail.credentials[0].client.is_none());
    assert!(!mail.credentials[0].unusable, "it may still end itself");
    assert_eq!(inventory.roles["calendar"].credentials[0].admin.len(), 1);
}

#[test]
fn circles_are_told_and_cut() {
    let admin = |name: &str, of: &str| {
        format!("[admin.{name}]\nprovider = 'acme'\nsecret = 'env:X'\nadmin = '{of}'\n")
    };
    let text = admin("a", "b") + &admin("b", "c") + &admin("c", "a") + &admin("d", "d");
    assert_eq!(
        told(&text),
        [
            "12:9 admin c: needs itself to be rotated: a -> b -> c -> a \
             (name an admin or client outside of the circle)",
            "16:9 admin d: needs itself to be rotated: d -> d \
             (name an admin or client outside of the circle)",
        ]
    );
    let inventory = Inventory::parse(&text).unwrap();
    assert!(inventory.admins["c"].admin.is_empty() && inventory.admins["d"].admin.is_empty());
    assert_eq!(inventory.admins["a"].admin[""], "b");

    // Who leans on a circle is not in it, and many ways to one admin are none.
    let text = admin("a", "a") + &admin("b", "a") + &admin("c", "a");
    assert_eq!(told(&text).len(), 1);
    let long: String =
        (0..20).map(|n| admin(&format!("n{n}"), &format!("n{}", (n + 1) % 20))).collect();
    assert!(told(&long)[0].contains("... -> "), "{:?}", told(&long));
}

#[test]
fn references_that_are_none() {
    for (value, what) in [
        (
            "'hunter2'",
            format!("5:10 mail/key: `secret`: this is no reference to a secret ({PLACES})"),
        ),
        (
            "'dotnev:/srv/.env#A'",
            "5:10 mail/key: `secret`: the reference names a store that rotate does not know \
          (did you mean `dotenv:`?)"
                .into(),
        ),
        (
            "'dotenv:.env#A'",
            "5:10 mail/key: `secret`: the path of the reference is relative \
          (write the whole path: a run may start in any directory)"
                .into(),
        ),
        (
            "'postgres://db.example.com/x'",
            "5:10 mail/key: `secret`: an address stands where a reference belongs \
          (write where this address is kept, with ::url.password for a part of it)"
                .into(),
        ),
        (
            "'inventory:1-2'",
            format!(
                "5:10 mail/key: `secret`: `inventory:` is for what rotate itself finds in the \
                  inventory ({PLACES})"
            ),
        ),
        (
            "{ sid = 'env:A', token = 'x' }",
            format!("5:35 mail/key: `secret.token`: this is no reference to a secret ({PLACES})"),
        ),
        ("{}", "5:10 mail/key: `secret` names no part (name its parts)".into()),
        ("['env:A']", "5:10 mail/key: `secret` must be a reference to a secret, not a list".into()),
    ] {
        assert_eq!(told(&credential(&format!("secret = {value}"))), [what], "{value}");
    }
}

#[test]
fn providers_at_other_addresses() {
    let text = "
[provider.broker]
file = 'rabbitmq'
base = 'http://mq.example.com'
proof = { hold = '3', refusals = 0, holt = '1s' }
limits = { calls = '600', in_flight = 2, revoke = '1/s' }
[provider.other]
base = { api = 'https://a.example.com', id = 'https://user:hunter2pw@b.example.com' }
[[role.mail.credential]]
name = 'queue'
provider = 'broker'
secret = 'env:A'
";
    let rate = "(write calls per s, m, h or d: \"600/m\")";
    assert_eq!(
        told(text),
        [
            "4:8 `base` would send secrets unencrypted \
             (use https; http is for addresses of this machine alone)"
                .to_owned(),
            "5:18 `hold` is not a duration \
             (write a whole number and one of ms, s, m, h, d, w: \"90d\", \"10m\")"
                .to_owned(),
            "5:34 `refusals` must be a whole number from 1, not a number".to_owned(),
            "5:37 unknown key `holt` in `proof` (did you mean `hold`?)".to_owned(),
            format!("6:20 `limits.calls` is not a rate {rate}"),
            format!("8:60 a secret is written here: a password in an address ({BURNED})"),
            "11:12 mail/queue: [provider.broker] is not used: its address cannot be used"
                .to_owned(),
        ]
    );
    let inventory = Inventory::parse(text).unwrap();
    assert!(!inventory.providers.contains_key("broker"), "never at the vendor's address instead");
    assert!(inventory.roles["mail"].credentials[0].unusable);
}

/// One that the forms know, and its disguises.
const CANARY: &str = "sk-proj-Zq4canaryX7pLm2Rt9WbKe5NuYc8VdHs3";

fn never_says(canary: &str, text: &str) {
    let (said, problems) = match Inventory::parse(text) {
        Ok(inventory) => (format!("{inventory:?}"), inventory.problems),
        Err(error) => (format!("{error} {error:?}"), error.0),
    };
    assert!(!problems.is_empty(), "a secret in an inventory is always told:\n{text}");
    for page in
        [said, render(&problems, "i.toml", text, false), render(&problems, "i.toml", text, true)]
    {
        assert!(!page.contains(canary), "{page}");
    }
}

#[test]
fn a_secret_in_an_inventory_is_told_and_never_repeated() {
    let what = "a secret is written here: an API key (sk-)";
    for (text, place) in [
        (credential(&format!("secret = '{CANARY}'")), "5:11 mail/key"),
        (credential(&format!("secret = 'env:{CANARY}'")), "5:15 mail/key"),
        (credential(&format!("secret = 'env:A' # {CANARY}")), "5:20 mail/key"),
        (credential(&format!("secret = 'env:A'\nhandle = '{CANARY}'")), "6:11 mail/key"),
        (credential(&format!("secret = 'env:A'\nscopes = ['a', 'x {CANARY}']")), "6:19 mail/key"),
        (credential(&format!("secret = 'env:A'\nsecert = '{CANARY}'")), "6:11 mail/key"),
        (
            credential(&format!("secret = 'env:A'\nvars = {{ a = [['{CANARY}']] }}")),
            "6:17 mail/key",
        ),
        (format!("[role.mail]\npurpose = \"\"\"\n{CANARY}\"\"\"\n"), "3:1 mail"),
        (format!("[role.'{CANARY}']\n"), "1:8 "),
        (
            format!("[admin.x]\nprovider = 'a'\nsecret = 'env:A'\nhandle = '{CANARY}'\n"),
            "4:11 admin x",
        ),
        (format!("[provider.x]\nfile = '{CANARY}'\n"), "2:9 a secret"),
        (format!("# {CANARY}\n"), "1:3 a secret"),
    ] {
        let told = told(&text);
        let found = told.iter().any(|line| line.starts_with(place) && line.contains(what));
        assert!(found, "{text}\n{told:#?}");
        never_says(CANARY, &text);
    }
}

#[test]
fn a_secret_without_a_form_is_caught_by_where_it_stands() {
    for text in [
        credential("secret = 'correct horse'"),
        credential("secert = 'correct horse'"),
        credential("secret = { a = 'env:X', b = 'correct horse' }"),
        credential("secret = ['correct horse']"),
        credential("deliver = ['correct horse']"),
        credential("secret = 'env:A'\nreload = 'correct horse'"),
        "[role.mail]\nsecret = correct horse\n".to_owned(),
        "[role.mail]\nsecret = \"correct horse\n".to_owned(),
    ] {
        never_says("correct horse", &text);
        never_says("horse", &text);
    }
    let aws = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    never_says(aws, &credential(&format!("secret = '{aws}'")));
    never_says(aws, &format!("[role.mail]\npurpose = '{aws}'\n"));
    never_says(
        CANARY,
        &format!("[role.mail]\npurpose = '\\u0073{}'\n", &CANARY[1..]).replace('\'', "\""),
    );
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----";
    never_says("MIIEvQIBADANBgkq", &credential(&format!("secret = '''\n{pem}\n'''")));
}

/// In a text that is no TOML nobody can tell where a value begins and ends.
#[test]
fn what_the_parser_lost_its_way_in_is_shown_to_nobody() {
    for secret in [
        "secret = \"\"\"\nhunter2pass \\q\n\"\"\"",
        "secret = \"\"\"\nhunter2pass=\\q\n\"\"\"",
        "secret = \"\"\"\n[hunter2pass]\\q\n\"\"\"",
        "secret = \"\"\"\nname = hunter2pass \\q\n\"\"\"",
        "secret = {\n refresh = hunter2pass\n}",
        "secret = {\n refresh = \"hunter2pass\" x\n}",
        "secret = {\n hunter2pass\n}",
        "secret = [\n \"hunter2pass\" \"\n]",
        "secret = 'x=hunter2pass' \"",
        "secret.refresh = hunter2pass",
        "secret\n= hunter2pass",
        "secret =\nhunter2pass",
        "secret = 'env:A' hunter2pass",
        "secret = env:hunter2pass",
        "[role.mail.credential.secret]\nrefresh = \"hunter2pass",
        "[role.mail.credential.secret] hunter2pass",
        "[role.mail.credential.secret]hunter2pass",
        "[role.mail.credential.secret]\nrefresh hunter2pass",
        "[role.mail.credential.secret]\nrefresh = 'env:A'\nrefresh = 'hunter2pass'",
        "secret = {\n refresh = 'env:A',\n refresh = 'hunter2pass',\n}",
    ] {
        never_says("hunter2", &credential(secret));
        never_says("2pass", &credential(secret).replace('\n', "\r\n"));
    }
    let two = format!("[role.mail]\npurpose = '{CANARY}' hunter2pass\nowner = x\n");
    never_says(CANARY, &two);
    never_says("hunter2pass", &two);
}

#[test]
fn a_page_of_what_is_no_toml_shows_keys_and_headers() {
    let text = "[role.mail-agent\n\
                [role.b]\n\
                owner   = \"x\n\
                [[role.b.credential]] x\n\
                secret  = {\n  refresh = hunter2pass\n}\n";
    let problems = Inventory::parse(text).unwrap_err().0;
    let page = render(&problems, "inventory.toml", text, false);
    let shown: Vec<_> = page.lines().filter(|line| line.contains(" | ")).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    1 | [role.mail-agent
      |                 ^
    3 | owner   = ••
      |             ^
    4 | [[role.b.credential]]••
      |                       ^
    6 |   •••••••••••••••••••••
      |             ^^^^^^^^^^^
    ");
}

#[test]
fn the_secret_of_an_entry_can_still_be_ended() {
    for value in [format!("'{CANARY}'"), format!("\"\"\"\n{CANARY}\"\"\"")] {
        let text = credential(&format!("secret = {value}"));
        let inventory = Inventory::parse(&text).unwrap();
        let key = &inventory.roles["mail"].credentials[0];
        assert!(!key.unusable);
        let place = &key.secret["secret"];
        assert_eq!(place.scheme, "inventory");
        assert!(!place.is_writable());
        assert_eq!(literal(&text, place).unwrap().as_str(), CANARY);
        let again: SecretRef = place.to_string().parse().unwrap();
        assert_eq!(again, *place, "the journal keeps it as text");
    }
}

#[test]
fn the_handle_of_an_aws_key_is_public() {
    let text = credential("secret = 'env:A'\nhandle = 'AKIAIOSFODNN7EXAMPLE'");
    assert_eq!(told(&text), [""; 0]);
    let text = credential("secret = 'env:A'\nhandle = 1234567");
    let inventory = Inventory::parse(&text).unwrap();
    assert_eq!(inventory.roles["mail"].credentials[0].handle.as_deref(), Some("1234567"));
}

#[test]
fn a_page_shows_the_place_and_hides_the_secret() {
    let text = credential(&format!("secret = '{CANARY}' # mine\nadmn = 'acme-admin'"));
    let problems = Inventory::parse(&text).unwrap().problems;
    let page = render(&problems, "inventory.toml", &text, false);
    let dots = "•".repeat(CANARY.len());
    let marks = "^".repeat(CANARY.len());
    assert_eq!(
        page,
        format!(
            "error: mail/key: a secret is written here: an API key (sk-)
 --> inventory.toml:5:11
  |
5 | secret = '{dots}' • ••••
  |           {marks}
  |
  = hint: {BURNED}

error: mail/key: unknown key `admn` in a credential
 --> inventory.toml:6:1
  |
6 | admn = ••••••••••••
  | ^^^^
  |
  = hint: did you mean `admin`?
"
        )
    );
}

#[test]
fn a_page_ends() {
    let text =
        "[role.mail]\n".to_owned() + &(0..80).map(|n| format!("k{n} = 1\n")).collect::<String>();
    let problems = Inventory::parse(&text).unwrap().problems;
    let page = render(&problems, "i.toml", &text, false);
    assert_eq!(page.matches("error:").count(), 50);
    assert!(page.ends_with("and 30 more in i.toml\n"));
    assert_eq!(render(&[], "i.toml", "", false), "\n");
    // One line as long as a book: cut around the place, its column kept.
    let long = format!("role = {{ mail = {{ {} ownr = 'x' }} }}\n", "uses = [],");
    let wide = long.replace("uses", &format!("evidence = ['/{}'], uses", "x".repeat(100_000)));
    let problems = Inventory::parse(&wide).unwrap().problems;
    let page = render(&problems, "i.toml", &wide, false);
    assert!(page.len() < 1_000, "{}", page.len());
    assert!(page.contains(&format!("i.toml:1:{}", wide.find("ownr").unwrap() + 1)), "{page}");
}

/// 100,000 credentials of 1,000 roles, each with an admin, parts, vars and places.
fn large(fault: impl Fn(usize) -> &'static str) -> String {
    let mut text = String::from("[admin.root]\nprovider = 'acme'\nsecret = 'env:ROOT'\n");
    for role in 0..1_000 {
        text += &format!("[role.agent-{role}]\nowner = 'team-{role}@example.com'\n");
        for n in 0..100 {
            text += &format!(
                "[[role.agent-{role}.credential]]\nname = 'c{n}'\nprovider = 'acme'\nkind = 'api-key'\n\
                 vars = {{ project = 'prj_{n}' }}\nsecret = {{ id = 'dotenv:/srv/{role}/.env#ID_{n}', \
                 secret = 'dotenv:/srv/{role}/.env#KEY_{n}' }}\nadmin = 'root'\nttl = '90d'\n{}",
                fault(role * 100 + n)
            );
        }
    }
    text
}

/// An unoptimised build needs ten seconds, a busy machine several times that; a quadratic step
/// takes many minutes.
const LONGEST: Duration = Duration::from_secs(90);

#[test]
fn a_hundred_thousand_credentials() {
    let text = large(|_| "");
    let start = Instant::now();
    let inventory = Inventory::parse(&text).unwrap();
    assert_eq!(inventory.problems, []);
    assert_eq!(inventory.roles.values().map(|role| role.credentials.len()).sum::<usize>(), 100_000);
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_faults() {
    let text = large(|n| if n % 2 == 0 { "client = 'agent-1/c1x'\n" } else { "contrl = 'rot'\n" });
    let start = Instant::now();
    let inventory = Inventory::parse(&text).unwrap();
    let problems = &inventory.problems;
    assert_eq!(problems.len(), 100_000);
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    assert!(render(problems, "i.toml", &text, false).contains("and 99950 more"));
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn nothing_written_makes_it_panic(text in "\\PC{0,200}|([a-z.\\[\\]=\"'{}#\n, ]|role|secret|env:){0,60}") {
        let problems = match Inventory::parse(&text) {
            Ok(inventory) => inventory.problems,
            Err(error) => error.0,
        };
        render(&problems, "i.toml", &text, false);
    }

    #[test]
    fn a_planted_secret_is_never_printed(
        lines in proptest::collection::vec(line(), 0..12),
        at in 0usize..12,
        form in 0usize..7,
        cut in proptest::option::of(0usize..400),
    ) {
        let planted = [
            format!("secret = '{CANARY}'"), format!("# {CANARY}"), format!("'{CANARY}' = 1"),
            format!("[role.\"{CANARY}\"]"), format!("vars = {{ a = \"{CANARY}\" }}"),
            CANARY.to_owned(), format!("deliver = [\"file:/x\", {CANARY}]"),
        ];
        let mut lines = lines;
        lines.insert(at.min(lines.len()), planted[form].clone());
        let mut text = lines.join("\n");
        if let Some(cut) = cut && text.is_char_boundary(cut.min(text.len())) {
            // Half a file, as an editor may leave it; half a secret is none.
            let cut = cut.min(text.len());
            if text[..cut].contains(CANARY) {
                text.truncate(cut);
            }
        }
        never_says(CANARY, &text);
    }
}

fn line() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "[role.mail]",
        "[[role.mail.credential]]",
        "[admin.a]",
        "[provider.p]",
        "name = 'x'",
        "é = 1",
        "provider = 'acme'",
        "secret = 'env:A'",
        "secret = {",
        "admin = 'a'",
        "client = 'mail/x'",
        "base = 'https://a'",
        "[role.mail",
        "vars = { a = 1 }",
        "purpose = \"\"\"",
        "",
        "# •",
        "uses = ['a/b']",
    ])
    .prop_map(str::to_owned)
}

// --- Against what the providers can do --------------------------------------------------------------

fn kind(parts: &[(&str, PartType)]) -> KindCapability {
    let part = |(name, part_type): &(&str, PartType)| {
        (name.to_string(), Part { part_type: *part_type, optional: false })
    };
    let parts = parts.iter().map(part).collect();
    KindCapability { parts, ..KindCapability::new(Class::ApiKey) }
}

fn own(kind: &str) -> Vec<KindRef> {
    vec![KindRef { file: None, kind: kind.into() }]
}

fn provider(id: &str, kinds: Vec<(&str, KindCapability)>) -> ProviderCapability {
    let kinds = kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    ProviderCapability { kinds, ..ProviderCapability::new(id, id) }
}

const SECRET: [(&str, PartType); 1] = [("secret", PartType::Secret)];

fn capabilities() -> Capabilities {
    let mut key = kind(&SECRET);
    key.admin.insert(String::new(), own("admin-key"));
    let mut acme = provider("acme", vec![("api-key", key), ("admin-key", kind(&SECRET))]);
    let region = Var {
        one_of: vec!["eu".into(), "us".into()],
        default: Some("eu".into()),
        ..Var::default()
    };
    let project = Var {
        like: Some("prj_[a-z0-9]+".into()),
        say: Some("from the project's page".into()),
        ..Var::default()
    };
    let note = Var { optional: true, ..Var::default() };
    acme.vars = BTreeMap::from([
        ("region".into(), region),
        ("project".into(), project),
        ("note".into(), note),
    ]);
    let mut pair = kind(&[("sid", PartType::Handle), ("secret", PartType::Secret)]);
    pair.admin.insert("account".into(), own("account"));
    pair.admin.insert("server".into(), own("server"));
    let duo = provider(
        "duo",
        vec![
            ("pair", pair),
            ("account", kind(&SECRET)),
            ("server", kind(&SECRET)),
            ("spare", kind(&SECRET)),
        ],
    );
    let mut grant = kind(&SECRET);
    grant.client = own("app");
    let login = provider("login", vec![("grant", grant), ("app", kind(&SECRET))]);
    let mut far = provider("far", vec![("password", kind(&SECRET))]);
    far.base_missing = true;
    let mut near = provider("near", vec![("password", kind(&SECRET))]);
    near.file = "far".into();
    let all = [acme, duo, login, far, near];
    Capabilities { providers: all.into_iter().map(|it| (it.id.clone(), it)).collect() }
}

fn checked(text: &str) -> Inventory {
    let mut inventory = Inventory::parse(text).unwrap();
    check(&mut inventory, &capabilities(), text);
    inventory
}

const ADMIN: &str =
    "[admin.root]\nprovider = \"acme\"\nkind = \"admin-key\"\nsecret = \"env:ROOT\"\n";

#[test]
fn what_is_left_out_is_filled_in() {
    let text = credential("secret = 'env:A'\nvars = { project = 'prj_1' }\nadmin = 'root'") + ADMIN;
    let inventory = checked(&text.replace("kind = \"admin-key\"\n", ""));
    assert_eq!(lines(&inventory.problems), [""; 0]);
    let key = &inventory.roles["mail"].credentials[0];
    assert_eq!(key.kind.as_deref(), Some("api-key"), "the only one that serves no other");
    assert_eq!(key.vars["region"], VarValue::Literal("eu".into()));
    assert!(!key.vars.contains_key("note"));
    assert_eq!(
        inventory.admins["root"].kind.as_deref(),
        Some("admin-key"),
        "all that its user takes"
    );
}

#[test]
fn an_admin_is_not_needed() {
    let inventory = checked(&credential("secret = 'env:A'\nvars = { project = 'prj_1' }"));
    assert_eq!(lines(&inventory.problems), [""; 0]);
}

#[test]
fn unknown_providers_and_kinds() {
    let text = "
[[role.mail.credential]]
name = 'a'
provider = 'amce'
secret = 'env:A'
[[role.mail.credential]]
name = 'b'
provider = 'duo'
kind = 'pari'
secret = 'env:A'
[[role.mail.credential]]
name = 'c'
provider = 'duo'
secret = 'env:A'
[[role.mail.credential]]
name = 'd'
provider = 'far'
secret = 'env:A'
[[role.mail.credential]]
name = 'e'
provider = 'mine'
secret = 'env:A'
[provider.mine]
file = 'fra'
base = 'https://mine.example.com'
";
    let inventory = checked(text);
    assert_eq!(
        lines(&inventory.problems),
        [
            "4:12 mail/a: unknown provider `amce` (did you mean `acme`?)",
            "9:8 mail/b: duo has no kind `pari` (did you mean `pair`?)",
            "13:12 mail/c: `kind` is missing: duo has several (add one of: account, pair, server, spare)",
            "17:12 mail/d: provider `far` needs an address (add [provider.NAME] with file = \"far\" and \
             base = \"https://...\", and name it here)",
            "21:12 mail/e: unknown provider `mine` (rotate providers lists those there are)",
            "23:1 provider mine: there is no provider file `fra` (did you mean `far`?)",
        ]
    );
    assert!(inventory.roles["mail"].credentials.iter().all(|it| it.unusable));
}

#[test]
fn vars_that_do_not_fit() {
    let told = |vars: &str| {
        let text = credential(&format!("kind = 'api-key'\nsecret = 'env:A'\nvars = {vars}"));
        let inventory = checked(&text);
        assert!(
            !inventory.roles["mail"].credentials[0].unusable,
            "calls without the var can end it"
        );
        lines(&inventory.problems)
    };
    let missing = "mail/key: `vars.project` is missing (from the project's page) \
                   (add it: vars = { project = \"...\" })";
    assert_eq!(told("{}"), [format!("7:8 {missing}")]);
    assert_eq!(
        told("{ project = 'PRJ_1', region = 'asia', projct = 'x' }"),
        [
            "7:20 mail/key: `vars.project` must look like prj_[a-z0-9]+ (from the project's page)",
            "7:38 mail/key: `vars.region` must be one of eu, us",
            "7:55 mail/key: acme asks for no var `projct` (did you mean `project`?)",
        ]
    );
    assert_eq!(told("{ project = 'prj_1 or so' }").len(), 1, "all of it must fit");
    assert_eq!(told("{ project = 'env:PROJECT', note = 3 }"), [""; 0], "read later");
}

#[test]
fn vars_are_asked_of_the_kinds_that_name_them() {
    let text = credential("kind = 'api-key'\nsecret = 'env:A'\nadmin = 'root'") + ADMIN;
    let told = |kinds: &[&str]| {
        let mut capabilities = capabilities();
        let acme = capabilities.providers.get_mut("acme").unwrap();
        acme.vars.get_mut("project").unwrap().kinds = kinds.iter().map(|k| k.to_string()).collect();
        let mut inventory = Inventory::parse(&text).unwrap();
        check(&mut inventory, &capabilities, &text);
        inventory.problems.iter().map(|it| it.line).collect::<Vec<_>>()
    };
    assert_eq!(told(&[]), [4], "where nothing is known, of the roles' credentials");
    assert_eq!(told(&["api-key"]), [4]);
    assert_eq!(told(&["admin-key"]), [9]);
    assert_eq!(told(&["api-key", "admin-key"]), [4, 9]);
}

#[test]
fn control_characters_reach_no_terminal() {
    for text in [
        "[role.\"a\\u001b[31m\"]\nx = 1\n",
        "[admin.\"a\\u001b[31m\"]\nprovider = 'acme'\n",
        "[provider.\"a\\u001b[31m\"]\nbase = 'x'\n",
        "[role.a]\nowner = \"\\u001b[31m\"\n\"\\u001b\" = 1\nuses = [\"\\u009b\"]\n",
        &credential(
            "secret = { \"\\u001b\" = 'env:A' }\nvars = { \"\\u001b\" = 1 }\nadmin = { \"\\u001b\" = 'x' }",
        ),
        "[role.a]\nowner = '\u{9b}31m'\n",
    ] {
        let inventory = Inventory::parse(text).unwrap();
        assert!(!inventory.problems.is_empty(), "{text}");
        for problem in &inventory.problems {
            assert!(!problem.to_string().chars().any(char::is_control), "{problem}");
        }
        let page = render(&inventory.problems, "i.toml", text, false);
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
    }
}

#[test]
fn parts_that_do_not_match_the_kind() {
    let told = |rest: &str| {
        let text = credential(rest).replace("acme", "duo");
        let inventory = checked(&text);
        (lines(&inventory.problems), inventory.roles["mail"].credentials[0].unusable)
    };
    let write = "(write its parts: secret = { secret = \"...\", sid = \"...\" })";
    let kind = "kind = 'pair'\n";
    assert_eq!(
        told(&format!("{kind}secret = 'env:A'")),
        (vec![format!("6:10 mail/key: part `sid` is missing from `secret` {write}")], false)
    );
    assert_eq!(told(&format!("{kind}secret = 'env:A'\nhandle = 'sid1'")), (vec![], false));
    assert_eq!(
        told(&format!("{kind}secret = {{ sid = 'env:A', secert = 'env:B' }}")),
        (
            vec![
                format!("6:10 mail/key: part `secret` is missing from `secret` {write}"),
                "6:36 mail/key: the kind has no part `secert` (did you mean `secret`?)".to_owned(),
            ],
            true
        )
    );
    assert_eq!(
        told(&format!(
            "{kind}secret = {{ sid = 'env:A', secret = 'env:B' }}\n\
             deliver = [{{ secret = 'file:/a' }}, {{ sid = 'file:/b', sec = 'file:/c' }}]"
        )),
        (
            vec![
                "7:61 mail/key: `deliver.1`: the kind has no part `sec` (use one of: secret, sid)"
                    .to_owned()
            ],
            false
        )
    );
}

#[test]
fn admins_and_clients_that_the_kind_does_not_take() {
    let text = "
[[role.mail.credential]]
name = 'a'
provider = 'duo'
kind = 'pair'
secret = { sid = 'env:A', secret = 'env:B' }
admin = 'account'
[[role.mail.credential]]
name = 'b'
provider = 'duo'
kind = 'pair'
secret = { sid = 'env:A', secret = 'env:B' }
admin = { account = 'account', server = 'account', other = 'account' }
client = 'account'
[[role.mail.credential]]
name = 'c'
provider = 'login'
kind = 'grant'
secret = 'env:A'
client = 'account'
control = 'account'
[[role.mail.credential]]
name = 'd'
provider = 'acme'
vars = { project = 'prj_1' }
secret = 'env:A'
admin = { x = 'account' }
[admin.account]
provider = 'duo'
kind = 'account'
secret = 'env:A'
";
    let inventory = checked(text);
    assert_eq!(
        lines(&inventory.problems),
        [
            "7:9 mail/a: duo pair takes a table of admins \
             (write admin = { account = \"...\", server = \"...\" })",
            "13:41 mail/b: admin `account` is a duo account, which duo pair does not take \
             (name one of: duo server)",
            "13:60 mail/b: duo pair takes no admin `other` (use one of: account, server)",
            "14:10 mail/b: duo pair takes no client (leave it out)",
            "20:10 mail/c: client `account` is a duo account, which login grant does not take \
             (name one of: login app)",
            "21:11 mail/c: control `account` is not a credential of login \
             (name one that the same probe accepts)",
            "27:15 mail/d: acme api-key takes one admin, not a table of them (write admin = \"NAME\")",
        ]
    );
    let credentials = &inventory.roles["mail"].credentials;
    assert_eq!(credentials[1].admin.keys().collect::<Vec<_>>(), ["account"]);
    assert!(credentials.iter().all(|it| !it.unusable), "they may still end themselves");
}

#[test]
fn faults_of_one_role_are_no_faults_of_another() {
    let good = credential("secret = 'env:A'\nvars = { project = 'prj_1' }");
    let bad = good.replace("role.mail", "role.other").replace("acme", "nobody");
    let inventory = checked(&format!("{good}{bad}"));
    assert_eq!(inventory.problems.len(), 1);
    assert_eq!(inventory.problems[0].role.as_deref(), Some("other"));
    assert!(!inventory.roles["mail"].credentials[0].unusable);
}
