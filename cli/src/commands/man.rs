//! `crewcall man`: a page for each command, as `man crewcall-submit` shows it.

use std::{fs, path::Path};

use clap::Command;
use clap_mangen::Man;

use crate::{
    arguments,
    exit::{Exit, Failure},
    output::print,
};

/// Writes the pages into a directory, which is made if it is not there.
///
/// # Errors
///
/// When they cannot be written.
pub(crate) fn run(directory: &Path) -> Result<Exit, Failure> {
    let cannot =
        |source| Failure::System { what: format!("write man pages into {}", directory.display()), source };
    fs::create_dir_all(directory).map_err(cannot)?;
    let mut pages = Vec::new();
    collect("", arguments::command().disable_help_subcommand(true), &mut pages);
    for (name, text) in &pages {
        fs::write(directory.join(format!("{name}.1")), text).map_err(cannot)?;
    }
    print(&format!("{} pages are in {}", pages.len(), directory.display()))?;
    Ok(Exit::Done)
}

/// The page of a command, and those of all below it.
fn collect(parent: &str, command: Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = if parent.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{parent}-{}", command.get_name())
    };
    // Examples stand at the end of a page, where man has them.
    let parts = [command.get_before_help(), command.get_after_help()].into_iter().flatten();
    let extra = parts.map(|part| part.to_string().trim_end().to_owned()).collect::<Vec<_>>().join("\n\n");
    let below: Vec<Command> =
        command.get_subcommands().filter(|found| !found.is_hide_set()).cloned().collect();
    let is_root = parent.is_empty();
    let page = command.display_name(name.clone()).before_help(None::<&str>).after_help(extra);
    let mut text = Vec::new();
    // Writing into memory does not fail.
    let _ = Man::new(page.version(env!("CARGO_PKG_VERSION"))).render(&mut text);
    pages.push((name.clone(), text));
    for command in below {
        collect(&name, command, pages);
    }
    debug_assert!(!is_root || pages.len() > 1, "the root has commands");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let directory = tempfile::tempdir().unwrap();
        run(&directory.path().join("man1")).unwrap_or_else(|failure| panic!("{failure}"));
        let page = |name: &str| fs::read_to_string(directory.path().join("man1").join(name)).unwrap();
        let submit = page("crewcall-submit.1");
        for part in [".TH", "crewcall\\-submit", "Examples:", "\\-\\-priority"] {
            assert!(submit.contains(part), "{part} is missing in {submit}");
        }
        assert!(page("crewcall-jobs-cancel.1").contains("crewcall jobs cancel"));
        assert!(page("crewcall.1").contains("crewcall\\-topology"), "{}", page("crewcall.1"));
    }
}
