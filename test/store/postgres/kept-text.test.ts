import { afterEach, describe, expect, it } from 'vitest';
import { endArtifact } from '../../../src/domain/artifact.ts';
import { endGrant, issueGrant } from '../../../src/domain/grant.ts';
import type { AgentId, RunId, SessionId, TenantId } from '../../../src/domain/ids.ts';
import type { SealedSecret } from '../../../src/domain/sealing.ts';
import { PostgresRepository } from '../../../src/store/postgres/postgres-repository.ts';
import { givenPendingGrant, givenSession } from '../../contract/repository-under-test.ts';
import {
  aDelegation,
  aLeaseGrant,
  anArtifactId,
  anEvent,
  aSession,
  aWord,
  aWrappedSecret,
  after,
  TENANT,
} from '../../support/entities.ts';
import { decideApproval } from '../../../src/domain/approval.ts';
import { emptiedDatabase } from './emptied-database.ts';

const database = emptiedDatabase();
const open = async () => new PostgresRepository({ pool: await database.pool() });
afterEach(() => database.empty());

const ODD = 'a\0b \uD83D ü 💥 \\u0000';
const KEPT = 'a\uFFFDb \uFFFD ü 💥 \\u0000';

describe('text that Postgres has no room for', () => {
  it('is kept but for that, wherever it stands', async () => {
    const repository = await open();
    const workload = { ...aSession().workload, subject: ODD, attributes: { [ODD]: ODD } };
    const delegation = aDelegation({ subject: ODD, resourceFilters: { github_repo: [ODD] } });
    const session = aSession({ agentId: ODD as AgentId, runId: ODD as RunId, toolContext: [ODD], workload, delegation });
    const details = { [ODD]: ODD, list: [ODD] };
    await repository.transact((unit) => {
      unit.insertSession(session);
      unit.record(anEvent({ requestId: ODD, subject: { tenantId: TENANT, runId: ODD }, details }));
    });
    const kept = {
      ...session,
      agentId: KEPT,
      runId: KEPT,
      toolContext: [KEPT],
      workload: { ...workload, subject: KEPT, attributes: { [KEPT]: KEPT } },
      delegation: { ...delegation, subject: KEPT, resourceFilters: { github_repo: [KEPT] } },
    };
    expect(await repository.findSession(TENANT, session.id)).toEqual(kept);
    const { rows } = await repository.listAuditEvents(TENANT, {}, { limit: 1, after: null });
    expect(rows).toMatchObject([{ requestId: KEPT, subject: { runId: KEPT }, details: { [KEPT]: KEPT, list: [KEPT] } }]);
  });

  it('finds again what was stored with it', async () => {
    const repository = await open();
    const session = await givenSession(repository, aSession({ runId: ODD as RunId }));
    const { grant, approval } = await givenPendingGrant(repository, session, { grant: { requestId: ODD } });
    expect(await repository.findGrantByRequestId(TENANT, session.id, ODD)).toMatchObject({ id: grant.id, requestId: KEPT });
    expect(await repository.findActiveSessions({ tenantId: TENANT, runId: ODD as RunId }, 9)).toHaveLength(1);
    const next = decideApproval(approval, aWord(ODD, { comment: ODD }));
    // What was fixed is the same after it was stored, so the change goes through.
    await repository.transact((unit) => unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next }));
    expect(await repository.findApproval(TENANT, approval.id)).toMatchObject({ decisions: [{ comment: KEPT }] });
    const ended = endGrant(grant, 'denied', after(9), ODD);
    await repository.transact((unit) => unit.updateGrant({ expected: 'pending', next: ended }));
    expect(await repository.findGrant(TENANT, grant.id)).toMatchObject({ endReason: KEPT });
  });

  it.each(['sess_\0', 'sess_\uD83D', '\0', `sess_' OR ''='`, `sess_$1`])('is no id that anything has: %j', async (id) => {
    const repository = await open();
    await givenSession(repository);
    expect(await repository.findSession(TENANT, id as SessionId)).toBeNull();
    expect(await repository.findSession(id as TenantId, id as SessionId)).toBeNull();
    expect(await repository.findDueNotifications(after(0), 9, [id])).toEqual([]);
    const cursor = Buffer.from(`sess_${id}`).toString('base64url');
    await expect(repository.listSessions(TENANT, {}, { limit: 9, after: cursor })).resolves.toMatchObject({ next: null });
  });
});

describe('a secret', () => {
  const SEALED = 'asb1.canary-sealed-5d1c' as SealedSecret;
  const given = async (repository: PostgresRepository) => {
    const session = await givenSession(repository);
    const approved = aLeaseGrant(session);
    const grant = issueGrant(approved, anArtifactId(), after(1));
    const artifact = aWrappedSecret(grant, { sealed: SEALED });
    await repository.transact((unit) => {
      unit.insertGrant(approved);
      unit.insertArtifact(artifact);
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.record(anEvent({ type: 'artifact.issued' }));
    });
    return { session, grant, artifact };
  };
  /** Everything that any table holds, as text. */
  const everything = async (): Promise<string> => {
    const pool = await database.pool();
    const { rows: tables } = await pool.query<{ name: string }>(
      `SELECT quote_ident(table_name) AS name FROM information_schema.tables WHERE table_schema = 'public'`,
    );
    const texts = [];
    for (const { name } of tables) texts.push((await pool.query(`SELECT t::text FROM ${name} AS t`)).rows);
    return JSON.stringify(texts);
  };

  it('is in one column of one row while it waits, and nowhere once it was used', async () => {
    const repository = await open();
    const { grant, artifact } = await given(repository);
    expect((await everything()).split(SEALED)).toHaveLength(2);
    await repository.transact((unit) => {
      unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(2)) });
      unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
      unit.record(anEvent({ type: 'artifact.used' }));
    });
    expect(await everything()).not.toContain(SEALED);
  });

  it('is in no error that its row runs into', async () => {
    const repository = await open();
    const { session, artifact } = await given(repository);
    const attempts = [
      { ...artifact },
      { ...artifact, id: anArtifactId() },
      { ...artifact, id: anArtifactId(), expiresAt: new Date(Number.NaN) },
      { ...artifact, id: anArtifactId(), tenantId: null as never },
    ];
    for (const wrong of attempts) {
      const error: unknown = await repository
        .transact((unit) => unit.insertArtifact(wrong))
        .catch((failure: unknown) => failure);
      expect(error).toBeInstanceOf(Error);
      const texts = [];
      for (let cause = error; cause instanceof Error; cause = cause.cause)
        texts.push({ ...cause }, cause.message, cause.stack);
      expect(JSON.stringify(texts)).not.toContain(SEALED);
      expect(JSON.stringify(texts)).not.toContain(session.id);
    }
  });
});
