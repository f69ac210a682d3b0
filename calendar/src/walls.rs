use croner::{Cron, JobType};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

use crate::{
    InvalidPattern,
    limits::{CYCLE_YEARS, YEAR_MAX, YEAR_MIN},
    pattern, words,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The walls (see [`Stretch`](crate::stretch::Stretch)) that a pattern names, with no thought of a zone.
///
/// The library could search in a zone as well. But what it does where clocks change has limits: it gives up at gaps of
/// more than two hours, leaves out a fixed time whose gap ends on a day that the pattern does not name, and goes through
/// gaps second by second. So it is asked for walls alone, which have neither gaps nor repetitions, and what they mean in
/// a zone is said in `cron.rs`.
#[derive(Clone)]
pub(crate) struct Walls {
    cron: Cron,
    /// The first and the last wall that can be.
    span: (i64, i64),
}

impl Walls {
    /// Reads a pattern of five fields, or a nickname.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let fields = pattern::check(text)?;
        let cron = pattern::parser().parse(&fields).map_err(|error| pattern::refuse(&fields, &error))?;
        let walls = Self { cron, span: (wall(YEAR_MIN), wall(YEAR_MAX + 1) - 1) };
        if walls.at_or_after(wall(YEAR_MAX + 1 - CYCLE_YEARS)).is_none() {
            return Err(InvalidPattern::new(format!(
                "{fields:?} never ticks: in {CYCLE_YEARS} years there is no such date, so change its day or its month"
            )));
        }
        Ok(walls)
    }

    /// Whether there is one hour and one minute, so that it ticks at most once a day.
    pub(crate) fn is_fixed_time(&self) -> bool {
        self.cron.determine_job_type() == JobType::FixedTime
    }

    pub(crate) fn at_or_after(&self, wall: i64) -> Option<i64> {
        let from = civil(wall.max(self.span.0))?;
        // The library fails only where its years end, which is after all that can be.
        let found = second(self.cron.find_next_occurrence(&from, true).ok()?)?;
        (found <= self.span.1).then_some(found)
    }

    pub(crate) fn at_or_before(&self, wall: i64) -> Option<i64> {
        let from = civil(wall.min(self.span.1))?;
        let found = second(self.cron.find_previous_occurrence(&from, true).ok()?)?;
        (found >= self.span.0).then_some(found)
    }

    pub(crate) fn words(&self) -> String {
        words::of(&self.cron)
    }
}

/// The wall at which a year begins.
pub(crate) fn wall(year: i16) -> i64 {
    // Every year that is asked for is a constant that there is.
    Date::new(year, 1, 1).ok().and_then(|date| second(date.into())).unwrap_or_default()
}

/// How a wall reads: `03:30`, and with its date if that is not the date of `beside`.
pub(crate) fn read(wall: i64, beside: i64) -> String {
    let time = wall.rem_euclid(DAY_SECONDS);
    let clock = format!("{:02}:{:02}", time / 3600, time / 60 % 60);
    if wall.div_euclid(DAY_SECONDS) == beside.div_euclid(DAY_SECONDS) {
        return clock;
    }
    civil(wall).map_or(clock.clone(), |civil| format!("{} {clock}", civil.date()))
}

fn civil(wall: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(wall).ok()?))
}

fn second(civil: DateTime) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(civil).ok()?.as_second())
}
