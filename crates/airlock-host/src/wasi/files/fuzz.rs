//! Paths that a guest makes up, from a folder of which not everything was granted.

use std::collections::BTreeMap;
use std::time::Duration;

use airlock_core::Capability;

use super::Target;
use super::roots::{Named, Rest, Root};

const HANDLE: u32 = 9;
const HERE: u32 = 3;

fn root(rest: Rest) -> Root {
    let capability: Capability = "fs.read=/a".parse().expect("a capability");
    let named = Named::opened("real".to_owned(), capability.clone(), 0);
    Root::of("/a".to_owned(), rest, BTreeMap::from([("seen".to_owned(), named)]), capability)
}

fn whole(path: &str) -> Target {
    Target {
        fd: HERE,
        path: path.to_owned(),
        follow: true,
        no_folder: false,
        root: Some(0),
        is_root: true,
        name: None,
    }
}

/// Whether a path names something in its folder, and neither the folder nor anything below.
fn is_plain_name(path: &str) -> bool {
    !path.is_empty() && !path.contains('/') && path != "." && path != ".."
}

#[test]
fn a_path_leads_to_what_was_granted_or_nowhere() {
    let (none, files, all) = (root(Rest::None), root(Rest::Files(true)), root(Rest::All(false)));
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            // Mostly of what paths are made of: few bytes of noise are a path otherwise.
            let parts = ["seen", "/", ".", "..", "other", "./", "../", "//", "", "real"];
            let made: String = bytes.iter().map(|byte| parts[usize::from(*byte) % parts.len()]).collect();
            for path in [made.as_str(), &String::from_utf8_lossy(bytes)] {
                judge(&none, path, |target| target.is_named());
                judge(&files, path, |target| target.is_named() || target.no_folder);
                judge(&all, path, |target| target.is_named() || target.path == path);
            }
        },
    );
}

/// Where something is found it is the folder itself, or what `may_be` says.
fn judge(root: &Root, path: &str, may_be: impl Fn(&Target) -> bool) {
    let Ok(target) = root.resolve(path, whole(path), None, &[HANDLE]) else { return };
    if target.is_root {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        assert!(parts.count() == 0 && !path.starts_with('/') && target.fd == HERE, "{path:?}: {target:?}");
        return;
    }
    assert!(may_be(&target), "{path:?}: {target:?}");
    if target.is_named() {
        assert_eq!((target.fd, target.path.as_str()), (HANDLE, "real"), "{path:?}");
    } else {
        assert_eq!(target.fd, HERE, "{path:?}: {target:?}");
    }
    if target.no_folder {
        assert!(is_plain_name(&target.path) && !target.follow, "{path:?}: {target:?}");
    }
}
