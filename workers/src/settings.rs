//! What an operator may set beyond what every worker knows, read once from a lookup.

use std::path::PathBuf;

use crate::http_request::{ALLOW_VARIABLE, AllowedNetworks, NotANetwork};

/// The settings of `crewcall-workers` alone; the SDK reads those of every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `CREWCALL_WORKERS_ROOT`: the directory that the files of jobs are confined to. Unset or empty:
    /// jobs may name every file that the worker's user may open.
    pub root: Option<PathBuf>,
    /// `CREWCALL_WORKERS_TYPES`: the job types to serve, separated by commas. Unset or empty: all.
    pub types: Vec<JobType>,
    /// `CREWCALL_HTTP_ALLOW`: what `http.request` may connect to besides the public internet: addresses and networks
    /// separated by commas, or `*`. Unset or empty: nothing.
    pub http_allow: AllowedNetworks,
}

/// A setting that cannot be used. Each says what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// `CREWCALL_WORKERS_TYPES` names a type that is not one of ours.
    #[error(transparent)]
    Types(#[from] UnknownJobType),
    /// `CREWCALL_HTTP_ALLOW` names what is not a network.
    #[error("{ALLOW_VARIABLE}: {0}")]
    HttpAllow(NotANetwork),
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

/// A name that is not one of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownJobType(String);

impl Settings {
    /// Reads the settings; `lookup` returns the value of a variable.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for the first setting that cannot be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let types = match set("CREWCALL_WORKERS_TYPES") {
            Some(names) => JobType::parse_list(&names)?,
            None => JobType::ALL.to_vec(),
        };
        let http_allow = set(ALLOW_VARIABLE).unwrap_or_default().parse().map_err(SettingsError::HttpAllow)?;
        Ok(Self { root: set("CREWCALL_WORKERS_ROOT").map(PathBuf::from), types, http_allow })
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

    /// Reads names separated by commas. A type that is named twice counts once.
    ///
    /// # Errors
    ///
    /// For the first name that is not one of ours.
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

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_serves_everything_everywhere() {
        let settings = read(&[("CREWCALL_WORKERS_ROOT", ""), ("CREWCALL_WORKERS_TYPES", " ")]).unwrap();
        let http_allow = AllowedNetworks::default();
        assert_eq!(settings, Settings { root: None, types: JobType::ALL.to_vec(), http_allow });
    }

    #[test]
    fn types_are_chosen_by_name_and_counted_once() {
        let settings =
            read(&[("CREWCALL_WORKERS_TYPES", "image.thumbnail, file.checksum,,image.thumbnail")]).unwrap();
        assert_eq!(settings.types, [JobType::ImageThumbnail, JobType::FileChecksum]);
    }

    #[test]
    fn networks_are_opened_by_the_operator() {
        let settings = read(&[("CREWCALL_HTTP_ALLOW", "10.0.0.0/8")]).unwrap();
        assert_eq!(settings.http_allow, "10.0.0.0/8".parse().unwrap());
        let error = read(&[("CREWCALL_HTTP_ALLOW", "intranet")]).unwrap_err();
        assert!(error.to_string().starts_with("CREWCALL_HTTP_ALLOW: 'intranet'"), "{error}");
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
