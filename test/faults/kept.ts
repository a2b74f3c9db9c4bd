import type { Pool } from 'pg';
import { z } from 'zod';
import type { LeaseLedger } from '../support/lease-ledger.ts';
import type { Agent } from './agents.ts';
import { type Findings, noFindings } from './invariants.ts';

/** How many calls a handle may make. */
export const BUDGET = 10;

/** A revocation that was asked for may have happened; one that was acknowledged has. */
type Revoked = 'no' | 'asked' | 'acknowledged';

export interface KeptSession extends Agent {
  revoked: Revoked;
}

export interface KeptHandle {
  grantId: string;
  handle: string;
  revoked: Revoked;
  /** Of all its calls. */
  pages: number[];
  acknowledged: number[];
}

export interface KeptSecret {
  grantId: string;
  artifactId: string;
  /** What came of opening it. */
  passwords: string[];
}

export interface KeptApproval {
  approvalId: string;
  acknowledged: number;
}

const sessionRows = z.array(z.object({ id: z.string(), state: z.string() }));
const grantRows = z.array(
  z.object({
    id: z.string(),
    state: z.string(),
    requests_used: z.number().nullable(),
    completed: z.number(),
    revocation_id: z.string().nullable(),
  }),
);

/** What agents were told, to be compared with what is on record and downstream when all is over. */
export class Kept {
  readonly findings: Findings = noFindings();
  readonly sessions: KeptSession[] = [];
  readonly handles: KeptHandle[] = [];
  readonly #secrets: KeptSecret[] = [];
  readonly #approvals: KeptApproval[] = [];

  addSession(agent: Agent): KeptSession {
    return added(this.sessions, { ...agent, revoked: 'no' });
  }

  addHandle(grantId: string, handle: string): KeptHandle {
    return added(this.handles, { grantId, handle, revoked: 'no', pages: [], acknowledged: [] });
  }

  addSecret(grantId: string, artifactId: string): KeptSecret {
    return added(this.#secrets, { grantId, artifactId, passwords: [] });
  }

  addApproval(approvalId: string): KeptApproval {
    return added(this.#approvals, { approvalId, acknowledged: 0 });
  }

  /** Adds what is not as agents were told. `arrivals` says how often GitHub was asked for a page. */
  async compare(database: Pool, ledger: LeaseLedger, arrivals: ReadonlyMap<number, number>): Promise<void> {
    await this.#compareSessions(database);
    await this.#compareApprovals(database);
    const grants = await grantsOf(database, [...this.handles, ...this.#secrets]);
    for (const handle of this.handles) this.#compareHandle(handle, grants.get(handle.grantId), arrivals);
    for (const secret of this.#secrets) this.#compareSecret(secret, grants.get(secret.grantId), ledger);
  }

  async #compareSessions(database: Pool): Promise<void> {
    const ids = this.sessions.map(({ sessionId }) => sessionId);
    const { rows } = await database.query('SELECT id, state FROM sessions WHERE id = ANY ($1)', [ids]);
    const states = new Map(sessionRows.parse(rows).map(({ id, state }) => [id, state]));
    for (const { sessionId, revoked } of this.sessions) {
      const state = states.get(sessionId) ?? 'not there';
      const mayBe = revoked === 'no' ? ['active'] : revoked === 'asked' ? ['active', 'revoked'] : ['revoked'];
      if (!mayBe.includes(state)) this.findings.lost.push(`session ${sessionId} (${revoked} revoked) is ${state}`);
    }
  }

  async #compareApprovals(database: Pool): Promise<void> {
    const ids = this.#approvals.map(({ approvalId }) => approvalId);
    const { rows } = await database.query('SELECT id, state FROM approvals WHERE id = ANY ($1)', [ids]);
    const states = new Map(sessionRows.parse(rows).map(({ id, state }) => [id, state]));
    for (const { approvalId, acknowledged } of this.#approvals) {
      const state = states.get(approvalId) ?? 'not there';
      if (acknowledged > 0 && state !== 'approved') this.findings.lost.push(`approval ${approvalId} is ${state}`);
      if (acknowledged > 1) this.findings.doubled.push(`approval ${approvalId} was decided ${acknowledged} times`);
    }
  }

  #compareHandle(kept: KeptHandle, grant: GrantRow | undefined, arrivals: ReadonlyMap<number, number>): void {
    const { grantId, pages, acknowledged, revoked } = kept;
    const { lost, doubled } = this.findings;
    const state = grant?.state ?? 'not there';
    const mayBe = revoked === 'acknowledged' ? ['revoked'] : ['issued', 'revoked'];
    if (!mayBe.includes(state)) lost.push(`grant ${grantId} (${revoked} revoked) is ${state}`);
    const arrived = pages.reduce((sum, page) => sum + (arrivals.get(page) ?? 0), 0);
    const used = grant?.requests_used ?? 0;
    if (used < arrived) lost.push(`${arrived} calls of ${grantId} reached GitHub, and ${used} were counted`);
    if (arrived > BUDGET) doubled.push(`${arrived} calls of ${grantId} reached GitHub`);
    if ((grant?.completed ?? 0) < acknowledged.length) lost.push(`calls of ${grantId} were answered and are not on record`);
    for (const page of pages) if ((arrivals.get(page) ?? 0) > 1) doubled.push(`call ${page} reached GitHub twice`);
    for (const page of acknowledged) if (!arrivals.has(page)) lost.push(`call ${page} was answered and never made`);
  }

  #compareSecret({ grantId, passwords }: KeptSecret, grant: GrantRow | undefined, ledger: LeaseLedger): void {
    const { lost, doubled, leaked } = this.findings;
    const state = grant?.state ?? 'not there';
    if (!['issued', 'used', 'revoked'].includes(state)) lost.push(`grant ${grantId} was issued and is ${state}`);
    if (passwords.length > 1) doubled.push(`the secret of ${grantId} was opened ${passwords.length} times`);
    if (passwords.length > 0 && state === 'issued') lost.push(`the secret of ${grantId} was opened and may be again`);
    const lease = ledger.issued().find(({ revocationId }) => revocationId === grant?.revocation_id);
    for (const password of passwords) {
      if (lease?.password !== password) leaked.push(`grant ${grantId} opened the secret of another`);
    }
  }
}

type GrantRow = z.infer<typeof grantRows>[number];

const GRANTS = `
  SELECT g.id, g.state, a.requests_used::integer, r.id AS revocation_id,
    (SELECT count(*)::integer FROM audit_events e
     WHERE e.tenant_id = g.tenant_id AND e.grant_id = g.id AND e.type = 'proxy.completed') AS completed
  FROM grants g
  LEFT JOIN artifacts a ON a.grant_id = g.id
  LEFT JOIN revocation_jobs r ON r.grant_id = g.id
  WHERE g.id = ANY ($1)`;

async function grantsOf(database: Pool, kept: readonly { grantId: string }[]): Promise<Map<string, GrantRow>> {
  const { rows } = await database.query(GRANTS, [kept.map(({ grantId }) => grantId)]);
  return new Map(grantRows.parse(rows).map((row) => [row.id, row]));
}

function added<Item>(list: Item[], item: Item): Item {
  list.push(item);
  return item;
}
