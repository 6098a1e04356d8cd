//! Between those who log and the thread that writes: one mebibyte of text. Whoever logs never waits for the other end;
//! a line that does not fit is dropped, and the next one that does is preceded by how many were.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The most text that waits to be written.
const CAPACITY: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// There is something to write, or no more will come.
    filled: Condvar,
    /// What there was is written.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// Lines dropped since the last one that was taken.
    missing: u64,
    writing: bool,
}

impl Buffer {
    /// Starts the thread that writes to `to`; it ends with the process.
    pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let buffer = Arc::new(Self::default());
        let source = Arc::clone(&buffer);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || source.write_all_to(to))?;
        Ok(buffer)
    }

    /// Takes whole lines, or counts them as dropped.
    pub(super) fn push(&self, lines: &str) {
        let mut state = self.lock();
        if state.text.len() + lines.len() > CAPACITY {
            state.missing += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.text.extend_from_slice(lines.as_bytes());
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether everything was written in time.
    pub(super) fn flush(&self, at_most: Duration) -> bool {
        let waiting = |state: &mut State| state.writing || !state.text.is_empty();
        let waited = self
            .emptied
            .wait_timeout_while(self.lock(), at_most, waiting);
        let (_state, ended) = waited.unwrap_or_else(PoisonError::into_inner);
        !ended.timed_out()
    }

    fn write_all_to(&self, mut to: impl Write) {
        let mut text = Vec::new();
        loop {
            let waiting = |state: &mut State| state.text.is_empty();
            let state = self.filled.wait_while(self.lock(), waiting);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut state.text, &mut text);
            let missing = std::mem::take(&mut state.missing);
            state.writing = true;
            drop(state);
            // Where nobody reads any more the lines are lost, and the process goes on.
            if to.write_all(&text).and_then(|()| to.flush()).is_err() {
                self.dropped.fetch_add(lines(&text), Ordering::Relaxed);
            } else if missing > 0 {
                let said = format!("[{missing} log lines were dropped here: nobody read them]\n");
                drop(to.write_all(said.as_bytes()));
            }
            text.clear();
            // One burst must not hold its memory for ever.
            text.shrink_to(CAPACITY >> 4);
            self.lock().writing = false;
            self.emptied.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines(text: &[u8]) -> u64 {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX)
}
