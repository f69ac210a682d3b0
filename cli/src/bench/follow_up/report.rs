//! What is told of what follows from events, steps and ticks: each figure beside what it is held against.

use serde::Serialize;

use super::{
    Part,
    reading::{Bound, Limit, Reading, Unit},
};
use crate::{
    bench::{Plan, figures::Spread, installation::Versions},
    layout::Column,
    output::{Overflow, View, rows_in_columns},
};

/// How narrow the names of figures may get.
const NAME_WIDTH_MIN: usize = 24;

/// Everything, as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct FollowUpReport {
    jobs: usize,
    single_jobs: usize,
    rounds: usize,
    slots: u32,
    follow_ups: usize,
    versions: Versions,
    figures: Vec<Figure>,
}

/// One figure, over all rounds.
#[derive(Debug, Serialize)]
struct Figure {
    part: Part,
    what: String,
    unit: Unit,
    measured: Spread,
    beside: Option<Beside>,
    /// Divided reading by reading.
    ratio: Option<Spread>,
    limit: Limit,
    /// Whether the median is within the limit; nothing, if there is none.
    is_held: Option<bool>,
}

/// What a figure is compared with, of the same rounds.
#[derive(Debug, Serialize)]
struct Beside {
    what: &'static str,
    measured: Spread,
}

/// What was measured, summed up: the readings of each part, in the order of the rounds.
pub(super) fn of(
    plan: Plan,
    most: usize,
    versions: Versions,
    parts: &[(Part, Vec<Reading>)],
) -> FollowUpReport {
    let figures = parts.iter().flat_map(|(part, readings)| {
        let mut names: Vec<&str> = Vec::new();
        for reading in readings {
            if !names.contains(&reading.what.as_str()) {
                names.push(&reading.what);
            }
        }
        names.into_iter().filter_map(|name| {
            let same: Vec<&Reading> = readings.iter().filter(|reading| reading.what == name).collect();
            Figure::of(*part, &same)
        })
    });
    FollowUpReport {
        jobs: plan.jobs,
        single_jobs: plan.single_jobs,
        rounds: plan.rounds,
        slots: plan.slots,
        follow_ups: most,
        versions,
        figures: figures.collect(),
    }
}

impl Figure {
    /// Of readings of the same thing; nothing, if there are none.
    fn of(part: Part, readings: &[&Reading]) -> Option<Self> {
        let last = readings.last()?;
        let measured = Spread::of(readings.iter().map(|reading| reading.figure));
        let besides = readings.iter().filter_map(|reading| Some(reading.beside?.1));
        let beside = last.beside.map(|(what, _)| Beside { what, measured: Spread::of(besides) });
        let ratios = readings.iter().filter_map(|reading| Some((reading.figure, reading.beside?.1)));
        let ratios: Vec<f64> =
            ratios.filter(|(_, beside)| *beside > 0.0).map(|(figure, beside)| figure / beside).collect();
        let ratio = (!ratios.is_empty()).then(|| Spread::of(ratios));
        let is_held = match last.limit {
            Limit::Figure(bound) => Some(bound.holds(measured.median)),
            Limit::Ratio(bound) => Some(ratio.is_some_and(|ratio| bound.holds(ratio.median))),
            Limit::Nothing => None,
        };
        let (what, unit, limit) = (last.what.clone(), last.unit, last.limit);
        Some(Self { part, what, unit, measured, beside, ratio, limit, is_held })
    }

    fn row(&self) -> Vec<String> {
        let ratio = |figure: f64| format!("{figure:.2}");
        let spread = match (self.limit, self.ratio) {
            (Limit::Ratio(_), Some(Spread { least, most, .. })) => [least, most].map(ratio),
            _ => [self.measured.least, self.measured.most].map(|figure| self.unit.show(figure)),
        };
        let bound = |bound: Bound, show: &dyn Fn(f64) -> String| match bound {
            Bound::AtLeast(least) => format!("≥ {}", show(least)),
            Bound::AtMost(most) => format!("≤ {}", show(most)),
        };
        let limit = match self.limit {
            Limit::Figure(limit) => bound(limit, &|figure| self.unit.show(figure)),
            Limit::Ratio(limit) => bound(limit, &ratio),
            Limit::Nothing => String::new(),
        };
        let held = self.is_held.map(|is_held| if is_held { "held" } else { "missed" });
        let beside = self.beside.as_ref();
        vec![
            self.what.clone(),
            self.unit.show(self.measured.median),
            self.ratio.map(|it| ratio(it.median)).unwrap_or_default(),
            limit,
            held.unwrap_or_default().to_owned(),
            spread.join(" – "),
            beside.map(|it| self.unit.show(it.measured.median)).unwrap_or_default(),
            beside.map(|it| it.what.to_owned()).unwrap_or_default(),
        ]
    }
}

impl FollowUpReport {
    /// The report as people read it.
    pub(crate) fn text(&self, view: &View) -> String {
        let columns = [
            Column::new("FIGURE").shortened_to(NAME_WIDTH_MIN),
            Column::new("MEASURED"),
            Column::new("RATIO"),
            Column::new("LIMIT"),
            Column::new(""),
            Column::new("FROM – TO").left_out(1),
            Column::new("BESIDE").left_out(3),
            Column::new("OF WHAT").left_out(2),
        ];
        let rows = self.figures.iter().map(Figure::row).collect();
        let table = rows_in_columns(&columns, rows, view, true, Overflow::Cut);
        [self.head().join("\n"), table, self.sentence()].join("\n\n")
    }

    /// What was measured, and of what.
    fn head(&self) -> Vec<String> {
        let jobs = format!(
            "{} jobs at a time, {} runs and schedules, {} rounds; one worker of {} slots",
            self.jobs, self.follow_ups, self.rounds, self.slots
        );
        [jobs].into_iter().chain(self.versions.lines()).collect()
    }

    fn sentence(&self) -> String {
        let with_limit = self.figures.iter().filter_map(|figure| figure.is_held);
        let (all, held) = with_limit.fold((0, 0), |(all, held), is| (all + 1, held + usize::from(is)));
        format!("{held} of {all} limits are held.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminals::on_terminals;

    /// Two rounds, the second slower.
    fn readings() -> Vec<(Part, Vec<Reading>)> {
        let round = |slower: f64| {
            vec![
                Reading::new("events in batches", Unit::PerSecond, 30_000.0 / slower)
                    .beside("plain jobs in batches", 10_000.0 / slower)
                    .at_least(15_000.0),
                Reading::new("events to jobs amid 99 others", Unit::PerSecond, 3_000.0 / slower)
                    .beside("alone", 5_000.0)
                    .ratio_at_least(0.7),
            ]
        };
        let one = vec![
            Reading::new("memory for 10000 waiting runs and schedules", Unit::Megabytes, 64.0).at_most(100.0),
            Reading::new("of a core with them, idle", Unit::Percent, 0.4).beside("without them", 0.0),
            Reading::new("a chain of ten", Unit::Milliseconds, 52.5)
                .beside("one job", 5.0)
                .ratio_at_most(12.0),
        ];
        vec![(Part::Events, [round(1.0), round(1.5)].concat()), (Part::Waiting, one)]
    }

    fn plan() -> Plan {
        Plan {
            jobs: 10_000,
            single_jobs: 200,
            rounds: 2,
            connections: 64,
            slots: 64,
            per_second: 500,
            paced_for: std::time::Duration::from_secs(5),
            waiting: 0,
            progress: 0,
            types: 0,
            idle_workers: 0,
        }
    }

    #[test]
    fn each_figure_is_held_against_its_limit() {
        let versions = Versions {
            crewcall: "1.2.3",
            profile: "release",
            broker: "RabbitMQ 3.10.8".to_owned(),
            processors: 2,
        };
        let report = of(plan(), 10_000, versions, &readings());
        let held: Vec<_> = report.figures.iter().map(|figure| figure.is_held).collect();
        assert_eq!(held, [Some(true), Some(false), Some(true), None, Some(true)]);
        insta::assert_snapshot!(on_terminals(|view| report.text(view)));
        insta::assert_json_snapshot!(report);
    }
}
