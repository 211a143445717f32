//! What every inventory here begins with.

/// The `.env` file of the role.
pub(crate) const ENV: &str = "agent.env";

pub(crate) const ROLE: &str = r#"
[role.mail-agent]
owner         = "support-platform@example.com"
authorized_by = "operations@example.com"
"#;

/// The servers here are one process each and never flap: what a person knows of their own server.
pub(crate) const PROOF: &str = r#"{ refusals = 3, hold = "1s", give_up = "6s" }"#;
