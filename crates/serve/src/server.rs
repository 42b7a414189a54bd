//! Connections: how many there are, how slow they may be, and how they end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::app::App;

/// Most bytes of the head of a request.
const MAX_HEAD: usize = 64 << 10;
/// Most requests at the same time on a connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// How much of a body a client of HTTP/2 may send before it is read.
const WINDOW: u32 = 1 << 20;
/// How long a connection that has not asked for anything stays open when the server ends.
const UNREAD: Duration = Duration::from_millis(250);
/// Maximum number of connections that the system holds until they are accepted. Linux has a limit of its own,
/// `net.core.somaxconn`, by default the same.
const BACKLOG: u32 = 4096;
/// How long accepting pauses where the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Maximum number of open connections; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long the head of a request may take, from the end of the one before: idle connections are closed after it
    /// too.
    pub head_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(15),
        }
    }
}

/// A server that accepts connections.
pub struct Server {
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    limits: ConnectionLimits,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Returns a server that has begun to listen.
    ///
    /// # Errors
    ///
    /// Returns that the address cannot be listened at.
    pub fn bind(
        address: SocketAddr,
        router: Router,
        app: Arc<App>,
        limits: ConnectionLimits,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address)?,
            router,
            app,
            limits,
            tls,
        })
    }

    /// Returns the address that it listens at.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until `stop` ends; then lets each finish the requests that it has sent, for at most `bound`.
    /// Returns the number of connections that were still busy then.
    pub async fn run(self, stop: impl Future<Output = ()>, bound: Duration) -> usize {
        let places = self.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(places));
        let (ending, _) = watch::channel(false);
        let spawn = |stream, permit| {
            tokio::spawn(serve(
                stream,
                self.router.clone(),
                Arc::clone(&self.app),
                self.limits.clone(),
                self.tls.clone(),
                ending.subscribe(),
                permit,
            ));
        };
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&connections) => accepted,
                () = &mut stop => break,
            };
            let Some((stream, permit)) = accepted else {
                continue;
            };
            spawn(stream, permit);
        }
        for (stream, permit) in last_connections(self.listener, &connections) {
            spawn(stream, permit);
        }
        ending.send_replace(true);
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        match timeout(bound, connections.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => places - connections.available_permits(),
        }
    }

    /// Waits for a place and a connection; nothing where the connection failed.
    async fn accept(
        &self,
        connections: &Arc<Semaphore>,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(connections).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written whole: waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                Some((stream, permit))
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
                None
            }
        }
    }
}

/// Listens at an address. [`TcpListener::bind`] has a queue of 128 places, and a client that finds it full waits for a
/// second until it tries again.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that starts again has the address at once; on Windows this would let two servers share it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes the connections that the system has accepted for the program, and which may have sent a request, and closes the
/// listener. The system is told before to accept no more, so that it has none, or one in the moment of closing, that nobody takes.
fn last_connections(
    listener: TcpListener,
    connections: &Arc<Semaphore>,
) -> Vec<(TcpStream, OwnedSemaphorePermit)> {
    let mut taken = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return taken;
    };
    // Where this fails, the next connections wait in a longer queue.
    let _ = SockRef::from(&listener).listen(0);
    while let Ok(permit) = Arc::clone(connections).try_acquire_owned()
        && let Ok((stream, _)) = listener.accept()
    {
        let prepared = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| TcpStream::from_std(stream));
        match prepared {
            Ok(stream) => taken.push((stream, permit)),
            Err(error) => warn!(%error, "cannot accept a connection"),
        }
    }
    taken
}

/// Serves a connection until it ends.
async fn serve(
    stream: TcpStream,
    router: Router,
    app: Arc<App>,
    limits: ConnectionLimits,
    tls: Option<TlsAcceptor>,
    ending: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    app.metrics.connections().inc();
    match tls {
        None => exchange(stream, router, &limits, ending).await,
        Some(tls) => match timeout(limits.head_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => exchange(stream, router, &limits, ending).await,
            Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
            Err(_) => debug!("a TLS handshake took too long"),
        },
    }
    app.metrics.connections().dec();
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    limits: &ConnectionLimits,
    mut ending: watch::Receiver<bool>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let stream = TokioIo::new(Box::pin(stream));
    let begun = Arc::new(AtomicBool::new(false));
    let service = {
        let begun = Arc::clone(&begun);
        service_fn(move |request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            router.clone().oneshot(request)
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        // A client that is gone or idle does not answer, or is asked until it is.
        .keep_alive_interval(limits.head_timeout)
        .keep_alive_timeout(limits.head_timeout);
    let mut connection = pin!(builder.serve_connection(stream, service));
    // The time for a head counts only once it is known which version of HTTP a client speaks.
    let silent = async {
        sleep(limits.head_timeout).await;
        if begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = silent => {
            debug!("a connection without a request is closed");
            return;
        }
        () = async { drop(ending.wait_for(|ending| *ending).await) } => None,
    };
    // A request that has arrived may not have been read yet.
    let ended = match ended {
        None if !begun.load(Ordering::Relaxed) => timeout(UNREAD, connection.as_mut()).await.ok(),
        ended => ended,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
