//! Why something was not done to a schedule, as the caller is told.

use super::problem::{Problem, ProblemCode};
use crate::{
    domain::{ScheduleName, workflow::definition::WorkflowName},
    engine::ScheduleError,
};

/// Why it was not done. What is wrong with what was sent has this code.
pub(super) fn refused(name: &ScheduleName, error: ScheduleError, invalid: ProblemCode) -> Problem {
    let code = match error {
        ScheduleError::Invalid(problems) => return Problem::with_errors(invalid, problems),
        ScheduleError::Unknown => return not_found(name.as_str()),
        ScheduleError::OfWorkflow(workflow) => return of_workflow(&workflow),
        ScheduleError::Store(error) => return error.into(),
        ScheduleError::TooMany => ProblemCode::TooManySchedules,
        ScheduleError::NotMade(_) => ProblemCode::NothingMade,
        ScheduleError::CheckBusy => ProblemCode::TooManyChecks,
    };
    Problem::new(code, error.to_string())
}

/// There is none of this name.
pub(super) fn not_found(name: &str) -> Problem {
    let detail = format!("there is no schedule {name:?}; /v1/schedules lists those that there are");
    Problem::new(ProblemCode::ScheduleNotFound, detail)
}

/// It is a trigger of this workflow.
pub(super) fn of_workflow(workflow: &WorkflowName) -> Problem {
    let detail = format!(
        "the schedule is a trigger of the workflow {workflow}: change, pause or delete that, and the schedule follows"
    );
    Problem::new(ProblemCode::ScheduleOfWorkflow, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Problem as FieldProblem, engine::ports::StoreError};

    #[test]
    fn what_stands_in_the_way_of_a_schedule_is_named() {
        let wrong =
            FieldProblem { pointer: "/to".to_owned(), message: "to is not later than now".to_owned() };
        let errors = [
            ScheduleError::Invalid(vec![wrong]),
            ScheduleError::Unknown,
            ScheduleError::TooMany,
            ScheduleError::OfWorkflow("asset.publish".parse().unwrap()),
            ScheduleError::NotMade("an earlier one was not over".to_owned()),
            ScheduleError::CheckBusy,
            ScheduleError::Store(StoreError::Closed),
        ];
        let name = "report.nightly".parse().unwrap();
        let told = errors.map(|error| {
            let body = refused(&name, error, ProblemCode::InvalidRequest).body("r");
            format!("{} {} {}", body.status, body.code, body.detail)
        });
        insta::assert_snapshot!(told.join("\n"));
    }
}
