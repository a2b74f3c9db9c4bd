import type { Pool } from 'pg';
import { z } from 'zod';
import type { LeaseLedger } from '../support/lease-ledger.ts';

/** How a promise is broken: what was acknowledged is not so, what may happen once happened twice, what is over goes on. */
export type Harm = 'lost' | 'doubled' | 'leaked';
export type Findings = Record<Harm, string[]>;

export const noFindings = (): Findings => ({ lost: [], doubled: [], leaked: [] });

export const countsOf = ({ lost, doubled, leaked }: Findings): Record<Harm, number> => ({
  lost: lost.length,
  doubled: doubled.length,
  leaked: leaked.length,
});

interface Invariant {
  name: string;
  harm: Harm;
  /** Answers the rows that break it. */
  brokenBy: string;
}

/** What must hold whatever has happened, once a worker has cleared up. */
const INVARIANTS: readonly Invariant[] = [
  { name: 'no call is left open', harm: 'leaked', brokenBy: `SELECT id, kind FROM downstream_calls` },
  {
    name: 'no revocation is left open',
    harm: 'leaked',
    brokenBy: `SELECT id, state, grant_id FROM revocation_jobs WHERE state IN ('requested', 'due')`,
  },
  {
    name: 'no grant is left on its way to being issued',
    harm: 'leaked',
    brokenBy: `SELECT id FROM grants WHERE state = 'approved'`,
  },
  {
    name: 'no message is left waiting',
    harm: 'leaked',
    brokenBy: `SELECT id, approval_id, last_error FROM notifications WHERE state = 'waiting'`,
  },
  {
    name: 'every proxied call has one outcome',
    harm: 'lost',
    brokenBy: `
      SELECT request_id, array_agg(type ORDER BY position) AS types FROM audit_events
      WHERE type IN ('proxy.requested', 'proxy.completed', 'proxy.failed', 'proxy.unknown')
      GROUP BY request_id, artifact_id
      HAVING count(*) FILTER (WHERE type = 'proxy.requested') <> count(*) FILTER (WHERE type <> 'proxy.requested')`,
  },
  {
    name: 'every lease that was asked for has one outcome',
    harm: 'lost',
    brokenBy: `
      SELECT grant_id, array_agg(type ORDER BY position) AS types FROM audit_events
      WHERE type IN ('lease.requested', 'lease.issued', 'lease.failed', 'lease.unknown')
      GROUP BY grant_id
      HAVING count(*) FILTER (WHERE type = 'lease.requested') <> 1 OR count(*) <> 2`,
  },
  {
    name: 'every try to revoke a lease has one outcome',
    harm: 'lost',
    brokenBy: `
      SELECT grant_id, array_agg(type ORDER BY position) AS types FROM audit_events
      WHERE type IN
        ('lease.revocation_requested', 'lease.revoked', 'lease.revocation_failed', 'lease.revocation_unknown')
      GROUP BY grant_id
      HAVING count(*) FILTER (WHERE type = 'lease.revocation_requested')
        <> count(*) FILTER (WHERE type <> 'lease.revocation_requested')`,
  },
  {
    name: 'what happens once happens once',
    harm: 'doubled',
    brokenBy: `
      SELECT type, session_id, grant_id, artifact_id, approval_id, count(*)::integer FROM audit_events
      WHERE type ~ '^(session|artifact)[.](created|issued|used|revoked|expired)$'
        OR type ~ '^grant[.](requested|approved|issued|used|delivered|denied|revoked|expired)$'
        OR type ~ '^approval[.](requested|approved|denied|expired)$'
        OR type IN ('lease.requested', 'lease.issued', 'lease.failed', 'lease.unknown', 'lease.revoked', 'lease.expired')
        OR type IN ('notification.delivered', 'notification.given_up')
      GROUP BY type, session_id, grant_id, artifact_id, approval_id
      HAVING count(*) > 1`,
  },
  {
    name: 'a session is what its events say',
    harm: 'lost',
    brokenBy: `
      SELECT s.id, s.state, array_agg(e.type) AS types FROM sessions s
      LEFT JOIN audit_events e ON e.session_id = s.id AND e.type IN ('session.revoked', 'session.expired')
      GROUP BY s.id
      HAVING coalesce(min(e.type), 'session.active') <> 'session.' || s.state::text OR count(e.id) > 1`,
  },
  {
    name: 'a grant is what its events say',
    harm: 'lost',
    brokenBy: `
      SELECT g.id, g.state FROM grants g
      LEFT JOIN audit_events e ON e.grant_id = g.id AND e.type = 'grant.' || replace(g.state::text, 'pending', 'requested')
      GROUP BY g.id HAVING count(e.id) <> 1`,
  },
  {
    name: 'an artifact is what its events say',
    harm: 'lost',
    brokenBy: `
      SELECT a.id, a.state FROM artifacts a
      LEFT JOIN audit_events e ON e.artifact_id = a.id AND e.type = 'artifact.' || a.state::text
      GROUP BY a.id HAVING count(e.id) <> 1`,
  },
  {
    name: 'an approval has the decisions that its events tell of',
    harm: 'lost',
    brokenBy: `
      SELECT p.id, p.state, p.decisions FROM approvals p
      LEFT JOIN audit_events e
        ON e.approval_id = p.id AND e.type IN ('approval.given', 'approval.approved', 'approval.denied')
      GROUP BY p.id HAVING count(e.id) <> jsonb_array_length(p.decisions)`,
  },
  {
    name: 'a budget is what its calls have taken',
    harm: 'lost',
    brokenBy: `
      SELECT a.id, a.requests_used, count(e.id)::integer AS requested FROM artifacts a
      LEFT JOIN audit_events e ON e.artifact_id = a.id AND e.type = 'proxy.requested'
      GROUP BY a.id HAVING a.requests_used <> count(e.id)`,
  },
  {
    name: 'a grant has what was issued for it, and no longer than it lives',
    harm: 'leaked',
    brokenBy: `
      SELECT g.id, g.state AS grant_state, a.state AS artifact_state FROM grants g
      LEFT JOIN artifacts a ON a.grant_id = g.id
      WHERE (g.state = 'issued' AND a.state IS DISTINCT FROM 'issued')
        OR (g.state IN ('used', 'delivered') AND a.state IS DISTINCT FROM 'used')
        OR (g.ended_at IS NOT NULL AND a.state = 'issued')
        OR (a.state <> 'issued' AND a.sealed IS NOT NULL)`,
  },
  {
    name: 'no grant outlives its session',
    harm: 'leaked',
    brokenBy: `
      SELECT g.id, g.state FROM grants g JOIN sessions s ON s.id = g.session_id
      WHERE s.ended_at IS NOT NULL AND g.ended_at IS NULL`,
  },
  {
    name: 'an approval waits as long as its grant',
    harm: 'leaked',
    brokenBy: `
      SELECT p.id, p.state, g.state AS grant_state FROM approvals p JOIN grants g ON g.id = p.grant_id
      WHERE (p.state = 'pending') <> (g.state = 'pending')`,
  },
  {
    name: 'a lease is held for a grant that lives, and for no other',
    harm: 'leaked',
    brokenBy: `
      SELECT g.id, g.state AS grant_state, r.state AS lease_state FROM grants g
      LEFT JOIN revocation_jobs r ON r.grant_id = g.id
      WHERE g.delivery_mode IN ('wrapped_secret', 'minted_token') AND g.state <> 'pending'
        AND (g.state IN ('issued', 'used', 'delivered')) <> (coalesce(r.state = 'held', false))`,
  },
];

const SHOWN = 5;

/** Adds what does not hold of a database. */
export async function findBroken(database: Pool, findings: Findings): Promise<void> {
  for (const { name, harm, brokenBy } of INVARIANTS) {
    const { rows } = await database.query<Record<string, unknown>>(brokenBy);
    if (rows.length > 0) findings[harm].push(`not so: ${name}: ${JSON.stringify(rows.slice(0, SHOWN))}`);
  }
}

const jobs = z.array(z.object({ id: z.string(), state: z.string(), outcome: z.string().nullable() }));

/**
 * Adds leases that are alive downstream and that no live grant holds, and those that one holds and that are dead. What ran out by
 * itself at `now`, as the worker saw it, is dead.
 */
export async function findLeakedLeases(database: Pool, ledger: LeaseLedger, now: Date, findings: Findings): Promise<void> {
  const { rows } = await database.query('SELECT id, state, outcome FROM revocation_jobs');
  const known = new Map(jobs.parse(rows).map((job) => [job.id, job]));
  for (const { revocationId, leaseId, isRevoked, expiresAt } of ledger.issued()) {
    const job = known.get(revocationId);
    const isDead = isRevoked || (job?.outcome === 'expired' && expiresAt <= now);
    const isHeld = job?.state === 'held';
    if (!isHeld && !isDead) findings.leaked.push(`${leaseId} is alive downstream; on record: ${JSON.stringify(job)}`);
    if (isHeld && isDead) findings.lost.push(`${leaseId} is dead downstream; its grant lives`);
  }
}

const counted = z.tuple([z.object({ issue: z.number(), revoke: z.number(), proxy: z.number() })]);

/** Adds calls that were made downstream and that nobody put on record before. */
export async function findUnannounced(
  database: Pool,
  asked: { issue: number; revoke: number; proxy: number },
  findings: Findings,
): Promise<void> {
  const { rows } = await database.query(`
    SELECT count(*) FILTER (WHERE type = 'lease.requested')::integer AS issue,
      count(*) FILTER (WHERE type = 'lease.revocation_requested')::integer AS revoke,
      count(*) FILTER (WHERE type = 'proxy.requested')::integer AS proxy
    FROM audit_events`);
  const [onRecord] = counted.parse(rows);
  for (const kind of ['issue', 'revoke', 'proxy'] as const) {
    if (asked[kind] <= onRecord[kind]) continue;
    findings.lost.push(`${kind}: ${asked[kind]} calls were made downstream, and ${onRecord[kind]} are on record`);
  }
}
