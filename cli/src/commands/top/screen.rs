//! What `crewcall top` shows, and what its keys mean.

use std::{cmp::Reverse, collections::BTreeMap};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::Instant;

use crate::api::{Document, Job, JobType, Worker};

/// How much a page key moves.
const PAGE_LINES: usize = 10;

/// What was seen at one moment.
#[derive(Debug)]
pub(super) struct Sight {
    /// When.
    pub(super) at: Instant,
    /// The types.
    pub(super) types: Vec<Document<JobType>>,
    /// The workers.
    pub(super) workers: Vec<Document<Worker>>,
    /// The newest jobs.
    pub(super) jobs: Vec<Document<Job>>,
    /// How many jobs of each type have ended.
    pub(super) finished: BTreeMap<String, f64>,
    /// Within how many seconds 95 of 100 attempts of each type were done.
    pub(super) p95: BTreeMap<String, f64>,
}

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// Of types.
    Types,
    /// Of workers.
    Workers,
    /// Of jobs.
    Jobs,
}

/// What keys mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move and act.
    List,
    /// They are what to look for.
    Filter,
    /// They say whether to do it.
    Confirm(Request),
    /// They end the look at one thing.
    Inspect(String),
}

/// What the backend is asked for, or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Pause(String),
    Resume(String),
    Drain(String),
    Undrain(String),
    Cancel(String),
    Retry(String),
    Inspect(String),
}

/// In which order types are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Waiting,
    Running,
    Rate,
    Failed,
    Oldest,
}

/// All of it.
pub(super) struct Screen {
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) selected: usize,
    pub(super) sight: Sight,
    /// How many jobs of each type ended in a second, between the last two looks.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) told: Option<String>,
    /// The type whose jobs are shown; all without.
    of_type: Option<String>,
    width: u16,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Name => Self::Waiting,
            Self::Waiting => Self::Running,
            Self::Running => Self::Rate,
            Self::Rate => Self::Failed,
            Self::Failed => Self::Oldest,
            Self::Oldest => Self::Name,
        }
    }
}

impl Screen {
    /// The list of types, as it is at first.
    pub(super) fn new(sight: Sight) -> Self {
        Self {
            tab: Tab::Types,
            mode: Mode::List,
            sort: Sort::Name,
            filter: String::new(),
            selected: 0,
            sight,
            rates: BTreeMap::new(),
            told: None,
            of_type: None,
            width: 0,
        }
    }

    /// Takes a newer look.
    pub(super) fn see(&mut self, sight: Sight) {
        let seconds = sight.at.duration_since(self.sight.at).as_secs_f64();
        if seconds > 0.0 {
            let before = |name: &str| self.sight.finished.get(name).copied().unwrap_or_default();
            // A backend that was started again counts from zero.
            let rate = |name: &String, now: &f64| ((now - before(name)) / seconds).max(0.0);
            self.rates = sight.finished.iter().map(|(name, now)| (name.clone(), rate(name, now))).collect();
        }
        self.sight = sight;
        self.selected = self.selected.min(self.count().saturating_sub(1));
    }

    /// Says something below the list, until the next key.
    pub(super) fn tell(&mut self, text: String) {
        self.told = Some(text);
    }

    /// Shows one thing alone.
    pub(super) fn inspect(&mut self, details: String) {
        self.mode = Mode::Inspect(details);
    }

    /// Of which type jobs are wanted.
    pub(super) fn type_of_jobs(&self) -> Option<String> {
        self.of_type.clone()
    }

    /// How wide it was when it was last drawn.
    pub(super) fn width(&self) -> u16 {
        self.width
    }

    pub(super) fn set_width(&mut self, width: usize) {
        self.width = u16::try_from(width).unwrap_or(u16::MAX);
    }

    /// What a key does.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Option<Request> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Request::Quit);
        }
        self.told = None;
        match std::mem::replace(&mut self.mode, Mode::List) {
            Mode::Inspect(_) => None,
            Mode::Confirm(request) => (key.code == KeyCode::Char('y')).then_some(request),
            Mode::Filter => {
                self.type_filter(key.code);
                None
            }
            Mode::List => self.on_list_key(key.code),
        }
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => return self.filter.clear(),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(character) => self.filter.push(character),
            _ => {}
        }
        self.selected = 0;
        self.mode = Mode::Filter;
    }

    fn on_list_key(&mut self, key: KeyCode) -> Option<Request> {
        let last = self.count().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return Some(Request::Quit),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected = (self.selected + PAGE_LINES).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE_LINES),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            KeyCode::Tab => self.go_to(match self.tab {
                Tab::Types => Tab::Workers,
                Tab::Workers => Tab::Jobs,
                Tab::Jobs => Tab::Types,
            }),
            KeyCode::Esc if self.tab != Tab::Types => self.go_to(Tab::Types),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char(action) => self.mode = self.action(action).map_or(Mode::List, Mode::Confirm),
            _ => {}
        }
        None
    }

    fn go_to(&mut self, tab: Tab) {
        self.tab = tab;
        self.selected = 0;
        self.filter.clear();
        self.of_type = None;
    }

    /// Looks closer: at the jobs of a type or a worker, at one job.
    fn enter(&mut self) -> Option<Request> {
        match self.tab {
            Tab::Types => {
                let name = self.types().get(self.selected)?.name.clone();
                self.go_to(Tab::Jobs);
                self.sight.jobs.retain(|job| job.job_type == name);
                self.of_type = Some(name);
                None
            }
            Tab::Workers => {
                let running = self.workers().get(self.selected)?.orders.first()?.job_id.clone();
                Some(Request::Inspect(running))
            }
            Tab::Jobs => Some(Request::Inspect(self.jobs().get(self.selected)?.id.clone())),
        }
    }

    /// What a letter would do to what is selected.
    fn action(&self, letter: char) -> Option<Request> {
        match (self.tab, letter) {
            (Tab::Types, 'p') => {
                let found = *self.types().get(self.selected)?;
                let name = found.name.clone();
                Some(if found.paused.is_some() { Request::Resume(name) } else { Request::Pause(name) })
            }
            (Tab::Workers, 'd') => {
                let worker = *self.workers().get(self.selected)?;
                let id = worker.id.clone();
                Some(if worker.status == "draining" { Request::Undrain(id) } else { Request::Drain(id) })
            }
            (Tab::Jobs, 'c') => Some(Request::Cancel(self.jobs().get(self.selected)?.id.clone())),
            (Tab::Jobs, 'r') => Some(Request::Retry(self.jobs().get(self.selected)?.id.clone())),
            _ => None,
        }
    }

    fn count(&self) -> usize {
        match self.tab {
            Tab::Types => self.types().len(),
            Tab::Workers => self.workers().len(),
            Tab::Jobs => self.jobs().len(),
        }
    }

    fn fits(&self, text: &str) -> bool {
        text.contains(&self.filter)
    }

    /// The types that are shown, in their order.
    pub(super) fn types(&self) -> Vec<&Document<JobType>> {
        let mut types: Vec<_> = self.sight.types.iter().filter(|found| self.fits(&found.name)).collect();
        types.sort_by(|a, b| a.name.cmp(&b.name));
        match self.sort {
            Sort::Name => {}
            Sort::Waiting => types.sort_by_key(|found| Reverse(found.waiting())),
            Sort::Running => types.sort_by_key(|found| Reverse(found.running())),
            Sort::Rate => types.sort_by(|a, b| self.rate(&b.name).total_cmp(&self.rate(&a.name))),
            Sort::Failed => types.sort_by_key(|found| Reverse(found.count("failed"))),
            Sort::Oldest => {
                types.sort_by_key(|found| {
                    (found.oldest_waiting_at.is_none(), found.oldest_waiting_at.clone())
                });
            }
        }
        types
    }

    /// How many of its jobs end in a second.
    pub(super) fn rate(&self, name: &str) -> f64 {
        self.rates.get(name).copied().unwrap_or_default()
    }

    pub(super) fn workers(&self) -> Vec<&Document<Worker>> {
        let mut workers: Vec<_> =
            self.sight.workers.iter().filter(|worker| self.fits(&worker.name)).collect();
        workers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        workers
    }

    pub(super) fn jobs(&self) -> Vec<&Document<Job>> {
        let fits = |job: &&Document<Job>| {
            self.fits(&job.job_type) || self.fits(&job.id) || self.fits(job.state.word())
        };
        self.sight.jobs.iter().filter(fits).collect()
    }

    /// What stands above the list of jobs.
    pub(super) fn jobs_title(&self) -> String {
        self.of_type
            .as_ref()
            .map_or_else(|| "newest jobs".to_owned(), |name| format!("newest jobs of {name}"))
    }
}
