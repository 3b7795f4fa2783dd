/** Something that went wrong, with what to do about it. */
export class Failure extends Error {
  constructor({ message, code = "failed", hint = null, status = 0 }) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.hint = hint;
    this.status = status;
  }

  /** Of the envelope that every refusal of the gateway has. */
  static of(error, status = 0) {
    return new Failure({ ...error, message: error?.message ?? "the gateway gave no reason", status });
  }

  /** Of whatever was caught. */
  static from(caught) {
    if (caught instanceof Failure) return caught;
    if (caught instanceof TypeError) {
      const hint = "modelbay serve   # is it still running?";
      return new Failure({ message: "The gateway does not answer.", code: "unreachable", hint });
    }
    return new Failure({ message: String(caught?.message ?? caught) });
  }
}
