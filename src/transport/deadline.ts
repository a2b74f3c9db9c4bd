import type { CallContext } from '../domain/call-context.ts';
import type { Clock } from '../domain/clock.ts';
import { deadlineExceeded } from '../domain/errors.ts';
import type { PresentedProof } from '../domain/proof.ts';

/** Tells when the caller of one call went away. Calls back once, at once when that has happened already. */
export type OnGone = (listener: (reason: Error) => void) => () => void;

/** For work that nobody waits for in person. */
export const nobodyLeaves: OnGone = () => () => undefined;

/** For a caller who goes away in one of two ways. */
export const either =
  (one: OnGone, other: OnGone): OnGone =>
  (listener) => {
    const forgetOne = one(listener);
    const forgetOther = other(listener);
    return () => {
      forgetOne();
      forgetOther();
    };
  };

export interface Limits {
  clock: Clock;
  seconds: number;
  onGone: OnGone;
}

/** What a call is told of its caller. */
export type Caller = Pick<CallContext, 'requestId' | 'proof'>;

/**
 * Runs `work` for at most `seconds`. When time is up, or the caller goes away, the signal aborts and the promise rejects
 * there and then, with `deadline_exceeded` or the caller's reason, even if the work pays no heed; what it does later is
 * dropped.
 */
export function withinDeadline<T>(limits: Limits, caller: Caller, work: (context: CallContext) => Promise<T>): Promise<T> {
  const run = new LimitedRun<T>(limits, caller);
  run.start(work);
  return run.result;
}

class LimitedRun<T> implements CallContext {
  readonly requestId: string;
  readonly proof: PresentedProof | null;
  readonly result: Promise<T>;
  readonly #settle: PromiseWithResolvers<T>;
  readonly #cancel: () => void;
  #forget: () => void = () => undefined;
  #controller: AbortController | null = null;
  #reason: Error | null = null;
  #running = true;

  constructor({ clock, seconds, onGone }: Limits, { requestId, proof }: Caller) {
    this.requestId = requestId;
    this.proof = proof;
    this.#settle = Promise.withResolvers<T>();
    this.result = this.#settle.promise;
    this.#cancel = clock.schedule(seconds * 1000, () =>
      this.#giveUp(deadlineExceeded(`the call took longer than ${seconds} seconds; try again`)),
    );
    this.#forget = onGone((reason) => this.#giveUp(reason));
  }

  /** Made when somebody asks for it: most calls never do, and it is the costliest object of a request. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  start(work: (context: CallContext) => Promise<T>): void {
    if (!this.#running) {
      this.#forget();
      return;
    }
    work(this).then(
      (value) => {
        if (this.#stop()) this.#forget();
        this.#settle.resolve(value);
      },
      (error: unknown) => {
        if (this.#stop()) this.#forget();
        this.#settle.reject(error);
      },
    );
  }

  // A listener may be called before it is known how to forget it; `start` does that then.
  #giveUp(reason: Error): void {
    if (!this.#stop()) return;
    this.#forget();
    this.#reason = reason;
    this.#settle.reject(reason);
    this.#controller?.abort(reason);
  }

  #stop(): boolean {
    if (!this.#running) return false;
    this.#running = false;
    this.#cancel();
    return true;
  }
}
