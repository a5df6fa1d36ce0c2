//! The inputs that the fuzz targets keep, once more: no promise is broken by them.

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

fn each(target: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("an entry").path();
        // A failure is preceded by what was read last.
        eprintln!("{}", path.display());
        check(&std::fs::read(&path).expect("its bytes"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", dir.display());
}

macro_rules! corpus {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            each(stringify!($target), fuzz::$target);
        }
    )*};
}

corpus! { config auth_env records answers paging control manifest ledger }
