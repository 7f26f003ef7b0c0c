//! With a real server.

mod agents;
mod counts;
mod hostile;
mod kernel_package;
mod refused;
mod server;
