//! A Django session that signs itself out and its user in, with the token that the forms ask for.

use rusqlite::Connection;

use super::{Cell, ISSUE, PROBE, REVOKE, Site, host, proof, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Django};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};

struct Desk(Django);

pub(super) fn start() -> Option<impl Site> {
    lab::django().map(Desk)
}

fn verb_of(said: &str) -> &'static str {
    match said.lines().next().unwrap_or_default() {
        "GET /me" => PROBE,
        "GET /login" => "form",
        "POST /login" => ISSUE,
        "POST /logout" => REVOKE,
        _ => "other",
    }
}

impl Desk {
    fn table(&self) -> Connection {
        let table = Connection::open(&self.0.database).unwrap();
        table.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        table
    }
}

impl Site for Desk {
    fn name(&self) -> &'static str {
        "Django session"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            (PROBE, Speaks::Http),
            ("form", Speaks::Http),
            (REVOKE, Speaks::Http),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &["form", REVOKE]
    }

    fn lists(&self) -> bool {
        false
    }

    fn reads_pages(&self) -> bool {
        true
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let user = format!("mail{number}");
        let copy = "INSERT INTO auth_user (username, password, is_superuser, first_name, \
                    last_name, email, is_staff, is_active, date_joined) \
                    SELECT ?1, password, 0, '', '', '', 0, 1, date_joined FROM auth_user \
                    WHERE username = ?2";
        self.table().execute(copy, [&user, Django::USER]).unwrap();
        let password = Django::password(Django::USER);
        let session = ask(self.0.sign_in_with(&user, &password));
        let old = session.strip_prefix("sessionid=").unwrap().to_owned();
        let (proxy, address) = through(&self.0.address, Speaks::Http, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("DESK_SESSION={old}\n"));
        host.put("desk.key", &password);
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "desk"
provider = "django"
kind     = "session-cookie"
secret   = "dotenv:DIR/agent.env#DESK_SESSION"
vars     = {{ page = "/me", marker = "\"user\": \"{user}\"", user = "1", login = "/login", logout = "/logout", csrf_page = "/login" }}
reload   = "none"
admin    = {{ account = "desk-account" }}

[provider.django]
base  = {{ api = "{address}" }}
proof = {}

[admin.desk-account]
provider = "django"
kind     = "account"
vars     = {{ username = "{user}" }}
secret   = "file:DIR/desk.key"
"#,
            proof(blow)
        ));
        Cell { host, proxies: vec![proxy], account: user, old, old_name: String::new() }
    }

    fn accepts(&self, _: &Cell, value: &str) -> bool {
        ask(self.0.is_alive(&format!("sessionid={value}")))
    }

    fn placed(&self, cell: &Cell) -> String {
        cell.host.value(ENV, "DESK_SESSION")
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let placed = self.placed(cell);
        let made = cell.answered(ISSUE, |answer| {
            let (_, rest) = answer.split_once("sessionid=")?;
            Some(rest.split(';').next()?.to_owned())
        });
        let beside = made.into_iter().filter(|one| *one != placed && self.accepts(cell, one));
        beside.map(|_| "a session without a name".to_owned()).collect()
    }
}
