//! Who may do what: the kernel names the caller, four groups decide, and nobody is the default.

use super::reply::Failure;
use crate::base::clock;
use crate::host::peer::{Peer, group_id};
use crate::queue::handle::Actor;
use saas_export_api::ErrorCode;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Members may look.
pub const VIEWER: &str = "saas-export-viewer";

/// Members may look and act on tasks.
pub const OPERATOR: &str = "saas-export-operator";

/// Members may do everything.
pub const ADMIN: &str = "saas-export-admin";

/// How long the names of groups and users are remembered. Which groups a caller is in is asked of the kernel each time.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Users whose names are remembered at the same time.
const MOST_REMEMBERED: usize = 256;

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

/// Judges callers, and remembers for a moment what name services said: most answers take less time than they do.
#[derive(Default)]
pub struct Judge(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    rules: Option<(Instant, Rules)>,
    actors: BTreeMap<u32, (Instant, String)>,
}

impl Judge {
    /// Who a peer is and what they may do; none where that cannot be found out.
    pub async fn judge(&self, peer: Peer) -> Option<Caller> {
        if let Some((rules, actor)) = self.known(peer.uid) {
            return Some(Caller { uid: peer.uid, actor: Actor(actor), access: rules.access(&peer) });
        }
        let asked = tokio::task::spawn_blocking(move || {
            let rules = Rules::of_this_machine();
            (rules, Caller::new(&peer, &rules))
        });
        let (rules, caller) = asked.await.ok()?;
        let (mut remembered, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), clock::monotonic());
        remembered.rules = Some((now, rules));
        remembered.actors.retain(|_, (at, _)| clock::since(*at) < REMEMBERED);
        if remembered.actors.len() < MOST_REMEMBERED {
            remembered.actors.insert(caller.uid, (now, caller.actor.0.clone()));
        }
        Some(caller)
    }

    fn known(&self, uid: u32) -> Option<(Rules, String)> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: &Instant| clock::since(*at) < REMEMBERED;
        let (_, rules) = remembered.rules.as_ref().filter(|(at, _)| fresh(at))?;
        let (_, actor) = remembered.actors.get(&uid).filter(|(at, _)| fresh(at))?;
        Some((*rules, actor.clone()))
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

    #[tokio::test]
    async fn what_is_remembered_is_the_name_and_not_the_right() {
        let judge = Judge::default();
        let own = nix::unistd::geteuid().as_raw();
        assert!(judge.known(own).is_none());
        let first = judge.judge(peer(own, 0, &[])).await.unwrap();
        assert!(judge.known(own).is_some());
        let again = judge.judge(peer(own, 0, &[])).await.unwrap();
        assert_eq!((again.uid, again.actor, again.access), (own, first.actor, Some(Access::Admin)));
        // Another one is asked for anew, and has what its own groups give.
        judge.0.lock().unwrap().actors.insert(4_000_000, (clock::monotonic(), "uid 4000000".into()));
        assert_eq!(judge.judge(peer(4_000_000, 4_000_000, &[])).await.unwrap().access, None);
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
