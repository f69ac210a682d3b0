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

    /// What a label says, of the first figure of a name.
    pub(crate) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.named(name).find_map(|sample| sample.labels.get(label)).map(String::as_str)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
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
    }
}
