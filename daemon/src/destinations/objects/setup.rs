//! Makes the connections to Google Cloud Storage and Azure Blob Storage from their settings.

use super::{Objects, Store};
use crate::base::budget::ByteBudget;
use crate::base::error::Chain;
use crate::base::secret::Resolve;
use crate::config::settings::{
    AzureCredentials, AzureDestination, Destination, GcsCredentials, GcsDestination, Tls, Transfer,
};
use crate::destinations::pace::Pace;
use crate::destinations::{DestinationError, web};
use crate::net::mask::Mask;
use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use object_store::gcp::GoogleCloudStorageBuilder;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};

impl Objects {
    /// A bucket of Google Cloud Storage; asks nobody yet.
    pub fn gcs(settings: &GcsDestination, secrets: &dyn Resolve) -> Result<Self, DestinationError> {
        let mut mask = Mask::default();
        let wrong = |message: String| DestinationError::Setup { key: "gcs", message };
        let http = web::client(&Tls::default(), is_https(settings.endpoint.as_deref()))?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&settings.bucket)
            .with_retry(web::few_retries())
            .with_http_connector(web::Connector(http));
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        if let GcsCredentials::ServiceAccount(account) = &settings.credentials {
            let account = secrets.resolve(&account.0).map_err(wrong)?;
            // The parser's own words would repeat parts of the key.
            let document: serde_json::Value = serde_json::from_str(account.expose())
                .map_err(|_| wrong("credentials.service_account is no JSON document".to_owned()))?;
            for field in ["private_key", "private_key_id"] {
                mask.add(document.get(field).and_then(serde_json::Value::as_str).unwrap_or_default());
            }
            builder = builder.with_service_account_key(account.expose());
        }
        let store = builder.build().map_err(|error| wrong(mask.clean(&Chain(&error).to_string(), 300)))?;
        let made = Destination::Gcs(settings.clone());
        Ok(Self::of(Arc::new(store), made, (&settings.prefix, &settings.transfer), (true, mask)))
    }

    /// A container of Azure Blob Storage; asks nobody yet.
    pub fn azure(settings: &AzureDestination, secrets: &dyn Resolve) -> Result<Self, DestinationError> {
        let mut mask = Mask::default();
        let wrong = |message: String| DestinationError::Setup { key: "azure", message };
        let http = web::client(&Tls::default(), is_https(settings.endpoint.as_deref()))?;
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&settings.account)
            .with_container_name(&settings.container)
            .with_endpoint(settings.url())
            .with_allow_http(true)
            .with_retry(web::few_retries())
            .with_http_connector(web::Connector(http));
        builder = match &settings.credentials {
            AzureCredentials::Key(key) => {
                let key = secrets.resolve(&key.0).map_err(wrong)?;
                mask.add(key.expose());
                builder.with_access_key(key.expose())
            }
            AzureCredentials::Sas(sas) => {
                let sas = secrets.resolve(&sas.0).map_err(wrong)?;
                mask.add(sas.expose());
                let pairs = split_sas(sas.expose()).map_err(|_| wrong("credentials.sas is no query".to_owned()))?;
                pairs.iter().filter(|(name, _)| name == "sig").for_each(|(_, signature)| mask.add(signature));
                builder.with_sas_authorization(pairs)
            }
            AzureCredentials::Instance {} => builder.with_credential_type("managed_identity"),
        };
        let store = builder.build().map_err(|error| wrong(mask.clean(&Chain(&error).to_string(), 300)))?;
        let signs = !matches!(settings.credentials, AzureCredentials::Sas(_));
        let made = Destination::Azure(settings.clone());
        Ok(Self::of(Arc::new(store), made, (&settings.prefix, &settings.transfer), (signs, mask)))
    }

    fn of(
        store: Arc<dyn Store>,
        settings: Destination,
        (prefix, transfer): (&str, &Transfer),
        (signs, mask): (bool, Mask),
    ) -> Self {
        Self {
            store,
            settings,
            prefix: prefix.to_owned(),
            transfer: transfer.clone(),
            signs,
            mask: Arc::new(mask),
            pace: Pace::new(transfer.per_second.map(|rate| rate.0)),
            creates: OnceCell::new(),
            in_flight: ByteBudget::new(transfer.in_flight.0),
            connections: Semaphore::new(transfer.connections.max(1) as usize),
        }
    }
}

fn is_https(endpoint: Option<&str>) -> bool {
    endpoint.is_none_or(|endpoint| endpoint.starts_with("https://"))
}
