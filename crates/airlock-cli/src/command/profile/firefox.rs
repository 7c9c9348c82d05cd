//! Samples for the Firefox Profiler, in its "processed profile" format.

use std::time::SystemTime;

use airlock_host::{Error, Samples};
use fxprof_processed_profile::{
    CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, Profile, SamplingInterval, Timestamp,
};

use super::figures::{name, place};

/// The profile, as JSON: one thread, whose frames are named after functions and places.
///
/// # Errors
/// Where it cannot be written as JSON, which would be a bug here.
pub(super) fn profile(title: &str, samples: &Samples) -> Result<Vec<u8>, Error> {
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let interval = SamplingInterval::from_nanos(nanoseconds(samples.interval));
    let mut profile = Profile::new("airlock", SystemTime::now().into(), interval);
    let start = Timestamp::from_nanos_since_reference(0);
    let process = profile.add_process(title, 1, start);
    let thread = profile.add_thread(process, 1, start, true);
    profile.set_thread_name(thread, title);
    let mut stacks = Vec::with_capacity(samples.stacks.len());
    for stack in &samples.stacks {
        let mut labels: Vec<String> = Vec::with_capacity(stack.frames.len() + 1);
        labels.extend(stack.is_cut.then(|| name(samples, None)));
        labels.extend(stack.frames.iter().map(|frame| {
            let function = name(samples, Some(frame.function));
            match place(samples, frame.line) {
                Some(place) => format!("{function} ({place})"),
                None => function,
            }
        }));
        let frames: Vec<FrameInfo> = labels
            .iter()
            .map(|label| FrameInfo {
                frame: Frame::Label(profile.intern_string(label)),
                category_pair: CategoryHandle::OTHER.into(),
                flags: FrameFlags::empty(),
            })
            .collect();
        stacks.push(profile.intern_stack_frames(thread, frames.into_iter()));
    }
    for sample in &samples.samples {
        let at = Timestamp::from_nanos_since_reference(nanoseconds(sample.at));
        let delta = CpuDelta::from_nanos(nanoseconds(samples.interval));
        profile.add_sample(thread, at, stacks[sample.stack], delta, 1);
    }
    serde_json::to_vec(&profile).map_err(|error| Error::host("cannot write the profile").with_source(error))
}
