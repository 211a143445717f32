//! The native driver `oauth`, against a real OpenID Connect server and against fakes.

#![cfg(test)]

mod bench;
mod fake;
#[path = "../lab/port.rs"]
mod port;
mod real;
