import { describe, expect, it } from 'vitest';
import { type Artifact, endArtifact } from '../../src/domain/artifact.ts';
import { endGrant } from '../../src/domain/grant.ts';
import type { SealedSecret } from '../../src/domain/sealing.ts';
import { endSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aHandleHash,
  aLeaseGrant,
  anArtifact,
  anArtifactId,
  anEvent,
  aWrappedSecret,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenIssuedGrant,
  givenLease,
  givenSession,
  type OpenRepository,
  winnersOf,
} from './repository-under-test.ts';

type Given = Awaited<ReturnType<typeof givenLease>>;

/** What unwrapping does to the rows. */
function use(unit: UnitOfWork, { grant, artifact }: Given): void {
  unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(2)) });
  unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
}

const conflicts: { name: string; stage: (unit: UnitOfWork, given: Given) => void }[] = [
  {
    name: 'its id is taken',
    stage: (unit, { session, artifact }) => {
      const grant = aLeaseGrant(session);
      unit.insertGrant(grant);
      unit.insertArtifact(aWrappedSecret(grant, { id: artifact.id }));
    },
  },
  {
    name: 'its grant has a secret already',
    stage: (unit, { grant }) => unit.insertArtifact(aWrappedSecret(grant, { id: anArtifactId() })),
  },
  {
    name: 'a handle is issued for its grant as well',
    stage: (unit, { grant }) => unit.insertArtifact(anArtifact(grant, { id: anArtifactId() })),
  },
  {
    name: 'it comes after its grant has ended',
    stage: (unit, { session }) => {
      const grant = aLeaseGrant(session);
      unit.insertGrant(grant);
      unit.updateGrant({ expected: 'approved', next: endGrant(grant, 'expired', after(2), 'late') });
      unit.insertArtifact(aWrappedSecret(grant));
    },
  },
  {
    name: 'it is used twice in one unit',
    stage: (unit, given) => {
      use(unit, given);
      unit.updateArtifact({ expected: 'issued', next: endArtifact(given.artifact, 'used', after(2)) });
    },
  },
  {
    name: "another tenant's is used",
    stage: (unit, { artifact }) =>
      unit.updateArtifact({
        expected: 'issued',
        next: endArtifact({ ...artifact, tenantId: OTHER_TENANT }, 'used', after(2)),
      }),
  },
];

const mistakes: { name: string; next: (artifact: Given['artifact']) => Artifact }[] = [
  { name: 'a longer life', next: (artifact) => endArtifact({ ...artifact, expiresAt: after(1e6) }, 'used', after(2)) },
  { name: 'another kind', next: (artifact) => asHandle(endArtifact(artifact, 'used', after(2))) },
  { name: 'a state that it is in', next: (artifact) => ({ ...artifact, sealed: 'sealed anew' as SealedSecret }) },
];

const asHandle = (artifact: Artifact): Artifact => ({
  ...artifact,
  kind: 'proxy_handle',
  handleHash: aHandleHash(),
  state: 'used',
  endedAt: after(2),
});

/** What every repository must do with secrets that wait to be unwrapped. */
export function repositoryWrappedSecretContract(open: OpenRepository): void {
  describe('a wrapped secret', () => {
    const under = eachWithRepository(open);
    const given = async (): Promise<Given> => {
      const { repository } = under.current;
      return givenLease(repository, await givenSession(repository));
    };
    const find = ({ artifact }: Given) => under.current.repository.findArtifact(artifact.tenantId, artifact.id);

    it('is found with its sealed text while it is issued', async () => {
      const lease = await given();
      expect(await find(lease)).toEqual(lease.artifact);
      expect(await under.current.repository.findExpiredGrants(after(1e6), 10)).toEqual([
        { grant: lease.grant, artifact: lease.artifact, approval: null },
      ]);
    });

    it('keeps a long sealed text to the letter', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const grant = aLeaseGrant(session);
      const artifact = aWrappedSecret(grant, { sealed: `{"v":1} '"\\ ${'Aa0+/=_-'.repeat(8192)}` as SealedSecret });
      await repository.transact((unit) => {
        unit.insertGrant(grant);
        unit.insertArtifact(artifact);
      });
      expect(await repository.findArtifact(session.tenantId, artifact.id)).toEqual(artifact);
    });

    it.each(['used', 'revoked', 'expired'] as const)('is erased when it is %s', async (state) => {
      const lease = await given();
      const { sealed, ...terms } = lease.artifact;
      await under.current.repository.transact((unit) =>
        unit.updateArtifact({ expected: 'issued', next: endArtifact(lease.artifact, state, after(2)) }),
      );
      const found = await find(lease);
      expect(found).toEqual({ ...terms, state, endedAt: after(2) });
      expect(JSON.stringify(found)).not.toContain(sealed);
    });

    it('is erased even when the change that ends it still carries it', async () => {
      const lease = await given();
      const carrying = { ...lease.artifact, state: 'used' as const, endedAt: after(2) };
      await under.current.repository.transact((unit) => unit.updateArtifact({ expected: 'issued', next: carrying }));
      expect(await find(lease)).toEqual(endArtifact(lease.artifact, 'used', after(2)));
      expect(await find(lease)).not.toHaveProperty('sealed');
    });

    it('is erased when its session ends, and enters no event', async () => {
      const { repository } = under.current;
      const [lease, used] = [await given(), await given()];
      await repository.transact((unit) => use(unit, used));
      const seen: unknown[] = [];
      for (const { session } of [lease, used]) {
        await repository.transact((unit) => {
          const { tenantId, id: sessionId } = session;
          unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(5), 'stop') });
          const events = (_: unknown, artifact: Artifact | null) => {
            seen.push(artifact);
            return [anEvent()];
          };
          unit.endGrantsOfSession({ tenantId, sessionId, state: 'revoked', at: after(5), reason: 'stop', events });
        });
      }
      expect(await find(lease)).toEqual(endArtifact(lease.artifact, 'revoked', after(5)));
      expect(await find(used)).toEqual(endArtifact(used.artifact, 'used', after(2)));
      expect(seen).toEqual([endArtifact(lease.artifact, 'revoked', after(5)), null]);
      expect(seen[0]).not.toHaveProperty('sealed');
    });

    it('is used by exactly one of fifty who ask at once', async () => {
      const { repository, events } = under.current;
      const lease = await given();
      const attempts = Array.from({ length: 50 }, (_, index) =>
        repository.transact((unit) => {
          use(unit, lease);
          unit.record(anEvent({ type: 'artifact.used', requestId: `attempt ${index}` }));
        }),
      );
      const [winner, ...more] = await winnersOf(attempts);
      expect(more).toEqual([]);
      expect((await events()).map(({ requestId }) => requestId)).toEqual([`attempt ${winner}`]);
      expect(await find(lease)).toEqual(endArtifact(lease.artifact, 'used', after(2)));
      expect(await repository.findGrant(lease.grant.tenantId, lease.grant.id)).toMatchObject({ state: 'used' });
    });

    it('is used or revoked and never both, whichever comes first, its use or the end of its session', async () => {
      const { repository } = under.current;
      const lease = await given();
      const uses = Array.from({ length: 20 }, () => () => repository.transact((unit) => use(unit, lease)));
      const end = () => endSessionAfter(repository, lease.session, 5);
      const winners = await winnersOf([...uses.slice(0, 3), end, ...uses.slice(3)].map((attempt) => attempt()));
      expect(winners).toContain(3);
      expect(winners.length).toBeLessThanOrEqual(2);
      const [state, at] = winners.length === 2 ? (['used', 2] as const) : (['expired', 5] as const);
      expect(await find(lease)).toEqual(endArtifact(lease.artifact, state, after(at)));
      expect(await repository.findGrant(lease.grant.tenantId, lease.grant.id)).toMatchObject({ state: 'expired' });
    });

    it('stays when the unit that uses it is refused', async () => {
      const { repository } = under.current;
      const lease = await given();
      const { tenantId, sessionId, id: grantId } = lease.grant;
      const attempt = repository.transact((unit) => {
        use(unit, lease);
        unit.requireIssuedGrant({ tenantId, sessionId, grantId, orExpired: false });
      });
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await find(lease)).toEqual(lease.artifact);
    });

    it('stays when the event of its use cannot be written', async (context) => {
      const { repository, failNextAudit } = under.current;
      if (failNextAudit === undefined) return context.skip();
      const lease = await given();
      failNextAudit();
      const attempt = repository.transact((unit) => {
        use(unit, lease);
        unit.record(anEvent({ type: 'artifact.used' }));
      });
      await expect(attempt).rejects.toMatchObject({ code: 'unavailable' });
      expect(await find(lease)).toEqual(lease.artifact);
      expect(await repository.findGrant(lease.grant.tenantId, lease.grant.id)).toEqual(lease.grant);
    });

    it.each(conflicts)('is a conflict when $name', async ({ stage }) => {
      const lease = await given();
      const attempt = under.current.repository.transact((unit) => stage(unit, lease));
      await expect(attempt).rejects.toMatchObject({ code: 'conflict' });
      expect(await find(lease)).toEqual(lease.artifact);
    });

    it.each(mistakes)('never gets $name, which is no lost race', async ({ next }) => {
      const lease = await given();
      const failure: unknown = await under.current.repository
        .transact((unit) => unit.updateArtifact({ expected: 'issued', next: next(lease.artifact) }))
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      expect(await find(lease)).toEqual(lease.artifact);
    });

    it('never comes of a handle', async () => {
      const { repository } = under.current;
      const { artifact } = await givenIssuedGrant(repository);
      const { handleHash: _, ...terms } = artifact;
      const next = { ...terms, kind: 'wrapped_secret' as const, state: 'used' as const, endedAt: after(2) };
      const failure: unknown = await repository
        .transact((unit) => unit.updateArtifact({ expected: 'issued', next }))
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toHaveProperty('code', 'conflict');
      expect(await repository.findByHandle(artifact.handleHash)).toMatchObject({ artifact });
    });

    it('is not found among the handles that ended', async () => {
      const { repository } = under.current;
      const { session } = await given();
      const { tenantId, runId, workloadHash } = session;
      await endSessionAfter(repository, session, 5);
      expect(await repository.findEndedHandles({ tenantId, runId }, after(0))).toEqual([]);
      expect(await repository.findEndedHandles({ tenantId, workloadHash }, after(0))).toEqual([]);
    });

    it('is forgotten with its session', async () => {
      const { repository } = under.current;
      const lease = await given();
      await endSessionAfter(repository, lease.session, 5);
      expect(await repository.forgetEnded(after(6), 100)).toBe(3);
      expect(await find(lease)).toBeNull();
    });
  });
}
