//! What an operator may set beyond what every worker knows, read once from a lookup.

use std::path::PathBuf;

/// The settings of `crewcall-workers` alone; the SDK reads those of every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `CREWCALL_WORKERS_ROOT`: the directory that the files of jobs are confined to. Unset or empty:
    /// jobs may name every file that the worker's user may open.
    pub root: Option<PathBuf>,
    /// `CREWCALL_WORKERS_TYPES`: the job types to serve, with commas between them. Unset or empty: all.
    pub types: Vec<JobType>,
}

/// The job types that this program can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobType {
    /// [`crate::file_checksum`]
    FileChecksum,
    /// [`crate::image_thumbnail`]
    ImageThumbnail,
    /// [`crate::http_request`]
    HttpRequest,
}

/// A name that is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownJobType(String);

impl Settings {
    /// Reads the settings; `lookup` answers the value of a variable.
    ///
    /// # Errors
    ///
    /// When `CREWCALL_WORKERS_TYPES` names a type that is none of ours.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, UnknownJobType> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let types = match set("CREWCALL_WORKERS_TYPES") {
            Some(names) => JobType::parse_list(&names)?,
            None => JobType::ALL.to_vec(),
        };
        Ok(Self { root: set("CREWCALL_WORKERS_ROOT").map(PathBuf::from), types })
    }
}

impl JobType {
    /// Every type, in the order in which they are announced.
    pub const ALL: [Self; 3] = [Self::FileChecksum, Self::ImageThumbnail, Self::HttpRequest];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileChecksum => crate::file_checksum::JOB_TYPE,
            Self::ImageThumbnail => crate::image_thumbnail::JOB_TYPE,
            Self::HttpRequest => crate::http_request::JOB_TYPE,
        }
    }

    /// Reads names with commas between them. A type that is named twice counts once.
    ///
    /// # Errors
    ///
    /// For the first name that is none of ours.
    pub fn parse_list(names: &str) -> Result<Vec<Self>, UnknownJobType> {
        let mut types = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let found = Self::ALL.into_iter().find(|job_type| job_type.name() == name);
            let job_type = found.ok_or_else(|| UnknownJobType(name.to_owned()))?;
            if !types.contains(&job_type) {
                types.push(job_type);
            }
        }
        Ok(types)
    }
}

impl std::fmt::Display for UnknownJobType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = JobType::ALL.map(JobType::name).join(", ");
        write!(
            f,
            "CREWCALL_WORKERS_TYPES: '{}' is not a job type of this worker; choose from {known}",
            self.0
        )
    }
}

impl std::error::Error for UnknownJobType {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, UnknownJobType> {
        Settings::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_serves_everything_everywhere() {
        let settings = read(&[("CREWCALL_WORKERS_ROOT", ""), ("CREWCALL_WORKERS_TYPES", " ")]).unwrap();
        assert_eq!(settings, Settings { root: None, types: JobType::ALL.to_vec() });
    }

    #[test]
    fn types_are_chosen_by_name_and_counted_once() {
        let settings =
            read(&[("CREWCALL_WORKERS_TYPES", "image.thumbnail, file.checksum,,image.thumbnail")]).unwrap();
        assert_eq!(settings.types, [JobType::ImageThumbnail, JobType::FileChecksum]);
    }

    #[test]
    fn an_unknown_type_is_refused_with_those_that_are_known() {
        let error = read(&[("CREWCALL_WORKERS_TYPES", "image.thumbnial")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CREWCALL_WORKERS_TYPES: 'image.thumbnial' is not a job type of this worker; choose from file.checksum, image.thumbnail, \
             http.request"
        );
    }
}
