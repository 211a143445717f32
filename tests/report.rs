//! The JSON report is a public contract: its schema stands in the repository, is what the types
//! say, and accepts what they write.

#![cfg(test)]

use std::path::Path;
use std::{env, fs};

use rotate::engine::call::{PlaceState, Wall};
use rotate::engine::capability::Class;
use rotate::engine::report::{
    CredentialReport, Delivered, Evidence, EvidenceState, IdentityChange, MadeUp, Mode, New,
    NewState, NotDelivered, Old, Origin, Orphan, Proof, ProofSource, ProviderFacts, Report,
    Residual, Revoke, RoleDetail, Stamp, StopState, Stopped, Stranger, StrangerClass, Timings,
    Todo, Unlisted, Until, Verdict,
};
use rotate::inventory::Vendor;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

const SCHEMA: &str = "schema/report.schema.json";

/// The schema as the types have it.
fn generated() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Report>().to_value()
}

/// `BLESS=1 cargo test --test report` writes it anew.
#[test]
fn the_schema_in_the_repository_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA);
    let wanted = format!("{:#}\n", generated());
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "{SCHEMA} is out of date: BLESS=1 cargo test --test report");
}

#[test]
fn the_schema_accepts_every_report() {
    let schema = jsonschema::validator_for(&generated()).unwrap();
    for report in [Report::default(), full()] {
        let report = serde_json::to_value(report.summed()).unwrap();
        let errors: Vec<_> = schema.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn the_schema_refuses_what_the_contract_does_not_allow() {
    let schema = jsonschema::validator_for(&generated()).unwrap();
    let good = serde_json::to_value(full()).unwrap();
    assert!(schema.is_valid(&good));
    for (pointer, wrong) in [
        ("/format", json!(2)),
        ("/started", json!("2026-11-22 09:30:00")),
        ("/started", json!("2026-11-22T09:30:00Z")),
        ("/exit_code", json!("3")),
        ("/mode", json!("Contain")),
        ("/credentials/0/old/verdict", json!("revoked")),
        ("/credentials/0/old/verdict", Value::Null),
        ("/credentials/0/new/state", json!("success")),
        ("/credentials/0/new/delivered/0/state", json!("ok")),
        ("/credentials/0/residual/0/until", json!("soon")),
        ("/summary", json!({ "dead": 1 })),
    ] {
        let mut report = good.clone();
        *report.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.is_valid(&report), "{pointer}");
    }
    for field in good.as_object().unwrap().keys() {
        let mut report = good.clone();
        report.as_object_mut().unwrap().remove(field);
        assert!(!schema.is_valid(&report), "a report without {field}");
    }
}

#[test]
fn a_report_reads_back() {
    let report = full().summed();
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

/// Names that other tools have been told, object by object, in the order they were told.
#[rustfmt::skip]
const CONTRACT: &[(&str, &str)] = &[
    ("", "format version run mode roles case session owner authorized_by vendor upstream inventory \
          started finished exit_code journal_head stopped evidence timings summary credentials \
          unlisted"),
    ("/inventory", "sha256 changed"),
    ("/stopped", "state at"),
    ("/evidence", "archive sha256 gaps"),
    ("/timings", "first_revoke_ms last_revoke_ms last_dead_ms"),
    ("/summary", "dead already-dead refused dying expires alive unproven replaced todo"),
    ("/credentials/0", "id provider kind old new collateral strangers residual todo"),
    ("/credentials/0/old", "fingerprint handle revoke verdict why revoked_at last_accepted_at \
                            first_refused_at proof"),
    ("/credentials/0/old/proof", "refusals held_ms control"),
    ("/credentials/0/new", "fingerprint handle state delivered"),
    ("/credentials/0/new/delivered/0", "to state"),
    ("/credentials/0/strangers/0", "handle label created class"),
    ("/credentials/0/residual/0", "what until"),
    ("/credentials/0/todo/0", "what at do"),
];

#[test]
fn the_contract_of_format_1_holds() {
    let report = serde_json::to_value(full().summed()).unwrap();
    for (pointer, fields) in CONTRACT {
        let object = report.pointer(pointer).and_then(Value::as_object).unwrap();
        let missing: Vec<_> =
            fields.split_whitespace().filter(|it| !object.contains_key(*it)).collect();
        assert!(missing.is_empty(), "{pointer}: {missing:?}");
    }
    assert_eq!(report["started"], "2026-11-22T09:30:00.000Z");
    assert_eq!(report["format"], 1);
    let words = [Revoke::Accepted, Revoke::Rejected, Revoke::Lost, Revoke::NotSent];
    let words = words.into_iter().chain([Revoke::ByHand, Revoke::None]);
    let words: Vec<_> = words.map(|word| serde_json::to_value(word).unwrap()).collect();
    assert_eq!(words, ["accepted", "rejected", "lost", "not-sent", "by-hand", "none"]);
}

fn stamp(second: i64) -> Stamp {
    Stamp(Wall(1_795_339_800_000 + second * 1000))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A report in which nothing is empty.
fn full() -> Report {
    let stopped = Stopped {
        state: StopState::Verified,
        at: Some(stamp(1)),
        why: some("the unit is inactive"),
    };
    let evidence = Evidence {
        state: EvidenceState::Partial,
        archive: some("/state/7f3a.tar.age"),
        sha256: some("beef"),
        gaps: vec!["/srv/mail/logs/today.log".to_owned()],
    };
    let role = RoleDetail {
        role: "mail-agent".to_owned(),
        owner: some("support-platform@example.com"),
        authorized_by: some("operations@example.com"),
        vendor: Some(Vendor { name: "Anthropic".to_owned(), contact: None }),
        upstream: vec!["planner".to_owned()],
        stopped,
        evidence,
    };
    Report {
        run: "7f3a".to_owned(),
        mode: Mode::Verify,
        of: Some(Origin { run: "51d0".to_owned(), mode: Mode::Contain }),
        roles: vec!["mail-agent".to_owned()],
        case: some("INC-7"),
        session: some("s-1"),
        started: stamp(0),
        finished: Some(stamp(60)),
        as_of: stamp(60),
        failed: some("the disk is full"),
        journal_head: some("sha256:abcd"),
        journal_lost_at: Some(stamp(59)),
        role_details: vec![role],
        timings: Timings {
            first_revoke_ms: Some(41),
            last_revoke_ms: Some(220),
            last_dead_ms: Some(9100),
        },
        credentials: vec![credential()],
        unlisted: vec![Unlisted {
            place: "dotenv:/srv/mail/.env#OTHER".to_owned(),
            provider: some("stripe"),
            kind: None,
            fingerprint: "feed".to_owned(),
        }],
        other_keys: vec!["dotenv:/srv/mail/.env#LOG_LEVEL".to_owned()],
        todo: vec![todo()],
        providers: vec![ProviderFacts {
            id: "openai".to_owned(),
            file: "openai".to_owned(),
            sha256: "c0de".to_owned(),
            hosts: vec!["api.openai.com".to_owned()],
            hosts_from_inventory: false,
        }],
        warnings: vec!["one recipient only".to_owned()],
        ..Report::default()
    }
}

fn credential() -> CredentialReport {
    CredentialReport {
        id: "mail-agent/openai".to_owned(),
        provider: "openai".to_owned(),
        kind: "service-account-key".to_owned(),
        class: Some(Class::ApiKey),
        old: old(),
        new: new(),
        collateral: vec!["calendar-agent/openai".to_owned()],
        strangers: vec![Stranger {
            handle: "key_x".to_owned(),
            label: some("backup"),
            created: some("1795339800"),
            used: some("1795339801"),
            class: StrangerClass::MintedDuringRun,
        }],
        orphans: vec![Orphan {
            handle: "key_o".to_owned(),
            label: some("rotate-1"),
            revoked: true,
        }],
        residual: Some(vec![
            Residual { what: "session tokens".to_owned(), until: Until::At(stamp(3600)) },
            Residual { what: "downloads".to_owned(), until: Until::Open },
        ]),
        todo: vec![todo()],
    }
}

fn old() -> Old {
    Old {
        fingerprint: some("f00d"),
        handle: some("key_a"),
        revoke: Revoke::Accepted,
        verdict: Verdict::Expires,
        why: "it carries its own end".to_owned(),
        revoked_at: Some(stamp(2)),
        last_accepted_at: Some(stamp(1)),
        first_refused_at: Some(stamp(3)),
        until: Some(stamp(900)),
        proof: Some(Proof {
            refusals: 6,
            held_ms: 12_000,
            control: some("new"),
            made_up: MadeUp::Refused,
            rule: ProofSource::Provider,
        }),
    }
}

fn new() -> New {
    New {
        fingerprint: some("cafe"),
        handle: some("key_b"),
        state: NewState::Escrowed,
        planned: true,
        why: some("one place could not be written"),
        delivered: vec![Delivered {
            to: "dotenv:/srv/mail/.env#OPENAI".to_owned(),
            state: PlaceState::ReadBack,
        }],
        not_delivered: vec![NotDelivered {
            to: "file:/mnt/gone/key".to_owned(),
            why: "no such directory".to_owned(),
        }],
        identity: Some(IdentityChange { from: "user_1".to_owned(), to: "svc_2".to_owned() }),
    }
}

fn todo() -> Todo {
    Todo {
        what: "the old one still works".to_owned(),
        at: some("https://platform.openai.com/api-keys"),
        action: "Delete the old key".to_owned(),
    }
}
