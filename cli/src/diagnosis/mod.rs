//! Is the installation healthy? What was seen ([`facts`]) becomes findings, each with what to do about it. Nothing here
//! asks anybody: what is decided can be tested without an installation.

mod backend;
mod broker;
mod facts;

use serde::Serialize;

pub(crate) use self::facts::{BackendFacts, BrokerFacts, Facts, Inspection, Thing};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    /// The process that serves the API.
    Backend,
    /// RabbitMQ, as the backend and the command line reach it.
    Broker,
    /// What is declared there.
    Topology,
    /// Where jobs are kept.
    Store,
    /// Who is there.
    Workers,
    /// What they serve.
    Types,
    /// What waits and runs.
    Jobs,
    /// Messages that could not be read.
    Quarantine,
}

/// How bad it is. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is as it should be.
    Ok,
    /// Work goes on, but somebody should look.
    Warning,
    /// Some work does not go on.
    Error,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it is about.
    pub(crate) area: Area,
    /// How bad it is; never ok.
    pub(crate) status: Status,
    /// A stable word for it.
    pub(crate) code: &'static str,
    /// What is so, in a sentence.
    pub(crate) message: String,
    /// What to do.
    pub(crate) fix: String,
}

/// How one area is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AreaReport {
    /// Which.
    pub(crate) area: Area,
    /// As bad as its worst finding.
    pub(crate) status: Status,
    /// What was seen, in few words.
    pub(crate) summary: String,
}

/// How the installation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// As bad as the worst finding.
    pub(crate) status: Status,
    /// Its parts.
    pub(crate) areas: Vec<AreaReport>,
    /// What is not as it should be, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// What nobody could look at, and why.
    pub(crate) not_checked: Vec<String>,
}

impl Area {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Broker => "broker",
            Self::Topology => "topology",
            Self::Store => "store",
            Self::Workers => "workers",
            Self::Types => "types",
            Self::Jobs => "jobs",
            Self::Quarantine => "quarantine",
        }
    }
}

impl Status {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Report {
    /// What follows from what was seen.
    pub(crate) fn of(facts: &Facts) -> Self {
        let mut findings = backend::findings(facts);
        findings.extend(broker::findings(facts));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
        let status_of = |area: Area| {
            let own = findings.iter().filter(|finding| finding.area == area);
            own.map(|finding| finding.status).max().unwrap_or(Status::Ok)
        };
        let summaries = [backend::summaries(facts), broker::summaries(facts)].concat();
        let areas = summaries
            .into_iter()
            .map(|(area, summary)| AreaReport { area, status: status_of(area), summary })
            .collect();
        let status = findings.first().map_or(Status::Ok, |worst| worst.status);
        Self { status, areas, not_checked: broker::not_checked(facts), findings }
    }
}

fn error(area: Area, code: &'static str, message: String, fix: String) -> Finding {
    Finding { area, status: Status::Error, code, message, fix }
}

fn warning(area: Area, code: &'static str, message: String, fix: String) -> Finding {
    Finding { area, status: Status::Warning, code, message, fix }
}

#[cfg(test)]
pub(crate) mod tests;
