//! A sample SaaS API: a seeded data set of any size behind every way of paging, with faults on request and an oracle.
//!
//! ```text
//! server ── connection ──▶ routes ──▶ auth ──▶ faults ──▶ pages ──▶ body
//!                            │                   │          │         │
//!                            └──────────────── truth (asked, served) ─┘
//! ```
//! Record i is a pure function of the seed and i, so the memory does not grow with the data set.

mod answer;
mod auth;
mod body;
mod control;
pub mod data;
pub mod faults;
pub mod issuer;
mod pages;
mod rng;
mod routes;
mod server;
pub mod table;
pub mod truth;
mod words;

pub use auth::{ACCOUNT, API_KEY, BASIC_PASSWORD, BASIC_USER, BEARER_TOKEN};
pub use data::{Data, Record, View};
pub use faults::{Fault, Kind};
pub use rng::mix;
pub use server::{Options, SampleApi};
pub use truth::Truth;
