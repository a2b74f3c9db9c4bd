import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RunningProcess, startApi, startProcess } from '../../dev/api-process.ts';
import { hang } from '../../dev/github/answers.ts';
import { type GitHubStandIn, startGitHubStandIn } from '../../dev/github/server.ts';
import { type Cluster, makeCluster } from '../../dev/cluster.ts';
import { mintProjectedToken } from '../support/attestations.ts';
import { bodyOf, GRANT_REQUEST, sessionRequest } from '../support/asb.ts';
import { configured, TENANTS } from '../support/configured.ts';
import { selfSigned } from '../support/listeners.ts';
import { grpcClient, jsonClient, RawClient } from '../support/transports.ts';

let folder: string;
let cluster: Cluster;
let github: GitHubStandIn;
let running: RunningProcess | null = null;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asb-process-'));
  cluster = await makeCluster();
  writeFileSync(join(folder, 'cluster.pem'), cluster.publicKey);
  github = await startGitHubStandIn({ token: 'ghp_process' });
});
afterEach(async () => {
  await running?.stop('SIGKILL');
  running = null;
  await github.close();
  rmSync(folder, { recursive: true });
});

const least = (): Record<string, string> => ({
  ASB_K8S_ISSUER: cluster.issuer,
  ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'cluster.pem'),
  ASB_GITHUB_TOKEN: 'ghp_process',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
});

const attestation = async () => ({
  kind: 'k8s_sa_jwt',
  token: await cluster.projectedToken({ namespace: 'agents', serviceAccount: 'reviewer' }),
});

async function aHandle(url: string): Promise<string> {
  const client = jsonClient(url);
  const session = bodyOf(await client.call('createSession', await sessionRequest(attestation))) as { session_token: string };
  const grant = bodyOf(await client.call('requestGrant', GRANT_REQUEST, { bearer: session.session_token }));
  client.close();
  return (grant as { delivery: { handle: string } }).delivery.handle;
}

async function run(env: Record<string, string>): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, ['src/main/api.ts'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, stderr };
}

describe('the API process', () => {
  test('starts with issuer, key and token alone, and says that its session key is ephemeral', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0' });
    expect(running.output()).toContain('signed with a key that ends with this process');
    const ready = await fetch(`${running.urls[0]}/readyz`);
    expect(ready.status).toBe(200);
  });

  test('writes audit events to standard output, one JSON object a line, and logs to standard error', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0', ASB_GITHUB_API_BASE_URL: github.url });
    let stdout = '';
    running.child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    await aHandle(running.urls[0]);
    await expect.poll(() => stdout.trim().split('\n')).toHaveLength(4);
    const types = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(types).toEqual(['session.created', 'grant.approved', 'artifact.issued', 'grant.issued']);
  });

  test('finishes a call under way when it is told to stop, and refuses new connections', async () => {
    const auditFile = join(folder, 'audit.jsonl');
    running = await startApi({
      ...least(),
      ASB_ADDR: '127.0.0.1:0',
      ASB_GITHUB_API_BASE_URL: github.url,
      ASB_AUDIT_FILE: auditFile,
    });
    const handle = await aHandle(running.urls[0]);
    let finish = (): void => undefined;
    github.answerNext((_request, response) => {
      finish = () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"late":true}');
    });
    const arrived = github.nextRequest();
    const client = new RawClient(running.urls[0]);
    const call = client.postJson('/v1/proxy/github/rest', { proxy_handle: handle, operation: 'repository_metadata' });
    await arrived;
    const stopped = running.stop();
    await expect
      .poll(() =>
        fetch(`${running!.urls[0]}/healthz`).then(
          () => 'open',
          () => 'refused',
        ),
      )
      .toBe('refused');
    finish();
    const answer = await call;
    expect([answer.status, answer.body.toString()]).toEqual([200, '{"late":true}']);
    expect(await stopped).toBe(0);
    client.close();
    expect(readFileSync(auditFile, 'utf8')).toContain('"proxy.completed"');
    expect(statSync(auditFile).mode & 0o777).toBe(0o600);
  });

  test('SIGHUP goes on in a new audit file after a rotation, and in the old one when there can be none', async () => {
    const auditFile = join(folder, 'audit.jsonl');
    const [first, second] = [join(folder, 'audit.1'), join(folder, 'audit.2')];
    const linesOf = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0', ASB_AUDIT_FILE: auditFile });
    await aHandle(running.urls[0]);
    renameSync(auditFile, first);
    await aHandle(running.urls[0]);
    running.child.kill('SIGHUP');
    await expect.poll(() => running!.output()).toContain('"message":"reloaded"');
    await aHandle(running.urls[0]);
    expect(linesOf(first)).toHaveLength(8);
    expect(linesOf(auditFile)).toHaveLength(4);

    renameSync(auditFile, second);
    mkdirSync(auditFile);
    running.child.kill('SIGHUP');
    await expect.poll(() => running!.output()).toContain('the one in use stays in use');
    expect(running.output()).toContain('EISDIR');
    await aHandle(running.urls[0]);
    expect(linesOf(second)).toHaveLength(8);
    expect(linesOf(first)).toHaveLength(8);
  });

  test('SIGHUP takes up a configuration file that changed, and keeps what is in force when it is spoilt', async () => {
    const file = configured();
    try {
      running = await startApi({ ASB_CONFIG_FILE: file.path, ASB_GITHUB_TOKEN: 'x', ASB_ADDR: '127.0.0.1:0' });
      const client = jsonClient(running.urls[0]);
      const pod = async () => ({ kind: 'k8s_sa_jwt', token: await mintProjectedToken({ now: new Date() }) });
      const open = async () => client.call('createSession', await sessionRequest(pod, { tenant_id: TENANTS.free }));
      const { session_token: bearer } = bodyOf(await open()) as { session_token: string };
      const ask = () => client.call('requestGrant', GRANT_REQUEST, { bearer });
      expect(await ask()).toMatchObject({ ok: true });

      file.write('version: 1\ntenants: 7\n');
      running.child.kill('SIGHUP');
      await expect.poll(() => running!.output()).toContain('the configuration in force stays');
      expect(running.output()).toContain('asb.yaml:2:10: tenants');
      expect(await ask()).toMatchObject({ ok: true });

      Object.assign(
        file.config.tenants.find(({ id }) => id === TENANTS.free)!,
        { policies: [] },
      );
      file.write();
      running.child.kill('SIGHUP');
      await expect.poll(async () => (await ask()).ok).toBe(false);
      client.close();
    } finally {
      file.remove();
    }
  });

  test('a configuration file with mistakes stops the start with all of them', async () => {
    const path = join(folder, 'asb.yaml');
    writeFileSync(path, 'version: 2\ntenants:\n  - id: a b\n');
    const { code, stderr } = await run({ ASB_CONFIG_FILE: path, ASB_GITHUB_TOKEN: 'x' });
    expect(code).toBe(1);
    expect(stderr).toMatch(/asb\.yaml:1:10: version: .*\n.*asb\.yaml:3:9: tenants\[0\]\.id: /);
  });

  test('stops although a gRPC connection is open and idle', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0', ASB_GRPC_ADDR: '127.0.0.1:0' }, 2);
    const client = grpcClient(running.urls[1]!);
    await client.call('createSession', await sessionRequest(attestation));
    expect(await running.stop()).toBe(0);
    client.close();
  });

  test('a second signal does not wait', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0', ASB_GITHUB_API_BASE_URL: github.url });
    const handle = await aHandle(running.urls[0]);
    github.answerNext(hang());
    const arrived = github.nextRequest();
    const client = new RawClient(running.urls[0]);
    const call = client.postJson('/v1/proxy/github/rest', { proxy_handle: handle, operation: 'repository_metadata' });
    const lost = expect(call).rejects.toThrow();
    await arrived;
    running.child.kill('SIGTERM');
    await expect.poll(() => running!.output()).toContain('stopping');
    expect(await running.stop('SIGINT')).toBe(1);
    await lost;
    client.close();
  });

  test('a defect ends it, and is logged without its words', async () => {
    const fault = 'process.on("SIGUSR2", () => { throw new TypeError("quotes ghp_canary"); })';
    running = await startProcess(['--import', `data:text/javascript,${fault}`, 'src/main/api.ts'], {
      ...least(),
      ASB_ADDR: '127.0.0.1:0',
    });
    expect(await running.stop('SIGUSR2')).toBe(1);
    await expect.poll(() => running!.output()).toContain('a defect: the process ends');
    expect(running.output()).toContain('TypeError');
    expect(running.output()).not.toContain('ghp_canary');
  });

  test('serves JSON and gRPC on one port when TLS is on', async () => {
    const { cert, key } = selfSigned();
    writeFileSync(join(folder, 'tls.crt'), cert);
    writeFileSync(join(folder, 'tls.key'), key);
    running = await startApi({
      ...least(),
      ASB_ADDR: '127.0.0.1:0',
      ASB_TLS_CERT_FILE: join(folder, 'tls.crt'),
      ASB_TLS_KEY_FILE: join(folder, 'tls.key'),
    });
    const url = running.urls[0].replace('http:', 'https:');
    for (const client of [jsonClient(url, cert), grpcClient(url, cert)]) {
      expect(await client.call('createSession', await sessionRequest(attestation))).toMatchObject({ ok: true });
      client.close();
    }
  });
});

describe('what is wrong with the configuration stops the start, in one message', () => {
  test('every problem is listed', async () => {
    const mistakes = {
      ASB_K8S_PUBLIC_KEY_FILE: '/nowhere.pem',
      ASB_ADDR: 'nowhere',
      ASB_POSTGRES_DSN: 'postgres://x',
      ASB_AUDIT_FILE: folder,
      ASB_GITHUB_TOKEN: 'ghp_canary\nx',
    };
    const { code, stderr } = await run({ ...least(), ...mistakes });
    expect(code).toBe(1);
    expect(stderr).toContain('the configuration has 8 mistakes');
    for (const name of Object.keys(mistakes)) expect(stderr).toContain(`- ${name}: `);
    expect(stderr).not.toContain('canary');
    expect(stderr).not.toContain('    at ');
  });

  test.each([
    ['a key file that is not there', 'ASB_K8S_PUBLIC_KEY_FILE', '/nowhere.pem', /the file cannot be read \(ENOENT\)/],
    ['a key file that holds no key', 'ASB_K8S_PUBLIC_KEY_FILE', 'README.md', /- ASB_K8S_PUBLIC_KEY_FILE: /],
    [
      'a signing key that is none',
      'ASB_SESSION_SIGNING_PRIVATE_KEY_FILE',
      'README.md',
      /- ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: /,
    ],
    ['an audit file that cannot be opened', 'ASB_AUDIT_FILE', '/nowhere/audit.jsonl', /- ASB_AUDIT_FILE: .*\(ENOENT\)/],
    ['a token that no header can carry', 'ASB_GITHUB_TOKEN', 'ghp_x y', /- ASB_GITHUB_TOKEN: must be printable ASCII/],
  ])('%s', async (_name, variable, value, message) => {
    const { code, stderr } = await run({ ...least(), ASB_ADDR: '127.0.0.1:0', [variable]: value });
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });

  test('the second address is taken: nothing is left running', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0' });
    const taken = new URL(running.urls[0]).host;
    const { code } = await run({ ...least(), ASB_ADDR: '127.0.0.1:0', ASB_GRPC_ADDR: taken });
    expect(code).toBe(1);
  });

  test('an address that is taken', async () => {
    running = await startApi({ ...least(), ASB_ADDR: '127.0.0.1:0' });
    const { code, stderr } = await run({ ...least(), ASB_ADDR: new URL(running.urls[0]).host });
    expect(code).toBe(1);
    expect(stderr).toContain('the address is in use by another process');
  });
});
