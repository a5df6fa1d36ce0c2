//! The parameters of a request against those that its export declares.

use crate::base::ids::Name;
use crate::config::settings::Param;
use crate::config::validate::fits;
use crate::queue::handle::Refusal;
use std::collections::BTreeMap;

/// Names and values of parameters.
pub type Params = Vec<(String, String)>;

/// Refuses parameters that are not declared, that have another value than they may, or that are missing.
pub fn check_params(declared: &BTreeMap<Name, Param>, given: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, value) in given {
        let Some(param) = declared.get(name.as_str()) else {
            let names: Vec<_> = declared.keys().map(Name::as_str).collect();
            let known = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
            return Err(Refusal::Invalid(format!("the export has no parameter {name:?}: {known}")));
        };
        check_value(name, param, value)?;
    }
    let missing = declared.iter().find(|(name, param)| param.default.is_none() && !given.contains_key(name.as_str()));
    match missing {
        Some((name, _)) => Err(Refusal::Invalid(format!("parameter {name} has no default: give --param {name}=VALUE"))),
        None => Ok(()),
    }
}

/// Refuses a value that a parameter may not have.
pub fn check_value(name: &str, param: &Param, value: &str) -> Result<(), Refusal> {
    fits(param.kind, value).map_err(|why| Refusal::Invalid(format!("parameter {name}: {why}")))?;
    match &param.one_of {
        Some(allowed) if !allowed.iter().any(|word| word == value) => {
            Err(Refusal::Invalid(format!("parameter {name}: use one of {}", allowed.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The parameters that a task stores, and those that make it what it is, both in order of name. A value that is the
/// default is not stored: asked for or not, the data are the same, and only a task without parameters moves the mark.
pub fn settle_params(declared: &BTreeMap<Name, Param>, given: &BTreeMap<String, String>) -> (Params, Params) {
    let default = |name: &str| declared.get(name).and_then(|param| param.default.as_ref());
    let own = given.iter().filter(|(name, value)| default(name) != Some(value));
    let own: Params = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let all = with_defaults(declared, &own).into_iter().collect();
    (own, all)
}

/// The parameters of a task, with the defaults of those that it does not give.
pub fn with_defaults(declared: &BTreeMap<Name, Param>, given: &[(String, String)]) -> BTreeMap<String, String> {
    let defaults = declared.iter().filter_map(|(name, param)| Some((name.to_string(), param.default.clone()?)));
    defaults.chain(given.iter().cloned()).collect()
}
