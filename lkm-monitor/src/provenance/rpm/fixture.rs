//! Headers and databases as rpm writes them, for tests.

use std::path::Path;

use rusqlite::{Connection, params};

use super::header::{kind, tag};

/// A header that grows.
#[derive(Default)]
pub(crate) struct Builder {
    entries: Vec<[u32; 4]>,
    data: Vec<u8>,
}

impl Builder {
    pub(crate) fn text(self, tag: u32, text: &str) -> Self {
        self.entry(tag, kind::STRING, 1, 1, format!("{text}\0").as_bytes())
    }

    pub(crate) fn texts(self, tag: u32, texts: &[&str]) -> Self {
        let data: String = texts.iter().flat_map(|text| [text, "\0"]).collect();
        self.entry(tag, kind::STRING_ARRAY, texts.len(), 1, data.as_bytes())
    }

    pub(crate) fn numbers(self, tag: u32, numbers: &[u32]) -> Self {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.entry(tag, kind::INT32, numbers.len(), 4, &data)
    }

    pub(crate) fn shorts(self, tag: u32, numbers: &[u16]) -> Self {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.entry(tag, kind::INT16, numbers.len(), 2, &data)
    }

    pub(crate) fn bytes(self, tag: u32, bytes: &[u8]) -> Self {
        self.entry(tag, kind::CHAR, bytes.len(), 1, bytes)
    }

    fn entry(mut self, tag: u32, kind: u32, count: usize, align: usize, data: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(align), 0);
        self.entries.push([tag, kind, self.data.len() as u32, count as u32]);
        self.data.extend_from_slice(data);
        self
    }

    pub(crate) fn build(self) -> Vec<u8> {
        let head = [self.entries.len() as u32, self.data.len() as u32];
        let numbers = head.into_iter().chain(self.entries.into_iter().flatten());
        numbers.flat_map(u32::to_be_bytes).chain(self.data).collect()
    }
}

/// A file of a package: folder, name, digest and mode.
pub(crate) struct File<'a> {
    pub(crate) folder: &'a str,
    pub(crate) name: &'a str,
    pub(crate) digest: &'a str,
}

/// Version 1.2, release 3, for x86_64.
pub(crate) fn package(name: &str, files: &[File<'_>]) -> Builder {
    Builder::default()
        .text(tag::NAME, name)
        .text(tag::VERSION, "1.2")
        .text(tag::RELEASE, "3")
        .text(tag::ARCH, "x86_64")
        .shorts(tag::FILE_MODES, &vec![0o100_644; files.len()])
        .texts(tag::FILE_DIGESTS, &files.iter().map(|file| file.digest).collect::<Vec<_>>())
        .numbers(tag::FILE_DIGEST_ALGO, &[8])
        .numbers(tag::DIR_INDEXES, &(0..files.len() as u32).collect::<Vec<_>>())
        .texts(tag::BASE_NAMES, &files.iter().map(|file| file.name).collect::<Vec<_>>())
        .texts(tag::DIR_NAMES, &files.iter().map(|file| file.folder).collect::<Vec<_>>())
}

/// Creates the tables that are read, as rpm does.
pub(crate) fn create(path: &Path) -> Connection {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    let tables = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
        CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL,
            FOREIGN KEY (hnum) REFERENCES Packages(hnum));
        CREATE INDEX Basenames_key_idx ON Basenames(key ASC);";
    connection.execute_batch(tables).unwrap();
    connection
}

pub(crate) fn insert(connection: &Connection, header: &[u8], names: &[&[u8]]) {
    connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [header]).unwrap();
    let package = connection.last_insert_rowid();
    for (name, file) in names.iter().zip(0_u32..) {
        connection
            .execute("INSERT INTO Basenames VALUES (CAST(?1 AS TEXT), ?2, ?3)", params![name, package, file])
            .unwrap();
    }
}
