//! A connection to Redis or Valkey, to one server or to a cluster.

use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates,
    cluster::{ClusterClient, ClusterConnection, cluster_pipe},
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
    /// For an answer.
    pub deadline: Duration,
}

/// Why the server does not answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{address}: {source}")]
    Redis { address: String, source: redis::RedisError },
    #[error("{address}: it answered something else than the script does")]
    Answer { address: String },
}

/// For a connection: longer than for an answer, since names are looked up and keys agreed upon.
const CONNECT: Duration = Duration::from_secs(3);

/// Keys of the script: the first arguments of a call.
const KEYS: usize = 2;

/// An open connection.
pub(super) struct Link {
    server: Server,
    address: String,
    script: String,
}

enum Server {
    Single(Box<redis::Connection>),
    Cluster(Box<ClusterConnection>),
}

impl Link {
    /// Connects, and hands over the script.
    pub(super) fn open(settings: &LinkSettings, script: &str) -> Result<Self, LinkError> {
        let address = settings.addresses.join(", ");
        let named = |source| LinkError::Redis { address: address.clone(), source };
        let mut server = connect(settings).map_err(named)?;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script);
        let script = match &mut server {
            Server::Single(connection) => load.query(connection.as_mut()),
            Server::Cluster(connection) => load.query(connection.as_mut()),
        };
        Ok(Self { script: script.map_err(named)?, server, address })
    }

    /// Calls the script for each of these, keys first and then arguments, in one round trip to each node; what each returned.
    pub(super) fn call(&mut self, calls: &[Vec<String>]) -> Result<Vec<[u64; 3]>, LinkError> {
        let answers: Result<Vec<Vec<u64>>, _> = match &mut self.server {
            Server::Single(connection) => {
                let mut pipe = redis::pipe();
                for call in calls {
                    pipe.cmd("EVALSHA").arg(&self.script).arg(KEYS).arg(call);
                }
                pipe.query(connection.as_mut())
            }
            Server::Cluster(connection) => {
                let mut pipe = cluster_pipe();
                for call in calls {
                    pipe.cmd("EVALSHA").arg(&self.script).arg(KEYS).arg(call);
                }
                pipe.query(connection.as_mut())
            }
        };
        let answers = answers.map_err(|source| LinkError::Redis { address: self.address.clone(), source })?;
        let answers = answers.into_iter().map(|answer| <[u64; 3]>::try_from(answer.as_slice()).ok());
        let answers: Option<Vec<_>> = answers.collect();
        answers
            .filter(|answers| answers.len() == calls.len())
            .ok_or_else(|| LinkError::Answer { address: self.address.clone() })
    }
}

fn connect(settings: &LinkSettings) -> redis::RedisResult<Server> {
    let infos: Vec<_> = settings.addresses.iter().map(|address| info(settings, address)).collect::<Result<_, _>>()?;
    if settings.cluster {
        let mut builder =
            ClusterClient::builder(infos).connection_timeout(CONNECT).response_timeout(settings.deadline).retries(1);
        if let Some(certificates) = certificates(settings) {
            builder = builder.certs(certificates);
        }
        return Ok(Server::Cluster(Box::new(builder.build()?.get_connection()?)));
    }
    let mut failure = None;
    for info in infos {
        match single(settings, info) {
            Ok(connection) => return Ok(Server::Single(Box::new(connection))),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| (redis::ErrorKind::InvalidClientConfig, "no address is set").into()))
}

fn single(settings: &LinkSettings, info: ConnectionInfo) -> redis::RedisResult<redis::Connection> {
    let client = match certificates(settings) {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    let connection = client.get_connection_with_timeout(CONNECT)?;
    connection.set_read_timeout(Some(settings.deadline))?;
    connection.set_write_timeout(Some(settings.deadline))?;
    Ok(connection)
}

/// Also says whether an address is one.
pub fn info(settings: &LinkSettings, address: &str) -> redis::RedisResult<ConnectionInfo> {
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

fn certificates(settings: &LinkSettings) -> Option<TlsCertificates> {
    let is_tls = settings.addresses.iter().any(|address| address.starts_with("rediss://"));
    let own = settings.certificate.clone();
    let client_tls = own.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    is_tls.then(|| TlsCertificates { client_tls, root_cert: settings.ca.clone() })
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
