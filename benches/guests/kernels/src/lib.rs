//! The kernels as functions of a guest, on inputs that it makes itself, so that a call of one is
//! its work and nothing else.

mod kernels;

use std::sync::LazyLock;

use kernels::Inputs;

static INPUTS: LazyLock<Inputs> = LazyLock::new(Inputs::new);

macro_rules! exports {
    ($($kernel:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $kernel() -> u64 {
            kernels::$kernel(&INPUTS)
        }
    )*};
}

exports!(fnv sha256 json matrix words reverse);
