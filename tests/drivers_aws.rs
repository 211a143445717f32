//! The driver `aws-iam` against moto, as it is (it says yes to "inactive" and goes on accepting
//! the key) and patched to refuse inactive keys as AWS does.

#![cfg(test)]

mod drivers;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rotate::engine::call::{Answer, Fault, Liveness, Reason, Row, Values, Verb, Why};
use rotate::provider::{Acting, AwsIam, Clients};
use rotate::secret::Secret;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use self::drivers::{Bench, Server, acting, bases, dead, duplicate, free_port, program, refusal};

const PROBE: drivers::Step = (Verb::Probe, 0, 0);
const LEARN: drivers::Step = (Verb::Learn, 0, 0);
const FIND: drivers::Step = (Verb::Find, 0, 0);
const ISSUE: drivers::Step = (Verb::Issue, 0, 0);
const DISABLE: drivers::Step = (Verb::Revoke, 0, 0);
const DELETE: drivers::Step = (Verb::Revoke, 0, 1);
const DELETE_ITSELF: drivers::Step = (Verb::Revoke, 1, 0);
const CLOCK: drivers::Step = (Verb::Evict, 0, 0);
const DENY: drivers::Step = (Verb::Evict, 0, 1);

const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// moto, spoken to without the driver.
struct Moto {
    server: Server,
    http: reqwest::Client,
}

impl Moto {
    async fn start(patched: bool) -> Option<Self> {
        let path = program("moto_server")?;
        let server = if patched {
            let python = path.with_file_name("python3");
            let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/moto_patched.py");
            Server::start(&python, |run, port, _| {
                run.arg(wrapper).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                run.env("INITIAL_NO_AUTH_ACTION_COUNT", "0");
            })
        } else {
            Server::start(&path, |run, port, _| {
                run.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                run.env("INITIAL_NO_AUTH_ACTION_COUNT", "0");
            })
        };
        let http = Clients::new().expect("clients").calls().clone();
        Some(Self { server, http })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// One IAM call with authentication off, so that it needs no signature of the driver's.
    async fn iam(&self, action: &str, fields: &[(&str, &str)]) -> String {
        self.authentication("inf").await;
        let mut form = vec![("Action", action), ("Version", "2010-05-08")];
        form.extend_from_slice(fields);
        let scope = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/iam/aws4_request";
        let request = self.http.post(self.url()).header("authorization", scope).form(&form);
        let body = request.send().await.expect("moto answers").text().await.expect("a body");
        self.authentication("0").await;
        body
    }

    async fn authentication(&self, free_actions: &str) {
        let request = self.http.post(format!("{}/moto-api/reset-auth", self.url()));
        let request = request.header("content-type", "text/plain").body(free_actions.to_owned());
        let status = request.send().await.expect("moto answers").status();
        assert!(status.is_success(), "reset-auth: {status}");
    }

    /// A user with a key, and what the user may do.
    async fn user(&self, name: &str, policy: Option<&str>) -> Acting {
        self.iam("CreateUser", &[("UserName", name)]).await;
        if let Some(policy) = policy {
            let fields = [("UserName", name), ("PolicyName", "rights"), ("PolicyDocument", policy)];
            self.iam("PutUserPolicy", &fields).await;
        }
        let made = self.iam("CreateAccessKey", &[("UserName", name)]).await;
        let part = |tag: &str| between(&made, tag).unwrap_or_else(|| panic!("no {tag}"));
        let id = part("AccessKeyId");
        acting("access-key", &[], &[("access_key_id", &id)], &part("SecretAccessKey"))
    }

    fn bench(&self) -> Bench<AwsIam> {
        bench(&self.url())
    }
}

fn bench(url: &str) -> Bench<AwsIam> {
    let clients = Arc::new(Clients::new().expect("clients"));
    let now = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    // What an inventory with one address leaves of the file's two.
    let bases = bases(&[("api", url), ("sts", "https://sts.amazonaws.com")]);
    Bench { driver: AwsIam::new(clients, now), bases }
}

fn between(xml: &str, tag: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
}

fn id(key: &Acting) -> &str {
    key.parts.public["access_key_id"].as_str().expect("text")
}

fn secret(key: &Acting) -> String {
    String::from_utf8(key.parts.secret["secret"].expose().to_vec()).expect("text")
}

fn with_secret(key: &Acting, secret: &str) -> Acting {
    let mut key = duplicate(key);
    key.parts.secret.insert("secret".to_owned(), Secret::from(secret.to_owned()));
    key
}

async fn issued(bench: &Bench<AwsIam>, admin: &Acting, user: &str) -> Acting {
    let reply = bench.reply(ISSUE, &[("username", user)], &[("admin", admin)]).await;
    let Answer::Issued(holding) = reply.answer else { panic!("{:?}", reply.answer) };
    let parts = reply.brought.expect("its parts");
    assert_eq!(holding.public["handle"], parts.public["access_key_id"]);
    assert_eq!(holding.fingerprint, "");
    assert!(holding.public["created"].as_str().is_some_and(|time| time.ends_with('Z')));
    let mut new = acting("access-key", &[], &[], "");
    new.parts = parts;
    new
}

async fn listed(bench: &Bench<AwsIam>, admin: &Acting, user: &str, old: &Acting) -> Vec<Row> {
    let parties = [("admin", admin), ("old", old)];
    match bench.call(FIND, &[("username", user)], &parties).await {
        Answer::Found { rows, complete: true } => rows,
        other => panic!("{other:?}"),
    }
}

/// The whole life of a key; `inactive` says what its probe sees once it is switched off.
async fn a_key_lives_and_dies(moto: &Moto, inactive: impl Fn(&Answer) -> bool) {
    let bench = moto.bench();
    let admin = moto.user("admin", Some(ALLOW_ALL)).await;
    let old = moto.user("mail", None).await;
    let me = bench.alive(&old).await;
    assert!(me.contains(":user/mail "), "{me}");

    // A made-up secret and a made-up key look dead: the probe is not blind.
    let garbage = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00";
    assert_eq!(bench.probe(&with_secret(&old, garbage)).await, dead(false));
    let unknown = acting("access-key", &[], &[("access_key_id", "AKIAIOSFODNN7EXAMPLE")], garbage);
    assert_eq!(bench.probe(&unknown).await, dead(true));

    // AWS tells whose key it is, so that the inventory need not.
    let handle = [("handle", id(&old))];
    let owner = Answer::Took(drivers::map(&[("user", "mail")]));
    assert_eq!(bench.call(LEARN, &handle, &[("admin", &admin)]).await, owner);

    let rows = listed(&bench, &admin, "mail", &old).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.handle.as_str(), row.hinted, row.revoked), (id(&old), true, false));
    assert!(row.created.is_some() && row.used.is_some(), "{row:?}");

    // The new one is the same user's, and there is no room for a third.
    let new = issued(&bench, &admin, "mail").await;
    assert_eq!(bench.alive(&new).await, me);
    let third = bench.call(ISSUE, &[("username", "mail")], &[("admin", &admin)]).await;
    assert_eq!(refusal(&third), (Reason::Refused, Some(409), Some("LimitExceeded")));
    assert_eq!(listed(&bench, &admin, "mail", &old).await.len(), 2);

    // Switched off: the list says so. What its use says is another thing.
    let values = [("user", "mail"), ("handle", id(&old))];
    let as_admin = [("admin", &admin)];
    assert_eq!(bench.call(DISABLE, &values, &as_admin).await, Answer::Done);
    let rows = listed(&bench, &admin, "mail", &old).await;
    assert!(rows.iter().all(|row| row.revoked == (row.handle == id(&old))), "{rows:?}");
    let seen = bench.probe(&old).await;
    assert!(inactive(&seen), "{seen:?}");

    assert_eq!(bench.call(DELETE, &values, &as_admin).await, Answer::Done);
    assert_eq!(bench.probe(&old).await, dead(true));
    assert_eq!(bench.alive(&new).await, me);
    assert_eq!(bench.call(DISABLE, &values, &as_admin).await, Answer::Gone);
    assert_eq!(bench.call(DELETE, &values, &as_admin).await, Answer::Gone);
    let left = moto.iam("ListAccessKeys", &[("UserName", "mail")]).await;
    assert!(left.contains(id(&new)) && !left.contains(id(&old)), "{left}");
}

#[tokio::test]
async fn a_disabled_key_is_dead_and_stays_dead_when_deleted() {
    let Some(moto) = Moto::start(true).await else { return };
    a_key_lives_and_dies(&moto, |seen| *seen == dead(true)).await;
}

#[tokio::test]
async fn a_disabled_key_that_is_still_accepted_is_alive_until_it_is_deleted() {
    let Some(moto) = Moto::start(false).await else { return };
    a_key_lives_and_dies(&moto, |seen| matches!(seen, Answer::Saw(Liveness::Alive(_), _))).await;
}

#[tokio::test]
async fn an_admin_without_the_right_or_the_secret_is_refused() {
    let Some(moto) = Moto::start(false).await else { return };
    let bench = moto.bench();
    let (powerless, old) = (moto.user("powerless", None).await, moto.user("web", None).await);
    let values = [("username", "web"), ("handle", id(&old))];
    for step in [LEARN, FIND, ISSUE, DISABLE, DELETE, DENY] {
        let answer = bench.call(step, &values, &[("admin", &powerless)]).await;
        let expected = (Reason::Refused, Some(403), Some("AccessDenied"));
        assert_eq!(refusal(&answer), expected, "{step:?}");
        let impostor = with_secret(&powerless, "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00");
        let answer = bench.call(step, &values, &[("admin", &impostor)]).await;
        let expected = (Reason::ActorRefused, Some(403), Some("SignatureDoesNotMatch"));
        assert_eq!(refusal(&answer), expected, "{step:?}");
        let answer = bench.call(step, &values, &[]).await;
        assert_eq!(refusal(&answer), (Reason::MissingValue, None, None), "{step:?}");
    }
    bench.alive(&old).await;

    // A user who is not there is a mistake, and no news of the key.
    let admin = moto.user("admin", Some(ALLOW_ALL)).await;
    let values = [("username", "wbe"), ("handle", id(&old))];
    let answer = bench.call(DELETE, &values, &[("admin", &admin)]).await;
    assert_eq!(refusal(&answer), (Reason::Refused, Some(404), Some("NoSuchEntity")));

    // Where the inventory and AWS differ on the user, nobody gets a key.
    let values = [("username", "powerless"), ("user", "web")];
    let answer = bench.call(ISSUE, &values, &[("admin", &admin)]).await;
    assert_eq!(refusal(&answer).0, Reason::SomebodyElse);
}

#[tokio::test]
async fn a_key_ends_itself() {
    let Some(moto) = Moto::start(false).await else { return };
    let bench = moto.bench();
    let own = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iam:DeleteAccessKey","Resource":"*"}]}"#;
    let (may, may_not) = (moto.user("may", Some(own)).await, moto.user("may-not", None).await);

    let values = [("handle", id(&may_not))];
    let answer = bench.call(DELETE_ITSELF, &values, &[("old", &may_not)]).await;
    assert_eq!(refusal(&answer), (Reason::Refused, Some(403), Some("AccessDenied")));
    bench.alive(&may_not).await;

    let values = [("handle", id(&may))];
    bench.alive(&may).await;
    assert_eq!(bench.call(DELETE_ITSELF, &values, &[("old", &may)]).await, Answer::Done);
    assert_eq!(bench.probe(&may).await, dead(true));
    assert_eq!(bench.call(DELETE_ITSELF, &values, &[("old", &may)]).await, Answer::Gone);
}

/// moto ignores conditions, so that a session is refused cannot be seen here: the policy is read
/// back as the server keeps it.
#[tokio::test]
async fn older_sessions_are_denied() {
    let Some(moto) = Moto::start(false).await else { return };
    let bench = moto.bench();
    let admin = moto.user("admin", Some(ALLOW_ALL)).await;
    moto.user("minter", None).await;
    let began = SystemTime::now();
    let Answer::Took(taken) = bench.call(CLOCK, &[], &[("admin", &admin)]).await else {
        panic!("no time")
    };
    // The server's clock, not the one that the driver was given.
    let before = taken["issued_before"].as_str().expect("a time");
    let time: jiff::Timestamp = before.parse().expect("RFC 3339");
    let ahead = SystemTime::from(time).duration_since(began).expect("after the start");
    assert!((Duration::from_secs(3)..Duration::from_secs(30)).contains(&ahead), "{ahead:?}");

    let values = [("user", "minter"), ("issued_before", before)];
    assert_eq!(bench.call(DENY, &values, &[("admin", &admin)]).await, Answer::Done);
    let fields = [("UserName", "minter"), ("PolicyName", "AWSRevokeOlderSessions")];
    let kept = moto.iam("GetUserPolicy", &fields).await;
    let kept = percent_encoding::percent_decode_str(&kept).decode_utf8_lossy().into_owned();
    let document = between(&kept, "PolicyDocument").expect("a document").replace("&quot;", "\"");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let statement = &document["Statement"][0];
    assert_eq!(statement["Effect"], "Deny");
    assert_eq!(statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"], before);

    // A lost `issued_before` falls back to the clock that was given.
    let values = [("user", "minter")];
    assert_eq!(bench.call(DENY, &values, &[("admin", &admin)]).await, Answer::Done);
    assert!(moto.iam("GetUserPolicy", &fields).await.contains("2001-09-09T01"));

    let left = [("sessions", "leave")];
    let answer = bench.call(CLOCK, &left, &[("admin", &admin)]).await;
    assert_eq!(refusal(&answer).0, Reason::Unsupported);
}

/// The chain reads the environment of its process, so this needs one of its own.
#[tokio::test]
async fn the_chain_of_the_machine_is_an_admin() {
    let Some(moto) = Moto::start(false).await else { return };
    let admin = moto.user("admin", Some(ALLOW_ALL)).await;
    let old = moto.user("chained", None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = {0}\naws_secret_access_key = {1}\n\
         [work]\naws_access_key_id = {2}\naws_secret_access_key = {3}\n",
        id(&old),
        secret(&old),
        id(&admin),
        secret(&admin)
    );
    std::fs::write(&file, text).expect("written");
    let (file, none) = (file.to_string_lossy(), folder.path().join("none"));
    in_a_process_of_its_own(
        "child_of_the_chain_test",
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", &file),
            ("AWS_CONFIG_FILE", &none.to_string_lossy()),
            ("ROTATE_TEST_ENDPOINT", &moto.url()),
            ("ROTATE_TEST_HANDLE", id(&old)),
        ],
    );
    assert_eq!(moto.bench().probe(&old).await, dead(true));
}

#[tokio::test]
#[ignore = "run by the test of the chain, in an environment of its own"]
async fn child_of_the_chain_test() {
    let Ok(url) = std::env::var("ROTATE_TEST_ENDPOINT") else { return };
    let handle = std::env::var("ROTATE_TEST_HANDLE").expect("a handle");
    let bench = bench(&url);
    let chain = acting("chain", &[("profile", "work")], &[], "");
    assert!(bench.alive(&chain).await.contains(":user/admin "));
    let old = acting("access-key", &[], &[("access_key_id", &handle)], "");
    let values = [("handle", handle.as_str()), ("user", "chained")];
    let parties = [("old", &old), ("admin", &chain)];
    assert_eq!(bench.call(DISABLE, &values, &parties).await, Answer::Done);
    assert_eq!(bench.call(DELETE, &values, &parties).await, Answer::Done);

    // A profile that is not there has no credentials: the actor's fault, and nobody else's.
    let lost = acting("chain", &[("profile", "nobody")], &[], "");
    let answer = bench.call(DELETE, &values, &[("old", &old), ("admin", &lost)]).await;
    assert_eq!(refusal(&answer).0, Reason::ActorRefused);
    // And what the chain offers is not ours to revoke.
    let answer = bench.call(DELETE, &values, &[("it", &chain), ("admin", &chain)]).await;
    assert_eq!(refusal(&answer).0, Reason::Unsupported);
}

#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// With the switch on that makes the SDK trace the bodies it otherwise hides.
#[tokio::test]
async fn nothing_of_a_secret_is_traced() {
    let Some(moto) = Moto::start(false).await else { return };
    let admin = moto.user("admin", Some(ALLOW_ALL)).await;
    moto.user("traced", None).await;
    in_a_process_of_its_own(
        "child_of_the_trace_test",
        &[
            ("LOG_SENSITIVE_BODIES", "true"),
            ("ROTATE_TEST_ENDPOINT", &moto.url()),
            ("ROTATE_TEST_HANDLE", id(&admin)),
            ("ROTATE_TEST_SECRET", &secret(&admin)),
        ],
    );
}

#[tokio::test]
#[ignore = "run by the test of traces, in an environment of its own"]
async fn child_of_the_trace_test() {
    let Ok(url) = std::env::var("ROTATE_TEST_ENDPOINT") else { return };
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the first one");
    let given = |name| std::env::var(name).expect("given");
    let id = [("access_key_id", given("ROTATE_TEST_HANDLE"))];
    let admin = acting("admin-key", &[], &[(id[0].0, &id[0].1)], &given("ROTATE_TEST_SECRET"));
    let bench = bench(&url);
    let new = issued(&bench, &admin, "traced").await;
    bench.alive(&new).await;
    let text = String::from_utf8_lossy(&traced.0.lock().expect("whole")).into_owned();
    assert!(text.contains("TRACE"), "nothing was traced at all");
    assert!(!text.contains("<SecretAccessKey>"));
    for secret in [secret(&admin), secret(&new)] {
        assert!(!text.contains(&secret) && !text.contains(&encoded(&secret)));
    }
}

/// One ignored test of this program, with these variables and no others of AWS.
fn in_a_process_of_its_own(test: &str, variables: &[(&str, &str)]) {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", test])
        .envs(variables.iter().copied())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .expect("it ran");
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A server that reads one request per connection and says this; then it hangs up.
async fn says(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    format!("http://127.0.0.1:{port}")
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error></ErrorResponse>"
    )
}

/// What probe, revoke and issue make of one answer.
async fn heard(answer: Vec<u8>) -> [Answer; 3] {
    let bench = bench(&says(answer).await);
    let key = acting(
        "access-key",
        &[],
        &[("access_key_id", "AKIAIOSFODNN7EXAMPLE")],
        "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00",
    );
    let values = [("username", "mail"), ("handle", "AKIAIOSFODNN7EXAMPLE")];
    let mut answers = Vec::new();
    for step in [PROBE, DELETE, ISSUE] {
        answers.push(bench.call(step, &values, &[("it", &key), ("admin", &key)]).await);
    }
    answers.try_into().expect("three")
}

#[tokio::test]
async fn a_server_that_is_ill_gives_no_verdict_and_an_issue_it_broke_off_is_unknown() {
    let unavailable = http("503 Service Unavailable", "retry-after: 7\r\n", "");
    let later = Answer::Fault(Fault::Throttled(Some(7000)));
    let why = Why { reason: Reason::Unexpected, status: Some(503), word: None };
    let unknown = Answer::Fault(Fault::Unknown(why));
    assert_eq!(heard(unavailable).await, [later.clone(), later, unknown]);

    let slower = http("400 Bad Request", "", &error("Throttling", "Rate exceeded"));
    let later = Answer::Fault(Fault::Throttled(None));
    assert_eq!(heard(slower).await, [later.clone(), later.clone(), later.clone()]);

    let failed = http("500 Internal Server Error", "", &error("ServiceFailure", "sorry"));
    let [probe, revoke, issue] = heard(failed).await;
    assert_eq!((probe, revoke), (later.clone(), later));
    let unknown = |why| Answer::Fault(Fault::Unknown(why));
    let word = Some("ServiceFailure".to_owned());
    assert_eq!(issue, unknown(Why { reason: Reason::Unexpected, status: Some(500), word }));

    for answer in heard(http("200 OK", "", "<html>welcome</html>")).await {
        let why = Why { reason: Reason::Unexpected, status: Some(200), word: None };
        // A deletion has nothing to read in its answer: a yes is a yes, until the key is used.
        assert!(answer == unknown(why) || answer == Answer::Done, "{answer:?}");
    }
    for answer in heard(Vec::new()).await {
        assert_eq!(answer, unknown(Reason::Reset.into()));
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(4 << 20, b'x');
    for answer in heard(endless).await {
        let why = Why { reason: Reason::TooLong, status: Some(200), word: None };
        assert_eq!(answer, unknown(why));
    }
}

#[tokio::test]
async fn what_is_not_a_refusal_of_the_key_is_unclear() {
    // A wrong clock gets the word of a wrong secret.
    let late = error("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier");
    let [probe, revoke, _] = heard(http("403 Forbidden", "", &late)).await;
    let Answer::Saw(Liveness::Unclear(why), _) = probe else { panic!("{probe:?}") };
    assert_eq!((why.reason, why.word.as_deref()), (Reason::NoClass, Some("SignatureDoesNotMatch")));
    assert_eq!(refusal(&revoke).0, Reason::ActorRefused);

    let [probe, revoke, _] = heard(http("302 Found", "location: http://127.0.0.1/\r\n", "")).await;
    assert!(matches!(probe, Answer::Saw(Liveness::Unclear(_), _)), "{probe:?}");
    assert_eq!(refusal(&revoke), (Reason::Redirect, Some(302), None));

    // Somebody else's 403, and a word that is no word: neither is written down.
    let [probe, revoke, _] = heard(http("403 Forbidden", "", "<html>proxy</html>")).await;
    assert!(matches!(probe, Answer::Saw(Liveness::Unclear(_), _)), "{probe:?}");
    assert_eq!(refusal(&revoke), (Reason::Unexpected, Some(403), None));
    let [_, revoke, _] = heard(http("403 Forbidden", "", &error("a b <c>", "x"))).await;
    assert_eq!(refusal(&revoke).2, None);

    let over = error("ExpiredToken", "The security token included in the request is expired");
    let [probe, ..] = heard(http("403 Forbidden", "", &over)).await;
    assert_eq!(probe, dead(true));
}

#[tokio::test]
async fn what_never_left_is_not_sent() {
    let closed = free_port();
    let plain = says(http("200 OK", "", "")).await;
    let cases = [
        (format!("http://127.0.0.1:{closed}"), Reason::Connect),
        ("http://nowhere.invalid".to_owned(), Reason::Dns),
        (plain.replace("http:", "https:"), Reason::Tls),
    ];
    for (url, reason) in cases {
        let bench = bench(&url);
        let key = acting("access-key", &[], &[("access_key_id", "AKIAEXAMPLE")], "secret");
        for step in [PROBE, DELETE, ISSUE] {
            let values = [("username", "mail"), ("handle", "AKIAEXAMPLE")];
            let answer = bench.call(step, &values, &[("it", &key), ("admin", &key)]).await;
            assert_eq!(answer, Answer::Fault(Fault::NotSent(reason.into())), "{url} {step:?}");
        }
    }
}

#[tokio::test]
async fn a_key_without_its_bytes_is_not_asked_about() {
    let bench = bench("http://127.0.0.1:9");
    let bare = acting("access-key", &[], &[("access_key_id", "AKIAEXAMPLE")], "");
    let answer = bench.call(DELETE, &[], &[("admin", &bare)]).await;
    assert_eq!(refusal(&answer), (Reason::MissingValue, None, None));
    let probe = bench.probe(&bare).await;
    let unclear = Liveness::Unclear(Reason::MissingValue.into());
    assert_eq!(probe, Answer::Saw(unclear, Values::new()));
}
