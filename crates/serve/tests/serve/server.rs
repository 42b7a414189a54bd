//! A server for a test, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for what should be there at once.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A model of 28x28 gray digits, with golden vectors.
pub fn digits() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../inference/examples/digits.onnx");
    path.to_str().unwrap().to_owned()
}

/// A server process; it is killed with this.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Mutex<Receiver<Value>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// A server's command, with a free port and a log that can be read.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln-serve"));
    command.args(args).args(["--port", "0", "--log", "json"]);
    command.env_remove("KILN_SERVE_TOKEN");
    command
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(command(args))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => drop(sender.send(event)),
                    Err(_) => eprintln!("{line}"),
                }
            }
        });
        let mut server = Self {
            child,
            address: "127.0.0.1:0".parse().unwrap(),
            log: Mutex::new(log),
        };
        let listening = server.wait_for("listening");
        server.address = listening["address"].as_str().unwrap().parse().unwrap();
        server.wait_for("ready");
        server
    }

    /// Waits for an event of the log.
    pub fn wait_for(&self, message: &str) -> Value {
        let start = Instant::now();
        let log = self.log.lock().unwrap();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let event = log.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("no event `{message}` in the log"));
            if event["message"] == message {
                return event;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until the process has ended.
    pub fn ended(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.request("POST", path, headers, body)
    }

    /// A request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        exchange(self.address, method, path, headers, body).unwrap()
    }

    /// Resident memory in kB.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request on a connection of its own; an error where there is no whole answer.
pub fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = format!("Content-Length: {}", body.len());
    let first = format!("{method} {path} HTTP/1.1\r\nHost: {address}");
    let lines = [&first[..], "Connection: close", &length];
    let request = [&lines[..], headers, &["", ""]].concat().join("\r\n");
    stream.write_all(request.as_bytes())?;
    // A server that refuses a body has answered before all of it is sent.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    answer(&bytes).ok_or_else(|| {
        let reason = format!("{} bytes, then {read:?}", bytes.len());
        std::io::Error::new(std::io::ErrorKind::UnexpectedEof, reason)
    })
}

/// Reads an answer whose body is all that follows the head.
pub fn answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = bytes[end + 4..].to_vec();
    let length = header_of(&head, "content-length").map(|it| it.parse().unwrap());
    (length.is_none() || length == Some(body.len())).then_some(Answer { status, head, body })
}

fn header_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body of an answer that is one.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The message of an error, which has nothing else.
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let value: Value = serde_json::from_slice(&self.body).unwrap();
        let object = value.as_object().unwrap();
        assert_eq!(object.len(), 1, "{value}");
        object["error"].as_str().unwrap().to_owned()
    }
}
