import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { describe, expect, test } from 'vitest';
import { configFileJsonSchema } from '../../src/bootstrap/config-file/json-schema.ts';
import { changed, doubtsOf, mistakesOf, SAMPLE } from './config-file-sample.ts';

const repository = new URL('../../', import.meta.url);
const example = readFileSync(new URL('dev/asb.example.yaml', repository), 'utf8');

const schema: unknown = JSON.parse(configFileJsonSchema());
const validate = new Ajv({ allErrors: true, strict: true, strictTypes: false }).compile(schema as object);
const accepts = (text: string): boolean => validate(parse(text));

test('the schema in docs/ is the one of this version', () => {
  const written = readFileSync(new URL('docs/asb-config.schema.json', repository), 'utf8');
  expect(written, 'write it anew with: npm run --silent config -- schema > docs/asb-config.schema.json').toBe(
    configFileJsonSchema(),
  );
});

test('every field has a description', () => {
  const bare: string[] = [];
  const look = (node: unknown, at: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node) as [string, unknown][]) {
      if (key === 'properties') {
        for (const [field, of] of Object.entries(value as Record<string, { description?: string }>)) {
          if (of.description === undefined) bare.push(`${at}.${field}`);
        }
      }
      look(value, `${at}.${key}`);
    }
  };
  look(schema, '');
  expect(bare).toEqual([]);
});

test('the example is valid for the loader and for editors, and raises no doubt', () => {
  expect(mistakesOf(example)).toEqual([]);
  expect(doubtsOf(example)).toEqual([]);
  expect(accepts(example)).toBe(true);
});

test('the example begins with the place of its schema', () => {
  const [, path] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(example) ?? [];
  expect(new URL(path ?? '', new URL('dev/', repository)).href).toBe(
    new URL('docs/asb-config.schema.json', repository).href,
  );
});

test('the example shows every field', () => {
  const shown = new Set([...example.matchAll(/[{,\n-] *([a-z_0-9]+):/g)].map(([, key]) => key));
  const fields = new Set([...configFileJsonSchema().matchAll(/\n +"([a-z_0-9]+)": \{/g)].map(([, key]) => key));
  // What the schema language itself says.
  for (const keyword of ['items', 'properties', 'not', 'default']) fields.delete(keyword);
  expect([...fields].filter((field) => !shown.has(field))).toEqual([]);
});

describe('editors see what the loader sees', () => {
  test.each<[name: string, text: string]>([
    ['an unknown field', changed('max_ttl: 15m', 'max_ttl: 15m\n        budget: 1')],
    ['a missing field', changed('        namespace: agents\n', '')],
    ['a duration that is none', changed('max_ttl: 15m', 'max_ttl: 15 minutes')],
    ['no approvers', changed('required: 2', 'required: 0')],
    ['two sources of keys', changed('keys: { pem_file: ci.pem }', 'keys: { pem_file: ci.pem, discovery: true }')],
    ['no source of keys', changed('keys: { pem_file: ci.pem }', 'keys: {}')],
    ['a * in the middle', changed('agents: [editor-*]', 'agents: [ed*tor]')],
    ['a role that is none', changed('roles: [approver]', 'roles: [admin]')],
    ['a secret for Slack', changed('url_file: lead.url', 'url_file: lead.url\n      secret_file: x')],
    ['another version', changed('version: 1', 'version: 2')],
  ])('%s', (_name, text) => {
    expect(accepts(text)).toBe(false);
    expect(mistakesOf(text)).not.toEqual([]);
  });

  test('the sample is valid', () => {
    expect(accepts(SAMPLE)).toBe(true);
  });
});
