//! What is kept of types beside their jobs.

use crewcall_proto::JobType;

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Terms, Wanted};
use crate::{domain::TypeSettings, engine::ports::StoredType};

/// Keeps a type as it was last announced.
pub struct PutType(pub StoredType);

impl Decide for PutType {
    type Value = ();

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<()>, Inconsistent> {
        let terms = Terms { announced: true, ..rules.counts.terms(&self.0.job_type) };
        rules.counts.set_terms(&self.0.job_type, terms);
        let mut decision = Decision::nothing(());
        decision.writes.types.push(self.0);
        Ok(decision)
    }
}

/// Deletes a type that has no jobs, and what was set for it. Returns how much that was; `None`, if it has jobs.
pub struct DeleteType(pub JobType);

impl Decide for DeleteType {
    type Value = Option<usize>;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<Option<usize>>, Inconsistent> {
        let job_type = self.0;
        if rules.counts.has_jobs(&job_type) {
            return Ok(Decision::nothing(None));
        }
        let terms = rules.counts.terms(&job_type);
        let known = usize::from(terms.announced);
        let set = usize::from(Terms { announced: false, ..terms } != Terms::default());
        let mut decision = Decision::nothing(Some(known + set));
        decision.put_terms(rules, &job_type, Terms::default());
        decision.writes.deleted_types.push(job_type);
        Ok(decision)
    }
}

/// Keeps what was set for a type, unless that is one type too many: returns whether it did. What was taken of a rate limit
/// stays taken, for as long as there is one.
pub struct PutTypeSettings {
    pub job_type: JobType,
    pub settings: TypeSettings,
}

impl Decide for PutTypeSettings {
    type Value = bool;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<bool>, Inconsistent> {
        let Self { job_type, settings } = self;
        if settings != TypeSettings::default() && !rules.counts.takes(&job_type) {
            return Ok(Decision::nothing(false));
        }
        let terms = rules.counts.terms(&job_type).with(settings);
        let mut decision = Decision::nothing(true);
        decision.put_terms(rules, &job_type, terms);
        Ok(decision)
    }
}

impl<T> Decision<T> {
    /// Something else is kept of a type.
    pub(super) fn put_terms(&mut self, rules: &mut Rules, job_type: &JobType, terms: Terms) {
        rules.counts.set_terms(job_type, terms.clone());
        self.writes.terms.push((job_type.clone(), terms));
    }
}
