//! Many clients at a time: each gets the answer to its own image.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::images::digits;
use crate::predict::assert_is;
use crate::server::{self, Server};

#[test]
fn forty_clients_get_the_answers_to_their_own_images() {
    forty_clients(&[]);
}

#[test]
fn forty_clients_get_the_answers_to_their_own_images_in_batches() {
    let metrics = forty_clients(&["--max-delay", "5"]);
    let singles = "kiln_batch_images_bucket{le=\"1.0\",model=\"digits\",version=\"1\"} ";
    let of = |start: &str| {
        let line = metrics.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start}\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let runs = of("kiln_batch_images_count{");
    assert!(of(singles) < runs, "no batch has more than one image");
}

/// Returns the server's metrics after some seconds.
fn forty_clients(options: &[&str]) -> String {
    let digits_file = server::digits();
    let arguments = [&[&digits_file[..], "--max-batch", "8"], options].concat();
    let server = Server::start(&arguments);
    let images = digits(40);
    let answered = AtomicUsize::new(0);
    let until = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        for image in &images {
            let (server, answered) = (&server, &answered);
            scope.spawn(move || {
                while Instant::now() < until {
                    let answer = server.post("/predict", &[], &image.bytes).json();
                    assert_is(&answer["predictions"][0], image);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered >= 2 * images.len(), "{answered} requests");
    server.get("/metrics").text()
}

#[test]
fn a_full_queue_is_told_and_the_rest_answered() {
    let server = Server::start(&[
        &server::digits(),
        "--queue",
        "4",
        "--max-batch",
        "1",
        "--threads",
        "1",
    ]);
    let images = digits(40);
    let (good, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for image in &images {
            let (server, good, busy) = (&server, &good, &busy);
            scope.spawn(move || {
                for _ in 0..50 {
                    let answer = server.post("/predict", &[], &image.bytes);
                    if answer.status == 200 {
                        assert_is(&answer.json()["predictions"][0], image);
                        good.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert!(answer.error(503).contains("queue"));
                        assert_eq!(answer.header("retry-after"), Some("1"));
                        busy.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (good, busy) = (good.into_inner(), busy.into_inner());
    assert_eq!(good + busy, 2000);
    assert!(good > 0, "{good} answered, {busy} refused");
    // A request of more images than there are places can never be taken.
    let form: Vec<u8> = (0..5)
        .flat_map(|_| {
            let head = b"--x\r\nContent-Disposition: form-data; name=\"i\"\r\n\r\n";
            [&head[..], &images[0].bytes, b"\r\n"].concat()
        })
        .chain(*b"--x--\r\n")
        .collect();
    let kind = "Content-Type: multipart/form-data; boundary=x";
    let error = server.post("/predict", &[kind], &form).error(400);
    assert!(error.contains("at most 4 images"), "{error}");
}

#[test]
fn a_new_version_takes_over_without_a_lost_request() {
    let folder = tempfile::tempdir().unwrap();
    let version = |number: usize| {
        let folder = folder.path().join("digits").join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(server::digits(), folder.join("model.onnx")).unwrap();
    };
    version(1);
    let server = Server::start(&[folder.path().to_str().unwrap()]);
    let images = digits(16);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for image in &images {
            let (server, stop, answered) = (&server, &stop, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = server.post("/predict", &[], &image.bytes).json();
                    assert_is(&answer["predictions"][0], image);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 2..=6 {
            std::thread::sleep(Duration::from_millis(200));
            version(number);
            server.signal("HUP");
            let ready = server.wait_for("model is ready");
            assert_eq!(ready["version"], number);
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 100);
    let metadata = server.get("/v2/models/digits").json();
    assert_eq!(metadata["versions"], serde_json::json!(["6"]));
}

#[test]
fn clients_that_leave_free_their_places() {
    let args = [
        &server::digits()[..],
        "--queue",
        "8",
        "--max-delay",
        "30000",
        "--max-batch",
        "16",
    ];
    let server = Server::start(&args);
    let image = &digits(1)[0];
    let queued = |expected: usize| {
        let start = Instant::now();
        let line = format!("kiln_queue_images{{model=\"digits\",version=\"1\"}} {expected}");
        while !server.get("/metrics").text().lines().any(|it| it == line) {
            assert!(start.elapsed() < Duration::from_secs(20), "not {line}");
        }
    };
    // Eight images wait for a batch of sixteen, and their clients leave.
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        image.bytes.len()
    );
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            let request = [head.as_bytes(), &image.bytes].concat();
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    queued(8);
    server.post("/predict", &[], &image.bytes).error(503);
    drop(waiting);
    queued(0);
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("kiln_rejected_total{reason=\"cancelled\"} 8"),
        "{metrics}"
    );
}

#[test]
fn a_request_whose_time_is_over_is_told_and_frees_its_place() {
    let args = [
        &server::digits()[..],
        "--queue",
        "1",
        "--max-delay",
        "30000",
        "--timeout",
        "1",
    ];
    let server = Server::start(&args);
    let image = &digits(1)[0];
    for _ in 0..2 {
        let error = server.post("/predict", &[], &image.bytes).error(504);
        assert!(error.contains("within 1 s"), "{error}");
    }
}
