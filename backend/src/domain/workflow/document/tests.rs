//! Documents that are read, and what is said of those that are not.

use std::time::Duration;

use crewcall_expressions::{EXPRESSION_BYTES_MAX, Json, Scope};

use super::super::{
    definition::{
        OnFailure, OnTimeout, RunIf, Since, StepIndex, Tolerance, Trigger, WhenFull, Work, Workflow,
    },
    limits::{DOCUMENT_BYTES_MAX, DOCUMENT_LEVELS_MAX, PARALLEL_DEFAULT, PROBLEMS_MAX, STEPS_MAX},
};

pub(super) fn json(text: &str) -> Json {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn read(text: &str) -> Workflow {
    Workflow::read(&json(text)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What is wrong, as `pointer: message`, of a document of which only the inside is given.
fn problems(inside: &str) -> Vec<String> {
    let document = json(&format!("{{\"name\": \"w\", {inside}}}"));
    let problems = Workflow::read(&document).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
}

fn pointers(inside: &str) -> Vec<String> {
    problems(inside).iter().map(|told| told.split(": ").next().unwrap_or_default().to_owned()).collect()
}

/// What is wrong with one step, `s`, beside a step `probe` that it needs.
fn of_step(step: &str) -> Vec<String> {
    problems(&format!(
        r#""steps": {{"probe": {{"job": "media.probe"}}, "other": {{"job": "j"}}, "s": {{"needs": ["probe"], {step}}}}}"#
    ))
}

pub(super) const WHOLE: &str = r#"{
    "name": "asset.publish",
    "triggers": [
        {"event": "asset.uploaded", "if": "event.data.bytes > 0"},
        {"job": {"type": "media.*", "outcome": "any"}},
        {"schedule": {"cron": "0 9 * * *", "timezone": "Europe/Athens"}}
    ],
    "parameters": {"type": "object"},
    "concurrency": {"max": 4, "key": "${{ trigger.data.account }}", "when_full": "cancel_running"},
    "on_failure": "compensate",
    "timeout_seconds": 3600,
    "steps": {
        "probe": {"job": "media.probe", "parameters": {"source": "${{ trigger.data.file }}"}, "labels": {"run": "${{ run.id }}"}},
        "encode": {
            "needs": ["probe"],
            "when": "steps.probe.result.duration > 0",
            "each": "${{ steps.probe.result.renditions }}",
            "parallel": 16,
            "tolerate": "10%",
            "job": "media.transcode",
            "parameters": {"source": "${{ trigger.data.file }}", "height": "${{ item.height }}", "number": "${{ index }}"},
            "max_attempts": 3, "priority": 9, "timeout_seconds": 60, "delay_seconds": 1, "backoff": {"initial_seconds": 1},
            "compensate": {"job": "file.delete", "parameters": {"path": "${{ step.result.path }}", "of": "${{ item }}"}}
        },
        "review": {"needs": ["encode"], "approval": {"timeout_seconds": 259200, "on_timeout": "continue"}, "on_failure": "continue"},
        "paid": {"wait": {"event": "order.*", "if": "event.data.id == trigger.data.id", "since": "step"}},
        "morning": {"wait": {"until": "${{ trigger.data.at }}"}},
        "child": {"workflow": {"name": "other.flow", "data": {"x": "${{ event.sequence }}"}}},
        "publish": {"needs": ["review"], "job": "asset.publish", "parameters": {"files": "${{ steps.encode.results.map(r, r.path) }}"}},
        "tidy": {"needs": ["publish", "paid"], "run_if": "finished", "job": "file.delete"}
    },
    "outputs": {"url": "${{ steps.publish.result.url }}", "at": "${{ schedule.scheduled_for }}"}
}"#;

#[test]
fn a_whole_workflow_is_read() {
    let workflow = read(WHOLE);
    assert_eq!(workflow.name.as_str(), "asset.publish");
    assert_eq!(
        (workflow.on_failure, workflow.timeout),
        (OnFailure::Compensate, Some(Duration::from_secs(3600)))
    );
    let concurrency = workflow.concurrency.as_ref().unwrap();
    assert_eq!((concurrency.max, concurrency.when_full), (4, WhenFull::CancelRunning));
    let [first, second, third] = workflow.triggers.as_slice() else { panic!("three triggers") };
    assert!(
        matches!(first, Trigger::Event { subject, condition: Some(_) } if subject.as_str() == "asset.uploaded")
    );
    assert!(
        matches!(second, Trigger::Event { subject, condition: None } if subject.as_str() == "job.*.media.*")
    );
    assert!(matches!(third, Trigger::Schedule(fields) if fields["timezone"] == "Europe/Athens"));
    let names: Vec<&str> = workflow.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(names, ["probe", "encode", "review", "paid", "morning", "child", "publish", "tidy"]);
    let [probe, encode, review, paid, morning, child, publish, tidy] = workflow.steps.as_slice() else {
        panic!("eight steps")
    };
    assert_eq!((probe.needs.len(), probe.run_if, probe.parallel()), (0, RunIf::Completed, 1));
    assert_eq!(
        (encode.needs.as_slice(), encode.reads.as_slice()),
        ([StepIndex(0)].as_slice(), [StepIndex(0)].as_slice())
    );
    assert!(encode.when.is_some() && encode.compensate.is_some());
    assert_eq!((encode.parallel(), encode.tolerate()), (16, Tolerance::Percent(10)));
    let limit = |seconds| Some(Duration::from_secs(seconds));
    assert!(
        matches!(&review.work, Work::Approval(limits) if limits.timeout == limit(259_200) && limits.on_timeout == OnTimeout::Continue)
    );
    assert!(review.continues_on_failure);
    assert!(matches!(&paid.work, Work::Event(wait) if wait.since == Since::Step && wait.condition.is_some()));
    assert!(matches!(morning.work, Work::Until(_)) && matches!(child.work, Work::Child { .. }));
    assert_eq!((publish.reads.as_slice(), tidy.run_if), ([StepIndex(1)].as_slice(), RunIf::Finished));
    assert_eq!(
        (workflow.outputs.is_some(), workflow.outputs_read.as_slice()),
        (true, [StepIndex(6)].as_slice())
    );
}

#[test]
fn a_small_workflow_has_defaults() {
    let workflow =
        read(r#"{"name": "w", "steps": {"f": {"each": [1, 2], "job": "j"}, "w": {"wait": {"event": "a"}}}}"#);
    assert_eq!((workflow.on_failure, workflow.triggers.len()), (OnFailure::Cancel, 0));
    let step = &workflow.steps[0];
    assert_eq!((step.parallel(), step.tolerate()), (PARALLEL_DEFAULT, Tolerance::Items(0)));
    assert!(
        matches!(&workflow.steps[1].work, Work::Event(wait) if wait.since == Since::Run && wait.limit.timeout.is_none())
    );
}

#[test]
fn jobs_are_filled_in() {
    let workflow = read(WHOLE);
    let Work::Job { job, .. } = &workflow.steps[1].work else { panic!("a job") };
    let (trigger, item, index) =
        (json(r#"{"data": {"file": "a.mov"}}"#), json(r#"{"height": 720}"#), json("3"));
    let scope = Scope::new([("trigger", &trigger), ("item", &item), ("index", &index)]).unwrap();
    let filled = job.fill(&scope).unwrap();
    assert_eq!(
        (&*filled.job_type, filled.max_attempts, filled.priority),
        ("media.transcode", Some(3), Some(9))
    );
    assert_eq!(Json::Object(filled.parameters), json(r#"{"source": "a.mov", "height": 720, "number": 3}"#));
    assert_eq!((filled.times.timeout_seconds, filled.times.delay_seconds), (Some(60.0), Some(1.0)));
    let Work::Job { job, .. } = &workflow.steps[0].work else { panic!("a job") };
    let run = json(r#"{"id": 7}"#);
    let scope = Scope::new([("trigger", &trigger), ("run", &run)]).unwrap();
    assert_eq!(job.fill(&scope).unwrap().labels["run"], "7", "a label is a text");
    assert!(job.fill(&Scope::new([("trigger", &item), ("run", &run)]).unwrap()).is_err());
}

#[test]
fn what_is_no_workflow_is_told_so() {
    let told = |document: &Json| Workflow::read(document).unwrap_err().remove(0).message;
    assert_eq!(told(&json("[]")), "a workflow is an object, not an array");
    let deep = format!("{}1{}", "[".repeat(DOCUMENT_LEVELS_MAX), "]".repeat(DOCUMENT_LEVELS_MAX));
    assert!(told(&json(&format!("{{\"x\": {deep}}}"))).contains("no deeper than 36 levels"));
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(DOCUMENT_BYTES_MAX));
    assert!(told(&json(&large)).contains("at most 262144 bytes"));
    assert_eq!(pointers(r#""steps": {}"#), ["/steps"]);
    assert_eq!(pointers(r#""steps": []"#), ["/steps"]);
    let document = json(r#"{"name": "A", "steps": {"a": {"job": "j"}}}"#);
    assert_eq!(Workflow::read(&document).unwrap_err()[0].pointer, "/name");
    assert_eq!(Workflow::read(&json("{}")).unwrap_err().len(), 2, "a name and steps");
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let inside = r#"
        "trigers": [], "triggers": [{"event": "A b"}, 1, {"job": {"type": "a", "outcome": "complete"}}, {}],
        "concurrency": {"max": 0, "when_full": "wait"}, "on_failure": "stop", "timeout_seconds": 0.5, "parameters": 1,
        "steps": {"a": {"job": "Bad Type", "priority": 10, "max_attempt": 2, "labels": {"l": 1}},
            "b": {"job": "j", "parallel": 2, "tolerate": 1}, "c": 7, "d/e": {"wait": {}}, "in": {"approval": {}}},
        "outputs": {"x": "${{ nothing }}"}"#;
    assert_eq!(
        pointers(inside),
        [
            "/triggers/0/event",
            "/triggers/1",
            "/triggers/2/job/outcome",
            "/triggers/3",
            "/concurrency/max",
            "/concurrency/when_full",
            "/on_failure",
            "/timeout_seconds",
            "/parameters",
            "/steps/c",
            "/steps/d~1e",
            "/steps/in",
            "/steps/a/labels/l",
            "/steps/a/job",
            "/steps/a/priority",
            "/steps/a/max_attempt",
            "/steps/b/parallel",
            "/steps/b/tolerate",
            "/steps/d~1e/wait",
            "/outputs/x",
            "/trigers",
        ]
    );
    assert!(
        problems(inside)
            .contains(&r#"/trigers: there is no field "trigers": did you mean "triggers"?"#.to_owned())
    );
}

#[test]
fn a_field_that_is_wrong_is_told_once() {
    assert_eq!(of_step(r#""job": 7"#), ["/steps/s/job: job is a string, not a number"]);
    let told = of_step(r#""job": "j", "xyzzy": 1"#).remove(0);
    assert!(told.contains("a step with a job has "), "{told}");
    assert_eq!(told.matches(" needs,").count(), 1, "{told}");
}

#[test]
fn what_is_null_is_left_out() {
    let nulls = r#""job": "j", "when": null, "each": null, "labels": null, "compensate": null, "approval": null, "backoff": null"#;
    assert!(of_step(nulls).is_empty());
    assert!(
        problems(&format!(r#""triggers": null, "outputs": null, "steps": {{"s": {{{nulls}}}}}"#)).is_empty()
    );
}

#[test]
fn a_workflow_has_sixteen_triggers_at_most() {
    let triggers = |count| {
        let triggers = vec![r#"{"event": "a"}"#; count].join(",");
        problems(&format!(r#""triggers": [{triggers}], "steps": {{"s": {{"job": "j"}}}}"#))
    };
    assert!(triggers(16).is_empty());
    assert_eq!(triggers(17), ["/triggers: a workflow has at most 16 triggers, and this has 17"]);
}

#[test]
fn no_more_problems_are_told_than_somebody_reads() {
    let steps: Vec<String> = (0..STEPS_MAX).map(|step| format!("\"s{step}\": {{\"job\": \"J\"}}")).collect();
    assert_eq!(problems(&format!("\"steps\": {{{}}}", steps.join(","))).len(), PROBLEMS_MAX);
}

#[test]
fn a_workflow_has_two_hundred_steps_at_most() {
    let steps = |count| {
        let steps: Vec<String> =
            (0..count).map(|step| format!("\"s{step}\": {{\"approval\": {{}}}}")).collect();
        problems(&format!("\"steps\": {{{}}}", steps.join(",")))
    };
    assert!(steps(STEPS_MAX).is_empty());
    assert_eq!(steps(STEPS_MAX + 1), ["/steps: a workflow has at most 200 steps, and this has 201"]);
}

#[test]
fn circles_are_told_with_their_path() {
    let told = problems(
        r#""steps": {"a": {"needs": ["c"], "job": "j"}, "b": {"needs": ["a"], "job": "j"}, "c": {"needs": ["b"], "job": "j"}, "d": {"needs": ["d"], "job": "j"}}"#,
    );
    let told: Vec<&str> = told.iter().map(|told| told.rsplit(": ").next().unwrap()).collect();
    assert_eq!(told, ["a → c → b → a", "d → d"]);
}

#[test]
fn unknown_needs_are_told_with_the_nearest_name() {
    let told = problems(
        r#""steps": {"probe": {"job": "j"}, "s": {"needs": ["prob", "probe", "probe", 1], "job": "j"}}"#,
    );
    assert_eq!(
        told,
        [
            r#"/steps/s/needs/0: there is no step "prob"; did you mean "probe"?"#,
            "/steps/s/needs/3: a need is the name of a step, not a number",
            "/steps/s/needs: a step is named more than once",
        ]
    );
}

#[test]
fn a_step_does_one_thing() {
    for step in [r#""when": "true""#, r#""job": "j", "approval": {}"#] {
        let told = of_step(step);
        assert!(told.iter().any(|told| told.starts_with("/steps/s: a step has one of")), "{told:?}");
    }
    assert!(
        of_step(r#""approval": {}, "parameters": {}"#)[0]
            .starts_with("/steps/s/parameters: there is no field")
    );
    assert!(
        of_step(r#""approval": {}, "compensate": {"job": "j"}"#)[0]
            .starts_with("/steps/s/compensate: there is")
    );
    assert!(
        of_step(r#""wait": {"event": "a", "until": "x"}"#)[0].starts_with("/steps/s/wait: a wait has either")
    );
    for (until, is_time) in
        [("2026-11-20T16:07:00+01:00", true), ("tomorrow", false), ("at ${{ trigger.x }}", true)]
    {
        assert_eq!(of_step(&format!(r#""wait": {{"until": "{until}"}}"#)).is_empty(), is_time, "{until}");
    }
    assert!(of_step(r#""job": "j", "run_at": 1"#)[0].starts_with("/steps/s/run_at: there is no field"));
    assert!(
        of_step(r#""approval": {"on_timeout": "fail"}"#)[0].starts_with("/steps/s/approval/on_timeout: ")
    );
    assert!(of_step(r#""workflow": {}"#)[0].starts_with("/steps/s/workflow/name: "));
    assert!(of_step(r#""job": "j", "compensate": {}"#)[0].starts_with("/steps/s/compensate/job: "));
}

#[test]
fn what_looks_at_needs_has_some() {
    for run_if in ["any_completed", "failed"] {
        let told =
            problems(&format!(r#""steps": {{"s": {{"run_if": "{run_if}", "needs": [], "job": "j"}}}}"#));
        assert!(told[0].starts_with("/steps/s/run_if: "), "{told:?}");
        assert!(of_step(&format!(r#""run_if": "{run_if}", "job": "j""#)).is_empty());
    }
    assert!(problems(r#""steps": {"s": {"run_if": "finished", "job": "j"}}"#).is_empty());
}

#[test]
fn items_are_a_list_or_one_expression() {
    for each in [r#""${{ trigger.list }}""#, r#"[{"x": "${{ trigger.y }}"}]"#, "[]"] {
        assert!(of_step(&format!(r#""job": "j", "each": {each}"#)).is_empty(), "{each}");
    }
    for each in [r#""text""#, r#"" ${{ trigger.list }}""#, "1", "{}", r#""${{ item }}""#] {
        assert_eq!(of_step(&format!(r#""job": "j", "each": {each}"#)).len(), 1, "{each}");
    }
    let list = vec!["1"; 10_001].join(",");
    assert_eq!(
        of_step(&format!(r#""job": "j", "each": [{list}]"#)),
        ["/steps/s/each: a step has at most 10000 items"]
    );
    for tolerate in ["-1", "1.5", r#""101%""#, r#""10""#, "true", "10001"] {
        let told = of_step(&format!(r#""job": "j", "each": [], "tolerate": {tolerate}"#));
        assert!(told[0].starts_with("/steps/s/tolerate: tolerate is how many"), "{told:?}");
    }
}

#[test]
fn expressions_are_read_and_their_place_is_told() {
    let told = |step: &str| of_step(step).remove(0);
    assert!(told(r#""job": "j", "when": "1 +""#).starts_with("/steps/s/when: at byte "));
    assert!(told(r#""job": "j", "when": "'yes'""#).contains("a condition is true or false"));
    assert!(told(r#""job": "j", "parameters": {"a": ["${{ triger.x }}"]}"#).starts_with(
        "/steps/s/parameters/a/0: at byte 4: nothing is called `triger`; did you mean `trigger`?"
    ));
    let long = "x".repeat(EXPRESSION_BYTES_MAX + 1);
    assert!(told(&format!(r#""job": "j", "when": "{long}""#)).starts_with("/steps/s/when: at byte"));
}

#[test]
fn only_names_are_known_that_certainly_are() {
    // What names a step may use, by the place.
    let fits = |step: &str| of_step(step).is_empty();
    assert!(fits(r#""job": "j", "parameters": {"a": "${{ [trigger, run] }}"}"#));
    assert!(!fits(r#""job": "j", "parameters": {"a": "${{ event }}"}"#), "no event starts it");
    assert!(!fits(r#""job": "j", "parameters": {"a": "${{ schedule }}"}"#));
    assert!(!fits(r#""job": "j", "parameters": {"a": "${{ item }}"}"#));
    assert!(!fits(r#""job": "j", "parameters": {"a": "${{ step }}"}"#));
    assert!(fits(
        r#""job": "j", "each": [1], "parameters": {"a": "${{ [item, index] }}"}, "labels": {"l": "${{ index }}"}"#
    ));
    assert!(!fits(r#""job": "j", "each": [1], "when": "item == 1""#), "a step has one condition");
    assert!(fits(r#""job": "j", "compensate": {"job": "u", "parameters": {"a": "${{ step.result }}"}}"#));
    assert!(!fits(r#""job": "j", "compensate": {"job": "u", "parameters": {"a": "${{ item }}"}}"#));
    assert!(
        fits(r#""wait": {"event": "a", "if": "event.data.id == trigger.data.id"}"#),
        "the one that is waited for"
    );
    let started_by = |trigger: &str, name: &str| {
        problems(&format!(
            r#""triggers": [{trigger}], "concurrency": {{"max": 1, "key": "${{{{ {name} }}}}"}}, "steps": {{"s": {{"job": "j", "when": "{name} == 1"}}}}"#
        ))
    };
    assert!(started_by(r#"{"event": "a"}"#, "event").is_empty());
    assert!(started_by(r#"{"job": {"type": "a"}}"#, "event").is_empty());
    assert!(started_by(r#"{"schedule": {"cron": "x"}}"#, "schedule").is_empty());
    assert_eq!(started_by(r#"{"event": "a"}"#, "schedule").len(), 2);
    assert_eq!(
        problems(r#""triggers": [{"event": "a", "if": "trigger.x"}], "steps": {"s": {"job": "j"}}"#).len(),
        1
    );
}

#[test]
fn a_step_knows_those_that_are_certainly_over() {
    let told =
        |name: &str| of_step(&format!(r#""job": "j", "parameters": {{"a": "see ${{{{ {name} }}}}"}}"#));
    assert!(told("steps.probe.result").is_empty());
    assert_eq!(
        told("steps.other.result"),
        [r#"/steps/s/parameters/a: at byte 8: step "other" is not certainly over here; add it to the needs"#]
    );
    assert_eq!(
        told("steps.s.result"),
        [r#"/steps/s/parameters/a: at byte 8: nothing is known of step "s" itself here"#]
    );
    assert_eq!(
        told("1 + steps.prob.result"),
        [r#"/steps/s/parameters/a: at byte 12: there is no step "prob"; did you mean "probe"?"#]
    );
    assert!(told("steps[trigger.name]")[0].contains("`steps` is followed by the name of a step"));
    let chain = r#""steps": {"a": {"job": "j"}, "b": {"needs": ["a"], "job": "j"},
        "c": {"needs": ["b"], "when": "steps.a.result == steps.b.result", "job": "j"}}, "outputs": {"x": "${{ steps.c.result }}"}"#;
    assert!(problems(chain).is_empty(), "ancestors of ancestors, and all of them at the end");
}

#[test]
fn names_of_steps_can_be_said_in_expressions() {
    let reserved = "as break const continue else for function if import let loop package namespace return var void while";
    for name in reserved.split(' ').chain(["a", "encode_4k", "steps", "size", "has", "map", "type", "int"]) {
        let told = problems(&format!(
            r#""steps": {{"{name}": {{"job": "j"}}, "s": {{"needs": ["{name}"], "when": "steps.{name}.result", "job": "j"}}}}"#
        ));
        assert!(told.is_empty(), "{told:?}");
    }
    for name in ["", "A", "1a", "a-b", "a.b", "true", "in", &"x".repeat(65)] {
        let told = pointers(&format!(r#""steps": {{"{name}": {{"job": "j"}}}}"#));
        assert_eq!(told, [format!("/steps/{name}")], "{name}");
    }
}

#[test]
fn a_schedule_keeps_its_fields_but_not_any_shape() {
    let told = |schedule: &str| {
        pointers(&format!(r#""triggers": [{{"schedule": {schedule}}}], "steps": {{"s": {{"job": "j"}}}}"#))
    };
    assert!(
        told(r#"{"every_seconds": 60, "jitter_seconds": 5, "overlap": "skip", "catch_up": "last"}"#)
            .is_empty()
    );
    assert_eq!(
        told(r#"{"cron": 1, "crom": "x"}"#),
        ["/triggers/0/schedule/cron", "/triggers/0/schedule/crom"]
    );
    assert_eq!(told(r#"{"cron": "x", "every_seconds": 1}"#), ["/triggers/0/schedule"]);
    assert_eq!(told("7"), ["/triggers/0/schedule"]);
}
