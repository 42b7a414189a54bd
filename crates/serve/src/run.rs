//! The server from its command line to its end.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http::HeaderValue;
use kiln_inference::Options;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{interval, sleep};
use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::app::{App, Limits};
use crate::args::{Args, LogForm};
use crate::metrics::Metrics;
use crate::model::{LoadError, Settings};
use crate::repository::{ChangeError, Location, Repository};
use crate::server::{ConnectionLimits, Server};
use crate::{tls, web};

/// The variable with a token that requests must bear.
const TOKEN: &str = "KILN_SERVE_TOKEN";
/// Shortest token: a shorter one could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Why a server ends.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Models(#[from] ChangeError),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("cannot read the token in `{}`: {reason}", path.display())]
    Token {
        path: std::path::PathBuf,
        reason: io::Error,
    },
    #[error(
        "the token has {0} characters: expected at least {SHORTEST_TOKEN}, all of them visible"
    )]
    WeakToken(usize),
    #[error("`{0}` is not an origin: expected one such as https://example.org")]
    Origin(String),
    #[error("cannot listen at {address}: {reason}")]
    Listen {
        address: SocketAddr,
        reason: io::Error,
    },
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Runs the server, and returns the exit code: 0 after it was ended by a signal, or a check passed; 1 where a check
/// finds that this machine computes other scores than a file has; 2 for wrong usage or bad input.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and which code.
            let code = error.exit_code() as u8;
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    log(&args);
    match execute(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let _ = writeln!(io::stderr(), "error: {failed}");
            match failed {
                Failed::Models(ChangeError::Load(LoadError::Golden { .. })) if args.check => {
                    ExitCode::from(1)
                }
                _ => ExitCode::from(2),
            }
        }
    }
}

fn log(args: &Args) {
    let level = LevelFilter::from_level(args.log_level);
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr);
    // A program that embeds the server may have a log already.
    let _ = match args.log {
        LogForm::Text => builder.try_init(),
        LogForm::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn execute(args: &Args) -> Result<(), Failed> {
    let metrics = Arc::new(Metrics::default());
    let locations = args.models.iter().map(|it| Location::parse(it)).collect();
    let repository = Arc::new(Repository::new(
        locations,
        settings(args),
        args.versions.into(),
        Arc::clone(&metrics),
    ));
    if args.check {
        return check(&repository);
    }
    let token = token(args)?;
    let origin = |text: &String| {
        let value = HeaderValue::from_str(text.trim_end_matches('/'));
        value
            .ok()
            .filter(|_| text == "*" || text.contains("://"))
            .ok_or_else(|| Failed::Origin(text.clone()))
    };
    let origins = args
        .allow_origin
        .iter()
        .map(origin)
        .collect::<Result<Vec<_>, _>>()?;
    let limits = limits(args);
    let app = Arc::new(App::new(
        Arc::clone(&repository),
        metrics,
        limits,
        token.as_deref(),
        args.control,
    ));
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
        _ => None,
    };
    if !args.host.is_loopback() && token.is_none() {
        warn!("anyone who reaches this machine can send requests: there is no token");
    }
    if token.is_some() && tls.is_none() && !args.host.is_loopback() {
        warn!("the token is sent without encryption: there is no TLS");
    }
    let runtime = Builder::new_multi_thread()
        .thread_name("kiln-serve-io")
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(args, app, &origins, tls));
    // Loading that goes on cannot be stopped, and is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(
    args: &Args,
    app: Arc<App>,
    origins: &[HeaderValue],
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> Result<(), Failed> {
    let address = SocketAddr::new(args.host, args.port);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut connections = ConnectionLimits::default();
    connections.max_connections = args.max_connections as usize;
    connections.head_timeout = Duration::from_secs(args.idle_timeout.into());
    connections.write_timeout = connections.head_timeout;
    let router = web::router(&app, origins);
    // Before the models are loaded: health says until then that the server lives and is not ready.
    let server = Server::bind(address, router, Arc::clone(&app), connections, tls)
        .map_err(|reason| Failed::Listen { address, reason })?;
    let address = server.address()?;
    info!(%address, url = format!("{scheme}://{address}/"), "listening");
    let (stop, stopped) = oneshot::channel::<()>();
    let bound = Duration::from_secs(args.drain.into());
    let running = tokio::spawn(server.run(
        async {
            let _ = stopped.await;
        },
        bound,
    ));
    let signals = Signals::new()?;
    let repository = Arc::clone(&app.repository);
    let loading = tokio::task::spawn_blocking(move || repository.rescan());
    let watch = args
        .watch
        .map(|seconds| Duration::from_secs(seconds.into()));
    let grace = tokio::select! {
        loaded = loading => {
            loaded.map_err(io::Error::other)??;
            info!("ready");
            signals.until_end(&app, watch).await
        }
        signal = signals.end() => signal,
    };
    let grace = match grace {
        End::AtOnce => Duration::ZERO,
        End::Gently => Duration::from_secs(args.grace.into()),
    };
    app.drain();
    info!(
        grace_seconds = grace.as_secs(),
        "ending: no longer ready, and still answering"
    );
    sleep(grace).await;
    let _ = stop.send(());
    let busy = running.await.map_err(io::Error::other)?;
    if busy > 0 {
        warn!(connections = busy, "ended with requests that took too long");
    }
    app.repository.retire_all();
    info!("ended");
    Ok(())
}

/// How a signal asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By whoever sits at the terminal.
    AtOnce,
    /// By whoever sends requests elsewhere first.
    Gently,
}

/// Signals of the system.
#[cfg(unix)]
struct Signals {
    terminate: tokio::sync::Mutex<tokio::signal::unix::Signal>,
    interrupt: tokio::sync::Mutex<tokio::signal::unix::Signal>,
    reload: tokio::sync::Mutex<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let listen = |kind| signal(kind).map(tokio::sync::Mutex::new);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to end.
    async fn end(&self) -> End {
        let (mut terminate, mut interrupt) =
            (self.terminate.lock().await, self.interrupt.lock().await);
        tokio::select! {
            _ = terminate.recv() => End::Gently,
            _ = interrupt.recv() => End::AtOnce,
        }
    }

    /// Waits for a signal to look at the files again.
    async fn reload(&self) {
        self.reload.lock().await.recv().await;
    }
}

/// Signals of the system.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn end(&self) -> End {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        End::AtOnce
    }

    async fn reload(&self) {
        std::future::pending::<()>().await;
    }
}

impl Signals {
    /// Looks at the files again when it is asked for, until a signal asks for the end.
    async fn until_end(&self, app: &Arc<App>, watch: Option<Duration>) -> End {
        let mut ticks = watch.map(interval);
        loop {
            let tick = async {
                match &mut ticks {
                    Some(ticks) => drop(ticks.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                end = self.end() => return end,
                () = self.reload() => info!("looking for changed models"),
                () = tick => {}
            }
            let repository = Arc::clone(&app.repository);
            let scan = tokio::task::spawn_blocking(move || repository.rescan());
            let scanned = tokio::select! {
                scanned = scan => scanned,
                end = self.end() => return end,
            };
            // An error of a file was logged with its model, and others stay in service.
            match scanned {
                Ok(Err(ChangeError::Folder(reason))) => {
                    error!(%reason, "cannot look for models");
                }
                Ok(_) => {}
                Err(reason) => error!(%reason, "cannot look for models"),
            }
        }
    }
}

/// Loads and proves the models, and says what they are.
fn check(repository: &Repository) -> Result<(), Failed> {
    repository.rescan()?;
    let mut out = io::stdout().lock();
    for status in repository.index() {
        let version = status.version.to_string();
        let Ok(served) = repository.get(Some(&status.name), Some(&version)) else {
            continue;
        };
        let [channels, height, width] = served.model.preprocessor().shape();
        writeln!(
            out,
            "{} {version}: {} classes, {channels}x{height}x{width}, {}, golden vectors: {}",
            status.name,
            served.model.labels().len(),
            served.engine().title(),
            served.golden
        )?;
    }
    Ok(())
}

fn settings(args: &Args) -> Settings {
    let options = Options::default()
        .with_engine(args.engine)
        .with_device(args.device)
        .with_threads(args.threads.map(usize::from));
    #[cfg(feature = "ort")]
    let options =
        options.with_ort(kiln_inference::OrtOptions::default().with_library(args.ort_lib.clone()));
    Settings {
        options,
        max_batch: args.max_batch.map(usize::from),
        max_delay: Duration::from_millis(args.max_delay.into()),
        queue: args.queue as usize,
        max_pixels: u64::from(args.max_megapixels) * 1_000_000,
        verify: !args.no_verify,
    }
}

fn limits(args: &Args) -> Limits {
    Limits {
        max_body: (args.max_body as usize) << 20,
        max_memory: (args.max_memory as usize) << 20,
        max_images: args.max_images as usize,
        body_timeout: Duration::from_secs(args.body_timeout.into()),
        timeout: Duration::from_secs(args.timeout.into()),
    }
}

fn token(args: &Args) -> Result<Option<String>, Failed> {
    let text = match &args.token_file {
        Some(path) => Some(fs::read_to_string(path).map_err(|reason| Failed::Token {
            path: path.clone(),
            reason,
        })?),
        None => std::env::var(TOKEN).ok(),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let token = text.trim();
    if token.len() < SHORTEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failed::WeakToken(token.chars().count()));
    }
    Ok(Some(token.to_owned()))
}
