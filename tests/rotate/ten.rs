//! A role that holds ten credentials at ten places of nine servers, and one question for all of
//! them: does the server accept this value? It is asked as an application asks, by using it.
//!
//! Seven servers are real: AWS's is moto, which refuses inactive keys as AWS does; Redis; a
//! certified OAuth server, for two grants; Django; express with its sessions in that Redis; and
//! Verdaccio, whose tokens do end when they are deleted by their key. OpenAI, Slack and GitHub are
//! fakes that keep state.

use std::thread;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::bench::Host;
use crate::consent::consent;
use crate::hosted::{Hosted, ask};
use crate::lab::{
    self, Django, Express, FakeGithub, FakeOpenAi, FakeSlack, Moto, Oidc, Prefix, Redis, Verdaccio,
};
use crate::outcome::Outcome;
use crate::role::{ENV, PROOF, ROLE};
use crate::{aws, github, oauth, openai, redis, session, sigv4};

/// One of the role's credentials, by its name in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    /// An AWS user's access key.
    Archive,
    /// An OpenAI service account's key.
    Model,
    /// A Slack token with its refresh token.
    Chat,
    /// A GitHub token: no call makes another.
    Code,
    /// An OAuth grant whose refresh tokens rotate; whoever shows a spent one ends it.
    Calendar,
    /// An OAuth grant that a person consents to.
    Drive,
    /// A Django session.
    Desk,
    /// An express session.
    Shop,
    /// A Redis user's password.
    Cache,
    /// A token of a package registry.
    Packages,
}

use Held::{Archive, Cache, Calendar, Chat, Code, Desk, Drive, Model, Packages, Shop};

impl Held {
    pub(crate) const ALL: [Self; 10] =
        [Archive, Model, Chat, Code, Calendar, Drive, Desk, Shop, Cache, Packages];

    /// Its name in plan and report.
    pub(crate) fn id(self) -> String {
        format!("mail-agent/{}", format!("{self:?}").to_lowercase())
    }

    /// What an application reads in its place, in one reading: of a grant the access token, for a
    /// refresh token cannot be used without being spent; of a key the id and the secret.
    pub(crate) fn read(self, host: &Host) -> String {
        let env = |text: &str, key: &str| -> String {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {key} in its place")).to_owned()
        };
        let key = match self {
            Archive => {
                let text = host.read(ENV);
                let id = env(&text, "AWS_ACCESS_KEY_ID");
                return format!("{id} {}", env(&text, "AWS_SECRET_ACCESS_KEY"));
            }
            Cache => return redis::placed(host),
            Chat => return part(host, "chat.json", "access"),
            Calendar => return part(host, "calendar.json", "access"),
            Drive => return part(host, "drive.json", "access"),
            Shop => return host.read("shop.cookie"),
            Model => "OPENAI_API_KEY",
            Code => "GITHUB_TOKEN",
            Desk => "DESK_SESSION",
            Packages => "NPM_TOKEN",
        };
        env(&host.read(ENV), key)
    }
}

/// A part of a place in a JSON file.
pub(crate) fn part(host: &Host, file: &str, name: &str) -> String {
    let placed: Value = serde_json::from_str(&host.read(file)).unwrap();
    placed[name].as_str().unwrap().to_owned()
}

/// The servers, and the host of the role.
pub(crate) struct Ten {
    pub(crate) host: Host,
    pub(crate) servers: Servers,
    /// What each place held before.
    pub(crate) old: Vec<(Held, String)>,
    /// The refresh tokens of both grants, which nobody here uses: each can be used once.
    pub(crate) refresh: [String; 2],
    /// The registry's account, signed in.
    login: String,
    http: Client,
}

pub(crate) struct Servers {
    pub(crate) moto: Moto,
    pub(crate) openai: Hosted<FakeOpenAi>,
    pub(crate) slack: Hosted<FakeSlack>,
    pub(crate) github: Hosted<FakeGithub>,
    pub(crate) oidc: Oidc,
    pub(crate) django: Django,
    pub(crate) express: Express,
    pub(crate) redis: Redis,
    pub(crate) verdaccio: Verdaccio,
}

/// The password of the registry's account.
const PASSWORD: &str = "made-up-password-of-the-lab";

impl Servers {
    /// All at once: one after another they take half a minute on a busy machine.
    fn start() -> Option<Self> {
        let acl = format!(
            "{}\nuser site on >site ~* &* +@all\nuser sweeper on >swept ~sess:* &* +del +mget +scan",
            redis::ACL
        );
        let (moto, oidc, django, verdaccio, shop) = thread::scope(|scope| {
            let moto = scope.spawn(|| lab::moto(true));
            let oidc = scope.spawn(lab::oidc);
            let django = scope.spawn(lab::django);
            let verdaccio = scope.spawn(lab::verdaccio);
            let shop = scope.spawn(|| {
                let redis = lab::redis(&acl)?;
                lab::express(&redis, "site").map(|express| (redis, express))
            });
            (moto.join(), oidc.join(), django.join(), verdaccio.join(), shop.join())
        });
        let (redis, express) = shop.unwrap()?;
        Some(Self {
            moto: moto.unwrap()?,
            openai: Hosted::start(FakeOpenAi::start()),
            slack: Hosted::start(FakeSlack::start()),
            github: Hosted::start(FakeGithub::start()),
            oidc: oidc.unwrap()?,
            django: django.unwrap()?,
            express,
            redis,
            verdaccio: verdaccio.unwrap()?,
        })
    }
}

impl Ten {
    /// Each server accepts what the host holds, and nothing made up.
    pub(crate) fn new() -> Option<Self> {
        let servers = Servers::start()?;
        let host = Host::new();
        let login = ask(servers.verdaccio.account("mail", PASSWORD));
        fill(&host, &servers, &login);
        give_admins(&host, &servers);
        host.inventory(&inventory(&servers));
        let old = Held::ALL.map(|held| (held, held.read(&host))).into();
        let refresh = ["calendar.json", "drive.json"].map(|file| part(&host, file, "refresh"));
        let ten = Self { host, servers, old, refresh, login, http: oauth::http() };
        for (held, old) in &ten.old {
            let made_up = if *held == Archive { "AKIAMADEUP made-up" } else { "made-up" };
            assert!(ask(ten.accepts(*held, old)), "{held:?} is not accepted");
            assert!(!ask(ten.accepts(*held, made_up)), "{held:?}: anything is accepted");
        }
        Some(ten)
    }

    /// What a place held before.
    pub(crate) fn old(&self, held: Held) -> &str {
        &self.old.iter().find(|(it, _)| *it == held).unwrap().1
    }

    /// Uses a value at its server, as an application would.
    pub(crate) async fn accepts(&self, held: Held, value: &str) -> bool {
        let (it, http) = (&self.servers, &self.http);
        let get = |base: &str, path: &str| http.get(format!("{base}{path}"));
        let request = match held {
            Archive => {
                let (id, secret) = value.split_once(' ').unwrap();
                sigv4::who_am_i(http, &it.moto.endpoint, id, secret)
            }
            Model => get(&it.openai.base(), "/models").bearer_auth(value),
            Chat => {
                let test = http.post(format!("{}/auth.test", it.slack.base()));
                return said(test.bearer_auth(value)).await.1["ok"] == true;
            }
            Code => get(&it.github.base(), "/user").bearer_auth(value),
            Calendar | Drive => get(&it.oidc.issuer, "/me").bearer_auth(value),
            Desk => get(&it.django.address, "/me").header("cookie", format!("sessionid={value}")),
            Shop => {
                get(&it.express.address, "/me").header("cookie", format!("connect.sid={value}"))
            }
            Cache => return it.redis.is_alive("mail", value),
            Packages => {
                let me = get(&it.verdaccio.base, "/-/whoami").bearer_auth(value);
                return said(me).await.1["username"].is_string();
            }
        };
        match said(request).await {
            (200, _) => true,
            (400..=403, _) => false,
            (status, _) => panic!("{held:?}: {status} is neither yes nor no"),
        }
    }

    /// Each server is asked about every credential of the report, and says the same.
    pub(crate) fn agrees(&self, outcome: &Outcome) {
        let credentials = outcome.report["credentials"].as_array().unwrap();
        for one in credentials {
            let held = Held::ALL.into_iter().find(|held| held.id() == one["id"]).unwrap();
            let alive = match one["old"]["verdict"].as_str().unwrap() {
                "dead" | "refused" => false,
                "alive" => true,
                other => panic!("{held:?} is {other}"),
            };
            // The access token that a roll leaves behind is `minted`; what is dead is the refresh
            // token, and that one is looked at where it is not spent by looking.
            let lives = match held {
                Calendar => oauth::is_active(&self.servers.oidc, &self.refresh[0]),
                _ => ask(self.accepts(held, self.old(held))),
            };
            assert_eq!(lives, alive, "the old {held:?}\n{}", outcome.table());
            let placed = held.read(&self.host);
            let replaced = placed != self.old(held) && ask(self.accepts(held, &placed));
            assert_eq!(replaced, one["new"]["state"] == "delivered", "the new {held:?}");
        }
    }

    /// What the servers themselves list for the role's accounts: nothing beside what is held.
    pub(crate) fn nothing_is_left_over(&self) {
        let it = &self.servers;
        assert_eq!(it.moto.keys("mail").len(), 1, "access keys");
        assert_eq!(it.openai.listed().len(), 2, "keys, the admin's among them");
        assert_eq!(redis::passwords(&it.redis), 1, "passwords");
        let file = rusqlite::Connection::open(&it.django.database).unwrap();
        let count = "SELECT count(*) FROM django_session";
        let rows: i64 = file.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "sessions of Django");
        let mut admin = it.redis.connect("default", "admin").unwrap();
        let Ok(lab::Value::List(keys)) = admin.ask(&["KEYS", "sess:*"]) else { panic!("no keys") };
        assert_eq!(keys.len(), 1, "sessions of express");
        assert_eq!(ask(it.verdaccio.listed(&self.login)).len(), 1, "tokens of the registry");
    }

    /// Both old refresh tokens are over and both new ones good. Then the spent one is used, as a
    /// thief would: that ends its family, so it is the last thing asked.
    pub(crate) fn families_agree(&self) {
        let oidc = &self.servers.oidc;
        let new = ["calendar.json", "drive.json"].map(|file| part(&self.host, file, "refresh"));
        for (old, new) in self.refresh.iter().zip(&new) {
            assert!(!oauth::is_active(oidc, old) && oauth::is_active(oidc, new));
        }
        let secret = Oidc::client_secret(Oidc::CLIENT);
        let spent = [("grant_type", "refresh_token"), ("refresh_token", self.refresh[0].as_str())];
        let answer = oauth::post(oidc, "/token", (Oidc::CLIENT, &secret), &spent);
        assert_eq!(answer["error"], "invalid_grant");
        assert!(!oauth::is_active(oidc, &new[0]), "reuse is detected");
        assert!(oauth::is_active(oidc, &new[1]), "the other grant is another family");
    }

    /// The `.env` as it must stand now: other values, and not a byte else.
    pub(crate) fn only_values_have_changed(&self, before: &str) {
        let mut expected = before.to_owned();
        for (held, old) in &self.old {
            let new = held.read(&self.host);
            match held {
                Cache => {
                    expected = expected.replace(&format!(":{old}@"), &format!(":{new}@"));
                }
                _ => {
                    for (old, new) in old.split(' ').zip(new.split(' ')) {
                        expected = expected.replace(old, new);
                    }
                }
            }
        }
        assert_eq!(self.host.read(ENV), expected);
    }
}

async fn said(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

/// Puts what the role holds into its places.
fn fill(host: &Host, it: &Servers, login: &str) {
    let (packages, _) = ask(it.verdaccio.token(login, PASSWORD));
    let desk = ask(it.django.sign_in("mail"));
    let env = format!(
        "{}# AWS\n{}OPENAI_API_KEY={}\nGITHUB_TOKEN={}\nDESK_SESSION={}\nNPM_TOKEN={packages}\n",
        redis::BEFORE,
        aws::lines(&it.moto.user("mail")),
        it.openai.service_account_key(openai::PROJECT, "mail").secret,
        it.github.token(Prefix::Ghp, 7),
        desk.strip_prefix("sessionid=").unwrap(),
    );
    host.put(ENV, &env);
    host.put("shop.cookie", &ask(it.express.sign_in("mail", false)).0);
    let pair = |(access, refresh)| json!({ "access": access, "refresh": refresh }).to_string();
    host.put("chat.json", &pair(it.slack.rotating_pair()));
    for file in ["calendar.json", "drive.json"] {
        let (refresh, access) = consent(&it.oidc);
        host.put(file, &pair((access, refresh)));
    }
    host.put("agent.log", "09:14:02 tool send_mail: 214 recipients\n");
}

fn give_admins(host: &Host, it: &Servers) {
    aws::give_admin(host, &it.moto.admin);
    oauth::give_client(host);
    host.put("openai-admin.key", &it.openai.admin_key().secret);
    host.put("slack-app.id", FakeSlack::CLIENT_ID);
    host.put("slack-app.secret", FakeSlack::CLIENT_SECRET);
    host.put("monitor.token", &it.github.token(Prefix::Ghp, 8));
    host.put("redis-admin.key", "admin");
    host.put("sweeper.key", "swept");
    host.put("desk.key", &Django::password("mail"));
    host.put("shop.key", &Express::password("mail"));
    host.put("registry.user", "mail");
    host.put("registry.key", PASSWORD);
}

fn inventory(it: &Servers) -> String {
    let parts = [
        format!("{ROLE}stop = [\"true\"]\nevidence = [\"DIR/agent.log\"]\n"),
        aws::CREDENTIAL.to_owned() + &aws::provider(&it.moto.endpoint),
        openai::credential("model", "service-account-key", "OPENAI_API_KEY"),
        openai::provider(&it.openai.base()),
        slack(it),
        github::credential("code", "classic-token", "GITHUB_TOKEN"),
        github::provider(&it.github),
        grant("calendar", "rotating-grant"),
        grant("drive", "grant"),
        oauth::provider(&it.oidc.issuer),
        session::desk(&it.django),
        session::shop(&it.express, &it.redis),
        redis::CREDENTIAL.to_owned() + &redis::provider(&it.redis),
        packages(it),
    ];
    parts.concat()
}

fn slack(it: &Servers) -> String {
    let (api, hooks) = (it.slack.base(), it.slack.hooks());
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "chat"
provider = "slack"
kind     = "rotating-token"
vars     = {{ app = "A0123456789" }}
secret   = {{ secret = "json:DIR/chat.json#/access", refresh = "json:DIR/chat.json#/refresh" }}
client   = "slack-app"
reload   = "none"

[provider.slack]
base  = {{ api = "{api}", hooks = "{hooks}" }}
proof = {PROOF}

[admin.slack-app]
provider = "slack"
kind     = "oauth-client"
vars     = {{ app = "A0123456789" }}
secret   = {{ client_id = "file:DIR/slack-app.id", secret = "file:DIR/slack-app.secret" }}
"#
    )
}

/// Both are the same user's, at the same application.
fn grant(name: &str, kind: &str) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "{name}"
provider = "oauth"
kind     = "{kind}"
scopes   = ["openid", "offline_access"]
secret   = {{ secret = "json:DIR/{name}.json#/refresh", access = "json:DIR/{name}.json#/access" }}
client   = "mail-app"
reload   = "none"
"#
    )
}

fn packages(it: &Servers) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "packages"
provider = "npm"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#NPM_TOKEN"
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
        it.verdaccio.base
    )
}
