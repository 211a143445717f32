//! Places behind commands, and what commands inherit.

use crate::bench::{Bench, INVENTORY};

const PLACES: &str = r#"
[cmd.mail-key]
get = ["sh", "-c", "env > DIR/env.get; cat DIR/agent/mail.key"]
set = ["sh", "-c", "env > DIR/env.set; cat > DIR/agent/mail.key"]
"#;

fn bench() -> Bench {
    let bench = Bench::new();
    let mail = INVENTORY
        .replace("dotenv:DIR/agent/.env#MAIL", "cmd:mail-key")
        .replace("file:DIR/responder/acme.key", "env:ADMIN_KEY")
        .replace(
            "owner = \"support@example.com\"\n\n[[role.mail-agent.credential]]\nname     = \"mail\"",
            "stop = [\"sh\", \"-c\", \"env > DIR/env.stop\"]\n\n[[role.mail-agent.credential]]\n\
             name     = \"mail\"",
        );
    bench.inventory(&format!("{mail}{PLACES}"));
    bench.write("agent/mail.key", &bench.mail.secret);
    bench
}

#[test]
fn a_credential_behind_commands_is_replaced_and_they_inherit_no_secret() {
    let bench = bench();
    let admin = bench.acme.admin().to_owned();
    let exported = format!("export ADMIN_KEY={admin} ROTATE_TOKEN=t KEPT=kept; exec \"$@\"");
    let contain = ["--role", "mail-agent", "--deliver", "--format", "json"];
    let report = bench.behind(&exported, &contain).report();
    let mail = &report["credentials"][0];
    assert_eq!(mail["old"]["verdict"], "dead", "{report:#}");
    assert_eq!(mail["new"]["state"], "delivered", "{report:#}");
    assert_eq!(mail["new"]["delivered"][0]["to"], "cmd:mail-key");
    let now = bench.read("agent/mail.key");
    assert!(now != bench.mail.secret && bench.acme.is_alive(&now), "byte for byte");
    for child in ["get", "set", "stop"] {
        let inherited = bench.read(&format!("env.{child}"));
        assert!(inherited.contains("KEPT=kept"), "{child}: {inherited}");
        for withheld in ["ADMIN_KEY", "ROTATE_", &admin, &now] {
            assert!(!inherited.contains(withheld), "{child} inherits {withheld}");
        }
    }
}

#[test]
fn commands_of_an_inventory_that_others_may_write_are_not_run() {
    let bench = bench();
    bench.mode("inventory.toml", 0o666);
    bench.rotate(&["--role", "mail-agent"]);
    for child in ["get", "set", "stop"] {
        assert!(!bench.path(&format!("env.{child}")).exists(), "{child} was run");
    }
}
