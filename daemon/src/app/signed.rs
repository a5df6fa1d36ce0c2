//! Verifies the signatures of a task's published manifests, at the destinations and with the daemon's own key.

use super::engine::AppEngine;
use super::protect;
use super::verify::object::{Place, asked};
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::config::settings::{Config, Destination};
use crate::destinations::{Opener, object_key};
use crate::ledger::Ledger;
use crate::ledger::rows::ManifestRow;
use crate::queue::handle::Refusal;
use saas_export_api::{VerifyProblem, VerifyReport};
use saas_export_manifest::{Manifest, PublicKey, SIGNATURE_BYTES, SIGNATURE_NAME};

/// Looks at the signature of every published manifest that has one, and adds to the report what is wrong. A signature by a
/// key that was replaced meanwhile is compared with what was published.
pub async fn verify(
    engine: &AppEngine,
    ledger: &Ledger,
    id: &TaskId,
    only: Option<&str>,
    report: &mut VerifyReport,
) -> Result<(), Refusal> {
    let unavailable =
        |error: &(dyn std::error::Error + 'static)| Refusal::Unavailable(format!("failed to {}", Chain(error)));
    let Some(row) = ledger.task(id).await.map_err(|error| unavailable(&error))? else { return Ok(()) };
    let stored = serde_json::from_str(&row.config).unwrap_or_default();
    let config = Config::from_effective(&stored).map_err(|why| Refusal::Unavailable(why.to_string()))?;
    let key = protect::signing_key(engine).map_err(|error| unavailable(&error))?.map(|key| key.public());
    for found in ledger.manifests(id).await.map_err(|error| unavailable(&error))? {
        let wanted = found.there() && only.is_none_or(|name| name == found.destination);
        let place = config.destinations.get(found.destination.as_str());
        let readable = !report.skipped.contains(&found.destination);
        let (Some(place), Some(_), true) = (place, &found.signature, wanted && readable) else { continue };
        let object = object_key(&row.export, &found.stream, id, SIGNATURE_NAME);
        report.files += 1;
        if let Some(problem) = problem(&engine.destinations(), place, &object, (&found, key.as_ref())).await? {
            let (destination, stream) = (found.destination.clone(), found.stream.clone());
            report.problems.push(VerifyProblem { destination, stream, path: place.location(&object), problem });
        }
    }
    report.ok = report.problems.is_empty();
    Ok(())
}

/// What is wrong with a signature; it fits after its name. Refused where the destination does not answer.
async fn problem(
    opener: &Opener,
    settings: &Destination,
    object: &str,
    (found, key): (&ManifestRow, Option<&PublicKey>),
) -> Result<Option<String>, Refusal> {
    let name = &found.destination;
    let destination = opener
        .open(settings)
        .map_err(|error| Refusal::Unavailable(format!("failed to use destination {name}: {}", Chain(&error))))?;
    let place = Place { destination: &*destination, name, local: settings.local() };
    let there = match asked(&place, || destination.read_small(object, SIGNATURE_BYTES as u64)).await? {
        Ok(Some(small)) => small.bytes,
        Ok(None) => return Ok(Some("is missing".into())),
        Err(error) => return Ok(Some(format!("cannot be read: {}", Chain(&error)))),
    };
    if found.signature.as_deref() != Some(&there[..]) {
        return Ok(Some("is not the signature that was published".into()));
    }
    let signed = Manifest::parse(&found.bytes).ok().and_then(|manifest| manifest.signature);
    let own = key.filter(|key| signed.is_some_and(|signed| signed.key_id == key.id()));
    Ok(own.and_then(|key| key.verify(&found.bytes, &there).err()).map(|error| error.to_string()))
}
