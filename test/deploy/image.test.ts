import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = new URL('../../', import.meta.url);
const textOf = (name: string) => readFileSync(new URL(name, ROOT), 'utf8');

/** The instructions of a Dockerfile, each in one line, without comments. */
const instructions = textOf('Dockerfile')
  .split('\n')
  .filter((line) => !line.startsWith('#'))
  .join('\n')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line.trim() !== '');

const stages = instructions.flatMap((line, index) => (line.startsWith('FROM ') ? [index] : []));
const final = instructions.slice(stages.at(-1));
const argumentsOf = (lines: readonly string[], name: string) =>
  lines.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));

test('it is built in stages, on the Node that ASB runs on', () => {
  const images = argumentsOf(instructions, 'FROM').map((text) => text.split(' ')[0]);
  expect(images.length).toBeGreaterThan(1);
  const [major = ''] = /\d+/.exec(packageJson.engines.node) ?? [];
  for (const image of images) expect(image).toBe(`node:${major}-slim`);
});

test('what installs is not in it', () => {
  expect(argumentsOf(final, 'RUN').join(' ')).toMatch(/rm -rf .*\/usr\/local\/lib\/node_modules.*\/usr\/local\/bin\/npm /);
  expect(argumentsOf(final, 'RUN').join(' ')).not.toMatch(/npm (ci|install)/);
  expect(argumentsOf(instructions, 'RUN').filter((line) => line.includes('npm ci'))).toEqual([
    expect.stringMatching(/--omit=dev --ignore-scripts/),
  ]);
});

test('it runs as a user that is not root, by number', () => {
  const [user = ''] = argumentsOf(final, 'USER').slice(-1);
  expect(user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
});

test('all that it copies is there, and reaches the build', () => {
  const ignore = textOf('.dockerignore').split('\n');
  expect(ignore[0]).toBe('*');
  const copied = argumentsOf(instructions, 'COPY')
    .filter((text) => !text.startsWith('--from='))
    .flatMap((text) => text.split(' ').slice(0, -1));
  expect(new Set(copied)).toEqual(new Set(['package.json', 'package-lock.json', 'migrations', 'src']));
  for (const path of copied) {
    expect(existsSync(new URL(path, ROOT)), path).toBe(true);
    expect(ignore).toContain(`!${path}`);
  }
});

test('it starts the API as npm run api does, and asks it how it is', () => {
  const [command = ''] = argumentsOf(final, 'CMD');
  const words = JSON.parse(command) as string[];
  expect(packageJson.scripts.api).toContain(words.join(' '));
  expect(existsSync(new URL(words.at(-1) ?? '', ROOT))).toBe(true);
  expect(argumentsOf(final, 'HEALTHCHECK')).toEqual([expect.stringContaining('/healthz')]);
});
