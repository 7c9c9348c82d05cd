//! The work that is compared: the rows of the table.

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// A new instance, one call with 64 bytes in and the same out.
    FreshBytes,
    /// A new instance, one call with two numbers in and one out.
    FreshNumbers,
    /// A call of an instance that lives on, with so many bytes in and the same out.
    WarmBytes(u32),
    /// The same with 1 MiB, by a guest that hands its input back where it lies.
    WarmInPlace,
    /// A call of an instance that lives on, with two numbers in and one out.
    WarmNumbers,
    /// Bytes of a plugin to something that can be instantiated, compiled anew.
    Load,
    /// The same, of a plugin that the peer has in its cache.
    CachedLoad,
    /// [`Work::FreshBytes`] on so many threads at once.
    FreshBytesRate(u32),
    /// [`Work::FreshNumbers`] on so many threads at once.
    FreshNumbersRate(u32),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Processor time of the whole process for one call.
    CpuTime,
    /// Calls in a second of wall time.
    PerSecond,
}

const ROWS: [(Work, &str, &str); 13] = [
    (Work::FreshBytes, "fresh-bytes", "fresh instance, 64 B in and out"),
    (Work::FreshNumbers, "fresh-numbers", "fresh instance, two numbers in, one out"),
    (Work::WarmBytes(64), "warm-64", "warm call, 64 B in and out"),
    (Work::WarmBytes(1 << 10), "warm-1k", "warm call, 1 KiB in and out"),
    (Work::WarmBytes(1 << 20), "warm-1m", "warm call, 1 MiB in and out"),
    (Work::WarmInPlace, "warm-1m-in-place", "warm call, 1 MiB, guest copies nothing"),
    (Work::WarmNumbers, "warm-numbers", "warm call, two numbers in, one out"),
    (Work::Load, "load", "load of 300 functions, compiled"),
    (Work::CachedLoad, "cached-load", "load of 300 functions, from its cache"),
    (Work::FreshBytesRate(1), "rate-bytes-1", "fresh calls, 64 B, one thread"),
    (Work::FreshBytesRate(2), "rate-bytes-2", "fresh calls, 64 B, two threads"),
    (Work::FreshNumbersRate(1), "rate-numbers-1", "fresh calls, numbers, one thread"),
    (Work::FreshNumbersRate(2), "rate-numbers-2", "fresh calls, numbers, two threads"),
];

impl Work {
    /// Every kind, in the table's order.
    pub fn all() -> impl Iterator<Item = Work> {
        ROWS.iter().map(|row| row.0)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Work> {
        ROWS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    fn row(self) -> &'static (Work, &'static str, &'static str) {
        ROWS.iter().find(|row| row.0 == self).expect("only rows of the table are asked for")
    }

    /// Its name between the processes and on the command line.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Its name in the table.
    pub fn about(self) -> &'static str {
        self.row().2
    }

    /// What is measured.
    pub fn unit(self) -> Unit {
        match self {
            Work::FreshBytesRate(_) | Work::FreshNumbersRate(_) => Unit::PerSecond,
            _ => Unit::CpuTime,
        }
    }
}
