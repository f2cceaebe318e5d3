//! Black-box tests: the built binary between a caller that controls every byte and an upstream that keeps every byte.
//!
//! One module for each promise to the user. `support` holds the running gateway, the recording origin and the caller.
//! Tests wait by asking again until a deadline, never by sleeping; they run in parallel and share nothing.

mod support;

mod access_log;
mod answers;
mod cli;
mod console;
mod credentials;
mod differential;
#[cfg(target_os = "linux")]
mod floods;
mod forwarding;
mod framing;
mod grpc;
mod guesses;
mod http2;
mod http2_upstreams;
mod identity_headers;
mod key_commands;
mod lifecycle;
mod limits_of_size;
mod metrics;
#[cfg(target_os = "linux")]
mod overload;
mod paths;
mod quickstart;
mod rate_limits;
mod reload;
mod rules;
mod secrets;
mod self_service;
mod shutdown;
mod smuggling;
mod store_faults;
mod systems;
mod take_over;
mod tls;
mod upgrade;
mod upstreams;
mod webhook;
