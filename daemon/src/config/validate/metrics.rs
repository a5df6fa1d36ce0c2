//! The listener for metrics: an address that no other machine reaches.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use std::net::SocketAddr;

impl Check<'_> {
    pub(super) fn metrics(&mut self) {
        let Some(metrics) = &self.config.daemon.metrics else { return };
        let path = KeyPath::of(&["daemon", "metrics", "listen"]);
        let wrong = match metrics.listen.parse::<SocketAddr>() {
            Err(_) => ("is not an address with a port", "write e.g. 127.0.0.1:9464 or \"[::1]:9464\""),
            Ok(address) if !address.ip().is_loopback() => (
                "is not a loopback address: whoever reaches it could read names and figures of every export, because \
                 there is no password",
                "use 127.0.0.1 or [::1]; for another machine put a proxy with TLS and a password in front",
            ),
            Ok(address) if address.port() == 0 => ("has no port", "write e.g. 127.0.0.1:9464"),
            Ok(_) => return,
        };
        self.wrong(Mistake::value(&path, wrong.0).hint(wrong.1));
    }
}
