import { testWasmPlugin } from "@cortexprism/plugin-sdk/testing";

const plugin = await testWasmPlugin("text_processor.wasm");

const result = await plugin.call("transform", {
  text: "hello world",
  mode: "uppercase",
});

console.assert(result.result === "HELLO WORLD");
