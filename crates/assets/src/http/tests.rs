use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::testing::{Recorder, Server, answer, ok, ranged};

const BODY: &[u8] = b"0123456789";

/// A place for a download, perhaps with a part of it.
struct Place {
    _folder: TempDir,
    part: PathBuf,
}

impl Place {
    fn with(part: Option<&[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".part");
        if let Some(bytes) = part {
            fs::write(&path, bytes).unwrap();
        }
        Self {
            _folder: folder,
            part: path,
        }
    }

    fn download(&self, server: &Server, limit: u64) -> Result<bool, Failure> {
        self.download_by(&agent(), server, limit)
    }

    fn download_by(&self, agent: &Agent, server: &Server, limit: u64) -> Result<bool, Failure> {
        let (url, progress) = (format!("{}file", server.base()), Recorder::default());
        let cancel = CancelToken::new();
        let result = Download {
            agent,
            url: &url,
            name: "file",
            part: &self.part,
            limit,
            progress: &progress,
            cancel: &cancel,
        }
        .run();
        // Also checks that every step has finished.
        let _ = progress.bytes();
        result
    }

    fn content(&self) -> Vec<u8> {
        fs::read(&self.part).unwrap()
    }
}

fn reason(result: Result<bool, Failure>) -> SourceError {
    match result {
        Err(Failure::Source(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_is_continued() {
    let server = Server::start(|request| ranged(request, BODY));
    let place = Place::with(Some(b"0123"));
    assert!(place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);
    assert_eq!(
        server
            .requests()
            .iter()
            .map(|request| request.from)
            .collect::<Vec<_>>(),
        [Some(4)]
    );
}

#[test]
fn a_whole_part_is_kept_and_a_too_long_one_is_begun_again() {
    let server = Server::start(|request| ranged(request, BODY));
    let place = Place::with(Some(BODY));
    assert!(place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);

    let place = Place::with(Some(b"0123456789too long"));
    assert!(!place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let server = Server::start(|_| ok(BODY));
    let place = Place::with(Some(b"xxxx"));
    assert!(!place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);
}

#[test]
fn a_server_that_sends_another_range_is_asked_once_more_and_then_given_up() {
    let confused = || {
        answer(
            "206 Partial Content",
            "Content-Range: bytes 7-9/10\r\n",
            b"789",
            3,
        )
    };
    let server = Server::start(move |request| {
        if request.from.is_some() {
            confused()
        } else {
            ok(BODY)
        }
    });
    let place = Place::with(Some(b"0123"));
    assert!(!place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);

    let server = Server::start(move |_| confused());
    let error = reason(Place::with(Some(b"0123")).download(&server, 10));
    assert!(
        error
            .to_string()
            .ends_with("the server sent a range that was not requested"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_connection_that_breaks_is_made_anew_while_it_gets_further() {
    // Three bytes at a time.
    let server = Server::start(|request| {
        let from = request.from.unwrap_or(0);
        let range = format!("Content-Range: bytes {from}-9/10\r\n");
        let status = if from == 0 {
            "200 OK"
        } else {
            "206 Partial Content"
        };
        answer(status, &range, &BODY[from..(from + 3).min(10)], 10 - from)
    });
    let place = Place::with(None);
    assert!(place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.from)
        .collect();
    assert_eq!(asked, [None, Some(3), Some(6), Some(9)]);
}

#[test]
fn a_download_that_never_ends_well_keeps_its_part() {
    let server = Server::start(|_| answer("200 OK", "", b"0123", 10));
    let place = Place::with(None);
    let error = reason(place.download(&server, 10));
    assert!(matches!(error, SourceError::Connection { .. }), "{error}");
    assert_eq!(place.content(), b"0123");
    assert_eq!(server.requests().len(), 1 + RETRIES as usize);
}

#[test]
fn too_much_is_refused_whether_announced_or_not() {
    let announced = Server::start(|_| ok(BODY));
    let place = Place::with(None);
    assert!(matches!(
        reason(place.download(&announced, 9)),
        SourceError::TooLarge { limit: 9, .. }
    ));
    assert!(!place.part.exists());

    let unannounced =
        Server::start(|_| [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", BODY].concat());
    assert!(matches!(
        reason(place.download(&unannounced, 9)),
        SourceError::TooLarge { limit: 9, .. }
    ));
    assert!(!place.part.exists());
    assert!(!place.download(&unannounced, 10).unwrap());
}

#[test]
fn a_status_other_than_success_is_told_without_asking_again() {
    let server = Server::start(|_| answer("404 Not Found", "", b"no", 2));
    let error = reason(Place::with(None).download(&server, 10));
    assert_eq!(
        error,
        SourceError::Status {
            file: "file".into(),
            status: 404
        }
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn redirects_are_followed() {
    let server = Server::start(|request| match request.path.as_str() {
        "/file" => answer("302 Found", "Location: /elsewhere\r\n", b"", 0),
        _ => ok(BODY),
    });
    let place = Place::with(None);
    assert!(!place.download(&server, 10).unwrap());
    assert_eq!(place.content(), BODY);
}

#[test]
fn nobody_listening_is_told_at_once() {
    let server = Server::start(|_| Vec::new());
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}/file");
    let (place, progress, cancel) = (Place::with(None), Recorder::default(), CancelToken::new());
    let agent = agent();
    let download = Download {
        agent: &agent,
        url: &url,
        name: "file",
        part: &place.part,
        limit: 10,
        progress: &progress,
        cancel: &cancel,
    };
    assert!(matches!(
        reason(download.run()),
        SourceError::Connection { .. }
    ));
    // And a server that hangs up without a word.
    assert!(matches!(
        reason(place.download(&server, 10)),
        SourceError::Connection { .. }
    ));
}

#[test]
fn a_stop_keeps_the_part() {
    struct StopAt(AtomicUsize, CancelToken);
    impl Progress for StopAt {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes as usize, Ordering::Relaxed);
            if self.0.load(Ordering::Relaxed) > 0 {
                self.1.cancel();
            }
        }
        fn finish(&self) {}
        fn message(&self, _: &str) {}
    }
    let body = vec![7; 3 * CHUNK];
    let server = Server::start(move |_| ok(&body));
    let (place, agent, url) = (Place::with(None), agent(), format!("{}file", server.base()));
    let progress = StopAt(AtomicUsize::new(0), CancelToken::new());
    let download = Download {
        agent: &agent,
        url: &url,
        name: "file",
        part: &place.part,
        limit: 1 << 20,
        progress: &progress,
        cancel: &progress.1,
    };
    assert!(matches!(download.run(), Err(Failure::Cancelled)));
    let kept = fs::metadata(&place.part).unwrap().len();
    assert_eq!(kept, progress.0.load(Ordering::Relaxed) as u64);
    assert!(kept > 0 && kept < 3 * CHUNK as u64);
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let (place, progress, cancel) = (Place::with(None), Recorder::default(), CancelToken::new());
    // Nobody accepts: the connection stands, and nothing ever comes.
    let agent = limited(CONNECT, Duration::from_millis(500));
    let download = Download {
        agent: &agent,
        url: &url,
        name: "file",
        part: &place.part,
        limit: 10,
        progress: &progress,
        cancel: &cancel,
    };
    assert!(
        reason(download.run())
            .to_string()
            .starts_with("file: timeout")
    );
}

#[test]
fn a_server_that_falls_silent_in_the_middle_is_asked_to_go_on() {
    // The first answer stops after four bytes and holds the connection until the test ends.
    let held = std::sync::Mutex::new(Vec::new());
    let server = Server::talking(move |request, stream| {
        if request.from.is_none() {
            stream
                .write_all(&answer("200 OK", "", b"0123", 10))
                .unwrap();
            held.lock().unwrap().push(stream.try_clone().unwrap());
        } else {
            stream.write_all(&ranged(request, BODY)).unwrap();
        }
    });
    let place = Place::with(None);
    assert!(
        place
            .download_by(&limited(CONNECT, Duration::from_millis(500)), &server, 10)
            .unwrap()
    );
    assert_eq!(place.content(), BODY);
}
