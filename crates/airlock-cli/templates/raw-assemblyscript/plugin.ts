// A function from numbers to a number: `gcd`.

/** The greatest common divisor of two numbers; 0 where both are. */
export function gcd(a: u64, b: u64): u64 {
  while (b != 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}
