//! Where RabbitMQ's own scripts are.

use std::path::{Path, PathBuf};

use crate::DevBrokerError;

/// The variable that names the folder of another RabbitMQ than the package's, such as an unpacked archive of a release.
pub const HOME_VARIABLE: &str = "CREWCALL_RABBITMQ_HOME";

/// Where the distribution's package puts it.
const PACKAGED: &str = "/usr/lib/rabbitmq";

/// Where in a home the scripts are: in an archive of a release, and in the package.
const FOLDERS: [&str; 2] = ["sbin", "bin"];

/// The scripts that are needed.
pub(crate) const SERVER: &str = "rabbitmq-server";
pub(crate) const CONTROL: &str = "rabbitmqctl";

/// The home that the environment names.
pub(crate) fn named() -> Option<PathBuf> {
    std::env::var_os(HOME_VARIABLE).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The folder with the scripts, of the named home or of the package.
pub(crate) fn scripts(named: Option<&Path>) -> Result<PathBuf, DevBrokerError> {
    let home = named.unwrap_or(Path::new(PACKAGED));
    // The node runs in a folder of its own.
    let home = std::path::absolute(home).map_err(DevBrokerError::io("find RabbitMQ's folder"))?;
    let has_all = |folder: &PathBuf| [SERVER, CONTROL].iter().all(|script| folder.join(script).exists());
    let found = FOLDERS.iter().map(|folder| home.join(folder)).find(has_all);
    found.ok_or_else(|| match named {
        Some(_) => DevBrokerError::NoHome { home },
        None => DevBrokerError::NotInstalled { missing: home.join("bin").join(SERVER) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_in_an_archive_and_in_a_package() {
        for folder in FOLDERS {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir(home.path().join(folder)).unwrap();
            for script in [SERVER, CONTROL] {
                let refused = scripts(Some(home.path())).unwrap_err().to_string();
                assert!(refused.contains(HOME_VARIABLE) && !refused.contains('\n'), "{refused}");
                std::fs::write(home.path().join(folder).join(script), "").unwrap();
            }
            assert_eq!(scripts(Some(home.path())).unwrap(), home.path().join(folder));
        }
    }
}
