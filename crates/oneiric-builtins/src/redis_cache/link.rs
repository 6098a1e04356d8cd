//! One connection to a Redis server that comes back by itself.
//!
//! The client's own manager makes callers wait for its attempts to reconnect, and keeps a connection
//! whose other end has gone silent. Here a task of its own reconnects, and a call looks at where things
//! stand: with a connection it is sent, without one it fails at once, saying why. So nothing queues up
//! while a server is down, and a server that stops answering costs each caller one time limit at most.
//!
//! An answer that does not come in time ends the connection for later calls: what would come after it
//! could not be told from what was asked. Calls under way on it keep it until they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, PushKind};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::trouble::Trouble;

/// The pause before the second attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// No pause is longer, however long the server is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a connection, the greeting included.
    pub(super) connect: Duration,
    /// For the answer to a command.
    pub(super) response: Duration,
}

/// Where things stand.
#[derive(Clone)]
enum State {
    Up {
        connection: MultiplexedConnection,
        number: u64,
    },
    Down {
        why: Trouble,
        /// The number of the latest attempt that came to nothing, or no longer holds.
        tried: u64,
    },
    Closed,
}

/// The connection. Closed when dropped.
pub(super) struct Link {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    client: Client,
    patience: Patience,
    state: watch::Sender<State>,
    /// Wakes the task from a pause between attempts.
    now: Notify,
}

impl Link {
    /// Connects, and stays connected from then on.
    pub(super) async fn open(client: Client, patience: Patience) -> Result<Self, Trouble> {
        let shared = Arc::new(Shared {
            client,
            patience,
            state: watch::Sender::new(State::Down {
                why: Trouble::Lost,
                tried: 0,
            }),
            now: Notify::new(),
        });
        shared.connect(1).await?;
        let task = tokio::spawn(Arc::clone(&shared).stay_connected());
        Ok(Self {
            shared,
            task: task.abort_handle(),
        })
    }

    /// Sends `command` and waits for its answer, if there is a connection.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let (mut connection, number) = match &*self.shared.state.borrow() {
            State::Up { connection, number } => (connection.clone(), *number),
            State::Down { why, .. } => return Err(why.clone()),
            State::Closed => return Err(Trouble::Closed),
        };
        let patience = self.shared.patience.response;
        let trouble = match timeout(patience, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Trouble::in_answer(&error),
            Err(_elapsed) => Trouble::Silent(patience),
        };
        if trouble.ends_connection() {
            self.shared.lose(number, &trouble);
        }
        Err(trouble)
    }

    /// Returns when there is a connection, after an attempt made now if need be.
    ///
    /// # Errors
    /// What that attempt met.
    pub(super) async fn come_up(&self) -> Result<(), Trouble> {
        let mut states = self.shared.state.subscribe();
        let before = match &*states.borrow_and_update() {
            State::Up { .. } => return Ok(()),
            State::Down { tried, .. } => *tried,
            State::Closed => return Err(Trouble::Closed),
        };
        self.shared.now.notify_one();
        let settled = |state: &State| match state {
            State::Up { .. } | State::Closed => true,
            State::Down { tried, .. } => *tried > before,
        };
        match states.wait_for(settled).await.as_deref() {
            Ok(State::Up { .. }) => Ok(()),
            Ok(State::Down { why, .. }) => Err(why.clone()),
            Ok(State::Closed) | Err(_) => Err(Trouble::Closed),
        }
    }

    /// Returns when there is a connection, however long that takes. `false`: there will be none.
    pub(super) async fn connected(&self) -> bool {
        let mut states = self.shared.state.subscribe();
        let settled = |state: &State| !matches!(state, State::Down { .. });
        matches!(
            states.wait_for(settled).await.as_deref(),
            Ok(State::Up { .. })
        )
    }

    /// Gives the connection up; nothing is reached any more.
    pub(super) fn close(&self) {
        self.task.abort();
        self.shared.state.send_replace(State::Closed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// One attempt; the connection it makes is in use when this returns.
    async fn connect(self: &Arc<Self>, number: u64) -> Result<(), Trouble> {
        let broken = Arc::new(AtomicBool::new(false));
        let config = {
            let (shared, broken) = (Arc::downgrade(self), Arc::clone(&broken));
            AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None)
                // Tells of a broken connection at once, and not only when somebody next uses it.
                .set_push_sender(move |push: redis::PushInfo| {
                    if push.kind == PushKind::Disconnection {
                        broken.store(true, Ordering::SeqCst);
                        if let Some(shared) = shared.upgrade() {
                            shared.lose(number, &Trouble::Lost);
                        }
                    }
                    Ok::<(), redis::aio::SendError>(())
                })
        };
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(self.patience.connect, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Trouble::in_greeting(&error)),
            Err(_elapsed) => return Err(Trouble::Silent(self.patience.connect)),
        };
        self.state.send_if_modified(|state| {
            let wanted = !matches!(state, State::Closed);
            if wanted {
                *state = State::Up { connection, number };
            }
            wanted
        });
        // It may have broken before anybody knew its number.
        if broken.load(Ordering::SeqCst) {
            self.lose(number, &Trouble::Lost);
        }
        Ok(())
    }

    /// The connection of this number is of no more use, unless there is another already.
    fn lose(&self, number: u64, why: &Trouble) {
        self.state.send_if_modified(|state| {
            let is_current =
                matches!(state, State::Up { number: current, .. } if *current == number);
            if is_current {
                *state = State::Down {
                    why: why.clone(),
                    tried: number,
                };
            }
            is_current
        });
    }

    async fn stay_connected(self: Arc<Self>) {
        let mut states = self.state.subscribe();
        let mut pauses = Pauses::new();
        for number in 2.. {
            let is_down = |state: &State| matches!(state, State::Down { .. });
            if states.wait_for(is_down).await.is_err() {
                return;
            }
            pauses.pause(&self.now).await;
            match self.connect(number).await {
                Ok(()) => pauses.up(),
                Err(trouble) => self.state.send_modify(|state| {
                    if let State::Down { why, tried } = state {
                        *why = trouble;
                        *tried = number;
                    }
                }),
            }
        }
    }
}

/// How long to wait between attempts. A server that takes connections only to drop them is treated like
/// one that takes none.
struct Pauses {
    next: Duration,
    up_since: Option<Instant>,
}

impl Pauses {
    fn new() -> Self {
        Self {
            next: FIRST_PAUSE,
            up_since: Some(Instant::now()),
        }
    }

    fn up(&mut self) {
        self.up_since = Some(Instant::now());
    }

    /// Waits as long as is right before the next attempt, or until somebody wants one now.
    async fn pause(&mut self, now: &Notify) {
        let lasted = self.up_since.take().map(|since| since.elapsed());
        if lasted.is_some_and(|lasted| lasted >= LONGEST_PAUSE) {
            // A connection that was good for a while: try at once, then patiently again.
            self.next = FIRST_PAUSE;
            return;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        if timeout(jittered(pause), now.notified()).await.is_ok() {
            self.next = pause;
        }
    }
}

/// Between half of `pause` and all of it, so that many processes do not return in step.
fn jittered(pause: Duration) -> Duration {
    use std::hash::BuildHasher;

    let random = std::hash::RandomState::new().hash_one(pause);
    let half = pause / 2;
    half + half * u32::from(random.to_le_bytes()[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_bound_and_begin_anew_after_a_good_connection() {
        let now = Notify::new();
        let mut pauses = Pauses::new();
        let mut waited = Vec::new();
        for _ in 0..8 {
            let began = Instant::now();
            pauses.pause(&now).await;
            waited.push(began.elapsed());
        }
        let mut bound = FIRST_PAUSE;
        for waited in waited {
            assert!(
                bound / 2 <= waited && waited <= bound + FIRST_PAUSE,
                "{waited:?}, {bound:?}"
            );
            bound = (bound * 2).min(LONGEST_PAUSE);
        }

        pauses.up();
        tokio::time::advance(LONGEST_PAUSE).await;
        let began = Instant::now();
        pauses.pause(&now).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(pauses.next, FIRST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_dropped_at_once_are_not_asked_for_in_a_rush() {
        let now = Notify::new();
        let mut pauses = Pauses::new();
        let began = Instant::now();
        for _ in 0..20 {
            pauses.up();
            pauses.pause(&now).await;
        }
        assert!(began.elapsed() > LONGEST_PAUSE, "{:?}", began.elapsed());
    }
}
