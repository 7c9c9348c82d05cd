import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { AirlockError } from "./error.js";
import { read, write } from "./json.js";

/** How long a process may take to end once it was told to, in milliseconds. */
const GRACE = 5000;

/** Bytes of what a process says last that are told of when it ends. */
const LAST_WORDS = 4096;

/** A process of `airlock rpc`, which keeps this one alive only as long as something is asked of it. */
export class Airlock {
  #program;
  #child;
  #asked = new Map();
  #count = 0;
  #lastWords = "";
  #ended;
  /** Why nothing can be asked any more. */
  #over;

  /**
   * @param {string} [program]
   * @param {NodeJS.ProcessEnv} [env]
   */
  constructor(program = process.env.AIRLOCK || "airlock", env = process.env) {
    this.#program = program;
    const child = spawn(program, ["rpc"], { env, stdio: "pipe", windowsHide: true });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#finish(this.#cannotStart(error));
        resolve();
      });
      child.once("close", (code, signal) => {
        this.#finish(this.#gone(code, signal));
        resolve();
      });
    });
    // What cannot be written any more is told by the end of the process.
    child.stdin.on("error", () => {});
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS);
      process.stderr.write(text);
    });
    createInterface({ input: child.stdout, crlfDelay: Infinity }).on("line", (line) => this.#answered(line));
    this.#hold(false);
  }

  /**
   * Asks for something.
   *
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @returns {Promise<any>}
   */
  async request(method, params) {
    if (this.#over !== undefined) {
      throw new AirlockError(this.#over.message, this.#over);
    }
    const id = ++this.#count;
    const line = write({ jsonrpc: "2.0", id, method, params });
    const { result, error } = await new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.#hold(true);
      this.#child.stdin.write(`${line}\n`);
    });
    if (error !== undefined) {
      // Made here, where its stack leads to who asked.
      throw new AirlockError(error.message, error.data ?? {});
    }
    return result;
  }

  /** Ends the process and waits for its end. */
  async end() {
    this.#over ??= new AirlockError("the plugin was closed", { code: "closed", culprit: "operator" });
    this.#hold(true);
    this.#child.stdin.end();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), GRACE);
    await this.#ended;
    clearTimeout(late);
  }

  #answered(line) {
    const answer = read(line);
    const asked = this.#asked.get(answer.id);
    if (asked === undefined) {
      return;
    }
    this.#asked.delete(answer.id);
    if (this.#asked.size === 0 && this.#over === undefined) {
      this.#hold(false);
    }
    asked(answer);
  }

  /** Nothing is answered any more, for this reason. */
  #finish(reason) {
    this.#over ??= reason;
    for (const asked of this.#asked.values()) {
      asked({ error: { message: this.#over.message, data: this.#over } });
    }
    this.#asked.clear();
    this.#hold(false);
  }

  /** Whether the process keeps this one alive. */
  #hold(held) {
    const { stdin, stdout, stderr } = this.#child;
    for (const handle of [this.#child, stdin, stdout, stderr]) {
      // Streams of a process that did not start have no such methods.
      handle?.[held ? "ref" : "unref"]?.();
    }
  }

  #cannotStart(error) {
    const why = error.code === "ENOENT" ? "there is no such program" : error.message;
    return new AirlockError(`cannot start \`${this.#program}\`: ${why}`, {
      code: "airlock-not-found",
      culprit: "operator",
      hint: "the option `airlock` or the environment variable `AIRLOCK` says where the `airlock` command is",
    });
  }

  #gone(code, signal) {
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    return new AirlockError(`\`${this.#program} rpc\` ended ${how}`, {
      code: "airlock-ended",
      culprit: "host",
      stderr: this.#lastWords === "" ? undefined : this.#lastWords,
    });
  }
}
