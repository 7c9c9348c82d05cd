import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A path in the repository. */
export function repository(path) {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}

/** A folder of its own. */
export function folder() {
  return mkdtempSync(join(tmpdir(), "airlock-kit-"));
}

/** A file with this text in a folder of its own. */
export function file(name, text, mode) {
  const path = join(folder(), name);
  writeFileSync(path, text, { mode });
  return path;
}

process.env.AIRLOCK ||= repository("target/debug/airlock");
process.env.AIRLOCK_HOME ||= folder();

export const TEXT = repository("plugins/text-processor");
