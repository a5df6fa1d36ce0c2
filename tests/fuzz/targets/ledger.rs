//! See [`saas_export_fuzz::ledger`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saas_export_fuzz::ledger(data));
