//! See [`saas_export_fuzz::auth_env`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saas_export_fuzz::auth_env(data));
