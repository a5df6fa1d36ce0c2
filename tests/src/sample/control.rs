//! The control endpoints below `/_control`: faults, the oracle, and a fresh start.

use super::faults::Fault;
use super::server::State;
use http::Method;

/// Answers a control request: status and JSON.
pub fn answer(state: &State, method: &Method, path: &str, body: &[u8]) -> (u16, String) {
    match (method.as_str(), path) {
        ("GET", "/_control/truth") => {
            let data = state.data();
            let truth = state.truth().clone();
            (200, truth.to_json(&data).to_string())
        }
        ("POST", "/_control/faults") => match serde_json::from_slice::<Vec<Fault>>(body) {
            Ok(faults) => {
                let count = faults.len();
                state.rules().set(faults);
                (200, serde_json::json!({ "faults": count }).to_string())
            }
            Err(error) => (422, serde_json::json!({ "error": error.to_string() }).to_string()),
        },
        ("POST", "/_control/reset") => {
            state.reset();
            (200, "{}".into())
        }
        _ => (404, r#"{"error":"no such control endpoint"}"#.into()),
    }
}
