//! The suite, on every store there is.

macro_rules! conforms {
    ($($module:ident { $($case:ident),+ $(,)? })+) => {
        mod sqlite {
            $(mod $module {
                use super::super::super::{$module, under_test::StoreUnderTest};

                $(#[tokio::test]
                async fn $case() {
                    $module::$case(StoreUnderTest::sqlite()).await;
                })+
            })+

            #[test]
            fn any_status_is_that_of_the_state_machine() {
                use super::super::{model, under_test::StoreUnderTest};
                model::any_status_is_that_of_the_state_machine(StoreUnderTest::sqlite);
            }

            #[test]
            fn whoever_is_blocked_is_moved_on_at_once() {
                use super::super::{follower_model, under_test::StoreUnderTest};
                follower_model::whoever_is_blocked_is_moved_on_at_once(StoreUnderTest::sqlite);
            }

            #[test]
            fn any_run_is_kept_as_it_was_decided() {
                use super::super::{run_model, under_test::StoreUnderTest};
                run_model::any_run_is_kept_as_it_was_decided(StoreUnderTest::sqlite);
            }

            #[test]
            fn any_schedule_is_kept_as_the_reference_has_it() {
                use super::super::{schedule_model, under_test::StoreUnderTest};
                schedule_model::any_schedule_is_kept_as_the_reference_has_it(StoreUnderTest::sqlite);
            }
        }

        mod memory {
            $(mod $module {
                use super::super::super::{$module, under_test::StoreUnderTest};

                $(#[tokio::test]
                async fn $case() {
                    $module::$case(StoreUnderTest::memory()).await;
                })+
            })+

            #[test]
            fn any_status_is_that_of_the_state_machine() {
                use super::super::{model, under_test::StoreUnderTest};
                model::any_status_is_that_of_the_state_machine(StoreUnderTest::memory);
            }

            #[test]
            fn whoever_is_blocked_is_moved_on_at_once() {
                use super::super::{follower_model, under_test::StoreUnderTest};
                follower_model::whoever_is_blocked_is_moved_on_at_once(StoreUnderTest::memory);
            }

            #[test]
            fn any_run_is_kept_as_it_was_decided() {
                use super::super::{run_model, under_test::StoreUnderTest};
                run_model::any_run_is_kept_as_it_was_decided(StoreUnderTest::memory);
            }

            #[test]
            fn any_schedule_is_kept_as_the_reference_has_it() {
                use super::super::{schedule_model, under_test::StoreUnderTest};
                schedule_model::any_schedule_is_kept_as_the_reference_has_it(StoreUnderTest::memory);
            }
        }
    };
}

conforms! {
    insert {
        a_job_comes_back_as_it_was_accepted,
        room_in_the_window_dispatches_at_once,
        nobody_overtakes_a_job_that_waits,
        several_jobs_are_stored_together_or_not_at_all,
        a_failing_call_does_not_harm_those_that_come_with_it,
        a_window_is_never_exceeded_by_many_callers,
        a_job_that_is_due_later_waits_for_its_time,
    }
    idempotency {
        a_job_that_is_submitted_again_is_the_same_as_it_is_now,
        of_a_hundred_at_once_one_is_stored,
        a_key_is_unique_also_within_one_call,
        a_key_of_a_call_that_failed_is_free,
        a_key_is_forgotten_after_its_time,
        a_job_that_is_deleted_frees_its_key,
    }
    apply {
        a_job_runs_and_is_completed,
        a_failed_attempt_is_followed_by_another_when_it_is_due,
        due_jobs_are_released_in_steps,
        an_unroutable_order_waits_for_the_first_worker,
        orders_of_a_type_that_nobody_serves_stay_here,
        several_events_of_one_job_are_taken_in_order,
        a_cancelled_attempt_and_a_retry_are_kept,
        what_waits_is_cancelled_at_once,
        each_job_is_tried_again_by_its_own_policy,
        how_often_an_order_was_sent_outlives_a_restart,
        every_kind_of_error_is_kept,
    }
    dispatch {
        jobs_go_by_priority_then_due_time_then_id,
        a_held_or_ended_attempt_makes_room,
        what_is_set_for_a_type_holds_for_each_dispatch,
        a_rate_limit_remembers_what_began,
        room_is_known_after_a_restart,
        a_lost_order_is_sent_again_with_its_token_and_a_new_number,
        what_was_not_confirmed_is_found_after_a_restart,
        orders_with_the_broker_are_listed_longest_dispatched_first,
    }
    time {
        what_was_not_started_in_time_expires,
        what_was_started_or_is_over_does_not_expire,
        waits_go_on_when_the_clock_was_set_back,
        old_jobs_go_with_everything_about_them,
        only_what_is_over_is_deleted,
        deleting_and_writing_go_on_together,
    }
    followers {
        a_job_begins_with_the_end_of_the_last_that_it_comes_after,
        a_failure_cancels_those_behind_it_through_each_other,
        what_is_over_already_blocks_nothing,
        who_is_tried_again_blocks_again,
        a_blocked_job_ends_by_itself_and_is_not_moved_again,
        what_a_job_comes_after_may_be_deleted_before,
        thousands_follow_in_steps,
    }
    list {
        every_filter_finds_what_it_names_newest_first,
        pages_neither_skip_nor_repeat_while_jobs_come,
        counts_are_exact_also_after_a_restart,
        claims_of_running_jobs_are_read_in_pages,
        lists_by_time_are_right_also_when_the_clocks_differ,
        filters_agree_whichever_leads,
    }
    types {
        types_are_kept_as_they_were_last_announced,
        what_is_set_for_types_is_kept,
        types_that_nobody_announced_are_limited,
        quarantined_messages_are_read_and_deleted,
        the_newest_unreadable_messages_are_kept,
    }
    events {
        events_come_back_as_they_were_published,
        an_event_that_is_published_again_is_the_same,
        whoever_follows_the_log_skips_nothing,
        the_oldest_events_go_and_their_numbers_are_not_used_again,
    }
    emissions {
        what_comes_with_a_result_is_recorded_with_it_or_never,
        what_is_published_meanwhile_counts_for_attempts_that_there_are_or_were,
    }
    consumers {
        what_is_made_and_the_place_are_stored_together,
        of_many_that_step_at_once_one_counts,
        as_many_jobs_are_unfinished_as_may_be,
        a_job_that_is_over_at_its_birth_takes_no_room_and_is_not_tried_again,
        the_end_of_a_job_is_recorded_if_anybody_may_want_it,
        what_a_consumers_job_ends_with_is_as_deep_as_the_job,
        consumers_are_kept_as_they_were_set,
        a_paused_consumer_makes_nothing,
        who_goes_back_makes_each_job_once_more,
        a_part_of_the_log_is_gone_through_once_more,
        events_are_kept_for_those_who_have_not_seen_them,
    }
    workflows {
        a_workflow_that_is_put_twice_is_one_version,
        versions_are_kept_for_as_long_as_anybody_needs_them,
        a_run_is_read_back_as_it_was,
    }
    runs {
        the_journal_tells_what_happened_in_its_order,
        every_filter_of_runs_finds_what_it_names_newest_first,
        a_run_that_is_started_again_is_the_same,
        runs_go_with_their_jobs_in_steps,
        a_run_stays_for_as_long_as_its_parent_is_open,
        runs_of_a_consumer_count_among_what_it_made,
        a_run_goes_on_after_a_restart,
        limits_of_runs_go_on_when_the_clock_was_set_back,
    }
    webhooks {
        a_webhook_and_its_consumer_come_change_and_go_together,
        a_secret_is_rotated_and_both_outlive_a_restart,
        a_receiver_that_wants_no_more_pauses_the_webhook_that_it_knew,
    }
    schedules {
        a_schedule_that_is_put_twice_is_one_revision,
        another_schedule_of_the_same_name_is_another,
        what_a_tick_makes_and_the_mark_are_stored_together,
        of_many_that_take_the_same_step_one_counts,
        how_fires_end_is_kept,
        who_fails_too_often_is_paused_with_the_failure,
        a_fire_that_is_tried_again_is_open_again,
        a_job_that_fails_at_its_birth_ends_its_fire,
        a_run_of_a_tick_ends_its_fire,
        an_event_of_a_tick_is_over_at_once,
        missed_and_skipped_ticks_are_in_the_log_if_anybody_wants_them,
    }
    ticks {
        a_tick_that_comes_too_early_is_skipped,
        ticks_wait_for_those_before_them,
        one_tick_waits,
        the_last_tick_waits_instead_of_the_one_before,
        ticks_that_may_overlap_fire_at_once,
        what_cannot_be_done_is_done_again_from_there,
        ticks_in_a_row_that_do_not_fire_are_one_record,
        only_what_did_not_fire_is_made_up_for,
        what_is_made_up_for_at_once_waits_for_nothing,
        a_clock_that_is_set_back_makes_nothing_fire_twice,
        what_waits_when_the_clock_is_set_back_comes_again,
        ticks_are_read_in_pages_newest_first,
        what_is_over_and_old_is_forgotten,
        the_record_that_goes_on_is_kept,
        records_outlive_their_schedule_and_go_in_steps,
    }
    hooks {
        a_hook_is_kept_as_it_was_set,
        a_secret_that_is_rotated_is_accepted_for_a_day,
        there_are_as_many_hooks_as_may_be,
    }
}
