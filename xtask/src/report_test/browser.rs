//! Chromium, driven over the WebDriver protocol: HTTP with JSON on loopback.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

const START_DEADLINE: Duration = Duration::from_secs(60);
/// More than the driver itself allows any step.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Within which a condition on the page has to come true.
const CONDITION_MS: u32 = 15_000;
/// By this name the protocol wraps elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const ARGUMENTS: [&str; 10] = [
    "--headless",
    // Containers let root make no sandbox; the page comes from this work tree.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
];

/// A browser with one page. It ends with this.
#[derive(Debug)]
pub(super) struct Browser {
    driver: Driver,
    session: String,
    /// The browser's own process, should the driver not end it.
    pid: Option<u64>,
}

/// The process that the browser is asked through.
#[derive(Debug)]
struct Driver {
    process: Child,
    port: u16,
}

impl Browser {
    /// With a profile of its own, in a folder that is new.
    pub(super) fn start(profile: &Path) -> Result<Self> {
        let driver = Driver::start()?;
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "performance": "ALL" },
            "timeouts": { "script": CONDITION_MS },
        });
        let answer = driver.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }))?;
        let session = answer["sessionId"].as_str().context("the driver named no session")?.to_owned();
        let pid = answer["capabilities"]["goog:processID"].as_u64();
        Ok(Self { driver, session, pid })
    }

    pub(super) fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// What a function body returns.
    pub(super) fn evaluate(&self, body: &str) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// Returns as soon as an expression is true.
    pub(super) fn wait_for(&self, expression: &str) -> Result<()> {
        let script = format!(
            "const done = arguments[0]; const look = () => ({expression}) ? done() : requestAnimationFrame(look); look();"
        );
        self.post("execute/async", &json!({ "script": script, "args": [] })).map(drop).with_context(|| {
            let seen = self.evaluate("return location.hash + ' ' + document.activeElement.outerHTML.slice(0, 200)");
            format!("it does not become true: {expression}; the page is at {seen:?}")
        })
    }

    /// As a mouse does.
    pub(super) fn click(&self, selector: &str) -> Result<()> {
        self.post(&format!("element/{}/click", self.element(selector)?), &json!({})).map(drop)
    }

    /// As a keyboard does, with the element in focus.
    pub(super) fn enter(&self, selector: &str, keys: &str) -> Result<()> {
        self.post(&format!("element/{}/value", self.element(selector)?), &json!({ "text": keys })).map(drop)
    }

    pub(super) fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.post("window/rect", &json!({ "width": width, "height": height })).map(drop)
    }

    /// A picture of what the window shows, as PNG in base64.
    pub(super) fn screenshot(&self) -> Result<String> {
        let path = format!("/session/{}/screenshot", self.session);
        self.driver.ask("GET", &path, &Value::Null)?.as_str().map(str::to_owned).context("no picture")
    }

    /// What a page has asked for, itself with it, since this was called last. The browser's own pages ask for much.
    pub(super) fn requests(&self, page: &str) -> Result<Vec<String>> {
        let log = self.post("se/log", &json!({ "type": "performance" }))?;
        let mut urls = Vec::new();
        for entry in log.as_array().context("the log is no list")? {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            let (method, facts) = (&event["message"]["method"], &event["message"]["params"]);
            if *method == "Network.requestWillBeSent" && facts["documentURL"] == page {
                urls.extend(facts["request"]["url"].as_str().map(str::to_owned));
            }
        }
        Ok(urls)
    }

    fn element(&self, selector: &str) -> Result<String> {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }))?;
        found[ELEMENT].as_str().map(str::to_owned).with_context(|| format!("no {selector}"))
    }

    fn post(&self, what: &str, body: &Value) -> Result<Value> {
        self.driver.ask("POST", &format!("/session/{}/{what}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if self.driver.ask("DELETE", &format!("/session/{}", self.session), &Value::Null).is_err() {
            let _ = self.pid.map(|pid| Command::new("kill").arg(pid.to_string()).status());
        }
    }
}

impl Driver {
    fn start() -> Result<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromedriver")?;
        let output = process.stdout.take().context("chromedriver has no output")?;
        let mut driver = Self { process, port: 0 };
        let (send, receive) = mpsc::channel();
        // To the end, so that it never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let port = line
                    .split_once("started successfully on port ")
                    .map(|(_, port)| port.trim_end_matches('.').parse());
                if let Some(Ok(port)) = port {
                    // Nobody listens when it came too late.
                    let _ = send.send(port);
                }
            }
        });
        driver.port = receive.recv_timeout(START_DEADLINE).context("chromedriver names no port")?;
        Ok(driver)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("chromedriver is gone")?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).with_context(|| format!("no answer to {method} {path}"))?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((_, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => {
                bail!("{error}: {}", value["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default())
            }
            None => Ok(value),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
