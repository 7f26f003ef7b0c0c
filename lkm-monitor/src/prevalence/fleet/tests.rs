//! With a real server.

mod agents;
mod counts;
mod kernel_package;
mod refused;
mod server;
