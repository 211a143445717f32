//! A caller's own provider, by id, and its own store, by scheme.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rotate::drive::Nobody;
use rotate::engine::call::{
    Answer, At, Fault, Holding, Identity, Liveness, PlaceState, Reason, Values, Verb, Why,
};
use rotate::engine::capability::{
    Actor, Class, KindCapability, ProviderCapability, Seen, StepCapability, Way,
};
use rotate::engine::report::{NewState, Verdict};
use rotate::inventory::SecretRef;
use rotate::provider::{Provider, Reply, Secrets};
use rotate::secret::{Parts, Secret};
use rotate::store::{Edit, SecretStore};

use crate::issuer::Issuer;
use crate::line::{Line, ROLE, acme, credential};

/// Door badges: a system that no provider file describes.
struct Badges {
    can: ProviderCapability,
    valid: Mutex<Vec<String>>,
}

impl Badges {
    fn new() -> Arc<Self> {
        let mut badge = KindCapability::new(Class::ApiKey);
        for (verb, actor) in
            [(Verb::Probe, Actor::It), (Verb::Issue, Actor::None), (Verb::Revoke, Actor::Old)]
        {
            badge.verbs.insert(verb, vec![Way::new(vec![StepCapability::new(actor)], Seen::Run)]);
        }
        badge.proof.hold_ms = 10;
        badge.tells_identity = true;
        let mut can = ProviderCapability::new("badges", "Door badges");
        can.kinds.insert("badge".to_owned(), badge);
        Arc::new(Self { can, valid: Mutex::new(vec!["old".to_owned()]) })
    }
}

fn text(secrets: &Secrets, party: &str) -> String {
    let secret = &secrets[party].parts.secret["secret"];
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

#[async_trait]
impl Provider for Badges {
    fn capability(&self) -> &ProviderCapability {
        &self.can
    }

    async fn call(&self, at: &At, _values: &Values, secrets: &Secrets) -> Reply {
        let mut valid = self.valid.lock().unwrap();
        match at.verb {
            Verb::Probe => {
                let seen = match valid.contains(&text(secrets, "it")) {
                    true => Liveness::Alive(Identity("door 7".to_owned())),
                    false => Liveness::Dead { by_name: true },
                };
                Answer::Saw(seen, Values::new()).into()
            }
            Verb::Issue => {
                valid.push("new".to_owned());
                let mut brought = Parts::default();
                brought.secret.insert("secret".to_owned(), Secret::from("new".to_owned()));
                Reply { answer: Answer::Issued(Holding::default()), brought: Some(brought) }
            }
            Verb::Revoke => {
                let old = text(secrets, "old");
                valid.retain(|known| *known != old);
                Answer::Done.into()
            }
            _ => Answer::Fault(Fault::Refused(Reason::Unsupported.into())).into(),
        }
    }

    fn made_up(&self, _kind: &str, _parts: &Parts) -> Parts {
        let mut parts = Parts::default();
        parts.secret.insert("secret".to_owned(), Secret::from("never issued".to_owned()));
        parts
    }
}

#[tokio::test]
async fn a_provider_of_ones_own_is_called_by_its_id() {
    let (badges, mut line) = (Badges::new(), Line::new());
    let place = line.put("badge", "old");
    line.text += &format!(
        "[[role.{ROLE}.credential]]\nname = \"door\"\nprovider = \"badges\"\nkind = \"badge\"\n\
         secret = \"{place}\"\nreload = \"none\"\n"
    );
    line.catalog = line.catalog.with_provider(Arc::<Badges>::clone(&badges));
    let report = line.contain(Nobody).await.close().unwrap();
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Held), "{one:#?}");
    assert_eq!(*badges.valid.lock().unwrap(), ["new"]);
}

/// A panel of drawers in memory.
#[derive(Default)]
struct Drawers(Mutex<BTreeMap<String, String>>);

#[async_trait]
impl SecretStore for Drawers {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        let drawers = self.0.lock().unwrap();
        drawers.get(&from.path).map(|it| Secret::from(it.clone())).ok_or(Reason::Empty.into())
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Ok(())
    }

    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why> {
        for edit in edits {
            let new = String::from_utf8(edit.new.expose().to_vec()).unwrap();
            self.0.lock().unwrap().insert(edit.to.path, new);
        }
        Ok(PlaceState::ReadBack)
    }
}

#[tokio::test]
async fn a_store_of_ones_own_is_read_by_its_scheme() {
    let (issuer, base) = Issuer::start().await;
    let drawers = Arc::new(Drawers::default());
    drawers.0.lock().unwrap().insert("mail".to_owned(), issuer.key(7));
    drawers.0.lock().unwrap().insert("admin".to_owned(), issuer.admin().to_owned());
    let mut line = Line::new().with_store("x-drawers", drawers);
    line.text += &credential("mail", "x-drawers:mail");
    line.text += &acme(&base, "x-drawers:admin");
    let report = line.contain(Nobody).await.close().unwrap();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
    assert_eq!(issuer.alive(), 1);
}

#[test]
fn a_scheme_of_ones_own_says_that_it_is() {
    for (text, known) in [("x-drawers:mail", true), ("drawers:mail", false), ("x-:mail", false)] {
        let vetted = text.parse::<SecretRef>().unwrap().vet();
        assert_eq!(vetted.is_ok(), known, "{text}");
    }
}
