//! The metrics of the backend, as far as this program looks at them: the text format of Prometheus.

use std::collections::BTreeMap;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// What it is called.
    name: String,
    /// Of what it is.
    labels: BTreeMap<String, String>,
    /// How much.
    value: f64,
}

/// All figures of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text. A line that is not understood is left out: it may be of a newer backend.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// The sum of all figures of a name, if there is any.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.named(name).map(|sample| sample.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The sums of all figures of a name, by type.
    pub(crate) fn by_type(&self, name: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.named(name) {
            if let Some(job_type) = sample.labels.get("type") {
                *sums.entry(job_type.clone()).or_default() += sample.value;
            }
        }
        sums
    }

    /// Below which value a part of what a histogram of a type counted lies, as Prometheus estimates it; none, if it
    /// counted nothing.
    pub(crate) fn quantile(&self, name: &str, job_type: &str, part: f64) -> Option<f64> {
        let buckets = self.named_part(name, "_bucket").filter(|sample| sample.is_of(job_type));
        let mut counts: Vec<(f64, f64)> = Vec::new();
        for sample in buckets {
            let bound: f64 = sample.labels.get("le")?.parse().ok()?;
            match counts.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => counts.push((bound, sample.value)),
            }
        }
        counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = counts.last().map(|(_, all)| all * part).filter(|wanted| *wanted > 0.0)?;
        let place = counts.iter().position(|(_, count)| *count >= wanted)?;
        let (upper, count) = counts[place];
        let (lower, before) = place.checked_sub(1).map_or((0.0, 0.0), |below| counts[below]);
        // What is beyond the last bound is only known to be beyond it.
        if upper.is_infinite() {
            Some(lower)
        } else {
            Some(lower + (upper - lower) * (wanted - before) / (count - before))
        }
    }

    /// What a label says, of the first figure of a name.
    pub(crate) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.named(name).find_map(|sample| sample.labels.get(label)).map(String::as_str)
    }

    fn named_part(&self, name: &str, ending: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name.strip_suffix(ending) == Some(name))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}

impl Sample {
    fn is_of(&self, job_type: &str) -> bool {
        self.labels.get("type").is_some_and(|of| of == job_type)
    }
}

/// `name{label="value",…} 7`, possibly with a time behind it.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// What stands between the braces, and what is behind them.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut is_escaped, mut end) = (String::new(), false, None);
        for (index, character) in rest.char_indices() {
            match character {
                'n' if is_escaped => value.push('\n'),
                _ if is_escaped => value.push(character),
                '\\' => {}
                '"' => {
                    end = Some(index + 1);
                    break;
                }
                _ => value.push(character),
            }
            is_escaped = character == '\\' && !is_escaped;
        }
        labels.insert(name.to_owned(), value);
        text = &rest[end?..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_with_their_labels() {
        let metrics = Metrics::parse(
            "# HELP crewcall_jobs Jobs by state.\n# TYPE crewcall_jobs gauge\n\
             crewcall_jobs{state=\"ready\",type=\"a\\\"} 9 \\\\ \\n\"} 3\ncrewcall_jobs{type=\"b\",} 4.5 1700000000\n\
             crewcall_amqp_blocked 1\nstrange{ line\nstranger\n",
        );
        assert_eq!(metrics.sum("crewcall_jobs"), Some(7.5));
        assert_eq!(metrics.sum("crewcall_amqp_blocked"), Some(1.0));
        assert_eq!(metrics.label("crewcall_jobs", "type"), Some("a\"} 9 \\ \n"));
        assert_eq!(metrics.sum("crewcall_job"), None);
        assert_eq!(metrics.by_type("crewcall_jobs").get("b"), Some(&4.5));
    }

    #[test]
    fn quantiles_are_estimated_over_all_outcomes() {
        let metrics = Metrics::parse(
            "r_bucket{type=\"a\",outcome=\"x\",le=\"1\"} 10\nr_bucket{type=\"a\",outcome=\"x\",le=\"2\"} 50\n\
             r_bucket{type=\"a\",outcome=\"x\",le=\"+Inf\"} 50\nr_bucket{type=\"a\",outcome=\"y\",le=\"1\"} 0\n\
             r_bucket{type=\"a\",outcome=\"y\",le=\"2\"} 40\nr_bucket{type=\"a\",outcome=\"y\",le=\"+Inf\"} 50\n\
             r_bucket{type=\"b\",outcome=\"y\",le=\"+Inf\"} 0\n",
        );
        assert_eq!(metrics.quantile("r", "a", 0.1), Some(1.0));
        assert_eq!(metrics.quantile("r", "a", 0.5), Some(1.5));
        assert_eq!(metrics.quantile("r", "a", 0.95), Some(2.0), "beyond the last bound");
        assert_eq!((metrics.quantile("r", "b", 0.5), metrics.quantile("r", "c", 0.5)), (None, None));
    }
}
