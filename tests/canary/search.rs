//! Finds a secret in whatever form it was written down.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::Regex;

/// The shortest run of letters and digits that identifies a secret. Escapes of every kind leave
/// such a run as it is, so it is what is looked for: raw, and in the codings that leave nothing.
const RUN: usize = 16;

/// Secrets by the name under which a finding tells of them.
#[derive(Default)]
pub(crate) struct Search {
    forms: BTreeMap<Vec<u8>, String>,
}

impl Search {
    /// Looks for this secret too.
    pub(crate) fn add(&mut self, name: &str, secret: &str) {
        let runs: Vec<_> = secret
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|run| run.len() >= RUN)
            .collect();
        assert!(!runs.is_empty(), "{name} has nothing to be known by");
        for run in runs {
            for (form, needle) in forms(run) {
                self.forms.insert(needle, format!("{name}, {form}"));
            }
        }
    }

    /// What is found in each of these texts.
    pub(crate) fn find<'a>(
        &self,
        texts: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Vec<String> {
        let text = |form: &Vec<u8>| regex::escape(std::str::from_utf8(form).unwrap());
        let all: Vec<String> = self.forms.keys().map(text).collect();
        let any = Regex::new(&format!("(?-u){}", all.join("|"))).unwrap();
        let mut found = Vec::new();
        for (name, bytes) in texts {
            for it in any.find_iter(bytes) {
                found.push(format!(
                    "{name}, at byte {}: {}",
                    it.start(),
                    self.forms[it.as_bytes()]
                ));
            }
        }
        found
    }
}

fn forms(run: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = run.as_bytes();
    let hex = |upper: bool, before: &str, between: &str| {
        let one = |byte: &u8| match upper {
            true => format!("{before}{byte:02X}"),
            false => format!("{before}{byte:02x}"),
        };
        bytes.iter().map(one).collect::<Vec<_>>().join(between).into_bytes()
    };
    let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("hex", hex(false, "", "")),
        ("hex", hex(true, "", "")),
        ("hex with colons", hex(false, "", ":")),
        ("hex with spaces", hex(false, "", " ")),
        ("\\x escapes", hex(false, "\\x", "")),
        ("\\u escapes", hex(false, "\\u00", "")),
        ("percent escapes", hex(false, "%", "")),
        ("percent escapes", hex(true, "%", "")),
        ("a list of bytes", list.join(", ").into_bytes()),
        ("a list of bytes", list.join(",").into_bytes()),
        ("backwards", bytes.iter().rev().copied().collect()),
    ];
    for shift in 0..3 {
        for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
            let padded = [&b"AAA"[..shift], bytes].concat();
            let coded = engine.encode(&padded);
            // Six bits a letter: the letters that no neighbour has a part in.
            let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
            forms.push((name, coded.as_bytes()[from..to].to_vec()));
        }
    }
    forms
}

mod tests {
    use base64::engine::general_purpose::STANDARD;
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

    use super::*;

    const SECRET: &str = "a+/=%7Qm4ZpXw9TnK2vRj8Lc\"\\é&<";

    fn finds(text: &[u8]) -> bool {
        let mut search = Search::default();
        search.add("canary", SECRET);
        !search.find([("log", text)]).is_empty()
    }

    /// A leak in each form that anything writes, wherever it begins.
    #[test]
    fn a_planted_leak_is_found() {
        let raw = SECRET.as_bytes();
        let percent = percent_encode(raw, NON_ALPHANUMERIC).to_string();
        let json = serde_json::to_string(SECRET).unwrap();
        let mut planted: Vec<Vec<u8>> = vec![
            raw.to_vec(),
            percent.clone().into_bytes(),
            json.clone().into_bytes(),
            serde_json::to_vec(&json).unwrap(),
            serde_json::to_vec(raw).unwrap(),
            format!("{SECRET:?}").into_bytes(),
            format!("{raw:?}").into_bytes(),
            raw.escape_ascii().to_string().into_bytes(),
            raw.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
            raw.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect(),
            raw.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect(),
            url::form_urlencoded::byte_serialize(raw).collect::<String>().into_bytes(),
        ];
        for before in ["", "x", "xy", "xyz", "client:"] {
            for text in [SECRET, &percent, &json] {
                let whole = format!("{before}{text}zz");
                planted.push(STANDARD.encode(&whole).into_bytes());
                planted.push(STANDARD_NO_PAD.encode(&whole).into_bytes());
                planted.push(URL_SAFE_NO_PAD.encode(&whole).into_bytes());
            }
        }
        for leak in planted {
            let line = [b"2026-11-22 TRACE hyper: header=\xff", &leak[..], b" end"].concat();
            assert!(finds(&line), "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn what_is_no_leak_is_not_found() {
        let other = STANDARD.encode("a secret in base64, of somebody else");
        for text in ["", "canary", "7Qm4ZpXw9TnK2vRj8L_c", "7qm4zpxw9tnk2vrj8lc", &other] {
            assert!(!finds(text.as_bytes()), "{text}");
        }
    }
}
