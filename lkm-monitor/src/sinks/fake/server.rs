//! A server of HTTP/1.1 with a connection a thread.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A whole request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `POST /path HTTP/1.1`
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
    /// Of the connections, counted from 0.
    pub(crate) connection: usize,
}

impl Request {
    /// The only header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opening {
    Serve,
    /// It is cut after so many bytes of the request.
    CutAfter(usize),
    /// The request is read more slowly than anybody can wait for.
    ReadSlowly,
}

/// What becomes of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Whole(Response),
    /// The connection is cut after so many of its bytes.
    Cut(Response, usize),
    /// It comes byte by byte.
    Dribble(Response),
    /// Success, and a body without an end.
    Endless,
}

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Whole(response)
    }
}

/// It ends when it is dropped; a test then fails if a request was not as it must be.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

type Answer = Box<dyn FnMut(&Request) -> Reply + Send>;

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    answer: Mutex<Answer>,
    openings: Mutex<VecDeque<Opening>>,
    requests: Mutex<Vec<Request>>,
    wrong: Mutex<Vec<String>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Server {
    /// `answer` asserts what a request must be like.
    pub(crate) fn start(answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_with(None, &[], answer)
    }

    /// The first connections are opened like that, and the others served.
    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        openings: &[Opening],
        answer: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if openings.iter().any(|opening| matches!(opening, Opening::ReadSlowly)) {
            // Whoever writes then waits for each bit of it, and not once for much.
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
        }
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tls,
            answer: Mutex::new(Box::new(answer)),
            openings: Mutex::new(openings.iter().copied().collect()),
            requests: Mutex::default(),
            wrong: Mutex::default(),
            stopped: Mutex::default(),
            stop: Condvar::new(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for (number, stream) in listener.incoming().enumerate() {
                    if *shared.stopped.lock().unwrap() {
                        return;
                    }
                    let (shared, stream) = (Arc::clone(&shared), stream.unwrap());
                    std::thread::spawn(move || shared.connection(number, stream));
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Those that arrived whole.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap() = true;
        self.shared.stop.notify_all();
        drop(TcpStream::connect(self.address));
        let ended = self.accepting.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))));
            let wrong = self.shared.wrong.lock().unwrap();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}

impl Shared {
    fn connection(&self, number: usize, mut stream: TcpStream) {
        // Nobody waits for a client that was forgotten.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let opening = self.openings.lock().unwrap().pop_front().unwrap_or(Opening::Serve);
        let tls = self.tls.clone().map(|config| ServerConnection::new(config).unwrap());
        match (opening, tls) {
            (Opening::Serve, None) => self.serve(number, stream),
            (Opening::Serve, Some(tls)) => self.serve(number, StreamOwned::new(tls, stream)),
            (Opening::CutAfter(bytes), _) => {
                let mut begin = vec![0; bytes];
                let _ = stream.read_exact(&mut begin);
            }
            (Opening::ReadSlowly, None) => self.read_slowly(stream),
            (Opening::ReadSlowly, Some(tls)) => self.read_slowly(StreamOwned::new(tls, stream)),
        }
    }

    /// A while. Whether the test still runs.
    fn pause(&self) -> bool {
        let stopped = self.stopped.lock().unwrap();
        !*self.stop.wait_timeout_while(stopped, Duration::from_millis(20), |stopped| !*stopped).unwrap().0
    }

    fn read_slowly(&self, mut stream: impl Read) {
        let mut few = [0; 1024];
        while stream.read(&mut few).is_ok_and(|read| read > 0) && self.pause() {}
    }

    fn serve(&self, connection: usize, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(read) = read(&mut stream, connection) {
            let Some(request) = self.right(|| read.unpacked()) else { return };
            self.requests.lock().unwrap().push(request.clone());
            let Some(reply) = self.right(|| self.answer.lock().unwrap()(&request)) else { return };
            if !self.reply(stream.get_mut(), &reply) {
                return;
            }
        }
    }

    /// What it returns; what it panics with is noted.
    fn right<T>(&self, asserts: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(asserts));
        self.answer.clear_poison();
        let wrong = |panic: Box<dyn std::any::Any + Send>| {
            panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "something else".to_owned())
        };
        result.map_err(|panic| self.wrong.lock().unwrap().push(wrong(panic))).ok()
    }

    /// Whether the connection goes on.
    fn reply(&self, stream: &mut impl Write, reply: &Reply) -> bool {
        match reply {
            Reply::Whole(response) => stream.write_all(&response.bytes()).and_then(|()| stream.flush()).is_ok(),
            Reply::Cut(response, bytes) => {
                let whole = response.bytes();
                let _ = stream.write_all(&whole[..whole.len().min(*bytes)]).and_then(|()| stream.flush());
                false
            }
            Reply::Dribble(response) => response
                .bytes()
                .iter()
                .all(|byte| stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_ok() && self.pause()),
            Reply::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&[b' '; 65536]).is_ok() {}
                false
            }
        }
    }
}

/// The next request, if there is one.
fn read(stream: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut request = Request { line: line.trim_end().to_owned(), headers, body: Vec::new(), connection };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

impl Request {
    fn unpacked(mut self) -> Self {
        assert!(self.header("content-length").is_some() || self.line.starts_with("CONNECT "), "{self:?}");
        assert_eq!(self.header("transfer-encoding"), None);
        match self.header("content-encoding") {
            Some("gzip") => {
                let mut body = Vec::new();
                flate2::read::GzDecoder::new(self.body.as_slice()).read_to_end(&mut body).unwrap();
                self.body = body;
            }
            other => assert_eq!(other, None),
        }
        self
    }
}
