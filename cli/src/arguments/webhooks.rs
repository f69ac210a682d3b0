//! What `crewcall webhooks …` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ActorArguments, ListArguments, OutputArguments, WebhookName};

/// `webhooks …`
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Make webhooks, or change their URLs and which events they want, as files say
    Apply(WebhookFiles),
    /// List webhooks
    #[command(alias = "list")]
    Ls {
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one webhook: how far it is, and which jobs its deliveries are
    #[command(alias = "show")]
    Get {
        /// The webhook
        #[arg(value_name = "NAME")]
        webhook: WebhookName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Give a webhook a new secret; the one before signs as well for 24 hours more
    Rotate {
        /// The webhook
        #[arg(value_name = "NAME")]
        webhook: WebhookName,
        /// Who rotates it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Pause a webhook: events wait for it, for 90 days at most
    Pause {
        /// The webhook
        #[arg(value_name = "NAME")]
        webhook: WebhookName,
        /// Who pauses it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Resume a paused webhook, where it was; also one whose receiver answered 410
    Resume {
        /// The webhook
        #[arg(value_name = "NAME")]
        webhook: WebhookName,
        /// Pass over what was recorded meanwhile: it is not delivered
        #[arg(long)]
        from_now: bool,
        /// Who resumes it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Delete a webhook; deliveries that are not done fail at their next try
    Rm {
        /// The webhook
        #[arg(value_name = "NAME")]
        webhook: WebhookName,
    },
}

/// What `webhooks apply` takes.
#[derive(Debug, Args)]
#[command(after_help = "A file has one webhook or many, in YAML (with --- between them) or JSON:
  name: shop
  url: https://shop.example/hooks/crewcall
  subjects: [order.paid, order.cancelled]
  if: event.data.total > 100
---
  name: alarms
  url: https://alarms.example/crewcall
  subjects: [job.failed.invoice.*]

A new webhook gets a secret, which is printed once: its receiver verifies by it what comes.
What is not in a file stays as it is: nothing is deleted.")]
pub(crate) struct WebhookFiles {
    /// A file, a directory (its *.yaml, *.yml and *.json), or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}
