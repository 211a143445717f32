//! The native driver `github`, against a fake that keeps state and refuses what GitHub's published
//! description refuses.

#![cfg(test)]

mod bench;
mod by_value;
mod keys;
mod refusals;
mod signed;

#[path = "../lab/mod.rs"]
mod lab;
