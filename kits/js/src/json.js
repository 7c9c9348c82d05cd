import { isInteger, parse, stringify } from "lossless-json";

/** JSON in which whole numbers that a number cannot hold are BigInts. */
export function read(text) {
  return parse(text, null, readNumber);
}

/** As JSON on one line, BigInts as whole numbers. */
export function write(value) {
  return stringify(value);
}

function readNumber(text) {
  const number = Number(text);
  return isInteger(text) && !Number.isSafeInteger(number) ? BigInt(text) : number;
}
