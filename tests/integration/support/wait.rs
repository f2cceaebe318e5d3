//! Deadlines with polling: the only way tests wait for something to become true.

use std::time::{Duration, Instant};

/// Long enough for a debug build on a busy machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer, or panics with `what`.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, probe).unwrap_or_else(|| panic!("waited {DEADLINE:?} for {what}"))
}

/// Asks again and again until there is an answer or the time is over.
pub fn within<T>(time: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

mod tests {
    use super::*;

    #[test]
    fn within_gives_the_first_answer_and_none_when_time_is_over() {
        let mut asked = 0;
        let third = within(DEADLINE, || {
            asked += 1;
            (asked == 3).then_some("third")
        });
        assert_eq!(third, Some("third"));
        assert_eq!(within(Duration::from_millis(20), || None::<()>), None);
    }
}
