//! Sinks that speak HTTP: what is taken, and how mistakes are named.

use std::time::Duration;

use super::{HttpError, SinkConfig};
use crate::sinks::{
    fake::certificates::{Authority, Folder},
    http::Endpoint,
};

const TIMEOUT: Duration = Duration::from_secs(30);

fn parse(text: &str) -> SinkConfig {
    toml::from_str(text).unwrap()
}

fn told<T>(result: Result<T, Vec<HttpError>>) -> Vec<String> {
    result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn elasticsearch(text: &str) -> Vec<String> {
    told(parse(&format!("[elasticsearch]\n{text}")).elasticsearch.unwrap().settings(TIMEOUT))
}

fn splunk(text: &str) -> Vec<String> {
    told(parse(&format!("[splunk]\n{text}")).splunk.unwrap().settings(TIMEOUT))
}

fn webhook(text: &str) -> Vec<String> {
    told(parse(&format!("[webhook]\n{text}")).webhook.unwrap().settings(TIMEOUT))
}

#[test]
fn every_key_is_taken() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let own = authority.sign("sensor");
    let (secret, ca) = (folder.with("secret", "X-Key: hush\n"), folder.with("ca", &authority.pem()));
    let (certificate, key) = (folder.with("own.pem", &own.certificate), folder.with("own.key", &own.key));
    let (secret, ca) = (secret.display(), ca.display());
    let tls = format!(
        "{{ ca_file = '{ca}', certificate_file = '{}', key_file = '{}' }}",
        certificate.display(),
        key.display()
    );
    let common = format!("gzip = false\nproxy = 'http://proxy:3128'\ntls = {tls}\n");
    let endpoints = "endpoints = ['https://a:1', 'https://b/path/']\n";
    let users = format!("user = 'siem'\npassword_file = '{secret}'\n");
    let none: Vec<String> = Vec::new();
    assert_eq!(elasticsearch(&format!("{endpoints}data_stream = 'logs-x-y'\n{users}{common}")), none);
    assert_eq!(elasticsearch(&format!("{endpoints}api_key_file = '{secret}'\n{common}")), none);
    let texts = "index = 'i'\nsource = 's'\nsourcetype = 't'\nacknowledge = true\n";
    let one = "endpoints = ['https://a']\n";
    assert_eq!(splunk(&format!("{one}token_file = '{secret}'\n{texts}{common}")), none);
    let config =
        parse(&format!("[webhook]\nurl = 'https://a/b?c=d'\nformat = 'ndjson'\nheader_file = '{secret}'\n{common}"));
    let settings = config.webhook.unwrap().settings(TIMEOUT).unwrap();
    assert_eq!((settings.http.timeout, settings.http.endpoints[0].name.as_str()), (TIMEOUT, "a"));
    assert_eq!(settings.http.endpoints[0].base, "https://a/b?c=d");
    assert!(!format!("{settings:?}").contains("hush"));
    let config = parse(&format!("[elasticsearch]\nendpoints = ['HTTPS://A/b//']\ntls.ca_file = '{ca}'\n"));
    let settings = config.elasticsearch.unwrap().settings(TIMEOUT).unwrap();
    assert_eq!(settings.http.endpoints[0], Endpoint { base: "https://A/b".to_owned(), name: "A".to_owned() });
}

#[test]
fn all_mistakes_are_named_at_once() {
    assert_eq!(
        elasticsearch(
            "endpoints = ['es:9200', 'https://a:0x']\nuser = 'a:b'\npassword_file = '/x'\ndata_stream = 'Logs'\n"
        ),
        [
            "user: `a:b`: it must be a name without a colon",
            "data_stream: `Logs`: it is no name of a data stream",
            "endpoints: `es:9200`: it must begin with http:// or https:// and a host",
            "endpoints: `https://a:0x`: its port is none",
        ]
    );
    assert_eq!(
        splunk("source = ''\nindex = ''\n"),
        ["token_file is missing", "source is empty", "index is empty", "endpoints is missing"]
    );
    assert_eq!(webhook("header_file = '/none'\n").len(), 2);
}

#[test]
fn mistakes_are_named() {
    let to_host = "endpoints = ['http://a']\n";
    let one = |told: Vec<String>| {
        assert_eq!(told.len(), 1, "{told:?}");
        told.into_iter().next().unwrap()
    };
    let es = |text: &str| one(elasticsearch(&format!("{to_host}{text}")));
    assert_eq!(es("user = 'a'\n"), "user is set without password_file");
    assert_eq!(es("password_file = '/a'\n"), "password_file is set without user");
    assert_eq!(es("api_key_file = '/a'\nuser = 'a'\n"), "api_key_file and user are both set");
    assert!(es("api_key_file = '/none'\n").starts_with("api_key_file: /none: No such file"));
    assert_eq!(es("tls = { ca_file = '/a' }\n"), "tls is set, but endpoints has no address that begins with https://");
    assert_eq!(es("proxy = 'https://a'\n"), "proxy: `https://a`: it must begin with http://");
    assert!(
        one(elasticsearch("endpoints = ['https://a']\ntls.ca_file = '/none'\n")).starts_with("tls.ca_file: /none: ")
    );
    let query = one(elasticsearch("endpoints = ['http://a/?b']\n"));
    assert_eq!(query, "endpoints: `http://a/...`: it must not have a query");
    let secret = one(webhook("url = 'http://me:hush@a'\n"));
    assert_eq!(secret, "url: it holds a user or a password, which belong into a file");
    let folder = Folder::new();
    let token = format!("token_file = '{}'\n", folder.with("token", "1-2\n").display());
    let several = one(splunk(&format!("endpoints = ['http://a', 'http://b']\nacknowledge = true\n{token}")));
    assert_eq!(several, "acknowledge and more than one of endpoints are both set");
    let unknown = toml::from_str::<SinkConfig>("[webhook]\nurl = 'http://a'\nmethod = 'PUT'\n").unwrap_err();
    assert!(unknown.to_string().contains("unknown field `method`"));
}

#[test]
fn an_address_that_is_a_secret_stands_in_a_file_and_is_not_told() {
    let folder = Folder::new();
    let in_file = |address: &str| format!("url_file = '{}'\n", folder.with("url", address).display());
    let config = parse(&format!("[webhook]\n{}", in_file("https://a/hush?b\n"))).webhook.unwrap();
    assert_eq!(config.settings(TIMEOUT).unwrap().http.endpoints[0].base, "https://a/hush?b");
    assert_eq!(
        webhook(&in_file("ftp://a/hush")),
        ["url_file: `ftp://a/...`: it must begin with http:// or https:// and a host"]
    );
    let malformed = webhook("url = 'https://a\\hush'\n");
    assert!(malformed.len() == 1 && malformed[0].starts_with("url: `https://a/...`: "), "{malformed:?}");
    assert_eq!(webhook("url = 'https://a:0x/hush'\n"), ["url: `https://a:0x/...`: its port is none"]);
    let both = format!("url = 'https://a'\n{}tls = {{ ca_file = '/none' }}\n", in_file("https://a"));
    assert_eq!(webhook(&both), ["url and url_file are both set"]);
    assert_eq!(webhook("url_file = '/none'\n").len(), 1);
}
