//! The driver pointed at a fake, and the parties that calls are made with.

use std::collections::BTreeMap;
use std::sync::Arc;

use rotate::engine::call::{Answer, At, Fault, Liveness, Reason, Values, Verb};
use rotate::provider::catalog::Catalog;
use rotate::provider::{Acting, Bases, Clients, Driver, Github, Secrets};
use rotate::secret::{Parts, Secret};
use serde_json::{Value, json};

use crate::lab::FakeGithub;

/// The ways of a revocation, in the order of the plan.
pub(crate) const TOGETHER: u16 = 0;
pub(crate) const ALONE: u16 = 1;
pub(crate) const AS_ITSELF: u16 = 2;
pub(crate) const GRANT: u16 = 0;
pub(crate) const TOKEN: u16 = 1;

pub(crate) struct Bench {
    pub(crate) driver: Github,
    pub(crate) fake: FakeGithub,
    pub(crate) bases: Bases,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::at(FakeGithub::start().await)
    }

    pub(crate) fn at(fake: FakeGithub) -> Self {
        let driver = Github::new(Arc::new(Clients::new().unwrap()));
        let bases = BTreeMap::from([("api".to_owned(), fake.base().parse().unwrap())]);
        Self { driver, fake, bases }
    }

    pub(crate) async fn call(&self, at: At, values: Value, parties: Secrets) -> Answer {
        let values: Values = serde_json::from_value(values).unwrap();
        self.driver.call(&self.bases, &at, &values, &parties).await.answer
    }

    pub(crate) async fn probe(&self, kind: &str, value: &str) -> Liveness {
        let parties = named([("it", acting(kind, value))]);
        match self.call(at(kind, Verb::Probe, 0), json!({}), parties).await {
            Answer::Saw(liveness, _) => liveness,
            other => panic!("no sight: {other:?}"),
        }
    }

    pub(crate) async fn revoke(&self, kind: &str, way: u16, value: &str) -> Answer {
        self.revoke_with(kind, way, json!({}), named([("old", acting(kind, value))])).await
    }

    pub(crate) async fn revoke_with(
        &self,
        kind: &str,
        way: u16,
        values: Value,
        parties: Secrets,
    ) -> Answer {
        self.call(at(kind, Verb::Revoke, way), values, parties).await
    }

    /// What lies outside the vendor's description.
    pub(crate) fn outside(&self) -> Vec<String> {
        self.fake.seen().into_iter().filter_map(|seen| seen.outside).collect()
    }
}

pub(crate) fn at(kind: &str, verb: Verb, way: u16) -> At {
    At { provider: "github".into(), kind: kind.into(), verb, way, step: 0 }
}

pub(crate) fn acting(kind: &str, value: &str) -> Acting {
    Acting { provider: "github".into(), kind: kind.into(), vars: Values::new(), parts: part(value) }
}

pub(crate) fn client((id, secret): &(String, String)) -> Acting {
    let mut client = acting("oauth-client", secret);
    client.parts.public.insert("client_id".into(), id.clone().into());
    client
}

pub(crate) fn part(value: &str) -> Parts {
    let secret = BTreeMap::from([("secret".to_owned(), Secret::from(value.to_owned()))]);
    Parts { secret, ..Parts::default() }
}

pub(crate) fn named<const N: usize>(parties: [(&str, Acting); N]) -> Secrets {
    parties.into_iter().map(|(name, acting)| (name.to_owned(), acting)).collect()
}

/// A value of a kind that nobody was given, as the negative control makes it.
pub(crate) fn made_up(kind: &str, real: &str) -> String {
    let catalog = Catalog::builtin().unwrap();
    let clients = Arc::new(Clients::new().unwrap());
    let resolved = catalog.resolve(&BTreeMap::new(), &clients, Arc::new(|| 0));
    let parts = resolved.provider("github").unwrap().made_up(kind, &part(real));
    String::from_utf8(parts.secret["secret"].expose().to_vec()).unwrap()
}

pub(crate) const DEAD: Liveness = Liveness::Dead { by_name: true };

pub(crate) fn alive(who: u64) -> Liveness {
    Liveness::Alive(rotate::engine::call::Identity(who.to_string()))
}

pub(crate) fn accepted() -> Liveness {
    Liveness::Alive(rotate::engine::call::Identity::default())
}

pub(crate) fn refused(answer: &Answer) -> (Reason, Option<u16>) {
    match answer {
        Answer::Fault(Fault::Refused(why)) => (why.reason, why.status),
        other => panic!("not refused: {other:?}"),
    }
}
