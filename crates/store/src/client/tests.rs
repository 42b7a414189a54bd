use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::error::Cure;
use crate::testing::{Server, announced, answer, ranged};

const FILE: &[u8] = b"0123456789";

const QUICK: Patience = Patience {
    at_first: 2,
    later: 4,
    pause: Duration::from_millis(1),
    longest: Duration::from_millis(4),
};

fn quick(environment: Environment) -> Client {
    Client::limited(environment, CONNECT, Duration::from_millis(500), QUICK)
}

/// A client of this server, with keys.
fn client(server: &Server) -> Client {
    quick(Environment::of([
        ("AWS_ENDPOINT_URL", &server.base()),
        ("AWS_ACCESS_KEY_ID", "ID"),
        ("AWS_SECRET_ACCESS_KEY", "SECRET"),
        ("AWS_SESSION_TOKEN", "SESSION"),
    ]))
}

fn s3(key: &str) -> Address {
    Address::parse(&format!("s3://bucket/{key}")).unwrap()
}

fn read(
    client: &Client,
    object: &Object,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut buffer = vec![0; (range.end - range.start) as usize];
    client.read(object, &mut buffer, range.start)?;
    Ok(buffer)
}

#[test]
fn ranges_are_read_signed_and_pinned() {
    let server = Server::start(|asked| ranged(asked, FILE, "\"a\""));
    let client = client(&server);
    let object = client.open(&s3("a b.tar")).unwrap();
    assert_eq!(object.length, 10);
    assert_eq!(read(&client, &object, 3..7).unwrap(), b"3456");
    assert_eq!(read(&client, &object, 4..4).unwrap(), b"");
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    let last = asked.last().unwrap();
    assert_eq!(
        (last.path.as_str(), last.range()),
        ("/bucket/a%20b.tar", Some((3, 6)))
    );
    assert_eq!(last.header("if-match"), Some("\"a\""));
    assert_eq!(last.header("x-amz-security-token"), Some("SESSION"));
    let signed = last.header("authorization").unwrap();
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=ID/"),
        "{signed}"
    );
}

#[test]
fn without_credentials_nothing_is_signed() {
    let server = Server::start(|asked| ranged(asked, FILE, "\"a\""));
    let client = quick(Environment::of([
        ("AWS_ENDPOINT_URL_S3", &server.base()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]));
    client.open(&s3("x")).unwrap();
    assert_eq!(server.asked()[0].header("authorization"), None);
}

#[test]
fn a_token_is_sent_to_google() {
    let server = Server::start(|asked| ranged(asked, FILE, "\"a\""));
    let client = quick(Environment::of([
        ("STORAGE_EMULATOR_HOST", &server.base()),
        ("GOOGLE_OAUTH_ACCESS_TOKEN", "TOKEN"),
    ]));
    let object = client
        .open(&Address::parse("gs://bucket/x").unwrap())
        .unwrap();
    assert_eq!(read(&client, &object, 0..2).unwrap(), b"01");
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Bearer TOKEN")
    );
    assert_eq!(server.asked()[0].path, "/bucket/x");
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_broke() {
    // Three bytes at a time, and a busy server in between.
    let count = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let (first, last) = asked.range().unwrap();
        if count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return answer("503 Slow Down", "", b"<Error><Code>SlowDown</Code></Error>");
        }
        let headers = format!("Content-Range: bytes {first}-{last}/10\r\n");
        let end = (first + 3).min(last + 1);
        announced(
            "206 Partial Content",
            &headers,
            &FILE[first..end],
            last + 1 - first,
        )
    });
    let client = client(&server);
    let object = client.open(&s3("x")).unwrap();
    assert_eq!(read(&client, &object, 0..10).unwrap(), FILE);
    let starts: Vec<usize> = server
        .asked()
        .iter()
        .filter_map(|asked| Some(asked.range()?.0))
        .collect();
    assert_eq!(starts, [0, 0, 0, 3, 3, 6, 6, 9, 9]);
}

#[test]
fn what_stays_broken_is_given_up() {
    let server = Server::start(|asked| match asked.range() {
        Some((0, 0)) => ranged(asked, FILE, "\"a\""),
        _ => answer("500 Internal Server Error", "", b""),
    });
    let client = client(&server);
    let object = client.open(&s3("x")).unwrap();
    let error = read(&client, &object, 0..5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`s3://bucket/x` cannot be read: the server answered 500 (4 attempts)"
    );
    assert_eq!(error.cure(), Some(Cure::RunAgain));
    // Nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = Address::parse(&format!("http://127.0.0.1:{port}/x.tar")).unwrap();
    let error = quick(Environment::of([])).open(&nobody).unwrap_err();
    assert!(error.to_string().ends_with("(2 attempts)"), "{error}");
}

#[test]
fn an_object_that_changes_is_an_error() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    // Another length, another tag, a server that minds the tag, and one whose file got shorter.
    let server = Server::start(move |asked| match seen.load(Ordering::Relaxed) {
        0 => ranged(asked, FILE, "\"a\""),
        1 => ranged(asked, b"0123456789+", "\"a\""),
        2 => ranged(asked, FILE, "\"b\""),
        3 => answer(
            "412 Precondition Failed",
            "",
            b"<Error><Code>PreconditionFailed</Code></Error>",
        ),
        _ => answer("416 Range Not Satisfiable", "", b""),
    });
    let client = client(&server);
    let object = client.open(&s3("x")).unwrap();
    for state in 1..=4 {
        count.store(state, Ordering::Relaxed);
        let error = read(&client, &object, 5..10).unwrap_err();
        assert!(
            matches!(error, StoreError::Changed { .. }),
            "{state}: {error}"
        );
    }
    assert!(matches!(
        read(&client, &object, 5..11),
        Err(StoreError::Changed { .. })
    ));
}

#[test]
fn errors_say_what_to_do_and_no_secret() {
    let server =
        Server::start(|asked| {
            match asked.path.as_str() {
        "/bucket/missing" => answer("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
        "/whole.tar" => answer("200 OK", "", FILE),
        "/file.tar" => answer("403 Forbidden", "", b"<html>SECRET</html>"),
        _ => answer(
            "403 Forbidden",
            "",
            b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>ID</AWSAccessKeyId></Error>",
        ),
    }
        });
    let client = client(&server);
    let web = |path: &str| Address::parse(&format!("{}{path}", server.base())).unwrap();
    let signed = web("/file.tar?X-Amz-Signature=SECRET");
    for (address, expected, cure) in [
        (
            s3("missing"),
            "there is no `s3://bucket/missing`: the server answered 404 (NoSuchKey)",
            Cure::CheckUrl,
        ),
        (
            s3("denied"),
            "`s3://bucket/denied` may not be read with the credentials in `AWS_ACCESS_KEY_ID`: the server answered 403 \
             (SignatureDoesNotMatch)",
            Cure::CheckCredentials,
        ),
        (web("/whole.tar"), "sends no parts of files", Cure::Download),
        (
            signed,
            "may not be read with the query of its URL: the server answered 403",
            Cure::NewUrl,
        ),
    ] {
        let error = client.open(&address).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.cure(), Some(cure));
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
    assert!(!format!("{client:?}").contains("SECRET"));
    assert_eq!(server.asked().len(), 4, "none of it is asked for again");
    assert!(matches!(
        client.list(&web("/")),
        Err(StoreError::NoLists { .. })
    ));
}

#[test]
fn the_region_of_a_bucket_is_learned() {
    let server = Server::start(|asked| {
        if asked
            .header("authorization")
            .unwrap()
            .contains("/eu-west-3/s3/")
        {
            return ranged(asked, FILE, "\"a\"");
        }
        answer(
            "301 Moved Permanently",
            "x-amz-bucket-region: eu-west-3\r\n",
            b"",
        )
    });
    let client = client(&server);
    for _ in 0..2 {
        client.open(&s3("x")).unwrap();
    }
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn credentials_that_ended_are_found_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (config, count) = (folder.path().join("config"), folder.path().join("count"));
    std::fs::write(
        &config,
        format!(
            "[default]\ncredential_process = echo x >> {0}; echo '{{\"Version\": 1, \"AccessKeyId\": \"ID'$(wc -l < {0} | \
             tr -d ' ')'\", \"SecretAccessKey\": \"S\", \"SessionToken\": \"T\", \"Expiration\": \
             \"2100-01-01T00:00:00Z\"}}'\n",
            count.display()
        ),
    )
    .unwrap();
    let server = Server::start(|asked| {
        if asked
            .header("authorization")
            .unwrap()
            .contains("Credential=ID2/")
        {
            return ranged(asked, FILE, "\"a\"");
        }
        answer(
            "400 Bad Request",
            "",
            b"<Error><Code>ExpiredToken</Code></Error>",
        )
    });
    let client = quick(Environment::of([
        ("AWS_ENDPOINT_URL", &server.base()),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
    ]));
    if cfg!(unix) {
        client.open(&s3("x")).unwrap();
        assert_eq!(server.asked().len(), 2);
    }
}

#[test]
fn lists_go_on_to_their_end() {
    let server = Server::start(|asked| {
        let page = |keys: &[&str], next: &str| {
            let contents = keys.iter().fold(String::new(), |contents, key| {
                contents
                    + "<Contents><Key>"
                    + key
                    + "</Key><Size>10</Size><ETag>\"a\"</ETag></Contents>"
            });
            let next = if next.is_empty() {
                "<IsTruncated>false</IsTruncated>".to_owned()
            } else {
                format!(
                    "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
                )
            };
            let xml = format!("<ListBucketResult>{contents}{next}</ListBucketResult>");
            answer("200 OK", "", xml.as_bytes())
        };
        if asked.query.contains("continuation-token=more%2F1") {
            page(&["d/c.tar"], "")
        } else if asked.query.contains("list-type=2&prefix=d%2F") {
            page(&["d/", "d/a.tar", "d/b.tar"], "more/1")
        } else {
            ranged(asked, FILE, "\"a\"")
        }
    });
    let client = client(&server);
    let objects = client.list(&s3("d/")).unwrap();
    let urls: Vec<String> = objects
        .iter()
        .map(|object| object.address.to_string())
        .collect();
    assert_eq!(
        urls,
        [
            "s3://bucket/d/a.tar",
            "s3://bucket/d/b.tar",
            "s3://bucket/d/c.tar"
        ]
    );
    assert_eq!(read(&client, &objects[2], 8..10).unwrap(), b"89");
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address =
        Address::parse(&format!("http://{}/x.tar", listener.local_addr().unwrap())).unwrap();
    let error = quick(Environment::of([])).open(&address).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no answer within the time limit"),
        "{error}"
    );
}

#[test]
fn an_empty_file_has_no_bytes() {
    let server = Server::start(|_| {
        answer(
            "416 Range Not Satisfiable",
            "Content-Range: bytes */0\r\n",
            b"",
        )
    });
    assert_eq!(client(&server).open(&s3("x")).unwrap().length, 0);
}
