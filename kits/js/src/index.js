import { resolve } from "node:path";

import { Airlock } from "./airlock.js";

export { AirlockError } from "./error.js";

/**
 * Loads a plugin in the sandbox, among fakes, with all that it asks for allowed.
 *
 * @param {string} path its file, or a folder with a manifest
 * @param {import("./index.d.ts").TestOptions} [options]
 * @returns {Promise<TestPlugin>}
 */
export async function testWasmPlugin(path, options = {}) {
  const { airlock, env, timeout, fakes = {}, allowAllRequested, keepState, ...named } = options;
  const running = new Airlock(airlock, env);
  try {
    const loaded = await running.request("load", {
      ...named,
      path: resolve(path),
      allow_all_requested: allowAllRequested,
      keep_state: keepState,
      fakes: fakes === false ? undefined : fakes,
    });
    return new TestPlugin(running, loaded, timeout);
  } catch (error) {
    await running.end();
    throw error;
  }
}

/** A plugin in a process of Airlock's, which ends with this one. */
export class TestPlugin {
  /** @type {Airlock} */
  #airlock;
  /** @type {string} */
  #id;
  /** @type {number | string | undefined} */
  #timeout;
  /** @type {Promise<void> | undefined} */
  #closed;

  /** Plugins are made by {@link testWasmPlugin}. */
  constructor(airlock, loaded, timeout) {
    this.#airlock = airlock;
    this.#id = loaded.plugin;
    this.#timeout = timeout;
    this.name = loaded.name;
    this.version = loaded.version;
    this.digest = loaded.digest;
    this.abi = loaded.abi;
    this.functions = loaded.functions;
    this.isProgram = loaded.is_program;
    this.keepsState = loaded.keeps_state;
    this.requests = loaded.requests;
    this.granted = loaded.granted;
    this.warnings = loaded.warnings;
  }

  /** Calls a function and gives its answer. */
  async call(name, input, options) {
    return (await this.invoke(name, input, options)).output;
  }

  /** Calls a function and gives its answer, what it logged, and what it used. */
  async invoke(name, input, { timeout = this.#timeout } = {}) {
    const params = { plugin: this.#id, function: name, input, timeout: inWords(timeout) };
    return this.#airlock.request("call", params);
  }

  /** Runs a program to its end. */
  async run(args = [], { stdin = "", timeout = this.#timeout, bytes = false } = {}) {
    const params = {
      plugin: this.#id,
      args,
      stdin: bytes ? Buffer.from(stdin).toString("base64") : stdin,
      base64: bytes,
      timeout: inWords(timeout),
    };
    const ran = await this.#airlock.request("run", params);
    if (bytes) {
      ran.stdout = Buffer.from(ran.stdout, "base64");
      ran.stderr = Buffer.from(ran.stderr, "base64");
    }
    return ran;
  }

  /** What the fakes were asked so far. */
  async observed() {
    return this.#airlock.request("observed", { plugin: this.#id });
  }

  /** Ends the plugin and its process; calls that run are cut. */
  close() {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end() {
    try {
      await this.#airlock.request("unload", { plugin: this.#id });
    } catch {
      // It is gone already, which is what was wanted.
    }
    await this.#airlock.end();
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }
}

/** A time as Airlock reads it: a number is milliseconds. */
function inWords(timeout) {
  return typeof timeout === "number" ? `${Math.ceil(timeout)}ms` : timeout;
}
