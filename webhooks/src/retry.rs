use std::time::Duration;

use crate::limits::RETRY_AFTER_MAX;

/// How long after each failed try the next one comes: ten tries over a little more than three days, as Standard Webhooks
/// recommends. That is a weekend and a Monday for people to mend what is broken.
pub const RETRY_DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(14 * HOUR),
    Duration::from_secs(20 * HOUR),
    Duration::from_secs(24 * HOUR),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// How long to wait after so many tries, the last of which failed and may have been told when to come again. `None`: that was
/// the last one. The first try comes at once.
///
/// The receiver may ask for a later try, up to a day later, but for no earlier one. Jitter is for the caller to add.
#[must_use]
pub fn next_try(tries_made: usize, retry_after: Option<Duration>) -> Option<Duration> {
    let Some(failed) = tries_made.checked_sub(1) else { return Some(Duration::ZERO) };
    let planned = *RETRY_DELAYS.get(failed)?;
    Some(planned.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_take_as_long_as_the_standard_says() {
        let delays: Vec<Duration> = (0..).map_while(|made| next_try(made, None)).collect();
        assert_eq!(delays.len(), 10);
        assert_eq!(delays[0], Duration::ZERO);
        // The standard's table: the last try comes 75:35:05 after the first.
        let total: Duration = delays.iter().sum();
        assert_eq!(total, Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        assert!(delays.is_sorted(), "each wait is at least as long as the one before");
    }

    #[test]
    fn a_receiver_may_ask_for_a_later_try_but_not_for_an_earlier_one_or_one_more() {
        let asked = |made, seconds| next_try(made, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(1, 60), Some(Duration::from_secs(60)));
        assert_eq!(asked(2, 60), Some(Duration::from_secs(300)));
        assert_eq!(asked(1, 1_000_000), Some(RETRY_AFTER_MAX));
        assert_eq!(asked(10, 1), None);
    }
}
