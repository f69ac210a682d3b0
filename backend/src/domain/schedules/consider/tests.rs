use crewcall_calendar::Zone;
use proptest::prelude::*;

use super::*;
use crate::domain::schedules::settings::Overlap;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// 20 November 2026, midnight in UTC.
const MIDNIGHT: i64 = 1_795_132_800_000;

fn at(minutes: i64, more_ms: i64) -> Timestamp {
    Timestamp::from_millis(MIDNIGHT + minutes * MINUTE + more_ms)
}

fn times(timing: Timing) -> Times {
    Times {
        timing,
        timezone: "UTC".to_owned(),
        from: None,
        until: None,
        jitter: Duration::ZERO,
        overlap: Overlap::Skip,
        catch_up: CatchUp::Last,
        catch_up_window: Duration::from_secs(30 * 24 * 60 * 60),
    }
}

fn each_minute() -> Times {
    times(Timing::Cron("* * * * *".to_owned()))
}

fn calendar(times: &Times) -> Calendar {
    match &times.timing {
        Timing::Cron(pattern) => Calendar::cron(pattern, Zone::utc()).unwrap(),
        Timing::Every(seconds) => {
            Calendar::every(*seconds, times.from.map_or(0, Timestamp::as_millis), Zone::utc()).unwrap()
        }
    }
}

fn consider(times: &Times, mark: Timestamp, now: Timestamp, paused: bool) -> Considered {
    let name: ScheduleName = "report.nightly".parse().unwrap();
    Ticks { calendar: &calendar(times), times, name: &name }.consider(mark, now, paused)
}

fn passed(first: i64, last: i64, why: Passed) -> Fate {
    let count = u64::try_from(last - first).unwrap() + 1;
    Fate::Passed { first: at(first, 0), last: at(last, 0), count, why }
}

fn due(minutes: impl IntoIterator<Item = i64>) -> Vec<Fate> {
    minutes.into_iter().map(|minute| Fate::Due(at(minute, 0))).collect()
}

#[test]
fn a_tick_fires_when_it_comes_and_not_before() {
    let times = each_minute();
    assert_eq!(consider(&times, at(0, 0), at(0, 59_999), false).fates, []);
    assert_eq!(consider(&times, at(0, 0), at(1, 0), false).fates, due([1]));
    assert_eq!(consider(&times, at(1, 0), at(1, 30_000), false).fates, []);
}

#[test]
fn what_nobody_was_there_for_is_caught_up_with_as_the_schedule_says() {
    let missed = |last| vec![passed(1, last, Passed::Missed)];
    // The backend comes back half a minute after the fifth tick.
    for (catch_up, fates) in [
        (CatchUp::None, missed(5)),
        (CatchUp::Last, [missed(4), due([5])].concat()),
        (CatchUp::All, due(1..=5)),
    ] {
        let times = Times { catch_up, ..each_minute() };
        let considered = consider(&times, at(0, 0), at(5, 30_000), false);
        assert_eq!(considered, Considered { fates, more: false }, "{catch_up:?}");
    }
    // It comes back within the fifth tick: that one is on time.
    for (catch_up, fates) in [
        (CatchUp::None, [missed(4), due([5])].concat()),
        (CatchUp::Last, [missed(4), due([5])].concat()),
        (CatchUp::All, due(1..=5)),
    ] {
        let times = Times { catch_up, ..each_minute() };
        assert_eq!(consider(&times, at(0, 0), at(5, 1_999), false).fates, fates, "{catch_up:?}");
    }
}

#[test]
fn what_is_too_old_is_not_caught_up_with() {
    let window = Duration::from_secs(150);
    let times = Times { catch_up: CatchUp::All, catch_up_window: window, ..each_minute() };
    let fates = [vec![passed(1, 2, Passed::Missed)], due(3..=5)].concat();
    assert_eq!(consider(&times, at(0, 0), at(5, 30_000), false).fates, fates);
    let hourly = times_of_the_hour(CatchUp::Last, window);
    let considered = consider(&hourly, at(0, 0), at(70, 0), false);
    assert_eq!(
        considered.fates,
        [Fate::Passed { first: at(60, 0), last: at(60, 0), count: 1, why: Passed::Missed }]
    );
}

fn times_of_the_hour(catch_up: CatchUp, catch_up_window: Duration) -> Times {
    Times { catch_up, catch_up_window, ..times(Timing::Cron("0 * * * *".to_owned())) }
}

#[test]
fn the_newest_of_too_many_are_caught_up_with_in_steps() {
    let all = i64::try_from(CATCH_UP_MAX).unwrap();
    let a_step = i64::try_from(STEP_FIRES_MAX).unwrap();
    for timing in [Timing::Cron("* * * * *".to_owned()), Timing::Every(60)] {
        let times = Times { catch_up: CatchUp::All, ..times(timing) };
        // Of two days, the first 1 880 minutes are missed; a pattern is looked at in steps of a thousand.
        let (now, first) = (at(2_880, 30_000), 2_880 - all + 1);
        let (mut mark, mut missed, mut fired) = (at(0, 0), 0, Vec::new());
        loop {
            let considered = consider(&times, mark, now, false);
            for fate in &considered.fates {
                match fate {
                    Fate::Passed { count, why: Passed::Missed, .. } => {
                        missed += i64::try_from(*count).unwrap();
                    }
                    Fate::Passed { .. } => panic!("{fate:?}"),
                    Fate::Due(tick) => fired.push(*tick),
                }
            }
            mark = considered.fates.last().unwrap().last();
            if !considered.more {
                break;
            }
            assert!(i64::try_from(considered.fates.len()).unwrap() <= a_step + 1);
        }
        assert_eq!(missed, first - 1);
        assert_eq!(fired, (first..=2_880).map(|minute| at(minute, 0)).collect::<Vec<_>>());
    }
}

#[test]
fn a_year_that_nobody_saw_is_bounded_work() {
    let now = at(366 * 24 * 60, 30_000);
    let seconds = times(Timing::Every(1));
    let considered = consider(&seconds, at(0, 0), now, false);
    let count = 366 * 24 * 60 * 60 + 30 - 3;
    // Those of the last two seconds are on time.
    let last = now.plus_millis(-3_000);
    let missed = Fate::Passed { first: at(0, 1_000), last, count, why: Passed::Missed };
    let fates = [0, 1, 2].map(|second| Fate::Due(now.plus_millis(-2_000 + second * 1_000)));
    assert_eq!(considered.fates, [[missed].as_slice(), &fates].concat());
    let minutes = consider(&each_minute(), at(0, 0), now, false);
    assert_eq!(minutes, Considered { fates: vec![passed(1, 1_000, Passed::Missed)], more: true });
}

#[test]
fn a_paused_schedule_passes_its_ticks() {
    let times = Times { catch_up: CatchUp::All, ..each_minute() };
    let fates = vec![passed(1, 3, Passed::Paused)];
    assert_eq!(consider(&times, at(0, 0), at(3, 0), true), Considered { fates, more: false });
}

#[test]
fn ticks_are_within_the_times_that_were_named() {
    let (from, until) = (Some(at(2, 1_000)), Some(at(4, 0)));
    let times = Times { from, until, catch_up: CatchUp::All, ..each_minute() };
    assert_eq!(consider(&times, at(0, 0), at(9, 0), false).fates, due([3, 4]));
    // An interval begins with the moment itself.
    let every = Times { from: Some(at(2, 1_000)), catch_up: CatchUp::All, ..self::times(Timing::Every(60)) };
    let fates: Vec<Fate> = (2..=4).map(|minute| Fate::Due(at(minute, 1_000))).collect();
    assert_eq!(consider(&every, at(0, 0), at(4, 1_500), false).fates, fates);
}

#[test]
fn jitter_is_the_same_for_a_tick_whoever_asks_and_is_no_lateness() {
    let times = Times { jitter: Duration::from_secs(50), catch_up: CatchUp::None, ..each_minute() };
    let calendar = calendar(&times);
    let (one, other): (ScheduleName, ScheduleName) = ("one".parse().unwrap(), "other".parse().unwrap());
    let of = |name| Ticks { calendar: &calendar, times: &times, name };
    let spread = |name| (0..100).map(|tick| of(name).due(at(tick, 0)).since(at(tick, 0))).collect::<Vec<_>>();
    assert_eq!(spread(&one), spread(&one));
    assert_ne!(spread(&one), spread(&other), "not everybody comes at the same moment");
    assert!(spread(&one).iter().all(|spread| *spread < times.jitter));
    assert!(spread(&one).iter().any(|spread| *spread > times.jitter / 2));
    for tick in 1..100 {
        let comes = of(&one).due(at(tick, 0));
        let before = of(&one).consider(at(tick - 1, 0), comes.plus_millis(-1), false);
        let then = of(&one).consider(at(tick - 1, 0), comes, false);
        assert_eq!((before.fates, then.fates), (Vec::new(), due([tick])));
        let late = of(&one).consider(at(tick - 1, 0), comes.plus_millis(2_001), false);
        assert_eq!(late.fates.first(), Some(&passed(tick, tick, Passed::Missed)), "{:?}", late.fates);
    }
}

#[test]
fn what_fired_while_the_clock_was_ahead_has_no_part_in_what_passes() {
    let times = each_minute();
    let calendar = calendar(&times);
    let name: ScheduleName = "a".parse().unwrap();
    let ticks = Ticks { calendar: &calendar, times: &times, name: &name };
    let apart = |fired: &[i64]| {
        let fired = fired.iter().map(|minute| at(*minute, 0)).collect();
        ticks.apart(passed(1, 9, Passed::Missed), &fired)
    };
    let missed = |first, last| passed(first, last, Passed::Missed);
    assert_eq!(apart(&[]), [missed(1, 9)]);
    assert_eq!(apart(&[4]), [missed(1, 3), missed(5, 9)]);
    assert_eq!(apart(&[1, 2, 9]), [missed(3, 8)]);
    assert_eq!(apart(&(1..=9).collect::<Vec<_>>()), []);
    assert_eq!(ticks.apart(Fate::Due(at(1, 0)), &BTreeSet::from([at(1, 0)])), due([1]));
}

proptest! {
    /// However often, and however late, somebody looks: each tick has one fate, in order, and none is left out.
    #[test]
    fn every_tick_has_one_fate(
        every in 1_u32..5_000,
        is_pattern: bool,
        catch_up in prop::sample::select(vec![CatchUp::None, CatchUp::Last, CatchUp::All]),
        jitter_percent in 0_u32..99,
        looks in prop::collection::vec((0_i64..3 * DAY, any::<bool>()), 1..12),
    ) {
        let (timing, gap) = if is_pattern {
            (Timing::Cron("*/7 3-20 * * *".to_owned()), 4 * 60)
        } else {
            (Timing::Every(every), every)
        };
        let jitter = Duration::from_millis(u64::from(gap) * u64::from(jitter_percent) * 10);
        let times = Times { jitter, catch_up, ..times(timing) };
        let calendar = calendar(&times);
        let name: ScheduleName = "a".parse().unwrap();
        let ticks = Ticks { calendar: &calendar, times: &times, name: &name };
        let (mut mark, mut now) = (at(0, 0), at(0, 0));
        for (later, paused) in looks {
            now = now.plus_millis(later);
            for _ in 0..10_000 {
                let considered = ticks.consider(mark, now, paused);
                for fate in &considered.fates {
                    let (first, count) = match fate {
                        Fate::Due(tick) => (*tick, 1),
                        Fate::Passed { first, count, .. } => (*first, *count),
                    };
                    prop_assert_eq!(Some(first), ticks.next_after(mark));
                    let within = calendar.count(mark.as_millis(), fate.last().as_millis(), u64::MAX);
                    prop_assert_eq!(within, count);
                    mark = fate.last();
                }
                if !considered.more {
                    break;
                }
            }
            prop_assert!(ticks.next_after(mark).is_none_or(|next| ticks.due(next) > now));
        }
    }
}
