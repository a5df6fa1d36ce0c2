//! Credentials that the daemon gets itself, renews and keeps: OAuth 2.0 tokens, signed assertions, sessions.
//!
//! ```text
//! Fetcher ──current(refused)──▶ Provider ──one renewal for all who wait──▶ Recipe ──▶ Endpoint ──▶ token server
//!                                                                            │
//!                                                     refresh tokens: Store (sealed, durable before use)
//! ```
//! **Origins:** a token endpoint gets the client's credentials and nobody else does; it is never followed elsewhere. The
//! API gets the access token alone. **Limits:** a token request to the API's own origin takes its turn in the API's rate, but
//! no slot: the request that waits for the token has one. Those to other origins are not counted.

mod carry;
mod endpoint;
mod error;
pub mod fixed;
mod jwt;
pub mod login;
mod oauth2;
mod party;
mod provider;
mod recipe;
mod registry;
mod session;
mod store;
mod token;

#[cfg(test)]
mod tests;

pub use error::AuthError;
pub use party::Party;
pub use provider::Provider;
pub use registry::{Place, Registry};
