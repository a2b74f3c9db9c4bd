import { hash, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import Fastify from 'fastify';
import { generateKeyPair, importSPKI, jwtVerify, SignJWT } from 'jose';
import { Pool } from 'pg';
import { v7 } from 'uuid';
import { z } from 'zod';
import { FIND_SESSION, INSERT_GRANT, INSERT_SESSION } from './floor-statements.ts';

// The least a server of this kind must do that keeps its state in Postgres: parse the same bodies, verify and sign the same tokens,
// read the session, and commit the same rows to the same tables, each call in one statement. No checks beyond the signatures.

const environment = z
  .object({
    FLOOR_ISSUER: z.string(),
    FLOOR_PUBLIC_KEY_FILE: z.string(),
    FLOOR_DSN: z.string(),
    FLOOR_CONNECTIONS: z.coerce.number(),
  })
  .parse(process.env);

const REVISION = 'f'.repeat(64);
const attestationKey = await importSPKI(await readFile(environment.FLOOR_PUBLIC_KEY_FILE, 'utf8'), 'RS256');
const sessionKeys = await generateKeyPair('EdDSA');
const pool = new Pool({ connectionString: environment.FLOOR_DSN, max: environment.FLOOR_CONNECTIONS });
const app = Fastify();

interface SessionBody {
  tenant_id: string;
  agent_id: string;
  run_id: string;
  tool_context: string[];
  attestation: { token: string };
}

interface PodClaims {
  'kubernetes.io': {
    namespace: string;
    node: { name: string; uid: string };
    pod: { name: string; uid: string };
    serviceaccount: { name: string; uid: string };
  };
}

app.post<{ Body: SessionBody }>('/v1/sessions', async ({ body }) => {
  const { payload } = await jwtVerify<PodClaims>(body.attestation.token, attestationKey, {
    issuer: environment.FLOOR_ISSUER,
  });
  const { namespace, node, pod, serviceaccount } = payload['kubernetes.io'];
  const workload = JSON.stringify({
    type: 'k8s_sa',
    issuer: payload.iss,
    subject: payload.sub,
    audience: 'asb-control-plane',
    namespace,
    attributes: {
      pod_uid: pod.uid,
      node_uid: node.uid,
      pod_name: pod.name,
      node_name: node.name,
      service_account_uid: serviceaccount.uid,
    },
    serviceAccount: serviceaccount.name,
  });
  const workloadHash = hash('sha256', workload);
  const [id, tokenId] = [`sess_${v7()}`, v7()];
  const now = new Date();
  const expiresAt = new Date(now.getTime() + 900_000);
  const { tenant_id, agent_id, run_id, tool_context } = body;
  const token = await new SignJWT({ sid: id, tenant_id, agent_id, run_id, tool_context, workload_hash: workloadHash })
    .setProtectedHeader({ alg: 'EdDSA' })
    .setIssuer('asb')
    .setSubject(agent_id)
    .setJti(tokenId)
    .setIssuedAt()
    .setExpirationTime(expiresAt)
    .sign(sessionKeys.privateKey);
  const session = [id, tenant_id, agent_id, run_id, tool_context, workload, workloadHash, tokenId, now, expiresAt];
  const details = JSON.stringify({ subject: payload.sub, tools: tool_context });
  const event = [`evt_${v7()}`, `req_${randomUUID()}`, REVISION, details];
  await pool.query({ ...INSERT_SESSION, values: [...session, ...event] });
  return { session_id: id, session_token: token, expires_at: expiresAt.toISOString() };
});

interface GrantBody {
  tool: string;
  capability: string;
  resource_ref: string;
  ttl_seconds: number;
  reason: string;
}

interface SessionRow {
  tenant_id: string;
  agent_id: string;
  run_id: string;
  workload_hash: string;
}

app.post<{ Body: GrantBody }>('/v1/grants', async ({ headers, body }) => {
  const token = (headers.authorization ?? '').slice('Bearer '.length);
  const { payload } = await jwtVerify<{ sid: string }>(token, sessionKeys.publicKey, { issuer: 'asb' });
  const { rows } = await pool.query<SessionRow>({ ...FIND_SESSION, values: [payload.sid] });
  const session = rows[0] as SessionRow;
  const { tool, capability, resource_ref, ttl_seconds, reason } = body;
  const [id, artifactId] = [`gr_${v7()}`, `art_${v7()}`];
  const handle = `ph_${randomBytes(32).toString('base64url')}`;
  const requestHash = hash('sha256', JSON.stringify([payload.sid, body]));
  const now = new Date();
  const expiresAt = new Date(now.getTime() + ttl_seconds * 1000);
  const { tenant_id, agent_id, run_id, workload_hash } = session;
  const asked = [tool, capability, resource_ref, ttl_seconds, reason, requestHash, now, expiresAt];
  const grant = [id, tenant_id, payload.sid, agent_id, run_id, workload_hash, ...asked];
  const details = { tool, reason, capability, expires_at: expiresAt, resource_ref, delivery_mode: 'proxy' };
  const events = [`evt_${v7()}`, `evt_${v7()}`, `evt_${v7()}`, `req_${randomUUID()}`, REVISION, JSON.stringify(details)];
  const values = [...grant, artifactId, hash('sha256', handle), ...events];
  await pool.query({ ...INSERT_GRANT, values });
  return {
    grant_id: id,
    state: 'issued',
    delivery: { kind: 'proxy_handle', handle, artifact_id: artifactId },
    expires_at: expiresAt.toISOString(),
  };
});

const address = await app.listen({ host: '127.0.0.1', port: 0 });
process.stderr.write(`${JSON.stringify({ message: 'listening', address: address.slice('http://'.length) })}\n`);
