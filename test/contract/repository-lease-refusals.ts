import type { AgentId, RunId, WorkloadHash } from '../../src/domain/ids.ts';
import {
  type DueRevocation,
  dueRevocation,
  endRevocation,
  type HeldRevocation,
  holdLease,
  type RequestedRevocation,
  type Revocation,
  type RevocationTerms,
} from '../../src/domain/revocation.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import { aGrantId, aRevocation, aRevocationId, aSession, aSessionId, after, OTHER_TENANT } from '../support/entities.ts';

/** One revocation in each state that goes on. */
export interface GivenRevocations {
  requested: RequestedRevocation;
  held: HeldRevocation;
  due: DueRevocation;
  /** Its lease never became known. */
  dueUnknown: DueRevocation;
}

interface Attempt {
  name: string;
  stage: (unit: UnitOfWork, given: GivenRevocations) => void;
}

const LEASE = { leaseId: 'lease/2', expiresAt: after(600) };
const REVOKED = { outcome: 'revoked', endedAt: after(30) } as const;

/** Lost races and rows that are not there. */
export const conflicts: Attempt[] = [
  {
    name: 'its id is taken',
    stage: (unit, { held: { id } }) => unit.insertRevocation(aRevocation(aSession(), { id })),
  },
  {
    name: 'its id is taken by another tenant',
    stage: (unit, { held: { id } }) => unit.insertRevocation(aRevocation(aSession({ tenantId: OTHER_TENANT }), { id })),
  },
  {
    name: 'its id is taken within the unit',
    stage: (unit) => {
      const id = aRevocationId();
      for (let made = 0; made < 2; made += 1) unit.insertRevocation(aRevocation(aSession(), { id }));
    },
  },
  {
    name: 'its grant has one already',
    stage: (unit, { held: { grantId } }) => unit.insertRevocation(aRevocation(aSession(), { grantId })),
  },
  {
    name: 'its grant has got one in the same unit',
    stage: (unit) => {
      const grantId = aGrantId();
      for (let made = 0; made < 2; made += 1) unit.insertRevocation(aRevocation(aSession(), { grantId }));
    },
  },
  {
    name: 'it is not there',
    stage: (unit, { requested }) =>
      unit.updateRevocation({ expected: 'requested', next: holdLease({ ...requested, id: aRevocationId() }, LEASE) }),
  },
  {
    name: "it is another tenant's",
    stage: (unit, { requested }) =>
      unit.updateRevocation({ expected: 'requested', next: holdLease({ ...requested, tenantId: OTHER_TENANT }, LEASE) }),
  },
  {
    name: 'it is held, and not requested any more',
    stage: (unit, { held }) => unit.updateRevocation({ expected: 'requested', next: { ...held, leaseId: 'lease/2' } }),
  },
  {
    name: 'it is due, and not held any more',
    stage: (unit, { due }) => unit.updateRevocation({ expected: 'held', next: due }),
  },
  {
    name: 'it became due in the same unit',
    stage: (unit, { held }) => {
      unit.makeRevocationDue({ tenantId: held.tenantId, grantId: held.grantId, at: after(5) });
      unit.updateRevocation({ expected: 'held', next: dueRevocation(held, after(6)) });
    },
  },
  ...[-1, 1].map((tries): Attempt => ({
    name: `it was tried ${tries < 0 ? 'more' : 'less'} often than the change says when it is put off`,
    stage: (unit, { due }) =>
      unit.updateRevocation({ expected: 'due', next: { ...due, attempts: due.attempts + tries, nextAttemptAt: after(99) } }),
  })),
  {
    name: 'it was tried meanwhile and is to be done',
    stage: (unit, { due }) =>
      unit.updateRevocation({ expected: 'due', next: endRevocation({ ...due, attempts: due.attempts - 1 }, REVOKED) }),
  },
  {
    name: 'it was done in the same unit',
    stage: (unit, { due }) => {
      for (let made = 0; made < 2; made += 1) {
        unit.updateRevocation({ expected: 'due', next: endRevocation(due, REVOKED) });
      }
    },
  },
];

const terms: [string, Partial<RevocationTerms>][] = [
  ['session', { sessionId: aSessionId() }],
  ['grant', { grantId: aGrantId() }],
  ['agent', { agentId: 'agent_x' as AgentId }],
  ['run', { runId: 'run_x' as RunId }],
  ['workload', { workloadHash: 'e'.repeat(64) as WorkloadHash }],
  ['connector', { connector: 'elsewhere' }],
  ['resource', { resourceRef: 'dbrole:other' }],
  ['beginning', { createdAt: after(1) }],
];

const undrawn: [string, (given: GivenRevocations) => { from: Revocation; next: Revocation }][] = [
  ['requested again', ({ requested }) => ({ from: requested, next: requested })],
  ['held again', ({ held }) => ({ from: held, next: held })],
  ['requested once it is held', ({ requested, held }) => ({ from: held, next: { ...requested, ...termsOf(held) } })],
  ['held once it is due', ({ held, due }) => ({ from: due, next: { ...held, ...termsOf(due) } })],
  ['done while it is held', ({ held }) => ({ from: held, next: endRevocation(dueRevocation(held, after(5)), REVOKED) })],
  ['due once it is done', ({ due }) => ({ from: endRevocation(due, REVOKED), next: { ...due, nextAttemptAt: after(60) } })],
];

/** What no caller that knows the states does. */
export const mistakes: Attempt[] = [
  ...terms.map(([what, change]): Attempt => ({
    name: `another ${what}`,
    stage: (unit, { requested }) =>
      unit.updateRevocation({ expected: 'requested', next: holdLease({ ...requested, ...change }, LEASE) }),
  })),
  ...undrawn.map(([name, change]): Attempt => ({
    name: `is ${name}`,
    stage: (unit, given) => {
      const { from, next } = change(given);
      unit.updateRevocation({ expected: from.state, next });
    },
  })),
  {
    name: 'another lease when it becomes due',
    stage: (unit, { held }) =>
      unit.updateRevocation({ expected: 'held', next: { ...dueRevocation(held, after(5)), leaseId: 'lease/other' } }),
  },
  {
    name: 'no lease any more when it becomes due',
    stage: (unit, { held }) =>
      unit.updateRevocation({ expected: 'held', next: { ...dueRevocation(held, after(5)), leaseId: null } }),
  },
  {
    name: 'a lease that ends sooner',
    stage: (unit, { due }) => unit.updateRevocation({ expected: 'due', next: { ...due, leaseExpiresAt: after(1) } }),
  },
  {
    name: 'no lease any more when it is done',
    stage: (unit, { due }) =>
      unit.updateRevocation({ expected: 'due', next: { ...endRevocation(due, REVOKED), leaseId: null } }),
  },
];

function termsOf(revocation: Revocation): Pick<Revocation, 'id' | 'sessionId' | 'grantId'> {
  const { id, sessionId, grantId } = revocation;
  return { id, sessionId, grantId };
}
