//! What an operator sets for a type: a pause, and limits.

use crewcall_proto::Timestamp;

use super::Problem;

/// The most attempts of a type that a limit may allow to run at once; more is no limit.
pub const RUNNING_MAX_MAX: u32 = 100_000;

/// The highest rate limit, in attempts per second; more is no limit.
pub const RATE_PER_SECOND_MAX: f64 = 100_000.0;

/// The lowest rate limit: one attempt in a day.
pub const RATE_PER_SECOND_MIN: f64 = 1.0 / 86_400.0;

/// What is set for a type. Nothing, by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TypeSettings {
    /// Whether its jobs wait, and since when.
    pub pause: Option<Pause>,
    /// How many of its attempts run at once at most.
    pub running_max: Option<u32>,
    /// How many of its attempts begin in a second at most.
    pub rate_per_second: Option<f64>,
}

/// Somebody paused a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// As they call themselves.
    pub by: String,
    /// Why, if they said so.
    pub reason: Option<String>,
    /// When, by our clock.
    pub at: Timestamp,
}

/// What somebody asks to set for a type.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeSettingsChange {
    /// Let its jobs wait. A type that is paused already stays as it is.
    Pause(Pause),
    /// Let them go on.
    Resume,
    /// Set both limits; `None` removes one.
    Limits {
        /// See [`TypeSettings::running_max`].
        running_max: Option<u32>,
        /// See [`TypeSettings::rate_per_second`].
        rate_per_second: Option<f64>,
    },
}

impl TypeSettings {
    /// What is set after `change`.
    #[must_use]
    pub fn apply(mut self, change: TypeSettingsChange) -> Self {
        match change {
            TypeSettingsChange::Pause(pause) => self.pause = self.pause.or(Some(pause)),
            TypeSettingsChange::Resume => self.pause = None,
            TypeSettingsChange::Limits { running_max, rate_per_second } => {
                (self.running_max, self.rate_per_second) = (running_max, rate_per_second);
            }
        }
        self
    }

    /// Reads limits as they came in.
    ///
    /// # Errors
    ///
    /// Every problem, each with a pointer.
    pub fn limits(
        running_max: Option<i64>,
        rate_per_second: Option<f64>,
    ) -> Result<TypeSettingsChange, Vec<Problem>> {
        let mut problems = Vec::new();
        let running = running_max
            .map(|number| u32::try_from(number).ok().filter(|n| (1..=RUNNING_MAX_MAX).contains(n)));
        if running == Some(None) {
            let message = format!(
                "a limit is a whole number from 1 to {RUNNING_MAX_MAX}, or null for none; to stop a type, pause it"
            );
            problems.push(Problem::new("/running_max", message));
        }
        if rate_per_second.is_some_and(|rate| !(RATE_PER_SECOND_MIN..=RATE_PER_SECOND_MAX).contains(&rate)) {
            let message = format!(
                "a rate is a number from 1/86400 (one a day) to {RATE_PER_SECOND_MAX}, or null for none"
            );
            problems.push(Problem::new("/rate_per_second", message));
        }
        if problems.is_empty() {
            Ok(TypeSettingsChange::Limits { running_max: running.flatten(), rate_per_second })
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_or_none() {
        assert!(TypeSettings::limits(Some(1), Some(0.5)).is_ok());
        assert!(TypeSettings::limits(None, None).is_ok());
        assert_eq!(TypeSettings::limits(Some(0), Some(0.0)).unwrap_err().len(), 2);
        assert!(TypeSettings::limits(Some(-1), None).is_err());
        assert!(TypeSettings::limits(None, Some(f64::NAN)).is_err());
    }
}
