//! The native drivers, by the names that provider files give them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::catalog::Catalog;
use super::http::Now;
use super::oauth::Oauth;
use super::{AwsIam, Github, Redis, SharedClients, WebSession};

impl Catalog {
    /// Registers every native driver of this crate. One that needs more of its caller (a person to
    /// ask for consent) is registered again with it: the last of a name counts.
    #[must_use]
    pub fn with_native_drivers(self, clients: &SharedClients, now: &Now) -> Self {
        let clients = || Arc::clone(clients);
        self.with_driver("aws-iam", Arc::new(AwsIam::new(clients(), system_time(now))))
            .with_driver("github", Arc::new(Github::new(clients())))
            .with_driver("oauth", Arc::new(Oauth::new(clients(), None)))
            .with_driver("redis", Arc::new(Redis::new()))
            .with_driver("session", Arc::new(WebSession::new(clients())))
    }
}

fn system_time(now: &Now) -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    let now = Arc::clone(now);
    Arc::new(move || {
        let since_1970 = u64::try_from(now()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(since_1970)
    })
}
