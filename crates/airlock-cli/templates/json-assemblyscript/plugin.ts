// A function from JSON to JSON: `greet`.
//
// It is called with the address and the length of JSON in UTF-8, in an ArrayBuffer that the host
// makes with `__new`. The answer is a string of AssemblyScript's. Nothing is freed: the instance
// ends with the call.

import { Reader, Text, addString } from "./json";

export function greet(pointer: usize, length: i32): string {
  const reader = new Reader(String.UTF8.decodeUnsafe(pointer, length));
  let name: string | null = null;
  reader.enter();
  for (let first = true; ; first = false) {
    const key = reader.key(first);
    if (key === null) break;
    if (key == "name") {
      name = reader.string();
    } else {
      reader.skip();
    }
  }
  reader.end();
  if (name === null) reader.fail("`name` is missing");
  if (name === null || reader.failed) return answer("error", reader.problem);
  if (name.length == 0) return answer("error", "`name` is empty");
  return answer("greeting", "Hello, " + name + "!");
}

/** An object with one text. */
function answer(key: string, value: string): string {
  const out = new Text(value.length + 32);
  out.addAll("{");
  addString(out, key);
  out.addAll(":");
  addString(out, value);
  out.addAll("}");
  return out.toString();
}
