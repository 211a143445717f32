//! Every fault at every verb of every real server: between the built binary and the server stands a
//! proxy of our own.
//!
//! `ROTATE_WRITE_DOCS=1 cargo test --test faults` writes the table into `docs/reliability.md`.

#![cfg(test)]

#[path = "../rotate/bench.rs"]
#[expect(dead_code, reason = "not all of it is needed here")]
mod bench;
mod cell;
mod expect;
mod fault;
#[path = "../rotate/hosted.rs"]
#[expect(dead_code, reason = "servers of our own are not asked here")]
mod hosted;
#[path = "../lab/mod.rs"]
mod lab;
mod message;
#[path = "../rotate/outcome.rs"]
#[expect(dead_code, reason = "not all of it is needed here")]
mod outcome;
mod page;
mod proxy;
#[path = "../rotate/role.rs"]
#[expect(dead_code, reason = "not all of it is needed here")]
mod role;
#[path = "../rotate/sigv4.rs"]
mod sigv4;
mod site;
mod strangers;
mod table;
mod take_over;
mod tls;
