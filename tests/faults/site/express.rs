//! An express session that is ended in its store, a Redis, and replaced by a sign-in.

use super::{Cell, FIND, ISSUE, PROBE, REVOKE, Site, host, proof, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Express, Redis, Value};
use crate::message::Speaks;
use crate::role::ROLE;

struct Shop {
    express: Express,
    redis: Redis,
}

const ACL: &str = "user default on >admin ~* &* +@all\nuser site on >site ~* &* +@all\n\
                   user sweeper on >swept ~sess:* &* +del +mget +scan";

pub(super) fn start() -> Option<impl Site> {
    let redis = lab::redis(ACL)?;
    lab::express(&redis, "site").map(|express| Shop { express, redis })
}

fn verb_of(said: &str) -> &'static str {
    let says = |words: &str| said.starts_with(words);
    match () {
        () if says("GET /me") => PROBE,
        () if says("POST /login") => ISSUE,
        () if says("AUTH") => "store sign-in",
        () if says("SCAN") || says("MGET") => FIND,
        () if says("DEL") => REVOKE,
        () => "other",
    }
}

impl Site for Shop {
    fn name(&self) -> &'static str {
        "express session in Redis"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            (PROBE, Speaks::Http),
            ("store sign-in", Speaks::Resp),
            (FIND, Speaks::Resp),
            (REVOKE, Speaks::Resp),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &["store sign-in", REVOKE]
    }

    fn reads_pages(&self) -> bool {
        true
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let user = format!("mail{number}");
        let (old, _) = ask(self.express.sign_in(&user, false));
        let (site, address) = through(&self.express.address, Speaks::Http, verb_of, blow);
        let (store, sessions) = through(&self.redis.address, Speaks::Resp, verb_of, blow);
        let host = host();
        host.put("shop.cookie", &old);
        host.put("shop.key", &Express::password(&user));
        host.put("sweeper.key", "swept");
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "shop"
provider = "shop"
kind     = "session-cookie"
secret   = "file:DIR/shop.cookie"
vars     = {{ cookie = "connect.sid", page = "/me", who_at = "/user", user = "{user}", stored_as = "express", user_at = "/user", login = "/login" }}
reload   = "none"
admin    = {{ store = "shop-sessions", account = "shop-account" }}

[provider.shop]
file  = "web-session"
base  = {{ api = "{address}", store = "{sessions}" }}
proof = {}

[admin.shop-sessions]
provider = "shop"
kind     = "session-store"
vars     = {{ username = "sweeper" }}
secret   = "file:DIR/sweeper.key"

[admin.shop-account]
provider = "shop"
kind     = "account"
vars     = {{ username = "{user}" }}
secret   = "file:DIR/shop.key"
"#,
            proof(blow)
        ));
        Cell { host, proxies: vec![site, store], account: user, old, old_name: String::new() }
    }

    fn accepts(&self, _: &Cell, value: &str) -> bool {
        ask(self.express.is_alive("connect.sid", value))
    }

    fn placed(&self, cell: &Cell) -> String {
        cell.host.read("shop.cookie")
    }

    /// Sessions of the user in the store, but for the one in the place.
    fn live(&self, cell: &Cell) -> Vec<String> {
        let mut admin = self.redis.connect("default", "admin").unwrap();
        let Ok(Value::List(keys)) = admin.ask(&["KEYS", "sess:*"]) else { panic!("no keys") };
        let user = format!("\"user\":\"{}\"", cell.account);
        let mine = keys.into_iter().filter_map(|key| {
            let Value::Text(key) = key else { panic!("no key") };
            let held = admin.ask(&["GET", &key]).unwrap();
            matches!(held, Value::Text(held) if held.contains(&user)).then_some(key)
        });
        let placed = self.placed(cell).replace("%3A", ":");
        let id = |key: &String| key.trim_start_matches("sess:").to_owned();
        let beside = mine.filter(|key| !placed.contains(&id(key)) && !cell.old.contains(&id(key)));
        beside.map(|_| "a session without a name".to_owned()).collect()
    }
}
