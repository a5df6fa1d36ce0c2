//! Writes the generated parts of the man pages in `packaging/man`; tests keep them, and no program links it.
//!
//! A page is written by hand where a person knows more than the code, and holds blocks that a test fills in:
//!
//! ```text
//! .\" {options                     written by the test with UPDATE_DOCS=1, and compared by it without
//! …
//! .\" options}
//! ```

mod command;
mod examples;
mod page;
mod roff;

pub use command::{command, options, usage};
pub use examples::{commands, wrong_examples};
pub use page::{keep, lint};
pub use roff::{entry, inline, literal, paragraphs};

/// The day that the pages bear: that of the version, never that of the build.
const DATE: &str = "2026-11-21";

/// The title line of a page.
pub fn title(page: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let kind = match section {
        1 => "User commands",
        5 => "File formats",
        _ => "System administration",
    };
    format!(".TH {} {section} {DATE} \"saas-export-daemon {version}\" \"{kind}\"\n", page.to_uppercase())
}
