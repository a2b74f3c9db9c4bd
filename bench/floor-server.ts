import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import Fastify from 'fastify';
import { generateKeyPair, importSPKI, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';

// The least a server of this kind must do: parse the same bodies, verify and sign the same tokens, fetch the same upstream.
// No checks, no state, no audit, no limits. What ASB does beyond this is its cost.

const environment = z
  .object({
    FLOOR_ISSUER: z.string(),
    FLOOR_PUBLIC_KEY_FILE: z.string(),
    FLOOR_UPSTREAM: z.string(),
    FLOOR_TOKEN: z.string(),
  })
  .parse(process.env);

const attestationKey = await importSPKI(await readFile(environment.FLOOR_PUBLIC_KEY_FILE, 'utf8'), 'RS256');
const sessionKeys = await generateKeyPair('EdDSA');
const app = Fastify();

interface SessionBody {
  tenant_id: string;
  agent_id: string;
  run_id: string;
  tool_context: string[];
  attestation: { token: string };
}

app.post<{ Body: SessionBody }>('/v1/sessions', async ({ body }) => {
  await jwtVerify(body.attestation.token, attestationKey, { issuer: environment.FLOOR_ISSUER });
  const sid = `sess_${randomUUID()}`;
  const expiresAt = new Date(Date.now() + 900_000);
  const token = await new SignJWT({
    sid,
    tenant_id: body.tenant_id,
    agent_id: body.agent_id,
    run_id: body.run_id,
    tool_context: body.tool_context,
    workload_hash: 'f'.repeat(64),
  })
    .setProtectedHeader({ alg: 'EdDSA' })
    .setIssuer('asb')
    .setSubject(body.agent_id)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(expiresAt)
    .sign(sessionKeys.privateKey);
  return { session_id: sid, session_token: token, expires_at: expiresAt.toISOString() };
});

app.post<{ Body: { tool: string } }>('/v1/grants', async ({ headers }) => {
  await jwtVerify((headers.authorization ?? '').slice('Bearer '.length), sessionKeys.publicKey, { issuer: 'asb' });
  return {
    grant_id: `gr_${randomUUID()}`,
    state: 'issued',
    delivery: { kind: 'proxy_handle', handle: `ph_${randomUUID()}`, artifact_id: `art_${randomUUID()}` },
    expires_at: new Date().toISOString(),
  };
});

app.post<{ Body: { params: { pull_number: number } } }>('/v1/proxy/github/rest', async ({ body }, reply) => {
  const response = await fetch(`${environment.FLOOR_UPSTREAM}/repos/acme/widgets/pulls/${body.params.pull_number}`, {
    headers: { authorization: `Bearer ${environment.FLOOR_TOKEN}`, accept: 'application/vnd.github+json' },
  });
  return reply.type('application/json; charset=utf-8').send(Buffer.from(await response.arrayBuffer()));
});

const address = await app.listen({ host: '127.0.0.1', port: 0 });
process.stderr.write(`${JSON.stringify({ message: 'listening', address: address.slice('http://'.length) })}\n`);
