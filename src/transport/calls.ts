import { BROKER_CALLS } from './calls/broker-calls.ts';
import type { Call } from './calls/describe.ts';
import { OPERATOR_CALLS } from './calls/operator-calls.ts';

export type { Answer, Call } from './calls/describe.ts';

/** Every call of every service. */
export const CALLS: readonly Call[] = [...BROKER_CALLS, ...OPERATOR_CALLS];
