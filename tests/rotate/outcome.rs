//! What a run printed and how it ended, as a table that a person can read.

use std::fmt::Write as _;

use regex::Regex;
use serde_json::Value;

/// A run of the binary that is over.
pub(crate) struct Outcome {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Null where no report was printed.
    pub(crate) report: Value,
    pub(crate) stderr: String,
    pub(crate) root: String,
}

impl Outcome {
    /// The report's claims, one line for each thing said. What differs from run to run is left
    /// out: handles, labels, fingerprints, times.
    ///
    /// The report is held against the schema first, and its exit code against the process's.
    pub(crate) fn table(&self) -> String {
        assert!(self.report.is_object(), "no report:\n{}", self.stderr);
        hold_to_the_schema(&self.report);
        let code = self.report["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
        assert_eq!(code, self.code, "the report's exit code, and the process's");

        let report = &self.report;
        let mut table = format!("{} exit {}\n", word(&report["mode"]), word(&report["exit_code"]));
        for one in list(&report["credentials"]) {
            self.credential(&mut table, one);
        }
        for todo in list(&report["todo"]) {
            self.todo(&mut table, todo);
        }
        for unlisted in list(&report["unlisted"]) {
            let _ = writeln!(table, "unlisted: {}", word(&unlisted["place"]));
        }
        let sides = list(&report["credentials"]).iter().flat_map(|one| [&one["old"], &one["new"]]);
        for handle in sides.filter_map(|side| side["handle"].as_str()) {
            table = table.replace(handle, "[handle]");
        }
        let label = Regex::new("rotate-[0-9a-f]{6}-[0-9]{8}-[0-9]{6}-[a-z0-9]{4}").unwrap();
        let table = label.replace_all(&table, "[label]");
        let run = Regex::new("[0-9]{8}-[0-9]{6}-[a-z0-9]{4}").unwrap();
        let table = run.replace_all(&table, "[run]");
        table.trim_end().replace(&self.root, "~")
    }

    fn credential(&self, table: &mut String, one: &Value) {
        let (old, new) = (&one["old"], &one["new"]);
        let proof = &old["proof"];
        let _ = writeln!(
            table,
            "{}: {}, revoke {}, control {}, made-up {}; new {}",
            word(&one["id"]),
            word(&old["verdict"]),
            word(&old["revoke"]),
            word(&proof["control"]),
            word(&proof["made_up"]),
            word(&new["state"]),
        );
        if !["dead", "already-dead"].contains(&word(&old["verdict"]).as_str()) {
            let _ = writeln!(table, "  why: {}", word(&old["why"]));
        }
        if !new["why"].is_null() {
            let _ = writeln!(table, "  new: {}", word(&new["why"]));
        }
        for place in list(&new["delivered"]) {
            let _ = writeln!(table, "  in {} ({})", word(&place["to"]), word(&place["state"]));
        }
        for place in list(&new["not_delivered"]) {
            let _ = writeln!(table, "  not in {}: {}", word(&place["to"]), word(&place["why"]));
        }
        for child in list(&one["residual"]) {
            let until = match word(&child["until"]) {
                stamp if stamp.ends_with('Z') => "a known time".to_owned(),
                word => word,
            };
            let _ = writeln!(table, "  minted: {}, until {until}", word(&child["what"]));
        }
        for orphan in list(&one["orphans"]) {
            let _ = writeln!(table, "  orphan, revoked {}", orphan["revoked"]);
        }
        for stranger in list(&one["strangers"]) {
            let label = word(&stranger["label"]);
            let _ = writeln!(table, "  stranger {label}: {}", word(&stranger["class"]));
        }
        for todo in list(&one["todo"]) {
            self.todo(table, todo);
        }
    }

    fn todo(&self, table: &mut String, todo: &Value) {
        let (what, at, action) = (word(&todo["what"]), word(&todo["at"]), word(&todo["do"]));
        let _ = writeln!(table, "  todo: {what}; {action}; {at}");
    }

    /// The run's id.
    pub(crate) fn run(&self) -> String {
        word(&self.report["run"])
    }
}

/// A string as it is, anything else as JSON.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn hold_to_the_schema(report: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../schema/report.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(report).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "the report is outside its schema:\n{}", errors.join("\n"));
}
