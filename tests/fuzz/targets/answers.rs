//! See [`saas_export_fuzz::answers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| saas_export_fuzz::answers(data));
