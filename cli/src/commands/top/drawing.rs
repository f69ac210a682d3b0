//! How `crewcall top` looks: a line of all, the list, a line of keys.

use super::screen::{Mode, Request, Screen, Sort, Tab};
use crate::{
    api::{Document, JobType},
    layout::{Column, fit},
    output::{Overflow, Show, View, rows_in_columns},
    text::printable,
    times,
};

/// The columns of the list of types.
const TYPE_COLUMNS: [Column; 9] = [
    Column::new("  TYPE").shortened_to(14),
    Column::new("WAITING"),
    Column::new("RUNNING"),
    Column::new("RATE/S").left_out(3),
    Column::new("FAILED"),
    Column::new("P95").left_out(4),
    Column::new("OLDEST").left_out(2),
    Column::new("WORKERS").left_out(5),
    Column::new("STATUS").shortened_to(6).left_out(1),
];

impl Screen {
    /// The lines, as many as there are at most, none wider than the view.
    pub(super) fn lines(&mut self, view: &View, height: u16) -> Vec<String> {
        let (width, height) = (view.width.unwrap_or_default(), usize::from(height));
        self.set_width(width);
        if let Mode::Inspect(details) = &self.mode {
            let room = height.saturating_sub(1);
            let shown = details.lines().take(room).map(|line| fit(&printable(line), width));
            return shown.chain([fit("any key goes back", width)]).collect();
        }
        let list = match self.tab {
            Tab::Types => rows_in_columns(&TYPE_COLUMNS, self.type_rows(view), view, true, Overflow::Cut),
            Tab::Workers => listed(&self.workers(), self.selected, view),
            Tab::Jobs => listed(&self.jobs(), self.selected, view),
        };
        let mut rows = list.lines();
        let titles = rows.next().unwrap_or_default().to_owned();
        let rows: Vec<&str> = rows.collect();
        // Two lines above the rows, two below: what is selected stays in sight.
        let room = height.saturating_sub(4).max(1);
        let first = (self.selected + 1).saturating_sub(room);
        let shown = rows.iter().skip(first).take(room).map(|row| (*row).to_owned());
        let mut lines: Vec<String> = [fit(&self.summary(), width), titles].into_iter().chain(shown).collect();
        if rows.is_empty() {
            lines.push(fit("  nothing here", width));
        }
        lines.push(String::new());
        lines.push(fit(&printable(&self.foot()), width));
        lines
    }

    /// All in one line.
    fn summary(&self) -> String {
        let sum = |count: fn(&JobType) -> u64| self.sight.types.iter().map(|found| count(found)).sum::<u64>();
        let (waiting, running) = (sum(JobType::waiting), sum(JobType::running));
        // A sum of nothing would be -0.
        let rate = self.rates.values().fold(0.0, |sum, rate| sum + rate);
        let there = self.sight.workers.iter().filter(|worker| worker.status != "lost");
        let (count, busy, slots) = there.fold((0, 0, 0), |(count, busy, slots), worker| {
            (count + 1, busy + worker.slots_busy, slots + worker.slots)
        });
        let title = match self.tab {
            Tab::Types => format!("types by {}", by(self.sort)),
            Tab::Workers => "workers".to_owned(),
            Tab::Jobs => self.jobs_title(),
        };
        format!(
            "{title} | {waiting} waiting, {running} running, {rate:.1}/s | {count} workers, {busy}/{slots} slots"
        )
    }

    fn foot(&self) -> String {
        match (&self.mode, &self.told) {
            (Mode::Filter, _) => format!("/{}_  Enter keeps it, Esc ends it", self.filter),
            (Mode::Confirm(request), _) => {
                format!("{}? y does it, any other key does not", question(request))
            }
            (_, Some(told)) => told.clone(),
            _ => {
                let of_tab = match self.tab {
                    Tab::Types => "Enter jobs  p pause  s sort",
                    Tab::Workers => "Enter its job  d drain",
                    Tab::Jobs => "Enter inspect  c cancel  r retry",
                };
                let filter =
                    if self.filter.is_empty() { String::new() } else { format!("  (only /{})", self.filter) };
                format!("q quit  Tab next list  {of_tab}  / filter{filter}")
            }
        }
    }

    fn type_rows(&self, view: &View) -> Vec<Vec<String>> {
        let row = |(index, found): (usize, &&Document<JobType>)| {
            let p95 = self.sight.p95.get(&found.name).map(|seconds| {
                std::time::Duration::try_from_secs_f64(*seconds).map(times::length).unwrap_or_default()
            });
            vec![
                marked(&found.name, index == self.selected),
                found.waiting().to_string(),
                found.running().to_string(),
                format!("{:.1}", self.rate(&found.name)),
                found.count("failed").to_string(),
                p95.unwrap_or_default(),
                times::age(found.oldest_waiting_at.as_deref(), view.now),
                found.workers.to_string(),
                found.status(),
            ]
        };
        self.types().iter().enumerate().map(row).collect()
    }
}

/// A list as it looks elsewhere, with a mark before what is selected.
fn listed<T: Show>(items: &[&Document<T>], selected: usize, view: &View) -> String {
    let mut columns = T::COLUMNS.to_vec();
    columns[0] = Column::new("  ID");
    let rows = items.iter().enumerate().map(|(index, item)| {
        let mut row = item.row(view);
        row[0] = marked(&row[0], index == selected);
        row
    });
    rows_in_columns(&columns, rows.collect(), view, true, Overflow::Cut)
}

fn marked(text: &str, is_selected: bool) -> String {
    format!("{}{text}", if is_selected { "> " } else { "  " })
}

fn by(sort: Sort) -> &'static str {
    match sort {
        Sort::Name => "name",
        Sort::Waiting => "waiting jobs",
        Sort::Running => "running jobs",
        Sort::Rate => "rate",
        Sort::Failed => "failed jobs",
        Sort::Oldest => "oldest waiting",
    }
}

fn question(request: &Request) -> String {
    match request {
        Request::Quit => "quit".to_owned(),
        Request::Pause(name) => format!("pause {name}"),
        Request::Resume(name) => format!("resume {name}"),
        Request::Drain(id) => format!("drain {id}"),
        Request::Undrain(id) => format!("let {id} take jobs again"),
        Request::Cancel(id) => format!("cancel {id}"),
        Request::Retry(id) => format!("retry {id}"),
        Request::Inspect(id) => format!("inspect {id}"),
    }
}
