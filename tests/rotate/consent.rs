//! A person who consents on a page, without a browser: by the code of RFC 8628, or by the redirect
//! of RFC 8252. And what a run does with that person while it goes on.

use regex::Regex;
use serde_json::{Value, json};

use crate::bench::{Host, Running};
use crate::hosted::ask;
use crate::lab::{self, Oidc};
use crate::oauth::{self, CLIENT_TOKEN, client_token, http, is_active, post};
use crate::role::{ENV, ROLE};

/// A refresh token and an access token that a person consented to.
pub(crate) fn consent(oidc: &Oidc) -> (String, String) {
    consent_to(oidc, Oidc::CLIENT)
}

fn consent_to(oidc: &Oidc, client: &str) -> (String, String) {
    let secret = Oidc::client_secret(client);
    let client = (client, secret.as_str());
    let offered = post(oidc, "/device/auth", client, &[("scope", "openid offline_access")]);
    let text = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
    agree(&text(&offered, "verification_uri_complete"));
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", &text(&offered, "device_code")),
    ];
    let granted = post(oidc, "/token", client, &form);
    (text(&granted, "refresh_token"), text(&granted, "access_token"))
}

/// Consents on the page of a code.
pub(crate) fn agree(page: &str) {
    let end = visit(page, true);
    assert!(end.contains("Sign-in Success"), "the person did not come to the end");
}

/// Submits form after form, signing in by name, until a page has none. Without `agrees`, leaves by
/// the link that the first sign-in offers.
pub(crate) fn visit(page: &str, agrees: bool) -> String {
    let form = Regex::new(r#"<form[^>]*action="([^"]+)""#).unwrap();
    let input = Regex::new(r#"<input[^>]*name="([^"]+)"[^>]*>"#).unwrap();
    let value = Regex::new(r#"value="([^"]*)""#).unwrap();
    let leave = Regex::new(r#"href="([^"]+/abort)""#).unwrap();
    // A browser of its own, with cookies; what TLS needs may be chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    ask(async {
        let opened = browser.get(page).send().await.unwrap();
        let (mut at, mut html) = (opened.url().clone(), opened.text().await.unwrap());
        // Submit the code, confirm it, sign in, consent; a page more than needed is a loop.
        for _ in 0..5 {
            let next = if let Some(link) = leave.captures(&html).filter(|_| !agrees) {
                browser.get(at.join(&link[1]).unwrap())
            } else if let Some(action) = form.captures(&html) {
                let fields: Vec<(&str, &str)> = input
                    .captures_iter(&html)
                    .map(|field| {
                        let whole = field.get(0).unwrap().as_str();
                        let given = value.captures(whole).map(|it| it.get(1).unwrap().as_str());
                        (field.get(1).unwrap().as_str(), given.unwrap_or("ana"))
                    })
                    .collect();
                browser.post(at.join(&action[1]).unwrap()).form(&fields)
            } else {
                break;
            };
            let opened = next.send().await.unwrap();
            at = opened.url().clone();
            html = opened.text().await.unwrap();
        }
        html
    })
}

/// The page of the question that a run asks: the one with the code in it, where there is one.
fn asked(run: &mut Running, line: &str) -> String {
    run.hear("consent wanted: mail-agent/calendar");
    run.hear(line).split_whitespace().last().unwrap().to_owned()
}

fn entry(vars: &str) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "calendar"
provider = "oauth"
kind     = "grant"
vars     = {{ {vars} }}
scopes   = ["openid", "offline_access"]
secret   = {{ secret = "json:DIR/token.json#/refresh", access = "json:DIR/token.json#/access" }}
client   = "mail-app"
reload   = "none"
"#
    )
}

/// A role with a grant, beside a token that needs nobody.
fn role(oidc: &Oidc, client: &str, vars: &str) -> (Host, (String, String), String) {
    let host = Host::new();
    let (refresh, access) = consent_to(oidc, client);
    host.put("token.json", &json!({ "refresh": refresh, "access": access }).to_string());
    let secret = Oidc::client_secret(client);
    host.put("mail-app.env", &format!("ID={client}\nSECRET={secret}\n"));
    let inbox = client_token(oidc, (client, &secret));
    host.put(ENV, &format!("INBOX_TOKEN={inbox}\n"));
    let text = format!("{ROLE}{}{CLIENT_TOKEN}{}", entry(vars), oauth::provider(&oidc.issuer));
    host.inventory(&text);
    (host, (refresh, access), inbox)
}

const CONTAIN: [&str; 5] = ["--role", "mail-agent", "--deliver", "--consent", "ask"];

const CONSENTED: &str = "\
mail-agent/calendar: dead, revoke accepted, control new, made-up refused; new delivered
  in json:~/token.json#/access (in-use)
  in json:~/token.json#/refresh (in-use)
  minted: access tokens that resource servers check by signature alone, until unknown";

const INBOX: &str = "\
mail-agent/inbox: dead, revoke accepted, control new, made-up refused; new delivered
  in dotenv:~/agent.env#INBOX_TOKEN (in-use)
  minted: its acceptance at resource servers that check the signature alone, until unknown";

fn placed(host: &Host) -> (String, String) {
    let placed: Value = serde_json::from_str(&host.read("token.json")).unwrap();
    let part = |name: &str| placed[name].as_str().unwrap().to_owned();
    (part("refresh"), part("access"))
}

/// The old grant is ended at once; the new one comes when the person has answered, and nothing
/// else waits for that.
#[test]
fn a_person_consents_by_code_while_the_run_goes_on() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, inbox) = role(&oidc, Oidc::CLIENT, "");
    let mut run = host.start(&CONTAIN);
    let page = asked(&mut run, "  or  ");
    // Everything that needs nobody is through before the person has looked at the page.
    run.has_said("mail-agent/inbox  deliver  written, read back, in use");
    assert!(!is_active(&oidc, &inbox));
    assert!(!is_active(&oidc, &old.0) && !is_active(&oidc, &old.1));
    agree(&page);
    let outcome = run.end();
    assert_eq!(outcome.table(), format!("contain exit 3\n{CONSENTED}\n{INBOX}"));
    let new = placed(&host);
    assert_ne!(new, old);
    assert!(is_active(&oidc, &new.0) && is_active(&oidc, &new.1));
    assert!(!outcome.report.to_string().contains("user_code"), "the page is not in the report");
}

/// Killed while it waits for the person, then taken up: the person is asked anew, and the verdict
/// of the old one needs nobody. What the instant of the crash may have lost is named.
#[test]
fn killed_while_a_person_is_asked() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(&oidc, Oidc::CLIENT, "");
    let mut run = host.start(&CONTAIN);
    let first = asked(&mut run, "  or  ");
    run.hear("mail-agent/calendar  use the old one  refused");
    run.kill();

    let mut run = host.start(&["resume", "--consent", "ask"]);
    let second = asked(&mut run, "  or  ");
    assert_ne!(first, second, "a new code");
    assert!(!is_active(&oidc, &old.0));
    agree(&second);
    let outcome = run.end();
    let todo = "  todo: tokens of a new mail-agent/calendar may have been lost (1 lost answers); \
                nobody holds them; if they must end now, end the consent there and consent anew; \
                the issuer's account page, connected applications";
    assert_eq!(outcome.table(), format!("contain exit 3\n{CONSENTED}\n{todo}\n{INBOX}"));
    let new = placed(&host);
    assert!(is_active(&oidc, &new.0) && is_active(&oidc, &new.1));
}

/// Taken up where nobody can be asked, the grant is a person's to issue, and the old one is dead
/// all the same.
#[test]
fn killed_while_a_person_is_asked_and_taken_up_by_a_schedule() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(&oidc, Oidc::CLIENT, "");
    let mut run = host.start(&CONTAIN);
    asked(&mut run, "  or  ");
    run.kill();
    let outcome = host.rotate(&["resume"]);
    let table = outcome.table();
    assert!(table.contains("new not-issued"), "{table}");
    assert!(table.contains("todo: issue a new mail-agent/calendar"), "{table}");
    assert!(!outcome.stderr.contains("consent wanted"));
    assert!(!is_active(&oidc, &old.0) && !is_active(&oidc, &old.1));
    assert_eq!(placed(&host), old, "nothing to put there");
}

#[test]
fn a_person_who_refuses_leaves_the_grant_to_be_issued_by_hand() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(&oidc, Oidc::CLIENT, "");
    let mut run = host.start(&CONTAIN);
    let page = asked(&mut run, "  or  ");
    visit(&page, false);
    let table = run.end().table();
    assert!(table.contains("new: not issued: refused (400 access_denied)"), "{table}");
    assert!(table.contains("todo: issue a new mail-agent/calendar"), "{table}");
    assert!(!is_active(&oidc, &old.0));
}

/// Who does not answer holds up neither the verdicts nor the end of a run that was told how long
/// to wait.
#[test]
fn a_person_who_does_not_answer_is_not_waited_for_beyond_the_wait() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(&oidc, Oidc::CLIENT, "");
    let begun = std::time::Instant::now();
    let outcome = host.rotate(&[&CONTAIN[..], &["--wait", "8s"]].concat());
    assert!(begun.elapsed() < std::time::Duration::from_secs(40));
    assert!(outcome.stderr.contains("consent wanted"));
    let table = outcome.table();
    assert!(table.contains("mail-agent/calendar: refused, revoke accepted"), "{table}");
    assert!(table.contains("todo: issue a new mail-agent/calendar"), "{table}");
    assert!(table.contains(INBOX), "{table}");
    assert!(!is_active(&oidc, &old.0));
}

/// The browser is led back to loopback, on a port that the system chose, with PKCE: this server
/// demands it of a desktop application.
#[test]
fn a_person_consents_by_redirect() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(
        &oidc,
        Oidc::DESK,
        r#"consent = "redirect", subject = "ana", consent_query = "prompt=consent""#,
    );
    let mut run = host.start(&CONTAIN);
    let page = asked(&mut run, "  open ");
    assert!(page.contains("code_challenge_method=S256") && page.contains("prompt=consent"));
    run.hear("  as     ana");
    // Somebody else on this host, who does not know the state, ends nothing.
    let back = Regex::new("redirect_uri=([^&]+)").unwrap();
    let back = percent_encoding::percent_decode_str(&back.captures(&page).unwrap()[1])
        .decode_utf8()
        .unwrap()
        .into_owned();
    let forged = ask(async {
        let answer = http().get(format!("{back}?code=stolen&state=guessed")).send().await.unwrap();
        answer.status().as_u16()
    });
    assert_eq!(forged, 404);
    let end = visit(&page, true);
    assert!(end.contains("The answer has arrived"), "{end}");
    let outcome = run.end();
    assert_eq!(outcome.table(), format!("contain exit 3\n{CONSENTED}\n{INBOX}"));
    let new = placed(&host);
    assert_ne!(new, old);
    assert!(!is_active(&oidc, &old.0) && !is_active(&oidc, &old.1));
    assert!(is_active(&oidc, &new.0) && is_active(&oidc, &new.1));
    assert!(!outcome.report.to_string().contains("code_challenge"), "the page is not kept");
}

#[test]
fn a_person_who_refuses_on_the_redirect_ends_the_waiting() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, _, _) = role(&oidc, Oidc::DESK, r#"consent = "redirect""#);
    let mut run = host.start(&CONTAIN);
    let page = asked(&mut run, "  open ");
    let end = visit(&page, false);
    assert!(end.contains("No consent was given"), "{end}");
    let table = run.end().table();
    assert!(table.contains("new: not issued: refused (access_denied)"), "{table}");
}

/// A program that reads stderr finds the question on one line. Nothing else repeats it: not the
/// log at its most talkative, not the journal, not the report.
#[test]
fn a_program_reads_the_question_and_nothing_repeats_it() {
    let Some(oidc) = lab::oidc() else { return };
    let (host, old, _) = role(&oidc, Oidc::CLIENT, "");
    let arguments = [&CONTAIN[..], &["--log-format", "json"]].concat();
    let mut run = host.start_with(&arguments, &[("ROTATE_LOG", "trace")]);
    let line = run.hear(r#""event":"consent""#);
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["credential"], "mail-agent/calendar");
    assert_eq!(event["loopback_port"], Value::Null);
    let code = event["code"].as_str().unwrap().to_owned();
    agree(event["page_with_code"].as_str().unwrap());
    let outcome = run.end();
    assert_ne!(placed(&host), old);
    let saying = outcome.stderr.lines().filter(|line| line.contains(&code)).count();
    assert_eq!(saying, 1, "{}", outcome.stderr);
    assert!(!outcome.report.to_string().contains(&code));
    let mut folders = vec![host.path("state")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&entry).unwrap();
            let found = bytes.windows(code.len()).any(|window| window == code.as_bytes());
            assert!(!found, "{}", entry.display());
        }
    }
    assert!(files > 0, "there is a journal");
}
