//! How job types are, counted when somebody asks.
//!
//! These are most series of a scrape, and new at each. They are written as text right away: the library would make a metric of
//! each, with copies of its names and labels, to write it once and throw it away.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crewcall_proto::JobType;

use super::{Metrics, registrar::Registrar, type_labels::OTHER_TYPES};

/// A job type as it is now.
#[derive(Debug)]
pub(crate) struct TypeFigures {
    /// Its name.
    pub(crate) job_type: JobType,
    /// How many jobs are in each state.
    pub(crate) jobs: Vec<(&'static str, u64)>,
    /// How many jobs that are due and have not started wait for what.
    pub(crate) waiting: Vec<(&'static str, u64)>,
    /// How old the oldest of those is.
    pub(crate) oldest_waiting: Option<Duration>,
    /// How many slots its work would fill.
    pub(crate) slots_wanted: u64,
    /// How many attempts may be with the broker at once.
    pub(crate) window: usize,
    /// How many are.
    pub(crate) window_used: usize,
    /// How many workers serve it.
    pub(crate) workers: usize,
    /// How many slots they have.
    pub(crate) slots: usize,
    /// Whether it is paused.
    pub(crate) paused: bool,
    /// How many attempts may run at once, if that is limited.
    pub(crate) running_max: Option<u32>,
    /// How many attempts may begin in a second, if that is limited.
    pub(crate) rate_per_second: Option<f64>,
}

/// A gauge of job types.
struct TypeGauge {
    name: &'static str,
    help: &'static str,
    /// The label beside the type, if there is one.
    label: Option<&'static str>,
    /// Writes its samples of one type.
    write: fn(&TypeRow<'_>, &mut Samples<'_>),
}

const GAUGES: [TypeGauge; 11] = [
    TypeGauge {
        name: "jobs",
        help: "Jobs by state.",
        label: Some("state"),
        write: |row, samples| row.jobs.iter().for_each(|(state, jobs)| samples.add_by(state, jobs)),
    },
    TypeGauge {
        name: "jobs_waiting",
        help: "Jobs that are due and have not started, by what they wait for; only reasons that apply.",
        label: Some("reason"),
        write: |row, samples| row.waiting.iter().for_each(|(reason, jobs)| samples.add_by(reason, jobs)),
    },
    TypeGauge {
        name: "job_oldest_waiting_seconds",
        help: "Age of the oldest job that is due and has not started; 0 when there is none.",
        label: None,
        write: |row, samples| samples.add(row.oldest_waiting.as_secs_f64()),
    },
    TypeGauge {
        name: "job_slots_wanted",
        help: "Slots that the jobs that are due and the attempts that run would fill, as far as what is set for the type allows.",
        label: None,
        write: |row, samples| samples.add(row.slots_wanted),
    },
    TypeGauge {
        name: "dispatch_window",
        help: "How many attempts may be with the broker at once; 0 while it, or the type's queue, takes none.",
        label: None,
        write: |row, samples| samples.add_if(row.own.map(|own| own.window)),
    },
    TypeGauge {
        name: "dispatch_window_used",
        help: "How many attempts are with the broker.",
        label: None,
        write: |row, samples| samples.add(row.window_used),
    },
    TypeGauge {
        name: "type_workers",
        help: "Workers that are there and serve the type.",
        label: None,
        write: |row, samples| samples.add_if(row.own.map(|own| own.workers)),
    },
    TypeGauge {
        name: "type_slots",
        help: "Slots of the workers that serve the type.",
        label: None,
        write: |row, samples| samples.add_if(row.own.map(|own| own.slots)),
    },
    TypeGauge {
        name: "type_paused",
        help: "1 while somebody paused the type.",
        label: None,
        write: |row, samples| samples.add_if(row.own.map(|own| u8::from(own.paused))),
    },
    TypeGauge {
        name: "type_running_max",
        help: "How many attempts may run at once; only types with such a limit.",
        label: None,
        write: |row, samples| samples.add_if(row.own.and_then(|own| own.running_max)),
    },
    TypeGauge {
        name: "type_rate_per_second_max",
        help: "How many attempts may begin in a second; only types with such a limit.",
        label: None,
        write: |row, samples| samples.add_if(row.own.and_then(|own| own.rate_per_second)),
    },
];

/// What stands under one label: a type, or all those that have no label of their own.
#[derive(Default)]
struct TypeRow<'a> {
    label: &'a str,
    jobs: BTreeMap<&'static str, u64>,
    waiting: BTreeMap<&'static str, u64>,
    oldest_waiting: Duration,
    slots_wanted: u64,
    window_used: usize,
    /// The type that has the label to itself. What cannot be added up is told of it alone.
    own: Option<&'a TypeFigures>,
}

impl<'a> TypeRow<'a> {
    fn new(label: &'a str, own: Option<&'a TypeFigures>) -> Self {
        Self { label, own, ..Self::default() }
    }

    /// Adds what may be added up.
    fn add(&mut self, figures: &TypeFigures) {
        for (state, jobs) in &figures.jobs {
            *self.jobs.entry(state).or_default() += jobs;
        }
        for (reason, jobs) in &figures.waiting {
            *self.waiting.entry(reason).or_default() += jobs;
        }
        self.oldest_waiting = self.oldest_waiting.max(figures.oldest_waiting.unwrap_or_default());
        self.slots_wanted += figures.slots_wanted;
        self.window_used += figures.window_used;
    }
}

/// The samples of one gauge and one type.
struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
    label: Option<&'static str>,
    job_type: &'a str,
}

impl Samples<'_> {
    fn add(&mut self, value: impl Display) {
        // No name of a type has a character that would have to be escaped. A string takes all that is written to it.
        let _ = writeln!(self.text, "{}{{type=\"{}\"}} {value}", self.name, self.job_type);
    }

    fn add_if(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(value);
        }
    }

    /// Labels are written in the order of their names, as the library does.
    fn add_by(&mut self, word: &str, value: impl Display) {
        let label = self.label.unwrap_or_default();
        let _ = writeln!(self.text, "{}{{{label}=\"{word}\",type=\"{}\"}} {value}", self.name, self.job_type);
    }
}

pub(super) struct TypeMetrics {
    names: [String; GAUGES.len()],
    /// All of them as they were told last.
    text: Mutex<String>,
}

impl TypeMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let name = |gauge: TypeGauge| {
            let labels: Vec<&'static str> = ["type"].into_iter().chain(gauge.label).collect();
            make.describe_own("gauge", gauge.name, gauge.help, &labels)
        };
        Self { names: GAUGES.map(name), text: Mutex::default() }
    }

    fn write(&self, rows: &[TypeRow<'_>]) -> String {
        let mut text = String::new();
        for (name, gauge) in self.names.iter().zip(GAUGES) {
            let begin = text.len();
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", gauge.help);
            let head = text.len();
            for row in rows {
                let job_type = row.label;
                (gauge.write)(row, &mut Samples { text: &mut text, name, label: gauge.label, job_type });
            }
            if text.len() == head {
                text.truncate(begin);
            }
        }
        text
    }

    /// Adds them to a text.
    pub(super) fn render(&self, text: &mut String) {
        text.push_str(&self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Metrics {
    /// How all types are; replaces what was told before.
    pub(crate) fn set_types(&self, types: &[TypeFigures]) {
        let (mut rows, mut others) = (Vec::with_capacity(types.len() + 1), TypeRow::new(OTHER_TYPES, None));
        for figures in types {
            if self.labels.has(&figures.job_type) {
                let mut row = TypeRow::new(figures.job_type.as_str(), Some(figures));
                row.add(figures);
                rows.push(row);
            } else {
                others.add(figures);
            }
        }
        if rows.len() < types.len() {
            rows.push(others);
        }
        let text = self.types.write(&rows);
        *self.types.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
