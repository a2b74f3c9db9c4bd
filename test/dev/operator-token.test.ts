import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { staticKeys } from '../../src/authn/key-source.ts';
import { makeOperatorTokens } from '../../src/authn/operator-tokens.ts';
import { parsePublicKeys } from '../../src/authn/pem-keys.ts';
import { systemClock } from '../../src/bootstrap/system-clock.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import { OPERATOR_ROLES } from '../../src/domain/operator.ts';

const SCRIPT = fileURLToPath(new URL('../../dev/operator-token.ts', import.meta.url));
const TENANT = 't_dev' as TenantId;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asb-dev-token-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const run = (env: Record<string, string>) => spawnSync(process.execPath, [SCRIPT], { cwd: folder, env, encoding: 'utf8' });

/** As an API does that was started with the variables that the program names. */
function verify(token: string, stderr: string) {
  const { ASB_OPERATOR_ISSUER, ASB_OPERATOR_AUDIENCE, ASB_OPERATOR_PUBLIC_KEY_FILE } = Object.fromEntries(
    [...stderr.matchAll(/^(ASB_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  ) as Record<string, string>;
  const pem = readFileSync(join(folder, ASB_OPERATOR_PUBLIC_KEY_FILE!), 'utf8');
  const issuer = {
    issuer: ASB_OPERATOR_ISSUER!,
    audience: ASB_OPERATOR_AUDIENCE!,
    keys: staticKeys(parsePublicKeys(pem)),
    rolesClaim: 'roles',
    roleMappings: OPERATOR_ROLES.map((role) => ({ claimValue: role, roles: [role], tenants: [TENANT] })),
  };
  return makeOperatorTokens({ issuers: [issuer], tenants: [TENANT], clock: systemClock }).verify(token);
}

test('prints one token, which an API takes that was started as it says', async () => {
  const { status, stdout, stderr } = run({ ROLE: 'approver' });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  await expect(verify(stdout.trim(), stderr)).resolves.toEqual({
    issuer: 'asb-dev-operators',
    subject: 'dev-operator',
    roles: new Map([[TENANT, new Set(['approver'])]]),
  });
});

test('takes several roles and a subject, and keeps its key', async () => {
  run({ ROLE: 'viewer' });
  const key = readFileSync(join(folder, '.dev/operator.pem'), 'utf8');
  const { stdout, stderr } = run({ ROLE: 'operator, auditor', SUBJECT: 'olga' });
  await expect(verify(stdout.trim(), stderr)).resolves.toMatchObject({
    subject: 'olga',
    roles: new Map([[TENANT, new Set(['operator', 'auditor'])]]),
  });
  expect(readFileSync(join(folder, '.dev/operator.pem'), 'utf8')).toBe(key);
});

test('leaves nothing in its folder that others may read', () => {
  run({ ROLE: 'approver' });
  const files = readdirSync(join(folder, '.dev'));
  expect(files.sort()).toEqual(['operator.pem', 'operator.pub.pem']);
  for (const file of files) expect(statSync(join(folder, '.dev', file)).mode & 0o777).toBe(0o600);
});

test.each<Record<string, string>>([{}, { ROLE: '' }, { ROLE: 'root' }, { ROLE: 'approver,root' }])(
  '%j ends with the list of roles',
  (env) => {
    const { status, stdout, stderr } = run(env);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain('viewer, auditor, operator, approver');
    expect(readdirSync(folder)).toEqual([]);
  },
);
