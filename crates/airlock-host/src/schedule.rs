//! Times at which something is done, in the form of cron.

use airlock_core::{Error, ErrorKind, Result};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// Characters that a schedule may have.
const SCHEDULE: usize = 256;

/// Reads a schedule: minute, hour, day, month and day of the week, or the same with seconds before them.
///
/// # Errors
/// [`ErrorKind::InvalidSetting`].
pub(crate) fn read(schedule: &str) -> Result<Cron> {
    let invalid = |reason: String| {
        let name = format!("schedule = {}", airlock_core::visible(schedule, false));
        Error::new(ErrorKind::InvalidSetting { name, reason })
    };
    if schedule.len() > SCHEDULE {
        return Err(invalid(format!("it is longer than {SCHEDULE} bytes")));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(schedule).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::read;

    fn next(schedule: &str, after: &str) -> String {
        let after: Timestamp = after.parse().expect("a time");
        let cron = read(schedule).expect("a schedule");
        let next = cron.find_next_occurrence(&after.to_zoned(TimeZone::UTC), false);
        next.expect("it comes").timestamp().to_string()
    }

    #[test]
    fn schedules_have_five_fields_or_six_and_are_in_utc() {
        assert_eq!(next("0 0 * * *", "2026-01-31T10:00:00Z"), "2026-02-01T00:00:00Z");
        assert_eq!(next("*/15 * * * *", "2026-01-31T10:15:00Z"), "2026-01-31T10:30:00Z");
        assert_eq!(next("* * * * * *", "2026-01-31T10:15:07Z"), "2026-01-31T10:15:08Z");
        // Monday.
        assert_eq!(next("30 6 * * 1", "2026-01-31T10:15:00Z"), "2026-02-02T06:30:00Z");
        for bad in ["", "x", "* * *", "61 * * * *", "* * * * * * *", &"* ".repeat(200)] {
            assert_eq!(read(bad).expect_err(bad).code(), "invalid-setting");
        }
    }
}
