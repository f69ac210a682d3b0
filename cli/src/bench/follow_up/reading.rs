//! What a round measured, each beside what it is compared with and the limit that it is held against.

use serde::Serialize;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    PerSecond,
    /// Processor time of the backend for a job or an item.
    MicrosecondsEach,
    Milliseconds,
    Seconds,
    /// Millions of bytes.
    Megabytes,
    /// Of one core, or of all there are of something.
    Percent,
}

impl Unit {
    /// A figure as people read it.
    pub(super) fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond => format!("{figure:.0}/s"),
            Self::MicrosecondsEach => format!("{figure:.0} µs"),
            Self::Milliseconds => format!("{figure:.1} ms"),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Megabytes => format!("{figure:.0} MB"),
            Self::Percent => format!("{figure:.2} %"),
        }
    }
}

/// How far something may go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(super) fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    /// The figure itself.
    Figure(Bound),
    /// The figure, divided by what stands beside it.
    Ratio(Bound),
    /// It is told, and nothing more.
    Nothing,
}

/// One measurement of something.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// What it is, the same in each round.
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) figure: f64,
    /// What it is compared with, measured in the same round.
    pub(super) beside: Option<(&'static str, f64)>,
    pub(super) limit: Limit,
}

impl Reading {
    pub(super) fn new(what: impl Into<String>, unit: Unit, figure: f64) -> Self {
        Self { what: what.into(), unit, figure, beside: None, limit: Limit::Nothing }
    }

    /// Compared with this, of the same unit.
    pub(super) fn beside(self, what: &'static str, figure: f64) -> Self {
        Self { beside: Some((what, figure)), ..self }
    }

    pub(super) fn at_least(self, least: f64) -> Self {
        Self { limit: Limit::Figure(Bound::AtLeast(least)), ..self }
    }

    pub(super) fn at_most(self, most: f64) -> Self {
        Self { limit: Limit::Figure(Bound::AtMost(most)), ..self }
    }

    pub(super) fn ratio_at_least(self, least: f64) -> Self {
        Self { limit: Limit::Ratio(Bound::AtLeast(least)), ..self }
    }

    pub(super) fn ratio_at_most(self, most: f64) -> Self {
        Self { limit: Limit::Ratio(Bound::AtMost(most)), ..self }
    }
}
