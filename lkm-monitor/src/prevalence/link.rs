//! A connection to Redis or Valkey, to one server or to a cluster.

mod allowance;
mod node;
mod slots;
mod socket;
mod tls;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::RangeInclusive,
    rc::Rc,
    time::Duration,
};

use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};

use self::{
    allowance::Allowance,
    node::{Dialer, Node},
    tls::TlsError,
};

/// How the server is reached.
#[derive(Clone)]
pub struct LinkSettings {
    /// `redis://host:port/database`, with TLS `rediss://`. Of a cluster, some of its nodes.
    pub addresses: Vec<String>,
    pub cluster: bool,
    pub user: Option<String>,
    pub password: Option<String>,
    /// PEM: who has signed the server's certificate.
    pub ca: Option<Vec<u8>>,
    /// PEM: our own certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// For all answers of a round trip.
    pub deadline: Duration,
}

/// Why the server does not answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{address}: {source}")]
    Redis { address: String, source: redis::RedisError },
    #[error("{address}: {source}")]
    Tls { address: String, source: TlsError },
    #[error("{address}: it answered something else than the script does")]
    Answer { address: String },
}

/// To open a link: names are looked up, and keys agreed upon, with one node after the other.
const OPENING: Duration = Duration::from_secs(10);

/// Keys of the script: the first arguments of a call.
const KEYS: usize = 2;

/// Open connections: one, or one to each node of a cluster. After an error it is of no use any more.
pub(super) struct Link {
    dialer: Dialer,
    connected: Connected,
    /// For messages.
    address: String,
    deadline: Duration,
}

impl Link {
    /// Connects, and hands over the script.
    pub(super) fn open(settings: &LinkSettings, script: &str) -> Result<Self, LinkError> {
        let address = settings.addresses.join(", ");
        let named = |source| LinkError::Redis { address: address.clone(), source };
        let infos: RedisResult<Vec<_>> = settings.addresses.iter().map(|address| info(settings, address)).collect();
        let infos = infos.map_err(named)?;
        let server = infos.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
        let is_tls = infos.iter().any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
        let tls = is_tls.then(|| tls::client_config(settings)).transpose();
        let tls = tls.map_err(|source| LinkError::Tls { address: address.clone(), source })?;
        let dialer = Dialer { server, tls, allowance: Rc::new(Allowance::new()) };
        let connected = connect(&dialer, &infos, settings.cluster, script).map_err(named)?;
        Ok(Self { dialer, connected, address, deadline: settings.deadline })
    }

    /// Calls the script for each of these, keys first and then arguments, in one round trip to each node; what each returned.
    pub(super) fn call(&mut self, calls: &[Vec<String>]) -> Result<Vec<[u64; 3]>, LinkError> {
        self.dialer.allowance.renew(self.deadline);
        let answers =
            self.exchange(calls).map_err(|source| LinkError::Redis { address: self.address.clone(), source })?;
        let answers = answers.into_iter().map(|answer| <[u64; 3]>::try_from(answer.as_slice()).ok());
        let answers: Option<Vec<_>> = answers.collect();
        answers.ok_or_else(|| LinkError::Answer { address: self.address.clone() })
    }

    /// The answers, in the order of the calls. All nodes have their commands before the first one is waited for.
    fn exchange(&mut self, calls: &[Vec<String>]) -> RedisResult<Vec<Vec<u64>>> {
        let mut calls_of = BTreeMap::<usize, Vec<usize>>::new();
        let commands: Vec<_> = calls.iter().map(|call| self.command(call)).collect();
        for (number, call) in calls.iter().enumerate() {
            calls_of.entry(self.node_of(call)?).or_default().push(number);
        }
        for (node, numbers) in &calls_of {
            let packed: Vec<u8> = numbers.iter().flat_map(|number| commands[*number].get_packed_command()).collect();
            self.connected.nodes[*node].send(&packed)?;
        }
        let mut answers = vec![Vec::new(); calls.len()];
        for (node, numbers) in calls_of {
            for number in numbers {
                let answer = self.connected.nodes[node].receive()?;
                answers[number] = from_redis_value(self.follow(answer, &commands[number])?)?;
            }
        }
        Ok(answers)
    }

    fn command(&self, call: &[String]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.connected.script).arg(KEYS).arg(call);
        command
    }

    fn node_of(&self, call: &[String]) -> RedisResult<usize> {
        let slot = slots::slot(call.first().map_or("", String::as_str));
        let node = self.connected.slots.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, node)| *node);
        node.ok_or_else(|| (ErrorKind::Client, "no node of the cluster has the key").into())
    }

    /// The answer, or that of the node that a slot is on its way to. What has moved for good is found by a new link.
    fn follow(&self, answer: Value, command: &Cmd) -> RedisResult<Value> {
        let error = match answer.extract_error() {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => error,
            answer => return answer,
        };
        let target = error.redirect_node().and_then(|(address, _)| address.rsplit_once(':'));
        let Some((host, Ok(port))) = target.map(|(host, port)| (host, port.parse())) else { return Err(error) };
        let mut node = self.dialer.dial_host(host, port)?;
        node.ask::<()>(&redis::cmd("ASKING"))?;
        node.ask(command)
    }
}

/// What a link is made of.
struct Connected {
    nodes: Vec<Node>,
    /// Which of the nodes has which slots.
    slots: Vec<(RangeInclusive<u16>, usize)>,
    /// The script's digest. All nodes have it.
    script: String,
}

/// By the first address that answers.
fn connect(dialer: &Dialer, infos: &[ConnectionInfo], is_cluster: bool, script: &str) -> RedisResult<Connected> {
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(script);
    let mut failure = (ErrorKind::InvalidClientConfig, "no address is set").into();
    for info in infos {
        dialer.allowance.renew(OPENING);
        let connected = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if is_cluster => {
                connect_cluster(dialer, host, *port, &load)
            }
            address => connect_single(dialer, address, &load),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn connect_single(dialer: &Dialer, address: &ConnectionAddr, load: &Cmd) -> RedisResult<Connected> {
    let mut node = dialer.dial(address)?;
    let script = node.ask(load)?;
    Ok(Connected { nodes: vec![node], slots: vec![(slots::ALL_SLOTS, 0)], script })
}

/// One node knows the others.
fn connect_cluster(dialer: &Dialer, host: &str, port: u16, load: &Cmd) -> RedisResult<Connected> {
    let list = dialer.dial_host(host, port)?.ask(redis::cmd("CLUSTER").arg("SLOTS"))?;
    let mut connected = Connected { nodes: Vec::new(), slots: Vec::new(), script: String::new() };
    let mut numbers = HashMap::new();
    for (slots, address) in slots::shards(list, host)? {
        let number = match numbers.entry(address) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let (host, port) = new.key();
                let mut node = dialer.dial_host(host, *port)?;
                connected.script = node.ask(load)?;
                connected.nodes.push(node);
                *new.insert(connected.nodes.len() - 1)
            }
        };
        connected.slots.push((slots, number));
    }
    Ok(connected)
}

/// Also says whether an address is one.
pub fn info(settings: &LinkSettings, address: &str) -> RedisResult<ConnectionInfo> {
    let info = address.into_connection_info()?;
    let mut server = info.redis_settings().clone();
    if let Some(user) = &settings.user {
        server = server.set_username(user);
    }
    if let Some(password) = &settings.password {
        server = server.set_password(password);
    }
    Ok(info.set_redis_settings(server))
}

impl std::fmt::Debug for LinkSettings {
    /// Without what is secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { addresses, cluster, user, deadline, password: _, ca: _, certificate: _ } = self;
        formatter
            .debug_struct("LinkSettings")
            .field("addresses", addresses)
            .field("cluster", cluster)
            .field("user", user)
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}
