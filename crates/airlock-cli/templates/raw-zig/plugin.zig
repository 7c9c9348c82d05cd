//! A function from numbers to a number: `gcd`.

/// The greatest common divisor of two numbers; 0 where both are.
export fn gcd(first: u64, second: u64) u64 {
    var a = first;
    var b = second;
    while (b != 0) {
        const rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
