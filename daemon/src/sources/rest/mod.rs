//! A REST API that answers JSON, as a source: the configured streams, compiled once, and the pages of their lanes.

mod answers;
mod auth;
mod body;
mod checksum;
mod error;
mod first;
mod include;
mod incremental;
mod lane;
mod link;
mod pages;
mod paginate;
mod peek;
mod request;
mod run;
mod spec;
mod split;
mod template;
mod window;
mod windows;

#[cfg(test)]
pub(super) mod tests;

pub use error::RestError;
pub use first::{First, Trouble};
pub use lane::RestPages;
pub use spec::fingerprint;

use crate::auth::{Party, Registry};
use crate::base::ids::Name;
use crate::base::pool::Pool;
use crate::base::reserve::Reserve;
use crate::base::retry::RetryPolicy;
use crate::base::secret::Resolve;
use crate::config::settings::Rest;
use crate::config::units::Size;
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::net::credential::CredentialProvider;
use crate::net::error::SetupError;
use crate::net::fetch::Fetcher;
use crate::net::http::{self, ClientSettings};
use crate::net::limit::Limiter;
use crate::net::mask::Mask;
use crate::net::origin::{Origin, OriginRule};
use crate::net::retry::RetryBudget;
use crate::net::stats::SourceStats;
use crate::sources::{Cut, Parent};
use answers::Rules;
use auth::Shared;
use spec::StreamSpec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::Url;

/// A configured REST API, for one task: the compiled streams are shared, parameters, retry budget and figures are its own.
#[derive(Clone, Debug)]
pub struct RestSource {
    api: Arc<Api>,
    params: Arc<BTreeMap<String, String>>,
    fetcher: Fetcher,
}

/// What all tasks of a source share.
#[derive(Debug)]
struct Api {
    name: Name,
    streams: BTreeMap<Name, Arc<StreamSpec>>,
    retries_per_task: u32,
}

impl RestSource {
    /// Compiles a source from its settings. Reads the files of its TLS settings; asks nothing of the network. `limiter` is
    /// the source's shared budget of requests: whoever owns it may set new rates under running tasks. `registry` has the
    /// provider of its credentials, where they change while they are used.
    pub fn new(
        name: Name,
        settings: &Rest,
        secrets: &dyn Resolve,
        limiter: Arc<Limiter>,
        registry: &Registry,
    ) -> Result<Self, RestError> {
        let setup = |cause: SetupError| RestError::Setup { source_name: name.clone(), cause };
        let bad = |key: &str, reason: &str| RestError::config(&name, key, reason);
        let base = base_url(&settings.base_url).map_err(|reason| bad("base_url", reason))?;
        let home = Origin::of(&base).ok_or_else(|| bad("base_url", "an http or https URL is needed"))?;
        let others = settings.allowed_origins.iter().map(|text| {
            Origin::parse(text).ok_or_else(|| bad("allowed_origins", "each is like https://host or https://host:port"))
        });
        let origins = OriginRule::new(home, others.collect::<Result<_, _>>()?);
        let mut mask = Mask::default();
        let provider = registry.provider(&name, &Party::from(settings), secrets, &limiter);
        let provider =
            provider.map_err(|cause| RestError::Auth { source_name: name.clone(), cause: Box::new(cause) })?;
        if let Some(provider) = &provider {
            mask.join(provider.mask());
        }
        let shared = Shared::of_source(settings, secrets, &mut mask).map_err(|at| at.error(&name))?;
        let mut streams = BTreeMap::new();
        for (stream, wanted) in &settings.streams {
            let judge = Rules::compile(&wanted.answers, &settings.answers);
            let spec = StreamSpec::compile(wanted, &base, &shared, secrets, &mut mask)
                .and_then(|spec| Ok(spec.judged_by(judge?)))
                .map_err(|at| at.below(&format!("streams.{stream}")).error(&name))?;
            streams.insert(stream.clone(), Arc::new(spec));
        }
        let client = http::client(
            &ClientSettings {
                keep_alive: &settings.keep_alive,
                proxy: settings.proxy.as_ref(),
                tls: &settings.tls,
                needs_tls: origins.needs_tls(),
            },
            secrets,
            &mut mask,
        )
        .map_err(setup)?;
        let fetcher = Fetcher {
            source: name.to_string(),
            client,
            origins: Arc::new(origins),
            credentials: provider.map(|provider| Arc::new(provider) as Arc<dyn CredentialProvider>),
            limiter,
            policy: policy(settings),
            budget: Arc::new(RetryBudget::new(settings.retry.per_task)),
            max_body: Size(settings.max_body.0),
            read_timeout: settings.keep_alive.read_timeout.0,
            answer_timeout: settings.keep_alive.answer_timeout.0,
            mask: Arc::new(mask),
            stats: Arc::default(),
            bodies: Reserve::default(),
            pool: None,
        };
        let api = Arc::new(Api { name, streams, retries_per_task: settings.retry.per_task });
        Ok(Self { api, params: Arc::default(), fetcher })
    }

    /// The source as one task sees it: its parameters for `{{ param.NAME }}`, a fresh budget of retries, figures from zero.
    #[must_use]
    pub fn for_task(&self, params: BTreeMap<String, String>) -> Self {
        let mut fetcher = self.fetcher.clone();
        fetcher.budget = Arc::new(RetryBudget::new(self.api.retries_per_task));
        fetcher.stats = Arc::default();
        Self { api: self.api.clone(), params: Arc::new(params), fetcher }
    }

    /// The same, which reads large answers on the threads of `pool`.
    #[must_use]
    pub fn on(self, pool: Pool) -> Self {
        Self { fetcher: Fetcher { pool: Some(pool), ..self.fetcher }, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.api.name
    }

    /// Live figures of this task's requests.
    pub fn stats(&self) -> Arc<SourceStats> {
        self.fetcher.stats.clone()
    }

    /// What makes a stored offset of `stream` usable after a change of the configuration; 64 hex digits.
    pub fn fingerprint(&self, stream: &Name) -> Result<String, RestError> {
        self.spec(stream).map(|spec| spec.fingerprint.clone())
    }

    fn spec(&self, stream: &Name) -> Result<&Arc<StreamSpec>, RestError> {
        let unknown = || RestError::UnknownStream { source_name: self.api.name.clone(), stream: stream.clone() };
        self.api.streams.get(stream).ok_or_else(unknown)
    }

    /// The parents of a stream.
    pub fn parents(&self, stream: &Name) -> Result<Vec<Parent>, RestError> {
        Ok(self.spec(stream)?.split.parents())
    }

    /// The partitions of a stream, in order. What is asked of an incremental stream is a part of each.
    pub fn partitions(&self, stream: &Name, cut: &Cut) -> Result<Partitions, RestError> {
        let told = |at: spec::At| at.below(&format!("streams.{stream}")).error(&self.api.name);
        let spec = self.spec(stream)?;
        let parts = spec.split.partitions(cut).map_err(told)?;
        match &spec.incremental {
            Some(incremental) => parts
                .times(&incremental.values(cut).map_err(told)?)
                .map_err(|error| told(spec::At::new("partition", &error.to_string()))),
            None => Ok(parts),
        }
    }

    /// Opens a lane of a stream at `from`.
    pub fn open(
        &self,
        stream: &Name,
        partitions: Arc<Partitions>,
        lane: LaneId,
        from: Offset,
    ) -> Result<RestPages, RestError> {
        let reader = pages::Reader {
            source: self.api.name.clone(),
            stream: stream.clone(),
            spec: self.spec(stream)?.clone(),
            params: self.params.clone(),
            // What a lane has read into goes with it.
            fetcher: Fetcher { bodies: Reserve::default(), ..self.fetcher.clone() },
            misled: AtomicBool::new(false),
            plan: OnceLock::new(),
            rows: AtomicUsize::new(0),
        };
        RestPages::open(Arc::new(reader), partitions, lane, from)
    }
}

fn policy(settings: &Rest) -> RetryPolicy {
    let at_least = |wait: Duration| wait.max(Duration::from_millis(1));
    RetryPolicy {
        attempts: settings.retry.attempts.max(1),
        initial: at_least(settings.retry.initial.0),
        max: at_least(settings.retry.max.0),
    }
}

/// `base_url` must be plain: what it leaves out cannot be lost when a path is appended.
fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "an absolute URL is needed")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user name or password may be in it: use `auth`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("no query or fragment may be in it: use `query`");
    }
    Ok(url)
}
