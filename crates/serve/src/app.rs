//! What requests share: models, metrics, limits, and whether the server is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;
use crate::metrics::{Metrics, Rejection};
use crate::model::{Answer, Input, Refused, Served};
use crate::repository::Repository;

/// How often a request that met a retired model asks for its successor.
const ATTEMPTS: usize = 100;

/// What a request may take, and what the server offers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of a request's body in bytes.
    pub max_body: usize,
    /// Maximum size of all bodies in memory in bytes.
    pub max_memory: usize,
    /// Maximum number of images in a request.
    pub max_images: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may wait for its answer, once its body is there.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 32 << 20,
            max_memory: 512 << 20,
            max_images: 128,
            body_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What requests share.
#[derive(Debug)]
pub struct App {
    /// The models.
    pub repository: Arc<Repository>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What a request may take.
    pub limits: Limits,
    /// Digest of the token that requests must bear, if they must.
    token: Option<[u8; 32]>,
    /// Whether models can be loaded and unloaded by requests.
    pub allows_control: bool,
    /// Whether the server is about to end.
    draining: AtomicBool,
    memory: Arc<Semaphore>,
}

/// Bytes of a body that count against [`Limits::max_memory`] until this is dropped.
#[derive(Debug)]
pub struct Room(Option<OwnedSemaphorePermit>);

impl App {
    /// Returns the state of a server that is not draining.
    pub fn new(
        repository: Arc<Repository>,
        metrics: Arc<Metrics>,
        limits: Limits,
        token: Option<&str>,
        allows_control: bool,
    ) -> Self {
        let permits = limits.max_memory.min(Semaphore::MAX_PERMITS);
        Self {
            repository,
            metrics,
            limits,
            token: token.map(|token| digest(token.as_bytes())),
            allows_control,
            draining: AtomicBool::new(false),
            memory: Arc::new(Semaphore::new(permits)),
        }
    }

    /// Says from now on that the server is not ready, and goes on answering.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns whether the server takes requests for all of its models.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.repository.is_ready()
    }

    /// Returns whether the server is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns whether a request with this token is answered; any is where the server has none.
    pub fn accepts(&self, token: Option<&[u8]>) -> bool {
        // Digests are compared, so that the time of the comparison says nothing about the token.
        self.token
            .is_none_or(|expected| token.is_some_and(|token| digest(token) == expected))
    }

    /// Returns room for no bytes yet.
    pub const fn room() -> Room {
        Room(None)
    }

    /// Makes room for more bytes of a body.
    ///
    /// # Errors
    ///
    /// Returns that other bodies take all the memory there is for them.
    pub fn grow(&self, room: &mut Room, bytes: usize) -> Result<(), ApiError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.memory).try_acquire_many_owned(bytes) else {
            self.metrics.rejected(Rejection::Memory);
            return Err(ApiError::busy("other requests take all memory for bodies"));
        };
        match &mut room.0 {
            Some(held) => held.merge(permit),
            None => room.0 = Some(permit),
        }
        Ok(())
    }

    /// Makes room for what is made of a body, such as numbers out of their text. So much that it alone takes more than
    /// half of all memory counts as half, since it could never be answered else.
    ///
    /// # Errors
    ///
    /// As [`grow`](Self::grow).
    pub fn grow_for_work(&self, room: &mut Room, bytes: usize) -> Result<(), ApiError> {
        self.grow(room, bytes.min(self.limits.max_memory / 2))
    }

    /// Has a model answer. `inputs` makes the images for a model, since another version takes the place of one that is
    /// retired meanwhile. A future that is dropped frees the places in the queue.
    ///
    /// # Errors
    ///
    /// Returns that there is no such model, no room, no time, or what is wrong with an image.
    pub async fn answer(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        deadline: Option<Duration>,
        inputs: impl Fn(&Served) -> Result<Vec<Input>, ApiError>,
    ) -> Result<(Arc<Served>, Vec<Answer>), ApiError> {
        let wait = deadline.map_or(self.limits.timeout, |it| it.min(self.limits.timeout));
        let deadline = Instant::now() + wait;
        for _ in 0..ATTEMPTS {
            let served = self.repository.get(name, version)?;
            let images = inputs(&served)?;
            let count = images.len();
            let most = self.limits.max_images.min(served.queue_capacity());
            if count > most {
                return Err(ApiError::bad(format!(
                    "expected at most {most} images in a request, found {count}"
                )));
            }
            if let [image] = &images[..]
                && !wait.is_zero()
                && let Some(answered) = served.answer_here(image, self.metrics.open_connections())
            {
                return Ok((served, vec![answered?]));
            }
            let mut ticket = match served.submit(images) {
                Ok(ticket) => ticket,
                Err(Refused::Full) => {
                    self.metrics.rejected(Rejection::QueueFull);
                    return Err(ApiError::busy(format!(
                        "the queue of the model `{}` is full",
                        served.name
                    )));
                }
                Err(Refused::Closed) => {
                    // The repository has its successor by now, or says that there is none.
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let guard = Waiting(&self.metrics);
            let answered = timeout_at(deadline, ticket.answers()).await;
            std::mem::forget(guard);
            return match answered {
                Ok(Ok(answers)) => Ok((served, answers)),
                Ok(Err((_, failure))) => Err(failure.into()),
                Err(_) => {
                    self.metrics.rejected(Rejection::Deadline);
                    Err(ApiError::new(
                        http::StatusCode::GATEWAY_TIMEOUT,
                        format!("no answer within {} s", wait.as_secs_f64()),
                    ))
                }
            };
        }
        Err(ApiError::busy("the model is being replaced"))
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    kiln_util::sha256(token).expect("bytes in memory can be read")
}

/// Counts a request whose client left while it waited: then its future is dropped, and this with it.
struct Waiting<'a>(&'a Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.rejected(Rejection::Cancelled);
    }
}
