import { existsSync, globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { VARIABLES } from '../../src/bootstrap/variables.ts';
import { AUDIT_EVENT_TYPES } from '../../src/domain/audit-event.ts';
import { ERROR_CODES } from '../../src/transport/errors.ts';

const ROOT = new URL('../../', import.meta.url);
const PAGES = ['docs/operations.md', 'deploy/kubernetes/README.md'];
const pages = PAGES.map((path) => ({ path, text: readFileSync(new URL(path, ROOT), 'utf8') }));
const DIAGRAM = /```mermaid[\s\S]*?```/g;
const operations = pages[0]!.text;

const source = globSync('src/**/*.ts', { cwd: ROOT })
  .map((path) => readFileSync(new URL(path, ROOT), 'utf8'))
  .join('\n');

/** What the pages name that looks like this, each once. */
const named = (pattern: RegExp): string[] =>
  [
    ...new Set(
      pages.flatMap(({ text }) => [...text.replaceAll(DIAGRAM, '').matchAll(pattern)].map(([whole, name]) => name ?? whole)),
    ),
  ].sort();

describe('what the pages for operators name is there', () => {
  test('every variable', () => {
    const names = named(/\bASB_[A-Z0-9_]*[A-Z0-9]\b/g);
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !(name in VARIABLES))).toEqual([]);
  });

  test('every metric', () => {
    const names = named(/\basb_[a-z_]+(?=[{` )[])/g).filter((name) => !['asb_owner', 'asb_auditor'].includes(name));
    expect(names.length).toBeGreaterThan(8);
    expect(names.filter((name) => !source.includes(`name: '${name}'`))).toEqual([]);
  });

  test('every log line and answer, word for word', () => {
    const lines = named(/"([a-z][a-z ;,.']{20,})"/g);
    expect(lines.length).toBeGreaterThan(5);
    const quoted = source.replaceAll("\\'", "'");
    expect(lines.filter((line) => !quoted.includes(line))).toEqual([]);
  });

  test('every audit event', () => {
    const known: readonly string[] = AUDIT_EVENT_TYPES;
    const names = named(/`((?:session|grant|artifact|approval|proxy|lease|run|workload|notification)\.[a-z_]+)`/g);
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });

  test('every code of an answer', () => {
    const known: readonly string[] = ERROR_CODES;
    expect(named(/\b[45]\d\d `([a-z_]+)`/g).filter((code) => !known.includes(code) && code !== 'draining')).toEqual([]);
  });

  test('every script and every page', () => {
    const scripts = named(/\bnode (src\/main\/[a-z]+\.ts)/g);
    expect(scripts).toEqual(['src/main/api.ts', 'src/main/audit.ts', 'src/main/migrate.ts', 'src/main/worker.ts']);
    for (const path of scripts) expect(existsSync(new URL(path, ROOT)), path).toBe(true);
    for (const { path, text } of pages) {
      for (const [, link = ''] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
        expect(existsSync(new URL(link, new URL(path, ROOT))), `${path}: ${link}`).toBe(true);
      }
    }
  });

  test('every part of the page that it points to', () => {
    const headings = [...operations.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    );
    const anchors = [...operations.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id);
    for (const [, id] of operations.matchAll(/\]\(#([^)]+)\)/g)) expect([...headings, ...anchors]).toContain(id);
  });

  test('every role of the database', () => {
    const roles = readFileSync(new URL('deploy/postgres/roles.sql', ROOT), 'utf8');
    for (const role of named(/\basb_(?:owner|auditor)\b/g)) expect(roles).toContain(`CREATE ROLE ${role} `);
  });
});

test('every file that operators get in deploy/ is told of', () => {
  const files = globSync('deploy/{audit,postgres}/*', { cwd: ROOT });
  expect(files.length).toBeGreaterThan(2);
  for (const file of files) expect(operations).toContain(`../${file}`);
});
