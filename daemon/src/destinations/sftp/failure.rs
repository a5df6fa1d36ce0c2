//! What an SFTP server's refusal means, or its silence.

use crate::base::error::ErrorClass;
use crate::destinations::DestinationError;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::StatusCode;
use std::time::Duration;

/// Characters of a server's own words that are repeated.
const MAX_SAID: usize = 200;

/// Words by which servers tell that there is no room: version 3 of the protocol has no code for it.
const NO_ROOM: [&str; 4] = ["no space", "quota", "disk full", "disk is full"];

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No such file.
    Missing,
    /// The end of the file, or of the list.
    End,
    /// No permission.
    Denied,
    /// The server does not know the request.
    Unsupported,
    /// Anything else that a server refuses, in its own words.
    Refused(String),
    /// The connection is gone.
    Lost(String),
    /// No answer for so long.
    Silent(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => Self::Missing,
                StatusCode::Eof => Self::End,
                StatusCode::PermissionDenied => Self::Denied,
                StatusCode::OpUnsupported => Self::Unsupported,
                StatusCode::NoConnection | StatusCode::ConnectionLost => Self::Lost(said(&status.error_message)),
                _ => Self::Refused(said(&status.error_message)),
            },
            Error::Limited(why) => Self::Refused(said(&why)),
            other => Self::Lost(said(&other.to_string())),
        }
    }
}

/// A server's words as they may be repeated: short, and without what moves a terminal's cursor.
pub fn said(text: &str) -> String {
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MAX_SAID).collect()
}

impl Failure {
    /// Whether the connection can still be used.
    pub fn is_answer(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Silent(_))
    }

    /// Whether a server says by it that there is no room.
    pub fn no_room(&self) -> bool {
        let Self::Refused(said) = self else { return false };
        let said = said.to_ascii_lowercase();
        NO_ROOM.iter().any(|words| said.contains(words))
    }

    /// What it means.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Denied | Self::Missing | Self::Unsupported => ErrorClass::Config,
            Self::Refused(_) if self.no_room() => ErrorClass::Full,
            Self::Refused(_) | Self::End | Self::Lost(_) | Self::Silent(_) => ErrorClass::Transient,
        }
    }

    /// The error of what was tried at a place.
    pub fn at(&self, action: &'static str, location: &str) -> DestinationError {
        let message = match self {
            Self::Missing => "there is no such file or directory".to_owned(),
            Self::End => "it ended too early".to_owned(),
            Self::Denied => "the server denies permission".to_owned(),
            Self::Unsupported => "the server does not support it".to_owned(),
            Self::Refused(said) => format!("the server refuses ({said})"),
            Self::Lost(why) => format!("the connection was lost ({why})"),
            Self::Silent(time) => format!("no answer for {time:?} (`read_timeout`)"),
        };
        DestinationError::Remote { action, location: location.to_owned(), class: self.class(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Classify as _;
    use russh_sftp::protocol::Status;

    fn of(status_code: StatusCode, message: &str) -> Failure {
        let status = Status { id: 1, status_code, error_message: message.into(), language_tag: String::new() };
        Failure::from(Error::Status(status))
    }

    #[test]
    fn each_refusal_has_its_class() {
        let class = |code, text| of(code, text).at("write", "sftp://x/y").class().word();
        assert_eq!(class(StatusCode::PermissionDenied, ""), "config");
        assert_eq!(class(StatusCode::Failure, "Failure"), "transient");
        assert_eq!(class(StatusCode::Failure, "write: No space left on device"), "full");
        assert_eq!(class(StatusCode::Failure, "Disk quota exceeded"), "full");
        assert_eq!(class(StatusCode::ConnectionLost, ""), "transient");
        assert_eq!(class(StatusCode::OpUnsupported, ""), "config");
        assert_eq!(Failure::from(Error::Timeout).class().word(), "transient");
        assert!(!Failure::from(Error::Timeout).is_answer());
    }

    #[test]
    fn the_servers_words_are_short_and_harmless() {
        let Failure::Refused(said) = of(StatusCode::Failure, &"\u{1b}[2Jx".repeat(100)) else { panic!() };
        assert!(said.chars().count() <= MAX_SAID && !said.contains('\u{1b}'));
    }
}
