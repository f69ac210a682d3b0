//! Workflows: jobs that belong together, and what follows from each.
//!
//! # What is here
//!
//! * [`definition::Workflow`]: one version of a workflow. [`Workflow::read`](definition::Workflow::read) makes it of a document, or
//!   tells everything that is wrong with it. Whoever parses the text sees to it that no step stands in it twice: here it would
//!   be too late.
//! * [`run::Run`]: how far a run got. One row of it, and one for each step.
//! * [`machine::advance`]: what happens to a run, and what is to be done then. [`facts`] has the words.
//! * [`machine::outstanding`]: what there is to do for a run, of its state alone.
//! * [`waits_for::WaitsFor`]: why an open step is open.
//! * [`known`]: workflows and runs as they are kept.
//!
//! # The machine
//!
//! `advance(workflow, run, happened, moment)` gives the run as it is from now on and commands, or says that the news is stale.
//! It has no clock and no store, and evaluates nothing: so it can be called inside the transaction that makes something happen.
//! Store what it gives, and what the commands say, in that same transaction.
//!
//! A step begins like this:
//!
//! 1. It is **pending** until all of its needs are over. Then its gate ([`definition::RunIf`]) skips it, or opens: it is *due*.
//! 2. If there is something to evaluate (`when`, `each`, `until`), [`Evaluate`](facts::Command::Evaluate) comes out, and
//!    [`Evaluated`](facts::Happened::Evaluated) goes in when that is done: in the same transaction if it is cheap, or in a later
//!    one. Only the data of [`Step::reads`](definition::Step::reads) is wanted for it.
//! 3. A wait or an approval is **waiting** from then on, by [`OpenWait`](facts::Command::OpenWait), until somebody says
//!    [`WaitAnswered`](facts::Happened::WaitAnswered), [`Decided`](facts::Happened::Decided) or, at its deadline,
//!    [`WaitTimedOut`](facts::Happened::WaitTimedOut). The look back into the log is what opening a wait means to whoever does it.
//! 4. Everything else is **running** and consists of items: a job without `each`, and the run of another workflow, are one.
//!    [`MakeItems`](facts::Command::MakeItems) asks for the next ones, at most [`limits::ITEMS_CHUNK`] and as many as `parallel`
//!    has room for. Their parameters are filled in then; what cannot be filled in is born failed.
//!    [`ItemsMade`](facts::Happened::ItemsMade) is said by the transaction that stores them, and if it is stale, nothing is
//!    stored: this is what keeps a stopped, paused or repeated step from having items that nobody counts.
//! 5. Each end of a job is a [`JobEnded`](facts::Happened::JobEnded) with the row of its item as the transaction reads it. The
//!    machine counts ([`run::ItemCounts`]); it never looks at items, so one costs the same among ten and ten thousand. Whether
//!    news of an item came before, only its row can tell.
//!
//! What ends a step is followed through its dependents at once, however far that goes without work.
//!
//! # Fences
//!
//! * **Generation.** A retry sets the steps that begin again to the next one; news of an earlier one is stale. Rows of items have
//!   it in their key: (run, step, index, generation), and once more so for compensations.
//! * **State.** What was said before finds a step that has moved on, or an item that is closed.
//! * **Commands are hints, the state is the truth.** The second group of [`facts::Command`] may be done late, twice or after a
//!   crash: it is what `outstanding` says until it is answered. No command has to be stored.
//!
//! # How a run ends
//!
//! A step that fails makes the run stop ([`definition::OnFailure`]), but with `drain`, where everything goes on that does not need
//! the step, so that the end does not depend on who was first. A run that stops tells what runs to do so, and leaves what is
//! pending to its gates: what would begin is cancelled, unless it cleans up ([`run::Cleanup`]). When all steps are over, what
//! completed is compensated for if the workflow says so: step by step, the last that ended first, every item that completed, those
//! of failed steps too. A run that somebody cancelled is not compensated for. Then [`Ended`](facts::Command::Ended) comes out.
//!
//! A retry puts the run back to **queued**: it waits for a place as a new one, with the steps that begin again as new.
//!
//! A pause holds back what begins, takes back what was asked for and not done, and asks again at its end.
//!
//! # What has to be stored
//!
//! The run and its steps, in each change those of [`facts::Advance::changed`]; the rows of items and of compensations; open waits;
//! and the journal: the lines of [`Journal`](facts::Command::Journal), and what happened itself where
//! [`is_journaled`](facts::Happened::is_journaled) says so, each with [`run::Run::version`] and the moment. With the versions in
//! the rows of items as well, all of it can be replayed: from [`run::Run::new`] to what is stored.
//!
//! Deadlines come from `timeout_seconds`, but for those of `until`: the former move with a clock that is set back.
//!
//! # What expressions know
//!
//! `trigger` always has the data that the run was started with. `event` and `schedule` are known where the workflow has such a
//! trigger; in a run that was started otherwise they are null. `run`, `steps.<one that is certainly over>`; for the parameters and
//! labels of items `item` and `index`; in `compensate` also `step`, with the result of the item; in the condition of a wait,
//! `event` is the one that is waited for.

pub mod limits;

mod graph;

pub mod definition;

mod references;

mod check;

mod document;

pub mod run;

pub mod fit;

pub mod facts;

pub mod machine;

pub mod concurrency;

pub mod waits_for;

pub mod known;
