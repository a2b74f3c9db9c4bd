import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AUDIT_USAGE, runAudit } from '../../src/bootstrap/run-audit.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';
import { type ChainWorld, openChainWorld, type TenantWorld } from '../store/postgres/audit-chain-world.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519');
const pem = (key: typeof publicKey) => key.export({ format: 'pem', type: 'spki' }).toString();
const privatePem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
const SIGNED_AT = '2026-01-02T03:04:05.000Z';

let world: ChainWorld;
let folder = '';
beforeAll(async () => {
  world = await openChainWorld(await keyRingFromPem(privatePem));
  folder = mkdtempSync(join(tmpdir(), 'asb-audit-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await world.close();
});

function fileOf(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

const variables = () => ({
  ASB_POSTGRES_DSN: world.dsn,
  ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: fileOf('signing.pem', privatePem),
});

async function run(args: readonly string[], environment: Record<string, string | undefined> = variables()) {
  let stdout = '';
  let stderr = '';
  const code = await runAudit(args, environment, {
    stdout: async (text) => void (stdout += text),
    stderr: (text) => (stderr += text),
  });
  return { code, stdout, stderr };
}

/** Sealed events of a tenant, four of them. */
async function aChain(): Promise<TenantWorld> {
  const tenant = world.aTenant();
  await tenant.record(4);
  await tenant.seal();
  return tenant;
}

describe('audit verify', () => {
  test('says of each tenant that its chain is intact, and how far', async () => {
    const [one, two] = [await aChain(), world.aTenant()];
    await two.record(1);
    const { code, stdout, stderr } = await run(['verify']);
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        `${one.id}: intact: 4 events, 2 checkpoints, the last of ${SIGNED_AT}`,
        `${two.id}: intact: 0 events, 0 checkpoints; 1 event not sealed yet, and so not covered`,
      ]),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('names what was done, and exits with 2', async () => {
    const [whole, tampered] = [await aChain(), await aChain()];
    await tampered.sql(`UPDATE audit_events SET code = 'x' WHERE tenant_id = $1 AND chain_seq = 2`);
    const { code, stdout } = await run(['verify']);
    expect(code).toBe(2);
    expect(stdout).toContain(`${whole.id}: intact: 4 events`);
    expect(stdout).toContain(`${tampered.id}: NOT INTACT: altered: event 2 (${tampered.event(2)}) was altered: `);
    expect(stdout).toContain(`${tampered.id}: as it was signed up to event 0: 0 checkpoints\n`);
    const alone = await run(['verify', '--tenant', whole.id]);
    expect(alone).toMatchObject({ code: 0, stdout: expect.stringMatching(/^t_\S+: intact: 4 events.*\n$/) });
    await tampered.sql(`DELETE FROM audit_events WHERE tenant_id = $1`);
    expect(await run(['verify', `-tenant=${tampered.id}`])).toMatchObject({ code: 2 });
  });

  test('needs public keys only, and names one that it lacks', async () => {
    const tenant = await aChain();
    const publicFile = fileOf('public.pem', pem(other.publicKey) + pem(publicKey));
    const args = ['verify', '--tenant', tenant.id, '--public-key'];
    expect(await run([...args, publicFile], { ASB_POSTGRES_DSN: world.dsn })).toMatchObject({ code: 0 });
    const { code, stdout } = await run([...args, fileOf('other.pem', pem(other.publicKey))]);
    expect(code).toBe(2);
    expect(stdout).toContain(`signed by the key ${world.keys.signingKey.kid}, which is not among those given`);
  });

  test('compares with checkpoints that were kept elsewhere, also of a tenant of which nothing is left', async () => {
    const [gone, cut] = [await aChain(), await aChain()];
    const saved = fileOf('checkpoints.jsonl', (await run(['checkpoints'])).stdout);
    for (const table of ['audit_events', 'audit_chain_heads', 'audit_checkpoints']) {
      await gone.sql(`DELETE FROM ${table} WHERE tenant_id = $1`);
    }
    await cut.moveHead(await cut.linkAt(3));
    await cut.sql(`DELETE FROM audit_events WHERE tenant_id = $1 AND chain_seq = 4`);
    await cut.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND chain_seq = 4`);
    expect(await run(['verify', '--tenant', cut.id])).toMatchObject({ code: 0 });
    const { code, stdout } = await run(['verify', '--checkpoint', saved]);
    expect(code).toBe(2);
    expect(stdout).toContain(`${gone.id}: NOT INTACT: removed: event 1 was removed`);
    expect(stdout).toContain(`${cut.id}: NOT INTACT: removed: event 4 was removed`);
  });

  test('prints nothing that an inserted id could make a reader or a terminal believe', async () => {
    const tenant = await aChain();
    const hostile = `evt_\n${tenant.id}: intact: 5 events\u001b[2J\u202e`;
    await tenant.sql(`UPDATE audit_events SET id = $2 WHERE tenant_id = $1 AND chain_seq = 2`, hostile);
    const { stdout } = await run(['verify', '--tenant', tenant.id]);
    expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(stdout.split('\n').filter((line) => line.startsWith(`${tenant.id}: intact`))).toEqual([]);
  });
});

describe('audit export', () => {
  const seqsOf = (text: string) =>
    text.split('\n').flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as { chain_seq: number }).chain_seq]));
  const cursorOf = (stderr: string) => /^cursor: (\S+)\n$/.exec(stderr)?.[1] ?? 'none';

  test('prints sealed events as JSON lines, and goes on where it ended', async () => {
    const tenant = await aChain();
    const args = ['export', '--tenant', tenant.id];
    const first = await run([...args, '--limit', '3']);
    expect(first.code).toBe(0);
    expect(seqsOf(first.stdout)).toEqual([1, 2, 3]);
    const second = await run([...args, '--after', cursorOf(first.stderr)]);
    expect(seqsOf(second.stdout)).toEqual([4]);
    const file = fileOf('cursor', second.stderr);
    await tenant.record(1);
    expect(await run([...args, '--after', `@${file}`])).toMatchObject({ code: 0, stdout: '', stderr: second.stderr });
    await tenant.seal();
    expect(seqsOf((await run([...args, '--after', `@${file}`])).stdout)).toEqual([5]);
  });

  test('of all tenants has each of their events once', async () => {
    await aChain();
    const whole = (await run(['export'])).stdout;
    let pieces = '';
    let after: string[] = [];
    for (;;) {
      const { stdout, stderr } = await run(['export', '--limit', '7', ...after]);
      if (stdout === '') break;
      pieces += stdout;
      after = ['--after', cursorOf(stderr)];
    }
    expect(pieces.split('\n').toSorted()).toEqual(whole.split('\n').toSorted());
  });
});

describe('audit checkpoints', () => {
  test('prints the last of each tenant, or every one', async () => {
    const [tenant, unsealed] = [await aChain(), world.aTenant()];
    await unsealed.record(1);
    const seqs = async (...args: string[]) => {
      const { code, stdout } = await run(['checkpoints', '--tenant', tenant.id, ...args]);
      expect(code).toBe(0);
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as object]));
    };
    expect(await seqs()).toEqual([expect.objectContaining({ tenant_id: tenant.id, chain_seq: 4, signed_at: SIGNED_AT })]);
    expect(await seqs('--all')).toMatchObject([{ chain_seq: 3 }, { chain_seq: 4 }]);
    expect(await run(['checkpoints', '--tenant', unsealed.id])).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('audit that cannot run exits with 1 and says why', () => {
  test.each([
    ['no command', []],
    ['a command that there is not', ['seal']],
    ['an option of another command', ['verify', '--after', 'x']],
    ['an option that there is not', ['export', '--force']],
    ['an empty option', ['verify', '--tenant', '']],
    ['a limit that is no number', ['export', '--limit', 'all']],
    ['a limit of nothing', ['export', '--limit', '0']],
    ['something besides', ['verify', 't_acme']],
  ])('%s: by its usage', async (_name, args) => {
    expect(await run(args)).toEqual({ code: 1, stdout: '', stderr: AUDIT_USAGE });
  });

  test.each<[name: string, args: string[], environment: Record<string, string>, message: RegExp]>([
    ['no DSN', ['export'], { ASB_POSTGRES_DSN: '' }, /^audit: ASB_POSTGRES_DSN: write postgres:/],
    [
      'a database that is away',
      ['verify'],
      { ASB_POSTGRES_DSN: 'postgres://asb:canary@127.0.0.1:1/asb' },
      /^audit: the database of ASB_POSTGRES_DSN cannot be reached \(ECONNREFUSED\)$/,
    ],
    ['no keys', ['verify'], { ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: '' }, /^audit: give the public keys .*--public-key FILE$/],
    ['no key file', ['verify', '--public-key', '/nowhere'], {}, /^audit: --public-key: the file cannot be read \(ENOENT\)$/],
    [
      'a key file that is none',
      ['verify'],
      { ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: '/dev/null' },
      /^audit: ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: the public key file is empty/,
    ],
    [
      'no checkpoint in the file',
      ['verify', '--checkpoint', '/dev/null'],
      {},
      /^audit: --checkpoint: there is no checkpoint in it$/,
    ],
    [
      'a tenant that nothing is known of',
      ['verify', '--tenant', 't_none'],
      {},
      /^audit: --tenant: t_none has no events on record$/,
    ],
    ['a cursor that is none', ['export', '--after', 'x'], {}, /^audit: --after: is not a cursor that an export printed$/],
    [
      'a cursor file that is none',
      ['export', '--after', '@/nowhere'],
      {},
      /^audit: --after: the file cannot be read \(ENOENT\)$/,
    ],
  ])('%s', async (_name, args, environment, message) => {
    const { code, stdout, stderr } = await run(args, { ...variables(), ...environment });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.trimEnd()).toMatch(message);
    expect(stderr).not.toContain('canary');
  });

  test('a reader that goes away before the end', async () => {
    await aChain();
    const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    let stderr = '';
    const code = await runAudit(['export'], variables(), {
      stdout: () => Promise.reject(gone),
      stderr: (text) => (stderr += text),
    });
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  });
});

test('the program does the same by its own', async () => {
  const tenant = await aChain();
  const program = promisify(execFile)(process.execPath, ['src/main/audit.ts', 'verify', '--tenant', tenant.id], {
    env: { ...process.env, ...variables() },
  });
  expect(await program).toEqual({
    stdout: `${tenant.id}: intact: 4 events, 2 checkpoints, the last of ${SIGNED_AT}\n`,
    stderr: '',
  });
  const failing = promisify(execFile)(process.execPath, ['src/main/audit.ts', 'nothing']);
  await expect(failing).rejects.toMatchObject({ code: 1, stderr: AUDIT_USAGE });
});
