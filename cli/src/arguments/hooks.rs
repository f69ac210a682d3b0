//! What `crewcall hooks …` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ActorArguments, HookName, ListArguments, OutputArguments};

/// `hooks …`
#[derive(Debug, Subcommand)]
pub(crate) enum HooksCommand {
    /// Make hooks, or change how they verify, as files say
    Apply(HookFiles),
    /// List hooks
    #[command(alias = "list")]
    Ls {
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one hook: how it verifies, and the fingerprint of its secret
    #[command(alias = "show")]
    Get {
        /// The hook
        #[arg(value_name = "NAME")]
        hook: HookName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Give a hook of Standard Webhooks a new secret; the one before is accepted for 24 hours more
    Rotate {
        /// The hook
        #[arg(value_name = "NAME")]
        hook: HookName,
        /// Who rotates it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Delete a hook; what comes for it is refused from then on
    Rm {
        /// The hook
        #[arg(value_name = "NAME")]
        hook: HookName,
    },
}

/// What `hooks apply` takes.
#[derive(Debug, Args)]
#[command(after_help = "A file has one hook or many, in YAML (with --- between them) or JSON:
  name: github
  verify:
    hmac_sha256:
      header: X-Hub-Signature-256
      prefix: sha256=
      delivery_id_header: X-GitHub-Delivery
      secret: what GitHub was given
---
  name: payments
  verify: {standard: {}}

Without a secret, a hook keeps the one that it has; a new one of Standard Webhooks gets one, which is printed once.
What is not in a file stays as it is: nothing is deleted.")]
pub(crate) struct HookFiles {
    /// A file, a directory (its *.yaml, *.yml and *.json), or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}
