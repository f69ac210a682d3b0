//! The progress of one job, on standard error: a bar on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    api::{Job, JobState, Progress},
    output::print_message,
    tables::remark,
    text::shorten,
};

/// How often the bar's spinner turns: it shows that we are alive while a job waits.
const SPINNER_TICK: Duration = Duration::from_millis(120);
/// The longest message beside the bar, in characters; the bar cuts it to the terminal's width too.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Shows how a job is getting on.
pub(crate) struct ProgressDisplay {
    bar: Option<ProgressBar>,
    /// What the last line was printed for.
    last_key: String,
    /// What was last said about the job.
    last_message: String,
}

/// What is said when the backend answers again.
pub(crate) const BACK: &str = "the backend is back";

/// What is said when the backend does not answer any more.
pub(crate) fn went_away(reason: &str) -> String {
    format!("the backend went away ({reason}); connecting again")
}

impl ProgressDisplay {
    /// Starts with an empty bar, or with nothing.
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = bar(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(SPINNER_TICK);
            bar
        });
        Self { bar, last_key: String::new(), last_message: String::new() }
    }

    /// Shows the job as it is now. Without a terminal, a line is printed when the state, the percentage or
    /// what it waits for is another.
    pub(crate) fn show(&mut self, job: &Job) {
        let percent = percent(job);
        let message = if self.bar.is_some() { bar_message(job) } else { message(job) };
        match &self.bar {
            Some(bar) => {
                bar.set_position(percent);
                bar.set_message(message.clone());
            }
            None => {
                // Only the percentage makes a running job worth another line, not each new message.
                let key = match job.state {
                    JobState::Running => format!("{} {} {percent}", job.attempt, job.state.word()),
                    _ => format!("{} {message}", job.attempt),
                };
                // That it is completed, and how long it took, is said when the result is printed.
                if key != self.last_key && job.state != JobState::Completed {
                    print_message(&message);
                    self.last_key = key;
                }
            }
        }
        self.last_message = message;
    }

    /// Says that the backend is away.
    pub(crate) fn lost(&mut self, reason: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(shorten(&went_away(reason), MESSAGE_CHARACTERS_MAX)),
            None => print_message(&went_away(reason)),
        }
    }

    /// Says that the backend is back, and how the job was doing.
    pub(crate) fn back(&mut self) {
        match &self.bar {
            Some(bar) => bar.set_message(self.last_message.clone()),
            None => print_message(BACK),
        }
    }
}

/// Takes the bar away, so that whatever is printed next stands alone.
impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bar:30} {percent:>3}% {wide_msg}")
        .expect("a fixed template");
    ProgressBar::with_draw_target(Some(100), target).with_style(style)
}

/// `running 40% resizing`, `ready: waits for a free slot`, `ready after attempt 1 failed: …`
fn message(job: &Job) -> String {
    let remark = remark(job);
    let text = match (job.state, remark.is_empty()) {
        (state, true) => state.word().to_owned(),
        (JobState::Running, false) => format!("running {remark}"),
        (state, false) => format!("{}: {remark}", state.word()),
    };
    shorten(&text, MESSAGE_CHARACTERS_MAX)
}

/// The same beside a bar, which shows the percentage itself.
fn bar_message(job: &Job) -> String {
    let doing = job.progress.as_ref().and_then(|progress| progress.message.as_deref()).unwrap_or_default();
    match (job.state, doing) {
        (JobState::Running, "") => "running".to_owned(),
        (JobState::Running, doing) => shorten(&format!("running: {doing}"), MESSAGE_CHARACTERS_MAX),
        _ => message(job),
    }
}

fn percent(job: &Job) -> u64 {
    if job.state == JobState::Completed {
        return 100;
    }
    job.progress.as_ref().and_then(Progress::percent).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;
    use serde_json::json;

    use super::*;
    use crate::terminals::on_widths;

    /// A terminal that remembers what its line says.
    #[derive(Debug, Clone, Default)]
    struct Line {
        width: u16,
        text: Arc<Mutex<String>>,
    }

    impl TermLike for Line {
        fn width(&self) -> u16 {
            self.width
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.text.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.text.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_fits_a_terminal() {
        let message = format!("reading {}", "a/long/path/".repeat(30));
        let job = json!({"id": "j", "type": "t", "state": "running", "progress": {"percent": 40.6, "message": message}});
        let job: Job = serde_json::from_value(job).unwrap();
        let drawn = |width: usize, _| {
            let line = Line { width: width.try_into().unwrap(), ..Line::default() };
            let bar = bar(ProgressDrawTarget::term_like(Box::new(line.clone())));
            let mut display =
                ProgressDisplay { bar: Some(bar), last_key: String::new(), last_message: String::new() };
            display.show(&job);
            line.text.lock().unwrap().trim_end().to_owned()
        };
        assert!(!drawn(20, true).is_empty());
        insta::assert_snapshot!(on_widths(drawn));
    }

    #[test]
    fn messages() {
        let shown: Vec<String> = [
            json!({"state": "dispatched"}),
            json!({"state": "unroutable", "waiting_for": {"message": "no worker has ever served t"}}),
            json!({"state": "running", "progress": {"percent": 40.6, "message": "resizing"}}),
            json!({"state": "running", "progress": null}),
            json!({"state": "completed", "progress": {"percent": 95.0, "message": "nearly"}}),
            json!({"state": "failed", "error": {"kind": "panic", "message": "it broke"}}),
            json!({"state": "running", "progress": {"percent": -7.0, "message": "odd"}}),
        ]
        .into_iter()
        .map(|mut job| {
            job["id"] = "j".into();
            job["type"] = "t".into();
            let job: Job = serde_json::from_value(job).unwrap();
            format!("{:>3} {} | {}", percent(&job), message(&job), bar_message(&job))
        })
        .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }
}
