//! Elasticsearch as far as it is asked: `_bulk` into data streams.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::server::{Reply, Request, Response, Server};

/// What a request must say beside the documents.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) authorization: Option<String>,
    pub(crate) gzip: bool,
    pub(crate) data_stream: &'static str,
}

impl Default for Expected {
    fn default() -> Self {
        Self { authorization: None, gzip: true, data_stream: "logs-lkm_monitor.events-default" }
    }
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    None,
    /// These are answered instead, in their order; nothing happens to the documents of which it is said.
    Items(Vec<Outcome>),
    /// Nothing is taken, and that is the answer.
    Instead(Reply),
    /// All are taken, and after so many bytes of the answer the connection is cut.
    Lost(usize),
}

/// What becomes of a document.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is created, or there already.
    Proper,
    /// It is put aside.
    Misfiled,
    /// It is not taken, with this status.
    Error(u16),
}

/// What it holds outlives it: documents by their `_id`.
pub(crate) struct Elasticsearch {
    pub(crate) server: Server,
    held: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    aside: Arc<Mutex<Vec<String>>>,
}

impl Elasticsearch {
    /// `fault` sees the `_id`s of a request, in order, and says what goes wrong with it.
    pub(crate) fn start(expected: Expected, fault: impl FnMut(&[String]) -> Fault + Send + 'static) -> Self {
        let (held, aside) = (Arc::default(), Arc::default());
        let receiver = receiver(expected, fault, &held, &aside);
        Self { server: Server::start(receiver), held, aside }
    }

    /// The documents, by `_id`.
    pub(crate) fn held(&self) -> BTreeMap<String, Vec<u8>> {
        self.held.lock().unwrap().clone()
    }

    /// The `_id`s of those that were put aside.
    pub(crate) fn aside(&self) -> Vec<String> {
        self.aside.lock().unwrap().clone()
    }
}

fn receiver(
    expected: Expected,
    mut fault: impl FnMut(&[String]) -> Fault + Send + 'static,
    held: &Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    aside: &Arc<Mutex<Vec<String>>>,
) -> impl FnMut(&Request) -> Reply + Send + 'static {
    let (held, aside) = (Arc::clone(held), Arc::clone(aside));
    move |request| {
        let documents = expected.documents(request);
        let ids: Vec<_> = documents.iter().map(|(id, _)| id.clone()).collect();
        let fault = fault(&ids);
        let outcomes = match &fault {
            Fault::Instead(reply) => return reply.clone(),
            Fault::Items(outcomes) => outcomes.clone(),
            Fault::None | Fault::Lost(_) => vec![Outcome::Proper; documents.len()],
        };
        let mut held = held.lock().unwrap();
        let mut items = Vec::new();
        for (outcome, (id, json)) in outcomes.into_iter().zip(documents) {
            items.push(match outcome {
                Outcome::Proper if held.contains_key(&id) => error(409),
                Outcome::Proper => {
                    held.insert(id, json);
                    json!({ "create": { "status": 201 } })
                }
                Outcome::Misfiled => {
                    aside.lock().unwrap().push(id);
                    json!({ "create": { "status": 201, "failure_store": "used" } })
                }
                Outcome::Error(status) => error(status),
            });
        }
        let response = Response::new(200, json!({ "items": items }).to_string());
        if let Fault::Lost(bytes) = fault { Reply::Cut(response, bytes) } else { response.into() }
    }
}

fn error(status: u16) -> Value {
    json!({ "create": { "status": status, "error": { "type": format!("kind_{status}"), "reason": "so it is" } } })
}

impl Expected {
    /// Holds the request to the letter, and gives its documents by `_id`.
    fn documents(&self, request: &Request) -> Vec<(String, Vec<u8>)> {
        let path = "/_bulk?filter_path=error,status,items.*.status,items.*.error,items.*.failure_store";
        assert_eq!(request.line, format!("POST {path} HTTP/1.1"));
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(request.header("content-encoding"), self.gzip.then_some("gzip"));
        assert_eq!(request.header("authorization"), self.authorization.as_deref());
        let lines: Vec<_> = request.body.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(!lines.is_empty() && lines.len() % 2 == 0, "{} lines", lines.len());
        let document = |pair: &[&[u8]]| {
            let (action, json) = (pair[0], pair[1].strip_suffix(b"\n").expect("the last line ends"));
            let parsed: Value = serde_json::from_slice(json).unwrap();
            let id = parsed["event"]["id"].as_str().unwrap().to_owned();
            let expected = format!("{{\"create\":{{\"_index\":\"{}\",\"_id\":\"{id}\"}}}}\n", self.data_stream);
            assert_eq!(String::from_utf8_lossy(action), expected);
            (id, json.to_owned())
        };
        lines.chunks(2).map(document).collect()
    }
}
