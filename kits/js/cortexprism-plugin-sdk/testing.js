export { AirlockError, TestPlugin, testWasmPlugin } from "airlock-plugin-testing";
