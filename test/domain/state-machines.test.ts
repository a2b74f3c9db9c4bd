import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { APPROVAL_TRANSITIONS } from '../../src/domain/approval.ts';
import { ARTIFACT_TRANSITIONS, endArtifact, type Artifact } from '../../src/domain/artifact.ts';
import { endGrant, GRANT_TRANSITIONS, isGrantOpen, issueGrant, useGrant, type Grant } from '../../src/domain/grant.ts';
import { REVOCATION_TRANSITIONS } from '../../src/domain/revocation.ts';
import { endSession, isSessionLive, SESSION_TRANSITIONS, type Session } from '../../src/domain/session.ts';
import { aGrant, anArtifact, anArtifactId, aPendingGrant, aSession, aWrappedSecret, after } from '../support/entities.ts';

/** The arrows of the design, one a line, written down apart from the tables in the code. */
const DIAGRAMS: Readonly<Record<'session' | 'grant' | 'approval' | 'artifact' | 'revocation', readonly string[]>> = {
  session: ['active -> revoked', 'active -> expired'],
  grant: [
    'pending -> approved',
    'pending -> denied',
    'pending -> expired',
    'approved -> issued',
    'approved -> revoked',
    'approved -> expired',
    'issued -> delivered',
    'issued -> used',
    'issued -> revoked',
    'issued -> expired',
    'delivered -> revoked',
    'delivered -> expired',
    'used -> revoked',
    'used -> expired',
  ],
  // A yes that is not the last leaves it pending.
  approval: ['pending -> pending', 'pending -> approved', 'pending -> denied', 'pending -> expired'],
  artifact: ['issued -> used', 'issued -> revoked', 'issued -> expired'],
  // A try that failed leaves it due.
  revocation: ['requested -> held', 'requested -> due', 'requested -> done', 'held -> due', 'due -> due', 'due -> done'],
};

const ENDED = ['denied', 'revoked', 'expired', 'done'];

const TABLES = {
  session: SESSION_TRANSITIONS,
  grant: GRANT_TRANSITIONS,
  approval: APPROVAL_TRANSITIONS,
  artifact: ARTIFACT_TRANSITIONS,
  revocation: REVOCATION_TRANSITIONS,
};

describe.each(['session', 'grant', 'approval', 'artifact', 'revocation'] as const)('the %s table', (entity) => {
  const arrows = Object.entries(TABLES[entity]).flatMap(([from, targets]: [string, readonly string[]]) =>
    targets.map((to) => `${from} -> ${to}`),
  );

  it('has the arrows of the design and no other', () => {
    expect(arrows.sort()).toEqual([...DIAGRAMS[entity]].sort());
  });

  it('leads out of no ended state', () => {
    for (const state of ENDED) expect(arrows.filter((arrow) => arrow.startsWith(`${state} ->`))).toEqual([]);
  });
});

/** Does something to an entity; answers what became of it or throws. */
type Operation<Entity> = (entity: Entity) => Entity;

/**
 * Walks random sequences of operations. Each either follows an arrow of the diagram, and changes nothing that was fixed
 * at the start, or is refused as a conflict where the diagram has no such arrow.
 */
function walk<Entity extends { state: string }>(
  start: Entity,
  diagram: readonly string[],
  operations: Readonly<Record<string, Operation<Entity>>>,
): Set<string> {
  const reached = new Set<string>([start.state]);
  const targets = fc.array(fc.constantFrom(...Object.keys(operations)), { maxLength: 12 });
  fc.assert(
    fc.property(targets, (sequence) => {
      let entity = start;
      for (const target of sequence) {
        const before = structuredClone(entity);
        const arrow = `${entity.state} -> ${target}`;
        if (diagram.includes(arrow)) {
          const next = operations[target]?.(entity);
          expect(next).toMatchObject({ ...before, state: target });
          expect(entity).toEqual(before);
          entity = next ?? entity;
          reached.add(entity.state);
        } else {
          expect(() => operations[target]?.(entity)).toThrow(expect.objectContaining({ code: 'conflict' }));
          expect(entity).toEqual(before);
        }
      }
    }),
    { numRuns: 300 },
  );
  return reached;
}

describe('random operations', () => {
  it('take a session only along its arrows', () => {
    const reached = walk<Session>(aSession(), DIAGRAMS.session, {
      revoked: (session) => endSession(session, 'revoked', after(1), 'stop'),
      expired: (session) => endSession(session, 'expired', after(1), 'time is up'),
    });
    expect([...reached].sort()).toEqual(['active', 'expired', 'revoked']);
  });

  const grantOperations: Readonly<Record<string, Operation<Grant>>> = {
    issued: (grant) => issueGrant(grant, anArtifactId(), after(1)),
    used: (grant) => useGrant(grant),
    denied: (grant) => endGrant(grant, 'denied', after(1), 'no'),
    revoked: (grant) => endGrant(grant, 'revoked', after(1), 'stop'),
    expired: (grant) => endGrant(grant, 'expired', after(1), 'time is up'),
  };

  it('take a grant only along its arrows', () => {
    expect([...walk<Grant>(aGrant(aSession()), DIAGRAMS.grant, grantOperations)].sort()).toEqual([
      'approved',
      'expired',
      'issued',
      'revoked',
      'used',
    ]);
  });

  it('take a waiting grant only along its arrows', () => {
    expect([...walk<Grant>(aPendingGrant(aSession()), DIAGRAMS.grant, grantOperations)].sort()).toEqual([
      'denied',
      'expired',
      'pending',
    ]);
  });

  it.each(['delivered', 'used'] as const)('take a %s grant only along its arrows', (state) => {
    const issued = issueGrant(aGrant(aSession()), anArtifactId(), after(1));
    const reached = walk<Grant>({ ...issued, state }, DIAGRAMS.grant, grantOperations);
    expect([...reached].sort()).toEqual(['expired', 'revoked', state].sort());
  });

  it('take an artifact only along its arrows', () => {
    const reached = walk<Artifact>(anArtifact(aGrant(aSession())), DIAGRAMS.artifact, {
      used: (artifact) => endArtifact(artifact, 'used', after(1)),
      revoked: (artifact) => endArtifact(artifact, 'revoked', after(1)),
      expired: (artifact) => endArtifact(artifact, 'expired', after(1)),
    });
    expect([...reached].sort()).toEqual(['expired', 'issued', 'revoked', 'used']);
  });
});

describe('a grant', () => {
  it.each([
    ['pending', true],
    ['approved', true],
    ['issued', true],
    ['delivered', true],
    ['used', true],
    ['denied', false],
    ['revoked', false],
    ['expired', false],
  ] as const)('that is %s is open: %s', (state, open) => {
    const artifactId = anArtifactId();
    const grant = { ...aPendingGrant(aSession()), artifactId, issuedAt: after(1), endedAt: after(2), endReason: 'x', state };
    expect(isGrantOpen(grant)).toBe(open);
  });
});

describe('a wrapped secret', () => {
  it.each(['used', 'revoked', 'expired'] as const)('holds nothing once it is %s, and ends no second time', (state) => {
    const artifact = aWrappedSecret(aGrant(aSession()));
    const { sealed, ...terms } = artifact;
    const ended = endArtifact(artifact, state, after(1));
    expect(ended).toEqual({ ...terms, state, endedAt: after(1) });
    expect(JSON.stringify(ended)).not.toContain(sealed);
    expect(() => endArtifact(ended, 'revoked', after(2))).toThrow(expect.objectContaining({ code: 'conflict' }));
  });
});

describe('a session', () => {
  it('lives until its time is up, and not a moment longer', () => {
    const session = aSession({ expiresAt: after(900) });
    expect(isSessionLive(session, after(899.999))).toBe(true);
    expect(isSessionLive(session, after(900))).toBe(false);
  });

  it('is dead once it has ended, whatever the time', () => {
    expect(isSessionLive(endSession(aSession(), 'revoked', after(1), 'stop'), after(2))).toBe(false);
  });
});
