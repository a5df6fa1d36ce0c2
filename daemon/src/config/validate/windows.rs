//! The time windows of an export.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::model::window::Window;

/// More windows than a week has hours are a mistake.
const MAX_WINDOWS: usize = 168;

impl Check<'_> {
    pub(super) fn windows(&mut self, path: &KeyPath, windows: &[String]) {
        let path = path.key("windows");
        if windows.len() > MAX_WINDOWS {
            self.wrong(Mistake::value(&path, format!("has more than {MAX_WINDOWS} windows")));
            return;
        }
        self.repeated(&path, windows.iter().map(String::as_str));
        for (index, text) in windows.iter().enumerate() {
            if let Err(why) = text.parse::<Window>() {
                let mistake = Mistake::value(&path.item(index), why);
                self.wrong(mistake.hint("write e.g. \"Mon..Fri 22:00-06:00 Europe/Paris\""));
            }
        }
    }
}
