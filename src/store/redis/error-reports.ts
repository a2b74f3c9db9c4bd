/** Tells of each trouble once, until it is over: a server that is away for an hour is one line and not thousands. */
export class ErrorReports {
  readonly #report: (error: Error) => void;
  /** The last that was told of each node; '' is the whole. */
  readonly #told = new Map<string, string>();

  constructor(report: (error: Error) => void) {
    this.#report = report;
  }

  failed(node: string, error: Error): void {
    if (this.#told.get(node) === error.message) return;
    this.#told.set(node, error.message);
    this.#report(node === '' ? error : new Error(`${node}: ${error.message}`));
  }

  /** The whole is gone, for whatever reason was told; `error` stands for none. */
  lost(error: Error): void {
    if (!this.#told.has('')) this.failed('', error);
  }

  restored(node?: string): void {
    if (node === undefined) this.#told.clear();
    else this.#told.delete(node);
  }
}
