//! A role that holds one credential at each of several servers, in one inventory.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{self, FakeOpenAi, OpenAiKey, Redis};
use crate::role::{ENV, ROLE};
use crate::{openai, redis};

/// A Redis user's password and an OpenAI key, side by side in one `.env`.
pub(crate) struct Fleet {
    pub(crate) host: Host,
    pub(crate) redis: Redis,
    pub(crate) openai: Hosted<FakeOpenAi>,
    pub(crate) key: OpenAiKey,
}

/// What is so at the servers and in the places, whatever a report says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// Old ones that are accepted.
    pub(crate) old_alive: usize,
    /// Places whose value is accepted and is not the old one.
    pub(crate) replaced: usize,
    /// Passwords of the Redis user.
    pub(crate) passwords: usize,
    /// Keys in OpenAI's list, the admin's among them.
    pub(crate) keys: usize,
}

impl Fleet {
    pub(crate) fn new() -> Option<Self> {
        let redis = lab::redis(redis::ACL)?;
        let openai = Hosted::start(FakeOpenAi::start());
        let (host, key) = (Host::new(), openai.service_account_key(openai::PROJECT, "mail"));
        host.put(ENV, &format!("{}OPENAI_API_KEY={}\n", redis::BEFORE, key.secret));
        host.put("redis-admin.key", "admin");
        host.put("openai-admin.key", &openai.admin_key().secret);
        let fleet = Self { host, redis, openai, key };
        fleet.inventory("");
        let before = Truth { old_alive: 2, replaced: 0, passwords: 1, keys: 2 };
        assert_eq!(fleet.truth(), before);
        Some(fleet)
    }

    /// Writes the inventory; `more` stands in the table of OpenAI's key.
    pub(crate) fn inventory(&self, more: &str) {
        let entry = openai::credential("model", "service-account-key", "OPENAI_API_KEY");
        let entry = match more {
            "" => entry,
            more => entry.replace("reload   = \"none\"\n", more),
        };
        let providers = redis::provider(&self.redis) + &openai::provider(&self.openai.base());
        self.host.inventory(&format!("{ROLE}{}{entry}{providers}", redis::CREDENTIAL));
    }

    pub(crate) fn truth(&self) -> Truth {
        let (password, key) = (redis::placed(&self.host), self.host.value(ENV, "OPENAI_API_KEY"));
        let alive = [self.redis.is_alive("mail", "old"), self.openai.is_alive(&self.key.secret)];
        let replaced = [
            password != "old" && self.redis.is_alive("mail", &password),
            key != self.key.secret && self.openai.is_alive(&key),
        ];
        let count = |each: &[bool]| each.iter().filter(|it| **it).count();
        Truth {
            old_alive: count(&alive),
            replaced: count(&replaced),
            passwords: redis::passwords(&self.redis),
            keys: self.openai.listed().len(),
        }
    }
}
