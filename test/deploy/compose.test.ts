import { existsSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import composeSpec from 'docker-compose/schema/compose-spec.json' with { type: 'json' };
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { readEnvironment, unknownVariables } from '../../src/bootstrap/environment.ts';

const ROOT = new URL('../../', import.meta.url);
const TEXT = readFileSync(new URL('docker-compose.yml', ROOT), 'utf8');

const Compose = z.looseObject({
  services: z.record(
    z.string(),
    z.looseObject({
      image: z.string(),
      user: z.string().optional(),
      command: z.array(z.string()).optional(),
      entrypoint: z.array(z.string()).optional(),
      environment: z.record(z.string(), z.string()).default({}),
      volumes: z.array(z.string()).default([]),
      ports: z.array(z.string()).default([]),
      depends_on: z.record(z.string(), z.looseObject({ condition: z.string() })).default({}),
      healthcheck: z.looseObject({}).optional(),
      profiles: z.array(z.string()).default([]),
      read_only: z.boolean().default(false),
      cap_drop: z.array(z.string()).default([]),
      security_opt: z.array(z.string()).default([]),
      stop_grace_period: z.string().optional(),
    }),
  ),
  volumes: z.record(z.string(), z.unknown()),
});

const compose = Compose.parse(parse(TEXT, { merge: true }));
const { services } = compose;
const service = (name: string) => services[name]!;
const OWN = Object.entries(services).filter(([, { image }]) => image.startsWith('asb:'));

/** What the Compose specification has against a file. */
function schemaProblems(text: string): string[] {
  const { $schema: _unused, ...schema } = composeSpec;
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  const validate = ajv.compile(schema);
  validate(parse(text, { merge: true }));
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath}: ${message ?? ''}`);
}

describe('docker-compose.yml', () => {
  test('is what the Compose specification allows', () => {
    expect(schemaProblems(TEXT)).toEqual([]);
  });

  test.each<[from: string, to: string, where: string]>([
    ['healthcheck:', 'healtcheck:', '/services/'],
    ['service_healthy', 'service_helthy', '/services/'],
    ["ports: ['127.0.0.1:8080:8080']", 'ports: 8080', '/services/api/ports'],
  ])('%s → %s is found', (from, to, where) => {
    expect(TEXT).toContain(from);
    expect(schemaProblems(TEXT.replaceAll(from, to))).toEqual(
      expect.arrayContaining([expect.stringMatching(new RegExp(`^${where}`))]),
    );
  });

  test.each(['api', 'worker'])(
    '%s: its environment is one that it starts with, and every variable means something',
    (name) => {
      const { environment } = service(name);
      expect(readEnvironment(environment).problems).toEqual([]);
      expect(unknownVariables(environment)).toEqual([]);
    },
  );

  test('the API and the worker run on the same state', () => {
    const { ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE: _worker, ...shared } = service('worker').environment;
    expect(service('api').environment).toEqual(shared);
    expect(service('migrate').environment.ASB_POSTGRES_DSN).toBe(shared.ASB_POSTGRES_DSN);
  });

  test('every script that is run, and every folder that is mounted, is there', () => {
    const scripts = Object.values(services).flatMap(({ command = [] }) => command.filter((word) => word.endsWith('.ts')));
    const mounted = Object.values(services).flatMap(({ volumes }) => volumes.map((volume) => volume.split(':')[0] ?? ''));
    const sources = mounted.filter((source) => source.startsWith('.'));
    expect(scripts).toHaveLength(3);
    for (const path of [...scripts, ...sources]) expect(existsSync(new URL(path, ROOT)), path).toBe(true);
    for (const name of mounted.filter((source) => !source.startsWith('.'))) expect(compose.volumes).toHaveProperty(name);
  });

  test('every key file that is read is one that the keys service makes', () => {
    const made = readFileSync(new URL('deploy/compose/make-keys.sh', ROOT), 'utf8');
    const read = OWN.flatMap(([, { environment }]) =>
      Object.values(environment).filter((value) => value.startsWith('/keys/')),
    );
    expect(read.length).toBeGreaterThan(4);
    for (const path of read) expect(made).toContain(`make ${path.slice('/keys/'.length)} `);
  });

  test('nothing starts before what it needs', () => {
    for (const name of ['api', 'worker']) {
      const needs = Object.entries(service(name).depends_on).map(([other, { condition }]) => `${other} ${condition}`);
      expect(needs.sort()).toEqual([
        'keys service_completed_successfully',
        'migrate service_completed_successfully',
        'redis service_healthy',
      ]);
    }
    expect(service('migrate').depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
  });

  test('whatever goes on running tells how it is', () => {
    for (const [name, { healthcheck, image }] of Object.entries(services)) {
      const runsOn = !['keys', 'migrate', 'token'].includes(name);
      // The image of ASB asks the API by itself.
      if (runsOn && !(name === 'api' && image.startsWith('asb:'))) expect(healthcheck, name).toHaveProperty('test');
    }
  });

  test('our own services are confined, and nothing is reached from other machines', () => {
    expect(OWN.map(([name]) => name).sort()).toEqual(['api', 'migrate', 'token', 'worker']);
    for (const [, own] of OWN) {
      expect(own).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
      expect(own.user).toBeUndefined();
    }
    for (const port of Object.values(services).flatMap(({ ports }) => ports)) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('Redis never drops what is in use, and asks for its password', () => {
    const command = (service('redis').command ?? []).join(' ');
    expect(command).toContain('--maxmemory-policy noeviction');
    expect(command).toContain(`--requirepass ${service('api').environment.ASB_REDIS_PASSWORD ?? '?'}`);
  });

  test('no image is whatever is newest', () => {
    for (const { image } of Object.values(services)) expect(image).toMatch(/:(?!latest$)[\w.-]+$/);
  });

  test('the API has the time that it takes to stop', () => {
    // Its notice of 5 s and its grace of 25 s, with room.
    expect(Number.parseInt(service('api').stop_grace_period ?? '', 10)).toBeGreaterThanOrEqual(5 + 25 + 5);
  });
});
