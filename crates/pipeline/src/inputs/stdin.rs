//! Standard input, as far as it can be read without keeping a cancellation waiting.

use std::io::{self, BufRead, Cursor, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use kiln_util::CancelToken;

/// How often the token is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(50);

/// Reads standard input on a thread of its own, which may wait there for ever: reading from this
/// fails once the work is cancelled, also while nothing comes.
#[derive(Debug)]
pub struct Stdin {
    cancel: CancelToken,
    /// What the thread reads, once it was started.
    chunks: Option<Receiver<io::Result<Vec<u8>>>>,
    /// What is left of the last chunk.
    rest: Cursor<Vec<u8>>,
}

impl Stdin {
    /// Creates a reader that reads nothing before it is asked.
    pub fn new(cancel: CancelToken) -> Self {
        Self {
            cancel,
            chunks: None,
            rest: Cursor::default(),
        }
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("the work was cancelled"));
            }
            let chunks = match &self.chunks {
                Some(chunks) => chunks,
                None => self.chunks.insert(start()?),
            };
            match chunks.recv_timeout(TICK) {
                Ok(chunk) => self.rest = Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

/// Starts the thread, which ends with standard input, or with the program.
fn start() -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    // Few, so that what is piped in is not read far ahead of its use.
    let (sender, receiver) = sync_channel(4);
    let read = move || {
        let mut stdin = io::stdin().lock();
        loop {
            let chunk = match stdin.fill_buf() {
                Ok([]) => return,
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let read = chunk.as_ref().map_or(0, Vec::len);
            stdin.consume(read);
            if sender.send(chunk).is_err() || read == 0 {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("kiln-stdin".into())
        .spawn(read)?;
    Ok(receiver)
}
