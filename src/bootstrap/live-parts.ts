import type { DecidingParts } from './deciding-parts.ts';

/**
 * Parts that stay the same to whoever holds them while the configuration behind them is replaced as a whole: each question is
 * answered by the configuration in force when it is asked.
 */
export class LiveParts implements DecidingParts {
  #current: DecidingParts;

  constructor(first: DecidingParts) {
    this.#current = first;
  }

  /** Puts a new configuration in force. */
  replace(next: DecidingParts): void {
    this.#current = next;
  }

  readonly attestation: DecidingParts['attestation'] = {
    verify: (attestation) => this.#current.attestation.verify(attestation),
  };

  readonly sessions: DecidingParts['sessions'] = {
    decide: (question) => this.#current.sessions.decide(question),
    explain: (question) => this.#current.sessions.explain(question),
  };

  readonly grants: DecidingParts['grants'] = ((parts: LiveParts) => ({
    decide: (question) => parts.#current.grants.decide(question),
    explain: (question) => parts.#current.grants.explain(question),
    get revision() {
      return parts.#current.grants.revision;
    },
  }))(this);

  readonly operators: DecidingParts['operators'] = { verify: (token) => this.#current.operators.verify(token) };

  readonly delegations: DecidingParts['delegations'] = {
    verify: (assertion) => this.#current.delegations.verify(assertion),
  };

  readonly connectors: DecidingParts['connectors'] = {
    resolve: (capability, kind) => this.#current.connectors.resolve(capability, kind),
    resolveProxy: (capability, kind) => this.#current.connectors.resolveProxy(capability, kind),
  };

  get receivers(): DecidingParts['receivers'] {
    return this.#current.receivers;
  }
}
