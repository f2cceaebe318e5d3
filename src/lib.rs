//! keygate stands in front of HTTP APIs and lets in only callers with a good API key.
//!
//! Bytes come in on one side ([`server`]), a decision is made in the middle ([`admission`]), bytes go out on the other
//! ([`forward`]). The middle is pure: no I/O, no clock, no `async`, no lock held. The edges do the talking.
//!
//! The modules stand in reading order; a module uses only those that `docs/ARCHITECTURE.md` allows it to, and
//! `tests/architecture.rs` holds it to that. To follow one request from the socket to the upstream and back, start at
//! [`gateway::Gateway::handle`].

#![forbid(unsafe_code)]

// The edges.
pub mod app;
pub mod cli;
pub mod echo;
pub mod forward;
pub mod gateway;
pub mod server;

// The decision: pure, read from memory only.
pub mod admission;
pub mod authentication;
pub mod client;
pub mod credential;
pub mod explain;
pub mod identity;
pub mod keys;
pub mod limit;
pub mod policy;
pub mod routing;
pub mod snapshot;
pub mod upstream;

// Keys have a life.
pub mod admin;
pub mod console;
pub mod management;
pub mod store;
pub mod webhook;

// The rules in force.
pub mod config;
pub mod observatory;
pub mod reload;

// Ground.
pub mod body;
pub mod ops;
pub mod telemetry;
