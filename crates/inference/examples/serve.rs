//! A web service with the standard library alone: `cargo run --release --example serve --
//! model.onnx 127.0.0.1:8080`
//!
//! `curl --data-binary @digit.png http://127.0.0.1:8080/` answers with the three most probable
//! classes. In a web framework, `classify` is the handler; where handlers are asynchronous, it
//! belongs on a thread for blocking work.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kiln_inference::{Model, decode_image};

/// Longest image in bytes.
const LONGEST: u64 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = Model::open(arguments.next().ok_or("expected a model: name it")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on http://{}", listener.local_addr()?);
    // As many requests at a time as there are cores: what waits, waits in the system's queue and
    // takes no memory.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // Whoever hung up needs no answer.
                    let _ = serve(&model, &stream);
                }
            });
        }
    });
    Ok(())
}

/// The handler: an image file's bytes to an answer.
fn classify(model: &Model, bytes: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
    let prediction = model.classify(&decode_image(bytes)?)?;
    let top = prediction.top_k(3).into_iter();
    let lines: Vec<String> = top
        .map(|class| format!("{}\t{:.4}", class.label, class.probability))
        .collect();
    Ok(lines.join("\n") + "\n")
}

/// One request and its answer.
fn serve(model: &Model, stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (status, text) = match body(stream)? {
        Err(reason) => ("400 Bad Request", reason.to_owned()),
        Ok(bytes) => match classify(model, &bytes) {
            Ok(text) => ("200 OK", text),
            Err(error) => ("422 Unprocessable Content", format!("{error}\n")),
        },
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"
    );
    (&mut &*stream).write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes())
}

/// The body of a request, or what is wrong with its head.
fn body(stream: &TcpStream) -> io::Result<Result<Vec<u8>, &'static str>> {
    let mut head = BufReader::new(stream.take(LONGEST));
    let (mut line, mut length) = (String::new(), None);
    head.read_line(&mut line)?;
    if !line.starts_with("POST / ") {
        return Ok(Err("POST an image to /\n"));
    }
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(Err("the request ends in its head\n"));
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok();
            }
            Some(_) => {}
            None => break,
        }
    }
    let Some(length) = length.filter(|&length: &u64| length < LONGEST) else {
        return Ok(Err("expected a Content-Length below 16 MiB\n"));
    };
    let mut bytes = Vec::new();
    head.take(length).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}
