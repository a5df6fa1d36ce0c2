//! The check before an export: from the name of the server to a file at the destination, a line for each step.
//!
//! Nothing is kept: it asks for one page of each stream within the source's budget of requests, writes a small object to
//! each destination and deletes it, and only looks at the ledger.

pub mod foreground;
mod place;
mod reach;
mod read;
mod shape;
mod steps;

#[cfg(test)]
mod tests;

use super::engine::{AppEngine, streams_of};
use super::params::with_defaults;
use crate::auth::{Place, Registry};
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::Secrets;
use crate::config::settings::{self, Config, Export, Param, Rest};
use crate::destinations::Opener;
use crate::ledger::Ledger;
use crate::net::limit::Limiter;
use crate::queue::handle::Refusal;
use crate::sources::rest::RestSource;
use saas_export_api as api;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steps::{Found, Steps};

/// The whole check takes no longer; what is left then is skipped.
const WHOLE: Duration = Duration::from_secs(300);

/// Values for an export's parameters, by name.
pub type Params = BTreeMap<String, String>;

/// Gives the budget of a source's requests.
type Limiters = Box<dyn Fn(&Name, &settings::Rate) -> Arc<Limiter> + Send + Sync>;

/// What a check needs: the configuration with its secrets, and the budget of each source.
pub struct Preflight {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its secrets.
    pub secrets: Arc<Secrets>,
    /// The ledger, where there is one to look at.
    pub ledger: Option<Ledger>,
    /// The budget of a source's requests, shared with its tasks.
    pub limiter: Limiters,
    /// The credentials that sources are given, shared with their tasks.
    pub credentials: Arc<Registry>,
    /// Opens destinations.
    pub destinations: Arc<Opener>,
}

/// What is known of a source by now: ready to be asked, or why it is not.
enum Known {
    Ready(RestSource),
    Not(String),
}

impl Preflight {
    /// The check of an engine, with all that it shares.
    pub fn of(engine: &Arc<AppEngine>, ledger: &Ledger) -> Self {
        let (config, secrets) = engine.in_force();
        let (engine, credentials, destinations) = (engine.clone(), engine.credentials(), engine.destinations());
        let limiter = Box::new(move |name: &Name, rate: &settings::Rate| engine.limiter(name, rate));
        Self { config, secrets, ledger: Some(ledger.clone()), limiter, credentials, destinations }
    }

    /// The check of files alone, where no daemon runs; with the state-key that the service has, if it is found.
    pub fn alone(config: Config, secrets: Secrets, state_key: Option<PathBuf>) -> Self {
        let limiter = Box::new(|_: &Name, rate: &settings::Rate| Arc::new(Limiter::new(rate)));
        let credentials = Arc::new(Registry::new(Place { state_dir: config.daemon.state_dir.clone(), state_key }));
        let secrets = Arc::new(secrets);
        let destinations = Arc::new(Opener::new(secrets.clone()).with_credentials(credentials.clone()));
        Self { config: Arc::new(config), secrets, ledger: None, limiter, credentials, destinations }
    }

    /// Checks one export, or all of them. `params` are those of that one export.
    pub async fn run(&self, export: Option<&str>, params: &Params) -> Result<api::Preflight, Refusal> {
        let names: Vec<&str> = self.config.exports.keys().map(Name::as_str).collect();
        if let Some(unknown) = export.filter(|export| !names.contains(export)) {
            let names = names.join(", ");
            return Err(Refusal::NotFound(format!("there is no export {unknown:?}; there are: {names}")));
        }
        let chosen: Vec<_> =
            self.config.exports.iter().filter(|(name, _)| export.is_none_or(|only| name.as_str() == only)).collect();
        for (name, export) in &chosen {
            let unknown = params.keys().find(|param| !export.params.contains_key(param.as_str()));
            if let Some(param) = unknown {
                return Err(Refusal::Invalid(format!("export {name} has no parameter {param:?}")));
            }
        }
        let mut steps = Steps::new(WHOLE);
        let (mut sources, mut places) = (BTreeMap::new(), Vec::new());
        for (name, export) in &chosen {
            self.export(&mut steps, (name, export), params, &mut sources).await;
            for destination in &export.to {
                if !places.contains(destination) {
                    places.push(destination.clone());
                    self.destination(&mut steps, destination, export).await;
                }
            }
        }
        Ok(steps.report(chosen.iter().map(|(name, _)| name.to_string()).collect()))
    }

    async fn export(
        &self,
        steps: &mut Steps,
        (name, export): (&Name, &Export),
        params: &Params,
        sources: &mut BTreeMap<Name, Known>,
    ) {
        let Some(settings::Source::Rest(rest)) = self.config.sources.get(&export.source) else { return };
        if !sources.contains_key(&export.source) {
            let known = self.source(steps, &export.source, rest).await;
            sources.insert(export.source.clone(), known);
        }
        let Some(known) = sources.get_mut(&export.source) else { return };
        let values = filled(&export.params, params);
        for stream in streams_of(export, &self.config) {
            let Some(settings) = rest.streams.get(&stream) else { continue };
            let subject = format!("stream {name}/{stream}");
            let source = match (&*known, &values) {
                (Known::Ready(source), Ok(values)) => Ok(source.for_task(values.clone())),
                (Known::Not(why), _) | (_, Err(why)) => Err(why.clone()),
            };
            let asked = read::Asked { export: name, stream: &stream, subject: &subject, settings, rest };
            match source {
                Ok(source) => {
                    let page = read::first(steps, &asked, source).await;
                    if let Err(read::Refused::Credentials) = &page {
                        *known = Known::Not("the credentials are not accepted".into());
                    }
                    shape::look(steps, &asked, page.ok().flatten(), (self.ledger.as_ref(), export)).await;
                }
                Err(why) => {
                    steps.skip(&subject, "first_page", &why);
                    steps.skip(&subject, "schema", "there is no page to look at");
                }
            }
            steps.tell(&subject, "shift_protection", read::shift(settings));
        }
    }

    /// Goes the way to a source's server, and makes the source ready.
    async fn source(&self, steps: &mut Steps, name: &Name, rest: &Rest) -> Known {
        let subject = format!("source {name}");
        if let Err(step) = reach::reach(steps, &subject, rest, &self.secrets).await {
            steps.skip(&subject, "auth", &format!("{step} failed"));
            return Known::Not(format!("{step} of source {name} failed"));
        }
        // One try: a check tells what is there now.
        let mut once = rest.clone();
        once.retry.attempts = 1;
        let (limiter, secrets, of) = ((self.limiter)(name, &rest.rate), self.secrets.clone(), name.clone());
        let registry = self.credentials.clone();
        let made = tokio::task::spawn_blocking(move || RestSource::new(of, &once, &*secrets, limiter, &registry)).await;
        match made {
            Ok(Ok(source)) => Known::Ready(source),
            Ok(Err(error)) => {
                steps.tell(&subject, "setup", Found::fail(format!("failed to {}", Chain(&error)), ""));
                Known::Not(format!("source {name} cannot be set up"))
            }
            Err(error) => Known::Not(error.to_string()),
        }
    }

    async fn destination(&self, steps: &mut Steps, name: &Name, export: &Export) {
        if let Some(settings) = self.config.destinations.get(name) {
            place::look(steps, name, settings, (&self.destinations, export.chunk_size.0)).await;
        }
    }
}

/// Values of all parameters: the given one, the default, or the first that is allowed. The error names what is missing.
fn filled(declared: &BTreeMap<Name, Param>, given: &Params) -> Result<Params, String> {
    let own: Vec<(String, String)> = given.clone().into_iter().collect();
    let mut values = with_defaults(declared, &own);
    for (name, param) in declared {
        if values.contains_key(name.as_str()) {
            continue;
        }
        let first = param.one_of.as_ref().and_then(|words| words.first());
        let first = first.ok_or_else(|| format!("parameter {name} has no default: give --param {name}=VALUE"))?;
        values.insert(name.to_string(), first.clone());
    }
    Ok(values)
}
