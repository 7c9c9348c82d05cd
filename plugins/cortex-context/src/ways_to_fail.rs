//! Everything that can go wrong in a capability.

use std::collections::BTreeMap;

use airlock_sdk::register_capability;

register_capability!("fail", fail);
register_capability!("panic", panic);
register_capability!("panic-at", panic_at);
register_capability!("no-json", no_json);

fn fail(message: String) -> Result<u32, String> {
    Err(message)
}

fn panic(message: String) {
    panic!("{message}");
}

/// Panics for every place but 0, 1 and 2.
fn panic_at(place: usize) -> u32 {
    let numbers = vec![1, 2, 3];
    numbers[place]
}

/// Keys of an object are texts.
fn no_json((): ()) -> BTreeMap<(u32, u32), u32> {
    [((1, 2), 3)].into()
}
