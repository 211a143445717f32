//! Secrets that somebody wrote into an inventory: found by the forms their issuers give them.
//!
//! A form counts only where it can hardly be anything else, because a false alarm burns a working
//! entry's place in the text. What has no form of its own is caught by where it stands: under
//! `secret`, whatever is no reference is taken for a secret and never repeated.

use std::ops::Range;

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leak {
    /// Byte range of the secret itself.
    pub(crate) span: Range<usize>,
    /// What it looks like, with its article.
    pub(crate) form: &'static str,
}

/// A secret that begins with letters of its issuer's choice.
struct Form {
    prefix: &'static str,
    /// What follows the prefix.
    body: Alphabet,
    /// Shortest body.
    least: usize,
    name: &'static str,
}

#[derive(Clone, Copy)]
enum Alphabet {
    /// Letters, digits and `_`.
    Word,
    /// And `-`.
    Slug,
    /// And `.`.
    Dotted,
    /// And `/`.
    Path,
}

impl Alphabet {
    fn holds(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || byte == b'_'
            || match self {
                Self::Word => false,
                Self::Slug => byte == b'-',
                Self::Dotted => matches!(byte, b'-' | b'.'),
                Self::Path => matches!(byte, b'-' | b'.' | b'/'),
            }
    }
}

const fn form(prefix: &'static str, body: Alphabet, least: usize, name: &'static str) -> Form {
    Form { prefix, body, least, name }
}

/// Prefixes from the issuers' own documents on secret scanning.
const FORMS: &[Form] = &[
    form("sk-", Alphabet::Slug, 16, "an API key (sk-)"),
    form("xoxb-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxp-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxa-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxr-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxs-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxc-", Alphabet::Slug, 10, "a Slack token"),
    form("xoxd-", Alphabet::Slug, 10, "a Slack cookie"),
    form("xoxe-", Alphabet::Slug, 10, "a Slack refresh token"),
    form("xoxe.xox", Alphabet::Slug, 10, "a Slack token"),
    form("xapp-", Alphabet::Slug, 10, "a Slack app token"),
    form("hooks.slack.com/services/", Alphabet::Path, 20, "a Slack webhook"),
    form("discord.com/api/webhooks/", Alphabet::Path, 40, "a Discord webhook"),
    form("ghp_", Alphabet::Word, 30, "a GitHub token"),
    form("gho_", Alphabet::Word, 30, "a GitHub token"),
    form("ghu_", Alphabet::Word, 30, "a GitHub token"),
    form("ghs_", Alphabet::Word, 30, "a GitHub token"),
    form("ghr_", Alphabet::Word, 30, "a GitHub refresh token"),
    form("github_pat_", Alphabet::Word, 22, "a GitHub token"),
    form("glpat-", Alphabet::Dotted, 20, "a GitLab token"),
    form("gldt-", Alphabet::Slug, 20, "a GitLab deploy token"),
    form("glrt-", Alphabet::Dotted, 20, "a GitLab runner token"),
    form("glptt-", Alphabet::Slug, 20, "a GitLab trigger token"),
    form("AIza", Alphabet::Slug, 35, "a Google API key"),
    form("GOCSPX-", Alphabet::Slug, 24, "a Google client secret"),
    form("ya29.", Alphabet::Slug, 20, "a Google access token"),
    form("1//0", Alphabet::Slug, 30, "a Google refresh token"),
    form("sk_live_", Alphabet::Word, 16, "a Stripe key"),
    form("sk_test_", Alphabet::Word, 16, "a Stripe key"),
    form("rk_live_", Alphabet::Word, 16, "a Stripe key"),
    form("rk_test_", Alphabet::Word, 16, "a Stripe key"),
    form("whsec_", Alphabet::Word, 20, "a webhook signing secret"),
    form("npm_", Alphabet::Word, 36, "an npm token"),
    form("pypi-AgE", Alphabet::Slug, 50, "a package upload token"),
    form("hf_", Alphabet::Word, 30, "a Hugging Face token"),
    form("gsk_", Alphabet::Word, 40, "a Groq key"),
    form("xai-", Alphabet::Slug, 40, "an xAI key"),
    form("pplx-", Alphabet::Slug, 40, "a Perplexity key"),
    form("tvly-", Alphabet::Slug, 20, "a Tavily key"),
    form("r8_", Alphabet::Word, 37, "a Replicate token"),
    form("nvapi-", Alphabet::Slug, 40, "an NVIDIA key"),
    form("SG.", Alphabet::Dotted, 60, "a SendGrid key"),
    form("dop_v1_", Alphabet::Word, 60, "a DigitalOcean token"),
    form("hvs.", Alphabet::Slug, 24, "a Vault token"),
    form("hvb.", Alphabet::Slug, 24, "a Vault token"),
    form("shpat_", Alphabet::Word, 30, "a Shopify token"),
    form("lin_api_", Alphabet::Word, 36, "a Linear key"),
    form("ntn_", Alphabet::Word, 40, "a Notion token"),
    form("dckr_pat_", Alphabet::Slug, 20, "a Docker token"),
    form("tskey-", Alphabet::Slug, 20, "a Tailscale key"),
    form("glsa_", Alphabet::Word, 32, "a Grafana token"),
    form("sntrys_", Alphabet::Word, 40, "a Sentry token"),
    form("syt_", Alphabet::Word, 20, "a Matrix token"),
    form("AGE-SECRET-KEY-1", Alphabet::Word, 50, "an age key"),
];

/// Every secret of a known form in the text, in order, none overlapping. One pass: what a failed
/// attempt may look at is bounded.
pub(crate) fn scan(text: &str) -> Vec<Leak> {
    let bytes = text.as_bytes();
    let mut leaks = Vec::new();
    let mut at = 0;
    let mut before = b' ';
    while let Some(byte) = bytes.get(at) {
        if (!before.is_ascii_alphanumeric() || *byte == b':')
            && let Some(leak) = leak_at(text, at, *byte)
        {
            at = leak.span.end.max(at + 1);
            before = b' ';
            leaks.push(leak);
            continue;
        }
        before = *byte;
        at += 1;
    }
    leaks
}

/// Whether the value of a `secret`, which should be a reference, is a secret by its looks.
pub(crate) fn is_bare(text: &str) -> bool {
    is_access_key_id(text) || is_dense(text) || !scan(text).is_empty()
}

/// Whether a run of letters and digits has so much in it that nobody made it up: at least 32, of
/// both cases and digits, or exactly the 40 of an AWS secret key. 4.2 bits a character: English
/// words run together have fewer, 32 random characters have 4.6.
pub(crate) fn is_dense(text: &str) -> bool {
    let aws = text.len() == 40
        && !text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+'));
    (aws && is_rich(text))
        || text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|run| run.len() >= 32 && is_rich(run))
}

fn is_rich(run: &str) -> bool {
    let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && entropy(run) >= 4.2
}

/// Shannon entropy, bits per byte.
fn entropy(run: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in run.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = run.len() as f64;
    let share = |count: u32| f64::from(count) / length;
    counts.iter().filter(|count| **count > 0).map(|c| -share(*c) * share(*c).log2()).sum()
}

/// `AKIA` or `ASIA` and sixteen more: public (it is the handle of the key), but never a reference.
fn is_access_key_id(text: &str) -> bool {
    text.len() == 20
        && (text.starts_with("AKIA") || text.starts_with("ASIA"))
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn leak_at(text: &str, at: usize, first: u8) -> Option<Leak> {
    match first {
        b'-' => pem(text, at),
        b':' => userinfo(text, at),
        b'0'..=b'9' => telegram(text, at).or_else(|| prefixed(text, at)),
        b'e' => jwt(text, at),
        first if first.is_ascii_alphabetic() => prefixed(text, at),
        _ => None,
    }
}

fn prefixed(text: &str, at: usize) -> Option<Leak> {
    let bytes = text.as_bytes().get(at..)?;
    let form = FORMS.iter().find(|form| bytes.starts_with(form.prefix.as_bytes()))?;
    let body = bytes.get(form.prefix.len()..)?;
    // The longest prefix before random text is a third of these 256 bytes.
    let head = body.get(..length(body.get(..256).unwrap_or(body), form.body))?;
    let real = head.len() >= form.least
        && if form.prefix == "sk-" {
            // Plain words follow an `sk-` too; sixteen mixed characters in a row are none.
            head.split(|byte| !byte.is_ascii_alphanumeric())
                .any(|run| run.len() >= 16 && is_varied(run))
        } else {
            is_varied(head)
        };
    real.then(|| Leak {
        span: at..at + form.prefix.len() + length(body, form.body),
        form: form.name,
    })
}

/// Bytes of the alphabet at the front.
fn length(bytes: &[u8], alphabet: Alphabet) -> usize {
    bytes.iter().take_while(|byte| alphabet.holds(**byte)).count()
}

/// A digit, or both cases: not a word of a sentence, nor `xxxx`.
fn is_varied(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic)
        || bytes.iter().any(u8::is_ascii_uppercase) && bytes.iter().any(u8::is_ascii_lowercase)
}

fn jwt(text: &str, at: usize) -> Option<Leak> {
    let bytes = text.as_bytes().get(at..)?;
    if !bytes.starts_with(b"eyJ") {
        return None;
    }
    // A thousand bytes: a header names an algorithm and a key, no more.
    let header = length(bytes.get(..1_000).unwrap_or(bytes), Alphabet::Slug);
    let claims_at = header + 1;
    if header < 12 || bytes.get(header) != Some(&b'.') {
        return None;
    }
    let claims = length(bytes.get(claims_at..)?, Alphabet::Slug);
    if claims < 8 || bytes.get(claims_at + claims) != Some(&b'.') {
        return None;
    }
    let rest = length(bytes.get(claims_at + claims..)?, Alphabet::Dotted);
    Some(Leak { span: at..at + claims_at + claims + rest, form: "a JSON Web Token" })
}

fn telegram(text: &str, at: usize) -> Option<Leak> {
    let bytes = text.as_bytes().get(at..)?;
    let digits = bytes.iter().take(11).take_while(|byte| byte.is_ascii_digit()).count();
    let body = bytes.get(digits..)?.strip_prefix(b":")?;
    let length = length(body.get(..36).unwrap_or(body), Alphabet::Slug);
    ((8..=10).contains(&digits) && length == 35)
        .then(|| Leak { span: at..at + digits + 1 + length, form: "a Telegram bot token" })
}

fn pem(text: &str, at: usize) -> Option<Leak> {
    const OPEN: &str = "-----BEGIN ";
    // Sixteen thousand bytes hold a 16,384-bit RSA key in base64.
    let block = window(text, at, 16_384)?;
    let title = block.strip_prefix(OPEN)?;
    let title = title.get(..title.find("-----")?)?;
    if !title.ends_with("PRIVATE KEY") && !title.ends_with("PRIVATE KEY BLOCK") {
        return None;
    }
    let body = OPEN.len() + title.len() + 5;
    let end = block.get(body..).and_then(|rest| {
        let close = rest.find("-----END ")?;
        let tail = rest.get(close + 9..)?;
        Some(body + close + 9 + tail.find("-----")? + 5)
    });
    Some(Leak { span: at..at + end.unwrap_or(block.len()), form: "a private key" })
}

/// The password of `scheme://user:password@host`.
fn userinfo(text: &str, at: usize) -> Option<Leak> {
    // A thousand bytes: no address has longer credentials.
    let authority = window(text, at, 1_000)?.strip_prefix("://")?;
    let end = authority
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
        .unwrap_or(authority.len());
    let userinfo = authority.get(..authority.get(..end)?.rfind('@')?)?;
    let (user, password) = userinfo.split_once(':')?;
    if password.is_empty() || password.starts_with(['{', '$', '<']) {
        return None;
    }
    let from = at + 3 + user.len() + 1;
    Some(Leak { span: from..from + password.len(), form: "a password in an address" })
}

fn window(text: &str, at: usize, most: usize) -> Option<&str> {
    text.get(at..super::position::floor(text, at.saturating_add(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        scan(text).into_iter().map(|leak| &text[leak.span]).collect()
    }

    #[test]
    fn known_forms_are_found_wherever_they_stand() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
        for secret in [
            "sk-proj-abcDEF123456ghiJKL7890mno",
            "sk-ant-api03-0123456789abcdef0123-AbC",
            "xoxb-1234567890-1234567890-AbCdEfGhIj",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "glpat-abcDEF1234567890ghij",
            "AIzaSyA0123456789abcdefghijklmnopqrstuv",
            "123456789:AAF0123456789abcdefghijklmnopqrstuv",
            "hooks.slack.com/services/T000/B000/abcdefABCDEF012345",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            jwt,
        ] {
            for text in [
                secret.to_owned(),
                format!("key = \"{secret}\" # "),
                format!("# {secret}\n"),
                format!("é{secret}é"),
                format!("_{secret}"),
            ] {
                assert_eq!(found(&text), [secret], "{text}");
            }
        }
        assert_eq!(found("https://mail:hunter2@db.example.com/x"), ["hunter2"]);
        assert_eq!(found("amqp://a:p@ss@host"), ["p@ss"]);
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "sk-",
            "sk-...",
            "task-management-and-review-agent-2",
            "sk-learn-model-training-agent-2",
            "xoxb-your-token-goes-here",
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "eyJ",
            "eyJ.eyJ.",
            "AKIAIOSFODNN7EXAMPLE",
            "https://user@host/",
            "https://host:443/a@b",
            "a://:@b",
            "https://user:{{ password }}@host",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN ",
            "dotenv:/srv/mail-agent/.env#OPENAI_API_KEY",
            "org:12345678",
            "é•",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn dense_text() {
        assert!(is_dense("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "an AWS secret key");
        assert!(is_dense("x=q8Zr2VtYp0LmN4sKdJf7HgWcXa9BeUiO"));
        for text in [
            "0123456789abcdef0123456789abcdef",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "/srv/Agents/MailAgent2/Workspace/Config9",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "TheQuickBrownFoxJumpsOverTheLazyDog",
            "support-platform@example.com",
        ] {
            assert!(!is_dense(text), "{text}");
        }
        assert!(is_bare("AKIAIOSFODNN7EXAMPLE"));
    }

    #[test]
    fn what_fails_again_and_again_stays_cheap() {
        for unit in ["sk-", "eyJ-", "://a:", "-----BEGIN ", "ghp_-", "12345678:", "xoxb-a-"] {
            let text = unit.repeat(200_000 / unit.len());
            assert_eq!(scan(&text).len(), 0, "{unit}");
        }
    }
}
