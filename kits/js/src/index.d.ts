/// <reference lib="esnext.disposable" />

/** Whole numbers beyond 2^53 are BigInts, on the way in and on the way out. */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** Milliseconds, or a text such as `"5s"`. */
export type Time = number | string;

/** Bytes: the text that they are, or base64 for what is none. */
export type Content = string | { base64: string };

/** An answer to requests: a response, or with `error` none. */
export interface FakeHttp {
  /** For requests with this method only. */
  method?: string;
  /** The whole URL; each `*` stands for any text. */
  url: string;
  /** 200 where none is said. */
  status?: number;
  headers?: Record<string, string>;
  body?: Content;
  /** The body as JSON, with the `content-type` that says so. */
  json?: Json;
  /** Why there is no response. */
  error?: string;
}

/** What a program says, and how it ends: with `code`, by `signal`, or not in time. */
export interface FakeProgram {
  program: string;
  /** Where it is run with these arguments only. */
  args?: string[];
  code?: number;
  signal?: number;
  timed_out?: boolean;
  stdout?: string;
  stderr?: string;
}

/** A tool with one answer: `output`, or why it fails as `error`. */
export interface FakeTool {
  description?: string;
  /** A JSON Schema of its input. */
  input_schema?: Json;
  output?: Json;
  error?: string;
}

/** What the plugin's services answer. */
export interface Fakes {
  /** Answers to requests. Any other request fails. */
  http?: FakeHttp[];
  /** What the plugin has kept already, by key. */
  kv?: Record<string, Content>;
  config?: Record<string, string | number | bigint | boolean>;
  secrets?: Record<string, string>;
  /** What programs say. Any other program is none that there is. */
  exec?: FakeProgram[];
  /** Addresses by the name that stands for them. */
  resolver?: Record<string, string[]>;
  /** Facts of the project that the plugin is run in. */
  metadata?: Record<string, Json>;
  tools?: Record<string, FakeTool>;
}

export interface TestOptions {
  /** The `airlock` command: else what the variable `AIRLOCK` says, else the one on the path. */
  airlock?: string;
  /** The environment of that command, in place of this process's. */
  env?: Record<string, string | undefined>;
  /** What the fakes answer; `false` for the services of this machine, with what was granted there. */
  fakes?: Fakes | false;
  /** Allows these capabilities (`"net=https://*.example.com"`) and, among fakes, no others. */
  allow?: string[];
  /** Denies these, whatever is allowed. */
  deny?: string[];
  /** Allows all that the plugin asks for, as is done among fakes unless `allow` is there. */
  allowAllRequested?: boolean;
  /** By name: `{ memory: "32MiB", fuel: 100000 }`. */
  limits?: Record<string, string | number | bigint>;
  /** How long each call may take, where that is less than the plugin's limit. */
  timeout?: Time;
  /** Calls the plugin this way, whatever it looks like. */
  abi?: string;
  /** Knows it by this name. */
  name?: string;
  /** Whether it is called on one instance: as its ABI has it where nothing is said. */
  keepState?: boolean;
  /** Gives it a clock and random numbers that are the same in every run. */
  deterministic?: boolean;
  /** Accepts WebAssembly text, as a path that ends in `.wat` does by itself. */
  wat?: boolean;
}

export interface CallOptions {
  /** How long it may take, where that is less than the plugin's limit. */
  timeout?: Time;
}

/** What one call used. */
export interface Usage {
  wall_ns: number;
  fuel: number | bigint | null;
  memory_bytes: number;
  host_calls: number;
  input_bytes: number;
  output_bytes: number;
  log_bytes: number;
}

export interface Outcome<T> {
  output: T;
  /** What the plugin logged and printed on the way. */
  log: string;
  usage: Usage;
}

/** What a program left behind. */
export interface Ran<T> {
  code: number;
  stdout: T;
  stderr: T;
  log: string;
  usage: Usage;
}

/** What the fakes were asked so far. */
export interface Observed {
  http: { method: string; url: string; headers: Record<string, string>; body: Content }[];
  exec: {
    program: string;
    args: string[];
    folder: string | null;
    env: Record<string, string>;
    stdin: Content;
  }[];
  resolver: string[];
  tools: { tool: string; input: Json }[];
  events: { topic: string; payload: Content }[];
  log: { level: "trace" | "debug" | "info" | "warn" | "error"; message: string }[];
  /** What the plugin keeps now. */
  kv: Record<string, Content>;
}

/** Who has to change something. */
export type Culprit = "guest" | "policy" | "operator" | "host";

export interface AirlockErrorFields {
  /** The kind of error, in words that stay: `"denied"`, `"limit-memory"`. */
  code: string;
  culprit: Culprit;
  /** What led to it. */
  causes: string[];
  /** What to do, where there is something. */
  hint?: string;
  /** Which trap it was: `unreachable`, `memory-out-of-bounds`, … */
  trap?: string;
  /** Of a trap. */
  frames?: { function: string; source: string | null; file?: string; line?: number; column?: number }[];
  /** What the plugin had written, where it had. */
  stdout?: string;
  stderr?: string;
}

/** Why a plugin could not be loaded or called. */
export class AirlockError extends Error implements AirlockErrorFields {
  constructor(message: string, fields: Partial<AirlockErrorFields>);
  name: "AirlockError";
  code: string;
  culprit: Culprit;
  causes: string[];
  hint?: string;
  trap?: string;
  frames?: { function: string; source: string | null; file?: string; line?: number; column?: number }[];
  stdout?: string;
  stderr?: string;
}

/** A plugin in a process of Airlock's, which ends with this one. */
export class TestPlugin {
  private constructor();
  readonly name: string;
  readonly version: string | null;
  /** The SHA-256 of its bytes, in hexadecimal. */
  readonly digest: string;
  readonly abi: string;
  /** The functions that can be called; none for a program. */
  readonly functions: string[];
  readonly isProgram: boolean;
  readonly keepsState: boolean;
  /** What it asks for. */
  readonly requests: string[];
  /** What it was granted. */
  readonly granted: string[];
  /** What is odd about it. */
  readonly warnings: string[];

  /** Calls a function and gives its answer. Without input it gets `{}`. */
  call<T = any>(name: string, input?: unknown, options?: CallOptions): Promise<T>;
  /** Calls a function and gives its answer, what it logged, and what it used. */
  invoke<T = any>(name: string, input?: unknown, options?: CallOptions): Promise<Outcome<T>>;
  /** Runs a program to its end. A code other than 0 is no error. */
  run(args?: string[], options?: CallOptions & { stdin?: string; bytes?: false }): Promise<Ran<string>>;
  run(
    args: string[],
    options: CallOptions & { stdin?: string | Uint8Array; bytes: true },
  ): Promise<Ran<Uint8Array>>;
  /** What the fakes were asked so far. */
  observed(): Promise<Observed>;
  /** Ends the plugin and its process; calls that run are cut. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Loads a plugin in the sandbox, among fakes, with all that it asks for allowed.
 *
 * @param path its file, or a folder with a manifest
 * @throws AirlockError
 */
export function testWasmPlugin(path: string, options?: TestOptions): Promise<TestPlugin>;
