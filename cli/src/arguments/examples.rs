//! What `--help` begins with: lines to copy, for every command.

use clap::{Command, CommandFactory};

use super::Arguments;

/// What a command is for, examples, then the rest.
const TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The examples of each command, by the words that name it.
const EXAMPLES: [(&str, &[&str]); 95] = [
    (
        "",
        &[
            "crewcall dev",
            "crewcall submit image.thumbnail source=a.jpg width:=640 --wait",
            "crewcall jobs ls --state failed --since 1h",
            "crewcall status",
        ],
    ),
    (
        "dev",
        &[
            "crewcall dev",
            "crewcall dev --once",
            "crewcall dev --amqp-url amqp://guest:guest@127.0.0.1:5672/%2f --no-workers",
        ],
    ),
    ("dev env", &["eval \"$(crewcall dev env)\""]),
    (
        "serve",
        &[
            "crewcall serve --amqp-url amqp://user:password@rabbit:5672/%2f --database-url sqlite:///var/lib/crewcall/crewcall.db",
            "CREWCALL_HTTP_LISTEN=127.0.0.1:8081 crewcall serve --log-format json",
        ],
    ),
    (
        "submit",
        &[
            "crewcall submit image.thumbnail source=a.jpg width:=640 --wait",
            "crewcall submit file.checksum --parameters @job.json --label project=x --delay 5m",
            "crewcall submit --like @last width:=320",
            "crewcall submit --batch jobs.jsonl --wait",
        ],
    ),
    (
        "backup",
        &[
            "crewcall backup before-upgrade.db",
            "crewcall backup /var/backups/crewcall-2026-11-22.db --database-url sqlite:///var/lib/crewcall/crewcall.db",
        ],
    ),
    (
        "bench",
        &[
            "crewcall bench --quick",
            "crewcall bench --picture performance.svg",
            "crewcall bench --jobs 100000 --rounds 7 -o json > after.json",
        ],
    ),
    ("restore", &["crewcall restore before-upgrade.db --replace"]),
    ("watch", &["crewcall watch @last", "crewcall watch --type 'image.*' --state failed"]),
    (
        "jobs",
        &[
            "crewcall jobs ls",
            "crewcall jobs get @last",
            "crewcall jobs retry --state failed --since 1h --dry-run",
        ],
    ),
    (
        "jobs ls",
        &[
            "crewcall jobs ls --state ready,running --sort-by took",
            "crewcall jobs ls --type 'image.*' --since 1h --watch",
        ],
    ),
    ("jobs get", &["crewcall jobs get 0192e4a0-7c41", "crewcall jobs get @last -o json"]),
    (
        "jobs cancel",
        &[
            "crewcall jobs cancel 0192e4a0-7c41",
            "crewcall jobs cancel --type image.thumbnail --reason 'wrong pictures' --dry-run",
        ],
    ),
    ("jobs retry", &["crewcall jobs retry @last", "crewcall jobs retry --state failed --since yesterday"]),
    ("workers", &["crewcall workers ls", "crewcall workers drain crewcall-workers"]),
    (
        "workers ls",
        &["crewcall workers ls --status lost", "crewcall workers ls --type image.thumbnail -o wide"],
    ),
    ("workers get", &["crewcall workers get crewcall-workers"]),
    ("workers drain", &["crewcall workers drain crewcall-workers"]),
    ("workers resume", &["crewcall workers resume crewcall-workers"]),
    ("types", &["crewcall types ls", "crewcall types get image.thumbnail"]),
    ("types ls", &["crewcall types ls --sort-by waiting", "crewcall types ls --type 'image.*' --watch=5s"]),
    ("types get", &["crewcall types get image.thumbnail"]),
    ("types pause", &["crewcall types pause image.thumbnail --reason 'the disk is full'"]),
    ("types resume", &["crewcall types resume image.thumbnail"]),
    (
        "types limit",
        &[
            "crewcall types limit image.thumbnail --running-max 4",
            "crewcall types limit http.request --rate 0.1",
        ],
    ),
    ("types rm", &["crewcall types rm image.thumbnial"]),
    (
        "events",
        &[
            "crewcall events publish order.paid order=4711 amount:=12.5",
            "crewcall events ls --subject 'order.*'",
            "crewcall events tail",
        ],
    ),
    (
        "events publish",
        &[
            "crewcall events publish order.paid order=4711 amount:=12.5",
            "crewcall events publish git.push --data @push.json --id github:a1b2",
            "crewcall events publish sensor.read celsius:=21.5 --occurred-at 5m",
        ],
    ),
    (
        "events ls",
        &[
            "crewcall events ls --subject 'order.*' -o wide",
            "crewcall events ls --after 17 --limit 500 -o jsonl",
        ],
    ),
    ("events get", &["crewcall events get 17", "crewcall events get 17 -o json"]),
    (
        "events tail",
        &["crewcall events tail --subject 'order.#'", "crewcall events tail --after 17 -o jsonl"],
    ),
    (
        "consumers",
        &[
            "crewcall consumers apply -f consumers.yaml",
            "crewcall consumers ls",
            "crewcall consumers pause invoices --reason 'wrong prices'",
        ],
    ),
    (
        "consumers apply",
        &[
            "crewcall consumers apply -f consumers.yaml",
            "crewcall consumers apply -f consumers/ -f more.json",
            "crewcall consumers apply -f - < consumers.yaml",
        ],
    ),
    ("consumers ls", &["crewcall consumers ls", "crewcall consumers ls -o wide --watch=5s"]),
    ("consumers get", &["crewcall consumers get invoices", "crewcall consumers get invoices -o json"]),
    ("consumers pause", &["crewcall consumers pause invoices --reason 'wrong prices'"]),
    (
        "consumers resume",
        &["crewcall consumers resume invoices", "crewcall consumers resume invoices --from-now"],
    ),
    (
        "consumers seek",
        &["crewcall consumers seek invoices --after 17", "crewcall consumers seek invoices --since 1h --yes"],
    ),
    (
        "consumers replay",
        &["crewcall consumers replay invoices --after 10 --to 50 --reason 'the tax was wrong'"],
    ),
    ("consumers rm", &["crewcall consumers rm invoices"]),
    ("hooks", &["crewcall hooks apply -f hooks.yaml", "crewcall hooks ls", "crewcall hooks rotate payments"]),
    ("hooks apply", &["crewcall hooks apply -f hooks.yaml", "crewcall hooks apply -f - < hooks.yaml"]),
    ("hooks ls", &["crewcall hooks ls", "crewcall hooks ls -o wide"]),
    ("hooks get", &["crewcall hooks get github", "crewcall hooks get github -o json"]),
    ("hooks rotate", &["crewcall hooks rotate payments --reason 'it was in a ticket'"]),
    ("hooks rm", &["crewcall hooks rm github"]),
    (
        "webhooks",
        &[
            "crewcall webhooks apply -f webhooks.yaml",
            "crewcall webhooks ls",
            "crewcall webhooks pause shop --reason 'it is moved'",
        ],
    ),
    (
        "webhooks apply",
        &["crewcall webhooks apply -f webhooks.yaml", "crewcall webhooks apply -f - < webhooks.yaml"],
    ),
    ("webhooks ls", &["crewcall webhooks ls", "crewcall webhooks ls -o wide --watch=5s"]),
    ("webhooks get", &["crewcall webhooks get shop", "crewcall webhooks get shop -o json"]),
    ("webhooks rotate", &["crewcall webhooks rotate shop --reason 'it was in a ticket'"]),
    ("webhooks pause", &["crewcall webhooks pause shop --reason 'it is moved'"]),
    ("webhooks resume", &["crewcall webhooks resume shop", "crewcall webhooks resume shop --from-now"]),
    ("webhooks rm", &["crewcall webhooks rm shop"]),
    (
        "workflows",
        &[
            "crewcall workflows apply -f workflows.yaml",
            "crewcall workflows trigger asset.publish source=a.mov --wait",
            "crewcall workflows pause asset.publish --reason 'wrong pictures'",
        ],
    ),
    (
        "workflows apply",
        &[
            "crewcall workflows apply -f workflows.yaml",
            "crewcall workflows apply -f workflows/ -f more.json",
            "crewcall workflows apply -f - < workflows.yaml",
        ],
    ),
    ("workflows check", &["crewcall workflows check -f workflows/"]),
    ("workflows ls", &["crewcall workflows ls", "crewcall workflows ls -o wide --watch=5s"]),
    (
        "workflows get",
        &["crewcall workflows get asset.publish", "crewcall workflows get asset.publish -o json"],
    ),
    (
        "workflows versions",
        &["crewcall workflows versions asset.publish", "crewcall workflows versions asset.publish 3"],
    ),
    ("workflows graph", &["crewcall workflows graph asset.publish > asset.publish.mmd"]),
    (
        "workflows trigger",
        &[
            "crewcall workflows trigger asset.publish source=a.mov widths:='[320,640]' --wait",
            "crewcall workflows trigger asset.publish --data @data.json --label shop=x",
        ],
    ),
    (
        "workflows pause",
        &[
            "crewcall workflows pause asset.publish --reason 'wrong pictures'",
            "crewcall workflows pause asset.publish --runs",
        ],
    ),
    (
        "workflows resume",
        &["crewcall workflows resume asset.publish", "crewcall workflows resume asset.publish --from-now"],
    ),
    ("workflows rm", &["crewcall workflows rm asset.publish"]),
    ("runs", &["crewcall runs ls", "crewcall runs get @last", "crewcall runs retry @last"]),
    (
        "runs ls",
        &[
            "crewcall runs ls --workflow asset.publish --state running,failed",
            "crewcall runs ls --label shop=x --watch",
        ],
    ),
    (
        "runs get",
        &["crewcall runs get @last", "crewcall runs get 0192e4a0-7c41-7000-8000-000000000001 -o json"],
    ),
    ("runs watch", &["crewcall runs watch @last"]),
    (
        "runs cancel",
        &[
            "crewcall runs cancel @last --reason 'wrong pictures'",
            "crewcall runs cancel --workflow asset.publish --state queued --dry-run",
        ],
    ),
    ("runs retry", &["crewcall runs retry @last", "crewcall runs retry @last --from encode"]),
    ("runs approve", &["crewcall runs approve @last check --comment 'looks good'"]),
    ("runs reject", &["crewcall runs reject @last check --comment 'too dark'"]),
    ("runs items", &["crewcall runs items @last encode", "crewcall runs items @last encode --undo -o jsonl"]),
    ("runs journal", &["crewcall runs journal @last"]),
    (
        "schedules",
        &[
            "crewcall schedules apply -f schedules.yaml",
            "crewcall schedules ls",
            "crewcall schedules ticks report.nightly --state skipped,missed",
        ],
    ),
    (
        "schedules apply",
        &[
            "crewcall schedules apply -f schedules.yaml",
            "crewcall schedules apply -f schedules/ -f more.json",
            "crewcall schedules apply -f - < schedules.yaml",
        ],
    ),
    ("schedules ls", &["crewcall schedules ls", "crewcall schedules ls -o wide --watch=5s"]),
    (
        "schedules get",
        &["crewcall schedules get report.nightly", "crewcall schedules get report.nightly -o json"],
    ),
    (
        "schedules next",
        &["crewcall schedules next report.nightly -n 3", "crewcall schedules next -f schedules.yaml"],
    ),
    (
        "schedules ticks",
        &[
            "crewcall schedules ticks report.nightly -n 20",
            "crewcall schedules ticks report.nightly --state skipped,missed -o wide",
        ],
    ),
    ("schedules trigger", &["crewcall schedules trigger report.nightly --reason 'the first was wrong'"]),
    ("schedules pause", &["crewcall schedules pause report.nightly --reason 'the printer burns'"]),
    ("schedules resume", &["crewcall schedules resume report.nightly"]),
    (
        "schedules backfill",
        &[
            "crewcall schedules backfill report.nightly --from 2026-11-01 --to 2026-11-08 --dry-run",
            "crewcall schedules backfill report.nightly --from yesterday --to now --allow",
        ],
    ),
    ("schedules rm", &["crewcall schedules rm report.nightly"]),
    ("quarantine", &["crewcall quarantine ls", "crewcall quarantine rm 7"]),
    ("quarantine ls", &["crewcall quarantine ls -o json"]),
    ("quarantine rm", &["crewcall quarantine rm 7", "crewcall quarantine rm --all"]),
    ("top", &["crewcall top"]),
    ("status", &["crewcall status", "crewcall status -o name"]),
    ("doctor", &["crewcall doctor", "crewcall doctor --amqp-url amqp://user:password@rabbit:5672/%2f"]),
    ("topology", &["crewcall topology", "crewcall topology --amqp-prefix staging -o json"]),
    (
        "completion",
        &[
            "crewcall completion bash > ~/.local/share/bash-completion/completions/crewcall",
            "crewcall completion zsh > ~/.zfunc/_crewcall",
            "crewcall completion fish > ~/.config/fish/completions/crewcall.fish",
        ],
    ),
    ("man", &["crewcall man ~/.local/share/man/man1"]),
];

/// The command line with its examples.
pub(crate) fn command() -> Command {
    with_examples(Arguments::command(), "")
}

fn with_examples(command: Command, path: &str) -> Command {
    let found = EXAMPLES.iter().find(|(name, _)| *name == path);
    let examples = found.map(|(_, lines)| format!("Examples:\n  {}", lines.join("\n  ")));
    let names: Vec<String> = command.get_subcommands().map(|found| found.get_name().to_owned()).collect();
    let command = command.help_template(TEMPLATE).before_help(examples.unwrap_or_default());
    names.iter().fold(command, |command, name| {
        let below = format!("{path} {name}");
        command.mut_subcommand(name, |found| with_examples(found, below.trim_start()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminals::on_widths;

    /// The words of a line as a shell reads them, from `crewcall` on.
    fn words(line: &str) -> Vec<String> {
        let line = line.replace("eval \"$(", "").replace(")\"", "");
        let command = line.split(['>', '<']).next().unwrap();
        let mut words = Vec::new();
        for (index, part) in command.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words.into_iter().skip_while(|word| word != "crewcall").collect()
    }

    fn paths(command: &Command, path: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|found| !found.is_hide_set());
        let below = below.flat_map(|found| paths(found, format!("{path} {}", found.get_name()).trim_start()));
        std::iter::once(path.to_owned()).chain(below).collect()
    }

    #[test]
    fn every_command_has_examples_that_are_right() {
        let mut documented: Vec<String> = EXAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut expected = paths(&Arguments::command(), "");
        documented.sort();
        expected.sort();
        assert_eq!(documented, expected);
        for (path, lines) in EXAMPLES {
            for line in lines {
                let parsed = command().try_get_matches_from(words(line));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(
                    line.contains(&format!("crewcall {path}").trim_end().to_owned()),
                    "{line} is not of {path}"
                );
            }
        }
    }

    /// What is said in place of doing what a line says: help, or what is wrong with it.
    fn said(line: &str, width: usize, colours: bool) -> String {
        let refused = command().term_width(width).try_get_matches_from(words(line)).unwrap_err();
        if colours { refused.render().ansi().to_string() } else { refused.to_string() }
    }

    #[test]
    fn help_begins_with_examples() {
        for path in paths(&Arguments::command(), "") {
            let text = said(&format!("crewcall {path} --help"), 80, false);
            let (examples, usage) = (text.find("Examples:"), text.find("Usage:"));
            assert!(examples.is_some() && examples < usage, "{path}: {text}");
        }
        for (name, line) in [
            ("help", "crewcall --help"),
            ("help_submit", "crewcall submit --help"),
            ("help_doctor", "crewcall doctor --help"),
            ("refused", "crewcall jobs ls --statt failed"),
        ] {
            insta::assert_snapshot!(name, on_widths(|width, colours| said(line, width, colours)));
        }
    }
}
