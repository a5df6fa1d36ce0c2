//! What tells this machine from others.

/// Its id (machine-id(5)), or its name where it has none; only ever to be hashed.
pub fn id() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").map(|text| text.trim().to_owned());
    id.ok().filter(|id| !id.is_empty()).unwrap_or_else(|| {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    })
}
