//! A password of a Redis user. A password is added and taken away by its digest: saying it twice
//! makes it once.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{Cell, FIND, ISSUE, Minted, PROBE, REVOKE, Site, host, proof, through};
use crate::fault::Blow;
use crate::lab::{self, Redis, Value};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};

struct RedisSite(Redis);

const ADMIN: &str = "admin";

pub(super) fn start() -> Option<impl Site> {
    lab::redis(&format!("user default on >{ADMIN} ~* &* +@all")).map(RedisSite)
}

fn verb_of(said: &str) -> &'static str {
    let says = |words: &str| said.starts_with(words);
    match () {
        () if says("AUTH default") => "sign-in",
        () if says("AUTH") || says("ACL WHOAMI") => PROBE,
        () if says("ACL GETUSER") => FIND,
        () if says("ACL SETUSER") && said.contains(" #") => ISSUE,
        () if says("ACL SETUSER") => REVOKE,
        () if says("ACL SAVE") => "save",
        () if says("CLIENT KILL") => "evict",
        () => "other",
    }
}

impl Site for RedisSite {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            ("sign-in", Speaks::Resp),
            (PROBE, Speaks::Resp),
            (FIND, Speaks::Resp),
            (REVOKE, Speaks::Resp),
            ("evict", Speaks::Resp),
            (ISSUE, Speaks::Resp),
            ("save", Speaks::Resp),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &["sign-in", REVOKE]
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let (user, old) = (format!("mail{number}"), format!("old{number}"));
        let mut admin = self.0.connect("default", ADMIN).unwrap();
        let password = format!(">{old}");
        admin.ask(&["ACL", "SETUSER", &user, "on", &password, "~*", "&*", "+@all"]).unwrap();
        let (proxy, address) = through(&self.0.address, Speaks::Resp, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("REDIS_URL=redis://{user}:{old}@127.0.0.1:1/0\n"));
        host.put("redis-admin.key", ADMIN);
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "cache"
provider = "redis"
kind     = "password"
vars     = {{ username = "{user}" }}
secret   = "dotenv:DIR/agent.env#REDIS_URL::url.password"
reload   = "none"
admin    = "redis-admin"

[provider.redis]
base  = "{address}"
proof = {}

[admin.redis-admin]
provider = "redis"
kind     = "admin-password"
vars     = {{ username = "default" }}
secret   = "file:DIR/redis-admin.key"
"#,
            proof(blow)
        ));
        Cell {
            host,
            proxies: vec![proxy],
            account: user,
            old_name: handle(&hex(&Sha256::digest(&old))),
            old,
        }
    }

    fn accepts(&self, cell: &Cell, value: &str) -> bool {
        self.0.is_alive(&cell.account, value)
    }

    fn placed(&self, cell: &Cell) -> String {
        let url = cell.host.value(ENV, "REDIS_URL");
        let (_, rest) = url.split_once(&format!("{}:", cell.account)).unwrap();
        rest.split_once('@').unwrap().0.to_owned()
    }
    fn mint(&self, cell: &Cell, label: &str) -> Option<Minted> {
        let mut admin = self.0.connect("default", ADMIN).unwrap();
        let value = format!("{label}-{}", cell.account);
        admin.ask(&["ACL", "SETUSER", &cell.account, &format!(">{value}")]).unwrap();
        Some(Minted { name: handle(&hex(&Sha256::digest(&value))), value })
    }

    fn ends_by_handle(&self) -> bool {
        false
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let mut admin = self.0.connect("default", ADMIN).unwrap();
        let Ok(Value::List(user)) = admin.ask(&["ACL", "GETUSER", &cell.account]) else {
            panic!("no user")
        };
        let at = user.iter().position(|word| *word == Value::Text("passwords".into())).unwrap();
        let Value::List(passwords) = &user[at + 1] else { panic!("no passwords") };
        let handles = passwords.iter().map(|listed| {
            let Value::Text(listed) = listed else { panic!("no digest") };
            handle(listed)
        });
        handles.collect()
    }

    fn may_repeat(&self) -> bool {
        true
    }
}

/// A handle is a code of the password's digest, made with the admin's password.
fn handle(digest: &str) -> String {
    let mut code = Hmac::<Sha256>::new_from_slice(ADMIN.as_bytes()).unwrap();
    code.update(digest.as_bytes());
    hex(&code.finalize().into_bytes()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
