import {
  BrokenCircuitError,
  bulkhead,
  BulkheadRejectedError,
  type BulkheadPolicy,
  circuitBreaker,
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  handleWhen,
} from 'cockatiel';
import { BrokerError, type ErrorCode, unavailable } from '../domain/errors.ts';

/** What the calls of one connector may take of this process, and when it is left alone. */
export interface ConnectorLimits {
  /** Calls under way at once; the next one is refused. */
  maxConcurrent: number;
  /** After so many failures in a row nothing is called for `pauseSeconds`; then one call tries whether it works again. */
  maxFailures: number;
  pauseSeconds: number;
}

export const DEFAULT_LIMITS: ConnectorLimits = { maxConcurrent: 200, maxFailures: 20, pauseSeconds: 5 };

/** What says that the system itself does not work. Anything else is an answer of one that does. */
const FAILURES: ReadonlySet<ErrorCode> = new Set(['upstream_error', 'unavailable', 'deadline_exceeded']);
const ROOM_RETRY_SECONDS = 1;

const isFailure = (error: unknown): boolean => error instanceof BrokerError && FAILURES.has(error.code);

/** Keeps the calls to one system within its limits, so that one that hangs holds up nobody who calls another. */
export class CallLimits {
  readonly #name: string;
  readonly #limits: ConnectorLimits;
  readonly #room: BulkheadPolicy;
  readonly #breaker: CircuitBreakerPolicy;

  /** `name` is the connector's, for messages. */
  constructor(name: string, limits: ConnectorLimits) {
    const { maxConcurrent, maxFailures, pauseSeconds } = limits;
    this.#name = name;
    this.#limits = limits;
    this.#room = bulkhead(maxConcurrent, 0);
    this.#breaker = circuitBreaker(handleWhen(isFailure), {
      breaker: new ConsecutiveBreaker(maxFailures),
      halfOpenAfter: pauseSeconds * 1000,
    });
  }

  /**
   * Makes a call. Rejects with what it rejects with; or, without having made it, with `unavailable` and the reason `connector_busy` or
   * `connector_paused`.
   */
  async run<T>(call: () => Promise<T>): Promise<T> {
    try {
      const outcome = await this.#room.execute(() => this.#breaker.execute(() => outcomeOf(call)));
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    } catch (error) {
      throw this.#refusal(error) ?? error;
    }
  }

  #refusal(error: unknown): BrokerError | null {
    if (error instanceof BulkheadRejectedError) {
      return unavailable(`${this.#name} has ${this.#limits.maxConcurrent} calls under way; try again`, {
        reason: 'connector_busy',
        retryAfterSeconds: ROOM_RETRY_SECONDS,
      });
    }
    if (!(error instanceof BrokenCircuitError)) return null;
    return unavailable(`${this.#name} has failed too often and is left alone for a moment; try again later`, {
      reason: 'connector_paused',
      retryAfterSeconds: this.#limits.pauseSeconds,
    });
  }
}

/** A refusal of the system is a sign of life: to the breaker it is a success, which ends a row of failures. A caller who left is neither. */
async function outcomeOf<T>(call: () => Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await call() };
  } catch (error) {
    if (isFailure(error) || !(error instanceof BrokerError)) throw error;
    return { error };
  }
}
