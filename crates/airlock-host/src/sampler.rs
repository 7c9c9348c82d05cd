//! Looking at a guest's stack while it runs.
//!
//! Samples are taken in the epoch callback: wherever code looks whether its time is up, which is
//! where functions begin and where loops do. So a sample is of the first such place after a tick,
//! and not of the instruction that ran at it. What has no such place within, as a copy of much
//! memory or a call of the host's, is seen at the next one; how often that was so late that ticks
//! went by is counted ([`Samples::ticks`]).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use airlock_core::Result;
use airlock_engine::{Lines, MAX_SAMPLED_FRAMES, Pulse};
use wasmtime::{AsContext, Engine, WasmBacktrace};

use crate::frames;

/// Samples that are kept.
const MAX_SAMPLES: usize = 1 << 20;

/// Frames of different stacks that are kept.
const MAX_FRAMES: usize = 1 << 22;

/// How often the stack of a plugin is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    interval: Duration,
}

impl Sampler {
    /// The shortest interval: a hundred microseconds.
    pub const SHORTEST: Duration = Duration::from_micros(100);

    /// Once in each interval, which is made [`Sampler::SHORTEST`] where it is shorter.
    pub fn every(interval: Duration) -> Self {
        Sampler { interval: interval.max(Sampler::SHORTEST) }
    }

    /// The interval.
    pub fn interval(self) -> Duration {
        self.interval
    }
}

/// What was seen of a plugin's calls, in whatever phase they were.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Samples {
    /// How often stacks were to be looked at.
    pub interval: Duration,
    /// How often that came in the time that is told of, whether a guest ran or not.
    pub ticks: u64,
    /// Functions that were seen.
    pub functions: Vec<SampledFunction>,
    /// Lines that were seen, when the module carries DWARF: the file, as whoever compiled it named it,
    /// and the line, counted from 1.
    pub lines: Vec<(String, u32)>,
    /// Stacks that were seen, each once.
    pub stacks: Vec<SampledStack>,
    /// Each time that somebody looked, in order.
    pub samples: Vec<Sample>,
    /// How many more there were than are kept.
    pub lost: u64,
}

/// A function of the guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampledFunction {
    /// Its demangled name, or its index when it has none. The guest's words, and no longer than can
    /// be read.
    pub name: String,
}

/// A stack, outermost frame first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampledStack {
    /// Its frames.
    pub frames: Vec<SampledFrame>,
    /// Whether it was deeper: outer frames are missing then.
    pub is_cut: bool,
}

/// A place in a function that had not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SampledFrame {
    /// Which of the functions.
    pub function: usize,
    /// Which of the lines it is at. That is in another function's source where that was inlined.
    pub line: Option<usize>,
}

/// One look.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Sample {
    /// When, from when the sampler was last asked.
    pub at: Duration,
    /// Which of the stacks.
    pub stack: usize,
}

/// A sampler at work.
pub(crate) struct Sampling {
    sampler: Sampler,
    pulse: Pulse,
    seen: Mutex<Seen>,
}

/// What was seen, as it can be written down in a moment.
struct Seen {
    since: Instant,
    first_tick: u64,
    /// That of the last sample.
    last_tick: u64,
    /// By where their code begins in the artifact.
    functions: HashMap<usize, usize>,
    names: Vec<String>,
    stacks: HashMap<Box<[Spot]>, usize>,
    /// In the order in which they were first seen, with whether each was cut.
    cut: Vec<bool>,
    frames: usize,
    samples: Vec<Sample>,
    lost: u64,
}

/// A function, and a place in the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Spot {
    function: usize,
    offset: usize,
}

impl Seen {
    fn from(tick: u64) -> Self {
        Seen {
            since: Instant::now(),
            first_tick: tick,
            last_tick: tick,
            functions: HashMap::new(),
            names: Vec::new(),
            stacks: HashMap::new(),
            cut: Vec::new(),
            frames: 0,
            samples: Vec::new(),
            lost: 0,
        }
    }
}

impl Sampling {
    /// Has calls in `engine` looked at from now on.
    pub(crate) fn start(sampler: Sampler, engine: &Engine) -> Result<Self> {
        let pulse = Pulse::start(engine, sampler.interval)?;
        Ok(Sampling { sampler, pulse, seen: Mutex::new(Seen::from(0)) })
    }

    /// Looks at the stack of the guest that is at a tick.
    pub(crate) fn look(&self, store: impl AsContext) {
        // The epoch advances at everybody's ticks too.
        let tick = self.pulse.ticks();
        let mut seen = self.seen();
        if tick == seen.last_tick {
            return;
        }
        let backtrace = WasmBacktrace::force_capture(store);
        let frames = backtrace.frames();
        if frames.is_empty() {
            return;
        }
        seen.last_tick = tick;
        if seen.samples.len() >= MAX_SAMPLES || seen.frames + frames.len() > MAX_FRAMES {
            seen.lost += 1;
            return;
        }
        let mut stack = Vec::with_capacity(frames.len());
        for frame in frames {
            let Some((offset, within)) = frame.module_offset().zip(frame.func_offset()) else { continue };
            let start = offset - within;
            let next = seen.names.len();
            let function = *seen.functions.entry(start).or_insert(next);
            if function == next {
                seen.names.push(frames::function(frame));
            }
            stack.push(Spot { function, offset });
        }
        let next = seen.stacks.len();
        let stack = *seen.stacks.entry(stack.into()).or_insert(next);
        if stack == next {
            seen.cut.push(frames.len() >= MAX_SAMPLED_FRAMES);
            seen.frames += frames.len();
        }
        let at = seen.since.elapsed();
        seen.samples.push(Sample { at, stack });
    }

    /// What was seen since this was last asked.
    pub(crate) fn take(&self, lines: &Lines) -> Samples {
        let tick = self.pulse.ticks();
        let seen = std::mem::replace(&mut *self.seen(), Seen::from(tick));
        let functions = seen.names.into_iter().map(|name| SampledFunction { name });
        let mut known = Known::default();
        let mut stacks: Vec<(usize, SampledStack)> = Vec::with_capacity(seen.cut.len());
        for (spots, index) in seen.stacks {
            let frames = spots
                .iter()
                .rev()
                .map(|spot| SampledFrame { function: spot.function, line: known.line(lines, spot.offset) });
            stacks.push((index, SampledStack { frames: frames.collect(), is_cut: seen.cut[index] }));
        }
        stacks.sort_unstable_by_key(|(index, _)| *index);
        Samples {
            interval: self.sampler.interval,
            ticks: tick - seen.first_tick,
            functions: functions.collect(),
            lines: known.lines,
            stacks: stacks.into_iter().map(|(_, stack)| stack).collect(),
            samples: seen.samples,
            lost: seen.lost,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What is in it is whole between any two samples.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that were met, each once.
#[derive(Default)]
struct Known<'a> {
    of: HashMap<(&'a str, u32), usize>,
    lines: Vec<(String, u32)>,
}

impl<'a> Known<'a> {
    fn line(&mut self, lines: &'a Lines, offset: usize) -> Option<usize> {
        let place = lines.find(offset)?;
        let next = self.lines.len();
        let line = *self.of.entry((place.file, place.line)).or_insert(next);
        if line == next {
            self.lines.push((place.file.to_owned(), place.line));
        }
        Some(line)
    }
}
