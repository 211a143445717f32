//! An application password of a WordPress user.

use serde_json::{Value, json};

use super::{Cell, FIND, ISSUE, Minted, PROBE, REVOKE, Site, host, proof, text, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Wordpress};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};

struct Blog(Wordpress);

pub(super) fn start() -> Option<impl Site> {
    lab::wordpress().map(Blog)
}

fn verb_of(said: &str) -> &'static str {
    let path = said.lines().next().unwrap_or_default();
    match () {
        () if path.ends_with("/introspect") => PROBE,
        () if path.starts_with("GET ") => FIND,
        () if path.starts_with("POST ") => ISSUE,
        () if path.starts_with("DELETE ") => REVOKE,
        () => "other",
    }
}

impl Blog {
    /// What the site answers; `by` is who asks, and an application password of theirs.
    fn ask(&self, method: &str, path: &str, by: (&str, &str), body: &Value) -> (u16, Value) {
        let at = format!("{}/wp/v2/users{path}", self.0.base);
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let request = http.request(method.parse().unwrap(), at).basic_auth(by.0, Some(by.1));
        let request = if body.is_null() { request } else { request.json(body) };
        ask(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap())
        })
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, ("admin", &self.0.admin), body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }
}

impl Site for Blog {
    fn name(&self) -> &'static str {
        "WordPress"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            (PROBE, Speaks::Http),
            (FIND, Speaks::Http),
            (REVOKE, Speaks::Http),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &[PROBE, REVOKE]
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let name = format!("mail{number}");
        let email = format!("{name}@example.com");
        let user = json!({ "username": name, "email": email, "password": "made-up-by-the-lab" });
        let id = self.admin("POST", "", &user)["id"].to_string();
        let passwords = format!("/{id}/application-passwords");
        let made = self.admin("POST", &passwords, &json!({ "name": "mail" }));
        let old = text(&made["password"]).unwrap();
        let (proxy, address) =
            through(self.0.base.trim_end_matches("/wp-json"), Speaks::Http, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("BLOG={old}\n"));
        host.put("admin.password", &self.0.admin);
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "blog"
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "{name}", user_id = "{id}" }}
secret   = "dotenv:DIR/agent.env#BLOG"
reload   = "none"
admin    = "blog-admin"

[provider.wordpress]
base  = "{address}/wp-json"
proof = {}

[admin.blog-admin]
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "admin", user_id = "1" }}
secret   = "file:DIR/admin.password"
"#,
            proof(blow)
        ));
        Cell {
            host,
            proxies: vec![proxy],
            account: format!("{id} {name}"),
            old,
            old_name: text(&made["uuid"]).unwrap(),
        }
    }

    fn accepts(&self, cell: &Cell, value: &str) -> bool {
        let (id, name) = cell.account.split_once(' ').unwrap();
        let path = format!("/{id}/application-passwords/introspect");
        match self.ask("GET", &path, (name, value), &Value::Null).0 {
            200 => true,
            401 => false,
            status => panic!("{status} is neither yes nor no"),
        }
    }

    fn placed(&self, cell: &Cell) -> String {
        cell.host.value(ENV, "BLOG")
    }
    fn mint(&self, cell: &Cell, label: &str) -> Option<Minted> {
        let (id, _) = cell.account.split_once(' ').unwrap();
        let passwords = format!("/{id}/application-passwords");
        let made = self.admin("POST", &passwords, &json!({ "name": label }));
        Some(Minted { name: text(&made["uuid"])?, value: text(&made["password"])? })
    }

    fn shows_labels(&self) -> bool {
        true
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let (id, _) = cell.account.split_once(' ').unwrap();
        let rows = self.admin("GET", &format!("/{id}/application-passwords"), &Value::Null);
        rows.as_array().unwrap().iter().filter_map(|row| text(&row["uuid"])).collect()
    }

    /// One request at a time, a tenth of a second each.
    fn bears(&self) -> usize {
        2
    }
}
