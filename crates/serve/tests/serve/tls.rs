//! TLS, with a certificate that was made for these tests, and pages of other sites.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::images::digits;
use crate::predict::assert_is;
use crate::server::{self, Server, answer};

fn file(name: &str) -> String {
    format!("{}/tests/serve/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
#[ignore = "needs the program openssl"]
fn requests_go_through_tls() {
    let [certificate, key] = ["certificate.pem", "key.pem"].map(file);
    let digits_file = server::digits();
    let server = Server::start(&[&digits_file, "--tls-cert", &certificate, "--tls-key", &key]);
    let image = &digits(1)[0];
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-servername",
            "localhost",
        ])
        .args([
            "-CAfile",
            &certificate,
            "-connect",
            &server.address.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        image.bytes.len()
    );
    // Held open: at its end the client would leave before the answer.
    let mut stdin = client.stdin.take().unwrap();
    let request = [head.as_bytes(), &image.bytes].concat();
    stdin.write_all(&request).unwrap();
    let mut bytes = Vec::new();
    let mut stdout = client.stdout.take().unwrap();
    stdout.read_to_end(&mut bytes).unwrap();
    drop(stdin);
    client.wait().unwrap();
    let found = answer(&bytes).expect("a whole answer");
    assert_is(&found.json()["predictions"][0], image);
    // Without TLS there is no answer.
    let mut plain = server.connect();
    plain
        .write_all(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes);
    assert!(answer(&bytes).is_none());
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    let [certificate, key, other] = ["certificate.pem", "key.pem", "other_key.pem"].map(file);
    for (certificate, key, expected) in [
        (empty, &key[..], "holds no certificate"),
        (&certificate, empty, "cannot read"),
        (&certificate, &other, "cannot be used"),
    ] {
        let digits = server::digits();
        let args = [&digits[..], "--tls-cert", certificate, "--tls-key", key];
        let output = server::command(&args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn pages_of_other_sites_may_ask_where_they_are_allowed() {
    let allowed = |args: &[&str], origin: &str| {
        let server = Server::start(args);
        let header = format!("Origin: {origin}");
        let answer = server.request("GET", "/v2", &[&header], b"");
        assert_eq!(answer.status, 200);
        let asked = ["Access-Control-Request-Method: POST", &header];
        let preflight = server.request("OPTIONS", "/predict", &asked, b"");
        let allowed = answer
            .header("access-control-allow-origin")
            .map(str::to_owned);
        let ahead = preflight.header("access-control-allow-origin");
        assert_eq!(ahead, allowed.as_deref());
        allowed
    };
    let digits = server::digits();
    let (site, other) = ("https://example.org", "https://example.com");
    let some = [&digits[..], "--allow-origin", site];
    assert_eq!(allowed(&[&digits], site), None);
    assert_eq!(allowed(&some, site).as_deref(), Some(site));
    assert_eq!(allowed(&some, other), None);
    assert_eq!(
        allowed(&[&digits, "--allow-origin", "*"], other).as_deref(),
        Some("*")
    );
}
