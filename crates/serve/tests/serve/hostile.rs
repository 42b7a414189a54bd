//! Clients that are slow, stop halfway, send garbage, or are many: bounded, while others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::images::digits;
use crate::predict::assert_is;
use crate::server::{self, PATIENCE, Server};

fn is_served(server: &Server) {
    let image = &digits(1)[0];
    let start = Instant::now();
    assert_is(
        &server.post("/predict", &[], &image.bytes).json()["predictions"][0],
        image,
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

/// What a connection is answered until it is closed.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset is closed too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn slow_and_half_requests_are_ended() {
    let args = [
        &server::digits()[..],
        "--idle-timeout",
        "1",
        "--body-timeout",
        "2",
    ];
    let server = Server::start(&args);
    let send = |text: &str| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let start = Instant::now();
    let silent: Vec<_> = (0..100).map(|_| send("")).collect();
    let heads: Vec<_> = (0..100).map(|_| send("POST /predict HT")).collect();
    let bodies: Vec<_> = (0..100)
        .map(|_| send("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"))
        .collect();
    is_served(&server);
    for stream in silent {
        assert_eq!(rest(stream), "");
    }
    for stream in heads {
        let text = rest(stream);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{text}"
        );
    }
    for stream in bodies {
        let text = rest(stream);
        assert!(
            text.starts_with("HTTP/1.1 408") && text.contains("did not arrive"),
            "{text}"
        );
    }
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    // Clients that go away halfway.
    for _ in 0..100 {
        drop(send(
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
        ));
    }
    is_served(&server);
}

#[test]
fn garbage_is_refused() {
    let server = Server::start(&[&server::digits(), "--idle-timeout", "2"]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000));
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame of HTTP/2",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        headers.as_bytes(),
    ] {
        let mut stream = server.connect();
        // The server may have answered and closed before all of it is sent.
        let _ = stream.write_all(garbage);
        let text = rest(stream);
        assert!(!text.contains("HTTP/1.1 200"), "{text}");
    }
    for path in [
        "/%ff%fe",
        "/v2/models/%00",
        "/v2/models/..%2f..%2fetc",
        "//",
        "/v2/models/a/versions/-1",
    ] {
        let answer = server.get(path);
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.status
        );
    }
    is_served(&server);
}

#[test]
fn bodies_together_take_bounded_memory() {
    let args = [
        &server::digits()[..],
        "--max-body",
        "8",
        "--max-memory",
        "16",
        "--body-timeout",
        "20",
    ];
    let server = Server::start(&args);
    let megabytes = vec![0; 6 << 20];
    let mut busy = 0;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect();
        stream
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            7 << 20
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The last of it never comes.
        if stream.write_all(&megabytes).is_err() {
            busy += 1;
        }
        open.push(stream);
    }
    let mut refused = 0;
    for mut stream in open {
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut start = [0; 12];
        if stream.read_exact(&mut start).is_ok() {
            assert_eq!(&start, b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert!(refused + busy >= 5, "{refused} were refused, {busy} ended");
    is_served(&server);
    #[cfg(target_os = "linux")]
    assert!(server.memory() < 300_000, "{} kB", server.memory());
}

#[test]
fn others_are_served_beside_many_idle_connections() {
    let server = Server::start(&[&server::digits(), "--idle-timeout", "30"]);
    // As many as a process may have by default, without those of the test itself.
    let idle: Vec<_> = (0..800).map(|_| server.connect()).collect();
    is_served(&server);
    let metrics = server.get("/metrics").text();
    let line = metrics
        .lines()
        .find(|it| it.starts_with("kiln_connections "))
        .unwrap();
    let open: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(open >= idle.len(), "{line}");
}

#[test]
#[cfg(target_os = "linux")]
fn connections_that_come_at_once_wait_for_their_turn() {
    let server = Server::start(&[&server::digits()]);
    // A server that does nothing for a while, as on a machine with other work.
    server.signal("STOP");
    // Where there is no place, the system tries again after a second.
    let soon = Duration::from_millis(900);
    let waiting: Vec<_> = (0..400)
        .map(|_| TcpStream::connect_timeout(&server.address, soon))
        .collect();
    server.signal("CONT");
    for stream in &waiting {
        assert!(stream.is_ok(), "{stream:?}");
    }
    is_served(&server);
    drop(waiting);
}
