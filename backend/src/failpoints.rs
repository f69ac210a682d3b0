//! Where a test can end the backend. Only builds with the feature `failpoints` do it. The end-to-end tests compile this
//! file as well, for they do not link the backend.

/// A place at which the program ends when a test says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// A submission is committed, and its client has no answer yet.
    JobStored,
    /// An order is about to be published.
    OrderUnsent,
    /// The broker has an order, and the mark does not say so yet.
    OrderConfirmed,
    /// Responses are committed, and not acknowledged yet.
    ResponsesRecorded,
    /// Lost attempts are committed, and nobody has been told.
    LeasesEnded,
    /// Jobs have become due and are committed, and their orders are not sent yet.
    JobsReleased,
    /// One step of a bulk request is committed.
    JobsActedOn,
    /// One step of deleting old jobs is committed.
    JobsDeleted,
    /// Published events are committed, and their publishers have no answer yet.
    EventsRecorded,
    /// What attempts published while they ran is committed, and not acknowledged yet.
    EmissionsRecorded,
    /// A consumer is about to go on in the log.
    ConsumerStepping,
    /// What a consumer made is committed, and its orders are not sent yet.
    JobsMade,
    /// What was made ready for a run is about to be stored.
    RunStepping,
    /// What follows in a run is committed, and its orders are not sent yet.
    RunStepped,
    /// What somebody did to a run, or its time, is committed, and nobody has been told.
    RunTold,
    /// Open jobs of one step of a run that stops are told to stop, and that is committed.
    RunJobsStopped,
    /// What becomes of ticks of a schedule is about to be stored.
    Ticking,
    /// What becomes of ticks is committed, and the orders of it are not sent yet.
    Ticked,
}

impl Failpoint {
    /// Every one of them.
    pub const ALL: [Self; 18] = [
        Self::JobStored,
        Self::OrderUnsent,
        Self::OrderConfirmed,
        Self::ResponsesRecorded,
        Self::LeasesEnded,
        Self::JobsReleased,
        Self::JobsActedOn,
        Self::JobsDeleted,
        Self::EventsRecorded,
        Self::EmissionsRecorded,
        Self::ConsumerStepping,
        Self::JobsMade,
        Self::RunStepping,
        Self::RunStepped,
        Self::RunTold,
        Self::RunJobsStopped,
        Self::Ticking,
        Self::Ticked,
    ];

    /// What the variable `FAILPOINTS` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobStored => "job_stored",
            Self::OrderUnsent => "order_unsent",
            Self::OrderConfirmed => "order_confirmed",
            Self::ResponsesRecorded => "responses_recorded",
            Self::LeasesEnded => "leases_ended",
            Self::JobsReleased => "jobs_released",
            Self::JobsActedOn => "jobs_acted_on",
            Self::JobsDeleted => "jobs_deleted",
            Self::EventsRecorded => "events_recorded",
            Self::EmissionsRecorded => "emissions_recorded",
            Self::ConsumerStepping => "consumer_stepping",
            Self::JobsMade => "jobs_made",
            Self::RunStepping => "run_stepping",
            Self::RunStepped => "run_stepped",
            Self::RunTold => "run_told",
            Self::RunJobsStopped => "run_jobs_stopped",
            Self::Ticking => "ticking",
            Self::Ticked => "ticked",
        }
    }
}
