import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { AirlockError, testWasmPlugin } from "airlock-plugin-testing";

import { TEXT, file, folder, repository } from "./support.js";

/** Numbers in and out, a trap, and a loop without an end. */
const NUMBERS = `(module
  (func (export "same") (param i64) (result i64) (local.get 0))
  (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
  (func (export "trap") (result i32) unreachable)
  (func (export "spin") (result i32) (loop $again (br $again)) (i32.const 0))
  (global $count (mut i32) (i32.const 0))
  (func (export "count") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count)))`;

/** A program that writes what it reads. */
const CAT = `(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))`;

/** Its functions use one import of CortexPrism's host each. */
const SERVICES = repository("tests/guests/services.wat");

/** A plugin that is closed when the test ends. */
async function plugin(context, path, options) {
  const loaded = await testWasmPlugin(path, options);
  context.after(() => loaded.close());
  return loaded;
}

/** The error that something fails with. */
async function failure(promise) {
  const error = await promise.then(
    (value) => assert.fail(`it gave ${value}`),
    (error) => error,
  );
  assert.ok(error instanceof AirlockError, `${error.stack}`);
  return error;
}

test("the document's test runs as it stands there, and ends by itself", async () => {
  const script = fileURLToPath(new URL("document.mjs", import.meta.url));
  const child = spawn(process.execPath, [script], { cwd: TEXT, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  const printed = [];
  child.stdout.on("data", (piece) => printed.push(piece));
  child.stderr.on("data", (piece) => printed.push(piece));
  const [code, signal] = await once(child, "close");
  // A failed `console.assert` prints, and changes no code.
  assert.deepEqual([code, signal, Buffer.concat(printed).toString()], [0, null, ""]);
});

test("the name that the document imports is found by its path from anywhere", async () => {
  const cwd = folder();
  const sdk = `file:${repository("kits/js/cortexprism-plugin-sdk")}`;
  const manifest = { type: "module", devDependencies: { "@cortexprism/plugin-sdk": sdk } };
  writeFileSync(join(cwd, "package.json"), JSON.stringify(manifest));
  copyFileSync(fileURLToPath(new URL("document.mjs", import.meta.url)), join(cwd, "document.mjs"));
  copyFileSync(join(TEXT, "text_processor.wasm"), join(cwd, "text_processor.wasm"));
  for (const command of ["npm install --offline --no-audit --no-fund --silent", "node document.mjs"]) {
    const child = spawn(command, { cwd, shell: true, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    const printed = [];
    child.stdout.on("data", (piece) => printed.push(piece));
    child.stderr.on("data", (piece) => printed.push(piece));
    const [code] = await once(child, "close");
    assert.deepEqual([code, Buffer.concat(printed).toString().trim()], [0, ""], command);
  }
});

test("whole numbers beyond 2^53 stay exact on both ways", async (context) => {
  const text = await plugin(context, TEXT);
  const answer = await text.call("transform", { text: "hello world", mode: "reverse" });
  assert.deepEqual(answer, { result: "dlrow olleh", length: 11, hash: 84918698004773316n });
  assert.equal((await text.call("transform", { text: "a", mode: "" })).hash, 97);
  const numbers = await plugin(context, file("numbers.wat", NUMBERS));
  assert.equal(await numbers.call("same", [9007199254740993n]), 9007199254740993n);
  assert.equal(await numbers.call("same", [-(2n ** 63n)]), -(2n ** 63n));
  assert.equal(await numbers.call("same", [2 ** 53 - 1]), 2 ** 53 - 1);
  assert.equal(await numbers.call("half", [1]), 0.5);
});

test("a plugin says what it is", async (context) => {
  const text = await plugin(context, TEXT);
  const { name, version, abi, functions, isProgram, keepsState, requests, granted, warnings } = text;
  assert.deepEqual([name, version, abi, functions], ["text-processor", "1.0.0", "json", ["transform"]]);
  assert.deepEqual([isProgram, keepsState, requests, granted, warnings], [false, false, [], [], []]);
  assert.match(text.digest, /^[0-9a-f]{64}$/);
});

test("errors say what is wrong and what to do", async (context) => {
  const text = await plugin(context, TEXT);
  const unknown = await failure(text.call("transfrom", {}));
  assert.deepEqual(
    [unknown.name, unknown.code, unknown.culprit, unknown.message, unknown.hint],
    [
      "AirlockError",
      "unknown-function",
      "operator",
      "`text-processor` has no function `transfrom`",
      "did you mean `transform`?",
    ],
  );
  const reported = await failure(text.call("transform"));
  assert.equal(reported.code, "failed");
  assert.match(reported.stack, /kit\.test\.js/, "it leads to who called");
  assert.match(reported.message, /missing field `text`/);
  assert.equal((await failure(testWasmPlugin("no/such.wasm"))).code, "plugin-not-found");
  const misspelt = await failure(testWasmPlugin(TEXT, { fakes: { htp: [] } }));
  assert.match(misspelt.message, /unknown field `htp`/);
  const option = await failure(testWasmPlugin(TEXT, { fake: {} }));
  assert.match(option.message, /unknown field `fake`/);
  assert.equal((await failure(testWasmPlugin(TEXT, { limits: { memry: 1 } }))).hint, "did you mean `memory`?");
  assert.equal((await failure(text.run())).code, "wrong-verb");
});

test("a command that is not there is told of, with what says where it is", async () => {
  const error = await failure(testWasmPlugin(TEXT, { airlock: "no-such-airlock" }));
  assert.equal(error.message, "cannot start `no-such-airlock`: there is no such program");
  assert.equal(error.code, "airlock-not-found");
  assert.match(error.hint, /`AIRLOCK`/);
});

test("a command that ends at once is told of with its last words", async () => {
  const program = file("airlock", "#!/bin/sh\necho 'out of order' >&2\nexit 3\n", 0o755);
  const error = await failure(testWasmPlugin(TEXT, { airlock: program }));
  assert.deepEqual([error.code, error.stderr], ["airlock-ended", "out of order\n"]);
  assert.match(error.message, /ended with code 3$/);
});

test("a plugin that traps can be called again", async (context) => {
  const numbers = await plugin(context, file("numbers.wat", NUMBERS));
  assert.deepEqual([await numbers.call("count"), await numbers.call("count")], [1, 2]);
  const trap = await failure(numbers.call("trap"));
  assert.deepEqual([trap.code, trap.culprit], ["trap", "guest"]);
  assert.ok(trap.frames.length > 0);
  assert.equal(await numbers.call("count"), 1, "afresh");
});

test("a call takes no longer than it may", async (context) => {
  const path = file("numbers.wat", NUMBERS);
  const numbers = await plugin(context, path, { timeout: 50 });
  assert.equal((await failure(numbers.call("spin"))).code, "deadline");
  assert.equal((await failure(numbers.call("spin", undefined, { timeout: "20ms" }))).code, "deadline");
  const metered = await plugin(context, path, { limits: { fuel: 10_000 } });
  assert.equal((await failure(metered.call("spin"))).code, "limit-fuel");
});

test("fakes answer, and say afterwards what they were asked", async (context) => {
  const services = await plugin(context, SERVICES, {
    allow: ["net=https://api.example", "kv", "config", "log"],
    fakes: {
      http: [{ url: "https://api.example/*", status: 201, body: "created" }],
      kv: { key: "kept" },
      config: { key: 9007199254740993n },
    },
  });
  assert.equal(await services.call("http", {}), "0created");
  assert.equal(await services.call("status", {}), 201);
  assert.equal(await services.call("config", {}), "09007199254740993");
  assert.equal(await services.call("get", {}), "0kept");
  await services.call("set", 7);
  const { log } = await services.invoke("log", {});
  assert.equal(log, "info: hello \u001b[2J\n");
  const observed = await services.observed();
  assert.deepEqual(observed.http[0], {
    method: "GET",
    url: "https://api.example/x",
    headers: { "x-a": "b" },
    body: "key",
  });
  assert.equal(observed.http.length, 2);
  assert.deepEqual(observed.kv, { key: "7" });
  assert.deepEqual(observed.log, [{ level: "info", message: "hello \u001b[2J" }]);
});

test("what is not allowed is denied", async (context) => {
  const services = await plugin(context, SERVICES, { allow: ["kv"] });
  assert.equal(await services.call("http", {}), "1host: network:fetch permission denied");
  assert.deepEqual((await services.observed()).http, []);
});

test("without fakes there is what the machine has granted, and nothing to be observed", async (context) => {
  const text = await plugin(context, TEXT, { fakes: false });
  assert.equal((await text.call("transform", { text: "a", mode: "uppercase" })).result, "A");
  assert.equal((await failure(text.observed())).code, "invalid-setting");
});

test("a hundred calls at once all get their own answer", async (context) => {
  const text = await plugin(context, TEXT);
  const texts = Array.from({ length: 100 }, (_, index) => `text ${index}`);
  const answers = await Promise.all(texts.map((text_) => text.call("transform", { text: text_, mode: "uppercase" })));
  assert.deepEqual(answers.map((answer) => answer.result), texts.map((text_) => text_.toUpperCase()));
});

test("a text of many pieces goes in and out", async (context) => {
  const text = await plugin(context, TEXT);
  const large = "ä\"\u2028".repeat(20_000);
  assert.equal((await text.call("transform", { text: large, mode: "" })).result, large);
});

test("programs are run with arguments and input, and leave bytes behind", async (context) => {
  const greet = await plugin(context, repository("plugins/greet/greet.wasm"), { deterministic: true });
  assert.ok(greet.isProgram);
  const ran = await greet.run(["--time", "--exit", "3"]);
  assert.deepEqual([ran.code, ran.stdout], [3, "1577836800\n"]);
  assert.equal((await failure(greet.call("x"))).code, "wrong-verb");
  const cat = await plugin(context, file("cat.wat", CAT));
  const bytes = Uint8Array.of(0, 255, 10);
  assert.deepEqual(new Uint8Array((await cat.run([], { stdin: bytes, bytes: true })).stdout), bytes);
  assert.equal((await cat.run([], { stdin: "ä\n" })).stdout, "ä\n");
});

test("closing cuts what runs, and nothing can be asked afterwards", async () => {
  const numbers = await testWasmPlugin(file("numbers.wat", NUMBERS), { keepState: false });
  const spinning = failure(numbers.call("spin"));
  await sleep(50);
  await Promise.all([numbers.close(), numbers.close()]);
  assert.ok(["cancelled", "closed"].includes((await spinning).code), (await spinning).code);
  assert.equal((await failure(numbers.call("count"))).code, "closed");
});

test("a plugin is disposed of with its scope", async () => {
  const text = await testWasmPlugin(TEXT);
  await text[Symbol.asyncDispose]();
  assert.equal((await failure(text.call("transform", {}))).code, "closed");
});

test("the command ends with the process that started it, whatever ends that", async () => {
  const kept = join(folder(), "pid");
  const program = file("airlock", `#!/bin/sh\necho $$ > '${kept}'\nexec '${process.env.AIRLOCK}' "$@"\n`, 0o755);
  const script = `import { testWasmPlugin } from "airlock-plugin-testing";
    const plugin = await testWasmPlugin(${JSON.stringify(file("numbers.wat", NUMBERS))}, { airlock: ${JSON.stringify(program)} });
    const spinning = plugin.call("spin");
    console.log("called");
    await spinning;`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  const pid = Number(readFileSync(kept, "utf8"));
  assert.ok(pid > 0);
  const runs = () => existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  for (let tries = 0; runs(); tries += 1) {
    assert.ok(tries < 100, "it still runs");
    await sleep(50);
  }
});
