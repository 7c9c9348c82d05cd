// Transforms text: CortexPrism's example plugin in AssemblyScript, one capability named
// `transform`.
//
// Input is JSON at (pointer, length) in UTF-8, in an ArrayBuffer that the host makes with `__new`.
// The answer is a string of AssemblyScript's, UTF-16 with its length before it, which the host
// knows by that export. Nothing is freed: the instance ends with the call.

import { Reader, Text, addString } from "./json";

export function transform(pointer: usize, length: i32): string {
  const reader = new Reader(String.UTF8.decodeUnsafe(pointer, length));
  let text: string | null = null;
  let mode: string | null = null;
  reader.enter();
  for (let first = true; ; first = false) {
    const key = reader.key(first);
    if (key === null) break;
    if (key == "text") {
      if (text !== null) reader.fail("there are two `text`");
      text = reader.string();
    } else if (key == "mode") {
      if (mode !== null) reader.fail("there are two `mode`");
      mode = reader.string();
    } else {
      reader.skip();
    }
  }
  reader.end();
  if (text === null) reader.fail("`text` is missing");
  if (mode === null) reader.fail("`mode` is missing");
  if (text === null || mode === null || reader.failed) return failure(reader.problem);
  return success(apply(text, mode));
}

function success(result: string): string {
  const bytes = String.UTF8.encode(result);
  const out = new Text(result.length + 96);
  out.addAll('{"result":');
  addString(out, result);
  out.addAll(',"length":');
  out.addAll(bytes.byteLength.toString());
  out.addAll(',"hash":');
  out.addAll(hash(bytes).toString());
  out.addAll("}");
  return out.toString();
}

function failure(problem: string): string {
  const out = new Text(problem.length + 16);
  out.addAll('{"error":');
  addString(out, problem);
  out.addAll("}");
  return out.toString();
}

function apply(text: string, mode: string): string {
  if (mode == "reverse") return reverse(text);
  if (mode == "uppercase") return text.toUpperCase();
  if (mode == "lowercase") return text.toLowerCase();
  if (mode == "rot13") return rot13(text);
  return text;
}

/** The characters from the last to the first; those beyond 65536 keep their two units in order. */
function reverse(text: string): string {
  const out = new Text(text.length);
  for (let i = text.length - 1; i >= 0; i--) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xdc00 && unit <= 0xdfff && i > 0) out.add(<u16>text.charCodeAt(--i));
    out.add(<u16>unit);
  }
  return out.toString();
}

function rot13(text: string): string {
  const out = new Text(text.length);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const small = unit | 0x20;
    let turned = unit;
    if (unit < 0x80 && small >= 0x61 && small <= 0x7a) turned = small < 0x6e ? unit + 13 : unit - 13;
    out.add(<u16>turned);
  }
  return out.toString();
}

/** The document's hash over UTF-8 bytes, modulo 2^64. */
function hash(bytes: ArrayBuffer): u64 {
  const start = changetype<usize>(bytes);
  let sum: u64 = 0;
  for (let at = start; at < start + bytes.byteLength; at++) sum = sum * 31 + load<u8>(at);
  return sum;
}
