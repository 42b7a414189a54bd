//! How a server ends.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::images::digits;
use crate::predict::assert_is;
use crate::server::{self, PATIENCE, Server, answer, exchange};

#[test]
fn on_sigterm_no_accepted_request_is_lost() {
    let server = Server::start(&[&server::digits(), "--grace", "1"]);
    let images = digits(32);
    let (refused, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reset = AtomicUsize::new(0);
    let address = server.address;
    std::thread::scope(|scope| {
        for image in &images {
            let (refused, answered, reset) = (&refused, &answered, &reset);
            scope.spawn(move || {
                loop {
                    match exchange(address, "POST", "/predict", &[], &image.bytes) {
                        Ok(answer) => {
                            assert_is(&answer.json()["predictions"][0], image);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        // Only where nobody listens any more may a connection fail.
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                            refused.store(true, Ordering::Relaxed);
                            return;
                        }
                        // The system may take a connection in the moment in which the program closes its queue, which has
                        // one place then.
                        Err(error) => {
                            assert!(error.to_string().starts_with("0 bytes"), "{error}");
                            reset.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let before = answered.load(Ordering::Relaxed);
        server.signal("TERM");
        server.wait_for("ending: no longer ready, and still answering");
        let health = server.get("/v2/health/ready");
        assert!(health.error(503).contains("not ready"));
        assert_eq!(server.get("/v2/health/live").status, 200);
        assert_eq!(health.header("connection"), Some("close"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(
            answered.load(Ordering::Relaxed) > before,
            "goes on answering"
        );
    });
    assert!(refused.into_inner());
    let reset = reset.into_inner();
    assert!(reset <= 1, "{reset} connections were not taken");
    assert!(server.ended().success());
}

#[test]
fn a_request_that_has_begun_is_answered_at_the_end() {
    let server = Server::start(&[&server::digits(), "--grace", "0"]);
    let image = &digits(1)[0];
    let mut stream = server.connect();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        image.bytes.len()
    );
    let half = image.bytes.len() / 2;
    stream
        .write_all(&[head.as_bytes(), &image.bytes[..half]].concat())
        .unwrap();
    let mut idle = server.connect();
    idle.write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    server.signal("TERM");
    server.wait_for("ending: no longer ready, and still answering");
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(&image.bytes[half..]).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_is(&answer(&bytes).unwrap().json()["predictions"][0], image);
    assert!(server.ended().success());
}

#[test]
fn the_end_is_waited_for_within_a_bound() {
    let server = Server::start(&[&server::digits(), "--grace", "0", "--drain", "1"]);
    let mut stream = server.connect();
    stream
        .write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    server.signal("INT");
    server.wait_for("ended with requests that took too long");
    assert!(server.ended().success());
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
}
