//! A counter of what became of something, by a name that somebody gave.

use std::collections::BTreeSet;

use dashmap::DashSet;
use prometheus::IntCounterVec;

use super::registrar::Registrar;

/// How many names get labels of their own; the rest share [`OTHERS`]. Each costs a time series for each outcome.
pub(super) const NAME_LABELS_MAX: usize = 200;

/// The label of those beyond [`NAME_LABELS_MAX`]. Nothing has this name: names begin with a letter or a digit.
const OTHERS: &str = "_other";

/// Counts outcomes by name.
pub(super) struct NamedOutcomes {
    /// The names with labels of their own.
    own: DashSet<String>,
    counter: IntCounterVec,
    outcomes: &'static [&'static str],
}

impl NamedOutcomes {
    /// A counter with the labels `name_label` and `outcome`.
    pub(super) fn new(
        make: &mut Registrar,
        metric: (&'static str, &'static str),
        name_label: &'static str,
        outcomes: &'static [&'static str],
    ) -> Self {
        let counter = make.counters(metric.0, metric.1, &[name_label, "outcome"]);
        Self { own: DashSet::new(), counter, outcomes }
    }

    /// This became of something of this name.
    pub(super) fn count(&self, name: &str, outcome: &str) {
        self.counter.with_label_values(&[self.label(name), outcome]).inc();
    }

    /// These names there are: their series begin at zero, and those of names that are gone end.
    pub(super) fn set<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.collect();
        self.own.retain(|name| {
            let stays = names.contains(name.as_str());
            if !stays {
                for outcome in self.outcomes {
                    // An error means that there was nothing.
                    let _ = self.counter.remove_label_values(&[name.as_str(), outcome]);
                }
            }
            stays
        });
        for name in names {
            let label = self.label(name);
            for outcome in self.outcomes {
                self.counter.with_label_values(&[label, outcome]);
            }
        }
    }

    fn label<'a>(&self, name: &'a str) -> &'a str {
        let is_own =
            self.own.contains(name) || (self.own.len() < NAME_LABELS_MAX && self.own.insert(name.to_owned()));
        if is_own { name } else { OTHERS }
    }
}
