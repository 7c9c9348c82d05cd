export * from "airlock-plugin-testing";
