//! What the programs take of the machine, as Linux tells it.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use super::installation::Installation;
use crate::exit::Failure;

/// In which unit Linux tells programs how long a thread has computed (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// How many threads of a program are told by name.
const THREADS_SHOWN: usize = 3;

/// What each program took so far, in the order of [`Installation::processes`].
pub(super) struct Costs(Vec<Cost>);

/// What one program took.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// Which program.
    pub(super) program: &'static str,
    /// How long it computed.
    pub(super) computed: Duration,
    /// The same by the names of its threads; those that have ended are missing.
    pub(super) threads: BTreeMap<String, Duration>,
    /// Its memory in RAM now, in bytes.
    pub(super) resident_bytes: u64,
    /// What it had written to disk, in bytes.
    pub(super) written_bytes: u64,
}

impl Costs {
    /// What they have taken until now.
    ///
    /// # Errors
    ///
    /// When one of them has ended.
    pub(super) fn now(installation: &Installation<'_>) -> Result<Self, Failure> {
        let costs = installation.processes().into_iter().map(|(program, pids)| {
            let ended = || Failure::Part(format!("the {program} has ended by itself").into());
            let mut all = Cost { program, ..Cost::default() };
            for pid in pids {
                let folder = format!("/proc/{}", pid.ok_or_else(ended)?);
                all.add(Cost::read(program, Path::new(&folder)).map_err(|_| ended())?);
            }
            Ok(all)
        });
        costs.collect::<Result<_, _>>().map(Self)
    }

    /// What each took, since it started.
    pub(super) fn all(&self) -> &[Cost] {
        &self.0
    }

    /// What they took after `before`.
    pub(super) fn since(self, before: &Self) -> Vec<Cost> {
        self.0.into_iter().zip(&before.0).map(|(now, before)| now.since(before)).collect()
    }
}

impl Cost {
    fn read(program: &'static str, folder: &Path) -> io::Result<Self> {
        let mut threads = BTreeMap::<String, Duration>::new();
        for thread in fs::read_dir(folder.join("task"))? {
            // One that ends meanwhile is gone.
            let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
            let (name, computed) = parse_stat(&stat).unwrap_or_default();
            *threads.entry(name).or_default() += computed;
        }
        let stat = fs::read_to_string(folder.join("stat"))?;
        let number = |file: &str, name: &str| -> io::Result<u64> {
            let text = fs::read_to_string(folder.join(file))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            Ok(number.and_then(|number| number.parse().ok()).unwrap_or_default())
        };
        Ok(Self {
            program,
            computed: parse_stat(&stat).unwrap_or_default().1,
            threads,
            resident_bytes: number("status", "VmRSS:")? * 1_024,
            written_bytes: number("io", "write_bytes:")?,
        })
    }

    /// With what another process of the same kind took.
    fn add(&mut self, other: Self) {
        self.computed += other.computed;
        self.resident_bytes += other.resident_bytes;
        self.written_bytes += other.written_bytes;
        for (name, computed) in other.threads {
            *self.threads.entry(name).or_default() += computed;
        }
    }

    fn since(self, before: &Self) -> Self {
        let mut threads = self.threads;
        for (name, computed) in &mut threads {
            *computed = computed.saturating_sub(before.threads.get(name).copied().unwrap_or_default());
        }
        Self {
            program: self.program,
            computed: self.computed.saturating_sub(before.computed),
            threads,
            resident_bytes: self.resident_bytes,
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }

    /// The threads that computed most, first of them the busiest.
    pub(super) fn busiest(&self) -> impl Iterator<Item = (&str, Duration)> {
        let mut threads: Vec<_> =
            self.threads.iter().map(|(name, computed)| (name.as_str(), *computed)).collect();
        threads.sort_by_key(|(_, computed)| std::cmp::Reverse(*computed));
        threads.into_iter().take(THREADS_SHOWN).filter(|(_, computed)| *computed > Duration::ZERO)
    }
}

/// The name of a program or thread, and how long it has computed, for itself and in the system.
fn parse_stat(stat: &str) -> Option<(String, Duration)> {
    // The name, in parentheses, may contain spaces.
    let (start, fields) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u32>().ok());
    let ticks = ticks.next()?? + ticks.next()??;
    Some((name.to_owned(), TICK * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name() {
        let stat = "12 (tokio-rt (1) x) S 1 12 12 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 4 0 100";
        assert_eq!(parse_stat(stat), Some(("tokio-rt (1) x".to_owned(), Duration::from_millis(120))));
        assert_eq!(parse_stat("12 (x) S 1"), None);
    }

    #[test]
    fn what_this_program_takes_is_there() {
        let cost = Cost::read("client", Path::new("/proc/self")).unwrap();
        assert!(cost.resident_bytes > 1_000_000 && !cost.threads.is_empty(), "{cost:?}");
    }
}
