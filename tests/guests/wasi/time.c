/* Clocks, and waiting for them and for descriptors. */

#include "suite.h"

enum { MILLISECOND = 1000000 };

void clocks(struct suite *suite)
{
    uint64_t resolution = 0, now = 0, before = 0, backwards = 0;
    is_errno(suite, "resolution of the wall clock",
             __wasi_clock_res_get(__WASI_CLOCKID_REALTIME, &resolution), 0);
    is_number(suite, "is none of zero", resolution == 0, 0);
    is_errno(suite, "resolution of the monotonic clock",
             __wasi_clock_res_get(__WASI_CLOCKID_MONOTONIC, &resolution), 0);
    is_number(suite, "is none of zero either", resolution == 0, 0);
    is_errno(suite, "the wall clock", __wasi_clock_time_get(__WASI_CLOCKID_REALTIME, 1, &now), 0);
    is_number(suite, "is past 2019", now > UINT64_C(1577000000) * 1000 * MILLISECOND, 1);
    is_errno(suite, "the monotonic clock",
             __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &before), 0);
    for (int i = 0; i < 1000; i++) {
        backwards += __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &now) != 0 || now < before;
        before = now;
    }
    is_number(suite, "the monotonic clock never goes back", backwards, 0);
    /* The documents name no errno; wasmtime-wasi, and Airlock with it, says EBADF. */
    is_errno(suite, "the clock of the process is EBADF",
             __wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 0, &now), EBADF);
}

static __wasi_subscription_t sleep_for(uint64_t name, uint64_t time)
{
    __wasi_subscription_t subscription = {.userdata = name, .u.tag = __WASI_EVENTTYPE_CLOCK};
    subscription.u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
    subscription.u.u.clock.timeout = time;
    return subscription;
}

static __wasi_subscription_t wait_for(uint64_t name, uint8_t type, fd file)
{
    __wasi_subscription_t subscription = {.userdata = name, .u.tag = type};
    subscription.u.u.fd_read.file_descriptor = file;
    return subscription;
}

static void sleeping(struct suite *suite)
{
    __wasi_subscription_t waits[2] = {sleep_for(1,
                                                60000ull * MILLISECOND), sleep_for(2, 5 * MILLISECOND)};
    __wasi_event_t events[2];
    uint64_t before = 0, after = 0;
    size_t count = 99;

    is_errno(suite, "the time before", __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &before), 0);
    is_errno(suite, "wait for two clocks", __wasi_poll_oneoff(waits, events, 2, &count), 0);
    is_errno(suite, "the time after", __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &after), 0);
    is_number(suite, "one of two is over", count, 1);
    is_number(suite, "it is the earlier one", events[0].userdata, 2);
    is_number(suite, "it went well", events[0].error, 0);
    is_number(suite, "it is a clock's", events[0].type, __WASI_EVENTTYPE_CLOCK);
    is_number(suite, "that long has passed", after - before >= 5 * MILLISECOND, 1);

    waits[0] = sleep_for(3, before);
    waits[0].u.u.clock.flags = __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
    is_errno(suite, "wait for a time that is past", __wasi_poll_oneoff(waits, events, 1, &count), 0);
    is_number(suite, "it is over", count, 1);
    waits[0] = sleep_for(4, 0);
    is_errno(suite, "wait for no time", __wasi_poll_oneoff(waits, events, 1, &count), 0);
    is_number(suite, "it is over as well", count, 1);
    is_errno(suite, "wait for nothing is EINVAL", __wasi_poll_oneoff(waits, events, 0, &count), EINVAL);
}

/* One wait for a descriptor beside a long sleep: what comes of it, as an errno. */
static void waits_for(struct suite *suite, const char *name, uint8_t type, fd file, err want)
{
    __wasi_subscription_t waits[2] = {sleep_for(1, 60000ull * MILLISECOND), wait_for(2, type, file)};
    __wasi_event_t events[2] = {0};
    size_t count = 0;
    err error = __wasi_poll_oneoff(waits, events, 2, &count);
    /* A descriptor that cannot be waited for is told by the call or by its event. */
    if (error == 0)
        error = count == 1 && events[0].userdata == 2 && events[0].type == type ? events[0].error : ENOMSG;
    is_errno(suite, name, error, want);
}

void polling(struct suite *suite)
{
    fd file;
    sleeping(suite);
    make_file(suite, "file", "content");
    is_errno(suite, "open a file", open_path(suite, "file", 0, READ | WRITE, &file), 0);
    waits_for(suite, "standard input can be read", __WASI_EVENTTYPE_FD_READ, 0, 0);
    waits_for(suite, "standard output can be written", __WASI_EVENTTYPE_FD_WRITE, 1, 0);
    waits_for(suite, "standard error can be written", __WASI_EVENTTYPE_FD_WRITE, 2, 0);
    waits_for(suite, "a file can be read", __WASI_EVENTTYPE_FD_READ, file, 0);
    waits_for(suite, "a file can be written", __WASI_EVENTTYPE_FD_WRITE, file, 0);
    waits_for(suite, "standard input cannot be written", __WASI_EVENTTYPE_FD_WRITE, 0, EBADF);
    waits_for(suite, "standard output cannot be read", __WASI_EVENTTYPE_FD_READ, 1, EBADF);
    waits_for(suite, "a folder cannot be read", __WASI_EVENTTYPE_FD_READ, suite->root, EBADF);
    waits_for(suite, "no descriptor is EBADF", __WASI_EVENTTYPE_FD_READ, NO_FD, EBADF);
}
