/** Why a plugin could not be loaded or called. */
export class AirlockError extends Error {
  /**
   * @param {string} message
   * @param {Partial<import("./index.d.ts").AirlockErrorFields>} fields
   */
  constructor(message, fields) {
    super(message);
    this.name = "AirlockError";
    this.code = fields.code ?? "host";
    this.culprit = fields.culprit ?? "host";
    this.causes = fields.causes ?? [];
    for (const key of ["hint", "trap", "frames", "stdout", "stderr"]) {
      if (fields[key] !== undefined) {
        this[key] = fields[key];
      }
    }
  }
}
