//! A connection to one server, or to one node of a cluster.
//!
//! The crate's own one reads an answer however long it is, and counts its time anew with each byte.

use std::{io::Write as _, rc::Rc, sync::Arc};

use redis::{
    Cmd, ConnectionAddr, ErrorKind, FromRedisValue, Parser, RedisConnectionInfo, RedisResult, Value, from_redis_value,
};
use rustls::ClientConfig;

use super::{
    allowance::Allowance,
    socket::{Socket, Stream},
};

/// How nodes are reached: all of them in the same way.
pub(super) struct Dialer {
    pub(super) server: RedisConnectionInfo,
    /// `None` without TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) allowance: Rc<Allowance>,
}

/// After an error it is of no use any more: the next answer may be that to another command.
pub(super) struct Node {
    stream: Stream,
    parser: Parser,
}

impl Dialer {
    pub(super) fn dial(&self, address: &ConnectionAddr) -> RedisResult<Node> {
        match address {
            ConnectionAddr::Unix(path) => self.greet(Stream::Plain(Socket::unix(path, &self.allowance)?)),
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => self.dial_host(host, *port),
            _ => Err((ErrorKind::InvalidClientConfig, "such an address is not supported").into()),
        }
    }

    pub(super) fn dial_host(&self, host: &str, port: u16) -> RedisResult<Node> {
        let socket = Socket::tcp(host, port, &self.allowance)?;
        self.greet(match &self.tls {
            Some(tls) => socket.encrypted(host, Arc::clone(tls))?,
            None => Stream::Plain(socket),
        })
    }

    fn greet(&self, stream: Stream) -> RedisResult<Node> {
        let mut node = Node { stream, parser: Parser::new() };
        if let Some(password) = self.server.password() {
            let mut login = redis::cmd("AUTH");
            if let Some(user) = self.server.username() {
                login.arg(user);
            }
            node.ask::<()>(login.arg(password)).map_err(|error| match error.is_io_error() {
                true => error,
                false => (ErrorKind::AuthenticationFailed, "authentication failed", error.to_string()).into(),
            })?;
        }
        if self.server.db() != 0 {
            node.ask::<()>(redis::cmd("SELECT").arg(self.server.db()))?;
        }
        Ok(node)
    }
}

impl Node {
    /// Sends one command, and waits for its answer. What the server refuses is an error.
    pub(super) fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        self.send(&command.get_packed_command())?;
        Ok(from_redis_value(self.receive()?.extract_error()?)?)
    }

    /// Sends packed commands. To each belongs one [`Self::receive`].
    pub(super) fn send(&mut self, commands: &[u8]) -> RedisResult<()> {
        self.stream.write_all(commands)?;
        Ok(self.stream.flush()?)
    }

    /// The next answer, which may be a refusal.
    pub(super) fn receive(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut self.stream)
    }
}
