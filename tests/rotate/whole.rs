//! Everything in one inventory and one run.

use crate::bench::Host;
use crate::fleet::{Fleet, Truth};
use crate::hosted::Hosted;
use crate::lab::{self, AwsKey, FakeOpenAi, Moto, Oidc, OpenAiKey, Redis};
use crate::role::{ENV, ROLE};
use crate::{aws, oauth, openai, redis};

/// One credential at each of four servers, all in one `.env`.
struct All {
    host: Host,
    env: String,
    moto: Moto,
    redis: Redis,
    oidc: Oidc,
    openai: Hosted<FakeOpenAi>,
    access_key: AwsKey,
    api_key: OpenAiKey,
    token: String,
}

impl All {
    fn new() -> Option<Self> {
        let (moto, redis, oidc) = (lab::moto(true)?, lab::redis(redis::ACL)?, lab::oidc()?);
        let (host, openai) = (Host::new(), Hosted::start(FakeOpenAi::start()));
        let client = Oidc::client_secret(Oidc::CLIENT);
        let token = oauth::client_token(&oidc, (Oidc::CLIENT, &client));
        let api_key = openai.service_account_key(openai::PROJECT, "mail");
        let access_key = moto.user("mail");
        let env = format!(
            "{}# OpenAI\nOPENAI_API_KEY={}\n# AWS\n{}INBOX_TOKEN={token}\n",
            redis::BEFORE,
            api_key.secret,
            aws::lines(&access_key),
        );
        host.put(ENV, &env);
        host.put("agent.log", "09:14:02 tool send_mail: 214 recipients\n");
        host.put("redis-admin.key", "admin");
        host.put("openai-admin.key", &openai.admin_key().secret);
        aws::give_admin(&host, &moto.admin);
        oauth::give_client(&host);
        let all = Self { host, env, moto, redis, oidc, openai, access_key, api_key, token };
        all.inventory();
        Some(all)
    }

    fn inventory(&self) {
        let entries = [
            redis::CREDENTIAL,
            &openai::credential("model", "service-account-key", "OPENAI_API_KEY"),
            aws::CREDENTIAL,
            oauth::CLIENT_TOKEN,
        ];
        let providers = [
            redis::provider(&self.redis),
            openai::provider(&self.openai.base()),
            aws::provider(&self.moto.endpoint),
            oauth::provider(&self.oidc),
        ];
        let role = format!("{ROLE}stop = [\"true\"]\nevidence = [\"DIR/agent.log\"]\n");
        self.host.inventory(&format!("{role}{}{}", entries.concat(), providers.concat()));
    }

    /// Each server is asked: the old one is refused, what stands in the place is accepted, nothing
    /// is left over, and nothing but the values has changed in the file.
    fn is_all_replaced(&self) {
        let (host, moto, redis, oidc) = (&self.host, &self.moto, &self.redis, &self.oidc);
        let (password, access_key) = (redis::placed(host), aws::placed(host));
        let (api_key, token) = (host.value(ENV, "OPENAI_API_KEY"), host.value(ENV, "INBOX_TOKEN"));
        assert!(!redis.is_alive("mail", "old") && redis.is_alive("mail", &password));
        assert!(!self.openai.is_alive(&self.api_key.secret) && self.openai.is_alive(&api_key));
        assert!(!moto.is_alive(&self.access_key) && moto.is_alive(&access_key));
        assert!(!oauth::is_active(oidc, &self.token) && oauth::is_active(oidc, &token));
        let left = (redis::passwords(redis), self.openai.listed().len(), moto.keys("mail").len());
        assert_eq!(left, (1, 2, 1), "passwords; keys, the admin's among them; access keys");
        let expected = self
            .env
            .replace(":old@", &format!(":{password}@"))
            .replace(&self.api_key.secret, &api_key)
            .replace(&self.access_key.id, &access_key.id)
            .replace(&self.access_key.secret, &access_key.secret)
            .replace(&self.token, &token);
        assert_eq!(host.read(ENV), expected);
    }
}

/// All dead, all replaced. What keeps it from 0 is what AWS and the OAuth server let outlive a
/// revocation: somebody must wait for it, and the report says for what.
#[test]
fn every_server_behaves_and_only_what_was_minted_is_left() {
    let Some(all) = All::new() else { return };
    let outcome = all.host.rotate(&["--role", "mail-agent", "--deliver", "--case", "INC-7"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
    mail-agent/inbox: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#INBOX_TOKEN (in-use)
      minted: its acceptance at resource servers that check the signature alone, until unknown
    ");
    let report = &outcome.report;
    assert_eq!(report["summary"]["dead"], 4);
    assert_eq!(report["summary"]["replaced"], 4);
    assert_eq!(report["summary"]["todo"], 0);
    assert_eq!(report["stopped"]["state"], "reported");
    assert_eq!(report["evidence"]["state"], "saved");
    assert_eq!(report["case"], "INC-7");
    all.is_all_replaced();
}

/// One that lies makes it 4, and keeps no other from being dead and replaced.
#[test]
fn one_that_lies_spoils_its_own_verdict_alone() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.lies();
    let outcome = fleet.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/model: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
    ");
    assert_eq!(fleet.truth(), Truth { old_alive: 1, replaced: 2, passwords: 1, keys: 2 });
}

/// A server that never answers delays no other, and is told by name.
#[test]
fn one_that_never_answers_delays_no_other() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.misbehave("", lab::Manners::Silence);
    let mut run = fleet.host.start(&["--role", "mail-agent", "--wait", "4s"]);
    run.hear("mail-agent/cache  revoke  accepted");
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new held
    mail-agent/model: unproven, revoke not-sent, control null, made-up null; new not-issued
      why: not probed: no answer in time; the revocation was not sent
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
      todo: issue a new mail-agent/model; Project proj_1 > API keys > new service account named [label]; https://platform.openai.com/settings/organization/projects
    ");
    let revoked = outcome.report["timings"]["first_revoke_ms"].as_u64().unwrap();
    assert!(revoked < 2_000, "revoked after {revoked} ms");
    let truth = Truth { old_alive: 1, replaced: 0, passwords: 1, keys: 2 };
    assert_eq!(fleet.truth(), truth);
}

/// 429 is no verdict: it waits as long as it is told to, and goes on.
#[test]
fn one_that_says_later_is_asked_later() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.misbehave("DELETE ", lab::Manners::Throttled { retry_after: Some(1) });
    let mut run = fleet.host.start(&["--role", "mail-agent", "--deliver"]);
    run.hear("mail-agent/model  revoke  told to wait");
    fleet.openai.behave();
    let outcome = run.end();
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.table(), outcome.stderr);
    assert_eq!(fleet.truth(), Truth { old_alive: 0, replaced: 2, passwords: 1, keys: 2 });
}
