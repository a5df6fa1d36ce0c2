//! Who may do what: the kernel names the caller, four groups decide, and nobody is the default.

use super::reply::Failure;
use crate::host::peer::{Peer, group_id};
use crate::queue::handle::Actor;
use saas_export_api::ErrorCode;

/// Members may look.
pub const VIEWER: &str = "saas-export-viewer";

/// Members may look and act on tasks.
pub const OPERATOR: &str = "saas-export-operator";

/// Members may do everything.
pub const ADMIN: &str = "saas-export-admin";

/// What a route needs, and what a caller has; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look.
    Read,
    /// Run, pause, resume, cancel, retry, verify.
    Operate,
    /// Set offsets, reload.
    Admin,
}

impl Access {
    /// The group that gives it.
    pub fn group(self) -> &'static str {
        match self {
            Self::Read => VIEWER,
            Self::Operate => OPERATOR,
            Self::Admin => ADMIN,
        }
    }

    /// The word in the OpenAPI document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// The ids behind the names of the groups; a group that does not exist has no members.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The user that the daemon runs as.
    pub own_uid: u32,
    /// Id of [`ADMIN`].
    pub admin: Option<u32>,
    /// Id of [`OPERATOR`].
    pub operator: Option<u32>,
    /// Id of [`VIEWER`].
    pub viewer: Option<u32>,
}

impl Rules {
    /// As this machine has them now. May block on a name service.
    pub fn of_this_machine() -> Self {
        Self {
            own_uid: nix::unistd::geteuid().as_raw(),
            admin: group_id(ADMIN),
            operator: group_id(OPERATOR),
            viewer: group_id(VIEWER),
        }
    }

    /// What a peer may do; none is nothing.
    pub fn access(&self, peer: &Peer) -> Option<Access> {
        let member = |group: Option<u32>| group.is_some_and(|gid| peer.in_group(gid));
        if peer.uid == 0 || peer.uid == self.own_uid || member(self.admin) {
            Some(Access::Admin)
        } else if member(self.operator) {
            Some(Access::Operate)
        } else if member(self.viewer) {
            Some(Access::Read)
        } else {
            None
        }
    }
}

/// Who asks, fixed when the connection was accepted.
#[derive(Clone, Debug)]
pub struct Caller {
    /// User id, for the limits.
    pub uid: u32,
    /// Name for the audit.
    pub actor: Actor,
    /// What they may do; none is nothing.
    pub access: Option<Access>,
}

impl Caller {
    /// Judges a peer. May block on a name service.
    pub fn new(peer: &Peer, rules: &Rules) -> Self {
        Self { uid: peer.uid, actor: Actor(peer.actor()), access: rules.access(peer) }
    }

    /// Refuses a caller that has less than `needed`, in a sentence that names the group they lack.
    pub fn require(&self, needed: Access) -> Result<(), Failure> {
        if self.access >= Some(needed) {
            return Ok(());
        }
        let but = match (self.access, needed) {
            (None, _) => "may not use this daemon",
            (Some(Access::Read), Access::Operate) => "may look but not act",
            (Some(Access::Read), _) => "may look but not change offsets or the daemon",
            (Some(_), _) => "may act on tasks but not change offsets or the daemon",
        };
        let group = needed.group();
        let message = format!("{} {but}: ask an administrator for the group {group}", self.actor.0);
        let user = self.actor.0.split_once('(').map_or("USER", |(_, name)| name.trim_end_matches(')'));
        Err(Failure::new(ErrorCode::Forbidden, message)
            .hint(format!("an administrator runs: usermod -aG {group} {user}; it counts from the next login on")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { own_uid: 990, admin: Some(10), operator: Some(20), viewer: Some(30) };

    fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn the_strongest_group_counts_wherever_it_stands() {
        let cases = [
            (peer(1000, 1000, &[]), None),
            (peer(1000, 1000, &[4, 24, 30]), Some(Access::Read)),
            (peer(1000, 30, &[]), Some(Access::Read)),
            (peer(1000, 1000, &[30, 20]), Some(Access::Operate)),
            (peer(1000, 1000, &[30, 20, 10]), Some(Access::Admin)),
            (peer(0, 0, &[]), Some(Access::Admin)),
            (peer(990, 990, &[]), Some(Access::Admin)),
        ];
        for (peer, expected) in cases {
            assert_eq!(RULES.access(&peer), expected, "{peer:?}");
        }
    }

    #[test]
    fn a_group_that_does_not_exist_gives_nothing() {
        let rules = Rules { own_uid: 990, admin: None, operator: None, viewer: None };
        assert_eq!(rules.access(&peer(65534, 65534, &[65534])), None);
    }

    #[test]
    fn a_refusal_names_the_group() {
        let anna = |access| Caller { uid: 1000, actor: Actor("uid 1000 (anna)".into()), access };
        let message = |access, needed| anna(access).require(needed).unwrap_err().error.message;
        assert_eq!(
            message(Some(Access::Read), Access::Operate),
            "uid 1000 (anna) may look but not act: ask an administrator for the group saas-export-operator"
        );
        assert!(message(None, Access::Read).ends_with("for the group saas-export-viewer"));
        assert!(message(Some(Access::Operate), Access::Admin).ends_with("for the group saas-export-admin"));
        assert!(anna(Some(Access::Admin)).require(Access::Operate).is_ok());
        assert!(anna(None).require(Access::Read).unwrap_err().error.hint.unwrap().contains("saas-export-viewer anna"));
    }
}
