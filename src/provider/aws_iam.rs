//! AWS IAM users' access keys. The signing, the queries and the XML are the AWS SDK's; what a verb
//! asks for, and what an answer means, stands here.
//!
//! A user may hold two keys, and keys have no label: a list before and after an issue tells what
//! came. Sessions that a key minted outlive it, so `evict` denies them by their time of issue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_iam::types::StatusType;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use self::answer::Failure;
use self::operation::Operation;
use self::session::Session;
use super::{Acting, Bases, Driver, Reply, Secrets, SharedClients};
use crate::engine::call::{Answer, At, Holding, Identity, Liveness, Reason, Row, Values, Verb};
use crate::engine::capability::Way;
use crate::secret::{Parts, Secret};

mod answer;
mod connector;
mod operation;
mod session;

/// The inline policy that denies older sessions: AWS's own name for it, so that responders know
/// it, and a later one takes the place of an earlier one.
const DENY_POLICY: &str = "AWSRevokeOlderSessions";

/// A deleted key has been seen to work for 3 to 4 s more; what it mints then is denied as well.
const KEY_LAG_SECONDS: i64 = 5;

/// More keys than a user can have, by far: a list that is longer is cut and said to be.
const MOST_PAGES: usize = 10;

/// Reads the wall clock.
type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The driver `aws-iam`: kinds `access-key`, `admin-key` and `chain`.
pub struct AwsIam {
    clients: SharedClients,
    now: Now,
}

impl AwsIam {
    /// `now` stands in for the service's clock where its answer does not tell the time.
    pub fn new(clients: SharedClients, now: Now) -> Self {
        Self { clients, now }
    }

    async fn make(
        &self,
        bases: &Bases,
        at: &At,
        values: &Values,
        secrets: &Secrets,
    ) -> Result<Reply, Failure> {
        let unsupported = || Failure::refused(Reason::Unsupported);
        let operation = Operation::at(at).ok_or_else(unsupported)?;
        let acting =
            secrets.get(operation.party()).ok_or_else(|| Failure::refused(Reason::MissingValue))?;
        // The probe has a pool of its own: what was opened for another credential must not carry
        // this one.
        let client = match operation {
            Operation::Probe => self.clients.probes.clone(),
            _ => self.clients.calls.clone(),
        };
        let session = Session::open(client, bases, acting).await?;
        let subject = Subject::of(values, secrets);
        match operation {
            Operation::Probe => probe(&session).await,
            Operation::Owner => owner(&session, &subject).await,
            Operation::List => list(&session, &subject).await,
            Operation::Create => create(&session, &subject).await,
            Operation::Disable => disable(&session, &subject).await,
            Operation::Delete => delete(&session, &subject.user()?, &subject).await,
            Operation::DeleteItself => delete_itself(&session, &subject).await,
            Operation::Clock => self.clock(&session, values).await,
            Operation::DenySessions => self.deny_sessions(&session, &subject, values).await,
        }
    }

    /// Asks the service what time it is: the cutoff must be in its time, not in ours.
    async fn clock(&self, session: &Session, values: &Values) -> Result<Reply, Failure> {
        if values.get("sessions").and_then(Value::as_str) == Some("leave") {
            return Err(Failure::refused(Reason::Unsupported));
        }
        session.sts.get_caller_identity().send().await?;
        let told = session
            .connector
            .date()
            .and_then(|date| DateTime::from_str(date, Format::HttpDate).ok())
            .unwrap_or_else(|| (self.now)().into());
        Ok(took([("issued_before", cutoff(told))]))
    }

    async fn deny_sessions(
        &self,
        session: &Session,
        subject: &Subject<'_>,
        values: &Values,
    ) -> Result<Reply, Failure> {
        let before = values
            .get("issued_before")
            .and_then(Value::as_str)
            .and_then(|text| DateTime::from_str(text, Format::DateTime).ok())
            .and_then(|time| time.fmt(Format::DateTime).ok())
            .map_or_else(|| cutoff((self.now)().into()), Value::from);
        // Only temporary credentials carry a time of issue: access keys, the new one among them,
        // do not meet the condition.
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Deny",
                "Action": ["*"],
                "Resource": ["*"],
                "Condition": { "DateLessThan": { "aws:TokenIssueTime": before } },
            }],
        });
        session
            .iam
            .put_user_policy()
            .user_name(subject.user()?)
            .policy_name(DENY_POLICY)
            .policy_document(policy.to_string())
            .send()
            .await?;
        Ok(Answer::Done.into())
    }
}

#[async_trait]
impl Driver for AwsIam {
    fn ways(&self, kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        operation::ways(kind)
    }

    fn tells_identity(&self, _kind: &str) -> bool {
        true
    }

    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        // The SDK traces requests and answers, and an environment variable makes it trace secret
        // ones too. Nobody listens to it.
        let made =
            self.make(bases, at, values, secrets).with_subscriber(NoSubscriber::default()).await;
        match made {
            Ok(reply) => reply,
            Err(failure) if at.verb == Verb::Probe => failure.of_probe().into(),
            Err(failure) if at.verb == Verb::Issue => Answer::Fault(failure.of_making()).into(),
            Err(failure) => Answer::Fault(failure.into()).into(),
        }
    }
}

/// Whose key a call is about.
struct Subject<'a> {
    handle: Option<&'a str>,
    named: Option<&'a str>,
    learned: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(values: &'a Values, secrets: &'a Secrets) -> Self {
        let text = |name: &str| values.get(name).and_then(Value::as_str);
        let old = || secrets.get("old").and_then(|old| public(old, "access_key_id"));
        let who = || text("who").and_then(|who| user_of(who.split(' ').next().unwrap_or(who)));
        Self {
            handle: text("handle").or_else(|| text("access_key_id")).or_else(old),
            named: text("username"),
            learned: text("user").or_else(who),
        }
    }

    fn handle(&self) -> Result<&'a str, Failure> {
        self.handle.ok_or_else(|| Failure::refused(Reason::MissingValue))
    }

    /// Who holds the key: AWS's word before the inventory's.
    fn user(&self) -> Result<String, Failure> {
        let name = self.learned.or(self.named);
        name.map(str::to_owned).ok_or_else(|| Failure::refused(Reason::MissingValue))
    }

    /// Who shall get a key. Where the inventory and AWS name different users, nobody does: a key
    /// for the wrong one would be a gift.
    fn recipient(&self) -> Result<String, Failure> {
        match (self.learned, self.named) {
            (Some(learned), Some(named)) if learned != named => {
                Err(Failure::refused(Reason::SomebodyElse))
            }
            _ => self.user(),
        }
    }
}

async fn probe(session: &Session) -> Result<Reply, Failure> {
    let caller = session.sts.get_caller_identity().send().await?;
    let (Some(arn), Some(id)) = (caller.arn(), caller.user_id()) else {
        return Err(Failure::refused(Reason::Unexpected));
    };
    let mut taken = Values::from([("arn".to_owned(), arn.into())]);
    if let Some(account) = caller.account() {
        taken.insert("account".to_owned(), account.into());
    }
    if let Some(user) = user_of(arn) {
        taken.insert("user".to_owned(), user.into());
    }
    // The name alone would hide a user who was deleted and made anew under it.
    let identity = Identity(format!("{arn} {id}"));
    Ok(Answer::Saw(Liveness::Alive(identity), taken).into())
}

/// The user an access key belongs to, by AWS's own record: needs no word of the inventory, and
/// holds when the key is dead.
async fn owner(session: &Session, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let used = session.iam.get_access_key_last_used().access_key_id(subject.handle()?);
    match used.send().await?.user_name() {
        Some(user) => Ok(took([("user", user.into())])),
        None => Ok(took([])),
    }
}

async fn list(session: &Session, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let user = subject.user()?;
    let mut rows = Vec::new();
    let mut marker = None;
    for _ in 0..MOST_PAGES {
        let page =
            session.iam.list_access_keys().user_name(&user).set_marker(marker).send().await?;
        for key in page.access_key_metadata() {
            let Some(handle) = key.access_key_id() else { continue };
            rows.push(Row {
                handle: handle.to_owned(),
                created: key.create_date().and_then(timestamp),
                used: last_used(session, handle).await,
                hinted: subject.handle == Some(handle),
                revoked: key.status() == Some(&StatusType::Inactive),
                ..Row::default()
            });
        }
        marker = page.marker().filter(|_| page.is_truncated()).map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    Ok(Answer::Found { complete: marker.is_none(), rows }.into())
}

/// Evidence and no more: a list without it is still a list.
async fn last_used(session: &Session, handle: &str) -> Option<String> {
    let used = session.iam.get_access_key_last_used().access_key_id(handle).send().await.ok()?;
    used.access_key_last_used()?.last_used_date().and_then(timestamp)
}

async fn create(session: &Session, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let made = session.iam.create_access_key().user_name(subject.recipient()?).send().await?;
    let key = made.access_key.ok_or_else(|| Failure::unknown(Reason::Unexpected))?;
    let created = key.create_date().and_then(timestamp);
    let secret = Secret::from(key.secret_access_key);
    let handle = Value::from(key.access_key_id);
    let mut public = Values::from([
        ("access_key_id".to_owned(), handle.clone()),
        ("handle".to_owned(), handle.clone()),
    ]);
    public.extend(created.map(|time| ("created".to_owned(), time.into())));
    let brought = Parts {
        public: BTreeMap::from([("access_key_id".to_owned(), handle)]),
        secret: BTreeMap::from([("secret".to_owned(), secret)]),
    };
    let answer = Answer::Issued(Holding { fingerprint: String::new(), public });
    Ok(Reply { answer, brought: Some(brought) })
}

async fn disable(session: &Session, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let update = session
        .iam
        .update_access_key()
        .user_name(subject.user()?)
        .access_key_id(subject.handle()?)
        .status(StatusType::Inactive);
    gone_or_done(update.send().await.map_err(Failure::from).map(drop))
}

async fn delete(session: &Session, user: &str, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let delete = session.iam.delete_access_key().user_name(user).access_key_id(subject.handle()?);
    gone_or_done(delete.send().await.map_err(Failure::from).map(drop))
}

/// Without a user name IAM takes the signer's own: a root key can be ended in no other way.
async fn delete_itself(session: &Session, subject: &Subject<'_>) -> Result<Reply, Failure> {
    let delete = session.iam.delete_access_key().access_key_id(subject.handle()?);
    match delete.send().await.map_err(Failure::from) {
        // It could not sign its own end: it has been ended, or switched off, already.
        Err(failure) if failure.is("InvalidClientTokenId") => Ok(Answer::Gone.into()),
        other => gone_or_done(other.map(drop)),
    }
}

fn gone_or_done(made: Result<(), Failure>) -> Result<Reply, Failure> {
    match made {
        Ok(()) => Ok(Answer::Done.into()),
        Err(failure) if failure.key_is_gone() => Ok(Answer::Gone.into()),
        Err(failure) => Err(failure),
    }
}

fn took<const N: usize>(taken: [(&str, Value); N]) -> Reply {
    Answer::Took(taken.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).into()
}

fn cutoff(told: DateTime) -> Value {
    let before = DateTime::from_secs(told.secs().saturating_add(KEY_LAG_SECONDS));
    timestamp(&before).map_or(Value::Null, Value::from)
}

/// RFC 3339, UTC.
fn timestamp(time: &DateTime) -> Option<String> {
    time.fmt(Format::DateTime).ok()
}

/// The name in `arn:PARTITION:iam::ACCOUNT:user/PATH/NAME`; roles and the root user have none.
fn user_of(arn: &str) -> Option<&str> {
    arn.splitn(6, ':').nth(5)?.strip_prefix("user/")?.rsplit('/').next()
}

fn public<'a>(acting: &'a Acting, name: &str) -> Option<&'a str> {
    acting.parts.public.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_last_segment_of_a_users_arn_and_of_no_other() {
        assert_eq!(user_of("arn:aws:iam::123456789012:user/mail"), Some("mail"));
        assert_eq!(user_of("arn:aws-cn:iam::123456789012:user/agents/eu/mail"), Some("mail"));
        assert_eq!(user_of("arn:aws:iam::123456789012:root"), None);
        assert_eq!(user_of("arn:aws:sts::123456789012:assumed-role/mail/user/x"), None);
        assert_eq!(user_of("mail"), None);
    }

    #[test]
    fn awss_word_on_the_owner_goes_before_the_inventorys_and_a_key_is_made_for_neither() {
        let values = Values::from([
            ("username".to_owned(), "mail".into()),
            ("user".to_owned(), "billing".into()),
        ]);
        let secrets = Secrets::new();
        let subject = Subject::of(&values, &secrets);
        assert_eq!(subject.user().ok().as_deref(), Some("billing"));
        assert!(subject.recipient().is_err());
    }

    #[test]
    fn the_identity_seen_before_names_the_user_where_nothing_else_does() {
        let who = "arn:aws:iam::123456789012:user/mail AIDAEXAMPLE";
        let values = Values::from([("who".to_owned(), who.into())]);
        let secrets = Secrets::new();
        let subject = Subject::of(&values, &secrets);
        assert_eq!(subject.recipient().ok().as_deref(), Some("mail"));
        assert!(subject.handle().is_err());
    }

    #[test]
    fn the_cutoff_lies_after_the_last_instant_in_which_the_dead_key_may_mint() {
        assert_eq!(cutoff(DateTime::from_secs(0)), "1970-01-01T00:00:05Z");
    }
}
