//! One POST to a receiver: bounded in time, and in what is kept of the answer.
//!
//! Redirects are not followed, and proxies of the environment are not asked: documents go to whom the configuration names.

mod answer;
mod credentials;

use std::{
    io::{self, Read, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::{
    Agent, SendBody,
    http::header,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts},
};

pub(super) use self::answer::{Answer, excerpt};
pub use self::credentials::{Credentials, CredentialsError, Scheme};
use super::{
    Failure,
    tls::{self, ClientCertificate, TlsError, TlsFiles},
};
use crate::config::sinks::TlsConfig;

/// What is written at once. A write may take the time that is left, and what it leaves over has that time again: little, so that a
/// receiver that reads slowly gains next to nothing.
const OUTPUT_BYTES: usize = 16 << 10;

/// How a receiver is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Of one receiver: at least one. They are tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// For a batch: looking up names, connecting, sending, and the whole answer.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// A proxy to go through.
    pub proxy: Option<ureq::Proxy>,
    /// Read before connecting, when an endpoint is `https`.
    pub tls: TlsConfig,
    /// What shows that we may.
    pub credentials: Option<Credentials>,
}

/// Where a receiver listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host, port and a path, to which a sink adds its own.
    pub base: String,
    /// Host and port: what reasons say. A path may be a secret.
    pub name: String,
}

/// What is sent.
pub(super) struct Request<'a> {
    /// Behind the endpoint's base.
    pub(super) path: &'a str,
    pub(super) content_type: &'static str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: &'a [u8],
}

/// The connections to one receiver.
#[derive(Debug)]
pub(super) struct Client {
    settings: HttpSettings,
    /// Gone after an exchange that broke: the next reads the TLS files again, since certificates are renewed.
    agent: Option<Agent>,
    /// The endpoint that comes first.
    endpoint: usize,
}

/// Why no connection can be begun.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] ureq::Error),
}

/// An exchange that came to no answer.
struct Broken {
    reason: String,
    /// The request had been begun.
    sent: bool,
}

impl Client {
    pub(super) fn new(settings: HttpSettings) -> Self {
        Self { settings, agent: None, endpoint: 0 }
    }

    /// When a batch that begins now must be done.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }

    /// The answer of the first endpoint that gives one. As soon as a request was begun, no other endpoint is asked: that one may have it.
    ///
    /// When the receiver does not know who we are, and the file has another key by now, it is asked once more.
    pub(super) fn post(&mut self, request: &Request<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let compressed = if self.settings.gzip { Some(gzip(request.body).map_err(failed)?) } else { None };
        let body = compressed.as_deref().unwrap_or(request.body);
        let mut renewed = false;
        let mut left = self.settings.endpoints.len();
        loop {
            let result = self.exchange(request, body, deadline, left);
            let name = &self.settings.endpoints[self.endpoint].name;
            match result {
                Ok(answer) if answer.is_unauthorized() && !renewed => match &mut self.settings.credentials {
                    Some(credentials) => match credentials.renew() {
                        Ok(true) => renewed = true,
                        Ok(false) => return Ok(answer),
                        Err(error) => return Err(failed(format!("{name}: {}; {error}", answer.failure().reason))),
                    },
                    None => return Ok(answer),
                },
                Ok(answer) => {
                    if answer.status >= 500 {
                        self.next_endpoint();
                    }
                    return Ok(answer);
                }
                Err(broken) => {
                    let reason = format!("{name}: {}", broken.reason);
                    self.agent = None;
                    self.next_endpoint();
                    left -= 1;
                    if broken.sent || left == 0 {
                        return Err(Failure { reason, maybe_taken: broken.sent, retry_after: None });
                    }
                }
            }
        }
    }

    fn next_endpoint(&mut self) {
        self.endpoint = (self.endpoint + 1) % self.settings.endpoints.len();
    }

    /// Asks the endpoint that comes first. Connecting may take its share of the time, so that others are left some.
    fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &[u8],
        deadline: Instant,
        endpoints_left: usize,
    ) -> Result<Answer, Broken> {
        let unsent = |reason: String| Broken { reason, sent: false };
        let endpoint = &self.settings.endpoints[self.endpoint];
        let agent = match &mut self.agent {
            Some(agent) => agent,
            none => none.insert(open(&self.settings).map_err(|error| unsent(error.to_string()))?),
        };
        let time = deadline.saturating_duration_since(Instant::now());
        let share = time / u32::try_from(endpoints_left).unwrap_or(u32::MAX).max(1);
        let mut post = agent.post(format!("{}{}", endpoint.base, request.path));
        for (name, value) in request.headers {
            post = post.header(*name, *value);
        }
        if let Some(credentials) = &self.settings.credentials {
            let (name, value) = credentials.header();
            post = post.header(name, value);
        }
        if self.settings.gzip {
            post = post.header(header::CONTENT_ENCODING, "gzip");
        }
        let post = post
            .header(header::CONTENT_TYPE, request.content_type)
            .header(header::CONTENT_LENGTH, body.len())
            .config()
            .timeout_global(Some(time))
            .timeout_resolve(Some(share))
            .timeout_connect(Some(share))
            .build();
        let mut body = Body { rest: body, begun: false };
        let answer = post.send(SendBody::from_reader(&mut body)).map(Answer::read);
        answer.map_err(|error| {
            let late = Instant::now() >= deadline;
            let reason = if late {
                format!("no answer in {:?}", self.settings.timeout)
            } else {
                excerpt(error.to_string().as_bytes())
            };
            Broken { reason, sent: body.begun }
        })
    }
}

/// A request's body, which knows whether any of it was asked for: that is when the receiver may have begun to take documents.
struct Body<'a> {
    rest: &'a [u8],
    begun: bool,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        self.rest.read(buffer)
    }
}

fn open(settings: &HttpSettings) -> Result<Agent, OpenError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(settings.proxy.clone())
        .user_agent(concat!("lkm-monitor/", env!("CARGO_PKG_VERSION")))
        .output_buffer_size(OUTPUT_BYTES)
        .accept("application/json");
    if settings.endpoints.iter().any(Endpoint::is_tls) {
        config = config.tls_config(tls_config(&TlsFiles::read(&settings.tls)?)?);
    }
    Ok(config.build().new_agent())
}

/// What [`TlsFiles::client_config`] makes, in the client's own terms: it makes its own.
fn tls_config(files: &TlsFiles) -> Result<ureq::tls::TlsConfig, OpenError> {
    let owned = |certificate: &CertificateDer<'_>| Certificate::from_der(certificate).to_owned();
    let authorities = files.authorities.iter().map(owned).collect();
    let client = files.client.as_ref().map(|ClientCertificate { chain, key }| {
        let chain: Vec<_> = chain.iter().map(owned).collect();
        Ok::<_, OpenError>(ClientCert::new_with_certs(&chain, PrivateKey::from_pem(pem(key).as_bytes())?))
    });
    Ok(ureq::tls::TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .client_cert(client.transpose()?)
        .unversioned_rustls_crypto_provider(tls::provider())
        .build())
}

/// The one form in which the client takes a key of any kind.
fn pem(key: &PrivateKeyDer<'_>) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(key.secret_der()))
}

impl Endpoint {
    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.base.starts_with("https://")
    }
}

/// Nothing was sent, or nothing of it taken.
fn failed(reason: impl ToString) -> Failure {
    Failure { reason: reason.to_string(), maybe_taken: false, retry_after: None }
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}
