// CortexPrism's example as a JavaScript module, measured as the other languages are: JSON in, JSON out,
// medians. Prints a list of pairs, what was done and how long it took in milliseconds.

const rotate = (c) => {
  const code = c.charCodeAt(0);
  const first = code >= 97 && code <= 122 ? 97 : code >= 65 && code <= 90 ? 65 : 0;
  return first === 0 ? c : String.fromCharCode(((code - first + 13) % 26) + first);
};

const modes = {
  reverse: (text) => [...text].reverse().join(""),
  uppercase: (text) => text.toUpperCase(),
  lowercase: (text) => text.toLowerCase(),
  rot13: (text) => [...text].map(rotate).join(""),
};

const encoder = new TextEncoder();

function transform(json) {
  const { text, mode } = JSON.parse(json);
  const result = modes[mode] ? modes[mode](text) : text;
  const bytes = encoder.encode(result);
  // 64 bits, in two halves of 32: a number of JavaScript's has 53.
  let high = 0;
  let low = 0;
  for (const byte of bytes) {
    const product = low * 31 + byte;
    high = (high * 31 + Math.floor(product / 2 ** 32)) >>> 0;
    low = product >>> 0;
  }
  const hash = (BigInt(high) << 32n) | BigInt(low);
  return `{"result":${JSON.stringify(result)},"length":${bytes.length},"hash":${hash}}`;
}

function median(work) {
  const times = [];
  for (let round = 0; round < 21; round++) {
    const start = performance.now();
    work();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[10];
}

const measured = [];
const small = JSON.stringify({ text: "x".repeat(36), mode: "reverse" });
measured.push(["64 B", median(() => { for (let i = 0; i < 1000; i++) transform(small); }) / 1000]);
const megabyte = "Hello, wide World! ".repeat(Math.floor((1 << 20) / 19));
for (const mode of Object.keys(modes)) {
  const text = JSON.stringify({ text: megabyte, mode });
  measured.push([`1 MB of text, ${mode}`, median(() => transform(text))]);
}
const one = { id: 12345, name: 'some "name"', tags: ["a", "b"], ratio: 0.25, on: true, of: null };
const rest = Array(Math.floor(100000 / JSON.stringify(one).length)).fill(one);
const document = JSON.stringify({ rest, text: "hello", mode: "reverse" });
measured.push(["100 KB of JSON parsed", median(() => transform(document))]);
measured.push(["memory", process.memoryUsage().rss / (1 << 20)]);
console.log(JSON.stringify(measured));
