//! Makes the connection to a bucket from its settings: who asks, over which client, where to.

use super::api::Traits;
use super::client::Client;
use super::{S3, plan};
use crate::base::budget::ByteBudget;
use crate::base::error::Chain;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::{S3Credentials, S3Destination, S3Encryption, S3Key};
use crate::config::units::SecretText;
use crate::destinations::DestinationError;
use crate::destinations::pace::Pace;
use crate::destinations::web;
use crate::net::mask::Mask;
use object_store::aws::AmazonS3Builder;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};
use url::Url;

impl S3 {
    /// The destination of these settings; asks nobody yet.
    pub fn new(settings: &S3Destination, secrets: &dyn Resolve) -> Result<Self, DestinationError> {
        let mut mask = Mask::default();
        let bucket = bucket_url(settings)?;
        let http = web::client(&settings.tls, bucket.scheme() == "https")?;
        let signer = credentials(builder(settings, &bucket, &http), settings, secrets, &mut mask)?;
        let signer = signer.build().map_err(|error| setup(mask.clean(&Chain(&error).to_string(), 300)))?;
        let transfer = &settings.transfer;
        let client = Client {
            http,
            bucket,
            region: settings.region.clone(),
            credentials: signer.credentials().clone(),
            pace: Arc::new(Pace::new(transfer.per_second.map(|rate| rate.0))),
            mask,
        };
        Ok(Self {
            client: Arc::new(client),
            signer,
            traits: traits(settings),
            abilities: OnceCell::new(),
            in_flight: ByteBudget::new(transfer.in_flight.0.max(plan::SMALLEST)),
            connections: Semaphore::new(transfer.connections.max(1) as usize),
            settings: settings.clone(),
        })
    }
}

fn setup(message: impl Into<String>) -> DestinationError {
    DestinationError::Setup { key: "s3", message: message.into() }
}

/// URL of the bucket, ending with a slash.
fn bucket_url(settings: &S3Destination) -> Result<Url, DestinationError> {
    let own = settings.endpoint.clone().unwrap_or_else(|| {
        let china = if settings.region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://s3.{}.amazonaws.com{china}", settings.region)
    });
    let mut url = Url::parse(&own).map_err(|_| setup("endpoint is no URL"))?;
    if settings.in_path() {
        url.set_path(&format!("/{}/", settings.bucket));
    } else {
        let host = format!("{}.{}", settings.bucket, url.host_str().unwrap_or_default());
        url.set_host(Some(&host)).map_err(|_| setup("the bucket cannot stand in the host of endpoint"))?;
        url.set_path("/");
    }
    Ok(url)
}

/// What signs links and gets credentials. Its requests go over the same client.
fn builder(settings: &S3Destination, bucket: &Url, http: &reqwest::Client) -> AmazonS3Builder {
    let endpoint = match settings.in_path() {
        true => bucket.as_str().trim_end_matches(&format!("/{}/", settings.bucket)).to_owned(),
        false => bucket.as_str().trim_end_matches('/').to_owned(),
    };
    AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(!settings.in_path())
        .with_retry(web::few_retries())
        .with_http_connector(web::Connector(http.clone()))
}

fn credentials(
    builder: AmazonS3Builder,
    settings: &S3Destination,
    secrets: &dyn Resolve,
    mask: &mut Mask,
) -> Result<AmazonS3Builder, DestinationError> {
    match &settings.credentials {
        S3Credentials::Static(S3Key { access_key_id, secret_access_key, session_token }) => {
            let fill = |text: &SecretText| secrets.resolve(&text.0).map_err(setup);
            let (id, key) = (fill(access_key_id)?, fill(secret_access_key)?);
            mask.add_basic(id.expose(), key.expose());
            let token: Option<Secret> = session_token.as_ref().map(fill).transpose()?;
            let builder = builder.with_access_key_id(id.expose()).with_secret_access_key(key.expose());
            Ok(match token {
                Some(token) => {
                    mask.add(token.expose());
                    builder.with_token(token.expose())
                }
                None => builder,
            })
        }
        S3Credentials::WebIdentity(identity) => {
            let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let role = identity.role_arn.clone().or_else(|| env("AWS_ROLE_ARN"));
            let file = identity.token_file.as_ref().map(|file| file.display().to_string());
            let file = file.or_else(|| env("AWS_WEB_IDENTITY_TOKEN_FILE"));
            let (Some(role), Some(file)) = (role, file) else {
                return Err(setup("web_identity needs role_arn and token_file, here or in the environment"));
            };
            use object_store::aws::AmazonS3ConfigKey as Key;
            let builder = builder.with_config(Key::RoleArn, role).with_config(Key::WebIdentityTokenFile, file);
            Ok(builder.with_config(Key::RoleSessionName, "saas-export-daemon"))
        }
        S3Credentials::Instance {} => {
            use object_store::aws::AmazonS3ConfigKey as Key;
            // A container's role comes from where its environment says.
            Ok(match std::env::var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
                Ok(uri) if !uri.is_empty() => builder.with_config(Key::ContainerCredentialsRelativeUri, uri),
                _ => builder,
            })
        }
    }
}

/// Headers of new objects.
fn traits(settings: &S3Destination) -> Traits {
    const KIND: &str = "x-amz-server-side-encryption";
    let mut headers = Vec::new();
    match &settings.encryption {
        Some(S3Encryption::SseS3 {}) => headers.push((KIND, "AES256".to_owned())),
        Some(S3Encryption::SseKms(kms)) => {
            headers.push((KIND, "aws:kms".to_owned()));
            if let Some(id) = &kms.key_id {
                headers.push(("x-amz-server-side-encryption-aws-kms-key-id", id.clone()));
            }
            if kms.bucket_key {
                headers.push(("x-amz-server-side-encryption-bucket-key-enabled", "true".to_owned()));
            }
        }
        None => {}
    }
    if let Some(class) = &settings.storage_class {
        headers.push(("x-amz-storage-class", class.clone()));
    }
    Traits { headers }
}
