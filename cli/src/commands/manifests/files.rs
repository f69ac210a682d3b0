//! Files, directories and standard input with documents, and what is said of their mistakes.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::yaml::{Mistake, Places};
use crate::{api::Problem, exit::Failure};

/// How long a file may be: as long as a hundred thousand lines. It is read as a whole.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How the names of files end that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// What stands for standard input.
const STDIN: &str = "-";

/// The files that are meant, in their order: those of a directory by their names.
pub(crate) fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(files_in(path).map_err(|error| unreadable(path, &error))?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<PathBuf>> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect();
    let mut files = paths?;
    files.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file()
    });
    files.sort();
    Ok(files)
}

pub(crate) fn text_of(file: &Path, stdin: &mut impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new(STDIN) {
        stdin.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => {
            Err(Failure::Usage(format!("{} is longer than {FILE_BYTES_MAX} bytes", file.display())))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", path.display()))
}

/// What the backend refuses of the document of this name, with the places that it names by JSON pointers.
pub(crate) fn mistakes(name: &str, places: &Places, problem: &Problem) -> Vec<Mistake> {
    let code = &problem.code;
    if problem.errors.is_empty() {
        let message = format!("{name}: {} [{code}]", problem.sentence());
        return vec![Mistake { place: places.of(""), message }];
    }
    let mistakes = problem.errors.iter().map(|mistake| {
        let field = mistake.pointer.trim_start_matches('/');
        let colon = if field.is_empty() { "" } else { ": " };
        let message = format!("{name}: {field}{colon}{} [{code}]", mistake.message);
        Mistake { place: places.of(&mistake.pointer), message }
    });
    mistakes.collect()
}

/// `error: consumers.yaml:9:11: invoices: then/job/type: it has a character other than a-z 0-9 . _ - [invalid-consumer]`
pub(crate) fn told(file: &Path, mistake: &Mistake) -> String {
    let file = if file == Path::new(STDIN) { "standard input".into() } else { file.display().to_string() };
    let place = mistake.place.map(|place| format!(":{place}")).unwrap_or_default();
    format!("error: {file}{place}: {}", mistake.message)
}
