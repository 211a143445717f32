//! A Redis user's password, at a real server.

use crate::bench::Host;
use crate::lab;

const ACL: &str = "user default on >admin ~* &* +@all\nuser mail on >old ~* +@all";

fn host(redis: &lab::Redis) -> Host {
    let host = Host::new();
    host.put("agent.env", "# Settings\nREDIS_URL=redis://mail:old@127.0.0.1:1/0\nLOG_LEVEL=info\n");
    host.put("admin.key", "admin");
    host.inventory(&format!(
        r#"
[role.mail-agent]
owner = "support@example.com"

[[role.mail-agent.credential]]
name     = "cache"
provider = "redis"
kind     = "password"
vars     = {{ username = "mail" }}
secret   = "dotenv:DIR/agent.env#REDIS_URL::url.password"
reload   = "none"
admin    = "redis-admin"

[admin.redis-admin]
provider = "redis"
kind     = "admin-password"
vars     = {{ username = "default" }}
secret   = "file:DIR/admin.key"

[provider.redis]
base  = "{}"
proof = {{ refusals = 3, hold = "1s", give_up = "10s" }}
"#,
        redis.address
    ));
    host
}

#[test]
fn contain_delivers() {
    let Some(redis) = lab::redis(ACL) else { return };
    let host = host(&redis);
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    println!("{}", outcome.stderr);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
}
