//! An answer is written down, so nothing in it may hold a secret that went out or came back.

use percent_encoding::percent_decode_str;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::engine::call::{Answer, Fault, Liveness, Reason, Values};
use crate::provider::{Reply, Secrets};
use crate::secret::Secret;

/// Shorter secrets are not looked for: they would be found in words that hold them by chance.
const SECRET_MIN: usize = 8;

/// The reply without what repeats a secret: a public value is left out, for what was issued
/// exists; any other answer becomes one that says only that.
pub(super) fn removed(mut reply: Reply, secrets: &Secrets) -> Reply {
    let brought = reply.brought.iter().flat_map(|parts| parts.secret.values());
    let sent = secrets.values().flat_map(|acting| acting.parts.secret.values());
    let needles: Vec<Zeroizing<String>> = sent.chain(brought).filter_map(needle).collect();
    if !holds(&reply.answer, &needles) {
        return reply;
    }
    match &mut reply.answer {
        Answer::Issued(holding) => holding.public.retain(|_, value| !holds(value, &needles)),
        Answer::Saw(..) => {
            let unclear = Liveness::Unclear(Reason::Echo.into());
            reply.answer = Answer::Saw(unclear, Values::new());
        }
        Answer::Fault(Fault::Refused(why) | Fault::Unknown(why)) => why.word = None,
        _ => reply.answer = Answer::Fault(Fault::Unknown(Reason::Echo.into())),
    }
    if let Some(parts) = &mut reply.brought {
        parts.public.retain(|_, value| !holds(value, &needles));
    }
    reply
}

/// A secret as it would stand in JSON.
fn needle(secret: &Secret) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(secret.expose()).ok().filter(|it| it.len() >= SECRET_MIN)?;
    let quoted = Zeroizing::new(serde_json::to_string(text).ok()?);
    Some(Zeroizing::new(quoted.trim_matches('"').to_owned()))
}

fn holds(value: &impl Serialize, needles: &[Zeroizing<String>]) -> bool {
    // What cannot be looked through is taken to hold one.
    let Ok(plain) = serde_json::to_string(value).map(Zeroizing::new) else { return true };
    let decoded = Zeroizing::new(percent_decode_str(&plain).decode_utf8_lossy().into_owned());
    needles.iter().any(|it| plain.contains(it.as_str()) || decoded.contains(it.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::call::{Holding, Identity, Why};
    use crate::provider::Acting;
    use crate::secret::Parts;

    const TOKEN: &str = "a-token+of/the=test";

    fn secrets() -> Secrets {
        let mut parts = Parts::default();
        parts.secret.insert("secret".into(), TOKEN.to_owned().into());
        let acting =
            Acting { provider: "oauth".into(), kind: "grant".into(), vars: Values::new(), parts };
        Secrets::from([("it".to_owned(), acting)])
    }

    #[test]
    fn an_identity_that_repeats_the_token_is_no_identity() {
        let alive = |who: &str| Answer::Saw(Liveness::Alive(Identity(who.into())), Values::new());
        let told = removed(alive(&format!("x{TOKEN}")).into(), &secrets()).answer;
        assert_eq!(told, Answer::Saw(Liveness::Unclear(Reason::Echo.into()), Values::new()));
        assert_eq!(removed(alive("ana").into(), &secrets()).answer, alive("ana"));
    }

    #[test]
    fn an_error_word_that_repeats_the_token_is_left_out() {
        let why = |word: Option<&str>| Why {
            reason: Reason::Refused,
            status: Some(400),
            word: word.map(str::to_owned),
        };
        let refused = |word| Answer::Fault(Fault::Refused(why(word)));
        assert_eq!(removed(refused(Some(TOKEN)).into(), &secrets()).answer, refused(None));
        let other = refused(Some("invalid_grant"));
        assert_eq!(removed(other.clone().into(), &secrets()).answer, other);
    }

    #[test]
    fn what_was_issued_stays_issued_without_the_value_that_repeats_a_secret() {
        let public = Values::from([
            ("client_id".to_owned(), "c1".into()),
            ("plain".to_owned(), format!("https://x.example/?t={TOKEN}").into()),
            ("encoded".to_owned(), "https://x.example/?t=a-token%2Bof%2Fthe%3Dtest".into()),
        ]);
        let brought = Parts { public: public.clone(), ..Parts::default() };
        let holding = Holding { fingerprint: String::new(), public };
        let reply = Reply { answer: Answer::Issued(holding), brought: Some(brought) };
        let left = removed(reply, &secrets());
        let Answer::Issued(holding) = left.answer else { panic!("no longer issued") };
        assert_eq!(holding.public, Values::from([("client_id".to_owned(), "c1".into())]));
        assert_eq!(left.brought.unwrap().public, holding.public);
    }
}
