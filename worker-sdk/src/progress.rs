//! Progress: posted as often as a handler likes, sent as seldom as is useful.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crewcall_proto::response::ProgressionKind;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    error::truncated,
    limits::{PROGRESS_INTERVAL, PROGRESS_MESSAGE_CHARACTERS_MAX, START_REPORT_AFTER},
    mutant::mutant,
    stop_cause::StopCause,
};

/// What a handler last said of its progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// How much is done, 0 to 100.
    pub percent: u8,
    /// What is being done; may be empty.
    pub message: String,
}

/// Sees every progress that a handler posts, and may stop the attempt: for tests and for `--run-once`.
pub(crate) type ProgressObserver = Arc<dyn Fn(&Progress) -> Option<StopCause> + Send + Sync>;

/// Where a handler posts its progress. It holds the latest only.
pub(crate) struct ProgressBoard {
    latest: watch::Sender<Progress>,
    observer: Option<ProgressObserver>,
}

impl ProgressBoard {
    pub(crate) fn new(observer: Option<ProgressObserver>) -> (Self, watch::Receiver<Progress>) {
        let (latest, news) = watch::channel(Progress::default());
        (Self { latest, observer }, news)
    }

    /// Puts up the news; returns why the attempt should stop, if the observer says so.
    pub(crate) fn post(&self, percent: u64, message: String) -> Option<StopCause> {
        let mut stop = None;
        let message = truncated(message, PROGRESS_MESSAGE_CHARACTERS_MAX);
        self.latest.send_modify(|latest| {
            let percent = u8::try_from(percent.min(100)).unwrap_or(100);
            *latest = Progress { percent: percent.max(latest.percent), message };
            if let Some(observer) = &self.observer {
                stop = observer(latest);
            }
        });
        stop
    }
}

/// When the next report of an attempt is due. Pure: it is told the time.
#[derive(Debug)]
struct ReportSchedule {
    /// When the start is reported by itself; `None` once anything was reported.
    start_report_at: Option<Instant>,
    /// Before this, news wait.
    progress_at: Instant,
}

impl ReportSchedule {
    fn new(started_at: Instant, start_reported: bool) -> Self {
        let start_report_at = if start_reported { None } else { Some(started_at + START_REPORT_AFTER) };
        Self { start_report_at, progress_at: started_at + PROGRESS_INTERVAL }
    }

    /// When to report next; `None` if there is nothing to say.
    fn due_at(&self, has_news: bool) -> Option<Instant> {
        if has_news {
            Some(self.start_report_at.map_or(self.progress_at, |at| at.min(self.progress_at)))
        } else {
            self.start_report_at
        }
    }

    fn mark_reported(&mut self, now: Instant) {
        self.start_report_at = None;
        self.progress_at = now + PROGRESS_INTERVAL;
    }
}

/// One report of a running attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Counts the reports of one execution, from 1.
    pub(crate) seq: u64,
    pub(crate) kind: ProgressionKind,
    pub(crate) progress: Option<Progress>,
}

impl Report {
    /// Tells of the start, and nothing else.
    pub(crate) const fn start(seq: u64) -> Self {
        Self { seq, kind: ProgressionKind::Started, progress: None }
    }
}

/// Numbers what one execution says on its way, from 1: its progressions and its `held` share the counter.
#[derive(Debug, Default)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    pub(crate) fn next(&self) -> u64 {
        if mutant("seq_stuck") { 1 } else { self.0.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// What is still to be said of an attempt's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartReport {
    /// Nothing: it was reported.
    Done,
    /// It is reported unless progress is sooner, which says as much.
    Unless,
    /// It is reported before any progress, which may get lost.
    First,
}

/// Reports the start (unless that was done) and the progress of an attempt for as long as it is polled.
///
/// The next report waits until `send` is done, so there is at most one under way; what the handler posts
/// meanwhile is coalesced. Dropping the future drops a report that is under way: a result never waits for it.
pub(crate) async fn report_progress<Sent: Future<Output = ()>>(
    mut news: watch::Receiver<Progress>,
    mut start: StartReport,
    sequence: &Sequence,
    send: impl Fn(Report) -> Sent,
) {
    let mut schedule = ReportSchedule::new(Instant::now(), start == StartReport::Done);
    loop {
        let has_news = until_due(&mut news, &schedule).await;
        let seq = sequence.next();
        let start_first = std::mem::replace(&mut start, StartReport::Done) == StartReport::First;
        if has_news && start_first {
            news.mark_changed(); // they come next
        }
        let report = if has_news && !start_first {
            let progress = news.borrow_and_update().clone();
            Report { seq, kind: ProgressionKind::Progress, progress: Some(progress) }
        } else {
            Report::start(seq)
        };
        schedule.mark_reported(Instant::now());
        send(report).await;
    }
}

/// Waits for the next report; returns whether there is progress in it.
async fn until_due(news: &mut watch::Receiver<Progress>, schedule: &ReportSchedule) -> bool {
    let mut has_news = false;
    loop {
        match schedule.due_at(has_news) {
            Some(due_at) if has_news => {
                sleep_until(due_at).await;
                return true;
            }
            Some(due_at) => tokio::select! {
                () = sleep_until(due_at) => return false,
                () = wait_for_news(news) => has_news = true,
            },
            None => {
                wait_for_news(news).await;
                has_news = true;
            }
        }
    }
}

async fn wait_for_news(news: &mut watch::Receiver<Progress>) {
    if news.changed().await.is_err() {
        // The handler is gone and posts no more; whoever polls us drops us.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use super::*;

    type Sent = Arc<Mutex<Vec<(Duration, Report)>>>;

    /// Runs `report_progress` beside `handler` in paused time and returns what was sent when.
    async fn reports<H: Future<Output = ()>>(
        start: StartReport,
        handler: impl FnOnce(ProgressBoard) -> H,
    ) -> Vec<(u128, u64, Option<u8>)> {
        let (board, news) = ProgressBoard::new(None);
        let (sent, began): (Sent, _) = (Arc::default(), Instant::now());
        let sequence = Sequence::default();
        if start == StartReport::Done {
            assert_eq!(sequence.next(), 1);
        }
        let reporting = report_progress(news, start, &sequence, |report| {
            sent.lock().unwrap().push((began.elapsed(), report));
            std::future::ready(())
        });
        tokio::select! {
            () = reporting => unreachable!("it reports until it is dropped"),
            () = handler(board) => {}
        }
        let sent = sent.lock().unwrap();
        sent.iter()
            .map(|(at, report)| {
                let percent = report.progress.as_ref().map(|progress| progress.percent);
                (at.as_millis(), report.seq, percent)
            })
            .collect()
    }

    async fn pause(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_attempt_says_nothing() {
        let sent = reports(StartReport::Unless, async |board| {
            board.post(50, String::new());
            pause(90).await;
            drop(board);
        });
        assert_eq!(sent.await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_attempt_reports_its_start_once_and_late() {
        let sent = reports(StartReport::Unless, async |board| {
            pause(2_000).await;
            drop(board);
        });
        assert_eq!(sent.await, [(250, 1, None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_was_reported_is_not_reported_again() {
        let sent = reports(StartReport::Done, async |board| {
            pause(500).await;
            board.post(1, String::new());
            pause(500).await;
            drop(board);
        });
        assert_eq!(sent.await, [(500, 2, Some(1))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_must_be_known_is_reported_before_any_progress() {
        let sent = reports(StartReport::First, async |board| {
            pause(20).await;
            board.post(10, String::new());
            pause(500).await;
            drop(board);
        });
        assert_eq!(sent.await, [(100, 1, None), (200, 2, Some(10))]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_news_of_an_interval_wins_and_is_the_start_report() {
        let sent = reports(StartReport::Unless, async |board| {
            // Off the beat of the intervals, so that no two timers fire at once.
            pause(2).await;
            for step in 1..=100_u64 {
                pause(5).await;
                board.post(step, format!("step {step}"));
            }
            pause(1_000).await;
            drop(board);
        });
        let sent = sent.await;
        assert_eq!(sent.first(), Some(&(100, 1, Some(19))), "nothing before the first interval is over");
        assert_eq!(sent.last().and_then(|(_, _, percent)| *percent), Some(100), "the last news is sent");
        assert_eq!(sent.len(), 6, "one per interval, no start report beside them: {sent:?}");
        assert!(sent.is_sorted_by(|before, after| before.0 + 100 <= after.0 && before.1 < after.1));
    }

    #[test]
    fn percentages_stay_in_range_and_never_go_down() {
        let (board, news) = ProgressBoard::new(None);
        board.post(70, "ß".repeat(1_000));
        assert_eq!(news.borrow().message.chars().count(), PROGRESS_MESSAGE_CHARACTERS_MAX);
        board.post(30, String::new());
        assert_eq!(news.borrow().percent, 70);
        board.post(u64::MAX, String::new());
        assert_eq!(news.borrow().percent, 100);
    }
}
