//! Waits for what takes its time: always with an end.

use std::time::{Duration, Instant};

/// Asks every 20 ms until the answer is `Ok`; panics with the last `Err` after `limit`.
#[track_caller]
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if Instant::now() >= deadline => panic!("not so after {} s: {why}", limit.as_secs_f32()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
