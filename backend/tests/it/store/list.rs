//! Lists and counts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{Job, State},
    engine::ports::{Count, JobQuery},
};
use crewcall_proto::{JobId, Timestamp};

use super::under_test::{START, StoreUnderTest, cancel, completed, held, job_type, started};

/// Twelve jobs, one second apart: of type `a.one` and `a.two` in turn, every third completed, every fourth
/// ready, the even ones of team `x`.
async fn twelve(tested: &StoreUnderTest) -> Vec<Job> {
    let mut jobs = Vec::new();
    for number in 0..12_usize {
        tested.clock.advance(1_000);
        let mut job = tested.job(["a.one", "a.two"][number % 2]);
        let team = if number % 2 == 0 { "x" } else { "y" };
        job.labels = [("team".to_owned(), team.to_owned()), ("number".to_owned(), number.to_string())].into();
        let window = if number % 4 == 3 { 0 } else { usize::MAX };
        let mut job = Job::clone(&tested.insert(job, window).await.job);
        if number % 3 == 0 && job.status.state == State::Dispatched {
            job.status = tested.change(&job, completed(&job)).await.status;
        }
        jobs.push(job);
    }
    jobs
}

async fn ids(tested: &StoreUnderTest, query: JobQuery) -> Vec<JobId> {
    tested.store.list(&query).await.unwrap().iter().map(|job| job.id).collect()
}

fn any() -> JobQuery {
    JobQuery { limit: 100, ..JobQuery::default() }
}

fn label(name: &str, value: &str) -> BTreeMap<String, String> {
    [(name.to_owned(), value.to_owned())].into()
}

fn at(second: i64) -> Option<Timestamp> {
    Some(START.plus_millis(second * 1_000))
}

pub(crate) async fn every_filter_finds_what_it_names_newest_first(tested: StoreUnderTest) {
    let jobs = twelve(&tested).await;
    let both = BTreeMap::from([("team".to_owned(), "x".to_owned()), ("number".to_owned(), "6".to_owned())]);
    let queries = [
        any(),
        JobQuery { states: vec![State::Completed], ..any() },
        JobQuery { states: vec![State::Ready, State::Dispatched, State::Failed], ..any() },
        JobQuery { job_type: Some("a.one".into()), ..any() },
        JobQuery { job_type: Some("*.two".into()), ..any() },
        JobQuery { job_type: Some("a*".into()), states: vec![State::Ready], ..any() },
        JobQuery { job_type: Some("b".into()), ..any() },
        JobQuery { job_type: Some("a.?ne' OR 1".into()), ..any() },
        JobQuery { labels: label("team", "x"), ..any() },
        JobQuery { labels: label("team", "X"), ..any() },
        JobQuery { labels: both.clone(), ..any() },
        JobQuery { labels: both, states: vec![State::Completed], ..any() },
        JobQuery {
            labels: label("team", "x"),
            states: vec![State::Dispatched],
            created_before: at(9),
            ..any()
        },
        JobQuery { labels: label("team", "x"), created_after: at(4), created_before: at(9), ..any() },
        JobQuery {
            labels: label("team", "y"),
            states: vec![State::Completed],
            job_type: Some("a*".into()),
            ..any()
        },
        JobQuery { created_after: at(3), created_before: at(7), ..any() },
        JobQuery { created_after: at(3), labels: label("team", "y"), ..any() },
        JobQuery { ids: Some(jobs[3].id..=jobs[8].id), ..any() },
        JobQuery { ids: Some(jobs[5].id..=jobs[5].id), states: vec![State::Ready], ..any() },
        JobQuery { created_before: at(0), ..any() },
        JobQuery { created_after: at(100), ..any() },
        JobQuery { created_before: at(7), job_type: Some("a.two".into()), ..any() },
        JobQuery { before: Some(jobs[5].id), ..any() },
        JobQuery { before: Some(jobs[5].id), labels: label("team", "x"), limit: 2, ..any() },
        JobQuery { before: Some(jobs[9].id), job_type: Some("*".into()), limit: 4, ..any() },
        JobQuery { limit: 5, ..any() },
        JobQuery { limit: 0, ..any() },
    ];
    for query in queries {
        let expected: Vec<Job> =
            jobs.iter().rev().filter(|job| fits(&query, job)).take(query.limit).cloned().collect();
        assert_eq!(tested.store.list(&query).await.unwrap(), expected, "{query:?}");
        let expected: Vec<JobId> = expected.iter().map(|job| job.id).collect();
        assert_eq!(tested.store.list_ids(&query).await.unwrap(), expected, "{query:?}");
    }
    tested.finish().await;
}

/// What the port says of a query, in plain words. The patterns above have their star at an end.
fn fits(query: &JobQuery, job: &Job) -> bool {
    let type_fits = query.job_type.as_ref().is_none_or(|pattern| match pattern.split_once('*') {
        Some((head, tail)) => {
            job.job_type.as_str().starts_with(head) && job.job_type.as_str().ends_with(tail)
        }
        None => job.job_type.as_str() == pattern,
    });
    type_fits
        && (query.states.is_empty() || query.states.contains(&job.status.state))
        && query.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
        && query.created_after.is_none_or(|after| job.created_at >= after)
        && query.created_before.is_none_or(|before| job.created_at < before)
        && query.ids.as_ref().is_none_or(|ids| ids.contains(&job.id))
        && query.before.is_none_or(|before| job.id < before)
}

pub(crate) async fn pages_neither_skip_nor_repeat_while_jobs_come(tested: StoreUnderTest) {
    let jobs = twelve(&tested).await;
    let queries = [
        JobQuery { limit: 5, ..any() },
        JobQuery { limit: 5, job_type: Some("a*".into()), ..any() },
        JobQuery { limit: 2, labels: label("team", "x"), ..any() },
    ];
    for query in queries {
        let mut seen: Vec<JobId> = Vec::new();
        loop {
            let page = ids(&tested, JobQuery { before: seen.last().copied(), ..query.clone() }).await;
            if page.is_empty() {
                break;
            }
            seen.extend(page);
            let mut late = tested.job("a.one");
            late.labels = label("team", "x");
            tested.insert(late, 0).await;
        }
        let before = |id: &JobId| jobs.iter().any(|job| job.id == *id);
        let seen: Vec<_> = seen.into_iter().filter(before).collect();
        let expected: Vec<_> = jobs.iter().rev().filter(|job| fits(&query, job)).map(|job| job.id).collect();
        assert_eq!(seen, expected);
    }
    tested.finish().await;
}

pub(crate) async fn counts_are_exact_also_after_a_restart(mut tested: StoreUnderTest) {
    let jobs = twelve(&tested).await;
    for round in 0..2 {
        let counts = tested.store.counts().await.unwrap();
        let expected: Vec<Count> = ["a.one", "a.two"]
            .into_iter()
            .flat_map(|name| State::ALL.map(|state| (name, state)))
            .filter_map(|(name, state)| {
                let of: Vec<&Job> = jobs
                    .iter()
                    .filter(|job| job.job_type.as_str() == name && job.status.state == state)
                    .collect();
                let jobs = u64::try_from(of.len()).ok().filter(|jobs| *jobs > 0)?;
                Some(Count { job_type: job_type(name), state, jobs })
            })
            .collect();
        assert_eq!(counts, expected, "round {round}");
        let one = tested.store.counts_of(&job_type("a.two")).await.unwrap();
        assert!(one.iter().eq(expected.iter().filter(|count| count.job_type.as_str() == "a.two")));
        assert_eq!(tested.store.counts_of(&job_type("a.none")).await.unwrap(), []);
        let types = ["a.two", "a.none", "a.one"].map(job_type).to_vec();
        let states: &[State] = &[State::Ready, State::Dispatched];
        let oldest = |name: &str| {
            let of =
                jobs.iter().filter(|job| job.job_type.as_str() == name && states.contains(&job.status.state));
            of.map(|job| job.created_at).min().map(|oldest| (job_type(name), oldest))
        };
        let expected: Vec<_> = ["a.two", "a.one"].into_iter().filter_map(oldest).collect();
        assert_eq!(tested.store.oldest(types, states).await.unwrap(), expected);
        tested.reopen().await;
    }
    tested.finish().await;
}

pub(crate) async fn claims_of_running_jobs_are_read_in_pages(mut tested: StoreUnderTest) {
    let mut running = Vec::new();
    for _ in 0..5 {
        let mut job = tested.job("a");
        job.policy.timeout = Some(Duration::from_millis(1_250));
        let job = tested.insert(job, usize::MAX).await.job;
        tested.change(&job, started(&job)).await;
        running.push(job);
    }
    tested.change(&running[1], held(&running[1])).await;
    tested.change(&running[3], cancel()).await;
    tested.change(&running[2], completed(&running[2])).await;
    tested.dispatched("a").await;
    tested.reopen().await;
    let first = tested.store.claims(None, 2).await.unwrap();
    let second = tested.store.claims(Some(first[1].job_id), 10).await.unwrap();
    let found: Vec<_> = first.iter().chain(&second).map(|claim| claim.job_id).collect();
    let expected: Vec<_> = [0, 1, 3, 4].map(|index: usize| running[index].id).to_vec();
    assert_eq!(found, expected);
    assert_eq!(first.iter().map(|claim| claim.claim.held).collect::<Vec<_>>(), [false, true]);
    assert_eq!(first[1].timeout, Some(Duration::from_millis(1_250)));
    assert_eq!(second.iter().map(|claim| claim.cancelled).collect::<Vec<_>>(), [true, false]);
    assert_eq!(Some(first[0].token), running[0].status.token);
    assert_eq!(Arc::as_ref(&running[0]).status.attempt, first[0].attempt);
    tested.finish().await;
}

pub(crate) async fn lists_by_time_are_right_also_when_the_clocks_differ(mut tested: StoreUnderTest) {
    let mut jobs = Vec::new();
    // The ids are of the machine's clock, which is years ahead; then of 1970.
    for number in 0..6_u128 {
        let now = tested.clock.advance(1_000);
        let mut job = tested.job("a");
        if number >= 3 {
            job.id = JobId::from_uuid(uuid::Uuid::from_u128(number << 80));
        }
        jobs.push(tested.insert(Job { created_at: now, ..job }, 0).await.job);
    }
    jobs.sort_by_key(|job| job.id);
    tested.reopen().await;
    for (after, before) in [(None, at(2)), (at(2), None), (at(3), at(5)), (at(5), at(6)), (at(7), None)] {
        let queries = [
            JobQuery { created_after: after, created_before: before, ..any() },
            JobQuery { created_after: after, created_before: before, job_type: Some("a".into()), ..any() },
        ];
        for query in queries {
            let of = jobs.iter().rev().filter(|job| fits(&query, job));
            let expected: Vec<_> = of.map(|job| job.id).collect();
            assert_eq!(ids(&tested, query.clone()).await, expected, "{query:?}");
        }
    }
    tested.finish().await;
}

pub(crate) async fn filters_agree_whichever_leads(tested: StoreUnderTest) {
    let mut found = Vec::new();
    for number in 0..300_usize {
        let mut job = tested.job("a");
        job.labels = BTreeMap::from([
            ("all".to_owned(), "x".to_owned()),
            ("third".to_owned(), (number % 3).to_string()),
            ("each".to_owned(), number.to_string()),
        ]);
        let job = tested.insert(job, 0).await.job;
        if number % 50 == 0 {
            tested.change(&job, cancel()).await;
            found.push((number, job.id));
        }
    }
    let with = |labels: &[(&str, &str)], states: Vec<State>| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        JobQuery { labels, states, limit: 4, ..JobQuery::default() }
    };
    let newest = |fits: fn(usize) -> bool| -> Vec<JobId> {
        found.iter().rev().filter(|(number, _)| fits(*number)).map(|(_, id)| *id).take(4).collect()
    };
    let cancelled = vec![State::Cancelled];
    let all = with(&[("all", "x")], cancelled.clone());
    assert_eq!(ids(&tested, all).await, newest(|_| true), "few are cancelled");
    let third = with(&[("all", "x"), ("third", "2")], cancelled.clone());
    assert_eq!(ids(&tested, third).await, newest(|number| number % 3 == 2));
    let one = with(&[("all", "x"), ("each", "150")], cancelled);
    assert_eq!(ids(&tested, one).await, newest(|number| number == 150), "one has this label");
    let ready = with(&[("each", "150")], vec![State::Ready]);
    assert_eq!(ids(&tested, ready).await, []);
    tested.finish().await;
}
