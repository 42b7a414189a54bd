//! What the tests share: small assets, archives, a web server and fake package clients.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use kiln_util::{CancelToken, Hex};

use crate::{Asset, AssetFile, Progress, Source};

pub(crate) fn sha256_hex(content: &[u8]) -> String {
    Hex(&kiln_util::sha256(content).unwrap()).to_string()
}

/// A token that was cancelled already.
pub(crate) fn cancelled() -> CancelToken {
    let token = CancelToken::new();
    token.cancel();
    token
}

pub(crate) fn file(name: &str, content: &[u8]) -> AssetFile {
    AssetFile {
        name: name.into(),
        size: content.len() as u64,
        sha256: sha256_hex(content),
    }
}

pub(crate) fn asset(files: &[(&str, &[u8])], sources: Vec<Source>) -> Asset {
    Asset {
        name: "toy".into(),
        version: "1".into(),
        license: "none".into(),
        origin: "a test".into(),
        files: files
            .iter()
            .map(|(name, content)| file(name, content))
            .collect(),
        sources,
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        // `set_path` refuses what an attacker would write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Writes a shell script that passes for a program.
#[cfg(unix)]
pub(crate) fn script(folder: &std::path::Path, name: &str, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Remembers what it is told.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    messages: Vec<String>,
    open: i32,
    bytes: u64,
}

impl Recorder {
    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().messages.clone()
    }

    /// Bytes advanced in all steps; checks that every step has finished.
    pub(crate) fn bytes(&self) -> u64 {
        let told = self.0.lock().unwrap();
        assert_eq!(told.open, 0);
        told.bytes
    }
}

impl Progress for Recorder {
    fn begin(&self, _what: &str, _total: Option<u64>) {
        let mut told = self.0.lock().unwrap();
        assert_eq!(told.open, 0, "steps do not nest");
        told.open += 1;
    }

    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().bytes += bytes;
    }

    fn finish(&self) {
        self.0.lock().unwrap().open -= 1;
    }

    fn message(&self, text: &str) {
        let mut told = self.0.lock().unwrap();
        assert_eq!(told.open, 0, "messages come between steps");
        told.messages.push(text.into());
    }

    fn detail(&self, text: &str) {
        self.message(text);
    }
}

/// What a client asked the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// First byte wanted, of `Range: bytes=5-`.
    pub(crate) from: Option<usize>,
}

/// A web server on this machine that answers by a function and remembers the requests.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gives the bytes of the whole answer, from the status line on.
    pub(crate) fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        Self::talking(move |request, stream| {
            // A client that has seen enough hangs up.
            let _ = stream.write_all(&answer(request));
        })
    }

    /// `talk` writes the answer itself.
    pub(crate) fn talking(talk: impl Fn(&Request, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&mut stream) else {
                    continue;
                };
                seen.lock().unwrap().push(request.clone());
                talk(&request, &mut stream);
            }
        });
        Self { port, requests }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let from = head.lines().find_map(|line| {
        line.strip_prefix("range: bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    Some(Request {
        path: head.split(' ').nth(1)?.into(),
        from,
    })
}

/// An answer with a status line, headers and a body; the length is that of `whole`, so that a
/// shorter body is a torn one.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The whole of `body`.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body, body.len())
}

/// `body`, or its end if a range is asked for.
pub(crate) fn ranged(request: &Request, body: &[u8]) -> Vec<u8> {
    match request.from {
        None => ok(body),
        Some(from) if from < body.len() => {
            let range = format!(
                "Content-Range: bytes {from}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            );
            answer(
                "206 Partial Content",
                &range,
                &body[from..],
                body.len() - from,
            )
        }
        Some(_) => answer(
            "416 Range Not Satisfiable",
            &format!("Content-Range: bytes */{}\r\n", body.len()),
            b"",
            0,
        ),
    }
}
