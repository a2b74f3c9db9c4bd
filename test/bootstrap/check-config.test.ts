import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { runConfigCommand } from '../../src/bootstrap/check-config.ts';
import { configFileJsonSchema } from '../../src/bootstrap/config-file/json-schema.ts';
import { readConfigFile } from '../../src/bootstrap/config-file/read-config-file.ts';
import { ConfigFolder, SIGNING_SECRET } from './config-file-folder.ts';
import { changed, NO_ISSUERS, SAMPLE } from './config-file-sample.ts';

async function run(args: readonly string[], variables: Record<string, string> = {}) {
  let stdout = '';
  let stderr = '';
  const code = await runConfigCommand(args, variables, {
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
  });
  return { code, stdout, stderr };
}

test('a valid file is summed up in one line, with the revision that the broker will name', async () => {
  using folder = new ConfigFolder();
  const result = await readConfigFile(folder.file, NO_ISSUERS);
  const revision = result.outcome === 'valid' ? result.settings.revision : '';
  const summary = `${folder.file}: valid: 1 tenant, 1 tool, 1 policy, revision ${revision}\n`;
  expect(await run(['check', folder.file])).toEqual({ code: 0, stdout: summary, stderr: '' });
  expect(await run(['check'], { ASB_CONFIG_FILE: folder.file })).toEqual({ code: 0, stdout: summary, stderr: '' });
});

test('every mistake is a line on standard error', async () => {
  using folder = new ConfigFolder();
  folder.write('asb.yaml', changed('version: 1', 'version: 2', changed('links: true', 'links: 1')));
  folder.write('desk.secret', SIGNING_SECRET, 0o644);
  expect(await run(['check', folder.file])).toEqual({
    code: 1,
    stdout: '',
    stderr: [
      `${folder.file}:1:10: version: must be 1\n`,
      `${folder.file}:58:20: notifications.receivers[0].secret_file: the file is a secret and others may use it (mode 0644); make it 0600 or 0400\n`,
      `${folder.file}:64:14: notifications.receivers[1].links: must be true or false\n`,
    ].join(''),
  });
});

describe('without the files that it names, as in an operator’s CI', () => {
  const named = ['ca.pem', 'token', 'ci.pem', 'delegate.json', 'desk.secret', 'desk.pem', 'lead.url', 'app.pem'];

  test('a file is not valid, unless they are skipped', async () => {
    using folder = new ConfigFolder();
    const complete = await run(['check', folder.file]);
    for (const name of named) folder.remove(name);
    const { code, stderr } = await run(['check', folder.file]);
    expect(code).toBe(1);
    expect(stderr.split('\n').filter((line) => line.endsWith('the file cannot be read (ENOENT)'))).toHaveLength(
      named.length,
    );
    expect(await run(['check', '--skip-files', folder.file])).toEqual(complete);
  });

  test('its own mistakes are told', async () => {
    using folder = new ConfigFolder();
    folder.write('asb.yaml', changed('version: 1', 'version: 2'));
    const told = { code: 1, stdout: '', stderr: `${folder.file}:1:10: version: must be 1\n` };
    expect(await run(['check', folder.file, '--skip-files'])).toEqual(told);
  });

  test('it must be there itself', async () => {
    const told = { code: 1, stdout: '', stderr: '/nowhere/asb.yaml: the file cannot be read (ENOENT)\n' };
    expect(await run(['check', '--skip-files', '/nowhere/asb.yaml'])).toEqual(told);
    expect(await run(['check', '/nowhere/asb.yaml'])).toEqual(told);
  });
});

test('a doubt is a warning and no mistake', async () => {
  using folder = new ConfigFolder();
  folder.write('asb.yaml', changed('capabilities: [repo.*]', 'capabilities: [other]'));
  const warning = `warning: ${folder.file}:23:21: tenants[0].policies[0].capability: allows nothing: no tool of this tenant may use this capability\n`;
  for (const args of [['check'], ['check', '--skip-files']]) {
    expect(await run([...args, folder.file])).toMatchObject({ code: 0, stderr: warning });
  }
});

test('the issuers that the environment names may be bound to, whatever else it lacks', async () => {
  using folder = new ConfigFolder();
  const own = SAMPLE.replaceAll('https://k8s.example', 'https://env.example');
  folder.write('asb.yaml', own.replace(/ {2}kubernetes:[^]*?(?= {2}oidc:)/, ''));
  expect(await run(['check', folder.file])).toMatchObject({ code: 1 });
  expect(await run(['check', folder.file], { ASB_K8S_ISSUER: 'https://env.example' })).toMatchObject({ code: 0 });
  expect(await run(['check', folder.file], { ASB_OIDC_ISSUER: 'https://env.example', ASB_K8S_ISSUER: '' })).toMatchObject({
    code: 1,
  });
});

test('schema prints the JSON Schema', async () => {
  expect(await run(['schema'])).toEqual({ code: 0, stdout: configFileJsonSchema(), stderr: '' });
});

test.each([
  [[]],
  [['check']],
  [['verify', 'x']],
  [['check', 'a', 'b']],
  [['check', '--force', 'a']],
  [['schema', 'a']],
  [['schema', '--skip-files']],
])('%j is answered with how to call it', async (args) => {
  const { code, stdout, stderr } = await run(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^usage: config check/);
});

test('the entrypoint exits with the code of the command', () => {
  using folder = new ConfigFolder();
  const main = (file: string) =>
    execFileSync(process.execPath, ['src/main/config.ts', 'check', file], { encoding: 'utf8', stdio: 'pipe' });
  expect(main(folder.file)).toContain(': valid: 1 tenant, ');
  folder.write('asb.yaml', 'version: 1\n');
  expect(() => main(folder.file)).toThrow(
    expect.objectContaining({ status: 1, stderr: `${folder.file}:1:1: tenants: is missing\n` }),
  );
});
