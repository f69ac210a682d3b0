//! Hooks: they come, change and go, with the secrets by which their senders are known.

use std::sync::Arc;

use crewcall_backend::{
    domain::{
        Hook, HookName,
        hook::{BodySignature, HookCheck, HookSecret, SECRET_RETIRES_AFTER, SignatureForm},
    },
    engine::ports::{HOOKS_MAX, HookChange, HookChanged, PutSecret},
};

use super::under_test::{START, StoreUnderTest};

fn named(name: &str) -> HookName {
    name.parse().unwrap()
}

fn shared(prefix: &str, delivery_id_header: Option<&str>) -> HookCheck {
    HookCheck::HmacSha256(BodySignature {
        header: "x-hub-signature-256".to_owned(),
        prefix: prefix.to_owned(),
        encoding: SignatureForm::Hex,
        delivery_id_header: delivery_id_header.map(str::to_owned),
    })
}

fn given(secret: &str) -> PutSecret {
    PutSecret::Given(HookSecret::new(secret))
}

fn made(secret: &str) -> PutSecret {
    PutSecret::Kept { or_else: Some(HookSecret::new(secret)) }
}

fn kept() -> PutSecret {
    PutSecret::Kept { or_else: None }
}

async fn change(tested: &StoreUnderTest, change: HookChange) -> HookChanged {
    tested.store.change_hook(&named("h"), change).await.unwrap()
}

async fn put(tested: &StoreUnderTest, check: HookCheck, secret: PutSecret) -> HookChanged {
    change(tested, HookChange::Put { check, secret, by: "ada".to_owned() }).await
}

async fn rotate(tested: &StoreUnderTest, secret: &str) -> HookChanged {
    change(tested, HookChange::Rotate { secret: HookSecret::new(secret), by: "eve".to_owned() }).await
}

/// The hook as readers see it.
fn now(tested: &StoreUnderTest) -> Arc<Hook> {
    tested.store.hook(&named("h")).expect("the hook is there")
}

/// The secrets that are accepted now.
fn accepted(tested: &StoreUnderTest) -> Vec<String> {
    use crewcall_backend::clock::Clock as _;
    now(tested).secrets_at(tested.clock.now()).map(|secret| secret.reveal().to_owned()).collect()
}

pub(crate) async fn a_hook_is_kept_as_it_was_set(mut tested: StoreUnderTest) {
    assert!(tested.store.hooks().is_empty() && tested.store.hook(&named("h")).is_none());
    assert_eq!(put(&tested, shared("", None), kept()).await, HookChanged::NoSecret);
    let HookChanged::Created(hook) = put(&tested, HookCheck::Standard, made("one")).await else { panic!() };
    assert_eq!((hook.revision, hook.created_at, &*hook.created_by), (1, START, "ada"));
    assert_eq!(hook, now(&tested));
    let unchanged = HookChanged::Unchanged(Arc::clone(&hook));
    assert_eq!(put(&tested, HookCheck::Standard, made("other")).await, unchanged, "it has one");
    assert_eq!(put(&tested, HookCheck::Standard, given("one")).await, unchanged);
    let later = tested.clock.advance(5);
    let HookChanged::Changed(hook) = put(&tested, HookCheck::Standard, given("two")).await else { panic!() };
    assert_eq!((hook.revision, hook.created_at, hook.changed_at), (2, START, later));
    assert_eq!(accepted(&tested), ["two"], "who sets a secret means this one");
    for check in [shared("sha256=", Some("x-github-delivery")), shared("", None)] {
        let HookChanged::Changed(_) = put(&tested, check.clone(), given("three")).await else { panic!() };
        let before = now(&tested);
        tested.reopen().await;
        assert_eq!((now(&tested), &now(&tested).check), (before, &check));
    }
    let HookChanged::Changed(hook) = put(&tested, shared("v1=", None), kept()).await else { panic!() };
    assert_eq!(hook.secret.reveal(), "three", "another form of signature, with the same secret");
    let HookChanged::Changed(hook) = put(&tested, HookCheck::Standard, made("four")).await else { panic!() };
    assert_eq!(hook.secret.reveal(), "four", "that of another kind cannot be kept");
    assert_eq!(change(&tested, HookChange::Delete).await, HookChanged::Deleted);
    assert_eq!(change(&tested, HookChange::Delete).await, HookChanged::Unknown);
    assert_eq!(rotate(&tested, "five").await, HookChanged::Unknown);
    tested.reopen().await;
    assert!(tested.store.hooks().is_empty());
    tested.finish().await;
}

pub(crate) async fn a_secret_that_is_rotated_is_accepted_for_a_day(mut tested: StoreUnderTest) {
    put(&tested, HookCheck::Standard, given("one")).await;
    let HookChanged::Changed(hook) = rotate(&tested, "two").await else { panic!() };
    assert_eq!((hook.revision, &*hook.changed_by), (2, "eve"));
    let day_ms = i64::try_from(SECRET_RETIRES_AFTER.as_millis()).unwrap();
    let until = START.plus_millis(day_ms);
    assert_eq!(rotate(&tested, "three").await, HookChanged::Rotating { until });
    tested.clock.advance(day_ms - 1);
    tested.reopen().await;
    assert_eq!(accepted(&tested), ["two", "one"]);
    tested.clock.advance(1);
    assert_eq!(accepted(&tested), ["two"]);
    assert!(matches!(rotate(&tested, "three").await, HookChanged::Changed(_)));
    assert_eq!(accepted(&tested), ["three", "two"]);
    put(&tested, HookCheck::Standard, given("four")).await;
    assert_eq!(accepted(&tested), ["four"], "a secret that leaked goes at once");
    put(&tested, shared("", None), given("five")).await;
    assert_eq!(rotate(&tested, "six").await, HookChanged::NotStandard);
    tested.finish().await;
}

pub(crate) async fn there_are_as_many_hooks_as_may_be(tested: StoreUnderTest) {
    let make = async |name: String| {
        let change =
            HookChange::Put { check: HookCheck::Standard, secret: given("one"), by: "ada".to_owned() };
        tested.store.change_hook(&named(&name), change).await.unwrap()
    };
    for number in 0..HOOKS_MAX {
        assert!(matches!(make(format!("h{number:03}")).await, HookChanged::Created(_)));
    }
    assert_eq!(make("one-more".to_owned()).await, HookChanged::TooMany);
    assert!(matches!(make("h007".to_owned()).await, HookChanged::Unchanged(_)));
    let names: Vec<String> = tested.store.hooks().iter().map(|hook| hook.name.to_string()).collect();
    assert!(names.len() == HOOKS_MAX && names.is_sorted());
    tested.store.change_hook(&named("h000"), HookChange::Delete).await.unwrap();
    assert!(matches!(make("one-more".to_owned()).await, HookChanged::Created(_)));
    tested.finish().await;
}
