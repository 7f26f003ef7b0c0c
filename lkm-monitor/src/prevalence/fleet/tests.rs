//! With a real server.

mod agents;
mod counts;
mod refused;
mod server;
