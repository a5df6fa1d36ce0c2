//! Directories and the socket: absolute, and none within another.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use std::path::{Component, Path};

/// Bytes of a socket's path that the kernel takes (`sun_path` without its final NUL).
const MAX_SOCKET_PATH: usize = 107;

impl Check<'_> {
    pub(super) fn places(&mut self) {
        let config = self.config;
        let top = KeyPath::of(&["daemon"]);
        let state = top.key("state_dir");
        let socket = top.key("socket");
        self.absolute(&socket, &config.daemon.socket);
        if config.daemon.socket.as_os_str().len() > MAX_SOCKET_PATH {
            self.wrong(Mistake::value(
                &socket,
                format!("is longer than the {MAX_SOCKET_PATH} bytes of a socket's path"),
            ));
        }
        let mut taken: Vec<(KeyPath, &Path)> = Vec::new();
        let destinations = config.destinations.iter().filter_map(|(name, destination)| {
            let root = destination.local()?.root.as_path();
            Some((KeyPath::of(&["destinations", name.as_str(), "local", "root"]), root))
        });
        for (path, dir) in std::iter::once((state, config.daemon.state_dir.as_path())).chain(destinations) {
            if !self.absolute(&path, dir) {
                continue;
            }
            if dir.components().count() == 1 {
                self.wrong(Mistake::value(&path, "must not be the root of the file system"));
                continue;
            }
            // Components compare without doubled and final slashes.
            if let Some((other, place)) =
                taken.iter().find(|(_, place)| dir.starts_with(place) || place.starts_with(dir))
            {
                let how = match (dir == *place, dir.starts_with(place)) {
                    (true, _) => "is the same directory as",
                    (_, true) => "lies within",
                    _ => "contains",
                };
                let message = format!("{how} {other}");
                self.wrong(Mistake::value(&path, message).hint("give each a directory of its own"));
            }
            taken.push((path, dir));
        }
    }

    /// Whether a path is absolute and goes straight there.
    pub(super) fn absolute(&mut self, path: &KeyPath, place: &Path) -> bool {
        let mistake = if !place.is_absolute() {
            Mistake::value(path, "must be an absolute path").hint("it begins with /")
        } else if place.components().any(|part| part == Component::ParentDir) {
            Mistake::value(path, "must not go up by \"..\"")
        } else if place.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) {
            Mistake::value(path, "holds a control character")
        } else {
            return true;
        };
        self.wrong(mistake);
        false
    }
}
