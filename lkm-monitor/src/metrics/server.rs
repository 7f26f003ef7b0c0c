//! Answers those who ask, in a thread of its own.
//!
//! Each connection gets one answer and a few seconds. There are few at one time: one more takes the place of the oldest, so that those who
//! are slow keep nobody waiting.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use super::{
    Board, Listen,
    listen::{Client, Listener},
    page::{self, Format},
};

/// Who asks at one time.
pub(super) const CLIENTS: usize = 4;
/// For how long somebody may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request.
const REQUEST_BYTES: usize = 16 << 10;
/// How soon it is tried again to listen where another listens, or to take somebody in.
const LISTEN_AGAIN: Duration = Duration::from_secs(60);
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Why nobody can ask at all.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("no thread for metrics: {0}")]
    Thread(io::Error),
    #[error("no runtime for metrics: {0}")]
    Runtime(io::Error),
}

/// Serves what hangs at the board, until the process ends. Whoever holds the place before it keeps only metrics away, and nothing else of the
/// daemon: it is tried again.
pub fn start(listen: Listen, board: Board) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Runtime)?;
    let serve = move || {
        runtime.block_on(async {
            let listener = opened(&listen).await;
            tracing::info!(%listen, "metrics are served");
            serve(&listener, &board, PATIENCE).await;
        });
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(serve).map(drop).map_err(ServerError::Thread)
}

async fn opened(listen: &Listen) -> Listener {
    loop {
        match Listener::open(listen) {
            Ok(listener) => return listener,
            Err(error) => tracing::error!(%error, "metrics cannot be fetched: tried again in a minute"),
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// For ever. Each gets an answer within `patience`, or none.
pub(super) async fn serve(listener: &Listener, board: &Board, patience: Duration) {
    let mut clients = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok(client) => {
                clients.retain(|client: &tokio::task::JoinHandle<()>| !client.is_finished());
                if clients.len() >= CLIENTS
                    && let Some(oldest) = clients.pop_front()
                {
                    oldest.abort();
                }
                clients.push_back(tokio::spawn(attend(client, board.clone(), patience)));
            }
            Err(error) => {
                tracing::warn!(%error, "somebody who asks for metrics cannot be heard");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One request. Who is too slow, or asks what is not HTTP, gets nothing.
async fn attend(client: Box<dyn Client>, board: Board, patience: Duration) {
    let answers = service_fn(|request| answer(&request, &board));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(REQUEST_BYTES)
        .serve_connection(TokioIo::new(client), answers);
    match timeout(patience, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics were not delivered"),
        Err(_) => tracing::debug!("somebody took too long to fetch metrics"),
    }
}

fn answer(request: &Request<Incoming>, board: &Board) -> Ready<Result<Response<String>, Infallible>> {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::of(accept);
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    ready(Ok(match (request.uri().path(), board.last()) {
        ("/metrics", _) if !is_read => {
            let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refusal
        }
        ("/metrics", Some(snapshot)) => match page::write(snapshot, format) {
            Ok(page) => respond(StatusCode::OK, format.content_type(), page),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
        },
        ("/metrics", None) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon has only just started"),
        _ => refuse(StatusCode::NOT_FOUND, "there is only /metrics"),
    }))
}

fn refuse(status: StatusCode, why: &str) -> Response<String> {
    respond(status, "text/plain; charset=utf-8", format!("{why}\n"))
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
