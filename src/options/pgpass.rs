//! PostgreSQL's own file of passwords: the one that PGPASSFILE names, else `.pgpass` in the home directory. A line is
//! `host:port:database:user:password`; `*` fits everything, `\` quotes `:` and itself (PostgreSQL's manual, "The
//! Password File").

#![forbid(unsafe_code)]

use crate::config::check_private;
use crate::error::Error;
use crate::store::Login;
use nix::fcntl::OFlag;
use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A longer file is read up to here.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The password for this login, if a file has one.
///
/// # Errors
///
/// The file that PGPASSFILE names cannot be read, or others can read it. One in the home directory is warned of then,
/// and left out, as PostgreSQL's own programs do: it may not be meant for us.
pub(super) fn find(login: &Login<'_>) -> Result<Option<String>, Error> {
    if let Some(named) = env::var_os("PGPASSFILE").filter(|name| !name.is_empty()) {
        let file = PathBuf::from(named);
        return read(&file).map(|text| password(&text, login));
    }
    let Some(home) = env::home_dir() else {
        return Ok(None);
    };
    let file = home.join(".pgpass");
    match file.try_exists() {
        Ok(true) => {}
        _ => return Ok(None),
    }
    match read(&file) {
        Ok(text) => Ok(password(&text, login)),
        Err(error) => {
            crate::warning!("{error}; it is left out");
            Ok(None)
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let io = |error: std::io::Error| {
        let tried = format!("cannot read the passwords in {}", path.display());
        let advice = match error.kind() {
            ErrorKind::NotFound => "PGPASSFILE names it",
            _ => "",
        };
        Error::start(tried, error, advice)
    };
    // A FIFO without writer would hold the start up.
    let file = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Ok(String::new()); // /dev/null: there is no password.
    }
    check_private("database's password", path, &file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The password of the first line that fits.
pub(crate) fn password(text: &str, login: &Login<'_>) -> Option<String> {
    let port = login.port.to_string();
    let wanted = [login.host, &port, login.dbname, login.user.as_str()];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(fields)
        .find(|fields| {
            let mut pairs = fields.iter().zip(wanted);
            pairs.all(|(field, wanted)| field == "*" || *field == wanted)
        })
        .map(|[.., password]| password)
        .filter(|password| !password.is_empty())
}

/// The five fields of a line, without their `\`.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields: [String; 5] = Default::default();
    let (mut number, mut quoted) = (0, false);
    for character in line.chars() {
        match character {
            '\\' if !quoted => quoted = true,
            // The password goes on to the end of the line.
            ':' if !quoted && number < 4 => number += 1,
            other => {
                fields[number].push(other);
                quoted = false;
            }
        }
    }
    (number == 4).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let login = Login {
            host: "db.example.org",
            port: 5432,
            dbname: "snort",
            user: "sn:ort".to_owned(),
        };
        password(text, &login)
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        for (text, password) in [
            ("db.example.org:5432:snort:sn\\:ort:sesame", Some("sesame")),
            ("*:*:*:*:a\\:b:c\\\\", Some("a:b:c\\")),
            ("# *:*:*:*:no\n*:*:*:*:yes\n*:*:*:*:late", Some("yes")),
            (
                "db.example.org:5433:snort:sn\\:ort:no\n*:*:*:*:yes",
                Some("yes"),
            ),
            ("*:*:*:other:no", None),
            ("*:*:*:*:", None),
            ("*:*:*", None),
            ("", None),
        ] {
            assert_eq!(found(text).as_deref(), password, "{text}");
        }
    }
}
