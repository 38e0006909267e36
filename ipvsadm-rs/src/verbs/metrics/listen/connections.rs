//! The limit of open connections.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::{AbortHandle, JoinHandle};

/// Connections that are open at once. Prometheus needs one for each scrape.
const MAX: usize = 64;

/// The tasks of open connections, the oldest first.
#[derive(Default)]
pub(super) struct Connections(VecDeque<AbortHandle>);

impl Connections {
    /// Serves a connection in a task of its own. If there are too many, closes the oldest one, because a scrape is short.
    /// So clients that keep connections open cannot lock others out.
    pub(super) fn start(&mut self, serve: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.0.retain(|task| !task.is_finished());
        if self.0.len() >= MAX
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        let task = tokio::spawn(serve);
        self.0.push_back(task.abort_handle());
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_connection_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut connections = Connections::default();
            assert!(connections.start(async {}).await.is_ok());
            let waiting: Vec<_> = (0..MAX).map(|_| connections.start(std::future::pending())).collect();
            assert_eq!(connections.0.len(), MAX, "the first one has ended");
            let last = connections.start(std::future::pending());
            let mut waiting = waiting.into_iter();
            assert!(waiting.next().expect("a task").await.is_err_and(|error| error.is_cancelled()));
            assert!(!last.is_finished() && waiting.all(|task| !task.is_finished()));
        });
    }
}
