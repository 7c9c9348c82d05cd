// Functions to be profiled, and one to fail: with names and DWARF, as few plugins have them.

#define EXPORT(name) __attribute__((export_name(name), noinline))

// How many ways there are to divide the numbers below `n`: where this plugin spends its time.
__attribute__((noinline)) static unsigned divisors(unsigned n) {
    unsigned found = 0;
    for (unsigned divisor = 2; divisor * divisor <= n; divisor++) {
        if (n % divisor == 0) {
            found++;
        }
    }
    return found;
}

// How many prime numbers there are below `limit`.
EXPORT("count") unsigned count(unsigned limit) {
    unsigned primes = 0;
    for (unsigned n = 2; n < limit; n++) {
        if (divisors(n) == 0) {
            primes++;
        }
    }
    return primes;
}

static const unsigned short known[] = {2, 3, 5, 7, 11, 13};

__attribute__((noinline)) static unsigned checked(unsigned index) {
    if (index >= sizeof known / sizeof *known) {
        __builtin_trap();
    }
    return known[index];
}

// A prime number by its place among them, of which few are known.
EXPORT("known") unsigned nth(unsigned index) {
    return checked(index);
}

// Counts and then fails, so that there is something to see of it all the same.
EXPORT("count_and_fail") unsigned count_and_fail(unsigned limit) {
    return checked(count(limit) + 100);
}

// Never comes to an end.
EXPORT("spin") unsigned spin(unsigned n) {
    volatile unsigned turns = n;
    for (;;) {
        turns += divisors(turns % 1000);
    }
}
