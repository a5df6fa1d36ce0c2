//! Who is at the other end of the control socket, as the kernel says.

use nix::libc;
use nix::unistd::{Group, Uid, User};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Room for the groups of a usual caller; the kernel says when it takes more.
const USUAL_GROUPS: usize = 64;

/// The most groups that a process can have (NGROUPS_MAX).
const MOST_GROUPS: usize = 65_536;

/// The process that connected, with its rights at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel who connected `socket` (SO_PEERCRED, SO_PEERGROUPS; unix(7)).
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = nix::sys::socket::getsockopt(&socket.as_fd(), nix::sys::socket::sockopt::PeerCredentials)?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), groups: peer_groups(socket)? })
    }

    /// Whether the process was in this group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// The name for the audit: `uid 1000 (anna)`, or `uid 1000` where the user has no name. May block on a name service.
    pub fn actor(&self) -> String {
        match User::from_uid(Uid::from_raw(self.uid)) {
            Ok(Some(user)) => format!("uid {} ({})", self.uid, user.name),
            Ok(None) | Err(_) => format!("uid {}", self.uid),
        }
    }
}

/// The id of a group; none where it does not exist. May block on a name service.
pub fn group_id(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// The supplementary groups of the peer. SO_PEERCRED tells only the primary one, and nix does not know SO_PEERGROUPS.
fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; USUAL_GROUPS];
    loop {
        let room = groups.len() * size_of::<libc::gid_t>();
        let mut length = room as libc::socklen_t;
        #[expect(unsafe_code, reason = "no safe wrapper of SO_PEERGROUPS; the kernel writes at most `length` bytes")]
        let status = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // With too little room the kernel says how much it takes.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > MOST_GROUPS {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_knows_this_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
        let mut expected: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|g| g.as_raw()).collect();
        let mut got = peer.groups.clone();
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected);
        assert!(peer.in_group(peer.gid));
        assert!(peer.actor().starts_with(&format!("uid {}", peer.uid)));
    }

    #[test]
    fn a_missing_group_is_nobody() {
        assert_eq!(group_id("no-such-group-here"), None);
        assert_eq!(group_id("root"), Some(0));
    }
}
