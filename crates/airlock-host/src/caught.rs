//! Panics of code that is not ours, caught.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// What a future gives that is made and polled here, or what it said when it panicked, which the
/// application's own hook has told as well.
///
/// Whoever calls this has nothing that the future could leave half changed.
pub(crate) async fn caught<'a, T>(
    make: impl FnOnce() -> Pin<Box<dyn Future<Output = T> + Send + 'a>>,
) -> Result<T, String> {
    let mut future = catch_unwind(AssertUnwindSafe(make)).map_err(|panic| said(&*panic))?;
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(given)) => Poll::Ready(Ok(given)),
        Err(panic) => Poll::Ready(Err(said(&*panic))),
    })
    .await
}

/// What a panic said, where that is a text.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text").to_owned()
}
