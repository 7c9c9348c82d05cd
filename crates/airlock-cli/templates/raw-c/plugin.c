/* A function from numbers to a number: `gcd`. */

#include <stdint.h>

/* The greatest common divisor of two numbers; 0 where both are. */
__attribute__((export_name("gcd"))) uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
