//! What is told of a run.

use std::time::Duration;

use serde::Serialize;

use super::{
    BODY_BYTES, Load, Measured, Plan,
    events::EventsReport,
    figures::{Percentiles, Spread, Throughput},
    flood::Flood,
    growth::{Grown, Growth, Many},
    installation::Versions,
    load::Row,
};
use crate::{
    layout::Column,
    output::{Overflow, View, rows_in_columns},
};

/// Everything, as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    jobs: usize,
    single_jobs: usize,
    rounds: usize,
    connections: usize,
    slots: u32,
    body_bytes: usize,
    versions: Versions,
    /// Two raw hops a second.
    limit_per_second: Spread,
    pub(super) loads: Vec<LoadReport>,
    /// Milliseconds from a submission until its end was seen, on an idle installation.
    idle_ms: Percentiles,
    /// Milliseconds of the two raw hops, in turn with these.
    idle_limit_ms: Percentiles,
    /// The medians of the rounds, divided.
    idle_ratio: Spread,
    /// How many jobs a second came for what follows.
    paced_per_second: u32,
    /// Milliseconds from when a job was to be submitted until its handler began.
    paced_start_ms: Percentiles,
    /// Milliseconds from a request to cancel a running job until it was seen to be cancelled.
    paced_cancel_ms: Percentiles,
    /// The log of events, and jobs that are made of them.
    events: EventsReport,
    /// While one worker sent very many progress messages.
    flood: Option<FloodReport>,
    /// The same beside many of something.
    pub(super) growth: Vec<GrownReport>,
    /// How much of a core the backend took with all idle workers there, and nothing to do.
    idle_workers_cores: Option<f64>,
    /// Lists, with all the waiting jobs.
    pages: Vec<PageReport>,
    /// Seconds from the start of the backend until it was ready, with all the waiting jobs.
    start_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct FloodReport {
    /// How many were to be sent, and how many could be.
    wanted: usize,
    sent: usize,
    /// How many a second the broker took.
    per_second: f64,
    /// Seconds from then until the last of them could be read with its job.
    behind_seconds: f64,
    /// How many other jobs ran meanwhile, one after the other.
    jobs: usize,
    /// Milliseconds from a submission until its end was seen.
    ms: Percentiles,
    /// How much more that is at p99 than on an idle installation.
    p99_over_idle_ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct GrownReport {
    many: Many,
    number: usize,
    limit_per_second: Spread,
    pub(super) batches: LoadReport,
    idle_ms: Percentiles,
    idle_limit_ms: Percentiles,
}

#[derive(Debug, Serialize)]
struct PageReport {
    list: &'static str,
    ms: Percentiles,
}

#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) load: &'static str,
    pub(super) jobs_per_second: Spread,
    /// Of the limit of the same round.
    ratio: Spread,
    pub(super) programs: Vec<ProgramReport>,
}

/// What a program took, as the median of the rounds.
#[derive(Debug, Serialize)]
pub(super) struct ProgramReport {
    pub(super) program: &'static str,
    pub(super) processor_us_per_job: f64,
    written_bytes_per_job: f64,
    resident_mib: f64,
    /// The busiest threads, in the round that this median is of.
    pub(super) threads: Vec<ThreadReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct ThreadReport {
    pub(super) name: String,
    pub(super) processor_us_per_job: f64,
}

/// What was measured, summed up.
pub(super) fn of(plan: Plan, versions: Versions, measured: &Measured) -> Report {
    let ratio = |(raw, jobs): &(Duration, Duration)| jobs.as_secs_f64() / raw.as_secs_f64();
    let Growth { flood, grown, idle_cores, pages, start } = &measured.growth;
    let idle_ms = Percentiles::of(&measured.job_times);
    Report {
        jobs: plan.jobs,
        single_jobs: plan.single_jobs,
        rounds: plan.rounds,
        connections: plan.connections,
        slots: plan.slots,
        body_bytes: BODY_BYTES,
        versions,
        limit_per_second: Spread::of(measured.limit.iter().map(|limit| limit.per_second)),
        loads: measured.loads.iter().map(|(load, rows)| LoadReport::of(*load, rows)).collect(),
        flood: flood.as_ref().map(|flood| FloodReport::of(flood, &idle_ms)),
        idle_ms,
        idle_limit_ms: Percentiles::of(&measured.raw_times),
        idle_ratio: Spread::of(measured.latency_rounds.iter().map(ratio)),
        paced_per_second: plan.per_second,
        paced_start_ms: Percentiles::of(&measured.starts),
        paced_cancel_ms: Percentiles::of(&measured.cancels),
        events: EventsReport::of(&measured.events),
        growth: grown.iter().map(GrownReport::of).collect(),
        idle_workers_cores: *idle_cores,
        pages: pages.iter().map(|(list, times)| PageReport { list, ms: Percentiles::of(times) }).collect(),
        start_seconds: start.map(|start| start.as_secs_f64()),
    }
}

impl FloodReport {
    fn of(flood: &Flood, idle_ms: &Percentiles) -> Self {
        let ms = Percentiles::of(&flood.job_times);
        Self {
            wanted: flood.wanted,
            sent: flood.sent,
            per_second: Throughput::of(flood.sent, flood.took).per_second,
            behind_seconds: flood.behind.as_secs_f64(),
            jobs: flood.job_times.len(),
            p99_over_idle_ms: ms.p99 - idle_ms.p99,
            ms,
        }
    }

    fn name(&self) -> String {
        format!("amid {} progress messages", self.sent)
    }

    fn sentences(&self) -> Vec<String> {
        let Self { wanted, sent, per_second, behind_seconds, jobs, p99_over_idle_ms, .. } = self;
        let stopped = format!("There was no time for more than {sent} of {wanted} progress messages.");
        let through = format!(
            "Progress went through at {per_second:.0} a second; the last was seen {behind_seconds:.1} s later."
        );
        let (over, longer) =
            (p99_over_idle_ms.abs(), if *p99_over_idle_ms < 0.0 { "shorter" } else { "longer" });
        let others = format!("Amid it, {jobs} jobs took {over:.2} ms {longer} at p99 than idle.");
        (sent < wanted).then_some(stopped).into_iter().chain([through, others]).collect()
    }
}

impl GrownReport {
    fn of(grown: &Grown) -> Self {
        Self {
            many: grown.many,
            number: grown.number,
            limit_per_second: Spread::of([grown.row.limit.per_second]),
            batches: LoadReport::of(Load::Batches, std::slice::from_ref(&grown.row)),
            idle_ms: Percentiles::of(&grown.job_times),
            idle_limit_ms: Percentiles::of(&grown.raw_times),
        }
    }

    pub(super) fn name(&self) -> String {
        self.many.name(self.number)
    }
}

impl LoadReport {
    fn of(load: Load, rows: &[Row]) -> Self {
        let programs = rows.last().map_or(0, |row| row.costs.len());
        Self {
            load: load.name(),
            jobs_per_second: Spread::of(rows.iter().map(|row| row.throughput.per_second)),
            ratio: Spread::of(rows.iter().map(|row| row.throughput.per_second / row.limit.per_second)),
            programs: (0..programs).map(|index| ProgramReport::of(rows, index)).collect(),
        }
    }
}

impl ProgramReport {
    /// Of the program at this place of each row's costs.
    fn of(rows: &[Row], index: usize) -> Self {
        let costs = || rows.iter().map(|row| (per_job(row), &row.costs[index]));
        let mut rounds: Vec<_> =
            costs().map(|(share, cost)| (microseconds(cost.computed) * share, share, cost)).collect();
        rounds.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        let (processor_us_per_job, share, middle) = rounds[(rounds.len() - 1) / 2];
        Self {
            program: middle.program,
            processor_us_per_job,
            written_bytes_per_job: median(costs().map(|(share, cost)| float(cost.written_bytes) * share)),
            resident_mib: median(costs().map(|(_, cost)| float(cost.resident_bytes) / 1_048_576.0)),
            threads: middle
                .busiest()
                .map(|(name, computed)| ThreadReport {
                    name: name.to_owned(),
                    processor_us_per_job: microseconds(computed) * share,
                })
                .collect(),
        }
    }
}

/// One divided by how many jobs there were.
fn per_job(row: &Row) -> f64 {
    1.0 / float(u64::try_from(row.throughput.jobs).unwrap_or(u64::MAX))
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    Spread::of(figures).median
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000_000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Report {
    /// The report as people read it.
    pub(crate) fn text(&self, view: &View) -> String {
        [self.head().join("\n"), self.rates(view), self.costs(view), self.threads(), self.latency(view)]
            .join("\n\n")
    }

    /// What was measured, and of what.
    pub(super) fn head(&self) -> Vec<String> {
        let jobs = format!(
            "{} jobs of {} bytes that do nothing, {} rounds; one worker of {} slots",
            self.jobs, self.body_bytes, self.rounds, self.slots
        );
        [jobs].into_iter().chain(self.versions.lines()).collect()
    }

    fn rates(&self, view: &View) -> String {
        let columns = ["THROUGHPUT", "JOBS/S", "FROM – TO", "OF THE LIMIT", "FROM – TO"].map(Column::new);
        let row = |name: &str, rate: Spread, ratio: Option<Spread>| {
            let share = ratio.map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default();
            let shares =
                ratio.map(|ratio| format!("{:.2} – {:.2}", ratio.least, ratio.most)).unwrap_or_default();
            vec![
                name.to_owned(),
                format!("{:.0}", rate.median),
                format!("{:.0} – {:.0}", rate.least, rate.most),
                share,
                shares,
            ]
        };
        let mut rows = vec![row("two raw hops", self.limit_per_second, None)];
        rows.extend(self.loads.iter().map(|load| row(load.load, load.jobs_per_second, Some(load.ratio))));
        rows.extend(self.events.rates().map(|(name, rate)| row(name, rate, None)));
        let grown = self.growth.iter();
        rows.extend(grown.map(|it| row(&it.name(), it.batches.jobs_per_second, Some(it.batches.ratio))));
        rows_in_columns(&columns, rows, view, true, Overflow::Cut)
    }

    fn costs(&self, view: &View) -> String {
        let columns =
            ["µs A JOB", "BACKEND", "WORKER", "BROKER", "CLIENT", "KiB WRITTEN", "MiB"].map(Column::new);
        let row = |(name, load): (String, &LoadReport)| {
            let mut cells = vec![name];
            cells.extend(load.programs.iter().map(|program| format!("{:.0}", program.processor_us_per_job)));
            let written: f64 = load.programs.iter().map(|program| program.written_bytes_per_job).sum();
            cells.push(format!("{:.1}", written / 1_024.0));
            cells.push(
                load.programs.first().map_or(String::new(), |backend| format!("{:.0}", backend.resident_mib)),
            );
            cells
        };
        let loads = self.loads.iter().map(|load| (load.load.to_owned(), load));
        let grown = self.growth.iter().map(|grown| (grown.name(), &grown.batches));
        rows_in_columns(&columns, loads.chain(grown).map(row).collect(), view, true, Overflow::Cut)
    }

    /// Where the time of the backend goes.
    fn threads(&self) -> String {
        let lines = self.loads.iter().filter_map(|load| {
            let threads = &load.programs.first()?.threads;
            let told =
                threads.iter().map(|thread| format!("{} {:.0}", thread.name, thread.processor_us_per_job));
            Some(format!("{:<8} {}", load.load, told.collect::<Vec<_>>().join(", ")))
        });
        let lines: Vec<String> = lines.collect();
        format!("Threads of the backend, µs a job\n{}", lines.join("\n"))
    }

    fn latency(&self, view: &View) -> String {
        let columns = ["MILLISECONDS", "P50", "P99", "MAX"].map(Column::new);
        let row = |name: String, times: &Percentiles| {
            let cells = [times.p50, times.p99, times.max].map(|time| format!("{time:.2}"));
            [name].into_iter().chain(cells).collect()
        };
        let paced = |what: &str| format!("{what}, at {} jobs/s", self.paced_per_second);
        let mut rows = vec![
            row("two raw hops, idle".to_owned(), &self.idle_limit_ms),
            row("submit to completed, idle".to_owned(), &self.idle_ms),
            row("event to start of its job, idle".to_owned(), self.events.start()),
            row(paced("submit to start"), &self.paced_start_ms),
            row(paced("cancel to cancelled"), &self.paced_cancel_ms),
        ];
        let flood = self.flood.iter();
        rows.extend(flood.map(|flood| row(format!("submit to completed, {}", flood.name()), &flood.ms)));
        for grown in &self.growth {
            rows.push(row(format!("two raw hops, {}", grown.name()), &grown.idle_limit_ms));
            rows.push(row(format!("submit to completed, {}", grown.name()), &grown.idle_ms));
        }
        let waiting = self.growth.iter().rfind(|grown| grown.many == Many::Waiting).map(GrownReport::name);
        let waiting = waiting.unwrap_or_default();
        rows.extend(self.pages.iter().map(|page| row(format!("a page: {}, {waiting}", page.list), &page.ms)));
        let table = rows_in_columns(&columns, rows, view, true, Overflow::Cut);
        format!("{table}\n{}", self.sentences(&waiting).join("\n"))
    }

    /// What is told below the table, where the many that wait are called so.
    fn sentences(&self, waiting: &str) -> Vec<String> {
        let Spread { median, least, most } = self.idle_ratio;
        let idle = format!(
            "Idle, {} jobs a round: {median:.2} times the raw hops (rounds: {least:.2} – {most:.2}).",
            self.single_jobs
        );
        let amid = self.events.sentence();
        let flood = self.flood.iter().flat_map(FloodReport::sentences);
        let workers = self.growth.iter().rfind(|grown| grown.many == Many::IdleWorkers);
        let workers = self.idle_workers_cores.zip(workers).map(|(cores, workers)| {
            let (workers, percent) = (workers.name(), cores * 100.0);
            format!("With {workers} and nothing to do, the backend takes {percent:.1} % of a core.")
        });
        let start = self
            .start_seconds
            .map(|seconds| format!("With {waiting}, the backend is ready {seconds:.1} s after its start."));
        [idle, amid].into_iter().chain(flood).chain(workers).chain(start).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bench::{costs::Cost, events::Events, figures::Times},
        terminals::on_terminals,
    };

    fn rate(jobs: usize, seconds: u64) -> Throughput {
        Throughput::of(jobs, Duration::from_secs(seconds))
    }

    fn cost(program: &'static str, computed_ms: u64) -> Cost {
        let threads =
            [("crewcall-store", computed_ms / 2), ("tokio-rt-worker", computed_ms / 4), ("idle", 0)];
        Cost {
            program,
            computed: Duration::from_millis(computed_ms),
            threads: threads
                .map(|(name, ms)| (name.to_owned(), Duration::from_millis(ms)))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            resident_bytes: 96 << 20,
            written_bytes: 5 << 20,
        }
    }

    fn times(ms: &[u64]) -> Times {
        let mut times = Times::default();
        ms.iter().for_each(|ms| times.add(Duration::from_millis(*ms)));
        times
    }

    /// One that took so long, in a round in which all was slower.
    fn row(seconds: u64, slower: u64) -> Row {
        Row {
            throughput: rate(10_000, seconds * slower),
            limit: rate(10_000, slower),
            costs: [("backend", 1_600), ("worker", 950), ("broker", 2_000), ("client", 300)]
                .map(|(program, ms)| cost(program, ms * slower))
                .into(),
        }
    }

    /// Three rounds, the second twice as slow.
    fn measured() -> Measured {
        let rows = |seconds: u64| [1, 2, 1].map(|slower| row(seconds, slower)).into();
        Measured {
            limit: [1, 2, 1].map(|seconds| rate(10_000, seconds)).into(),
            loads: Load::ALL
                .into_iter()
                .zip([2, 3, 4])
                .map(|(load, seconds)| (load, rows(seconds)))
                .collect(),
            raw_times: times(&[1, 2, 3, 4]),
            job_times: times(&[2, 4, 6, 8]),
            latency_rounds: [(5, 10), (4, 9), (5, 12)]
                .map(|(raw, job)| (Duration::from_millis(raw), Duration::from_millis(job)))
                .into(),
            starts: times(&[3, 4, 5]),
            cancels: times(&[6, 7]),
            events: Events {
                batches: vec![rate(10_000, 1)],
                singles: vec![rate(10_000, 4)],
                to_jobs: vec![rate(10_000, 2), rate(10_000, 3)],
                to_jobs_amid: vec![rate(10_000, 3), rate(10_000, 4)],
                starts: times(&[4, 5]),
            },
            growth: Growth {
                flood: Some(Flood {
                    wanted: 1_000_000,
                    sent: 900_000,
                    took: Duration::from_secs(60),
                    behind: Duration::from_millis(400),
                    job_times: times(&[5, 9, 30]),
                }),
                grown: [(Many::Types, 100), (Many::IdleWorkers, 1_000), (Many::Waiting, 1_000_000)]
                    .map(|(many, number)| Grown {
                        many,
                        number,
                        row: row(2, 3),
                        raw_times: times(&[1]),
                        job_times: times(&[3]),
                    })
                    .into(),
                idle_cores: Some(0.0123),
                pages: vec![("the newest 100", times(&[1, 2]))],
                start: Some(Duration::from_millis(1_400)),
            },
        }
    }

    pub(in crate::bench) fn report() -> Report {
        let plan = Plan {
            jobs: 10_000,
            single_jobs: 200,
            rounds: 3,
            connections: 64,
            slots: 64,
            per_second: 500,
            paced_for: Duration::from_secs(5),
            waiting: 1_000_000,
            progress: 1_000_000,
            types: 100,
            idle_workers: 1_000,
        };
        let versions = Versions {
            crewcall: "1.2.3",
            profile: "debug",
            broker: "RabbitMQ 3.10.8".to_owned(),
            processors: 2,
        };
        of(plan, versions, &measured())
    }

    #[test]
    fn a_report_says_what_was_measured_and_of_what() {
        let report = report();
        insta::assert_snapshot!(on_terminals(|view| report.text(view)));
        insta::assert_json_snapshot!(report);
    }
}
