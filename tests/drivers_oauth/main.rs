//! The native driver `oauth`, against a real OpenID Connect server and against fakes.

#![cfg(test)]

mod bench;
mod fake;
mod real;
