//! The real servers: for every cell an account or a clean slate of its own, the run's way to it
//! through a gate, and the truth, asked without.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use crate::bench::Host;
use crate::gate::{Crossing, gate};
use crate::hosted::ask;
use crate::lab::{self, AwsKey, Django, Express, Moto, Oidc, Redis, Verdaccio, Wordpress};
use crate::sigv4;

/// These servers are one process each and never flap. On a busy machine an answer takes seconds.
const PROOF: &str = r#"{ refusals = 2, hold = "200ms", give_up = "60s" }"#;

/// The `.env` file of the role.
const ENV: &str = "agent.env";

const PASSWORD: &str = "made-up-password-of-the-lab";

/// One cell's role: a host, and an account at the server.
pub(crate) struct Role {
    pub(crate) host: Host,
    account: String,
    pub(crate) old: String,
}

impl Role {
    /// Of a server's only account.
    pub(crate) fn new(host: Host, old: String) -> Self {
        Self { host, account: String::new(), old }
    }
}

/// A server.
pub(crate) trait Site: Send + Sync {
    fn name(&self) -> &'static str;

    /// A role with a live credential, which is all that its account has.
    fn role(&self, cell: usize) -> Role;

    /// What lies in its place.
    fn placed(&self, role: &Role) -> String;

    fn accepts(&self, role: &Role, value: &str) -> bool;

    /// How many credentials of the account live; none where the server tells nobody.
    fn live(&self, role: &Role) -> Option<usize>;
}

/// What starts each, with the crossing of its gates.
pub(crate) const ALL: [fn(&Arc<Crossing>) -> Option<Box<dyn Site>>; 7] =
    [wordpress, redis, moto, express, django, oidc, verdaccio];

pub(crate) fn host(entry: &str, files: &[(&str, String)]) -> Host {
    let host = Host::new();
    for (name, text) in files {
        host.put(name, text);
    }
    host.inventory(&format!("[role.mail-agent]\n{entry}"));
    host
}

/// `address` with the gate's port.
fn through(address: &str, crossing: &Arc<Crossing>) -> String {
    let port = Regex::new(r"127\.0\.0\.1:(\d+)").unwrap();
    let upstream = port.captures(address).unwrap()[1].parse().unwrap();
    let to = format!("127.0.0.1:{}", gate(upstream, crossing));
    port.replace(address, to.as_str()).into_owned()
}

struct AtRedis(Redis, String);

pub(crate) fn redis(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let redis = lab::redis("user default on >admin ~* &* +@all")?;
    let gate = through(&redis.address, crossing);
    Some(Box::new(AtRedis(redis, gate)))
}

impl Site for AtRedis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn role(&self, cell: usize) -> Role {
        let user = format!("mail-{cell}");
        let mut admin = self.0.connect("default", "admin").unwrap();
        let made = ["ACL", "SETUSER", &user, "on", ">old", "~*", "&*", "+@all"];
        admin.ask(&made).unwrap();
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "cache"
provider = "redis"
kind     = "password"
vars     = {{ username = "{user}" }}
secret   = "dotenv:DIR/agent.env#REDIS_URL::url.password"
reload   = "none"
admin    = "redis-admin"

[provider.redis]
base  = "{}"
proof = {PROOF}

[admin.redis-admin]
provider = "redis"
kind     = "admin-password"
vars     = {{ username = "default" }}
secret   = "file:DIR/admin.key"
"#,
            self.1
        );
        let place = format!("REDIS_URL=redis://{user}:old@127.0.0.1:1/0\n");
        let host = host(&entry, &[(ENV, place), ("admin.key", "admin".to_owned())]);
        Role { host, account: user, old: "old".to_owned() }
    }

    fn placed(&self, role: &Role) -> String {
        let url = role.host.value(ENV, "REDIS_URL");
        let (_, rest) = url.split_once(&format!("{}:", role.account)).unwrap();
        rest.split_once('@').unwrap().0.to_owned()
    }

    fn accepts(&self, role: &Role, value: &str) -> bool {
        self.0.is_alive(&role.account, value)
    }

    fn live(&self, role: &Role) -> Option<usize> {
        let mut admin = self.0.connect("default", "admin").unwrap();
        let Ok(lab::Value::List(user)) = admin.ask(&["ACL", "GETUSER", &role.account]) else {
            panic!("no user {}", role.account)
        };
        let named = lab::Value::Text("passwords".to_owned());
        let at = user.iter().position(|word| *word == named).unwrap();
        let lab::Value::List(passwords) = &user[at + 1] else { panic!("no passwords") };
        Some(passwords.len())
    }
}

struct AtMoto(Moto, String);

fn moto(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let moto = lab::moto(true)?;
    let gate = through(&moto.endpoint, crossing);
    Some(Box::new(AtMoto(moto, gate)))
}

impl AtMoto {
    fn iam(&self, key: &AwsKey, action: &str, user: &str) -> String {
        let body = format!("Action={action}&Version=2010-05-08&UserName={user}");
        let http = http();
        let (id, secret) = (&key.id, &key.secret);
        let asked = sigv4::signed(&http, &self.0.endpoint, (id, secret), "iam", &body);
        ask(async { asked.send().await.unwrap().text().await.unwrap() })
    }
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

impl Site for AtMoto {
    fn name(&self) -> &'static str {
        "moto (AWS IAM)"
    }

    fn role(&self, cell: usize) -> Role {
        let user = format!("mail-{cell}");
        self.iam(&self.0.admin, "CreateUser", &user);
        let made = self.iam(&self.0.admin, "CreateAccessKey", &user);
        let id = element(&made, "AccessKeyId").unwrap_or_else(|| panic!("no key: {made}"));
        let secret = element(&made, "SecretAccessKey").unwrap().replace("&#x2F;", "/");
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "archive"
provider = "aws"
kind     = "access-key"
vars     = {{ username = "{user}" }}
secret   = {{ access_key_id = "dotenv:DIR/agent.env#ID", secret = "dotenv:DIR/agent.env#SECRET" }}
reload   = "none"
admin    = "aws-admin"

[provider.aws]
file  = "aws-iam"
base  = "{}"
proof = {PROOF}

[admin.aws-admin]
provider = "aws"
kind     = "admin-key"
secret   = {{ access_key_id = "dotenv:DIR/admin.env#ID", secret = "dotenv:DIR/admin.env#SECRET" }}
"#,
            self.1
        );
        let lines = |id: &str, secret: &str| format!("ID={id}\nSECRET={secret}\n");
        let admin = lines(&self.0.admin.id, &self.0.admin.secret);
        let host = host(&entry, &[(ENV, lines(&id, &secret)), ("admin.env", admin)]);
        Role { host, account: user, old: format!("{id} {secret}") }
    }

    fn placed(&self, role: &Role) -> String {
        format!("{} {}", role.host.value(ENV, "ID"), role.host.value(ENV, "SECRET"))
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        let (id, secret) = value.split_once(' ').unwrap();
        let asked = sigv4::who_am_i(&http(), &self.0.endpoint, id, secret);
        ask(async { asked.send().await.unwrap().status() == 200 })
    }

    fn live(&self, role: &Role) -> Option<usize> {
        let list = self.iam(&self.0.admin, "ListAccessKeys", &role.account);
        Some(list.matches("<AccessKeyId>").count())
    }
}

fn http() -> reqwest::Client {
    rotate::provider::Clients::new().unwrap().calls().clone()
}

struct AtOidc(Oidc, String);

fn oidc(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let oidc = lab::oidc()?;
    let gate = through(&oidc.issuer, crossing);
    Some(Box::new(AtOidc(oidc, gate)))
}

impl AtOidc {
    fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let secret = Oidc::client_secret(client);
        ask(async {
            let request = http().post(format!("{}{path}", self.0.issuer)).form(form);
            let answer = request.basic_auth(client, Some(secret)).send().await.unwrap();
            answer.json().await.unwrap()
        })
    }
}

impl Site for AtOidc {
    fn name(&self) -> &'static str {
        "oidc-provider"
    }

    fn role(&self, _: usize) -> Role {
        let made = self.post("/token", Oidc::CLIENT, &[("grant_type", "client_credentials")]);
        let old = made["access_token"].as_str().unwrap().to_owned();
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "inbox"
provider = "oauth"
kind     = "client-token"
secret   = "dotenv:DIR/agent.env#TOKEN"
client   = "mail-app"
reload   = "none"

[provider.oauth]
base  = "{}"
proof = {PROOF}

[admin.mail-app]
provider = "oauth"
kind     = "client"
secret   = {{ client_id = "dotenv:DIR/app.env#ID", secret = "dotenv:DIR/app.env#SECRET" }}
"#,
            self.1
        );
        let app = format!("ID={}\nSECRET={}\n", Oidc::CLIENT, Oidc::client_secret(Oidc::CLIENT));
        let host = host(&entry, &[(ENV, format!("TOKEN={old}\n")), ("app.env", app)]);
        Role::new(host, old)
    }

    fn placed(&self, role: &Role) -> String {
        role.host.value(ENV, "TOKEN")
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        let said = self.post("/token/introspection", Oidc::AUDITOR, &[("token", value)]);
        said["active"].as_bool().unwrap()
    }

    fn live(&self, _: &Role) -> Option<usize> {
        None
    }
}

struct AtDjango(Django, String);

fn django(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let django = lab::django()?;
    let gate = through(&django.address, crossing);
    Some(Box::new(AtDjango(django, gate)))
}

impl AtDjango {
    fn file(&self) -> rusqlite::Connection {
        let file = rusqlite::Connection::open(&self.0.database).unwrap();
        file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        file
    }
}

impl Site for AtDjango {
    fn name(&self) -> &'static str {
        "Django (sessions in SQLite)"
    }

    fn role(&self, _: usize) -> Role {
        self.file().execute("DELETE FROM django_session", []).unwrap();
        let signed_in = ask(self.0.sign_in(Django::USER));
        let old = signed_in.strip_prefix("sessionid=").unwrap().to_owned();
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "desk"
provider = "django"
kind     = "session-cookie"
secret   = "dotenv:DIR/agent.env#DESK"
vars     = {{ page = "/me", marker = "\"user\": \"mail\"", user = "1", login = "/login" }}
reload   = "none"
admin    = {{ store = "desk-sessions", account = "desk-account" }}

[provider.django]
base  = {{ api = "{}", store = "sqlite://localhost{}" }}
proof = {PROOF}

[admin.desk-sessions]
provider = "django"
kind     = "session-file"

[admin.desk-account]
provider = "django"
kind     = "account"
vars     = {{ username = "mail" }}
secret   = "file:DIR/desk.key"
"#,
            self.1,
            self.0.database.display()
        );
        let files = [(ENV, format!("DESK={old}\n")), ("desk.key", Django::password("mail"))];
        Role::new(host(&entry, &files), old)
    }

    fn placed(&self, role: &Role) -> String {
        role.host.value(ENV, "DESK")
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        ask(self.0.is_alive(&format!("sessionid={value}")))
    }

    fn live(&self, _: &Role) -> Option<usize> {
        let count = "SELECT count(*) FROM django_session";
        let count: u32 = self.file().query_row(count, [], |row| row.get(0)).unwrap();
        Some(count as usize)
    }
}

struct AtExpress {
    express: Express,
    redis: Redis,
    /// Of the site, and of its store.
    gates: [String; 2],
}

fn express(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let redis = lab::redis(
        "user default on >admin ~* &* +@all\nuser site on >site ~* &* +@all\n\
         user sweeper on >swept ~sess:* &* +del +mget +scan",
    )?;
    let express = lab::express(&redis, "site")?;
    let gates = [through(&express.address, crossing), through(&redis.address, crossing)];
    Some(Box::new(AtExpress { express, redis, gates }))
}

impl AtExpress {
    fn sessions(&self) -> Vec<String> {
        let mut admin = self.redis.connect("default", "admin").unwrap();
        let Ok(lab::Value::List(keys)) = admin.ask(&["KEYS", "sess:*"]) else { panic!("no keys") };
        let text = |key| match key {
            lab::Value::Text(text) => text,
            other => panic!("{other:?}"),
        };
        keys.into_iter().map(text).collect()
    }
}

impl Site for AtExpress {
    fn name(&self) -> &'static str {
        "express (sessions in Redis)"
    }

    fn role(&self, _: usize) -> Role {
        let mut admin = self.redis.connect("default", "admin").unwrap();
        for session in self.sessions() {
            admin.ask(&["DEL", &session]).unwrap();
        }
        let (old, _) = ask(self.express.sign_in("mail", false));
        let [site, store] = &self.gates;
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "shop"
provider = "shop"
kind     = "session-cookie"
secret   = "file:DIR/shop.cookie"
vars     = {{ cookie = "connect.sid", page = "/me", who_at = "/user", user = "mail", stored_as = "express", user_at = "/user", login = "/login" }}
reload   = "none"
admin    = {{ store = "shop-sessions", account = "shop-account" }}

[provider.shop]
file  = "web-session"
base  = {{ api = "{site}", store = "{store}" }}
proof = {PROOF}

[admin.shop-sessions]
provider = "shop"
kind     = "session-store"
vars     = {{ username = "sweeper" }}
secret   = "file:DIR/sweeper.key"

[admin.shop-account]
provider = "shop"
kind     = "account"
vars     = {{ username = "mail" }}
secret   = "file:DIR/shop.key"
"#
        );
        let keys = [("sweeper.key", "swept".to_owned()), ("shop.key", Express::password("mail"))];
        let files = [[("shop.cookie", old.clone())].as_slice(), &keys].concat();
        Role::new(host(&entry, &files), old)
    }

    fn placed(&self, role: &Role) -> String {
        role.host.read("shop.cookie")
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        ask(self.express.is_alive("connect.sid", value))
    }

    fn live(&self, _: &Role) -> Option<usize> {
        Some(self.sessions().len())
    }
}

struct AtVerdaccio {
    verdaccio: Verdaccio,
    gate: String,
    /// What `npm login` left of each account.
    logins: std::sync::Mutex<BTreeMap<String, String>>,
}

pub(crate) fn verdaccio(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let verdaccio = lab::verdaccio()?;
    let gate = through(&verdaccio.base, crossing);
    Some(Box::new(AtVerdaccio { verdaccio, gate, logins: BTreeMap::new().into() }))
}

impl Site for AtVerdaccio {
    fn name(&self) -> &'static str {
        "Verdaccio (npm tokens)"
    }

    fn role(&self, cell: usize) -> Role {
        let user = format!("mail-{cell}");
        let login = ask(self.verdaccio.account(&user, PASSWORD));
        let (old, _) = ask(self.verdaccio.token(&login, PASSWORD));
        self.logins.lock().unwrap().insert(user.clone(), login);
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "packages"
provider = "npm"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#TOKEN"
reload   = "none"
admin    = "registry-account"

[provider.npm]
base  = "{}"
proof = {PROOF}

[admin.registry-account]
provider = "npm"
kind     = "account"
secret   = {{ username = "file:DIR/registry.user", secret = "file:DIR/registry.key" }}
"#,
            self.gate
        );
        let account = [("registry.user", user.clone()), ("registry.key", PASSWORD.to_owned())];
        let files = [[(ENV, format!("TOKEN={old}\n"))].as_slice(), &account].concat();
        Role { host: host(&entry, &files), account: user, old }
    }

    fn placed(&self, role: &Role) -> String {
        role.host.value(ENV, "TOKEN")
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        ask(self.verdaccio.is_alive(value))
    }

    fn live(&self, role: &Role) -> Option<usize> {
        let login = self.logins.lock().unwrap()[&role.account].clone();
        Some(ask(self.verdaccio.listed(&login)).len())
    }
}

struct AtWordpress(Wordpress, String);

fn wordpress(crossing: &Arc<Crossing>) -> Option<Box<dyn Site>> {
    let wordpress = lab::wordpress()?;
    let gate = through(&wordpress.base, crossing);
    Some(Box::new(AtWordpress(wordpress, gate)))
}

impl AtWordpress {
    fn ask(&self, method: reqwest::Method, rest: &str) -> serde_json::Value {
        let (base, user) = (&self.0.base, &self.0.user);
        let at = format!("{base}/wp/v2/users/{user}/application-passwords{rest}");
        ask(async {
            let asked = http().request(method, at).basic_auth("admin", Some(&self.0.admin));
            asked.send().await.unwrap().json().await.unwrap()
        })
    }
}

impl Site for AtWordpress {
    fn name(&self) -> &'static str {
        "WordPress (application passwords)"
    }

    fn role(&self, _: usize) -> Role {
        self.ask(reqwest::Method::DELETE, "");
        let made = self.ask(reqwest::Method::POST, "?name=mail");
        let old = made["password"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let entry = format!(
            r#"
[[role.mail-agent.credential]]
name     = "blog"
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "mail", user_id = "{}" }}
secret   = "dotenv:DIR/agent.env#BLOG"
reload   = "none"
admin    = "blog-admin"

[provider.wordpress]
base  = "{}"
proof = {PROOF}

[admin.blog-admin]
provider = "wordpress"
kind     = "application-password"
vars     = {{ username = "admin", user_id = "1" }}
secret   = "file:DIR/admin.password"
"#,
            self.0.user, self.1
        );
        let files = [(ENV, format!("BLOG={old}\n")), ("admin.password", self.0.admin.clone())];
        Role::new(host(&entry, &files), old)
    }

    fn placed(&self, role: &Role) -> String {
        role.host.value(ENV, "BLOG")
    }

    fn accepts(&self, _: &Role, value: &str) -> bool {
        ask(self.0.is_alive(value))
    }

    fn live(&self, _: &Role) -> Option<usize> {
        Some(ask(self.0.listed()).len())
    }
}
