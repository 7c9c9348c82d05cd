// Looked at by tsc, and not run: what the types let a test say.

import { AirlockError, testWasmPlugin } from "airlock-plugin-testing";
import { testWasmPlugin as fromCortexPrism } from "@cortexprism/plugin-sdk/testing";
import type { Json, Observed } from "airlock-plugin-testing";

const plugin = await testWasmPlugin("text_processor.wasm", {
  allow: ["net=https://api.example.com"],
  limits: { memory: "32MiB", fuel: 100_000 },
  timeout: "5s",
  fakes: {
    http: [{ url: "https://api.example.com/*", json: { id: 9007199254740993n } }],
    kv: { count: "7", bytes: { base64: "/w==" } },
  },
});

const answer: { hash: bigint | number } = await plugin.call("transform", { text: "a" }, { timeout: 100 });
const outcome = await plugin.invoke<Json>("transform");
const wall: number = outcome.usage.wall_ns;
const text: string = (await plugin.run(["--help"])).stdout;
const bytes: Uint8Array = (await plugin.run([], { stdin: new Uint8Array(1), bytes: true })).stdout;
const observed: Observed = await plugin.observed();
await plugin.close();

const same: typeof testWasmPlugin = fromCortexPrism;

// @ts-expect-error: there is no such option
await testWasmPlugin("text_processor.wasm", { fake: {} });
// @ts-expect-error: an answer has a URL
await testWasmPlugin("text_processor.wasm", { fakes: { http: [{ status: 200 }] } });
// @ts-expect-error: bytes come only where they were asked for
await plugin.run([], { stdin: new Uint8Array(1) });

function hint(error: unknown): string | undefined {
  return error instanceof AirlockError ? error.hint : undefined;
}

void [answer, wall, text, bytes, observed, same, hint];
