//! A user's access key, at moto, which refuses inactive keys as AWS does.

use regex::Regex;

use super::{Cell, FIND, ISSUE, Minted, PROBE, REVOKE, Site, host, proof, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Moto};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};
use crate::sigv4;

struct Aws {
    moto: Moto,
}

pub(super) fn start() -> Option<impl Site> {
    lab::moto(true).map(|moto| Aws { moto })
}

fn verb_of(said: &str) -> &'static str {
    let action = said.split("Action=").nth(1).and_then(|rest| rest.split('&').next());
    match action.unwrap_or_default() {
        "GetCallerIdentity" => PROBE,
        "GetAccessKeyLastUsed" | "GetUser" => "learn",
        "ListAccessKeys" => FIND,
        "CreateAccessKey" => ISSUE,
        "UpdateAccessKey" => REVOKE,
        "DeleteAccessKey" => "delete",
        "PutUserPolicy" => "evict",
        _ => "other",
    }
}

impl Aws {
    /// What IAM answers its administrator.
    fn iam(&self, action: &str, user: &str) -> String {
        let admin = (self.moto.admin.id.as_str(), self.moto.admin.secret.as_str());
        let body = format!("Action={action}&UserName={user}&Version=2010-05-08");
        ask(async {
            let request = sigv4::signed(&http(), &self.moto.endpoint, admin, "iam", &body);
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{action}: {}", answer.status());
            answer.text().await.unwrap()
        })
    }
}

impl Site for Aws {
    fn name(&self) -> &'static str {
        "AWS IAM (moto)"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            (PROBE, Speaks::Http),
            ("learn", Speaks::Http),
            (FIND, Speaks::Http),
            (REVOKE, Speaks::Http),
            ("delete", Speaks::Http),
            ("evict", Speaks::Http),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &[REVOKE]
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let user = format!("mail{number}");
        self.iam("CreateUser", &user);
        let made = self.iam("CreateAccessKey", &user);
        let (id, secret) = (element(&made, "AccessKeyId"), element(&made, "SecretAccessKey"));
        let (proxy, address) = through(&self.moto.endpoint, Speaks::Http, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\n"));
        let admin = &self.moto.admin;
        host.put("aws-admin.env", &format!("ID={}\nSECRET={}\n", admin.id, admin.secret));
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "archive"
provider = "aws"
kind     = "access-key"
vars     = {{ username = "{user}" }}
secret   = {{ access_key_id = "dotenv:DIR/agent.env#AWS_ACCESS_KEY_ID", secret = "dotenv:DIR/agent.env#AWS_SECRET_ACCESS_KEY" }}
reload   = "none"
admin    = "aws-admin"

[provider.aws]
file  = "aws-iam"
base  = "{address}"
proof = {}

[admin.aws-admin]
provider = "aws"
kind     = "admin-key"
secret   = {{ access_key_id = "dotenv:DIR/aws-admin.env#ID", secret = "dotenv:DIR/aws-admin.env#SECRET" }}
"#,
            proof(blow)
        ));
        Cell {
            host,
            proxies: vec![proxy],
            account: user,
            old: format!("{id} {secret}"),
            old_name: id,
        }
    }

    fn accepts(&self, _: &Cell, value: &str) -> bool {
        let (id, secret) = value.split_once(' ').unwrap();
        ask(async {
            let request = sigv4::who_am_i(&http(), &self.moto.endpoint, id, secret);
            match request.send().await.unwrap().status().as_u16() {
                200 => true,
                401 | 403 => false,
                status => panic!("{status} is neither yes nor no"),
            }
        })
    }

    fn placed(&self, cell: &Cell) -> String {
        let part = |key: &str| cell.host.value(ENV, key);
        format!("{} {}", part("AWS_ACCESS_KEY_ID"), part("AWS_SECRET_ACCESS_KEY"))
    }
    fn mint(&self, cell: &Cell, _: &str) -> Option<Minted> {
        // A user has two at most: the run's own comes after this one.
        let made = self.iam("ListAccessKeys", &cell.account).matches("<AccessKeyId>").count() < 2;
        made.then(|| {
            let made = self.iam("CreateAccessKey", &cell.account);
            let (name, secret) = (element(&made, "AccessKeyId"), element(&made, "SecretAccessKey"));
            Minted { value: format!("{name} {secret}"), name }
        })
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let listed = self.iam("ListAccessKeys", &cell.account);
        let id = Regex::new("<AccessKeyId>([^<]*)<").unwrap();
        id.captures_iter(&listed).map(|found| found[1].to_owned()).collect()
    }
}

fn http() -> reqwest::Client {
    rotate::provider::Clients::new().unwrap().calls().clone()
}

fn element(xml: &str, name: &str) -> String {
    let found = xml.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next());
    found.unwrap_or_else(|| panic!("no {name}")).to_owned()
}
