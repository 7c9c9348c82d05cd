// The JSON that a plugin reads and writes. AssemblyScript has no exceptions to catch: the first
// thing that is wrong stays in `problem`, and from then on nothing more is read.

/** Levels of arrays and objects within each other. */
const DEPTH = 128;

const QUOTE: u16 = 0x22;
const BACKSLASH: u16 = 0x5c;

// @ts-ignore: decorator
@inline
function isDigit(unit: u16): bool {
  return unit >= 0x30 && unit <= 0x39;
}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(unit: u16): i32 {
  if (isDigit(unit)) return unit - 0x30;
  const letter = unit | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

/** UTF-16 that grows. */
export class Text {
  private units: StaticArray<u16>;
  length: i32 = 0;

  constructor(room: i32) {
    this.units = new StaticArray<u16>(max(room, 16));
  }

  add(unit: u16): void {
    this.reserve(1);
    unchecked((this.units[this.length++] = unit));
  }

  /** Adds the units of `text` from `start` to before `end`. */
  addRange(text: string, start: i32, end: i32): void {
    const count = end - start;
    this.reserve(count);
    const to = changetype<usize>(this.units) + ((<usize>this.length) << 1);
    memory.copy(to, changetype<usize>(text) + ((<usize>start) << 1), (<usize>count) << 1);
    this.length += count;
  }

  addAll(text: string): void {
    this.addRange(text, 0, text.length);
  }

  toString(): string {
    return String.UTF16.decodeUnsafe(changetype<usize>(this.units), (<usize>this.length) << 1);
  }

  private reserve(more: i32): void {
    const needed = this.length + more;
    const room = this.units.length;
    if (needed <= room) return;
    // Twice as much each time, so that many small additions do not copy it all each time.
    const larger = new StaticArray<u16>(max(needed, 2 * room));
    memory.copy(changetype<usize>(larger), changetype<usize>(this.units), (<usize>this.length) << 1);
    this.units = larger;
  }
}

/** A place in a JSON text. */
export class Reader {
  private at: i32 = 0;
  private depth: i32 = 0;
  problem: string = "";

  constructor(private text: string) {}

  get failed(): bool {
    return this.problem.length > 0;
  }

  fail(problem: string): void {
    if (!this.failed) this.problem = problem + " at character " + this.at.toString();
  }

  /** Passes this character where it comes next, blanks aside. */
  take(unit: u16): bool {
    if (this.failed || this.peek() != unit) return false;
    this.at++;
    return true;
  }

  /** Enters an object; false, which is a failure, where none is. */
  enter(): bool {
    if (this.take(0x7b)) return true;
    this.fail("expected an object");
    return false;
  }

  /** The next key of an object that was entered, or null. The value is read or skipped next. */
  key(first: bool): string | null {
    if (this.failed || this.take(0x7d)) return null;
    if (!first && !this.take(0x2c)) {
      this.fail("expected `,` or `}`");
      return null;
    }
    this.peek();
    const key = this.string();
    if (!this.take(0x3a)) this.fail("expected `:`");
    return this.failed ? null : key;
  }

  /** A text; what it is after a failure says nothing. */
  string(): string {
    if (!this.take(QUOTE)) {
      this.fail("expected a text");
      return "";
    }
    let plain = this.at;
    let text: Text | null = null;
    while (this.at < this.text.length) {
      const unit = this.unit();
      if (unit == QUOTE) {
        const end = this.at++;
        if (text === null) return this.text.substring(plain, end);
        text.addRange(this.text, plain, end);
        return text.toString();
      }
      if (unit < 0x20) {
        this.fail("a control character in a text must be escaped");
        return "";
      }
      if (unit != BACKSLASH) {
        this.at++;
        continue;
      }
      if (text === null) text = new Text(this.at - plain + 64);
      text.addRange(this.text, plain, this.at);
      this.escape(text);
      if (this.failed) return "";
      plain = this.at;
    }
    this.fail("the text has no end");
    return "";
  }

  /** Skips a value, and checks it. */
  skip(): void {
    const unit = this.peek();
    if (unit == QUOTE) {
      this.string();
    } else if (unit == 0x7b || unit == 0x5b) {
      if (++this.depth > DEPTH) this.fail("nested too deeply");
      this.at++;
      if (unit == 0x7b) {
        for (let first = true; this.key(first) !== null; first = false) this.skip();
      } else if (!this.take(0x5d)) {
        do this.skip();
        while (this.take(0x2c));
        if (!this.take(0x5d)) this.fail("expected `,` or `]`");
      }
      this.depth--;
    } else if (unit == 0x74) {
      this.literal("true");
    } else if (unit == 0x66) {
      this.literal("false");
    } else if (unit == 0x6e) {
      this.literal("null");
    } else {
      this.number();
    }
  }

  /** Fails where something follows the value. */
  end(): void {
    this.peek();
    if (this.at < this.text.length) this.fail("something follows the value");
  }

  private unit(): u16 {
    return <u16>this.text.charCodeAt(this.at);
  }

  /** What comes next, blanks aside; 0 at the end, which no JSON has there. */
  private peek(): u16 {
    while (this.at < this.text.length) {
      const unit = this.unit();
      if (unit != 0x20 && unit != 0x09 && unit != 0x0a && unit != 0x0d) return unit;
      this.at++;
    }
    return 0;
  }

  private literal(word: string): void {
    if (this.text.substr(this.at, word.length) == word) this.at += word.length;
    else this.fail("expected a value");
  }

  private digits(): i32 {
    const from = this.at;
    while (this.at < this.text.length && isDigit(this.unit())) this.at++;
    return this.at - from;
  }

  private number(): void {
    if (this.failed) return;
    this.take(0x2d);
    const zero = this.at < this.text.length && this.unit() == 0x30;
    const digits = this.digits();
    let right = digits > 0 && !(zero && digits > 1);
    if (this.at < this.text.length && this.unit() == 0x2e) {
      this.at++;
      right = this.digits() > 0 && right;
    }
    if (this.at < this.text.length && (this.unit() | 0x20) == 0x65) {
      this.at++;
      if (this.at < this.text.length && (this.unit() == 0x2b || this.unit() == 0x2d)) this.at++;
      right = this.digits() > 0 && right;
    }
    if (!right) this.fail("expected a value");
  }

  /** The four digits of an escape at `at`, or -1. */
  private hex(at: i32): i32 {
    if (at + 4 > this.text.length) return -1;
    let value = 0;
    for (let i = at; i < at + 4; i++) {
      const digit = hexDigit(<u16>this.text.charCodeAt(i));
      if (digit < 0) return -1;
      value = (value << 4) | digit;
    }
    return value;
  }

  private escape(text: Text): void {
    const kind = this.at + 1 < this.text.length ? this.text.charCodeAt(this.at + 1) : 0;
    let meaning = 0;
    if (kind == 0x22 || kind == 0x5c || kind == 0x2f) meaning = kind;
    else if (kind == 0x62) meaning = 0x08;
    else if (kind == 0x66) meaning = 0x0c;
    else if (kind == 0x6e) meaning = 0x0a;
    else if (kind == 0x72) meaning = 0x0d;
    else if (kind == 0x74) meaning = 0x09;
    else if (kind != 0x75) return this.fail("there is no such escape");
    if (kind != 0x75) {
      this.at += 2;
      return text.add(<u16>meaning);
    }
    const code = this.hex(this.at + 2);
    if (code < 0) return this.fail("expected four digits after \\u");
    if (code < 0xd800 || code > 0xdfff) {
      this.at += 6;
      return text.add(<u16>code);
    }
    // Beyond the first 65536 characters two escapes stand for one.
    const paired = code < 0xdc00 && this.text.substr(this.at + 6, 2) == "\\u";
    const low = paired ? this.hex(this.at + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff) return this.fail("half a pair of surrogates is no character");
    text.add(<u16>code);
    text.add(<u16>low);
    this.at += 12;
  }
}

/** Adds a text with its quotes, escaped where it must be. */
export function addString(out: Text, text: string): void {
  out.add(QUOTE);
  let plain = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = <u16>text.charCodeAt(i);
    if (unit >= 0x20 && unit != QUOTE && unit != BACKSLASH) continue;
    out.addRange(text, plain, i);
    plain = i + 1;
    out.add(BACKSLASH);
    if (unit == QUOTE || unit == BACKSLASH) {
      out.add(unit);
    } else if (unit == 0x0a) {
      out.add(0x6e);
    } else if (unit == 0x0d) {
      out.add(0x72);
    } else if (unit == 0x09) {
      out.add(0x74);
    } else {
      out.addAll(unit < 0x10 ? "u000" : "u00");
      out.addAll(unit.toString(16));
    }
  }
  out.addRange(text, plain, text.length);
  out.add(QUOTE);
}
