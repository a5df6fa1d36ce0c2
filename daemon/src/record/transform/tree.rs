//! The fields that a step is about, by name and level.

use crate::config::transform::path;

/// A level: what to do with its members, by name.
#[derive(Debug)]
pub struct Tree<A> {
    /// Sorted by name.
    members: Vec<(Vec<u8>, Member<A>)>,
}

/// A member of a level.
#[derive(Debug)]
pub struct Member<A> {
    /// What is done with it.
    pub action: Option<A>,
    /// What is done with what is in it.
    pub inside: Option<Tree<A>>,
}

impl<A> Default for Tree<A> {
    fn default() -> Self {
        Self { members: Vec::new() }
    }
}

impl<A> Tree<A> {
    /// A tree of paths with their actions; the last action of a path counts.
    pub fn of<'f>(fields: impl Iterator<Item = (&'f String, A)>) -> Result<Self, String> {
        let mut tree = Self::default();
        for (field, action) in fields {
            let names = path(field).map_err(|why| format!("{field:?} {why}"))?;
            tree.insert(&names, action);
        }
        Ok(tree)
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[String], action: A) {
        let Some((name, rest)) = path.split_first() else { return };
        let at = self.members.binary_search_by(|(known, _)| known.as_slice().cmp(name.as_bytes()));
        let at = at.unwrap_or_else(|at| {
            self.members.insert(at, (name.clone().into_bytes(), Member { action: None, inside: None }));
            at
        });
        let Some((_, member)) = self.members.get_mut(at) else { return };
        match rest {
            [] => member.action = Some(action),
            rest => member.inside.get_or_insert_default().insert(rest, action),
        }
    }

    /// The member of a name.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Member<A>> {
        match self.members.as_slice() {
            // Most steps are about a field or two.
            [(only, member)] => (only == name).then_some(member),
            members => {
                let at = members.binary_search_by(|(known, _)| known.as_slice().cmp(name)).ok()?;
                members.get(at).map(|(_, member)| member)
            }
        }
    }
}
