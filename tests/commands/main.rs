//! The commands around a run, as a person types them: the built binary, a state directory of its
//! own, and an Acme that keeps state.

#![cfg(test)]

#[path = "../hostile/acme.rs"]
#[expect(dead_code, reason = "not every misbehaviour is needed here")]
mod acme;
mod escrow;
mod held;
mod host;
mod init;
mod markdown;
mod providers;
mod recipients;
mod roles;
mod runs;
mod shell;
mod strangers;
mod verified;
