//! Looks at what is published: the chains that every `latest.json` leads to, and manifests of tasks that the ledger has as open.

use super::error::AdoptError;
use super::spots::{Spot, Spots, Then};
use crate::app::cli::Adopt;
use crate::app::engine::AppEngine;
use crate::app::protect;
use crate::app::verify::object::{Place, asked};
use crate::base::error::Chain;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Destination as Settings, HttpVerify};
use crate::destinations::{Destination, LATEST, Small, object_key};
use crate::ledger::Ledger;
use crate::ledger::adopt::LeftBehind;
use crate::ledger::rows::{Composed, TaskRow};
use crate::model::task::TaskState;
use crate::retention::places;
use jiff::Timestamp;
use saas_export_manifest::{Digests, Latest, MANIFEST_NAME, Manifest, PublicKey, SIGNATURE_BYTES, SIGNATURE_NAME};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest `latest.json` that is read.
const MAX_LATEST: u64 = 16 << 20;
/// The largest manifest: some hundred thousand segments.
const MAX_MANIFEST: u64 = 256 << 20;

/// A manifest that is published at a destination, and that the ledger does not have there.
pub struct Seen {
    /// Its task.
    pub task: TaskId,
    /// Name of the destination.
    pub destination: String,
    /// What it says.
    pub manifest: Manifest,
    /// Its bytes and its signature.
    pub composed: Composed,
}

/// What was seen.
#[derive(Default)]
pub struct Sight {
    /// The manifests that are news to the ledger.
    pub seen: Vec<Seen>,
    /// The tasks of each chain that readers are led to, in order.
    pub chains: Vec<Vec<TaskId>>,
    /// The destinations that were looked at.
    pub destinations: BTreeSet<String>,
    /// Manifests of open tasks that were written and never published.
    pub left: Vec<LeftBehind>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// What readers are led to.
    latest: BTreeMap<Spot, Latest>,
}

/// A stream at a destination.
struct At<'a> {
    name: &'a str,
    settings: Settings,
    destination: Arc<dyn Destination>,
    export: &'a str,
    stream: &'a str,
}

impl At<'_> {
    fn key(&self, task: &TaskId, name: &str) -> String {
        object_key(self.export, self.stream, task, name)
    }

    async fn read(&self, key: &str, limit: u64) -> Result<Option<Small>, AdoptError> {
        let place = Place { destination: &*self.destination, name: self.name, local: self.settings.local() };
        let unreadable = |why: String| AdoptError::Unreadable { name: self.name.to_owned(), why };
        match asked(&place, || self.destination.read_small(key, limit)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(unreadable(format!("failed to {}", Chain(&error)))),
            Err(refused) => Err(unreadable(refused.to_string())),
        }
    }

    fn untrusted(&self, key: &str, why: impl Into<String>) -> AdoptError {
        AdoptError::Untrusted { name: self.name.to_owned(), location: self.destination.location(key), why: why.into() }
    }
}

/// Who looks, and what is known before.
pub struct Look<'a> {
    engine: &'a AppEngine,
    config: Arc<Config>,
    options: &'a Adopt,
    from: &'a [String],
    key: Option<PublicKey>,
    /// Digests of manifests by task, stream and destination.
    known: BTreeMap<(String, String, String), String>,
    /// Where the ledger has a chain begun, and by which task.
    starts: BTreeMap<Spot, TaskId>,
    spots: Spots,
    /// Kept open, so that each is connected to once.
    _open: Vec<Arc<dyn Destination>>,
}

impl<'a> Look<'a> {
    /// A look at the destinations `from`, or at all, past those that are skipped.
    pub async fn new(
        engine: &'a AppEngine,
        (ledger, open): (&Ledger, &[TaskRow]),
        (options, from): (&'a Adopt, &'a [String]),
    ) -> Result<Self, AdoptError> {
        let (config, _) = engine.in_force();
        let key = protect::signing_key(engine)?.map(|key| key.public());
        let (mut known, mut starts) = (BTreeMap::new(), BTreeMap::new());
        for row in ledger.known_manifests().await? {
            if row.starts {
                starts.insert((row.export, row.stream.clone(), row.destination.clone()), row.task.clone());
            }
            known.insert((row.task.to_string(), row.stream, row.destination), row.sha256);
        }
        let spots = Spots::find(&config, (ledger, open), &starts).await?;
        let mut names: BTreeSet<&str> = config.destinations.keys().map(Name::as_str).collect();
        names.extend(spots.iter().map(|((_, _, name), _)| name.as_str()));
        if let Some(name) = options.skip.iter().chain(from).find(|name| !names.contains(name.as_str())) {
            return Err(AdoptError::NoDestination(name.clone(), names.into_iter().collect::<Vec<_>>().join(", ")));
        }
        let opener = engine.destinations();
        // One that cannot be opened is told when something of it is asked for.
        let opened = config.destinations.values().filter_map(|settings| opener.open(settings).ok()).collect();
        Ok(Self { engine, config, options, from, key, known, starts, spots, _open: opened })
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the ledger knows of anything that a task has published.
    pub fn knows(&self, task: &TaskId) -> bool {
        self.known.keys().any(|(known, _, _)| known == task.as_str())
    }

    fn looked_at(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        !named(&self.options.skip) && (self.from.is_empty() || named(self.from))
    }

    /// The places that are looked at.
    pub fn spots(&self) -> &Spots {
        &self.spots
    }

    /// A stream at a destination, with the settings of now, or as they were `then`.
    fn at<'b>(&self, (export, stream, name): &'b Spot, then: Option<&Then>) -> Result<At<'b>, AdoptError> {
        let unreadable = |why: String| AdoptError::Unreadable { name: name.to_owned(), why };
        let stored = then.and_then(|then| then.config.destinations.get(name.as_str()));
        let settings = match (self.config.destinations.get(name.as_str()), stored) {
            (Some(now), None) => now,
            (_, Some(stored)) => places::settings(name, stored, &self.config)
                .map_err(|error| unreadable(format!("failed to {}", Chain(&error))))?,
            (None, None) => return Err(unreadable("the configuration does not have it".into())),
        };
        if matches!(settings, Settings::Http(http) if http.verify == HttpVerify::None) {
            return Err(unreadable("it lets nothing be read (verify: none)".into()));
        }
        let opened = self.engine.destinations().open(settings);
        let destination = opened.map_err(|error| unreadable(format!("failed to {}", Chain(&error))))?;
        Ok(At { name, settings: settings.clone(), destination, export, stream })
    }

    /// Looks at every stream of every export at each of its destinations, and where the ledger has published besides.
    pub async fn around(&self) -> Result<Sight, AdoptError> {
        let mut sight = Sight::default();
        let mut lacking = Vec::new();
        for (spot, then) in self.spots.iter().filter(|((_, _, name), _)| self.looked_at(name)) {
            sight.destinations.insert(spot.2.clone());
            let at = self.at(spot, then)?;
            if !self.chain(&at, spot, &mut sight).await? && self.starts.contains_key(spot) {
                let missing = at.destination.location(&format!("{}/{}/{LATEST}", at.export, at.stream));
                lacking.push((spot, then.is_some(), missing));
            }
        }
        let read: BTreeSet<String> = sight.latest.keys().map(|(_, _, name)| name.clone()).collect();
        for ((export, stream, name), unused, missing) in lacking {
            // Somebody may have removed what nothing uses any more; a place where nothing else is either is not mounted.
            if !unused || !read.contains(name) {
                let why = format!("the ledger has published there, but there is no {missing}");
                return Err(AdoptError::Unreadable { name: name.clone(), why });
            }
            sight.notes.push(format!(
                "the ledger has published stream {stream} of {export} at {name}, where the configuration does not have it any \
                 more, and there is no {missing}: what was published there since is not known"
            ));
        }
        Ok(sight)
    }

    /// Follows the `latest.json` of a stream; whether there is one.
    async fn chain(&self, at: &At<'_>, spot: &Spot, sight: &mut Sight) -> Result<bool, AdoptError> {
        let key = format!("{}/{}/{LATEST}", at.export, at.stream);
        let Some(found) = at.read(&key, MAX_LATEST).await? else { return Ok(false) };
        let latest = Latest::parse(&found.bytes).map_err(|error| at.untrusted(&key, format!("failed to {error}")))?;
        if (latest.export.as_str(), latest.stream.as_str()) != (at.export, at.stream) {
            let why = format!("it belongs to stream {} of export {}", latest.stream, latest.export);
            return Err(at.untrusted(&key, why));
        }
        for (index, entry) in latest.manifests.iter().enumerate() {
            let task = TaskId::known(&entry.task);
            if !TaskId::looks_like_one(&entry.task) {
                return Err(at.untrusted(&key, format!("it lists {:?}, which is no id of a task", entry.task)));
            }
            if self.known(at, &task) == Some(&entry.sha256) {
                continue;
            }
            let manifest = at.key(&task, MANIFEST_NAME);
            let seen = self.manifest(at, &task).await?;
            let seen = seen.ok_or_else(|| at.untrusted(&manifest, "it is listed, but not there"))?;
            let digest = Digests::of(&seen.composed.bytes).sha256;
            if digest != entry.sha256 {
                let why = format!("it has SHA-256 {digest}, {LATEST} says {}", entry.sha256);
                return Err(at.untrusted(&manifest, why));
            }
            if let Some(why) = latest.mismatch(index, &seen.manifest) {
                return Err(at.untrusted(&manifest, why));
            }
            sight.seen.push(seen);
        }
        sight.chains.push(latest.manifests.iter().map(|entry| TaskId::known(&entry.task)).collect());
        sight.latest.insert(spot.clone(), latest);
        Ok(true)
    }

    fn known(&self, at: &At<'_>, task: &TaskId) -> Option<&String> {
        self.known.get(&(task.to_string(), at.stream.to_owned(), at.name.to_owned()))
    }

    /// Reads a task's manifest and its signature.
    async fn manifest(&self, at: &At<'_>, task: &TaskId) -> Result<Option<Seen>, AdoptError> {
        let key = at.key(task, MANIFEST_NAME);
        let Some(found) = at.read(&key, MAX_MANIFEST).await? else { return Ok(None) };
        let manifest =
            Manifest::parse(&found.bytes).map_err(|error| at.untrusted(&key, format!("failed to {error}")))?;
        let own = (manifest.export.as_str(), manifest.stream.as_str(), manifest.task.as_str());
        if own != (at.export, at.stream, task.as_str()) {
            let why = format!("it is that of stream {} of task {} of export {}", own.1, own.2, own.0);
            return Err(at.untrusted(&key, why));
        }
        let signature = self.signature(at, &manifest, &found.bytes).await?;
        let composed = Composed { bytes: found.bytes.to_vec(), signature };
        Ok(Some(Seen { task: task.clone(), destination: at.name.to_owned(), manifest, composed }))
    }

    /// The signature beside a manifest, checked where there is a key to check it with.
    async fn signature(&self, at: &At<'_>, manifest: &Manifest, bytes: &[u8]) -> Result<Option<Vec<u8>>, AdoptError> {
        if self.key.is_none() && manifest.signature.is_none() {
            return Ok(None);
        }
        let object = at.key(&TaskId::known(&manifest.task), SIGNATURE_NAME);
        let found = at.read(&object, SIGNATURE_BYTES as u64).await?.map(|small| small.bytes.to_vec());
        let Some(key) = &self.key else { return Ok(found) };
        let why = match (&manifest.signature, &found) {
            (Some(signed), Some(signature)) if signed.key_id == key.id() => {
                let checked = key.verify(bytes, signature);
                return checked.map(|()| found).map_err(|error| at.untrusted(&object, error.to_string()));
            }
            (Some(signed), Some(_)) => format!("its manifest is signed by another key, {}", signed.key_id),
            (Some(_), None) => "its manifest is signed, but this is missing".to_owned(),
            (None, _) => "its manifest is not signed".to_owned(),
        };
        match self.options.accept_unsigned {
            true => Ok(found),
            false => Err(at.untrusted(&object, format!("{why}; --accept-unsigned takes it unchecked"))),
        }
    }

    /// Looks for what a task that the ledger does not have as succeeded has published outside of the chains that readers are
    /// led to: it has parameters, or its chain has been followed by a newer one.
    pub async fn unfinished(&self, ledger: &Ledger, row: &TaskRow, sight: &mut Sight) -> Result<(), AdoptError> {
        let then = Then::of(row);
        let goes_to = |config: &Config| config.exports.get(row.export.as_str()).map(|export| export.to.clone());
        let mut names: BTreeSet<Name> = goes_to(&self.config).unwrap_or_default().into_iter().collect();
        names.extend(then.as_ref().and_then(|then| goes_to(&then.config)).unwrap_or_default());
        let going = match row.state {
            TaskState::Cancelled => ledger.to_withdraw(&row.id).await?,
            _ => Vec::new(),
        };
        for name in names.into_iter().filter(|name| self.looked_at(name.as_str())) {
            for stream in ledger.streams(&row.id).await? {
                let spot = (row.export.clone(), stream.stream, name.to_string());
                let at = self.at(&spot, then.as_deref())?;
                let same = |seen: &Seen| {
                    (&seen.task, seen.destination.as_str(), seen.manifest.stream.as_str())
                        == (&row.id, at.name, at.stream)
                };
                if self.known(&at, &row.id).is_some() || sight.seen.iter().any(same) {
                    continue;
                }
                let Some(seen) = self.manifest(&at, &row.id).await? else { continue };
                let (destination, sha256) = (name.to_string(), Digests::of(&seen.composed.bytes).sha256);
                // It was cancelled with this very manifest, which is only not removed yet.
                if going.iter().any(|row| row.destination == destination && row.sha256 == sha256) {
                    continue;
                }
                if self.was_published(ledger, &at, row, sight).await? && !ledger.place_taken(&seen.manifest).await? {
                    sight.seen.push(seen);
                } else {
                    sight.left.push(LeftBehind { destination, manifest: seen.manifest, sha256 });
                }
            }
        }
        Ok(())
    }

    /// Whether a manifest that no `latest.json` lists was published: nobody ever lists one outside of the chains, and one of a
    /// chain is listed until a newer chain takes its place. A manifest whose list was never written stays unpublished.
    async fn was_published(
        &self,
        ledger: &Ledger,
        at: &At<'_>,
        row: &TaskRow,
        sight: &Sight,
    ) -> Result<bool, AdoptError> {
        if !row.chained {
            return Ok(true);
        }
        let id = (at.export.to_owned(), at.stream.to_owned(), at.name.to_owned());
        let Some(latest) = sight.latest.get(&id) else { return Ok(false) };
        let first = TaskId::known(&latest.chain.id);
        // By the times that the tasks themselves know: ids tell seconds alone.
        let begun: Option<Timestamp> = match sight.seen.iter().find(|seen| seen.task == first) {
            Some(seen) => seen.manifest.created_at.parse().ok(),
            None => ledger.task(&first).await?.map(|first| first.created_at),
        };
        Ok(begun.is_some_and(|begun| begun > row.created_at))
    }
}
