//! A person who consents to a new grant, asked on stderr beside the run. The page and the code go
//! nowhere else: not into the log, the journal or the report, and never through the agent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::args::{LogFormat, When};
use super::progress::Watch;
use super::terminal::{self, clean};
use crate::engine::plan::Plan;
use crate::provider::oauth::{Ask, Consent, Means, Shown};

/// Whether a person is asked, and in which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    when: When,
    json: bool,
}

impl Manner {
    pub(crate) fn new(when: When, log: LogFormat) -> Self {
        Self { when, json: log == LogFormat::Json }
    }

    /// Whoever shows questions for a run of this plan; none where nobody is asked.
    pub(crate) fn person(self, watch: &Watch, plan: Option<&Plan>) -> Option<Arc<dyn Consent>> {
        let asked = match self.when {
            When::Auto => terminal::somebody_is_there(),
            When::Ask => true,
            When::Never => false,
        };
        asked.then(|| {
            let credentials = plan.map(Credentials::of).unwrap_or_default();
            Arc::new(Desk { watch: watch.clone(), json: self.json, credentials }) as _
        })
    }
}

/// Where questions are shown.
struct Desk {
    watch: Watch,
    json: bool,
    credentials: Credentials,
}

#[async_trait]
impl Consent for Desk {
    async fn show(&self, ask: &Ask) -> Shown {
        let id = self.credentials.named(ask);
        let until = SignedDuration::try_from(ask.expires_in).unwrap_or_default();
        let until = Timestamp::now().checked_add(until).unwrap_or_else(|_| Timestamp::now());
        if self.json {
            self.watch.line(&event(ask, &id, until));
            return Box::new(());
        }
        let clock = until.to_zoned(self.watch.zone().clone()).strftime("%H:%M").to_string();
        let waiting = format!("{}  waits for a person's consent until {clock}", clean(&id));
        Box::new(self.watch.question(&question(ask, &id, &clock), &waiting))
    }

    async fn pause(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// The ids of a plan's credentials, by the number that their labels end with.
#[derive(Default)]
struct Credentials {
    label: String,
    ids: Vec<String>,
}

impl Credentials {
    fn of(plan: &Plan) -> Self {
        let ids = plan.credentials.iter().map(|planned| planned.id.clone()).collect();
        Self { label: format!("{}-", plan.label), ids }
    }

    /// `ROLE/NAME` of what is asked for; its provider and kind where the label does not tell.
    fn named(&self, ask: &Ask) -> String {
        let number = ask.label.as_deref().and_then(|label| {
            let rest = label.strip_prefix(&self.label)?;
            rest.split('-').next()?.parse::<usize>().ok()
        });
        let id = number.and_then(|number| self.ids.get(number)).cloned();
        id.unwrap_or_else(|| format!("{} {}", ask.provider, ask.kind))
    }
}

/// The question for people. Addresses stand on lines of their own, to be copied whole.
fn question(ask: &Ask, id: &str, until: &str) -> String {
    let (id, provider, client) = (clean(id), clean(&ask.provider), clean(&ask.client));
    let mut lines = vec![format!("consent wanted: {id} ({provider}, for the client {client})")];
    lines.push(format!("  open   {}", ask.page));
    match &ask.means {
        Means::Code { code, complete } => {
            lines.push(format!("  type   {code}"));
            lines.extend(complete.as_ref().map(|page| format!("  or     {page}")));
        }
        Means::Redirect { port } => {
            lines.push(format!(
                "  the page leads back to 127.0.0.1:{port} here; to open it on another host, first:"
            ));
            lines.push(format!("         ssh -L {port}:127.0.0.1:{port} THIS-HOST"));
        }
    }
    lines.extend(ask.subject.as_ref().map(|who| format!("  as     {}", clean(who))));
    lines.push(format!("  until  {until}; everything else goes on meanwhile"));
    lines.join("\n")
}

/// The same for programs: one object on one line.
fn event(ask: &Ask, id: &str, until: Timestamp) -> String {
    let (code, complete, port) = match &ask.means {
        Means::Code { code, complete } => (Some(code), complete.as_ref(), None),
        Means::Redirect { port } => (None, None, Some(port)),
    };
    json!({
        "event": "consent",
        "credential": id,
        "provider": ask.provider,
        "client": ask.client,
        "subject": ask.subject,
        "page": ask.page.as_str(),
        "code": code,
        "page_with_code": complete.map(url::Url::as_str),
        "loopback_port": port,
        "until": format!("{until:.3}"),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(means: Means) -> Ask {
        Ask {
            provider: "oauth".to_owned(),
            kind: "grant".to_owned(),
            client: "mail-agent".to_owned(),
            label: Some("rotate-0a1b2c-20261122-093000-k3f9-1-2".to_owned()),
            subject: Some("ana\u{1b}[2J".to_owned()),
            page: "https://id.example/device".parse().unwrap(),
            means,
            expires_in: Duration::from_secs(600),
        }
    }

    fn by_code() -> Ask {
        let complete = "https://id.example/device?user_code=WDJB-MJHT".parse().ok();
        ask(Means::Code { code: "WDJB-MJHT".to_owned(), complete })
    }

    #[test]
    fn a_code_is_typed_anywhere() {
        insta::assert_snapshot!(question(&by_code(), "mail-agent/calendar", "09:40"), @"
        consent wanted: mail-agent/calendar (oauth, for the client mail-agent)
          open   https://id.example/device
          type   WDJB-MJHT
          or     https://id.example/device?user_code=WDJB-MJHT
          as     ana\u{fffd}[2J
          until  09:40; everything else goes on meanwhile
        ");
    }

    #[test]
    fn a_redirect_leads_back_here_or_through_a_forwarded_port() {
        let ask = ask(Means::Redirect { port: 40123 });
        insta::assert_snapshot!(question(&ask, "mail-agent/calendar", "09:40"), @"
        consent wanted: mail-agent/calendar (oauth, for the client mail-agent)
          open   https://id.example/device
          the page leads back to 127.0.0.1:40123 here; to open it on another host, first:
                 ssh -L 40123:127.0.0.1:40123 THIS-HOST
          as     ana\u{fffd}[2J
          until  09:40; everything else goes on meanwhile
        ");
    }

    #[test]
    fn the_label_tells_which_credential_is_asked_for() {
        let known = Credentials {
            label: "rotate-0a1b2c-20261122-093000-k3f9-".to_owned(),
            ids: vec!["mail-agent/inbox".to_owned(), "mail-agent/calendar".to_owned()],
        };
        assert_eq!(known.named(&by_code()), "mail-agent/calendar");
        assert_eq!(Credentials::default().named(&by_code()), "oauth grant");
    }

    #[test]
    fn a_program_reads_one_object() {
        let line = event(&by_code(), "mail-agent/calendar", Timestamp::UNIX_EPOCH);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(read["event"], "consent");
        assert_eq!(read["credential"], "mail-agent/calendar");
        assert_eq!(read["code"], "WDJB-MJHT");
        assert_eq!(read["until"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn nobody_is_asked_who_was_not_to_be() {
        let watch = Watch::new(&terminal::Look::of_stderr());
        let person = |when| Manner::new(when, LogFormat::Text).person(&watch, None);
        assert!(person(When::Never).is_none());
        assert!(person(When::Ask).is_some());
    }
}
